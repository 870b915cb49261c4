// SPDX-License-Identifier: GPL-3.0-or-later
//! Files that can be made anew: written beside and renamed, named by what they were made from.

use super::error::GuestError;
use sha2::{Digest, Sha256};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Files that nobody used for so long are removed when new ones are written.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// What makes one state of a file differ from another without reading it.
///
/// # Errors
/// When it cannot be looked at.
pub fn stamp(path: &Path) -> io::Result<String> {
    let path = path.canonicalize()?;
    let meta = path.metadata()?;
    let times = (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
    Ok(format!("{:?} {} {times:?} {}:{}", path.as_os_str(), meta.size(), meta.dev(), meta.ino()))
}

/// A file name from all that a file is made from.
pub fn key(kind: &str, parts: impl IntoIterator<Item = String>) -> String {
    let mut hasher = Sha256::new();
    hasher.update(kind);
    for part in parts {
        hasher.update([0]);
        hasher.update(part);
    }
    hex::encode(&hasher.finalize()[..16])
}

/// Writes a file of the cache: whole or not at all. Two processes may do it at once.
///
/// # Errors
/// When the folder cannot be made or written.
pub fn write(path: &Path, content: &[u8]) -> Result<(), GuestError> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let written = (|| {
        std::fs::create_dir_all(dir)?;
        // Readable by whoever reaches the folder: QEMU may run as another user, with the file handed to it.
        let mode = std::fs::Permissions::from_mode(0o644);
        let mut file = tempfile::Builder::new().prefix(".new-").permissions(mode).tempfile_in(dir)?;
        file.write_all(content)?;
        file.persist(path).map_err(|e| e.error)?;
        prune(dir);
        Ok(())
    })();
    written.map_err(|e| GuestError::file("write", path, e))
}

/// Says that a file of the cache was used; at most once a day, so that it costs nothing.
pub fn touch(path: &Path) {
    let Ok(meta) = path.metadata() else { return };
    let is_old =
        meta.modified().is_ok_and(|t| t.elapsed().is_ok_and(|age| age > Duration::from_secs(86_400)));
    if is_old && let Ok(file) = std::fs::File::open(path) {
        // A cache of somebody else is only read.
        let _ = file.set_modified(SystemTime::now());
    }
}

/// Removes what nobody used for long, of the files that this module's callers make.
fn prune(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_ours = ["kernel-", "initramfs-", ".new-"].iter().any(|prefix| name.starts_with(prefix));
        let is_old = || {
            let modified = entry.metadata().and_then(|m| m.modified());
            modified.is_ok_and(|t| t.elapsed().is_ok_and(|age| age > KEPT))
        };
        if is_ours && is_old() {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_used_for_long_goes_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let old = |name: &str| {
            let file = std::fs::File::create(dir.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - 2 * KEPT).unwrap();
        };
        for name in ["kernel-a.elf", "initramfs-b.cpio", "photo.jpg"] {
            old(name);
        }
        write(&dir.path().join("kernel-c.elf"), b"new").unwrap();
        let mut left: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["kernel-c.elf", "photo.jpg"]);
    }

    #[test]
    fn another_state_of_a_file_is_another_stamp() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        std::fs::write(&file, "1").unwrap();
        let first = stamp(&file).unwrap();
        assert_eq!(stamp(&file).unwrap(), first);
        std::fs::write(&file, "22").unwrap();
        assert_ne!(stamp(&file).unwrap(), first);
    }
}
