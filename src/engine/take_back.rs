// SPDX-License-Identifier: GPL-3.0-or-later
//! Takes steps back, last first: for a run that failed, and for `undo`.

use super::context::Context;
use super::error::StepError;
use super::event::Event;
use super::journal::{Record, StepHistory};
use super::plan::Plan;
use super::report::Reversal;
use crate::host::failpoint;

/// How taking back ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Where it stopped: (title of the step, why).
    pub stopped: Option<(String, String)>,
    /// Titles of steps that are still there, the next one to take back first.
    pub remain: Vec<String>,
    /// What does not come back, and what was made anew instead.
    pub notes: Vec<String>,
}

impl Outcome {
    /// For people: what was taken back and what was not.
    pub fn sentence(&self, run: u32) -> String {
        let mut sentence = match &self.stopped {
            None => "Everything that this run had changed was taken back.".to_owned(),
            Some((title, why)) => format!(
                "Taking back stopped at “{title}”: {}. Still there: {}. `hostwright undo {run}` goes on with it.",
                why.trim_end_matches('.'),
                self.remain.iter().map(|t| format!("“{t}”")).collect::<Vec<_>>().join(", "),
            ),
        };
        for note in &self.notes {
            sentence.push_str(&format!(" Note: {}.", note.trim_end_matches('.')));
        }
        sentence
    }

    /// Frees the copies of old files when all of them are back where they were. With the least thing to
    /// note they stay.
    pub fn forget_copies(&self, ctx: &Context<'_>) {
        if self.stopped.is_none() && self.notes.is_empty() {
            ctx.folder().forget_copies(ctx.host().root());
        }
    }
}

/// Takes back all steps that may have left something, then makes derived files anew where they no
/// longer fit.
pub(super) fn all(ctx: &mut Context<'_>, plan: &Plan) -> Outcome {
    let pending = ctx.journal().borrow().history().pending();
    ctx.emit(Event::Started { run: ctx.run_number(), steps: pending.len(), undo: true });
    let mut outcome = Outcome::default();
    for (n, i) in pending.iter().enumerate() {
        let Err(error) = one(ctx, plan, *i) else { continue };
        let title = |i: &usize| plan.steps.get(*i).map(super::Step::title).unwrap_or_default();
        outcome.stopped = Some((title(i), error.to_string()));
        outcome.remain = pending[n..].iter().map(title).collect();
        break;
    }
    if outcome.stopped.is_none() {
        settle(ctx, plan, &mut outcome);
    }
    let journal = ctx.journal().borrow();
    let notes = journal.history().steps.values().filter_map(|s| s.undo_note.clone());
    outcome.notes.splice(0..0, notes);
    drop(journal);
    outcome
}

/// Takes one step back.
fn one(ctx: &mut Context<'_>, plan: &Plan, i: usize) -> Result<(), StepError> {
    let history = ctx.journal().borrow().history().steps.get(&i).cloned();
    let (Some(step), Some(known)) = (plan.steps.get(i), history) else { return Ok(()) };
    let _span = tracing::info_span!("undo", step = i, title = step.title()).entered();
    ctx.enter(i);
    ctx.stop_if_cancelled()?;
    ctx.emit(Event::Step { step: i, title: format!("Take back: {}", step.title()) });
    ctx.record(&Record::UndoIntent { step: i, at: ctx.host().clock().now() })?;
    failpoint::hit("undo-intent");
    match step.action().undo(ctx, &known.before, known.after.as_ref()) {
        Ok(()) => {
            failpoint::hit("undo-applied");
            let note = note(ctx, &step.reversal(), &known);
            ctx.record(&Record::UndoDone { step: i, at: ctx.host().clock().now(), note })?;
            failpoint::hit("undo-done");
            ctx.emit(Event::StepDone { step: i, unchanged: false });
            Ok(())
        }
        Err(error) => {
            let reason = error.to_string();
            tracing::warn!(reason, "the step could not be taken back");
            ctx.record(&Record::UndoFailed { step: i, at: ctx.host().clock().now(), reason })?;
            ctx.emit(Event::StepFailed { step: i, reason: error.to_string() });
            Err(error)
        }
    }
}

/// What of a step did not come back.
fn note(ctx: &mut Context<'_>, reversal: &Reversal, known: &StepHistory) -> Option<String> {
    let mut notes = ctx.take_notes();
    if known.after.is_some() {
        match reversal {
            Reversal::Full => {}
            Reversal::Partial { what } => notes.push(what.clone()),
            Reversal::None { why } => notes.push(why.clone()),
        }
    }
    (!notes.is_empty()).then(|| notes.join("; "))
}

/// Does what had to wait until every file is as it was.
fn settle(ctx: &mut Context<'_>, plan: &Plan, outcome: &mut Outcome) {
    let mut steps: Vec<_> = plan.steps.iter().enumerate().collect();
    steps.sort_by_key(|(_, step)| step.action().settle_order());
    for (i, step) in steps {
        let before = match ctx.journal().borrow().history().steps.get(&i) {
            Some(known) if !known.unchanged => known.before.clone(),
            _ => continue,
        };
        ctx.enter(i);
        failpoint::hit("settle");
        match step.action().settle(ctx, &before) {
            Ok(said) => outcome.notes.extend(said),
            Err(error) => {
                outcome.stopped = Some((step.title(), error.to_string()));
                outcome.remain = vec![step.title()];
                return;
            }
        }
    }
}
