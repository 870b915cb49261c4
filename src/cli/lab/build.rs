// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright lab build`.

use crate::cli::errors::{Exit, Problem};
use crate::cli::session::Session;
use clap::Args;

/// Build a bootable image with a project in it
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct Build {}

/// Runs `lab build`.
pub(crate) fn run(_session: &mut Session, _args: &Build) -> Result<Exit, Problem> {
    Err(Problem::usage("`hostwright lab build` is not there yet"))
}
