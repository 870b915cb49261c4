// SPDX-License-Identifier: GPL-3.0-or-later
//! Where results are kept: one JSON file each, in a folder of the caller's choice.

use super::document::{DocumentError, Results};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// The largest document that is read: a thousand figures of a thousand rounds are 20 MB.
const LIMIT: u64 = 32 << 20;

/// Why results cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file operation failed.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There are none of this name.
    #[error("there are no results `{name}`{}", there(.known))]
    Unknown {
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// The file is no document of ours.
    #[error("{path}: {source}")]
    Document {
        /// Which.
        path: PathBuf,
        /// Why.
        source: DocumentError,
    },
    /// It is larger than any document.
    #[error("{path} is larger than any results are ({} MiB)", LIMIT >> 20)]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// The name is none.
    #[error(
        "`{0}` is no name: up to 64 letters, digits, `.`, `_` and `-`, beginning with a letter or a digit"
    )]
    BadName(String),
    /// There are results of this name already.
    #[error("there are results `{0}` already")]
    Exists(String),
}

fn there(known: &[String]) -> String {
    if known.is_empty() { String::new() } else { format!("; there are: {}", known.join(", ")) }
}

/// Whether this may be the name of results. Pure.
pub fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// The names of all results in a folder, the latest first.
///
/// # Errors
/// When the folder cannot be read; one that is not there holds none.
pub fn names(folder: &Path) -> Result<Vec<String>, StoreError> {
    let file = |source| StoreError::File { path: folder.to_owned(), source };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(file(e)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(file)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(name) = name.strip_suffix(".json").filter(|n| is_name(n)) {
            let changed = entry.metadata().and_then(|m| m.modified()).map_err(file)?;
            found.push((changed, name.to_owned()));
        }
    }
    found.sort();
    Ok(found.into_iter().rev().map(|(_, name)| name).collect())
}

/// Keeps results under their name; nothing is overwritten.
///
/// # Errors
/// When there are some of this name, or they cannot be written.
pub fn keep(folder: &Path, results: &Results) -> Result<PathBuf, StoreError> {
    if !is_name(&results.name) {
        return Err(StoreError::BadName(results.name.clone()));
    }
    let path = folder.join(format!("{}.json", results.name));
    let file = |source| StoreError::File { path: path.clone(), source };
    std::fs::create_dir_all(folder).map_err(file)?;
    let mut staged = tempfile::NamedTempFile::new_in(folder).map_err(file)?;
    let text = serde_json::to_string_pretty(results).map_err(|e| file(e.into()))?;
    staged.write_all(text.as_bytes()).and_then(|()| staged.as_file().sync_all()).map_err(file)?;
    staged.persist_noclobber(&path).map_err(|e| match e.error.kind() {
        ErrorKind::AlreadyExists => StoreError::Exists(results.name.clone()),
        _ => file(e.error),
    })?;
    Ok(path)
}

/// Reads results: by their name, or from a file that is named with a `/` or by its ending `.json`.
///
/// # Errors
/// See [`StoreError`].
pub fn read(folder: &Path, wanted: &str) -> Result<Results, StoreError> {
    let is_path = wanted.contains('/') || wanted.ends_with(".json");
    let path = if is_path {
        PathBuf::from(wanted)
    } else if is_name(wanted) {
        folder.join(format!("{wanted}.json"))
    } else {
        return Err(StoreError::BadName(wanted.to_owned()));
    };
    let file = |source| StoreError::File { path: path.clone(), source };
    let opened = match std::fs::File::open(&path) {
        Ok(opened) => opened,
        Err(e) if e.kind() == ErrorKind::NotFound && !is_path => {
            return Err(StoreError::Unknown { name: wanted.to_owned(), known: names(folder)? });
        }
        Err(e) => return Err(file(e)),
    };
    let mut text = String::new();
    opened.take(LIMIT + 1).read_to_string(&mut text).map_err(file)?;
    if text.len() as u64 > LIMIT {
        return Err(StoreError::TooLarge { path });
    }
    Results::parse(&text).map_err(|source| StoreError::Document { path, source })
}

#[cfg(test)]
mod tests {
    use super::super::compare::tests::results;
    use super::*;

    #[test]
    fn results_are_kept_once_and_read_by_name_or_by_path() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("bench");
        assert!(names(&folder).unwrap().is_empty());
        let path = keep(&folder, &results("first", 1.0)).unwrap();
        assert_eq!(read(&folder, "first").unwrap(), results("first", 1.0));
        assert_eq!(read(&folder, path.to_str().unwrap()).unwrap().name, "first");
        let again = keep(&folder, &results("first", 2.0)).unwrap_err();
        assert!(matches!(again, StoreError::Exists(_)), "{again}");
        assert_eq!(read(&folder, "first").unwrap(), results("first", 1.0), "what was there stays");
        let unknown = read(&folder, "second").unwrap_err().to_string();
        assert_eq!(unknown, "there are no results `second`; there are: first");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "nothing half-written stays");
    }

    #[test]
    fn hostile_names_and_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for bad in ["", ".", "..", "-x", "a b", "a\nb", "é", &"a".repeat(65)] {
            assert!(matches!(read(dir.path(), bad), Err(StoreError::BadName(_))), "{bad:?}");
        }
        let deep = dir.path().join("deep.json");
        std::fs::write(&deep, "[".repeat(100_000)).unwrap();
        assert!(matches!(read(dir.path(), "deep"), Err(StoreError::Document { .. })));
        let large = dir.path().join("large.json");
        std::fs::File::create(&large).unwrap().set_len(LIMIT + 10).unwrap();
        assert!(read(dir.path(), "large").is_err());
    }
}
