// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright apply`: carries out what a flow plans for given choices, or all that a profile says.

use super::errors::{Exit, Problem};
use super::plan::Given;
use super::session::Session;
use super::work::{self, ApplyOptions};
use clap::Args;
use std::path::PathBuf;

/// Carry out what a flow plans for given choices, or all that a profile says, after showing it and asking
///
/// `hostwright vmware apply` is the same for VMware's modules, with options instead of a file.
///
/// With --profile the machine is made as the profile says, flow by flow, and nothing is done that is so already: the
/// same command again changes nothing. With --json beside it, one document says of each flow whether it was `ok`,
/// `changed`, `failed` or (after another one failed) `skipped`.
#[derive(Debug, Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    given: Given,
    /// Make the machine as this profile says, whatever flows it is for: a name (see `hostwright profile`) or a file
    #[arg(short, long, value_name = "NAME|FILE", conflicts_with_all = ["flow", "choices", "archives"])]
    profile: Option<PathBuf>,
    #[command(flatten)]
    options: ApplyOptions,
}

/// Runs `apply`.
pub(crate) fn run(session: &mut Session, args: &Apply) -> Result<Exit, Problem> {
    if let Some(which) = &args.profile {
        return super::apply_profile::run(session, which, &args.options);
    }
    let request = args.given.request()?;
    work::apply(session, request, &args.options)
}
