// SPDX-License-Identifier: GPL-3.0-or-later
//! Removes a tree without ever leaving it: no link is followed and no file system is crossed, not even to
//! a folder of the same file system that is mounted there (openat2(2): `RESOLVE_NO_XDEV` stops at bind
//! mounts too). A half-built root may have this machine's own `/dev` in it.

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Folders nested deeper than this are not removed: each costs an open file.
const DEPTH: usize = 400;

/// Why a tree, or the rest of it, still stands.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// Something is mounted in it.
    #[error("{path} is a mount; nothing behind it was touched. Unmount it and try again")]
    Mounted {
        /// Where.
        path: PathBuf,
    },
    /// It is nested too deep.
    #[error("{path} is nested deeper than {DEPTH} folders; remove it by hand")]
    Deep {
        /// Where.
        path: PathBuf,
    },
    /// Something in it cannot be removed.
    #[error("{path} could not be removed: {source}")]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl RemoveError {
    /// Whether it belongs to somebody else, for instance to a user of the person's own user namespace.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }
}

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Files, folders, links.
    pub entries: u64,
    /// Bytes on the disk.
    pub bytes: u64,
}

impl std::ops::AddAssign for Removed {
    fn add_assign(&mut self, other: Self) {
        self.entries += other.entries;
        self.bytes += other.bytes;
    }
}

fn io_error(path: &Path) -> impl FnOnce(rustix::io::Errno) -> RemoveError {
    move |errno| match errno {
        // What is mounted over cannot be unlinked (unlink(2), rmdir(2)).
        rustix::io::Errno::BUSY | rustix::io::Errno::XDEV => RemoveError::Mounted { path: path.to_owned() },
        other => RemoveError::Io { path: path.to_owned(), source: other.into() },
    }
}

/// Opens the folder `name` in `at`, and nothing else than a folder that is right there.
pub(super) fn open_dir(at: impl AsFd, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    loop {
        match rustix::fs::openat2(at.as_fd(), name, flags, Mode::empty(), resolve) {
            Err(rustix::io::Errno::AGAIN) => {}
            other => return other,
        }
    }
}

/// Removes what is called `name` in the open folder `parent`, and all below it. `shown` is its path, for
/// messages only. Stops at the first thing that cannot be removed; what is mounted below is found before it
/// is entered.
///
/// # Errors
/// See [`RemoveError`]. What was not reached still stands.
pub fn remove(parent: impl AsFd, name: &OsStr, shown: &Path) -> Result<Removed, RemoveError> {
    let name = CString::new(name.as_bytes())
        .map_err(|e| RemoveError::Io { path: shown.to_owned(), source: e.into() })?;
    let mut removed = Removed::default();
    // The file system that `name` is on; its parent may be another one only when `name` itself is a mount,
    // and then the look below is refused.
    entry(parent.as_fd(), &name, &mut shown.to_owned(), 0, &mut removed)?;
    Ok(removed)
}

fn entry(
    at: BorrowedFd<'_>,
    name: &CStr,
    path: &mut PathBuf,
    depth: usize,
    removed: &mut Removed,
) -> Result<(), RemoveError> {
    let stat = match rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(e) => return Err(io_error(path)(e)),
    };
    let mut flags = AtFlags::empty();
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        if depth >= DEPTH {
            return Err(RemoveError::Deep { path: path.clone() });
        }
        let dir = match open_dir(at, name) {
            Err(rustix::io::Errno::ACCESS) => {
                unlock(at, name).map_err(io_error(path))?;
                open_dir(at, name).map_err(io_error(path))?
            }
            other => other.map_err(io_error(path))?,
        };
        let inside = rustix::fs::fstat(&dir).map_err(io_error(path))?;
        let around = rustix::fs::fstat(at).map_err(io_error(path))?;
        if inside.st_dev != around.st_dev {
            return Err(RemoveError::Mounted { path: path.clone() });
        }
        let mut unlocked = false;
        for name in names(&dir).map_err(io_error(path))? {
            path.push(OsStr::from_bytes(name.to_bytes()));
            let mut result = entry(dir.as_fd(), &name, path, depth + 1, removed);
            if !unlocked && result.as_ref().is_err_and(RemoveError::is_denied) {
                // A folder that its owner made read-only.
                unlocked = true;
                let _ = rustix::fs::fchmod(&dir, Mode::RWXU);
                result = entry(dir.as_fd(), &name, path, depth + 1, removed);
            }
            path.pop();
            result?;
        }
        flags = AtFlags::REMOVEDIR;
    }
    rustix::fs::unlinkat(at, name, flags).map_err(io_error(path))?;
    removed.entries += 1;
    if stat.st_nlink <= 1 || flags == AtFlags::REMOVEDIR {
        removed.bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
    }
    Ok(())
}

/// Lets the owner into a folder that he locked himself out of. The folder is held while that happens, so
/// that nothing else can take its place.
fn unlock(at: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let place = rustix::fs::openat2(at, name, flags, Mode::empty(), resolve)?;
    // fchmod(2) refuses such a handle; its name in /proc leads to just this folder.
    rustix::fs::chmod(format!("/proc/self/fd/{}", place.as_raw_fd()), Mode::RWXU)
}

/// The names in an open folder, without `.` and `..`.
pub(super) fn names(dir: impl AsFd) -> rustix::io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.as_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn remove_in(dir: &Path, name: &str) -> Result<Removed, RemoveError> {
        remove(fs::File::open(dir).unwrap(), OsStr::new(name), &dir.join(name))
    }

    #[test]
    fn a_tree_goes_with_its_links_and_what_they_point_at_stays() {
        let dir = tempfile::tempdir().unwrap();
        let at = |p: &str| dir.path().join(p);
        fs::create_dir_all(at("precious")).unwrap();
        fs::write(at("precious/file"), "mine").unwrap();
        fs::create_dir_all(at("tree/a/b")).unwrap();
        fs::write(at("tree/a/f"), "x").unwrap();
        symlink(at("precious"), at("tree/a/b/folder-link")).unwrap();
        symlink(at("precious/file"), at("tree/file-link")).unwrap();
        symlink("/nonexistent", at("tree/dangling")).unwrap();
        let removed = remove_in(dir.path(), "tree").unwrap();
        assert_eq!(removed.entries, 7);
        assert!(!at("tree").exists());
        assert_eq!(fs::read(at("precious/file")).unwrap(), b"mine");
        // A link in place of the tree: it goes, and nothing behind it.
        symlink(at("precious"), at("tree")).unwrap();
        remove_in(dir.path(), "tree").unwrap();
        assert_eq!(fs::read(at("precious/file")).unwrap(), b"mine");
        // Not there: nothing to do.
        assert_eq!(remove_in(dir.path(), "tree").unwrap(), Removed::default());
    }

    #[test]
    fn folders_that_their_owner_locked_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let at = |p: &str| dir.path().join(p);
        fs::create_dir_all(at("tree/closed/deep")).unwrap();
        fs::write(at("tree/closed/deep/f"), "x").unwrap();
        for (path, mode) in [("tree/closed/deep", 0o500), ("tree/closed", 0o000)] {
            fs::set_permissions(at(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        remove_in(dir.path(), "tree").unwrap();
        assert!(!at("tree").exists());
    }

    #[test]
    fn a_tree_that_is_too_deep_is_refused_and_not_half_understood() {
        let dir = tempfile::tempdir().unwrap();
        let mut path = dir.path().join("tree");
        for _ in 0..DEPTH + 5 {
            path.push("d");
        }
        fs::create_dir_all(&path).unwrap();
        assert!(matches!(remove_in(dir.path(), "tree"), Err(RemoveError::Deep { .. })));
    }

    /// Runs one test of this file again, in a mount namespace of its own.
    fn again_in_a_namespace(test: &str) -> bool {
        const INSIDE: &str = "HOSTWRIGHT_TEST_NAMESPACE";
        if std::env::var_os(INSIDE).is_some() {
            return true;
        }
        let mut command = std::process::Command::new("unshare");
        if !nix::unistd::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--mount", "--propagation", "private", "--"]).arg(std::env::current_exe().unwrap());
        let out = command.args(["--exact", test]).env(INSIDE, "1").output().unwrap();
        assert!(out.status.success(), "{out:?}");
        assert!(String::from_utf8_lossy(&out.stdout).contains("1 passed"), "{out:?}");
        false
    }

    #[test]
    fn a_mount_that_nobody_told_of_is_not_entered() {
        use nix::mount::{MntFlags, MsFlags, mount, umount2};
        if !again_in_a_namespace("flows::lab::remove::tests::a_mount_that_nobody_told_of_is_not_entered") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let at = |p: &str| dir.path().join(p);
        fs::create_dir_all(at("precious/sub")).unwrap();
        fs::write(at("precious/file"), "mine").unwrap();
        // A folder of the same file system, one of another, and a file.
        for kind in ["bind", "tmpfs", "file"] {
            fs::create_dir_all(at("tree/a")).unwrap();
            fs::write(at("tree/f"), "x").unwrap();
            let none = None::<&str>;
            let point = match kind {
                "file" => at("tree/f"),
                _ => at("tree/a"),
            };
            match kind {
                "bind" => mount(Some(&at("precious")), &point, none, MsFlags::MS_BIND, none),
                "tmpfs" => mount(none, &point, Some("tmpfs"), MsFlags::empty(), none),
                _ => mount(Some(&at("precious/file")), &point, none, MsFlags::MS_BIND, none),
            }
            .unwrap();
            match remove_in(dir.path(), "tree") {
                Err(RemoveError::Mounted { path }) => assert_eq!(path, point, "{kind}"),
                other => panic!("{kind}: {other:?}"),
            }
            assert_eq!(fs::read(at("precious/file")).unwrap(), b"mine");
            assert!(at("precious/sub").is_dir());
            // The tree itself as a mount.
            umount2(&point, MntFlags::empty()).unwrap();
        }
        mount(Some(&at("precious")), &at("tree"), None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        assert!(matches!(remove_in(dir.path(), "tree"), Err(RemoveError::Mounted { .. })));
        assert_eq!(fs::read(at("precious/file")).unwrap(), b"mine");
        umount2(&at("tree"), MntFlags::empty()).unwrap();
        remove_in(dir.path(), "tree").unwrap();
    }
}
