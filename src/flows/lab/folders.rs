// SPDX-License-Identifier: GPL-3.0-or-later
//! Where the lab keeps things: all of it in the person's own folders.
//!
//! ```text
//!   ~/.cache/hostwright/lab/          all of it can be made again; `eject --all` removes it
//!     bases/KEY/        bootstrapped systems: base.squashfs, kernel, initramfs, what is in them
//!     packages/         packages as the archive gave them
//!     lists/            what the archives have
//!     images/           built images, unless another place was named
//!     locks/            one image is built once at a time
//!     work/RANDOM/      one build: has a marker, and is gone after it
//!   ~/.local/state/hostwright/builds/NAME.log
//! ```

use super::LabError;
use super::work::MARKER;
use std::path::{Path, PathBuf};

/// The lab's folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    /// All that can be made again.
    pub cache: PathBuf,
    /// Logs of builds.
    pub logs: PathBuf,
}

impl Folders {
    /// Those of the person whose session this is: `XDG_CACHE_HOME` and `XDG_STATE_HOME`, or `.cache` and
    /// `.local/state` in the home folder of the account (XDG Base Directory Specification).
    ///
    /// # Errors
    /// When the account has no home folder.
    pub fn of_session() -> Result<Self, LabError> {
        let given = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let home = given("HOME")
            .or_else(|| nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|u| u.dir));
        let in_home = |name: &str| home.as_ref().map(|h| h.join(name));
        let cache = given("XDG_CACHE_HOME").or_else(|| in_home(".cache"));
        let state = given("XDG_STATE_HOME").or_else(|| in_home(".local/state"));
        match (cache, state) {
            (Some(cache), Some(state)) => {
                Ok(Self { cache: cache.join("hostwright/lab"), logs: state.join("hostwright/builds") })
            }
            _ => Err(LabError::refused("no-home", "this account has no home folder", "set HOME")),
        }
    }

    /// Bootstrapped systems.
    pub fn bases(&self) -> PathBuf {
        self.cache.join("bases")
    }
    /// Packages as the archive gave them.
    pub fn packages(&self) -> PathBuf {
        self.cache.join("packages")
    }
    /// What the archives have.
    pub fn lists(&self) -> PathBuf {
        self.cache.join("lists")
    }
    /// Built images.
    pub fn images(&self) -> PathBuf {
        self.cache.join("images")
    }
    /// Lock files.
    pub fn locks(&self) -> PathBuf {
        self.cache.join("locks")
    }
    /// Builds under way.
    pub fn work(&self) -> PathBuf {
        self.cache.join("work")
    }
    /// Makes the cache folder. A marker in it says that all below is the lab's.
    pub(super) fn prepare(&self) -> Result<(), LabError> {
        make(&self.cache)?;
        let marker = self.cache.join(MARKER);
        match std::fs::File::create_new(&marker) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(LabError::io(&marker, "could not write")(e))
            }
            _ => Ok(()),
        }
    }

    /// What `eject --all` drops: all that is there, but for builds under way and their locks. Kernels and
    /// initramfs images of guests are among it.
    pub(super) fn caches(&self) -> Result<Vec<PathBuf>, LabError> {
        let stays = [self.work(), self.locks(), self.cache.join(MARKER)];
        Ok(children(&self.cache)?.into_iter().filter(|p| !stays.contains(p)).collect())
    }
}

/// What is in a folder, sorted; nothing when there is none.
pub(super) fn children(folder: &Path) -> Result<Vec<PathBuf>, LabError> {
    let what = "could not list the folder";
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(LabError::io(folder, what))?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(LabError::io(folder, what))?.path());
    }
    paths.sort();
    Ok(paths)
}

/// Makes a folder and those above it, for its owner alone.
pub(super) fn make(path: &Path) -> Result<(), LabError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(LabError::io(path, "could not create the folder"))
}
