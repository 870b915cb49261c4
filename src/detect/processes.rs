// SPDX-License-Identifier: GPL-3.0-or-later
//! Programs of VMware that run: exact executable names, never a part of a name or of a command line.

use super::Finding;
use super::look::Look;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a running program of VMware means for the modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VmwareRole {
    /// A virtual machine (`vmware-vmx`): holds `vmmon`, and a person's work.
    VirtualMachine,
    /// A window (`vmware`, `vmplayer`, …).
    Application,
    /// A service of VMware's (`vmnet-bridge`, `vmware-usbarbitrator`, …): stopped with its unit.
    Service,
}

/// A program of VMware that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VmwareProcess {
    /// Process id.
    pub pid: u32,
    /// Its exact executable name ("vmware-vmx").
    pub name: String,
    /// What that means.
    pub role: VmwareRole,
    /// User id it runs as.
    pub uid: u32,
    /// That user's name, when `/etc/passwd` has it.
    pub user: Option<String>,
}

/// A process of any kind, as far as it can be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    /// Process id.
    pub(super) pid: u32,
    /// Name of its executable file, when the reader may know it.
    pub(super) exe: Option<String>,
    /// The name it has in the kernel: at most 15 bytes.
    pub(super) comm: String,
}

/// The kernel keeps this many bytes of a name (`TASK_COMM_LEN` - 1).
const COMM: usize = 15;

/// VMware's graphical programs are links to this one, and keep their own names as `comm`.
const LOADER: &str = "appLoader";

const VIRTUAL_MACHINES: &[&str] = &["vmware-vmx", "vmware-vmx-debug", "vmware-vmx-stats"];
const APPLICATIONS: &[&str] = &[
    "vmware",
    "vmplayer",
    "vmware-netcfg",
    "vmware-tray",
    "vmware-modconfig",
    "vmware-modconfig-console",
    "vmware-fuseUI",
    "vmware-kvm",
    "vmrest",
];
const SERVICES: &[&str] = &[
    "vmnet-bridge",
    "vmnet-dhcpd",
    "vmnet-natd",
    "vmnet-netifup",
    "vmnet-sniffer",
    "vmware-usbarbitrator",
    "vmware-authdlauncher",
    "vmware-authd",
    "vmware-hostd",
    "vmware-networks",
];

impl Process {
    /// The program among `names` that this process runs: by its executable; by its `comm` only when the
    /// executable cannot be seen, or is the loader that runs under its programs' names.
    pub(super) fn is_one_of<'n>(&self, names: &[&'n str]) -> Option<&'n str> {
        match self.exe.as_deref() {
            Some(exe) if exe != LOADER => names.iter().copied().find(|name| *name == exe),
            _ => names.iter().copied().find(|name| {
                let end = name.len().min(COMM);
                name.get(..end) == Some(self.comm.as_str())
            }),
        }
    }

    fn vmware_role(&self) -> Option<(&'static str, VmwareRole)> {
        let groups = [
            (VIRTUAL_MACHINES, VmwareRole::VirtualMachine),
            (APPLICATIONS, VmwareRole::Application),
            (SERVICES, VmwareRole::Service),
        ];
        groups.into_iter().find_map(|(names, role)| self.is_one_of(names).map(|name| (name, role)))
    }
}

/// Lists all processes.
pub(super) fn list(look: &Look<'_>) -> Finding<Vec<Process>> {
    look.if_running(|| {
        let entries = match look.root().list("/proc") {
            Ok(entries) => entries,
            Err(e) => return Finding::unseen(e.to_string()),
        };
        let pids = entries.into_iter().filter_map(|e| e.name.parse::<u32>().ok());
        let processes = pids.filter_map(|pid| {
            // A process that ended meanwhile is none.
            let comm = look.line(&format!("/proc/{pid}/comm"))?;
            let exe = look.link_name(&format!("/proc/{pid}/exe")).map(|exe| {
                // The file was replaced by an update while it runs.
                exe.strip_suffix(" (deleted)").map_or(exe.clone(), str::to_owned)
            });
            Some(Process { pid, exe, comm })
        });
        Finding::Seen(processes.collect())
    })
}

/// The user id of a process (the effective one of `/proc/PID/status`).
pub(super) fn uid(look: &Look<'_>, pid: u32) -> Option<u32> {
    let text = look.text(&format!("/proc/{pid}/status")).ok()?;
    parse_status_uid(&text)
}

fn parse_status_uid(text: &str) -> Option<u32> {
    let line = text.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// VMware's programs among all processes.
pub(super) fn vmware(
    look: &Look<'_>,
    processes: &Finding<Vec<Process>>,
    users: &BTreeMap<u32, String>,
) -> Finding<Vec<VmwareProcess>> {
    processes.as_ref().map(|processes| {
        let found = processes.iter().filter_map(|process| {
            let (name, role) = process.vmware_role()?;
            let uid = uid(look, process.pid)?;
            let user = users.get(&uid).cloned();
            Some(VmwareProcess { pid: process.pid, name: name.to_owned(), role, uid, user })
        });
        let mut found: Vec<VmwareProcess> = found.collect();
        found.sort_by_key(|p| p.pid);
        found
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn process(exe: Option<&str>, comm: &str) -> Process {
        Process { pid: 1, exe: exe.map(Into::into), comm: comm.into() }
    }

    #[test]
    fn only_exact_names_are_vmware() {
        let role = |exe, comm| process(exe, comm).vmware_role();
        assert_eq!(role(Some("vmware-vmx"), "vmware-vmx"), Some(("vmware-vmx", VmwareRole::VirtualMachine)));
        // A part of a name, or a name that another program gave itself.
        assert_eq!(role(Some("vmware-vmx-tool"), "vmware-vmx-tool"), None);
        assert_eq!(role(Some("bash"), "vmware"), None);
        assert_eq!(role(Some("vim"), "vmware-vmx.log"), None);
        // The executable of another user's process cannot be seen: its name in the kernel, cut off.
        assert_eq!(role(None, "vmware-usbarbit"), Some(("vmware-usbarbitrator", VmwareRole::Service)));
        assert_eq!(role(None, "vmware-usbarb"), None);
        assert_eq!(role(Some("appLoader"), "vmware"), Some(("vmware", VmwareRole::Application)));
        assert_eq!(role(Some("appLoader"), "other"), None);
    }

    #[test]
    fn the_effective_user_counts() {
        assert_eq!(parse_status_uid("Name:\tx\nUid:\t1000\t0\t0\t0\nGid:\t1\n"), Some(0));
        assert_eq!(parse_status_uid("Uid:\t\n"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(?s).*", comm in "\\PC{0,15}") {
            parse_status_uid(&format!("Uid:{text}"));
            process(None, &comm).vmware_role();
        }
    }
}
