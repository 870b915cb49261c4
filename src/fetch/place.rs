// SPDX-License-Identifier: GPL-3.0-or-later
//! The folder that a file goes into: its part while it is incomplete, its place, what had its name before.

use super::{FetchError, Hashers};
use crate::host::{HostError, Root};
use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Whether a name is one component of a path, visible, and nothing that a shell or terminal would obey.
pub fn is_plain_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
    !name.is_empty() && name.len() <= 200 && !name.starts_with(['.', '-']) && name.chars().all(plain)
}

/// A folder for fetched files.
#[derive(Debug)]
pub struct Folder {
    dir: Dir,
    path: PathBuf,
}

/// What a part is a part of, so that another run can go on with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memo {
    pub(super) url: String,
    pub(super) total: Option<u64>,
    /// ETag or Last-Modified of the answer (RFC 9110, If-Range).
    pub(super) validator: Option<String>,
}

/// A file that is not complete or not verified yet. Only one process has it at a time.
#[derive(Debug)]
pub struct Part {
    pub(super) file: File,
    pub(super) name: String,
    shown: String,
}

impl Folder {
    /// Opens a folder, made when it is not there.
    ///
    /// # Errors
    /// When it cannot be made or opened.
    pub fn open(path: &Path) -> Result<Self, FetchError> {
        let shown = path.display().to_string();
        std::fs::create_dir_all(path).map_err(FetchError::io(&shown))?;
        let root = Root::open(path).map_err(|e| of_host(&shown, e))?;
        let dir = root.dir("/").map_err(|e| of_host(&shown, e))?;
        Ok(Self { dir, path: path.to_owned() })
    }

    /// Where a file of it is.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn shown(&self, name: &str) -> String {
        self.path_of(name).display().to_string()
    }

    fn check(&self, name: &str) -> Result<(), FetchError> {
        if is_plain_name(name) {
            return Ok(());
        }
        let why =
            format!("`{name}` is no plain file name; use letters, digits, dots, dashes and underscores");
        Err(FetchError::Folder { path: self.path.display().to_string(), why })
    }

    /// Opens a regular file of it for reading; `None` when there is none.
    ///
    /// # Errors
    /// When it is something else, or cannot be opened.
    pub fn existing(&self, name: &str) -> Result<Option<File>, FetchError> {
        self.check(name)?;
        let shown = self.shown(name);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = match rustix::fs::openat(&self.dir, name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(e) => return Err(FetchError::io(&shown)(e.into())),
        };
        if !file.metadata().map_err(FetchError::io(&shown))?.is_file() {
            let why = "it is no regular file; move it away".to_owned();
            return Err(FetchError::Folder { path: shown, why });
        }
        Ok(Some(file))
    }

    /// Opens the part of `name`, empty or as an earlier run left it.
    ///
    /// # Errors
    /// When somebody else has it, or it is not one's own.
    pub fn part(&self, name: &str) -> Result<Part, FetchError> {
        self.check(name)?;
        let part = format!(".{name}.part");
        let shown = self.shown(&part);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::openat(&self.dir, part.as_str(), flags, Mode::from_raw_mode(0o600))
            .map_err(|e| FetchError::io(&shown)(e.into()))?;
        let file = File::from(fd);
        let meta = file.metadata().map_err(FetchError::io(&shown))?;
        // In a folder that others can write to, somebody may have placed one.
        if !meta.is_file() || meta.nlink() != 1 || meta.uid() != rustix::process::geteuid().as_raw() {
            let why = "somebody else placed this file; remove it, or choose a folder of your own".to_owned();
            return Err(FetchError::Folder { path: shown, why });
        }
        // A child of this very process holds what it inherited until it becomes its own program.
        let mut left = 20;
        while rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            if left == 0 {
                let why = "another process is fetching this file; wait for it".to_owned();
                return Err(FetchError::Folder { path: shown, why });
            }
            left -= 1;
            std::thread::sleep(Duration::from_millis(25));
        }
        Ok(Part { file, name: part, shown })
    }

    fn memo_name(part: &Part) -> String {
        format!("{}.json", part.name)
    }

    /// What the part is a part of.
    pub(super) fn memo(&self, part: &Part) -> Memo {
        let read = || -> Option<Memo> {
            let mut text = String::new();
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let fd =
                rustix::fs::openat(&self.dir, Self::memo_name(part).as_str(), flags, Mode::empty()).ok()?;
            File::from(fd).take(64 << 10).read_to_string(&mut text).ok()?;
            serde_json::from_str(&text).ok()
        };
        read().unwrap_or_default()
    }

    pub(super) fn set_memo(&self, part: &Part, memo: &Memo) -> Result<(), FetchError> {
        let shown = self.shown(&part.name);
        let text = serde_json::to_vec(memo).map_err(|e| FetchError::io(&shown)(e.into()))?;
        let mut temp = cap_tempfile::TempFile::new(&self.dir).map_err(FetchError::io(&shown))?;
        std::io::Write::write_all(&mut temp, &text).map_err(FetchError::io(&shown))?;
        temp.replace(Self::memo_name(part)).map_err(FetchError::io(&shown))
    }

    /// Puts a part in its place; what had the name is kept as `NAME.bak.N`, never written over. Returns that
    /// name.
    ///
    /// # Errors
    /// When it cannot be synced or moved; the old file is then still there or kept.
    #[allow(clippy::needless_pass_by_value, reason = "nobody has the part, or its lock, afterwards")]
    pub fn keep(&self, part: Part, name: &str) -> Result<Option<String>, FetchError> {
        self.check(name)?;
        let shown = self.shown(name);
        let io = |e: rustix::io::Errno| FetchError::io(&shown)(e.into());
        part.file.sync_all().map_err(FetchError::io(&shown))?;
        rustix::fs::fchmod(&part.file, Mode::from_raw_mode(0o644)).map_err(io)?;
        let no_replace = |from: &str, to: &str| {
            rustix::fs::renameat_with(&self.dir, from, &self.dir, to, RenameFlags::NOREPLACE)
        };
        let mut kept = None;
        loop {
            match no_replace(&part.name, name) {
                Ok(()) => break,
                Err(rustix::io::Errno::EXIST) => kept = Some(self.set_aside(name)?),
                Err(e) => return Err(io(e)),
            }
        }
        let _ = rustix::fs::unlinkat(&self.dir, Self::memo_name(&part).as_str(), AtFlags::empty());
        // The directory's own fsync: the new name survives a power cut.
        if let Ok(dir) = rustix::fs::openat(&self.dir, ".", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
        {
            rustix::fs::fsync(dir).map_err(io)?;
        }
        Ok(kept)
    }

    fn set_aside(&self, name: &str) -> Result<String, FetchError> {
        let shown = self.shown(name);
        for n in 1..10_000 {
            let backup = format!("{name}.bak.{n}");
            match rustix::fs::renameat_with(
                &self.dir,
                name,
                &self.dir,
                backup.as_str(),
                RenameFlags::NOREPLACE,
            ) {
                Ok(()) => return Ok(backup),
                Err(rustix::io::Errno::EXIST) => {}
                Err(rustix::io::Errno::NOENT) => return Ok(backup),
                Err(e) => return Err(FetchError::io(&shown)(e.into())),
            }
        }
        Err(FetchError::Folder { path: shown, why: "there are too many backups; remove some".to_owned() })
    }

    /// Throws a part away.
    ///
    /// # Errors
    /// When it cannot be removed.
    #[allow(clippy::needless_pass_by_value, reason = "nobody has the part, or its lock, afterwards")]
    pub fn discard(&self, part: Part) -> Result<(), FetchError> {
        let shown = self.shown(&part.name);
        let _ = rustix::fs::unlinkat(&self.dir, Self::memo_name(&part).as_str(), AtFlags::empty());
        rustix::fs::unlinkat(&self.dir, part.name.as_str(), AtFlags::empty())
            .map_err(|e| FetchError::io(&shown)(e.into()))
    }
}

impl Part {
    /// A reader of it from its beginning, of its own position.
    ///
    /// # Errors
    /// When it cannot be opened anew.
    pub fn reader(&self) -> Result<File, FetchError> {
        let mut file = self.file.try_clone().map_err(FetchError::io(&self.shown))?;
        file.seek(SeekFrom::Start(0)).map_err(FetchError::io(&self.shown))?;
        Ok(file)
    }

    /// How many bytes are there.
    ///
    /// # Errors
    /// When that cannot be asked.
    pub fn size(&self) -> Result<u64, FetchError> {
        Ok(self.file.metadata().map_err(FetchError::io(&self.shown))?.len())
    }

    /// Where it lies, for messages.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Makes it empty.
    pub(super) fn restart(&mut self) -> Result<(), FetchError> {
        self.file.set_len(0).map_err(FetchError::io(&self.shown))?;
        self.file.seek(SeekFrom::Start(0)).map_err(FetchError::io(&self.shown))?;
        Ok(())
    }

    /// Hashes what is there and leaves the position at the end.
    pub(super) fn hash(&mut self) -> Result<Hashers, FetchError> {
        self.file.seek(SeekFrom::Start(0)).map_err(FetchError::io(&self.shown))?;
        let mut hashers = Hashers::default();
        hashers.read(&mut self.file, u64::MAX).map_err(FetchError::io(&self.shown))?;
        Ok(hashers)
    }
}

fn of_host(shown: &str, error: HostError) -> FetchError {
    FetchError::io(shown)(error.source)
}
