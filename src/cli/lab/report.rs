// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright lab report`.

use crate::cli::errors::{Exit, Problem};
use crate::cli::session::Session;
use clap::Args;

/// Show what happened in a run
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct Report {}

/// Runs `lab report`.
pub(crate) fn run(_session: &mut Session, _args: &Report) -> Result<Exit, Problem> {
    Err(Problem::usage("`hostwright lab report` is not there yet"))
}
