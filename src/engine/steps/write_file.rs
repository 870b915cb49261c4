// SPDX-License-Identifier: GPL-3.0-or-later
//! Write a configuration file.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Write a text file; what was there is kept in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteFile {
    /// The file.
    pub path: String,
    /// Its whole text.
    pub content: String,
    /// Permission bits.
    pub mode: u32,
    /// Why, for people.
    pub reason: String,
}
