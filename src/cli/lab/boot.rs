// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright lab boot`.

use crate::cli::errors::{Exit, Problem};
use crate::cli::session::Session;
use clap::Args;

/// Boot a kernel, an ISO image or a disk, and tell what happened
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct Boot {}

/// Runs `lab boot`.
pub(crate) fn run(_session: &mut Session, _args: &Boot) -> Result<Exit, Problem> {
    Err(Problem::usage("`hostwright lab boot` is not there yet"))
}
