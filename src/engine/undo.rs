// SPDX-License-Identifier: GPL-3.0-or-later
//! Takes a run back, last step first; a run that was interrupted, too, and an undo that was.

use super::context::Context;
use super::error::RunError;
use super::event::Sink;
use super::execute::{finish, holder, inhibit};
use super::folders::{LOCK, RunFolder, interrupted, numbers};
use super::journal::{History, Journal, JournalError, Record, RunState};
use super::plan::Plan;
use super::report::{Inputs, Owner, RunReport, UndoPreview, UndoStep};
use super::restore::{self, Verdict, folder};
use super::take_back;
use super::voice::Voice;
use crate::host::failpoint;
use crate::host::{Cancel, FileState, Host, Lock, Root};
use std::collections::{BTreeMap, BTreeSet};

/// Takes a run back, last step first. Stops at what changed since and touches nothing that the run did
/// not place; called again, it goes on where it stopped.
///
/// # Errors
/// When the undo was not begun, and nothing was changed.
pub fn undo(
    host: &Host,
    run: u32,
    owner: &Owner,
    cancel: &Cancel,
    sink: &mut dyn Sink,
) -> Result<RunReport, RunError> {
    let root = host.root();
    let (folder, history) = find(host, run)?;
    let lock = Lock::take(root, LOCK, &holder(&format!("undo of {}", history.begin.title), owner))?;
    // Read again, now that nobody else writes it.
    let (_, history) = find(host, run)?;
    if let Some(refusal) = refuse(host, &history)? {
        return Err(refusal);
    }
    let plan = plan_of(host, &folder, &history)?;
    let mut journal = Journal::open(root, &folder.journal())?.ok_or(RunError::NoSuchRun { run })?;
    let _span = tracing::info_span!("undo", run).entered();
    failpoint::hit("before-undo");
    let at = host.clock().now();
    journal.record(&Record::UndoBegin { at, owner: owner.clone(), rollback: false })?;
    failpoint::hit("undo-begun");

    let inputs = Inputs::default();
    let voice = Voice::new(sink, root, &folder.events());
    let mut ctx = Context::new(host, folder, &inputs, cancel, &lock, journal, voice);
    ctx.take_back(cancel.clone());
    let _inhibitor = inhibit(&ctx, &history.begin.title);
    let outcome = take_back::all(&mut ctx, &plan);
    let state = if outcome.stopped.is_some() { RunState::UndoStopped } else { RunState::Undone };
    let report = finish(&mut ctx, state, outcome.sentence(run));
    outcome.forget_copies(&ctx);
    Ok(report)
}

fn find(host: &Host, run: u32) -> Result<(RunFolder, History), RunError> {
    let folder = RunFolder::of(run);
    let history = folder.history(host.root())?.ok_or(RunError::NoSuchRun { run })?;
    Ok((folder, history))
}

fn plan_of(host: &Host, folder: &RunFolder, history: &History) -> Result<Plan, RunError> {
    let plan = folder.read_plan(host.root())?;
    if plan.steps.len() == history.begin.steps.len() {
        return Ok(plan);
    }
    let what = format!("it has {} steps and its journal {}", plan.steps.len(), history.begin.steps.len());
    Err(JournalError::Damaged { path: folder.plan(), line: 1, what }.into())
}

/// Why a run cannot be undone as things stand, if so.
fn refuse(host: &Host, history: &History) -> Result<Option<RunError>, RunError> {
    let run = history.begin.run;
    if history.end.is_some() && history.pending().is_empty() && !unsettled(history) {
        return Ok(Some(RunError::NothingToUndo { run }));
    }
    let mine = changed(host.root(), history);
    for later in numbers(host.root())?.into_iter().filter(|n| *n > run) {
        let Some(other) = RunFolder::of(later).history(host.root())? else { continue };
        if let Some(path) = changed(host.root(), &other).intersection(&mine).next() {
            return Ok(Some(RunError::LaterRun { run, later, path: path.clone() }));
        }
    }
    Ok(match interrupted(host)? {
        Some(other) if other.begin.run != run => {
            Some(RunError::Interrupted { run: other.begin.run, title: other.begin.title })
        }
        _ => None,
    })
}

/// Whether the last undo took all steps back and stopped at making derived files anew.
fn unsettled(history: &History) -> bool {
    matches!(&history.end, Some((_, RunState::UndoStopped | RunState::Failed, _))) && history.undo.is_some()
}

/// The files that a run changed and that were not taken back, by where they really are. Derived files
/// do not count: two runs may both have had them made anew, and they can be made again.
fn changed(root: &Root, history: &History) -> BTreeSet<String> {
    let steps = history.steps.values().filter(|s| s.is_pending() && !s.before.derived);
    steps.flat_map(restore::paths_of).map(|p| real(root, p)).collect()
}

fn real(root: &Root, path: &str) -> String {
    match (root.resolve(folder(path)), path.rsplit_once('/')) {
        (Ok(folder), Some((_, name))) => format!("{}/{name}", folder.trim_end_matches('/')),
        _ => path.to_owned(),
    }
}

/// What [`undo`] would do, and what stands in its way. Reads only.
///
/// # Errors
/// When there is no such run or its records cannot be read.
pub fn undo_preview(host: &Host, run: u32) -> Result<UndoPreview, RunError> {
    let (run_folder, history) = find(host, run)?;
    let plan = plan_of(host, &run_folder, &history)?;
    let refused = if history.end.is_none() && run_folder.is_live(host.root())? {
        Some("it is under way; wait for its end or cancel it".to_owned())
    } else {
        refuse(host, &history)?.map(|r| r.to_string())
    };
    // What each path will be by the time its turn comes.
    let mut then: BTreeMap<String, FileState> = BTreeMap::new();
    let mut steps = Vec::new();
    for i in history.pending() {
        let (Some(step), Some(known)) = (plan.steps.get(i), history.steps.get(&i)) else { continue };
        let mut shown = UndoStep {
            step: i,
            title: step.title(),
            restores: Vec::new(),
            drift: Vec::new(),
            reversal: step.reversal(),
        };
        for path in restore::paths_of(known) {
            let now = match then.get(path) {
                Some(state) => state.clone(),
                None => host.root().state(path)?,
            };
            let there = host.root().exists(folder(path));
            let was = known.before.files.get(path).unwrap_or(&FileState::Absent);
            match restore::judge(path, &now, there, &known.before, known.after.as_ref(), &known.touches) {
                Verdict::AsBefore => continue,
                Verdict::Ours if *was == FileState::Absent => shown.restores.push(format!("remove {path}")),
                Verdict::Ours => shown.restores.push(format!("put back {path}")),
                Verdict::Gone => {
                    shown.restores.push(format!("pass over {path}: it is gone"));
                    continue;
                }
                Verdict::Drifted(_) if known.before.derived => {
                    shown.restores.push(format!("make {path} anew: it was made anew since"));
                    continue;
                }
                Verdict::Drifted(mut drift) => {
                    drift.copy = run_folder.store().copy_of(was);
                    shown.drift.push(*drift);
                }
            }
            then.insert(path.clone(), was.clone());
        }
        steps.push(shown);
    }
    Ok(UndoPreview { run, title: history.begin.title, steps, refused })
}
