// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright vgpu branches`: every branch with works, works if, or no.

use super::look::{Wanted, decision};
use crate::cli::detect::render_rows;
use crate::cli::errors::{Exit, Problem};
use crate::cli::session::Session;
use crate::tell::vgpu as tell;
use clap::Args;

/// Show every branch of the vGPU software: works, works if, or no, and why
///
/// A branch is weighed for all cards together that are for vGPU, against the kernel, the release of Proxmox VE and
/// Secure Boot.
#[derive(Debug, Args)]
pub(crate) struct Branches {
    #[command(flatten)]
    wanted: Wanted,
}

/// Runs `vgpu branches`.
pub(crate) fn run(session: &mut Session, args: &Branches) -> Result<Exit, Problem> {
    let (_, decision) = decision(session, &args.wanted)?;
    if session.json() {
        session.screen.document(&decision)?;
    } else {
        let sections = [("Machine", tell::machine(&decision)), ("Branches", tell::branches(&decision))];
        let text = render_rows(session.look(), &sections);
        session.screen.print(&text);
    }
    Ok(Exit::Done)
}
