// SPDX-License-Identifier: GPL-3.0-or-later
//! Why something of the lab was not done.

use crate::host::{CommandError, HostError, LockError};
use std::io;
use std::path::{Path, PathBuf};

/// Why an image was not built, or something was not cleaned up.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Looked, understood, and will not or cannot be done.
    #[error("{reason}; {remedy}")]
    Refused {
        /// A stable word for programs.
        code: &'static str,
        /// What is wrong.
        reason: String,
        /// What to do.
        remedy: String,
    },
    /// A tool failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A tool failed in a build.
    #[error("{source}\nAll that it said is in {}", log.display())]
    Build {
        /// How.
        source: CommandError,
        /// The build's log.
        log: PathBuf,
    },
    /// A file could not be used.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The same image is being built.
    #[error("{0}")]
    Busy(String),
    /// A file of the person's own could not be used.
    #[error("{path}: {what}: {source}")]
    Io {
        /// Which.
        path: String,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// Somebody asked to stop.
    #[error("cancelled; nothing of it is left")]
    Cancelled,
}

impl LabError {
    /// A refusal with its reason and what to do.
    pub fn refused(code: &'static str, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Refused { code, reason: reason.into(), remedy: remedy.into() }
    }

    /// An error of the operating system about a path.
    pub fn io(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.display().to_string();
        move |source| Self::Io { path, what, source }
    }

    /// The same, from what rustix calls an error.
    pub(super) fn errno(path: &Path, what: &'static str) -> impl FnOnce(rustix::io::Errno) -> Self + use<> {
        let of_io = Self::io(path, what);
        move |errno| of_io(errno.into())
    }
}

impl From<LockError> for LabError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Held { holder } => {
                Self::Busy(format!("this image is being built already ({holder}); wait for it to end"))
            }
            LockError::Host(error) => Self::Host(error),
            LockError::Io(source) => {
                Self::Io { path: "lock".into(), what: "the lock file could not be written", source }
            }
        }
    }
}
