// SPDX-License-Identifier: GPL-3.0-or-later
//! The journal's file. Its writer holds an exclusive `flock(2)` on it, which the kernel drops with the
//! process: so that anybody can see whether a run without an end is still under way.

use super::history::{Unreadable, replay};
use super::record::{Begin, Record};
use super::{History, JournalError};
use crate::host::failpoint;
use crate::host::{HostError, Root};
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::io::{self, Write};

/// The largest journal that is read: far beyond any real one, small enough to hold.
const LIMIT: u64 = 256 << 20;

fn io_error(path: &str, what: &'static str, source: io::Error) -> JournalError {
    JournalError::Host(HostError { path: path.to_owned(), what, source })
}

/// A journal that is being written, and what its lines add up to so far.
#[derive(Debug)]
pub(crate) struct Journal {
    file: Flock<File>,
    path: String,
    len: u64,
    history: History,
}

impl Journal {
    /// Begins a new journal.
    ///
    /// # Errors
    /// When it is there already or cannot be written.
    pub fn create(root: &Root, path: &str, begin: Begin) -> Result<Self, JournalError> {
        let file = lock(root, path)?;
        let mut journal = Self { file, path: path.to_owned(), len: 0, history: History::new(begin.clone()) };
        journal.write(&Record::Begin(begin))?;
        Ok(journal)
    }

    /// Opens a journal to go on with it; a line that was being written when the machine stopped is cut
    /// off. `None` when not even its first line is whole: nothing was changed by that run.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn open(root: &Root, path: &str) -> Result<Option<Self>, JournalError> {
        let text = root.read_at_most(path, LIMIT)?;
        let (history, good) = replay(&text).map_err(|u| unreadable(path, u))?;
        let Some(history) = history else { return Ok(None) };
        let file = lock(root, path)?;
        let len = good as u64;
        file.set_len(len).map_err(|e| io_error(path, "could not cut off the torn line of", e))?;
        Ok(Some(Self { file, path: path.to_owned(), len, history }))
    }

    /// What its lines add up to.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Appends one record and syncs it. When this fails, the record is not there.
    ///
    /// # Errors
    /// When it cannot be written: what it announces must then not be done.
    pub fn record(&mut self, record: &Record) -> Result<(), JournalError> {
        self.history.add(record).map_err(|what| JournalError::Damaged {
            path: self.path.clone(),
            line: 0,
            what,
        })?;
        self.write(record)
    }

    fn write(&mut self, record: &Record) -> Result<(), JournalError> {
        let what = "could not write to the journal";
        let mut line =
            serde_json::to_vec(record).map_err(|e| io_error(&self.path, what, io::Error::other(e)))?;
        line.push(b'\n');
        failpoint::tear(&mut self.file, &line);
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        if let Err(e) = written {
            // Half a line must not stay in front of the next one.
            let _ = self.file.set_len(self.len);
            return Err(io_error(&self.path, what, e));
        }
        self.len += line.len() as u64;
        Ok(())
    }
}

/// Opens the file for appending and waits for readers, who hold it for a moment only. Two writers
/// cannot meet here: the machine's lock is held.
fn lock(root: &Root, path: &str) -> Result<Flock<File>, JournalError> {
    let file = root.append(path, 0o600)?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| io_error(path, "could not lock", e.into()))
}

fn unreadable(path: &str, why: Unreadable) -> JournalError {
    let path = path.to_owned();
    match why {
        Unreadable::Damaged { line, what } => JournalError::Damaged { path, line, what },
        Unreadable::Newer { version } => JournalError::Newer { path, version },
    }
}

/// Reads a journal. `None` when not even its first line is whole.
///
/// # Errors
/// When it cannot be read or is damaged.
pub(crate) fn read(root: &Root, path: &str) -> Result<Option<History>, JournalError> {
    let text = root.read_at_most(path, LIMIT)?;
    replay(&text).map(|(history, _)| history).map_err(|u| unreadable(path, u))
}

/// Whether a process is writing this journal now.
///
/// # Errors
/// When it cannot be looked at.
pub(crate) fn is_live(root: &Root, path: &str) -> Result<bool, JournalError> {
    match Flock::lock(root.open_file(path)?, FlockArg::LockSharedNonblock) {
        Ok(_) => Ok(false),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(true),
        Err((_, e)) => Err(io_error(path, "could not look at the lock of", e.into())),
    }
}
