// SPDX-License-Identifier: GPL-3.0-or-later
//! What a run of a guest needs beside the guest itself, and what it says while it goes on. Every folder is
//! the caller's choice: nothing here looks at `$HOME`.

use super::error::GuestError;
use super::report::{AcceleratorUsed, Stage};
use crate::host::{Command, Host};
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// Turns the QEMU command into one that runs in a sandbox.
///
/// All that QEMU opens is then handed to it as inherited files (`Command::inherit`, `/proc/self/fd/N` in its
/// arguments), so that the sandbox needs to show QEMU's own program and firmware, and nothing else: the same
/// numbers must be open inside, and `/proc` must be there. Images must be readable by the sandbox's user. A
/// shared directory (`GuestRoot::Directory`) cannot be handed over so; such a guest is refused.
pub type Wrap<'a> = dyn Fn(Command) -> Result<Command, GuestError> + 'a;

/// Where standard input of the guest's command comes from.
#[derive(Debug, Default)]
pub enum Input {
    /// Nowhere: it is at its end from the beginning.
    #[default]
    Nothing,
    /// An open file, read as the guest takes it.
    From(OwnedFd),
}

/// How a directory is shared with a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Sharing {
    /// By a virtiofsd at one of the places of distributions, else by 9p.
    #[default]
    Find,
    /// By this virtiofsd, if it fits, else by 9p.
    By(PathBuf),
    /// By 9p.
    NineP,
}

/// What a run needs beside the guest.
pub struct Setup<'a> {
    /// The machine that QEMU runs on.
    pub host: &'a Host,
    /// Folder for what later runs use again: extracted kernels, initramfs images, what is known of the
    /// accelerator. Made when missing.
    pub cache: PathBuf,
    /// The run's folder, existing and empty: `report.json`, `console.log`, screenshots, collected files.
    pub folder: PathBuf,
    /// Where a QMP socket for other processes is made (`qmp` in this folder, made when missing, mode 0700);
    /// none: nobody else can reach the guest.
    pub control: Option<PathBuf>,
    /// What the guest is called in its report and its processes.
    pub name: String,
    /// How directories are shared.
    pub sharing: Sharing,
    /// Puts QEMU into a sandbox.
    pub wrap: Option<&'a Wrap<'a>>,
    /// Standard input of the guest's command.
    pub input: Input,
    /// QEMU's environment: what a window needs (`DISPLAY`, `WAYLAND_DISPLAY`, `XDG_RUNTIME_DIR`…).
    pub environment: Vec<(String, String)>,
    /// Whether a guest with a graphics card is photographed when it did not end well.
    pub screenshot_on_failure: bool,
    /// Whether what was made for this run (UEFI variables) is kept in its folder.
    pub keep: bool,
}

impl<'a> Setup<'a> {
    /// A setup with nothing but its folders.
    pub fn new(host: &'a Host, cache: impl Into<PathBuf>, folder: impl Into<PathBuf>) -> Self {
        Self {
            host,
            cache: cache.into(),
            folder: folder.into(),
            control: None,
            name: "guest".into(),
            sharing: Sharing::Find,
            wrap: None,
            input: Input::Nothing,
            environment: Vec::new(),
            screenshot_on_failure: true,
            keep: false,
        }
    }
}

impl fmt::Debug for Setup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("cache", &self.cache)
            .field("folder", &self.folder)
            .field("name", &self.name)
            .field("wrapped", &self.wrap.is_some())
            .finish_non_exhaustive()
    }
}

/// What happens while a guest runs, as it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestEvent<'a> {
    /// QEMU is about to start.
    Starting {
        /// Its command as one could paste it.
        command: &'a str,
        /// What runs the guest, and why that.
        accelerator: &'a AcceleratorUsed,
        /// The host's port that leads to the guest's port 22.
        ssh: Option<u16>,
        /// The guest's address on the host's virtual sockets.
        vsock: Option<u32>,
    },
    /// The guest got somewhere.
    Stage(&'a Stage),
    /// A line of the guest's first process that the runner itself has no use for: its words as they stand in
    /// `init::protocol` (`Task::Rehearse` speaks so).
    Said(&'a str),
    /// Bytes of the command's standard output.
    Stdout(&'a [u8]),
    /// Bytes of the command's standard error.
    Stderr(&'a [u8]),
    /// One line of the console (without its end; control characters as they came).
    Console(&'a str),
}
