// SPDX-License-Identifier: GPL-3.0-or-later
//! Resolved edits of source texts: what a flow decided, as data that the engine only applies.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One resolved edit of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TextEdit {
    /// Which adaptation it belongs to.
    pub adaptation: String,
    /// The file, relative to the module's folder.
    pub file: String,
    /// Byte offset in the text as edited so far.
    pub at: usize,
    /// What must stand there.
    pub before: String,
    /// What stands there afterwards.
    pub after: String,
}
