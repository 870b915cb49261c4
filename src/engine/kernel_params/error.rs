// SPDX-License-Identifier: GPL-3.0-or-later
//! Why a configuration is left alone.

/// Why a configuration is left alone: what was met, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}; {remedy}")]
pub struct ParamError {
    /// The line, from 1.
    pub line: usize,
    /// What was met, without a full stop.
    pub what: String,
    /// What to do, without a full stop.
    pub remedy: String,
}

impl ParamError {
    pub(super) fn new(line: usize, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { line, what: what.into(), remedy: remedy.into() }
    }

    /// The same error in another line.
    pub(super) fn at(self, line: usize) -> Self {
        Self { line, ..self }
    }

    /// An open quote.
    pub(super) fn open_quote(line: usize, quote: char) -> Self {
        Self::new(line, format!("a quote ({quote}) is opened and never closed"), "close it and look again")
    }
}
