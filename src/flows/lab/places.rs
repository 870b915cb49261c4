// SPDX-License-Identifier: GPL-3.0-or-later
//! Where guests of a person's session keep their things, in the person's own folders (XDG Base Directory Specification).

use super::LabError;
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
