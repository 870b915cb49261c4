// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright undo`: takes runs back.

use super::confirm;
use super::errors::{Exit, Problem, sentence};
use super::machine::Machine;
use super::preview;
use super::session::Session;
use super::work;
use crate::engine::{RunSummary, UndoPreview};
use clap::Args;
use serde_json::json;

/// Take back what runs did
///
/// Files, modules and services come back as they were before the run, byte for byte. What somebody changed
/// since is left alone: undo stops there and says so.
#[derive(Debug, Args)]
pub(crate) struct Undo {
    /// Number of the run (see `hostwright runs`); without it the last one that can be taken back
    #[arg(value_name = "RUN", conflicts_with_all = ["last", "all"])]
    run: Option<u32>,
    /// The last run that can be taken back
    #[arg(long, conflicts_with = "all")]
    last: bool,
    /// All runs, the last one first
    #[arg(long)]
    all: bool,
    /// Only show what would come back, and what stands in the way
    #[arg(long)]
    preview: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Runs `undo`.
pub(crate) fn run(session: &mut Session, args: &Undo) -> Result<Exit, Problem> {
    if !args.preview {
        confirm::need_consent(args.yes, session.json(), "taken back")?;
    }
    let machine = session.machine()?;
    let chosen = match args.run {
        Some(run) => vec![run],
        None => {
            let undoable: Vec<u32> = undoable(&machine.runs()?, |_| true);
            if args.all { undoable } else { undoable.into_iter().take(1).collect() }
        }
    };
    take_back(session, machine.as_ref(), &chosen, args.preview, args.yes)
}

/// The runs that can be taken back and that `wanted` takes, newest first.
pub(crate) fn undoable(runs: &[RunSummary], wanted: impl Fn(&RunSummary) -> bool) -> Vec<u32> {
    runs.iter().filter(|r| r.can_undo && wanted(r)).map(|r| r.run).collect()
}

/// Shows what would come back, asks, and takes it back.
pub(crate) fn take_back(
    session: &mut Session,
    machine: &dyn Machine,
    runs: &[u32],
    only_preview: bool,
    yes: bool,
) -> Result<Exit, Problem> {
    let previews: Vec<UndoPreview> =
        runs.iter().map(|run| machine.undo_preview(*run)).collect::<Result<_, _>>()?;
    // Of several runs, those before the one that is refused still can be taken back.
    if let Some(why) = previews.first().and_then(|p| p.refused.clone()).filter(|_| !only_preview) {
        return Err(Problem::new(Exit::Refused, "undo-refused", "Nothing was taken back", sentence(&why)));
    }
    if session.json() {
        let document = if only_preview { json!(previews) } else { json!({ "undo": previews }) };
        session.screen.document(&document)?;
    } else if previews.is_empty() {
        session.screen.print("There is no run that could be taken back.\n");
    } else {
        let texts: Vec<String> = previews.iter().map(|p| preview::undo(session.look(), p)).collect();
        session.screen.print(&texts.join("\n"));
    }
    if only_preview || previews.is_empty() {
        return Ok(Exit::Done);
    }
    if !yes {
        session.screen.print("\n");
        if !confirm::ask(&session.voice, "Take this back now?")? {
            return Err(Problem::cancelled());
        }
    }
    if !session.json() {
        session.voice.say("\n");
    }
    work::undo(session, machine, runs)
}
