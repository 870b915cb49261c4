// SPDX-License-Identifier: GPL-3.0-or-later
//! Tries built modules in a throw-away virtual machine with just their kernel. Changes nothing of the host.
//!
//! ```text
//!   modules ─► private folder ─► guest::run ─► bubblewrap ─► QEMU (unprivileged, no network, emulation)
//!                                    │ what the guest says, and the kernel's log
//!                                    ▼
//!                              rehearsal::verdict (pure)
//! ```

use super::error::StepError;
use super::modinfo::{MODULE_LIMIT, Modinfo};
use crate::guest::rehearsal::{Rehearsal, Verdict, verdict};
use crate::guest::spec::{Accelerator, Boot, Display, Guest, GuestRoot, KernelBoot, Network, Task};
use crate::guest::{self, GuestError, GuestEvent, Outcome, Report, Setup};
use crate::host::{BuildUser, Cancel, Command, Host, HostError, Sandbox, SandboxError, WorkFolder};
use crate::init::rehearse::Said;
use crate::init::rehearse::measure::Measured;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// How long the whole guest may take, in seconds. Emulated, it takes 5 to 20.
const TIMEOUT: u32 = 180;
/// Processors of the guest: two, so that what runs on each shows.
const CPUS: u32 = 2;
/// Its memory in MiB.
const MEMORY: u32 = 512;

/// What is tried.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Kernel release.
    pub kernel: &'a str,
    /// Its boot image, inside the root.
    pub image: &'a str,
    /// The modules, needed ones first: name and bytes.
    pub modules: &'a [(String, Vec<u8>)],
}

/// What happens meanwhile.
#[derive(Debug)]
pub enum Progressed<'a> {
    /// QEMU's command, as one could paste it.
    Begins(&'a str),
    /// Something was said of the modules.
    Said(&'a Said),
    /// A line of the console.
    Console(&'a str),
}

impl Progressed<'_> {
    /// The line to show, where there is one, and whether one more thing was tried.
    pub(super) fn line(&self) -> (Option<String>, bool) {
        match self {
            Self::Begins(command) => (Some(format!("$ {command}")), false),
            // What matters of it comes as the kernel's own records.
            Self::Console(_) => (None, false),
            Self::Said(said) => {
                let tried = matches!(said, Said::Good { .. } | Said::Bad { .. } | Said::Skipped { .. });
                (said.shown(), tried)
            }
        }
    }
}

/// Tries the modules. `scratch` is a private, empty folder on this machine; `cache` is kept between runs.
///
/// # Errors
/// Only [`StepError::Cancelled`], and when the private folder cannot be used: a machine that cannot run a guest is
/// a verdict ([`Verdict::CouldNotLook`]).
pub fn rehearse(
    host: &Host,
    wanted: &Wanted<'_>,
    scratch: &Path,
    cache: &Path,
    cancel: &Cancel,
    tell: &mut dyn FnMut(Progressed<'_>),
) -> Result<Verdict, StepError> {
    match run(host, wanted, scratch, cache, cancel, tell) {
        Ok(verdict) => Ok(verdict),
        Err(Fault::Step(error)) => Err(error),
        Err(Fault::CannotLook(why)) => Ok(Verdict::CouldNotLook { why, lines: Vec::new() }),
    }
}

enum Fault {
    Step(StepError),
    CannotLook(String),
}

impl From<HostError> for Fault {
    fn from(error: HostError) -> Self {
        Self::Step(error.into())
    }
}

impl From<SandboxError> for Fault {
    fn from(error: SandboxError) -> Self {
        Self::CannotLook(error.to_string())
    }
}

impl From<GuestError> for Fault {
    fn from(error: GuestError) -> Self {
        match error {
            GuestError::Cancelled => Self::Step(StepError::Cancelled),
            other => Self::CannotLook(other.to_string()),
        }
    }
}

/// Measures the modules in a guest: loading them, and vmnet from port to port, each figure for so many milliseconds.
/// Returns what was measured and what ran the guest ("tcg"). `scratch` and `cache` as for [`rehearse`].
///
/// # Errors
/// [`StepError::Cancelled`], and when no guest can be run or it did not come to its end, with the reason.
pub fn measure(
    host: &Host,
    wanted: &Wanted<'_>,
    milliseconds: u32,
    scratch: &Path,
    cache: &Path,
    cancel: &Cancel,
) -> Result<(Vec<Measured>, String), StepError> {
    let mut measured = Vec::new();
    let task = Task::Measure { milliseconds };
    let report = boot(host, wanted, task, scratch, cache, cancel, &mut |event| {
        if let GuestEvent::Said(line) = event {
            measured.extend(Measured::parse(line));
        }
    });
    let refused = |why: String| {
        StepError::refused(
            format!("the modules could not be measured: {why}"),
            "`hostwright vmware rehearse` says more",
        )
    };
    match report {
        Ok(report) if report.success() => Ok((measured, report.accelerator.name)),
        Ok(report) => {
            let said = measured.iter().find_map(|m| match m {
                Measured::LeftOut(_, why) => Some(why.clone()),
                Measured::Figure(..) => None,
            });
            Err(refused(said.unwrap_or_else(|| format!("the guest did not end well: {:?}", report.outcome))))
        }
        Err(Fault::Step(error)) => Err(error),
        Err(Fault::CannotLook(why)) => Err(refused(why)),
    }
}

fn run(
    host: &Host,
    wanted: &Wanted<'_>,
    scratch: &Path,
    cache: &Path,
    cancel: &Cancel,
    tell: &mut dyn FnMut(Progressed<'_>),
) -> Result<Verdict, Fault> {
    let mut heard = Rehearsal::default();
    let task = Task::Rehearse { only_load: false };
    let report = boot(host, wanted, task, scratch, cache, cancel, &mut |event| match event {
        GuestEvent::Starting { command, .. } => tell(Progressed::Begins(command)),
        GuestEvent::Said(line) => {
            if let Some(said) = heard.hear(line) {
                tell(Progressed::Said(said));
            }
        }
        GuestEvent::Console(line) => tell(Progressed::Console(line)),
        GuestEvent::Stage(_) | GuestEvent::Stdout(_) | GuestEvent::Stderr(_) => {}
    })?;
    Ok(verdict(&heard, &report))
}

/// Boots the kernel with the modules in the sandbox.
fn boot(
    host: &Host,
    wanted: &Wanted<'_>,
    task: Task,
    scratch: &Path,
    cache: &Path,
    cancel: &Cancel,
    hear: &mut dyn FnMut(GuestEvent<'_>),
) -> Result<Report, Fault> {
    // QEMU is this machine's, also when the modules are for a scratch root.
    let machine = if host.is_machine() { host.clone() } else { Host::machine()? };
    let user = BuildUser::find();
    let work = WorkFolder::create(&machine, &user)?;
    work.hand_over()?;
    let sandbox = Sandbox::of_machine(&machine, work.path(), user)?;
    let wrap = |command: Command| Ok(sandbox.wrap(&command));
    let setup = Setup {
        name: format!("rehearsal of {}", wanted.kernel),
        wrap: Some(&wrap),
        screenshot_on_failure: false,
        ..Setup::new(&machine, cache, new_folder(scratch, "run")?)
    };
    let guest = guest(host, wanted, task, &new_folder(scratch, "modules")?)?;
    let report = guest::run(&guest, setup, cancel, &mut |event| hear(event))?;
    if report.outcome == Outcome::Cancelled || cancel.is_cancelled() {
        return Err(Fault::Step(StepError::Cancelled));
    }
    Ok(report)
}

fn new_folder(scratch: &Path, name: &str) -> Result<PathBuf, Fault> {
    let path = scratch.join(name);
    std::fs::create_dir(&path).map_err(|source| HostError {
        path: path.display().to_string(),
        what: "could not create the folder",
        source,
    })?;
    Ok(path)
}

/// The guest: this kernel, and the modules with what they need.
fn guest(host: &Host, wanted: &Wanted<'_>, task: Task, folder: &Path) -> Result<Guest, Fault> {
    let root = host.root();
    // What the exercise itself needs: packet sockets, where they are a module.
    let mut insert: Vec<PathBuf> =
        files_of(host, wanted, "af_packet")?.iter().map(|file| root.outside(file)).collect();
    for (name, bytes) in wanted.modules {
        for needed in needed(host, wanted, bytes)? {
            let path = root.outside(&needed);
            if !insert.contains(&path) {
                insert.push(path);
            }
        }
        let path = folder.join(format!("{name}.ko"));
        std::fs::write(&path, bytes).map_err(|source| HostError {
            path: path.display().to_string(),
            what: "could not write",
            source,
        })?;
        insert.push(path);
    }
    let modules = format!("/lib/modules/{}", wanted.kernel);
    let config = format!("/boot/config-{}", wanted.kernel);
    let boot = KernelBoot {
        image: root.outside(&root.resolve(wanted.image)?),
        modules: root.resolve(&modules).ok().map(|path| root.outside(&path)),
        config: root.exists(&config).then(|| root.outside(&config)),
        root: GuestRoot::None,
        writable: false,
        task,
        append: Vec::new(),
        insert,
        collect: Vec::new(),
    };
    Ok(Guest {
        boot: Boot::Kernel(boot),
        cpus: CPUS,
        memory: MEMORY,
        // The build user has no device of KVM, and needs none.
        accelerator: Accelerator::Tcg,
        display: Display::None,
        network: Network::None,
        disks: Vec::new(),
        timeout: TIMEOUT,
        until: None,
    })
}

/// The files of the kernel's own modules that a module depends on (`depends=` of its .modinfo), in the order in
/// which they are inserted: those that these depend on first. Paths inside the root.
fn needed(host: &Host, wanted: &Wanted<'_>, module: &[u8]) -> Result<Vec<String>, Fault> {
    let own: BTreeSet<&str> = wanted.modules.iter().map(|(name, _)| name.as_str()).collect();
    let info = Modinfo::of_module(module).map_err(|e| Fault::CannotLook(e.to_string()))?;
    let depends = info.get("depends").unwrap_or_default();
    let mut files = Vec::new();
    for name in depends.split(',').filter(|n| !n.is_empty() && !own.contains(n)) {
        files.extend(files_of(host, wanted, name)?);
    }
    Ok(files)
}

/// A module of the kernel's own with what it depends on, in order; nothing when it is no module there.
fn files_of(host: &Host, wanted: &Wanted<'_>, module: &str) -> Result<Vec<String>, HostError> {
    let folder = format!("/lib/modules/{}", wanted.kernel);
    let index = match host.root().read_at_most(&format!("{folder}/modules.dep"), MODULE_LIMIT) {
        Ok(index) => index,
        Err(e) if e.is_not_found() => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let found = in_order(&String::from_utf8_lossy(&index), module).unwrap_or_default();
    Ok(found.into_iter().map(|f| if f.starts_with('/') { f } else { format!("{folder}/{f}") }).collect())
}

/// The line of `modules.dep` for a module (modules.dep(5)), last named first; `None` when it is built in or not
/// there. Pure.
fn in_order(index: &str, module: &str) -> Option<Vec<String>> {
    let stem = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or(path);
        name.split(".ko").next().unwrap_or(name).replace('-', "_")
    };
    let module = module.replace('-', "_");
    let (file, needs) =
        index.lines().filter_map(|l| l.split_once(':')).find(|(file, _)| stem(file) == module)?;
    let mut files: Vec<String> = needs.split_ascii_whitespace().rev().map(str::to_owned).collect();
    files.push(file.to_owned());
    Some(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_needs_comes_before_it() {
        let index = "kernel/drivers/misc/vmw_vmci/vmw_vmci.ko:\n\
                     kernel/net/vmw_vsock/vsock.ko.xz: kernel/net/a-b.ko.xz kernel/net/c.ko.xz\n";
        assert_eq!(
            in_order(index, "vsock").unwrap(),
            ["kernel/net/c.ko.xz", "kernel/net/a-b.ko.xz", "kernel/net/vmw_vsock/vsock.ko.xz"]
        );
        assert_eq!(in_order(index, "vmw-vmci").unwrap(), ["kernel/drivers/misc/vmw_vmci/vmw_vmci.ko"]);
        assert_eq!(in_order(index, "ext4"), None);
    }
}
