// SPDX-License-Identifier: GPL-3.0-or-later
//! Where the lab keeps its things in the caller's own folders (XDG Base Directory Specification), and what its
//! errors mean for the exit status.

use crate::cli::errors::{Exit, Problem, sentence};
use crate::guest::{GuestError, Sharing};
use std::path::PathBuf;

/// The lab's folders.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// Kernels, initramfs images, what is known of KVM.
    pub(super) cache: PathBuf,
    /// Run folders.
    pub(super) runs: PathBuf,
    /// A folder for each guest that runs.
    pub(super) running: PathBuf,
}

impl Places {
    /// The folders of the caller.
    ///
    /// # Errors
    /// When the environment names none.
    pub(super) fn find() -> Result<Self, Problem> {
        let named = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let home = named("HOME");
        let below = |name: &str, fallback: &str| {
            named(name).or_else(|| Some(home.clone()?.join(fallback))).ok_or_else(|| {
                Problem::usage(format!("Neither HOME nor {name} says where the lab keeps its things."))
                    .remedy("Set HOME to your home folder.")
            })
        };
        let runs = below("XDG_STATE_HOME", ".local/state")?.join("hostwright/lab");
        // Without a session there is no such folder (pam_systemd(8)); beside the runs it is as private.
        let running = named("XDG_RUNTIME_DIR").filter(|p| p.is_dir());
        let running = running.map_or_else(|| runs.join("running"), |p| p.join("hostwright/lab"));
        Ok(Self { cache: below("XDG_CACHE_HOME", ".cache")?.join("hostwright/lab"), runs, running })
    }
}

/// How directories are shared with guests: as `--share` says, else by a virtiofsd of the caller's `PATH` (`cargo
/// install virtiofsd` puts one there) or of the distribution, else by 9p.
pub(super) fn sharing(given: Option<&std::path::Path>) -> Sharing {
    match given {
        Some(path) if path.as_os_str() == "9p" => Sharing::NineP,
        Some(path) if path.as_os_str() != "auto" => {
            Sharing::By(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
        }
        _ => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let mut there = std::env::split_paths(&path).map(|dir| dir.join("virtiofsd"));
            there.find(|file| file.is_absolute() && file.is_file()).map_or(Sharing::Find, Sharing::By)
        }
    }
}

impl From<GuestError> for Problem {
    fn from(error: GuestError) -> Self {
        match error {
            GuestError::Refused { code, reason, remedy } => {
                Self::new(Exit::Refused, code, "The guest was not started", sentence(&reason))
                    .remedy(sentence(&remedy))
            }
            GuestError::MissingTool { program, package } => {
                let reason = format!("{program} is not installed.");
                Self::new(Exit::Refused, "missing-tool", "The guest was not started", reason)
                    .remedy(format!("Install {package}."))
            }
            GuestError::Cancelled => Self::new(
                Exit::Cancelled,
                "cancelled",
                "Cancelled",
                "The guest was not started, and nothing is left of it.",
            ),
            GuestError::File { what, ref path, ref source } => Self::file(what, path, source),
            error => Self::new(
                Exit::Failed,
                "guest",
                "The guest could not be run to its end",
                sentence(&error.to_string()),
            ),
        }
    }
}
