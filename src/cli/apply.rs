// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright apply`: carries out what a flow plans for given choices.

use super::errors::{Exit, Problem};
use super::plan::Given;
use super::session::Session;
use super::work::{self, ApplyOptions};
use clap::Args;

/// Carry out what a flow plans for given choices, after showing it and asking
///
/// `hostwright vmware apply` is the same for VMware's modules, with options instead of a file.
#[derive(Debug, Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    given: Given,
    #[command(flatten)]
    options: ApplyOptions,
}

/// Runs `apply`.
pub(crate) fn run(session: &mut Session, args: &Apply) -> Result<Exit, Problem> {
    let request = args.given.request()?;
    work::apply(session, request, &args.options)
}
