// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright vmware rebuild`: the same again for another kernel, for instance after a kernel update.

use super::options::{KernelArg, Options};
use crate::cli::confirm;
use crate::cli::errors::{Exit, Problem};
use crate::cli::session::Session;
use crate::cli::work::{self, ApplyOptions};
use crate::engine::{RunState, RunSummary};
use crate::flows::vmware::{Choices, FLOW};
use clap::Args;
use std::path::PathBuf;

/// Build and install VMware's modules anew with the choices of the last time, for another kernel
#[derive(Debug, Args)]
pub(crate) struct Rebuild {
    /// For which kernels: a release, a pattern, `all`, `current` or `newest:N`; can be given several times
    #[arg(short, long = "kernel", value_name = "KERNEL")]
    kernels: Vec<KernelArg>,
    /// Module sources: needed again when the last run did not use the installed product's
    #[arg(short, long, value_name = "FOLDER|TARBALL")]
    source: Option<PathBuf>,
    /// Take the choices of this profile instead of those of the last time
    #[arg(short, long, value_name = "NAME|FILE")]
    profile: Option<PathBuf>,
    #[command(flatten)]
    apply: ApplyOptions,
}

/// Runs `vmware rebuild`.
pub(super) fn run(session: &mut Session, args: &Rebuild) -> Result<Exit, Problem> {
    if !args.apply.check {
        confirm::need_consent(args.apply.yes, session.json(), "changed")?;
    }
    let options = Options {
        kernels: args.kernels.clone(),
        source: args.source.clone(),
        profile: args.profile.clone(),
        ..Options::default()
    };
    let request = if args.profile.is_some() {
        options.request(session)?
    } else {
        let runs = session.machine()?.runs()?;
        options.request_over(last_choices(&runs)?, "The last run used")?
    };
    work::apply(session, request, &args.apply)
}

/// The choices of the last run that went through.
fn last_choices(runs: &[RunSummary]) -> Result<Choices, Problem> {
    let last = runs.iter().find(|r| r.flow == FLOW && r.state == RunState::Done).ok_or_else(|| {
        Problem::new(
            Exit::Refused,
            "nothing-to-rebuild",
            "There is nothing to do again",
            "No run for VMware's modules went through on this machine yet.",
        )
        .remedy("Begin with: hostwright vmware apply")
    })?;
    Choices::from_json(&last.choices).map_err(|e| {
        let why = format!("The choices of run {} cannot be read: {e}.", last.run);
        Problem::new(Exit::Failed, "bad-choices", "The last choices cannot be used", why)
            .remedy("Choose anew with: hostwright vmware apply")
    })
}
