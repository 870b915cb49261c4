// SPDX-License-Identifier: GPL-3.0-or-later
//! The lines of a journal. New fields get a default, a change of meaning a new kind of record, so that
//! old journals keep parsing (`tests/engine/journals`).

use super::RunState;
use crate::engine::context::{After, Before};
use crate::engine::event::Check;
use crate::engine::report::Owner;
use crate::host::FileState;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The format of the journal; raised when an older reader would misread a newer one.
pub(crate) const JOURNAL_VERSION: u32 = 1;

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(crate) enum Record {
    /// The first line.
    Begin(Begin),
    /// A step is about to be carried out; what was there is kept.
    Intent { step: usize, at: Timestamp, before: Before },
    /// A path is about to become this. The file is first written beside, under the name `staged`.
    Touch {
        step: usize,
        path: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        staged: Option<String>,
        will_be: FileState,
    },
    /// A step was carried out and left this.
    Done {
        step: usize,
        at: Timestamp,
        #[serde(default)]
        unchanged: bool,
        after: After,
    },
    /// A step failed, or its postcondition does not hold.
    Failed { step: usize, at: Timestamp, reason: String },
    /// A check after a step, or after all of them.
    Check {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<usize>,
        check: Check,
    },
    /// Where the log of the work is.
    Log { path: String },
    /// Steps are being taken back from here on.
    UndoBegin { at: Timestamp, owner: Owner, rollback: bool },
    /// A step is about to be taken back.
    UndoIntent { step: usize, at: Timestamp },
    /// A step was taken back; the note says what could not be.
    UndoDone {
        step: usize,
        at: Timestamp,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// A step could not be taken back.
    UndoFailed { step: usize, at: Timestamp, reason: String },
    /// The run, or its undo, is over.
    End { at: Timestamp, state: RunState, message: String },
}

/// What a run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Begin {
    /// [`JOURNAL_VERSION`] of the writer.
    pub version: u32,
    /// Number of the run.
    pub run: u32,
    /// The flow of its plan.
    pub flow: String,
    /// What it does, for people.
    pub title: String,
    /// Digest of its plan.
    pub digest: String,
    /// The choices that its plan was made from, so that the same can be asked for again.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub choices: serde_json::Value,
    /// The titles of its steps.
    pub steps: Vec<String>,
    /// Who asked for it.
    pub owner: Owner,
    /// When it began.
    pub at: Timestamp,
    /// Words that the kernel must have been started with for the run to have its effect: looked at after a restart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub awaits: Vec<String>,
    /// Version of the program.
    pub program: String,
}
