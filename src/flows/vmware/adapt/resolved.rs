// SPDX-License-Identifier: GPL-3.0-or-later
//! What resolving results in, as plain data: edits, flags, and a reason for each adaptation.

use crate::engine::edit::{COMPAT_HEADER, EditError, TextEdit};
use crate::flows::vmware::source::Recognised;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An adaptation that is part of the build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Applied {
    /// Which.
    pub id: String,
    /// What it is about.
    pub title: String,
    /// Since when the kernel is so.
    pub since: String,
    /// Why it is applied here.
    pub reason: String,
    /// What it changes in the sources, as a unified difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    /// What it adds to the compat header.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub compat: String,
    /// What it adds to the command line of make, flags included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub make: Vec<String>,
}

impl Applied {
    /// All that it changes, as a person reads it: the difference, then lines of the compat header, then
    /// flags.
    pub fn shown(&self) -> Option<String> {
        let mut shown = self.diff.clone().unwrap_or_default();
        for line in self.compat.lines() {
            shown.push_str(&format!("+{COMPAT_HEADER}: {line}\n"));
        }
        for var in &self.make {
            shown.push_str(&format!("+make {var}\n"));
        }
        (!shown.is_empty()).then_some(shown)
    }
}

/// Why an adaptation is not part of the build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum Why {
    /// Its conditions do not hold here.
    Condition {
        /// The conditions, with the answers.
        shown: String,
    },
    /// The sources do not use what changed.
    NotUsed,
    /// The sources are already fixed.
    Fixed {
        /// In which files that was seen.
        files: Vec<String>,
    },
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Condition { shown } => write!(f, "not so here: {shown}"),
            Self::NotUsed => f.write_str("the sources do not use it"),
            Self::Fixed { files } => write!(f, "the sources are already fixed ({})", files.join(", ")),
        }
    }
}

/// An adaptation that is not part of the build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotNeeded {
    /// Which.
    pub id: String,
    /// Why not.
    #[serde(flatten)]
    pub why: Why,
}

/// How the sources of one module become those for one kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Resolved {
    /// Module.
    pub module: String,
    /// SHA-256 of the sources that this is for.
    pub source_sha256: String,
    /// What the sources are.
    pub source: Recognised,
    /// Text of the force-included compat header; empty when none is needed.
    pub compat_header: String,
    /// The edits, in order.
    pub edits: Vec<TextEdit>,
    /// kbuild variables, `NAME=value`; they name the compat header when there is one.
    pub make_vars: Vec<String>,
    /// What is applied, in order.
    pub applied: Vec<Applied>,
    /// What is not, and why.
    pub not_needed: Vec<NotNeeded>,
}

/// Why sources cannot be fitted to a kernel.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// A text that an edit needs is not there, or not just once.
    #[error(
        "adaptation {adaptation} does not fit `{file}` of {module}: {expected} was expected {wanted}, it is there {found} times. These sources differ from all known ones; use those of your VMware release, or report this together with the sources' version"
    )]
    NoMatch {
        /// Which.
        adaptation: String,
        /// Which module.
        module: String,
        /// In which file.
        file: String,
        /// The text or pattern.
        expected: String,
        /// How often it should be there.
        wanted: &'static str,
        /// How often it is.
        found: usize,
    },
    /// A file that an edit needs is not there, and what it is needed for is elsewhere.
    #[error(
        "adaptation {adaptation} is for `{file}`, which these sources of {module} do not have{}; use the sources of your VMware release, or report this together with the sources' version",
        .elsewhere.as_ref().map(|e| format!(", while {e} has what it is about")).unwrap_or_default()
    )]
    NoFile {
        /// Which.
        adaptation: String,
        /// Which module.
        module: String,
        /// The pattern of the file.
        file: String,
        /// Where the text in question was seen.
        elsewhere: Option<String>,
    },
    /// A probe was not answered.
    #[error("adaptation {adaptation}: its probe `{probe}` was not answered for this kernel; probe again")]
    NoAnswer {
        /// Which.
        adaptation: String,
        /// Which probe.
        probe: String,
    },
    /// Two adaptations want different values of one variable.
    #[error(
        "the adaptations {first} and {second} want different values of the make variable {name}; remove one of them"
    )]
    Conflict {
        /// One.
        first: String,
        /// The other.
        second: String,
        /// Of which variable.
        name: String,
    },
    /// An edit did not fit in the end.
    #[error(transparent)]
    Edit(#[from] EditError),
}
