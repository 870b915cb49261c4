// SPDX-License-Identifier: GPL-3.0-or-later
//! What the lines of a journal add up to.

use super::record::{Begin, Record};
use super::{JOURNAL_VERSION, RunState};
use crate::engine::context::{After, Before};
use crate::engine::event::Check;
use crate::engine::report::{Owner, RunSummary, StepState, StepSummary};
use crate::host::FileState;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// A path that was about to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Touch {
    pub path: String,
    pub staged: Option<String>,
    pub will_be: FileState,
}

/// What is known of one step that was begun.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StepHistory {
    pub before: Before,
    pub after: Option<After>,
    pub unchanged: bool,
    pub touches: Vec<Touch>,
    pub failed: Option<String>,
    pub undone: bool,
    pub undo_note: Option<String>,
    pub undo_failed: Option<String>,
}

impl StepHistory {
    /// Whether it may have left something that is still there.
    pub fn is_pending(&self) -> bool {
        !self.undone && !self.unchanged
    }
}

/// What the lines of a journal add up to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct History {
    pub begin: Begin,
    pub steps: BTreeMap<usize, StepHistory>,
    pub checks: Vec<Check>,
    pub log: Option<String>,
    /// Who has it taken back, and whether that is the run's own doing; the last time it was begun.
    pub undo: Option<(Owner, bool)>,
    /// How the run, or the last undo of it, ended; nothing while one is under way.
    pub end: Option<(Timestamp, RunState, String)>,
}

impl History {
    /// The history of a run of which only the first line is there.
    pub fn new(begin: Begin) -> Self {
        Self { begin, steps: BTreeMap::new(), checks: Vec::new(), log: None, undo: None, end: None }
    }

    /// Adds one record.
    ///
    /// # Errors
    /// When it cannot follow those before it.
    pub fn add(&mut self, record: &Record) -> Result<(), String> {
        match record {
            Record::Begin(_) => return Err("a second beginning".into()),
            Record::Intent { step, before, .. } => {
                if self.steps.contains_key(step) {
                    return Err(format!("step {step} begins twice"));
                }
                if *step >= self.begin.steps.len() {
                    return Err(format!("there is no step {step}"));
                }
                let new = StepHistory {
                    before: before.clone(),
                    after: None,
                    unchanged: false,
                    touches: Vec::new(),
                    failed: None,
                    undone: false,
                    undo_note: None,
                    undo_failed: None,
                };
                self.steps.insert(*step, new);
            }
            Record::Touch { step, path, staged, will_be } => {
                let (path, staged, will_be) = (path.clone(), staged.clone(), will_be.clone());
                self.step(*step)?.touches.push(Touch { path, staged, will_be });
            }
            Record::Done { step, unchanged, after, .. } => {
                let known = self.step(*step)?;
                known.after = Some(after.clone());
                known.unchanged = *unchanged;
            }
            // The step may have failed before its intent: then nothing was changed.
            Record::Failed { step, reason, .. } => {
                if let Ok(known) = self.step(*step) {
                    known.failed = Some(reason.clone());
                }
            }
            Record::Check { check, .. } => self.checks.push(check.clone()),
            Record::Log { path } => self.log = Some(path.clone()),
            Record::UndoBegin { owner, rollback, .. } => {
                self.undo = Some((owner.clone(), *rollback));
                self.end = None;
            }
            Record::UndoIntent { step, .. } => self.step(*step)?.undo_failed = None,
            Record::UndoDone { step, note, .. } => {
                let known = self.step(*step)?;
                known.undone = true;
                known.undo_note.clone_from(note);
            }
            Record::UndoFailed { step, reason, .. } => {
                self.step(*step)?.undo_failed = Some(reason.clone());
            }
            Record::End { at, state, message } => self.end = Some((*at, *state, message.clone())),
        }
        Ok(())
    }

    fn step(&mut self, step: usize) -> Result<&mut StepHistory, String> {
        self.steps.get_mut(&step).ok_or_else(|| format!("step {step} was never begun"))
    }

    /// Where the run stands; `live` says whether a process is at it.
    pub fn state(&self, live: bool) -> RunState {
        match (&self.end, live) {
            (Some((_, state, _)), _) => *state,
            (None, false) => RunState::Interrupted,
            (None, true) if self.undo.is_some() => RunState::Undoing,
            (None, true) => RunState::Running,
        }
    }

    /// The steps that may have left something that is still there, last first.
    pub fn pending(&self) -> Vec<usize> {
        self.steps.iter().rev().filter(|(_, s)| s.is_pending()).map(|(i, _)| *i).collect()
    }

    /// For lists.
    pub fn summary(&self, live: bool) -> RunSummary {
        let state = self.state(live);
        let under_way = matches!(state, RunState::Running | RunState::Undoing);
        let steps = self.begin.steps.iter().enumerate().map(|(step, title)| {
            let known = self.steps.get(&step);
            let state = match known {
                None => StepState::Pending,
                Some(s) if s.undone => StepState::Undone,
                Some(s) if s.failed.is_some() => StepState::Failed,
                Some(s) if s.unchanged => StepState::Unchanged,
                Some(s) if s.after.is_some() => StepState::Done,
                Some(_) => StepState::Begun,
            };
            let reason = known.and_then(|s| {
                s.undo_failed.clone().or_else(|| s.undo_note.clone()).or_else(|| s.failed.clone())
            });
            StepSummary { step, title: title.clone(), state, reason }
        });
        RunSummary {
            run: self.begin.run,
            flow: self.begin.flow.clone(),
            title: self.begin.title.clone(),
            state,
            owner: self.begin.owner.clone(),
            started: self.begin.at,
            ended: self.end.as_ref().map(|(at, ..)| *at),
            digest: self.begin.digest.clone(),
            choices: self.begin.choices.clone(),
            steps: steps.collect(),
            message: self.end.as_ref().map(|(.., message)| message.clone()),
            log: self.log.clone(),
            can_undo: !under_way && (state == RunState::Interrupted || !self.pending().is_empty()),
            problem: None,
        }
    }
}

/// Makes the history of a journal's lines. Pure. A last line that makes no sense was being written when
/// the machine stopped: it counts as not written. Returns the history (nothing when not even the first
/// line is whole) and how many bytes of the text are whole records.
///
/// # Errors
/// (line from 1, what is wrong) for any other line, and [`Unreadable::Newer`].
pub(crate) fn replay(text: &[u8]) -> Result<(Option<History>, usize), Unreadable> {
    let mut history: Option<History> = None;
    let mut good = 0;
    let lines: Vec<&[u8]> = text.split_inclusive(|b| *b == b'\n').collect();
    for (i, line) in lines.iter().enumerate() {
        let last = i + 1 == lines.len();
        let damaged = |what: String| Unreadable::Damaged { line: i + 1, what };
        if history.is_none() {
            // Looked at alone, so that a later format is recognised whatever else changed in it.
            #[derive(serde::Deserialize)]
            struct Version {
                version: u32,
            }
            if let Ok(Version { version }) = serde_json::from_slice(line)
                && version > JOURNAL_VERSION
            {
                return Err(Unreadable::Newer { version });
            }
        }
        let record = match serde_json::from_slice::<Record>(line) {
            Ok(record) if line.ends_with(b"\n") => record,
            Ok(_) => break,
            Err(_) if last => break,
            Err(e) => return Err(damaged(format!("it is no record ({e})"))),
        };
        match (&mut history, record) {
            (None, Record::Begin(begin)) => history = Some(History::new(begin)),
            (None, _) => return Err(damaged("it should be the beginning of a run".into())),
            (Some(history), record) => history.add(&record).map_err(damaged)?,
        }
        good += line.len();
    }
    Ok((history, good))
}

/// Why lines make no history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// This line makes no sense.
    Damaged { line: usize, what: String },
    /// A later version of the program wrote them.
    Newer { version: u32 },
}
