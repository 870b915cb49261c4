// SPDX-License-Identifier: GPL-3.0-or-later
//! Just what the plan of the `tuning` flow reads of a machine. The plan's digest is over these facts:
//! nothing that changes by itself (free memory, times) may stand here.

use super::catalogue::{self, Change};
use crate::detect::storage::DiskKind;
use crate::detect::{Facts, Finding};
use crate::flows::boot::{self, BootFacts, BootFile};
use crate::host::{FileKind, Host, Root};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the plan reads of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TuningFacts {
    /// The distribution's name for people.
    pub system: String,
    /// Why this system must not be changed by installing files, with guidance.
    pub immutable: Option<String>,
    /// Whether this is the running machine (not a scratch root).
    pub machine: bool,
    /// Where the kernel command line is decided, and the files that do it.
    pub boot: BootFacts,
    /// The words of the running kernel's command line; `None` where none runs.
    pub running: Option<Vec<String>>,
    /// The processor's vendor.
    pub vendor: Option<String>,
    /// Whether the processor has pages of 1 GiB.
    pub huge_1g: Option<bool>,
    /// Memory in KiB.
    pub memory_kib: Option<u64>,
    /// Whether there is swap.
    pub swap: Option<bool>,
    /// Reserved huge pages: size in KiB → pages.
    pub pools: BTreeMap<u64, u64>,
    /// Whether the IOMMU is in use.
    pub iommu_active: Option<bool>,
    /// What hands devices to guests here, for people.
    pub passthrough: Option<String>,
    /// VMware's product, when it is installed.
    pub vmware: bool,
    /// Files of the running kernel that tunables set: path → what it shows.
    pub values: BTreeMap<String, String>,
    /// Where in `/etc` one of the numbers is set already: key → file.
    pub set_in: BTreeMap<String, String>,
    /// Disks: name → kind and what `queue/scheduler` shows.
    pub disks: BTreeMap<String, DiskFacts>,
    /// Files of the governors of all processors.
    pub governors: Vec<String>,
    /// What looks after the governor by itself ("power-profiles-daemon").
    pub governed_by: Option<String>,
    /// Files that a plan may write: path → as they are.
    pub files: BTreeMap<String, Option<BootFile>>,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiskFacts {
    /// Which kind.
    pub kind: DiskKind,
    /// What `queue/scheduler` shows ("\[none\] mq-deadline").
    pub scheduler: String,
}

/// Transparent huge pages of the running kernel.
pub const THP: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// Modules of which one is loaded where devices are handed to guests.
const PASSTHROUGH: [&str; 4] = ["vfio_pci", "vfio_iommu_type1", "nvidia_vgpu_vfio", "mdev"];

/// Programs that set the governor by themselves, and their names.
const GOVERNING: [(&str, &str); 4] = [
    ("/usr/libexec/power-profiles-daemon", "power-profiles-daemon"),
    ("/usr/lib/power-profiles-daemon", "power-profiles-daemon"),
    ("/usr/sbin/tuned", "tuned"),
    ("/usr/sbin/tlp", "TLP"),
];

/// The drop-in that a tunable writes, if it writes one.
pub fn drop_in(id: &str, change: &Change) -> Option<String> {
    Some(match change {
        Change::Sysctl { .. } => format!("/etc/sysctl.d/90-hostwright-{id}.conf"),
        Change::TransparentHugePages | Change::Governor { .. } => {
            format!("/etc/tmpfiles.d/hostwright-{id}.conf")
        }
        Change::IoScheduler { .. } => format!("/etc/udev/rules.d/60-hostwright-{id}.rules"),
        _ => return None,
    })
}

/// Gathers them from facts and from the files of the machine.
pub fn gather(host: &Host, seen: &Facts) -> TuningFacts {
    let root = host.root();
    let os = seen.os.seen();
    let memory = seen.memory.seen();
    let cpu = seen.cpu.seen();
    let running = seen.running_kernel.seen();
    let mut facts = TuningFacts {
        system: os.map_or_else(|| "This system".to_owned(), |o| o.name.clone()),
        immutable: os.and_then(|o| o.immutable.as_ref()).map(|i| i.guidance.clone()),
        machine: host.is_machine(),
        boot: boot::gather(host, seen),
        running: running.map(|k| k.command_line.split_whitespace().map(str::to_owned).collect()),
        vendor: cpu.map(|c| c.vendor.clone()),
        huge_1g: cpu.map(|c| c.flags.iter().any(|f| f == "pdpe1gb")),
        memory_kib: memory.map(|m| m.total_kib),
        swap: memory.map(|m| m.swap_total_kib > 0),
        pools: memory
            .map(|m| m.huge_pages.iter().map(|p| (p.page_kib, p.total)).collect())
            .unwrap_or_default(),
        iommu_active: seen.iommu.seen().map(|i| i.active),
        passthrough: passthrough(root),
        vmware: seen.vmware.seen().is_some_and(crate::detect::Vmware::is_installed),
        governed_by: GOVERNING.iter().find(|(path, _)| root.exists(path)).map(|(_, name)| (*name).to_owned()),
        set_in: set_in(root),
        ..TuningFacts::default()
    };
    for tunable in catalogue::all() {
        if let Change::Sysctl { settings } = &tunable.change {
            for path in settings.iter().map(catalogue::Setting::path) {
                show(root, &mut facts.values, path);
            }
        }
        if let Some(path) = drop_in(&tunable.id, &tunable.change) {
            let there = root.read_text(&path).ok().map(|text| {
                let mode = root.metadata(&path).map_or(0o644, |m| m.mode);
                BootFile { text, mode }
            });
            facts.files.insert(path, there);
        }
    }
    show(root, &mut facts.values, THP.to_owned());
    for path in ["/proc/sys/vm/dirty_ratio", "/proc/sys/vm/dirty_bytes"] {
        show(root, &mut facts.values, path.to_owned());
    }
    if let Finding::Seen(disks) = &seen.storage {
        for disk in disks.iter().filter(|d| !d.removable) {
            if let Ok(scheduler) = root.read_text(&format!("/sys/block/{}/queue/scheduler", disk.name)) {
                let scheduler = scheduler.trim().to_owned();
                facts.disks.insert(disk.name.clone(), DiskFacts { kind: disk.kind, scheduler });
            }
        }
    }
    let policies = "/sys/devices/system/cpu/cpufreq";
    for entry in root.list(policies).unwrap_or_default() {
        let path = format!("{policies}/{}/scaling_governor", entry.name);
        if entry.name.starts_with("policy") && root.exists(&path) {
            show(root, &mut facts.values, path.clone());
            show(root, &mut facts.values, path.replace("_governor", "_available_governors"));
            facts.governors.push(path);
        }
    }
    facts
}

/// Notes what a file of the kernel shows, where it can be read.
fn show(root: &Root, values: &mut BTreeMap<String, String>, path: String) {
    if let Ok(text) = root.read_text(&path) {
        values.insert(path, text.trim().to_owned());
    }
}

fn passthrough(root: &Root) -> Option<String> {
    let modules = root.read_text("/proc/modules").ok()?;
    let loaded = |name: &str| modules.lines().any(|l| l.split(' ').next() == Some(name));
    PASSTHROUGH.iter().find(|m| loaded(m)).map(|m| format!("the module {m} is loaded"))
}

/// Numbers that files of a person's own set (`/etc/sysctl.conf`, `/etc/sysctl.d`), ours left out.
fn set_in(root: &Root) -> BTreeMap<String, String> {
    let mut files = vec!["/etc/sysctl.conf".to_owned()];
    for entry in root.list("/etc/sysctl.d").unwrap_or_default() {
        let is_ours = entry.name.contains("-hostwright-");
        if entry.kind == FileKind::File && entry.name.ends_with(".conf") && !is_ours {
            files.push(format!("/etc/sysctl.d/{}", entry.name));
        }
    }
    let mut found = BTreeMap::new();
    for file in files {
        let Ok(text) = root.read_text(&file) else { continue };
        for key in sysctl_keys(&text) {
            found.insert(key, file.clone());
        }
    }
    found
}

/// The numbers that a file of sysctl.d(5) sets. Pure.
fn sysctl_keys(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim).filter(|l| !l.starts_with(['#', ';']));
    let keys = lines.filter_map(|l| l.split_once('=')).map(|(key, _)| key.trim().trim_start_matches('-'));
    keys.map(|key| key.replace('/', ".")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_that_a_person_set_are_found_however_they_are_written() {
        let text = "# vm.a=1\n; vm.b=1\nvm.swappiness = 60\n-net/ipv4/ip_forward=1\nnonsense\n";
        assert_eq!(sysctl_keys(text), ["vm.swappiness", "net.ipv4.ip_forward"]);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(?s).*") {
            sysctl_keys(&text);
        }
    }
}
