// SPDX-License-Identifier: GPL-3.0-or-later
//! Changes below a root: files are written beside, synced and exchanged.

use super::state::{FileKind, FileState, meta_of};
use super::{HostError, Root, err, relative};
use crate::host::failpoint;
use cap_std::fs::Dir;
use cap_tempfile::TempFile;
use rustix::fs::{AtFlags, Mode, OFlags};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;

impl Root {
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
        let (dir, name) = self.place(path)?;
        let mut temp = TempFile::new(&dir).map_err(err(path, what))?;
        fill(temp.as_file_mut(), path, from, mode, owner, like)?;
        temp.replace(&name).map_err(err(path, what))?;
        sync_dir(&dir).map_err(err(path, what))
    }

    /// Where a file is to be put: its folder and its name, with nothing in the way but what may be replaced.
    fn place(&self, path: &str) -> Result<(Dir, String), HostError> {
        let what = "could not write";
        let (dir, name) = self.parent(path).map_err(err(path, what))?;
        refuse_in_the_way(&dir, &name).map_err(err(path, what))?;
        Ok((dir, name))
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
        let (dir, name) = self.place(path)?;
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
