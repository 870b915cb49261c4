// SPDX-License-Identifier: GPL-3.0-or-later
//! What an adaptation file says, typed. The format is described in `docs/adaptations.md`; `super::read`
//! reads it.

use super::expr::Expr;
use regex::bytes::Regex;
use std::collections::BTreeMap;

/// The version of the format that this program reads.
pub const SCHEMA: u32 = 1;

/// Words that a condition may use beside the probes of its file.
pub const BUILT_IN: [&str; 7] =
    ["optimized", "clang", "vmmon", "vmnet", "has_vtx_ept", "has_avx512", "has_nvme"];

/// Values that texts may refer to as `@{name}`.
pub const VARIABLES: [&str; 4] = ["mode", "cpu", "march", "record"];

/// One adaptation: what changed in the kernel, how to see it, what to do about it.
#[derive(Debug, Clone)]
pub struct Adaptation {
    /// Stable name, the same as its file's.
    pub id: String,
    /// What changed, in one line.
    pub title: String,
    /// Which modules it is for.
    pub modules: Vec<String>,
    /// Since when, in words ("removed in 6.15").
    pub since: String,
    /// Where that is known from (commit, document, measurement).
    pub source: String,
    /// Adaptations whose edits are made before this one's.
    pub after: Vec<String>,
    /// How its lack shows itself in compiler output.
    pub symptoms: Vec<Regex>,
    /// What is looked at.
    pub probes: Vec<Probe>,
    /// What is done.
    pub applies: Vec<Apply>,
    /// The file it was read from, for messages.
    pub file: String,
    /// Its text, for the digest.
    pub text: String,
}

/// A question about the target kernel or the sources.
#[derive(Debug, Clone)]
pub struct Probe {
    /// Its name in conditions.
    pub name: String,
    /// How it is answered.
    pub kind: ProbeKind,
}

/// How a probe is answered.
#[derive(Debug, Clone)]
pub enum ProbeKind {
    /// Yes when this compiles against the target's headers.
    Code {
        /// C text.
        code: String,
        /// Additional flags.
        flags: Vec<String>,
    },
    /// Yes when the kernel exports this symbol to all modules (`Module.symvers`).
    Symbol(String),
    /// Yes when the kernel's configuration sets this (`y` or `m`).
    Config(String),
    /// Yes when this matches in the sources of the module, comments left out.
    Source {
        /// The pattern.
        regex: Regex,
        /// Only in these files.
        file: Option<Glob>,
    },
}

/// What is done when a condition holds.
#[derive(Debug, Clone)]
pub struct Apply {
    /// The condition.
    pub when: Expr,
    /// Why, for the person who reads the plan.
    pub reason: String,
    /// Only for these modules; all of the adaptation's when empty.
    pub modules: Vec<String>,
    /// Only when this matches in the sources.
    pub uses: Option<Regex>,
    /// Not when this matches in the sources: they are already fixed.
    pub fixed: Option<Regex>,
    /// Text for the compat header.
    pub compat: String,
    /// kbuild variables, `NAME=value`.
    pub make: Vec<String>,
    /// Compiler flags.
    pub cflags: Vec<String>,
    /// Edits of the sources.
    pub edits: Vec<Edit>,
}

/// One anchored edit.
#[derive(Debug, Clone)]
pub struct Edit {
    /// The files.
    pub file: Glob,
    /// Not needed in a file where this does not match.
    pub needed: Option<Regex>,
    /// Not needed in a file where this matches: it is already fixed.
    pub fixed: Option<Regex>,
    /// What is done.
    pub action: EditAction,
}

/// What an edit does.
#[derive(Debug, Clone)]
pub enum EditAction {
    /// Replaces what matches; `$1` and `${name}` in the replacement are groups of a pattern.
    Replace {
        /// The pattern.
        regex: Regex,
        /// As it is written in the file, for messages.
        shown: String,
        /// What comes in its place.
        with: String,
        /// Whether `with` refers to groups.
        expand: bool,
        /// Every match instead of exactly one.
        all: bool,
    },
    /// Adds text at the end of the file.
    Append(String),
}

/// A file pattern: a path relative to the module's folder; `*` stands for anything but `/`, a leading
/// `**/` for any folder or none.
#[derive(Debug, Clone)]
pub struct Glob {
    text: String,
    regex: Regex,
}

impl Glob {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let ok = |c: char| c.is_ascii_alphanumeric() || "._-*/".contains(c);
        if text.is_empty() || text.starts_with('/') || text.contains("..") || !text.chars().all(ok) {
            return Err(format!("`{text}` is no relative path or pattern"));
        }
        let (prefix, rest) = match text.strip_prefix("**/") {
            Some(rest) => ("^(?:[^/]+/)*", rest),
            None => ("^", text),
        };
        let body = rest.split('*').map(regex::escape).collect::<Vec<_>>().join("[^/]*");
        let regex = Regex::new(&format!("{prefix}{body}$")).map_err(|e| e.to_string())?;
        Ok(Self { text: text.to_owned(), regex })
    }

    /// Whether a path fits.
    pub fn matches(&self, path: &str) -> bool {
        self.regex.is_match(path.as_bytes())
    }
}

impl std::fmt::Display for Glob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// An adaptation file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("adaptation file {file}: {why}")]
pub struct ModelError {
    /// The file.
    pub file: String,
    /// What is wrong, and where.
    pub why: String,
}

/// Puts the values of variables into a text.
pub fn substitute(text: &str, values: &BTreeMap<&str, String>) -> String {
    let mut out = text.to_owned();
    for (name, value) in values {
        out = out.replace(&format!("@{{{name}}}"), value);
    }
    out
}
