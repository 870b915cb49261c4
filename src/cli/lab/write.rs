// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright lab write`.

use crate::cli::errors::{Exit, Problem};
use crate::cli::session::Session;
use clap::Args;

/// Write an image to a USB stick
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct Write {}

/// Runs `lab write`.
pub(crate) fn run(_session: &mut Session, _args: &Write) -> Result<Exit, Problem> {
    Err(Problem::usage("`hostwright lab write` is not there yet"))
}
