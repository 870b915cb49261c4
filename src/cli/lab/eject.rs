// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright lab eject`.

use crate::cli::errors::{Exit, Problem};
use crate::cli::session::Session;
use clap::Args;

/// Clean up what earlier builds left
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct Eject {}

/// Runs `lab eject`.
pub(crate) fn run(_session: &mut Session, _args: &Eject) -> Result<Exit, Problem> {
    Err(Problem::usage("`hostwright lab eject` is not there yet"))
}
