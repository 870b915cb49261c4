// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright lab matrix`.

use crate::cli::errors::{Exit, Problem};
use crate::cli::session::Session;
use clap::Args;

/// Run one command on many kernels and images
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct Matrix {}

/// Runs `lab matrix`.
pub(crate) fn run(_session: &mut Session, _args: &Matrix) -> Result<Exit, Problem> {
    Err(Problem::usage("`hostwright lab matrix` is not there yet"))
}
