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
    /// Whether it may have left something that is still there and can be taken back.
    pub fn is_pending(&self) -> bool {
        let lasting = self.before.irreversible && self.after.is_some();
        !self.undone && !self.unchanged && !lasting
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
            awaits: self.begin.awaits.clone(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    fn lines() -> Vec<String> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engine/journals/v1-every-kind/journal.jsonl");
        std::fs::read_to_string(path).unwrap().lines().map(|l| format!("{l}\n")).collect()
    }

    #[test]
    fn a_journal_cut_anywhere_is_what_its_whole_lines_say() {
        let lines = lines();
        let text = lines.concat();
        // Every byte of the text may be the last one that reached the disk.
        let mut whole = 0;
        let mut good = 0;
        for end in 0..=text.len() {
            if end == good + lines.get(whole).map_or(usize::MAX, String::len) {
                good = end;
                whole += 1;
            }
            let (history, kept) = replay(&text.as_bytes()[..end]).unwrap();
            assert_eq!(kept, good, "cut at {end}");
            assert_eq!(history.is_some(), whole > 0, "cut at {end}");
        }
        assert_eq!(whole, lines.len());
    }

    #[test]
    fn zeroes_that_a_power_cut_left_at_the_end_are_no_record() {
        let lines = lines();
        let text = lines[..3].concat();
        for tail in [vec![0; 4096], [vec![0; 100], b"\n".to_vec()].concat()] {
            let (history, kept) = replay(&[text.as_bytes(), &tail].concat()).unwrap();
            assert_eq!(kept, text.len());
            assert_eq!(history.unwrap().steps.len(), 1);
        }
    }

    #[test]
    fn a_line_in_the_middle_that_makes_no_sense_is_named() {
        let mut lines = lines();
        lines[4] = "{\"record\":\"unknown\"}\n".into();
        assert!(matches!(replay(lines.concat().as_bytes()), Err(Unreadable::Damaged { line: 5, .. })));
        lines[4] = "\n".into();
        assert!(matches!(replay(lines.concat().as_bytes()), Err(Unreadable::Damaged { line: 5, .. })));
    }

    #[test]
    fn records_that_cannot_follow_are_damage() {
        let lines = lines();
        let at = |order: &[usize]| order.iter().map(|i| lines[*i].as_str()).collect::<String>();
        // A second beginning; a step twice; the end of a step that was never begun; no beginning.
        for order in [&[0, 0][..], &[0, 1, 1], &[0, 2], &[1, 2]] {
            assert!(matches!(replay(at(order).as_bytes()), Err(Unreadable::Damaged { .. })), "{order:?}");
        }
    }

    #[test]
    fn the_state_follows_from_the_last_end_and_whether_somebody_is_at_it() {
        let lines = lines();
        let until = |n: usize, live| replay(lines[..n].concat().as_bytes()).unwrap().0.unwrap().state(live);
        let undo = lines.iter().position(|l| l.contains("undo_begin")).unwrap();
        assert_eq!(until(1, true), RunState::Running);
        assert_eq!(until(1, false), RunState::Interrupted);
        assert_eq!(until(undo + 1, true), RunState::Undoing);
        assert_eq!(until(undo + 1, false), RunState::Interrupted);
        let end = lines.iter().position(|l| l.contains("\"end\"")).unwrap();
        assert_eq!(until(end + 1, false), RunState::Failed);
        assert_eq!(until(end + 2, false), RunState::Interrupted);
        assert_eq!(until(lines.len(), false), RunState::UndoStopped);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = replay(&bytes);
        }

        #[test]
        fn any_damaged_byte_is_read_without_panic(at in 0usize..20_000, with in any::<u8>()) {
            let mut text = lines().concat().into_bytes();
            let at = at % text.len();
            text[at] = with;
            let _ = replay(&text);
        }
    }
}
