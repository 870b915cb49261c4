// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright vgpu check`: whether this machine is ready.

use super::look::{Wanted, decision};
use crate::cli::detect::render_rows;
use crate::cli::errors::{Exit, Problem};
use crate::cli::session::Session;
use crate::flows::vgpu::decision::{PreparationState, Verdict};
use crate::tell::vgpu as tell;
use clap::Args;
use serde_json::json;

/// Look whether this machine is ready for vGPU, and what is missing
///
/// Exit status 1 when something is to be done or no branch works.
#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    wanted: Wanted,
}

/// Runs `vgpu check`.
pub(crate) fn run(session: &mut Session, args: &Check) -> Result<Exit, Problem> {
    let (facts, decision) = decision(session, &args.wanted)?;
    let works = decision.row().is_some_and(|r| !matches!(r.verdict, Verdict::No { .. }));
    let ready = works && decision.preparation.iter().all(|p| p.state == PreparationState::Done);
    if session.json() {
        session.screen.document(&json!({ "ready": ready, "facts": facts, "decision": decision }))?;
    } else {
        let mut sections = vec![("Machine", tell::machine(&decision))];
        match decision.row() {
            Some(row) => sections.push(("Branch", tell::chosen(row, decision.chosen))),
            None => {
                sections.push((
                    "Branch",
                    vec![crate::tell::Row::new(
                        crate::tell::Mark::Bad,
                        "Verdict",
                        "no branch works here; `hostwright vgpu branches` says why of each",
                    )],
                ));
            }
        }
        sections.push(("Before the driver is installed", tell::preparation(&decision)));
        let text = render_rows(session.look(), &sections);
        session.screen.print(&text);
    }
    Ok(if ready { Exit::Done } else { Exit::Failed })
}
