// SPDX-License-Identifier: GPL-3.0-or-later
//! Where guests of a person's session keep their things, in the person's own folders (XDG Base Directory Specification).

use super::LabError;
use crate::guest::Sharing;
use std::ffi::OsStr;
use std::path::PathBuf;

/// The lab's folders.
#[derive(Debug, Clone)]
pub struct Places {
    /// Kernels, initramfs images, what is known of KVM.
    pub cache: PathBuf,
    /// Run folders.
    pub runs: PathBuf,
    /// A folder for each guest that runs.
    pub running: PathBuf,
}

impl Places {
    /// The folders of the caller.
    ///
    /// # Errors
    /// When the environment names none.
    pub fn find() -> Result<Self, LabError> {
        let named = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let home = named("HOME");
        let below = |name: &str, fallback: &str| {
            named(name).or_else(|| Some(home.clone()?.join(fallback))).ok_or_else(|| {
                LabError::refused(
                    "no-home",
                    format!("neither HOME nor {name} says where the lab keeps its things"),
                    "set HOME to your home folder",
                )
            })
        };
        let runs = below("XDG_STATE_HOME", ".local/state")?.join("hostwright/lab");
        // Without a session there is no such folder (pam_systemd(8)); beside the runs it is as private.
        let running = named("XDG_RUNTIME_DIR").filter(|p| p.is_dir());
        let running = running.map_or_else(|| runs.join("running"), |p| p.join("hostwright/lab"));
        Ok(Self { cache: below("XDG_CACHE_HOME", ".cache")?.join("hostwright/lab"), runs, running })
    }
}

/// How directories are shared with guests when nobody says: by a virtiofsd of the caller's `PATH` (`cargo install
/// virtiofsd` puts one there) or of the distribution, else by 9p.
pub fn sharing() -> Sharing {
    sharing_of(&std::env::var_os("PATH").unwrap_or_default())
}

/// The same for this `PATH`. Relative entries are passed over: what they mean depends on where one is.
fn sharing_of(path: &OsStr) -> Sharing {
    let mut there = std::env::split_paths(path).map(|dir| dir.join("virtiofsd"));
    there.find(|file| file.is_absolute() && file.is_file()).map_or(Sharing::Find, Sharing::By)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_virtiofsd_of_the_path_is_taken_and_a_relative_entry_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let of = |path: String| sharing_of(OsStr::new(&path));
        let (empty, full) = (dir.path().join("empty"), dir.path().join("full"));
        // A folder of that name is no program.
        std::fs::create_dir_all(empty.join("virtiofsd")).unwrap();
        std::fs::create_dir(&full).unwrap();
        assert_eq!(of(format!("{}:{}", empty.display(), full.display())), Sharing::Find);
        std::fs::write(full.join("virtiofsd"), "").unwrap();
        let there = Sharing::By(full.join("virtiofsd"));
        assert_eq!(of(format!("bin:{}:{}", empty.display(), full.display())), there);
        assert_eq!(of(String::new()), Sharing::Find);
    }
}
