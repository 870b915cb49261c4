// SPDX-License-Identifier: GPL-3.0-or-later
//! Packs what `--source` names into one archive. The helper never opens a path of a user's: it is
//! handed these bytes as a sealed file.

use crate::engine::source::{Files, Limits, SourceError, read_archive, read_folder};
use crate::host::{FileKind, Root};
use crate::tell::{Exit, Problem};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::Path;

/// An archive of module sources.
#[derive(Debug)]
pub(crate) struct Packed {
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    /// Their SHA-256, hexadecimal.
    pub(crate) sha256: String,
    /// What it is called in plans and messages.
    pub(crate) name: String,
}

/// Packs a folder, or takes an archive as it is.
///
/// # Errors
/// When it cannot be read, or holds what no sources hold.
pub(crate) fn pack(path: &Path) -> Result<Packed, Problem> {
    let meta = std::fs::metadata(path).map_err(|e| Problem::file("read the sources at", path, &e))?;
    let limits = Limits::default();
    let bytes = if meta.is_dir() {
        let root = Root::open(path).map_err(|e| refused(path, &e.to_string()))?;
        let files = folder(&root, &limits).map_err(|e| source_refused(path, &e))?;
        tar(&with_inner_archives(files, &limits).map_err(|e| source_refused(path, &e))?)?
    } else {
        let file = std::fs::File::open(path).map_err(|e| Problem::file("read the sources at", path, &e))?;
        let mut bytes = Vec::new();
        // One byte over the limit is enough to be told so by the reader below.
        file.take(limits.packed + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| Problem::file("read the sources at", path, &e))?;
        // Looked at here, so that a bad archive is told at once and not only by the helper.
        read_archive(&bytes, &limits).map_err(|e| source_refused(path, &e))?;
        bytes
    };
    let name = path
        .canonicalize()
        .ok()
        .and_then(|p| p.file_name().map(|n| n.to_string_lossy().into_owned()))
        .unwrap_or_else(|| "sources".to_owned());
    let sha256 = hex::encode(Sha256::digest(&bytes));
    Ok(Packed { bytes, sha256, name })
}

/// The files of a folder. Of a checkout only the modules' own folders are taken: what stands beside them
/// may be links and gigabytes.
fn folder(root: &Root, limits: &Limits) -> Result<Files, SourceError> {
    let mut files = Files::new();
    for only in ["vmmon-only", "vmnet-only"] {
        if root.metadata(only).is_ok_and(|m| m.kind == FileKind::Directory) {
            let inner = read_folder(root, &format!("/{only}"), limits)?;
            files.extend(inner.into_iter().map(|(name, bytes)| (format!("{only}/{name}"), bytes)));
        }
    }
    if files.is_empty() { read_folder(root, "/", limits) } else { Ok(files) }
}

/// A folder may hold the product's own `vmmon.tar` and `vmnet.tar`: these are unpacked in place.
fn with_inner_archives(mut files: Files, limits: &Limits) -> Result<Files, SourceError> {
    for inner in ["vmmon.tar", "vmnet.tar"] {
        if let Some(bytes) = files.remove(inner) {
            for (name, content) in read_archive(&bytes, limits)? {
                files.entry(name).or_insert(content);
            }
        }
    }
    Ok(files)
}

/// A tar archive of these files: the same files make the same bytes, whoever packs them and when.
fn tar(files: &Files) -> Result<Vec<u8>, Problem> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_entry_type(tar::EntryType::Regular);
        builder
            .append_data(&mut header, name, content.as_slice())
            .map_err(|e| Problem::internal("pack the sources", &e))?;
    }
    builder.into_inner().map_err(|e| Problem::internal("pack the sources", &e))
}

fn source_refused(path: &Path, error: &SourceError) -> Problem {
    refused(path, &error.to_string())
}

fn refused(path: &Path, reason: &str) -> Problem {
    Problem::new(
        Exit::Refused,
        "source-unusable",
        &format!("{} cannot be used as module sources", path.display()),
        reason,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(dir: &Path) {
        for module in ["vmmon", "vmnet"] {
            let only = dir.join(format!("{module}-only"));
            std::fs::create_dir_all(only.join("linux")).unwrap();
            std::fs::write(only.join("Makefile"), format!("obj-m := {module}.o\n")).unwrap();
            std::fs::write(only.join("linux/driver.c"), "int x;\n").unwrap();
        }
    }

    #[test]
    fn the_same_files_make_the_same_archive() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        tree(one.path());
        tree(two.path());
        std::fs::create_dir(two.path().join(".git")).unwrap();
        std::fs::write(two.path().join(".git/HEAD"), "ref").unwrap();
        let (one, two) = (pack(one.path()).unwrap(), pack(two.path()).unwrap());
        assert_eq!(one.sha256, two.sha256);
        let files = read_archive(&one.bytes, &Limits::default()).unwrap();
        assert_eq!(
            files.keys().collect::<Vec<_>>(),
            [
                "vmmon-only/Makefile",
                "vmmon-only/linux/driver.c",
                "vmnet-only/Makefile",
                "vmnet-only/linux/driver.c"
            ]
        );
    }

    #[test]
    fn the_products_own_archives_in_a_folder_are_unpacked() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        tree(from.path());
        let all = pack(from.path()).unwrap();
        std::fs::write(to.path().join("vmmon.tar"), &all.bytes).unwrap();
        assert_eq!(pack(to.path()).unwrap().sha256, all.sha256);
    }

    #[test]
    fn a_missing_or_broken_archive_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let gone = pack(&dir.path().join("none")).unwrap_err();
        assert!(gone.title.contains("none"), "{gone:?}");
        let broken = dir.path().join("x.tar");
        std::fs::write(&broken, b"no tar at all").unwrap();
        assert_eq!(pack(&broken).unwrap_err().exit, Exit::Refused);
    }
}
