// SPDX-License-Identifier: GPL-3.0-or-later
//! The old bytes of files, kept in a run's folder under their SHA-256: what displaces a file keeps it.

use super::journal::JournalError;
use crate::host::{FileState, HostError, Root};
use sha2::{Digest, Sha256};
use std::io::{self, Read};

/// The kept bytes of one run.
#[derive(Debug, Clone)]
pub(super) struct Store {
    dir: String,
}

/// Hashes what is read through it.
struct Hashing<R> {
    from: R,
    hasher: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(buf)?;
        self.hasher.update(&buf[..n]);
        Ok(n)
    }
}

impl Store {
    /// The store in this folder, which is created when the first file is kept.
    pub fn new(dir: String) -> Self {
        Self { dir }
    }

    /// Where the bytes with this hash are, or would be.
    pub fn path(&self, sha256: &str) -> String {
        format!("{}/{sha256}", self.dir)
    }

    /// Where the bytes of a recorded state are, if it is that of a file.
    pub fn copy_of(&self, state: &FileState) -> Option<String> {
        match state {
            FileState::File { sha256, .. } => Some(self.path(sha256)),
            _ => None,
        }
    }

    /// Records the state of `path` and, when it is a file, keeps its bytes, synced. The state and the
    /// bytes belong together even when the file changes meanwhile.
    ///
    /// # Errors
    /// When it cannot be read or kept, or changes all the time.
    pub fn keep(&self, root: &Root, path: &str) -> Result<FileState, JournalError> {
        for _ in 0..3 {
            let state = root.state(path)?;
            let FileState::File { sha256, .. } = &state else { return Ok(state) };
            if self.copy(root, path, sha256)? {
                return Ok(state);
            }
        }
        Err(JournalError::Restless { path: path.to_owned() })
    }

    /// Copies the bytes of `path`; false when they no longer have this hash.
    fn copy(&self, root: &Root, path: &str, sha256: &str) -> Result<bool, JournalError> {
        let to = self.path(sha256);
        if root.exists(&to) {
            return Ok(true);
        }
        root.create_dirs(&self.dir, 0o700)?;
        let mut from = Hashing { from: root.open_file(path)?, hasher: Sha256::new() };
        root.write_from(&to, &mut from, 0o600, None, None)?;
        if hex::encode(from.hasher.finalize()) == sha256 {
            return Ok(true);
        }
        root.remove_file(&to)?;
        Ok(false)
    }

    /// The kept bytes with this hash, once they were read and found whole.
    ///
    /// # Errors
    /// When they are not there or damaged.
    pub fn open(&self, root: &Root, sha256: &str) -> Result<impl Read + use<>, JournalError> {
        let path = self.path(sha256);
        let mut hashing = Hashing { from: root.open_file(&path)?, hasher: Sha256::new() };
        let unreadable = |source| HostError { path: path.clone(), what: "could not read", source };
        io::copy(&mut hashing, &mut io::sink()).map_err(unreadable)?;
        if hex::encode(hashing.hasher.finalize()) != sha256 {
            return Err(JournalError::DamagedCopy { path, sha256: sha256.to_owned() });
        }
        Ok(root.open_file(&path)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, Root, Store) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root, Store::new("/var/lib/hostwright/runs/0001/blobs".into()))
    }

    #[test]
    fn kept_bytes_are_private_and_come_back() {
        let (_dir, root, store) = place();
        root.write("/f", b"old", 0o644, None).unwrap();
        let FileState::File { sha256, .. } = store.keep(&root, "/f").unwrap() else { panic!() };
        root.write("/f", b"new", 0o644, None).unwrap();
        let mut bytes = Vec::new();
        store.open(&root, &sha256).unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"old");
        assert_eq!(root.metadata(&store.path(&sha256)).unwrap().mode, 0o600);
        assert_eq!(root.metadata("/var/lib/hostwright/runs/0001/blobs").unwrap().mode, 0o700);
    }

    #[test]
    fn the_same_bytes_are_kept_once_and_links_not_at_all() {
        let (_dir, root, store) = place();
        root.write("/a", b"same", 0o644, None).unwrap();
        root.write("/b", b"same", 0o600, None).unwrap();
        root.symlink("/a", "/c").unwrap();
        for path in ["/a", "/b", "/c", "/absent"] {
            store.keep(&root, path).unwrap();
        }
        assert_eq!(root.list("/var/lib/hostwright/runs/0001/blobs").unwrap().len(), 1);
    }

    #[test]
    fn a_damaged_copy_is_not_put_back() {
        let (_dir, root, store) = place();
        root.write("/f", b"old", 0o644, None).unwrap();
        let FileState::File { sha256, .. } = store.keep(&root, "/f").unwrap() else { panic!() };
        root.write(&store.path(&sha256), b"0ld", 0o600, None).unwrap();
        let error = store.open(&root, &sha256).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("is damaged") && error.contains("your own backup"), "{error}");
    }
}
