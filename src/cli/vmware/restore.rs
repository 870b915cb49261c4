// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright vmware restore`: VMware's own modules come back.

use crate::cli::confirm;
use crate::cli::errors::{Exit, Problem};
use crate::cli::session::Session;
use crate::cli::undo::{take_back, undoable};
use crate::flows::vmware::FLOW;
use clap::Args;

/// Put VMware's own modules back: take back every run for them, the last one first
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// Only show what would come back, and what stands in the way
    #[arg(long)]
    preview: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Runs `vmware restore`.
pub(super) fn run(session: &mut Session, args: &Restore) -> Result<Exit, Problem> {
    if !args.preview {
        confirm::need_consent(args.yes, session.json(), "taken back")?;
    }
    let machine = session.machine()?;
    let runs = undoable(&machine.runs()?, |r| r.flow == FLOW);
    if runs.is_empty() && !session.json() {
        session.screen.print("VMware's modules are as they were: no run for them is left to take back.\n");
        return Ok(Exit::Done);
    }
    take_back(session, machine.as_ref(), &runs, args.preview, args.yes)
}
