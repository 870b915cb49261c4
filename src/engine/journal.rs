// SPDX-License-Identifier: GPL-3.0-or-later
//! Write-ahead record of a run: Intent(before) → Done or Failed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Steps are being carried out.
    Running,
    /// All steps are done and every check is good.
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
