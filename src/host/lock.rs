// SPDX-License-Identifier: GPL-3.0-or-later
//! One run at a time changes a machine: an exclusive `flock(2)` that the kernel drops with its holder.

use super::{HostError, Inherited, Root};
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::io::{Read, Seek, Write};

/// Why a lock could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another run holds it.
    #[error(
        "another run is changing this machine ({holder}); wait for it to end, or look at it with `hostwright runs`"
    )]
    Held {
        /// What the holder wrote about itself.
        holder: String,
    },
    /// The lock file cannot be opened or read.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The lock file cannot be written.
    #[error("the lock file could not be written: {0}")]
    Io(#[from] std::io::Error),
}

/// The exclusive right to change one machine; given back when dropped.
#[derive(Debug)]
pub struct Lock {
    file: Flock<File>,
}

impl Lock {
    /// Takes the lock at `path` below `root`, without waiting.
    ///
    /// # Errors
    /// [`LockError::Held`] names the holder when another process (or thread) has it.
    pub fn take(root: &Root, path: &str, holder: &str) -> Result<Self, LockError> {
        let mut file = root.open_lock_file(path)?;
        let mut text = String::new();
        // Read before locking: a holder's line is what the refusal shows.
        let _ = Read::take(&mut file, 200).read_to_string(&mut text);
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut file) => {
                file.set_len(0)?;
                file.rewind()?;
                file.write_all(holder.as_bytes())?;
                Ok(Self { file })
            }
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
                let holder =
                    if text.trim().is_empty() { "unknown".to_owned() } else { text.trim().to_owned() };
                Err(LockError::Held { holder })
            }
            Err((_, errno)) => Err(LockError::Io(errno.into())),
        }
    }

    /// The lock for a command to inherit. When this process dies without a word, the lock stays taken as
    /// long as that command, or a process that it started, is still at work. (A lock that is dropped is
    /// given back at once, whoever has inherited it.) Never for a command that starts a service, which
    /// would hold it for ever.
    ///
    /// # Errors
    /// When the process has no more file descriptors.
    pub fn share(&self) -> std::io::Result<Inherited> {
        // The same open file description, to which flock(2) belongs.
        Ok(Inherited::new(self.file.try_clone()?.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_is_refused_and_told_who_is_first() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let first = Lock::take(&root, "/run/hostwright/lock", "run 7, process 42").unwrap();
        let second = Lock::take(&root, "/run/hostwright/lock", "run 8").unwrap_err();
        assert!(second.to_string().contains("run 7, process 42"), "{second}");
        drop(first);
        Lock::take(&root, "/run/hostwright/lock", "run 8").unwrap();
    }
}
