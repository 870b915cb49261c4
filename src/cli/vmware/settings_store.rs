// SPDX-License-Identifier: GPL-3.0-or-later
//! What `vmware settings` and `vmware wayland desktop` changed of a person's files, so that it can be put back: a folder of this person's with a
//! record for each change, written before the change.

use crate::cli::errors::{Exit, Problem};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A change that is to be made.
#[derive(Clone, Copy)]
pub(super) struct Change<'a> {
    pub(super) path: &'a Path,
    /// The bytes that are there; none when there is no file.
    pub(super) before: Option<&'a [u8]>,
    pub(super) after: &'a [u8],
}

/// A change that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    path: PathBuf,
    /// SHA-256 of what was there; none when there was no file.
    before: Option<String>,
    /// SHA-256 of what was written.
    after: String,
}

/// A change that can be put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) number: u32,
    pub(super) path: PathBuf,
    before: Option<Vec<u8>>,
}

/// The folder of the records.
pub(super) struct Store {
    folder: PathBuf,
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

impl Store {
    /// The folder of this person for what is called so ("vmware-settings").
    pub(super) fn find(what: &str) -> Result<Self, Problem> {
        let named = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let state = named("XDG_STATE_HOME").or_else(|| Some(named("HOME")?.join(".local/state")));
        let state = state.ok_or_else(|| {
            Problem::usage("Neither HOME nor XDG_STATE_HOME says where to keep what was there before.")
        })?;
        Ok(Self { folder: state.join("hostwright").join(what) })
    }

    fn record(&self, number: u32) -> PathBuf {
        self.folder.join(format!("{number}.json"))
    }

    fn bytes(&self, number: u32) -> PathBuf {
        self.folder.join(format!("{number}.before"))
    }

    fn numbers(&self) -> Result<Vec<u32>, Problem> {
        let fail = |e: std::io::Error| Problem::file("read", &self.folder, &e);
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(fail(e)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.map_err(fail)?.file_name();
            found.extend(name.to_str().and_then(|n| n.strip_suffix(".json")?.parse::<u32>().ok()));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Keeps what was there and writes the file; the number of the change.
    pub(super) fn change(&self, change: Change<'_>) -> Result<u32, Problem> {
        std::fs::create_dir_all(&self.folder).map_err(|e| Problem::file("make", &self.folder, &e))?;
        let mut number = self.numbers()?.last().map_or(1, |n| n + 1);
        let record = Record {
            path: change.path.to_owned(),
            before: change.before.map(sha256),
            after: sha256(change.after),
        };
        let text = serde_json::to_string(&record).map_err(|e| Problem::internal("write the record", &e))?;
        // Two at once take two numbers.
        loop {
            match new_file(&self.record(number), text.as_bytes()) {
                Ok(()) => break,
                Err(e) if e.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(e) => return Err(Problem::file("write", &self.record(number), &e)),
            }
        }
        if let Some(before) = change.before {
            let path = self.bytes(number);
            if let Err(e) = new_file(&path, before) {
                let _ = std::fs::remove_file(self.record(number));
                return Err(Problem::file("keep what was there in", &path, &e));
            }
        }
        if let Err(problem) = replace(change.path, change.after) {
            let _ = std::fs::remove_file(self.record(number));
            let _ = std::fs::remove_file(self.bytes(number));
            return Err(problem);
        }
        Ok(number)
    }

    /// A change that can be put back: just what it wrote is still there.
    pub(super) fn undo(&self, number: Option<u32>) -> Result<Done, Problem> {
        let numbers = self.numbers()?;
        let number = match number {
            Some(number) if !numbers.contains(&number) => {
                let known: Vec<String> = numbers.iter().map(u32::to_string).collect();
                return Err(Problem::usage(format!("There is no change {number}.")).remedy(format!(
                    "There are: {}.",
                    if known.is_empty() { "none".into() } else { known.join(", ") }
                )));
            }
            Some(number) => number,
            None => *numbers
                .last()
                .ok_or_else(|| Problem::usage("Nothing was changed that could be put back."))?,
        };
        let path = self.record(number);
        let text = std::fs::read_to_string(&path).map_err(|e| Problem::file("read", &path, &e))?;
        let record: Record = serde_json::from_str(&text)
            .map_err(|e| Problem::file("read", &path, &std::io::Error::other(e)))?;
        let now = match std::fs::read(&record.path) {
            Ok(bytes) => Some(bytes),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(Problem::file("read", &record.path, &e)),
        };
        let now_sum = now.as_deref().map(sha256);
        if now_sum.as_ref() != Some(&record.after) && now_sum != record.before {
            return Err(Problem::new(
                Exit::Refused,
                "drift",
                "The file was not put back",
                format!("{} was changed since by something else.", record.path.display()),
            )
            .remedy(format!("What it was before is kept in {}.", self.bytes(number).display())));
        }
        let before = match &record.before {
            None => None,
            Some(sum) => {
                let kept = self.bytes(number);
                let bytes = std::fs::read(&kept).map_err(|e| Problem::file("read", &kept, &e))?;
                if sha256(&bytes) != *sum {
                    return Err(Problem::new(
                        Exit::Failed,
                        "damaged",
                        "The file was not put back",
                        format!("{} is damaged.", kept.display()),
                    ));
                }
                Some(bytes)
            }
        };
        Ok(Done { number, path: record.path, before })
    }

    /// The latest change, where there is one.
    pub(super) fn latest(&self) -> Result<Option<Done>, Problem> {
        match self.numbers()?.last() {
            Some(number) => self.undo(Some(*number)).map(Some),
            None => Ok(None),
        }
    }

    /// Puts it back, and forgets the change.
    pub(super) fn put_back(&self, done: &Done) -> Result<(), Problem> {
        match &done.before {
            Some(bytes) => replace(&done.path, bytes)?,
            None => match std::fs::remove_file(&done.path) {
                Err(e) if e.kind() != ErrorKind::NotFound => {
                    return Err(Problem::file("remove", &done.path, &e));
                }
                _ => {}
            },
        }
        for path in [self.record(done.number), self.bytes(done.number)] {
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(Problem::file("remove", &path, &e)),
                _ => {}
            }
        }
        Ok(())
    }
}

fn new_file(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes).and_then(|()| file.sync_all())
}

/// Writes beside the file, keeps its permission bits, and exchanges it in one step.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    let fail = |e: std::io::Error| Problem::file("write", path, &e);
    let folder = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder).map_err(fail)?;
    let mode = std::fs::metadata(path).map_or(0o644, |m| m.permissions().mode() & 0o7777);
    let mut staged = tempfile::NamedTempFile::new_in(folder).map_err(fail)?;
    staged.write_all(bytes).map_err(fail)?;
    let file = staged.as_file();
    file.set_permissions(std::fs::Permissions::from_mode(mode))
        .and_then(|()| file.sync_all())
        .map_err(fail)?;
    staged.persist(path).map(|_| ()).map_err(|e| fail(e.error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene() -> (tempfile::TempDir, Store, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store { folder: dir.path().join("state") };
        let file = dir.path().join("a b.vmx");
        (dir, store, file)
    }

    #[test]
    fn a_file_comes_back_byte_for_byte_with_its_mode() {
        let (_dir, store, file) = scene();
        std::fs::write(&file, b"a = \"1\"\r\n\xff").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        let before = std::fs::read(&file).unwrap();
        let n = store.change(Change { path: &file, before: Some(&before), after: b"new" }).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"new");
        store.put_back(&store.undo(Some(n)).unwrap()).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), before);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o755);
        assert_eq!(std::fs::read_dir(&store.folder).unwrap().count(), 0, "nothing is left");
        assert!(store.undo(None).is_err());
    }

    #[test]
    fn a_file_that_was_not_there_goes_again() {
        let (dir, store, _) = scene();
        let file = dir.path().join(".vmware/config");
        store.change(Change { path: &file, before: None, after: b"x" }).unwrap();
        assert!(file.exists());
        store.put_back(&store.undo(None).unwrap()).unwrap();
        assert!(!file.exists());
    }

    #[test]
    fn a_file_that_was_changed_since_is_left_alone() {
        let (_dir, store, file) = scene();
        std::fs::write(&file, "old").unwrap();
        store.change(Change { path: &file, before: Some(b"old"), after: b"new" }).unwrap();
        std::fs::write(&file, "by hand").unwrap();
        let problem = store.undo(None).unwrap_err();
        assert_eq!((problem.code.as_str(), problem.exit), ("drift", Exit::Refused));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "by hand");
        assert!(problem.remedy.unwrap().contains("1.before"));
    }

    #[test]
    fn changes_are_put_back_one_by_one_the_latest_first() {
        let (_dir, store, file) = scene();
        std::fs::write(&file, "1").unwrap();
        store.change(Change { path: &file, before: Some(b"1"), after: b"2" }).unwrap();
        store.change(Change { path: &file, before: Some(b"2"), after: b"3" }).unwrap();
        assert!(store.undo(Some(1)).is_err(), "the second lies over it");
        store.put_back(&store.undo(None).unwrap()).unwrap();
        store.put_back(&store.undo(None).unwrap()).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "1");
    }

    #[test]
    fn a_folder_that_cannot_be_written_loses_nothing() {
        let (dir, store, _) = scene();
        let file = dir.path().join("file/below");
        std::fs::write(dir.path().join("file"), "no folder").unwrap();
        assert!(store.change(Change { path: &file, before: None, after: b"x" }).is_err());
        assert!(store.numbers().unwrap().is_empty(), "no record of what was not done");
    }
}
