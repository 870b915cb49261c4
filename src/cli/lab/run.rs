// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright lab run`.

use crate::cli::errors::{Exit, Problem};
use crate::cli::session::Session;
use clap::Args;

/// Build what changed, and boot it
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct Run {}

/// Runs `lab run`.
pub(crate) fn run(_session: &mut Session, _args: &Run) -> Result<Exit, Problem> {
    Err(Problem::usage("`hostwright lab run` is not there yet"))
}
