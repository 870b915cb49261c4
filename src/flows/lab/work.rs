// SPDX-License-Identifier: GPL-3.0-or-later
//! The folder of one build: a name that nobody can foresee, a marker that says whose it is, gone afterwards.
//! What a crash leaves, `eject` finds by the marker.

use super::folders::{self, Folders};
use super::remove::{self, RemoveError, Removed};
use super::{LabError, namespace};
use crate::host::Host;
use cap_std::fs::Dir;
use rustix::fs::{FlockOperation, Mode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Name of the marker in a work folder.
pub const MARKER: &str = ".hostwright-lab";

/// Whose a work folder is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Marker {
    /// Version of this document: 1.
    pub schema: u32,
    /// The user who builds.
    pub uid: u32,
    /// The process that builds.
    pub pid: i32,
    /// When that process started, in clock ticks since boot (field 22 of `/proc/PID/stat`): another process
    /// may get its number later.
    pub started: u64,
    /// The boot in which that was (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// What is built.
    pub image: String,
}

impl Marker {
    /// The marker of this process.
    fn own(host: &Host, image: &str) -> Self {
        let pid = nix::unistd::getpid().as_raw();
        Self {
            schema: 1,
            uid: nix::unistd::geteuid().as_raw(),
            pid,
            started: started(host, pid).unwrap_or(0),
            boot_id: boot_id(host),
            image: image.to_owned(),
        }
    }

    /// Whether the process that wrote it still runs.
    pub fn is_alive(&self, host: &Host) -> bool {
        self.boot_id == boot_id(host) && started(host, self.pid) == Some(self.started)
    }
}

fn boot_id(host: &Host) -> String {
    host.root().read_text("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn started(host: &Host, pid: i32) -> Option<u64> {
    start_time(&host.root().read_text(&format!("/proc/{pid}/stat")).ok()?)
}

/// Field 22 of `/proc/PID/stat`; the name of the program (field 2) may hold anything, also brackets.
pub(super) fn start_time(stat: &str) -> Option<u64> {
    let after = &stat[stat.rfind(')')? + 1..];
    after.split_whitespace().nth(19)?.parse().ok()
}

/// The folder of one build; removed when dropped.
#[derive(Debug)]
pub struct LabFolder {
    path: PathBuf,
    // Locked as long as the folder is in use.
    _held: File,
    host: Host,
}

impl LabFolder {
    /// Makes an empty one, mode 0700, with its marker.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(host: &Host, all: &Folders, image: &str) -> Result<Self, LabError> {
        let work = all.work();
        folders::make(&work)?;
        // Mounts are compared by path later, and the kernel knows no links in them.
        let work = work.canonicalize().map_err(LabError::io(&all.work(), "could not resolve"))?;
        let what = "could not create a work folder";
        let parent =
            Dir::open_ambient_dir(&work, cap_std::ambient_authority()).map_err(LabError::io(&work, what))?;
        let dir = cap_tempfile::TempDir::new_in(&parent)
            .and_then(|t| t.into_dir())
            .map_err(LabError::io(&work, what))?;
        let path = std::fs::read_link(format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd()))
            .map_err(LabError::io(&work, what))?;
        let held = remove::open_dir(&dir, c".").map_err(LabError::errno(&path, what))?;
        rustix::fs::fchmod(&held, Mode::RWXU).map_err(LabError::errno(&path, what))?;
        rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive)
            .map_err(LabError::errno(&path, "could not lock"))?;
        let folder = Self { path, _held: File::from(held), host: host.clone() };
        let marker = serde_json::to_vec(&Marker::own(host, image)).unwrap_or_default();
        // All of it or nothing: a marker that is half written would say nothing of its owner.
        cap_tempfile::TempFile::new(&dir)
            .and_then(|mut file| std::io::Write::write_all(&mut file, &marker).map(|()| file))
            .and_then(|file| file.replace(MARKER))
            .map_err(LabError::io(&folder.path, "could not write the marker of"))?;
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where `name` in it is.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes a folder in it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder(&self, name: &str) -> Result<PathBuf, LabError> {
        let path = self.join(name);
        folders::make(&path)?;
        Ok(path)
    }
}

impl Drop for LabFolder {
    fn drop(&mut self) {
        if let Err(error) = remove_marked(&self.host, &self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a work folder could not be removed");
        }
    }
}

/// The folder above, open.
pub(super) fn parent_of(path: &Path) -> io::Result<File> {
    File::open(path.parent().unwrap_or_else(|| Path::new("/")))
}

/// Removes a folder, its marker last, so that a removal that was interrupted is taken up again. What belongs
/// to other users of the person's own user namespace is removed from inside one.
pub(super) fn remove_marked(host: &Host, folder: &Path) -> Result<Removed, RemoveError> {
    let failed = |source| RemoveError::Io { path: folder.to_owned(), source };
    let parent = parent_of(folder).map_err(failed)?;
    let name = folder.file_name().unwrap_or_default();
    let mut removed = Removed::default();
    let c_name = CString::new(name.as_bytes()).map_err(|e| failed(e.into()))?;
    if let Ok(dir) = remove::open_dir(&parent, &c_name) {
        for name in remove::names(&dir).map_err(|e| failed(e.into()))? {
            let name = OsStr::from_bytes(name.to_bytes());
            if name == MARKER {
                continue;
            }
            let path = folder.join(name);
            removed += match remove::remove(&dir, name, &path) {
                Err(error) if error.is_denied() && !namespace::is_root() => {
                    namespace::remove_inside(host, &path).map_err(|_| error)?;
                    Removed::default()
                }
                other => other?,
            };
        }
    }
    removed += remove::remove(&parent, name, folder)?;
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(dir: &Path) -> Folders {
        Folders { cache: dir.join("cache"), logs: dir.join("logs") }
    }

    #[test]
    fn a_work_folder_says_whose_it_is_and_is_gone_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::machine().unwrap();
        let folder = LabFolder::create(&host, &folders(dir.path()), "demo").unwrap();
        let path = folder.path().to_owned();
        let marker: Marker = serde_json::from_slice(&std::fs::read(path.join(MARKER)).unwrap()).unwrap();
        assert_eq!((marker.image.as_str(), marker.pid), ("demo", nix::unistd::getpid().as_raw()));
        assert!(marker.started > 0 && marker.is_alive(&host));
        assert!(!Marker { started: marker.started + 1, ..marker.clone() }.is_alive(&host));
        assert!(!Marker { boot_id: "another".into(), ..marker }.is_alive(&host));
        std::fs::create_dir_all(path.join("root/etc")).unwrap();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn the_start_of_a_process_is_read_whatever_it_is_called() {
        let rest = (3..=52).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(start_time(&format!("1 (a) b) c) {rest}")), Some(22));
        assert_eq!(start_time(""), None);
        assert_eq!(start_time("1 (x) S"), None);
    }
}
