// SPDX-License-Identifier: GPL-3.0-or-later
//! A private folder in which foreign code is built: made under a name nobody can foresee, filled before
//! anything foreign runs, then given to the build user, and removed afterwards, also on failure and cancel.

use super::{BuildUser, Host, HostError};
use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FlockOperation, Gid, Mode, OFlags, ResolveFlags, Uid};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where work folders are made, inside the root.
pub const WORK: &str = "/var/cache/hostwright/work";

/// A work folder that nobody holds and that is older than this was left by a crash.
const LEFT_BEHIND: Duration = Duration::from_secs(60);

/// Why a result cannot be taken out of a work folder.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// It is not there.
    #[error("{name} was not made")]
    Missing {
        /// Its name.
        name: String,
    },
    /// It is something that no build makes.
    #[error("{name} is {what}, which no honest build makes; it was not touched")]
    Suspicious {
        /// Its name.
        name: String,
        /// What it is.
        what: String,
    },
    /// It is larger than it can sensibly be.
    #[error("{name} has {size} bytes, more than the {limit} that are taken; it was not touched")]
    TooLarge {
        /// Its name.
        name: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// It cannot be read.
    #[error("{name} could not be read: {source}")]
    Io {
        /// Its name.
        name: String,
        /// Why.
        source: io::Error,
    },
}

/// A private folder for one build; removed when dropped.
#[derive(Debug)]
pub struct WorkFolder {
    parent: Dir,
    name: String,
    dir: Dir,
    path: PathBuf,
    user: BuildUser,
}

fn err(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> HostError {
    let path = path.display().to_string();
    move |source| HostError { path, what, source }
}

impl WorkFolder {
    /// Makes an empty work folder, mode 0700, below [`WORK`] of `host`, or in the caller's own cache
    /// folder on a machine where the caller may not write there. What crashes left is removed on the way.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(host: &Host, user: &BuildUser) -> Result<Self, HostError> {
        let root = host.root();
        let made = root
            .create_dirs("/var/cache/hostwright", 0o755)
            // Only to pass through: the build user reaches its own folder and lists nobody's.
            .and_then(|_| root.create_dirs(WORK, 0o711))
            .and_then(|_| root.dir(WORK))
            .and_then(|dir| Self::in_folder(dir, user));
        match (made, own_cache()) {
            (Err(e), Some(cache)) if host.is_machine() && *user == BuildUser::Caller && is_denied(&e) => {
                let cache = cache.join("hostwright/work");
                fs_err::create_dir_all(&cache).map_err(err(&cache, "could not create the directory"))?;
                let dir = Dir::open_ambient_dir(&cache, cap_std::ambient_authority())
                    .map_err(err(&cache, "could not open the directory"))?;
                Self::in_folder(dir, user)
            }
            (made, _) => made,
        }
    }

    fn in_folder(parent: Dir, user: &BuildUser) -> Result<Self, HostError> {
        let what = "could not create a work folder";
        let parent_path = path_of(&parent).map_err(err(Path::new(WORK), what))?;
        sweep(&parent);
        let dir = cap_tempfile::TempDir::new_in(&parent)
            .and_then(|t| t.into_dir())
            .map_err(err(&parent_path, what))?;
        let path = path_of(&dir).map_err(err(&parent_path, what))?;
        // Opened anew: the handle above is a mere place (O_PATH), which can be neither changed nor locked.
        let dir = open_dir(&dir, c".").map_err(|e| err(&path, what)(e.into()))?;
        let dir = Dir::from_std_file(File::from(dir));
        rustix::fs::fchmod(&dir, Mode::from_raw_mode(0o700)).map_err(|e| err(&path, what)(e.into()))?;
        // Held as long as the folder is in use, so that nobody takes it for left behind.
        rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive)
            .map_err(|e| err(&path, what)(e.into()))?;
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { parent, name, dir, path, user: user.clone() })
    }

    /// Where it is on the running machine.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file before anything foreign has run, and the folders above it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), HostError> {
        let shown = self.path.join(name);
        if let Some((folder, _)) = name.rsplit_once('/') {
            self.dir.create_dir_all(folder).map_err(err(&shown, "could not create the folder of"))?;
        }
        self.dir.write(name, bytes).map_err(err(&shown, "could not write"))
    }

    /// Makes an empty folder before anything foreign has run.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create_dir(&self, name: &str) -> Result<(), HostError> {
        self.dir.create_dir_all(name).map_err(err(&self.path.join(name), "could not create"))
    }

    /// Gives all of it to the build user; nothing is written into it by us afterwards.
    ///
    /// # Errors
    /// When the owner cannot be changed.
    pub fn hand_over(&self) -> Result<(), HostError> {
        let BuildUser::Other { uid, gid } = self.user else { return Ok(()) };
        let what = "could not give to the build user";
        // The folder itself comes last: until then only we can enter it, so nothing moves under our hands.
        chown_below(self.dir.as_fd(), uid, gid).map_err(err(&self.path, what))?;
        rustix::fs::fchown(&self.dir, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .map_err(|e| err(&self.path, what)(e.into()))
    }

    /// Takes one result out: only a regular file with one name, of at most `limit` bytes, reached without
    /// following any link. The file is looked at and read through one descriptor.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn take(&self, name: &str, limit: u64) -> Result<Vec<u8>, TakeError> {
        let io_error = |e: io::Error| TakeError::Io { name: name.to_owned(), source: e };
        let suspicious = |what: &str| TakeError::Suspicious { name: name.to_owned(), what: what.to_owned() };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let fd = match rustix::fs::openat2(&self.dir, name, flags, Mode::empty(), resolve) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::NOENT) => return Err(TakeError::Missing { name: name.to_owned() }),
            Err(rustix::io::Errno::LOOP) => return Err(suspicious("reached over a symbolic link")),
            Err(rustix::io::Errno::NXIO) => return Err(suspicious("a socket")),
            Err(e) => return Err(io_error(e.into())),
        };
        let stat = rustix::fs::fstat(&fd).map_err(|e| io_error(e.into()))?;
        match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
            rustix::fs::FileType::RegularFile => {}
            rustix::fs::FileType::Directory => return Err(suspicious("a folder")),
            rustix::fs::FileType::Fifo => return Err(suspicious("a pipe")),
            _ => return Err(suspicious("a device")),
        }
        if stat.st_nlink != 1 {
            return Err(suspicious("a file with several names"));
        }
        let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        let too_large = |size| TakeError::TooLarge { name: name.to_owned(), size, limit };
        if size > limit {
            return Err(too_large(size));
        }
        let mut bytes = Vec::new();
        File::from(fd).take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(io_error)?;
        if bytes.len() as u64 > limit {
            return Err(too_large(bytes.len() as u64));
        }
        Ok(bytes)
    }

    /// How much is in it: (bytes on the disk, files and folders). What cannot be looked at is not counted.
    pub fn usage(&self) -> (u64, u64) {
        let mut sum = (0, 0);
        add_usage(self.dir.as_fd(), &mut sum, 0);
        sum
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.parent, &self.name) {
            tracing::warn!(path = %self.path.display(), %error, "a work folder could not be removed");
        }
    }
}

/// The caller's own cache folder: `XDG_CACHE_HOME`, or `.cache` in the home folder of the account.
pub fn own_cache() -> Option<PathBuf> {
    let given = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    given.or_else(|| {
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten()?;
        Some(user.dir.join(".cache"))
    })
}

fn is_denied(error: &HostError) -> bool {
    matches!(error.source.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// Where an open directory is on the running machine.
fn path_of(dir: &Dir) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd()))
}

fn open_dir(at: impl AsFd, name: &std::ffi::CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

/// The names in an open directory, without `.` and `..`.
fn names(dir: impl AsFd) -> rustix::io::Result<Vec<std::ffi::CString>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.as_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    Ok(names)
}

fn chown_below(dir: impl AsFd, uid: u32, gid: u32) -> io::Result<()> {
    let dir = dir.as_fd();
    for name in names(dir)? {
        if let Ok(sub) = open_dir(dir, &name) {
            chown_below(&sub, uid, gid)?;
        }
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        rustix::fs::chownat(dir, name.as_c_str(), uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

/// Folders nested deeper than this are no longer looked into.
const DEPTH: u32 = 64;

fn add_usage(dir: impl AsFd, sum: &mut (u64, u64), depth: u32) {
    let dir = dir.as_fd();
    for name in names(dir).unwrap_or_default() {
        sum.1 += 1;
        let Ok(stat) = rustix::fs::statat(dir, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW) else { continue };
        sum.0 += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
        if rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory
            && depth < DEPTH
            && let Ok(sub) = open_dir(dir, &name)
        {
            add_usage(&sub, sum, depth + 1);
        }
    }
}

/// Removes a folder and all in it; no link is followed, and folders whose owner locked himself out are opened.
fn remove(parent: &Dir, name: &str) -> io::Result<()> {
    match parent.remove_dir_all(name) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            let name_c = std::ffi::CString::new(name)?;
            unlock(parent.as_fd(), &name_c, 0);
            parent.remove_dir_all(name)
        }
        other => other,
    }
}

fn unlock(at: impl AsFd, name: &std::ffi::CStr, depth: u32) {
    let at = at.as_fd();
    let is_folder = rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|s| rustix::fs::FileType::from_raw_mode(s.st_mode) == rustix::fs::FileType::Directory);
    // Nothing foreign runs any more, so that the folder is still a folder here.
    if !is_folder || depth > DEPTH || rustix::fs::chmodat(at, name, Mode::RWXU, AtFlags::empty()).is_err() {
        return;
    }
    if let Ok(dir) = open_dir(at, name) {
        for name in names(&dir).unwrap_or_default() {
            unlock(&dir, &name, depth + 1);
        }
    }
}

/// Removes work folders that a crash left: nobody holds their lock, and they are not just being made.
fn sweep(parent: &Dir) {
    for name in names(parent.as_fd()).unwrap_or_default() {
        let Ok(dir) = open_dir(parent, &name) else { continue };
        let old = rustix::fs::fstat(&dir).is_ok_and(|s| {
            let changed = std::time::UNIX_EPOCH + Duration::from_secs(u64::try_from(s.st_ctime).unwrap_or(0));
            changed.elapsed().is_ok_and(|age| age > LEFT_BEHIND)
        });
        if !old || rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        if let Ok(name) = name.to_str()
            && let Err(error) = remove(parent, name)
        {
            tracing::warn!(name, %error, "a work folder that was left behind could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    fn folder() -> (tempfile::TempDir, Host, WorkFolder) {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::scratch(dir.path()).unwrap();
        let work = WorkFolder::create(&host, &BuildUser::find()).unwrap();
        (dir, host, work)
    }

    #[test]
    fn it_belongs_to_the_build_user_alone_and_is_gone_afterwards() {
        let (_dir, _host, work) = folder();
        work.write("vmmon-only/linux/driver.c", b"int x;\n").unwrap();
        work.hand_over().unwrap();
        let path = work.path().to_owned();
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!(meta.permissions().mode() & 0o777, 0o700);
        if let BuildUser::Other { uid, .. } = BuildUser::find() {
            assert_eq!(meta.uid(), uid);
            assert_eq!(std::fs::metadata(path.join("vmmon-only/linux/driver.c")).unwrap().uid(), uid);
        }
        std::fs::create_dir(path.join("locked")).unwrap();
        std::fs::write(path.join("locked/f"), "x").unwrap();
        std::fs::set_permissions(path.join("locked"), std::fs::Permissions::from_mode(0o000)).unwrap();
        drop(work);
        assert!(!path.exists());
    }

    #[test]
    fn only_regular_files_are_taken_out() {
        let (_dir, _host, work) = folder();
        let at = |name: &str| work.path().join(name);
        std::fs::write(at("good.ko"), b"abc").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", at("link.ko")).unwrap();
        std::os::unix::fs::symlink("/etc", at("folder-link")).unwrap();
        nix::unistd::mkfifo(&at("pipe.ko"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        std::fs::create_dir(at("folder.ko")).unwrap();
        std::fs::hard_link(at("good.ko"), at("hard.ko")).unwrap();
        let error = |name: &str| work.take(name, 100).unwrap_err().to_string();
        assert!(error("link.ko").contains("reached over a symbolic link"));
        assert!(error("folder-link/passwd").contains("reached over a symbolic link"));
        assert!(error("pipe.ko").contains("a pipe"));
        assert!(error("folder.ko").contains("a folder"));
        assert!(error("hard.ko").contains("several names"));
        assert!(error("none.ko").contains("was not made"));
        assert!(work.take("../../../../../etc/passwd", 100_000).is_err());
        std::fs::remove_file(at("hard.ko")).unwrap();
        assert_eq!(work.take("good.ko", 3).unwrap(), b"abc");
        assert!(work.take("good.ko", 2).unwrap_err().to_string().contains("3 bytes"));
    }

    #[test]
    fn what_a_crash_left_is_swept_but_no_folder_in_use() {
        let (_dir, host, work) = folder();
        let parent = host.root().outside(WORK);
        let left = parent.join("left-by-a-crash");
        std::fs::create_dir_all(left.join("deep/er")).unwrap();
        // Change times cannot be set back: sweep with a folder that is just old enough by waiting is too
        // slow for a test, so the young one must stay.
        sweep(&host.root().dir(WORK).unwrap());
        assert!(left.exists() && work.path().exists());
        let held = host.root().dir(WORK).unwrap();
        let name = std::ffi::CString::new(work.name.clone()).unwrap();
        let again = open_dir(&held, &name).unwrap();
        assert!(rustix::fs::flock(&again, FlockOperation::NonBlockingLockExclusive).is_err(), "not held");
    }

    #[test]
    fn its_size_is_known() {
        let (_dir, _host, work) = folder();
        work.write("a/b", &[1; 10_000]).unwrap();
        let (bytes, entries) = work.usage();
        assert!((10_000..40_000).contains(&bytes), "{bytes}");
        assert_eq!(entries, 2);
    }
}
