// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright vgpu plan`: what would be installed.

use super::look::{Wanted, decision};
use crate::cli::detect::render_rows;
use crate::cli::errors::{Exit, Problem};
use crate::cli::session::Session;
use crate::flows::vgpu::decision::Verdict;
use crate::tell::vgpu as tell;
use clap::Args;

/// Decide which driver goes onto this machine, with which kernel and how
///
/// This is the decision; `hostwright vgpu apply --check` shows the steps. Exit status 3 when the branch does not work here.
#[derive(Debug, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    wanted: Wanted,
}

/// Runs `vgpu plan`.
pub(crate) fn run(session: &mut Session, args: &Plan) -> Result<Exit, Problem> {
    let (_, decision) = decision(session, &args.wanted)?;
    let Some(row) = decision.row() else {
        if session.json() {
            session.screen.document(&decision)?;
        }
        return Err(Problem::new(
            Exit::Refused,
            "no-branch",
            "No branch works here",
            "Every catalogued branch has a reason against it.",
        )
        .remedy("`hostwright vgpu branches` says them."));
    };
    let works = !matches!(row.verdict, Verdict::No { .. });
    if session.json() {
        session.screen.document(&decision)?;
    } else {
        let sections = [
            ("Machine", tell::machine(&decision)),
            ("Driver", tell::chosen(row, decision.chosen)),
            ("Before it is installed", if works { tell::preparation(&decision) } else { Vec::new() }),
        ];
        let sections: Vec<_> = sections.into_iter().filter(|(_, rows)| !rows.is_empty()).collect();
        let text = render_rows(session.look(), &sections);
        session.screen.print(&text);
    }
    Ok(if works { Exit::Done } else { Exit::Refused })
}
