// SPDX-License-Identifier: GPL-3.0-or-later
//! Why a guest was not started, or could not be watched to its end.

use crate::host::{CommandError, HostError};
use std::path::PathBuf;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// Nothing was started: the guest cannot be as it is wanted.
    #[error("{reason}; {remedy}")]
    Refused {
        /// A stable word for programs.
        code: &'static str,
        /// What stands against it.
        reason: String,
        /// What to do.
        remedy: String,
    },
    /// A program is missing.
    #[error("{program} is not installed; install {package}")]
    MissingTool {
        /// The program.
        program: &'static str,
        /// Where it comes from ("the package `qemu-system-x86` (Debian, Ubuntu) …").
        package: &'static str,
    },
    /// A file could not be used.
    #[error("could not {what} {}: {source}", path.display())]
    File {
        /// What was tried ("read", "write").
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A system call failed that should not.
    #[error("could not {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// QEMU did not answer as its protocol says.
    #[error("QEMU's control socket: {0}")]
    Qmp(String),
    /// Somebody asked to stop before QEMU was started.
    #[error("cancelled before the guest was started")]
    Cancelled,
    /// A command failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A file of the machine could not be used.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl GuestError {
    /// A refusal.
    pub fn refused(code: &'static str, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Refused { code, reason: reason.into(), remedy: remedy.into() }
    }
    /// A file that could not be used.
    pub fn file(what: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::File { what, path: path.into(), source }
    }
}
