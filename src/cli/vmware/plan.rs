// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright vmware plan`.

use super::options::Options;
use crate::cli::errors::{Exit, Problem};
use crate::cli::session::Session;
use crate::cli::work::{self, ShowOptions};
use clap::Args;

/// Show what would be done for VMware's modules
///
/// Nothing is changed: the plan names every step with its commands, the files it changes, what it needs
/// permission for, and whether it can be undone.
#[derive(Debug, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    show: ShowOptions,
}

/// Runs `vmware plan`.
pub(super) fn run(session: &mut Session, args: &Plan) -> Result<Exit, Problem> {
    let request = args.options.request(session)?;
    work::plan(session, &request, &args.show)
}
