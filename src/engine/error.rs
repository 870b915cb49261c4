// SPDX-License-Identifier: GPL-3.0-or-later
//! Why a step or a run did not do its work; each message ends with what to do.

use super::drift::Drift;
use super::journal::JournalError;
use crate::host::{CommandError, HostError, LockError};
use std::io::ErrorKind;

/// Why a step did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// A file operation failed.
    #[error("{}", advise(.0))]
    Host(#[from] HostError),
    /// A command failed, did not start, took too long or was cancelled.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// Somebody asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// Something changed since the step was carried out; it is left alone.
    #[error("{0}")]
    Drift(Box<Drift>),
    /// The machine is not as the step needs it.
    #[error("{what}; {remedy}")]
    Refused {
        /// What is wrong, without a full stop.
        what: String,
        /// What to do, without a full stop.
        remedy: String,
    },
    /// The change was made and has not the effect that it should have.
    #[error("{what}: {reason}")]
    Postcondition {
        /// What was looked at.
        what: String,
        /// What was seen, and what to do.
        reason: String,
    },
    /// What the run must remember could not be written or read.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl StepError {
    /// The machine is not as the step needs it: what is wrong, and what to do.
    pub fn refused(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Refused { what: what.into(), remedy: remedy.into() }
    }

    /// Whether it ended because somebody asked to stop.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled | Self::Command(CommandError::Cancelled { .. }))
    }
}

/// What to do about an error of the file system, where the error itself does not say it.
pub(super) fn advise(error: &HostError) -> String {
    let advice = match error.source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; free some space there and try again",
        ErrorKind::ReadOnlyFilesystem => {
            "; make that file system writable (`mount -o remount,rw`) and try again"
        }
        ErrorKind::PermissionDenied => "; run this as root",
        ErrorKind::NotADirectory => {
            "; a file stands where a directory is needed: look at it and move it away"
        }
        ErrorKind::AlreadyExists => "; look at what is there and move it away",
        _ => "",
    };
    format!("{error}{advice}")
}

fn advise_on_lock(error: &LockError) -> String {
    match error {
        LockError::Host(e) => advise(e),
        other => other.to_string(),
    }
}

/// Why a run was not begun, or its undo.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another run is changing this machine, or that cannot be found out.
    #[error("{}", advise_on_lock(.0))]
    Lock(#[from] LockError),
    /// A run that was interrupted comes first.
    #[error(
        "run {run} was interrupted ({title}) and nothing else is done before it is taken back; take it back with `hostwright undo {run}`"
    )]
    Interrupted {
        /// Its number.
        run: u32,
        /// What it does.
        title: String,
    },
    /// There is no such run.
    #[error("there is no run {run}; `hostwright runs` lists them")]
    NoSuchRun {
        /// The number asked for.
        run: u32,
    },
    /// The run has nothing left to take back.
    #[error("run {run} has nothing to take back (any more); `hostwright runs` shows what became of it")]
    NothingToUndo {
        /// Its number.
        run: u32,
    },
    /// A later run changed the same files and must be undone first.
    #[error(
        "run {later} changed {path} after run {run} did; undo the later one first: `hostwright undo {later}`"
    )]
    LaterRun {
        /// The run asked for.
        run: u32,
        /// The run that comes first.
        later: u32,
        /// A file that both changed.
        path: String,
    },
    /// The plan is not one that can be carried out.
    #[error("{what}; {remedy}")]
    Plan {
        /// What is wrong.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// Not enough space for the change and for what must be kept of the old state.
    #[error(
        "{path}: {needed} bytes are needed and {free} are free; free {} bytes there and try again",
        needed.saturating_sub(*.free)
    )]
    Space {
        /// Folder of the file system.
        path: String,
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// The journal cannot be written or read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A file operation failed.
    #[error("{}", advise(.0))]
    Host(#[from] HostError),
}
