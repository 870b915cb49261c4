// SPDX-License-Identifier: GPL-3.0-or-later
//! Files below one directory handle.
//!
//! A path always means "as seen from inside this root": links are followed as a process with this
//! root would see them and never lead out (`openat2(2)` with `RESOLVE_IN_ROOT`). Files are written
//! beside, synced and exchanged, so that a crash leaves the old file or the new one.

use super::failpoint;
use cap_std::fs::Dir;
use cap_tempfile::TempFile;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use serde::{Deserialize, Serialize};
use sha2::Digest;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A file operation that failed, with its path.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {what}: {source}")]
pub struct HostError {
    /// The path as the caller gave it, seen from inside the root.
    pub path: String,
    /// What was tried ("could not read").
    pub what: &'static str,
    /// Why it failed.
    pub source: io::Error,
}

impl HostError {
    /// Whether the file is simply not there.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

fn err(path: &str, what: &'static str) -> impl FnOnce(io::Error) -> HostError {
    let path = path.to_owned();
    move |source| HostError { path, what, source }
}

/// What a directory entry is, without following links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, socket or pipe.
    Other,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: FileKind,
}

/// Owner, mode and size of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMeta {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits (`07777`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
    /// Modification time, nanoseconds since the epoch.
    pub mtime_ns: i128,
}

/// All that must come back when a change of a path is undone. Plain data for the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum FileState {
    /// Nothing is there.
    Absent,
    /// A regular file.
    File {
        /// SHA-256 of its bytes, hexadecimal.
        sha256: String,
        /// Size in bytes.
        size: u64,
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Modification time, seconds since the epoch.
        mtime: i64,
        /// Nanoseconds of the modification time.
        mtime_nsec: u32,
        /// Extended attributes (SELinux label, capabilities, ACLs), values hexadecimal.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        xattrs: BTreeMap<String, String>,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points.
        target: String,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// A directory (its entries are not part of the state).
    Directory {
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// A device, socket or pipe: never touched.
    Other,
}

impl FileState {
    /// Whether two states are the same to a reader: content, mode, owner; times do not count.
    pub fn same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::File { sha256, mode, uid, gid, .. },
                Self::File { sha256: sha2, mode: mode2, uid: uid2, gid: gid2, .. },
            ) => sha256 == sha2 && mode == mode2 && uid == uid2 && gid == gid2,
            _ => self == other,
        }
    }
}

/// A directory that stands for the root of a machine.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    path: PathBuf,
}

/// `/a//b/../c` as components; `..` is refused by callers that write.
fn relative(path: &str) -> &str {
    let trimmed = path.trim_start_matches('/');
    if trimmed.is_empty() { "." } else { trimmed }
}

impl Root {
    /// Opens `dir` as a root.
    ///
    /// # Errors
    /// When it is not a directory that can be opened.
    pub fn open(dir: &Path) -> Result<Self, HostError> {
        let shown = dir.display().to_string();
        let path = dir.canonicalize().map_err(err(&shown, "could not open the root directory"))?;
        let fd = rustix::fs::open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| err(&shown, "could not open the root directory")(e.into()))?;
        Ok(Self { fd, path })
    }

    /// Where this root is on the running machine: only for the argv of tools and for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where `path` of this root is on the running machine, for the argv of tools.
    pub fn outside(&self, path: &str) -> PathBuf {
        self.path.join(relative(path))
    }

    fn open_fd(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(
                &self.fd,
                relative(path),
                flags | OFlags::CLOEXEC,
                Mode::empty(),
                resolve,
            ) {
                // A rename elsewhere on the machine raced with the look-up (openat2(2)): look again.
                Err(rustix::io::Errno::AGAIN) => {}
                other => return other.map_err(Into::into),
            }
        }
    }

    /// The directory that holds `path`, and the last name of `path`. Links in the directories are
    /// followed inside the root; the last name is not.
    fn parent(&self, path: &str) -> io::Result<(Dir, String)> {
        let rel = relative(path).trim_end_matches('/');
        let (dir, name) = rel.rsplit_once('/').unwrap_or((".", rel));
        if name.is_empty() || name == "." || name == ".." {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path has no last name"));
        }
        Ok((self.dir_io(dir)?, name.to_owned()))
    }

    fn dir_io(&self, path: &str) -> io::Result<Dir> {
        let fd = self.open_fd(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(Dir::from_std_file(File::from(fd)))
    }

    /// A handle of a directory, for further work below it.
    ///
    /// # Errors
    /// When it is not there or no directory.
    pub fn dir(&self, path: &str) -> Result<Dir, HostError> {
        self.dir_io(path).map_err(err(path, "could not open the directory"))
    }

    /// Opens a file for reading, following links inside the root.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_file(&self, path: &str) -> Result<File, HostError> {
        // NONBLOCK: a pipe planted in place of a file must not make the reader wait for ever.
        self.open_fd(path, OFlags::RDONLY | OFlags::NONBLOCK)
            .map(File::from)
            .map_err(err(path, "could not open"))
    }

    /// Opens a device (or what stands for one on a scratch root) to read and write it, for this program alone: a
    /// block device that is in use is refused by the kernel with `EBUSY` (open(2), `O_EXCL`). Links are not followed.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_device(&self, path: &str, write: bool) -> Result<File, HostError> {
        let access = if write { OFlags::RDWR } else { OFlags::RDONLY };
        self.open_node(path, access | OFlags::EXCL)
    }

    /// Opens a device to read it past the page cache (open(2), `O_DIRECT`): memory, places and lengths must be
    /// aligned to its blocks.
    ///
    /// # Errors
    /// When it cannot be opened; of the kind `InvalidInput` where there is no such way.
    pub fn open_device_direct(&self, path: &str) -> Result<File, HostError> {
        self.open_node(path, OFlags::RDONLY | OFlags::DIRECT)
    }

    fn open_node(&self, path: &str, flags: OFlags) -> Result<File, HostError> {
        self.open_fd(path, flags | OFlags::NOFOLLOW | OFlags::NONBLOCK)
            .map(File::from)
            .map_err(err(path, "could not open"))
    }

    pub(super) fn open_lock_file(&self, path: &str) -> Result<File, HostError> {
        let what = "could not open the lock file";
        if let Some((dir, _)) = path.rsplit_once('/') {
            self.create_dirs(dir, 0o755)?;
        }
        let (dir, name) = self.parent(path).map_err(err(path, what))?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(&dir, name.as_str(), flags, Mode::from_raw_mode(0o644))
            .map(File::from)
            .map_err(|e| err(path, what)(e.into()))
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, HostError> {
        self.read_at_most(path, u64::MAX)
    }

    /// Reads a file of at most `limit` bytes.
    ///
    /// # Errors
    /// When it cannot be read or is larger.
    pub fn read_at_most(&self, path: &str, limit: u64) -> Result<Vec<u8>, HostError> {
        let file = self.open_file(path)?;
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(err(path, "could not read"))?;
        if bytes.len() as u64 > limit {
            return Err(err(path, "could not read")(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("larger than {limit} bytes"),
            )));
        }
        Ok(bytes)
    }

    /// Reads a whole text file; bytes that are not UTF-8 are replaced.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_text(&self, path: &str) -> Result<String, HostError> {
        self.read(path).map(|bytes| match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
        })
    }

    /// Whether something is at `path`, links followed inside the root.
    pub fn exists(&self, path: &str) -> bool {
        self.open_fd(path, OFlags::PATH).is_ok()
    }

    /// Owner, mode and size of what `path` leads to, links followed inside the root.
    ///
    /// # Errors
    /// When nothing is there or it cannot be reached.
    pub fn metadata(&self, path: &str) -> Result<FileMeta, HostError> {
        let fd = self.open_fd(path, OFlags::PATH).map_err(err(path, "could not look at"))?;
        let stat = rustix::fs::fstat(&fd).map_err(|e| err(path, "could not look at")(e.into()))?;
        Ok(meta_of(&stat))
    }

    /// Owner, mode and size of `path` itself, a last link not followed.
    ///
    /// # Errors
    /// When nothing is there or it cannot be reached.
    pub fn symlink_metadata(&self, path: &str) -> Result<FileMeta, HostError> {
        let what = "could not look at";
        let (dir, name) = self.parent(path).map_err(err(path, what))?;
        let stat = rustix::fs::statat(&dir, name.as_str(), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| err(path, what)(e.into()))?;
        Ok(meta_of(&stat))
    }

    /// Where a symbolic link points, as written in it.
    ///
    /// # Errors
    /// When it is no link.
    pub fn read_link(&self, path: &str) -> Result<String, HostError> {
        let what = "could not read the link";
        let (dir, name) = self.parent(path).map_err(err(path, what))?;
        let target =
            rustix::fs::readlinkat(&dir, name.as_str(), Vec::new()).map_err(|e| err(path, what)(e.into()))?;
        Ok(target.to_string_lossy().into_owned())
    }

    /// Where `path` really is inside the root once all links are followed (`/usr/src/…`).
    ///
    /// # Errors
    /// When nothing is there.
    pub fn resolve(&self, path: &str) -> Result<String, HostError> {
        let what = "could not resolve";
        let fd = self.open_fd(path, OFlags::PATH).map_err(err(path, what))?;
        let real = {
            use std::os::fd::AsRawFd;
            std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).map_err(err(path, what))?
        };
        let inside = real
            .strip_prefix(&self.path)
            .map_err(|_| err(path, what)(io::Error::other("it was moved out of the root")))?;
        Ok(format!("/{}", inside.display()))
    }

    /// The entries of a directory, sorted by name. Names that are not UTF-8 are left out.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn list(&self, path: &str) -> Result<Vec<Entry>, HostError> {
        let what = "could not list the directory";
        let dir = self.dir_io(path).map_err(err(path, what))?;
        let mut entries = Vec::new();
        for entry in dir.entries().map_err(err(path, what))? {
            let entry = entry.map_err(err(path, what))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let kind = entry.file_type().map_err(err(path, what))?;
            let kind = if kind.is_file() {
                FileKind::File
            } else if kind.is_dir() {
                FileKind::Directory
            } else if kind.is_symlink() {
                FileKind::Symlink
            } else {
                FileKind::Other
            };
            entries.push(Entry { name, kind });
        }
        entries.sort();
        Ok(entries)
    }

    /// Bytes free for the caller and bytes in all of the file system that holds `path`.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn space(&self, path: &str) -> Result<(u64, u64), HostError> {
        let what = "could not look at the file system";
        let fd = self.open_fd(path, OFlags::PATH).map_err(err(path, what))?;
        let s = rustix::fs::fstatvfs(&fd).map_err(|e| err(path, what)(e.into()))?;
        Ok((s.f_bavail * s.f_frsize, s.f_blocks * s.f_frsize))
    }

    /// The state of `path` itself, for the journal: what must come back when a change is undone.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn state(&self, path: &str) -> Result<FileState, HostError> {
        let what = "could not record the state";
        let meta = match self.symlink_metadata(path) {
            Ok(meta) => meta,
            Err(e) if e.is_not_found() => return Ok(FileState::Absent),
            Err(e) => return Err(e),
        };
        Ok(match meta.kind {
            FileKind::Symlink => {
                FileState::Symlink { target: self.read_link(path)?, uid: meta.uid, gid: meta.gid }
            }
            FileKind::Directory => FileState::Directory { mode: meta.mode, uid: meta.uid, gid: meta.gid },
            FileKind::Other => FileState::Other,
            FileKind::File => {
                let (dir, name) = self.parent(path).map_err(err(path, what))?;
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
                let mut file = rustix::fs::openat(&dir, name.as_str(), flags, Mode::empty())
                    .map(File::from)
                    .map_err(|e| err(path, what)(e.into()))?;
                let mut hasher = sha2::Sha256::new();
                io::copy(&mut file, &mut hasher).map_err(err(path, what))?;
                let m = file.metadata().map_err(err(path, what))?;
                FileState::File {
                    sha256: hex::encode(hasher.finalize()),
                    size: m.len(),
                    mode: m.mode() & 0o7777,
                    uid: m.uid(),
                    gid: m.gid(),
                    mtime: m.mtime(),
                    mtime_nsec: u32::try_from(m.mtime_nsec()).unwrap_or(0),
                    xattrs: read_xattrs(&file).map_err(err(path, what))?,
                }
            }
        })
    }

    /// Creates the directory and all above it that are missing. Returns those it created, topmost
    /// first, so that undo can remove just these.
    ///
    /// # Errors
    /// When one cannot be created, or a file is in the way.
    pub fn create_dirs(&self, path: &str, mode: u32) -> Result<Vec<String>, HostError> {
        let what = "could not create the directory";
        let mut created = Vec::new();
        let mut walked = String::new();
        for part in relative(path).split('/').filter(|p| !p.is_empty() && *p != ".") {
            if part == ".." {
                return Err(err(path, what)(io::Error::new(io::ErrorKind::InvalidInput, "`..` in the path")));
            }
            walked.push('/');
            walked.push_str(part);
            if self.open_fd(&walked, OFlags::PATH | OFlags::DIRECTORY).is_ok() {
                continue;
            }
            let (dir, name) = self.parent(&walked).map_err(err(&walked, what))?;
            rustix::fs::mkdirat(&dir, name.as_str(), Mode::from_raw_mode(mode))
                .map_err(|e| err(&walked, what)(e.into()))?;
            // mkdirat obeys the umask; the caller's mode is meant as it is.
            let made =
                self.open_fd(&walked, OFlags::RDONLY | OFlags::DIRECTORY).map_err(err(&walked, what))?;
            rustix::fs::fchmod(&made, Mode::from_raw_mode(mode)).map_err(|e| err(&walked, what)(e.into()))?;
            sync_dir(&dir).map_err(err(&walked, what))?;
            created.push(walked.clone());
        }
        Ok(created)
    }

    /// Writes a file beside, syncs it and puts it in place of what was there (also of a link, which is
    /// replaced, not followed).
    ///
    /// # Errors
    /// When the directory is missing, read-only or full; the old file is then untouched.
    pub fn write(
        &self,
        path: &str,
        bytes: &[u8],
        mode: u32,
        owner: Option<(u32, u32)>,
    ) -> Result<(), HostError> {
        self.write_from(path, &mut { bytes }, mode, owner, None)
    }

    /// As [`Root::write`], from a reader, and with the times and attributes of a recorded state.
    ///
    /// # Errors
    /// As [`Root::write`].
    pub fn write_from(
        &self,
        path: &str,
        from: &mut dyn Read,
        mode: u32,
        owner: Option<(u32, u32)>,
        like: Option<&FileState>,
    ) -> Result<(), HostError> {
        let what = "could not write";
        let (dir, name) = self.parent(path).map_err(err(path, what))?;
        refuse_in_the_way(&dir, &name).map_err(err(path, what))?;
        let mut temp = TempFile::new(&dir).map_err(err(path, what))?;
        fill(temp.as_file_mut(), path, from, mode, owner, like)?;
        temp.replace(&name).map_err(err(path, what))?;
        sync_dir(&dir).map_err(err(path, what))
    }

    /// As [`Root::write_from`], with the name that the file has beside `path` until it is complete. Whoever
    /// wrote that name down before can clear away what a crash in between left.
    ///
    /// # Errors
    /// As [`Root::write`], and when something has that name already.
    pub fn write_staged(
        &self,
        path: &str,
        staged: &str,
        from: &mut dyn Read,
        mode: u32,
        owner: Option<(u32, u32)>,
        like: Option<&FileState>,
    ) -> Result<(), HostError> {
        let what = "could not write";
        let (dir, name) = self.parent(path).map_err(err(path, what))?;
        refuse_in_the_way(&dir, &name).map_err(err(path, what))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mut file = rustix::fs::openat(&dir, staged, flags, Mode::from_raw_mode(0o600))
            .map(|fd| cap_std::fs::File::from_std(fd.into()))
            .map_err(|e| err(path, what)(e.into()))?;
        failpoint::hit("staged-empty");
        let placed = fill(&mut file, path, from, mode, owner, like).and_then(|()| {
            failpoint::hit("staged");
            dir.rename(staged, &dir, &name).map_err(err(path, what))
        });
        if placed.is_err() {
            let _ = rustix::fs::unlinkat(&dir, staged, AtFlags::empty());
        }
        placed?;
        sync_dir(&dir).map_err(err(path, what))
    }

    /// Makes sure that a file that somebody else wrote, and its name, are on the disk.
    ///
    /// # Errors
    /// When it is not there or cannot be synced.
    pub fn sync(&self, path: &str) -> Result<(), HostError> {
        let what = "could not sync";
        self.open_file(path)?.sync_all().map_err(err(path, what))?;
        let (dir, _) = self.parent(path).map_err(err(path, what))?;
        sync_dir(&dir).map_err(err(path, what))
    }

    /// Which file system `path` is on, links followed inside the root: a number that is the same for two
    /// paths on the same one.
    ///
    /// # Errors
    /// When nothing is there.
    pub fn file_system(&self, path: &str) -> Result<u64, HostError> {
        let what = "could not look at the file system";
        let fd = self.open_fd(path, OFlags::PATH).map_err(err(path, what))?;
        rustix::fs::fstat(&fd).map(|s| s.st_dev).map_err(|e| err(path, what)(e.into()))
    }

    /// Makes a symbolic link with this owner; nothing may be there.
    ///
    /// # Errors
    /// When something is there or the directory cannot be written.
    pub fn symlink_owned(&self, target: &str, path: &str, uid: u32, gid: u32) -> Result<(), HostError> {
        let what = "could not make the link";
        let (dir, name) = self.parent(path).map_err(err(path, what))?;
        rustix::fs::symlinkat(target, &dir, name.as_str()).map_err(|e| err(path, what)(e.into()))?;
        let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
        rustix::fs::chownat(&dir, name.as_str(), Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| err(path, what)(e.into()))?;
        sync_dir(&dir).map_err(err(path, what))
    }

    /// Makes a symbolic link; nothing may be there.
    ///
    /// # Errors
    /// When something is there or the directory cannot be written.
    pub fn symlink(&self, target: &str, path: &str) -> Result<(), HostError> {
        let what = "could not make the link";
        let (dir, name) = self.parent(path).map_err(err(path, what))?;
        rustix::fs::symlinkat(target, &dir, name.as_str()).map_err(|e| err(path, what)(e.into()))?;
        sync_dir(&dir).map_err(err(path, what))
    }

    /// Removes a file or link (never a directory); a link is not followed.
    ///
    /// # Errors
    /// When it is not there or cannot be removed.
    pub fn remove_file(&self, path: &str) -> Result<(), HostError> {
        let what = "could not remove";
        let (dir, name) = self.parent(path).map_err(err(path, what))?;
        rustix::fs::unlinkat(&dir, name.as_str(), AtFlags::empty()).map_err(|e| err(path, what)(e.into()))?;
        sync_dir(&dir).map_err(err(path, what))
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// When it is not there or not empty.
    pub fn remove_dir(&self, path: &str) -> Result<(), HostError> {
        let what = "could not remove the directory";
        let (dir, name) = self.parent(path).map_err(err(path, what))?;
        rustix::fs::unlinkat(&dir, name.as_str(), AtFlags::REMOVEDIR)
            .map_err(|e| err(path, what)(e.into()))?;
        sync_dir(&dir).map_err(err(path, what))
    }

    /// Moves a file inside the root, on one file system; what was at `to` is replaced.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), HostError> {
        let what = "could not move";
        let (from_dir, from_name) = self.parent(from).map_err(err(from, what))?;
        let (to_dir, to_name) = self.parent(to).map_err(err(to, what))?;
        from_dir.rename(&from_name, &to_dir, &to_name).map_err(err(from, what))?;
        sync_dir(&from_dir).map_err(err(from, what))?;
        sync_dir(&to_dir).map_err(err(to, what))
    }

    /// Gives a file of the kernel (below `/proc/sys` or `/sys`) a value, in place and in one write: such files
    /// cannot be replaced. Nothing is created, and a link is not followed out of the root.
    ///
    /// # Errors
    /// When it is not there, or the kernel does not take the value.
    pub fn write_value(&self, path: &str, value: &str) -> Result<(), HostError> {
        use std::io::Write;
        let what = "could not set";
        let fd = self.open_fd(path, OFlags::WRONLY | OFlags::TRUNC).map_err(err(path, what))?;
        File::from(fd).write_all(value.as_bytes()).map_err(err(path, what))
    }

    /// Opens a file for appending, created with `mode` when missing; a link is not followed.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn append(&self, path: &str, mode: u32) -> Result<File, HostError> {
        let what = "could not open for appending";
        let (dir, name) = self.parent(path).map_err(err(path, what))?;
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&dir, name.as_str(), flags, Mode::from_raw_mode(mode))
            .map(File::from)
            .map_err(|e| err(path, what)(e.into()))?;
        sync_dir(&dir).map_err(err(path, what))?;
        Ok(file)
    }
}

/// Only a file or a link may be replaced.
fn refuse_in_the_way(dir: &Dir, name: &str) -> io::Result<()> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(s) if matches!(meta_of(&s).kind, FileKind::Directory | FileKind::Other) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "something that is no regular file is in the way",
        )),
        _ => Ok(()),
    }
}

/// Gives a new file its bytes, owner, mode, attributes and times, and syncs it.
fn fill(
    file: &mut cap_std::fs::File,
    path: &str,
    from: &mut dyn Read,
    mode: u32,
    owner: Option<(u32, u32)>,
    like: Option<&FileState>,
) -> Result<(), HostError> {
    let what = "could not write";
    io::copy(from, file).map_err(err(path, what))?;
    if let Some((uid, gid)) = owner {
        rustix::fs::fchown(
            file.as_fd(),
            Some(rustix::fs::Uid::from_raw(uid)),
            Some(rustix::fs::Gid::from_raw(gid)),
        )
        .map_err(|e| err(path, what)(e.into()))?;
    }
    // After chown, which clears set-user-id bits.
    file.set_permissions(cap_std::fs::Permissions::from_std(PermissionsExt::from_mode(mode)))
        .map_err(err(path, what))?;
    if let Some(FileState::File { mtime, mtime_nsec, xattrs, .. }) = like {
        for (key, value) in xattrs {
            let value = hex::decode(value).unwrap_or_default();
            rustix::fs::fsetxattr(file.as_fd(), key.as_str(), &value, rustix::fs::XattrFlags::empty())
                .map_err(|e| err(path, "could not restore an extended attribute of")(e.into()))?;
        }
        let time = rustix::fs::Timespec { tv_sec: *mtime, tv_nsec: (*mtime_nsec).into() };
        rustix::fs::futimens(
            file.as_fd(),
            &rustix::fs::Timestamps { last_access: time, last_modification: time },
        )
        .map_err(|e| err(path, what)(e.into()))?;
    }
    file.flush().map_err(err(path, what))?;
    file.sync_all().map_err(err(path, what))
}

fn sync_dir(dir: &Dir) -> io::Result<()> {
    // Some file systems (and /proc) cannot sync a directory; what they hold is not ours to lose.
    match rustix::fs::fsync(dir.as_fd()) {
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::ROFS) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

fn meta_of(stat: &rustix::fs::Stat) -> FileMeta {
    let kind = match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
        rustix::fs::FileType::RegularFile => FileKind::File,
        rustix::fs::FileType::Directory => FileKind::Directory,
        rustix::fs::FileType::Symlink => FileKind::Symlink,
        _ => FileKind::Other,
    };
    FileMeta {
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime_ns: i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec),
    }
}

fn read_xattrs(file: &File) -> io::Result<BTreeMap<String, String>> {
    let mut names = vec![0u8; 64 << 10];
    let len = match rustix::fs::flistxattr(file, &mut names[..]) {
        Ok(len) => len,
        Err(rustix::io::Errno::OPNOTSUPP) => return Ok(BTreeMap::new()),
        Err(e) => return Err(e.into()),
    };
    let mut found = BTreeMap::new();
    for name in names[..len].split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let Ok(key) = CString::new(name) else { continue };
        let mut value = vec![0u8; 64 << 10];
        match rustix::fs::fgetxattr(file, key.as_c_str(), &mut value[..]) {
            Ok(len) => {
                found.insert(key.to_string_lossy().into_owned(), hex::encode(&value[..len]));
            }
            // Gone meanwhile, or not for us to read: not ours to restore either.
            Err(rustix::io::Errno::NODATA | rustix::io::Errno::PERM) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn absolute_links_stay_inside_the_root() {
        let (dir, root) = root();
        root.create_dirs("/usr/src/headers", 0o755).unwrap();
        root.create_dirs("/lib/modules/6.1", 0o755).unwrap();
        root.write("/usr/src/headers/Makefile", b"all:\n", 0o644, None).unwrap();
        root.symlink("/usr/src/headers", "/lib/modules/6.1/build").unwrap();
        assert_eq!(root.read_text("/lib/modules/6.1/build/Makefile").unwrap(), "all:\n");
        assert_eq!(root.resolve("/lib/modules/6.1/build").unwrap(), "/usr/src/headers");
        root.symlink("/etc/../../../../../etc/passwd", "/planted").unwrap();
        assert!(!root.exists("/planted"), "a link led out of {}", dir.path().display());
    }

    #[test]
    fn a_link_is_replaced_by_a_write_and_not_followed() {
        let (_dir, root) = root();
        root.write("/precious", b"mine", 0o600, None).unwrap();
        root.symlink("/precious", "/planted").unwrap();
        root.write("/planted", b"new", 0o644, None).unwrap();
        assert_eq!(root.read("/precious").unwrap(), b"mine");
        assert_eq!(root.read("/planted").unwrap(), b"new");
        assert_eq!(root.symlink_metadata("/planted").unwrap().kind, FileKind::File);
    }

    #[test]
    fn a_recorded_state_comes_back_with_mode_and_time() {
        let (_dir, root) = root();
        root.write("/f", b"old", 0o4711, None).unwrap();
        let before = root.state("/f").unwrap();
        root.write("/f", b"new", 0o644, None).unwrap();
        assert!(!root.state("/f").unwrap().same_as(&before));
        let FileState::File { mode, uid, gid, .. } = before.clone() else { unreachable!() };
        root.write_from("/f", &mut &b"old"[..], mode, Some((uid, gid)), Some(&before)).unwrap();
        assert_eq!(root.state("/f").unwrap(), before);
    }

    #[test]
    fn a_staged_write_leaves_only_the_file_and_refuses_a_name_that_is_taken() {
        let (_dir, root) = root();
        root.create_dirs("/d", 0o755).unwrap();
        root.write_staged("/d/f", ".f.new", &mut &b"one"[..], 0o640, None, None).unwrap();
        assert_eq!(root.list("/d").unwrap().len(), 1);
        assert_eq!(root.metadata("/d/f").unwrap().mode, 0o640);
        root.write("/d/.f.new", b"somebody's", 0o644, None).unwrap();
        assert!(root.write_staged("/d/f", ".f.new", &mut &b"two"[..], 0o640, None, None).is_err());
        assert_eq!(root.read("/d/f").unwrap(), b"one");
        assert_eq!(root.read("/d/.f.new").unwrap(), b"somebody's");
    }

    #[test]
    fn only_missing_directories_are_reported_as_created() {
        let (_dir, root) = root();
        assert_eq!(root.create_dirs("/a/b", 0o755).unwrap(), ["/a", "/a/b"]);
        assert_eq!(root.create_dirs("/a/b/c", 0o700).unwrap(), ["/a/b/c"]);
        assert_eq!(root.metadata("/a/b/c").unwrap().mode, 0o700);
        assert!(root.create_dirs("/a/../x", 0o755).is_err());
    }

    #[test]
    fn a_write_over_a_directory_is_refused_and_nothing_is_left_beside() {
        let (_dir, root) = root();
        root.create_dirs("/d/sub", 0o755).unwrap();
        assert!(root.write("/d/sub", b"x", 0o644, None).is_err());
        assert_eq!(root.list("/d").unwrap().len(), 1);
    }

    #[test]
    fn a_file_larger_than_allowed_is_refused() {
        let (_dir, root) = root();
        root.write("/big", &[0; 100], 0o644, None).unwrap();
        assert!(root.read_at_most("/big", 99).unwrap_err().to_string().contains("larger than 99 bytes"));
        assert_eq!(root.read_at_most("/big", 100).unwrap().len(), 100);
    }
}
