// SPDX-License-Identifier: GPL-3.0-or-later
//! Write-ahead record of a run: Intent(before) → Done or Failed.

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
    /// The file cannot be read or written.
    #[error("{}", super::error::advise(.0))]
    Host(#[from] HostError),
}
