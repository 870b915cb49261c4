// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright vmware apply`.

use super::options::Options;
use crate::cli::confirm;
use crate::cli::errors::{Exit, Problem};
use crate::cli::session::Session;
use crate::cli::work::{self, ApplyOptions};
use clap::Args;

/// Build, sign, install and load VMware's modules, after showing the plan and asking
///
/// When anything fails, or you press Ctrl+C, what was done so far is taken back.
#[derive(Debug, Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    apply: ApplyOptions,
}

/// Runs `vmware apply`.
pub(super) fn run(session: &mut Session, args: &Apply) -> Result<Exit, Problem> {
    if !args.apply.check {
        // Before archives are packed, and before the machine is looked at.
        confirm::need_consent(args.apply.yes, session.json(), "changed")?;
    }
    let request = args.options.request(session)?;
    work::apply(session, request, &args.apply)
}
