// SPDX-License-Identifier: GPL-3.0-or-later
//! Write-ahead record of a run: Intent(before) → Done or Failed.
//!
//! One JSON document per line, each synced before what it announces is done. A run's folder holds all
//! that its undo needs: `plan.json`, `journal.jsonl`, and the old bytes of files under `blobs/`.
//!
//! ```text
//!   begin  intent 0  touch…  done 0  intent 1  …  done N  check…  end
//!                                       └─ failed 1  undo_begin  undo_intent 0  undo_done 0  end
//! ```

mod file;
mod history;
mod record;

pub(super) use file::{Journal, is_live, read};
pub(super) use history::{History, StepHistory, Touch};
pub(super) use record::{Begin, JOURNAL_VERSION, Record};

use crate::host::HostError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Steps are being carried out.
    Running,
    /// All steps are done and no check is bad; the message names the checks that could not look.
    Done,
    /// Failed or cancelled, and everything it had done was taken back.
    RolledBack,
    /// Failed, and something remains; the message says what.
    Failed,
    /// Steps are being taken back.
    Undoing,
    /// Everything was taken back.
    Undone,
    /// Undo stopped at something that changed since (drift).
    UndoStopped,
    /// Its process ended without a word (crash, power cut): it can be taken back.
    Interrupted,
}

/// Why a run's records could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be opened, read or created.
    #[error("{}", super::error::advise(.0))]
    Host(#[from] HostError),
    /// A line that is not the last one makes no sense.
    #[error(
        "{path}, line {line}: {what}; the record of this run is damaged. Nothing was changed. Keep a copy of that folder, compare the files it names with their copies in its `blobs`, then move the folder away"
    )]
    Damaged {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A later version of Hostwright wrote it.
    #[error(
        "{path} was written by a later version of Hostwright (format {version}); use that version for this run"
    )]
    Newer {
        /// The file.
        path: String,
        /// Its format.
        version: u32,
    },
    /// The copy of an old file is not what was put there.
    #[error(
        "{path} is damaged: it should hold the bytes with the SHA-256 {sha256}; nothing was put back from it. Restore that file from your own backup"
    )]
    DamagedCopy {
        /// The copy.
        path: String,
        /// What it should hold.
        sha256: String,
    },
    /// A file changed again and again while it was copied.
    #[error("{path} changes while it is being kept; end the program that writes it and try again")]
    Restless {
        /// The file.
        path: String,
    },
}
