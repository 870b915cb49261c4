// SPDX-License-Identifier: GPL-3.0-or-later
//! Files below one directory handle.
//!
//! A path always means "as seen from inside this root": links are followed as a process with this
//! root would see them and never lead out (`openat2(2)` with `RESOLVE_IN_ROOT`). Files are written
//! beside, synced and exchanged, so that a crash leaves the old file or the new one.

mod state;
mod write;

pub use state::{Entry, FileKind, FileMeta, FileState};

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use sha2::Digest;
use state::{meta_of, read_xattrs};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
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
}

#[cfg(test)]
mod tests;
