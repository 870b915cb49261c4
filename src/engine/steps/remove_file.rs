// SPDX-License-Identifier: GPL-3.0-or-later
//! Take a file away; its bytes, mode and owner are kept in the journal.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Take a file away, for instance another copy of a module that would be found first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveFile {
    /// The file.
    pub path: String,
    /// Why, for people.
    pub reason: String,
}
