// SPDX-License-Identifier: GPL-3.0-or-later
//! Just what the plan of the `tuning` flow reads of a machine. The plan's digest is over these facts:
//! nothing that changes by itself (free memory, times) may stand here.

use super::catalogue::{self, Change};
use crate::detect::distro::Distribution;
use crate::detect::settings::{self, PowerProfiles};
use crate::detect::storage::DiskKind;
use crate::detect::{Facts, Finding};
use crate::flows::boot::{self, BootFacts, BootFile};
use crate::flows::packages::{self, PackageFacts};
use crate::host::{Host, Root};
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
    /// Files of the energy preferences of all processors.
    #[serde(default)]
    pub energy_preferences: Vec<String>,
    /// Power profiles, and who looks after them.
    #[serde(default)]
    pub power: Option<PowerProfiles>,
    /// What installing tuned would do, where nobody looks after power.
    #[serde(default)]
    pub tuned: Option<PackageFacts>,
    /// VMware's configuration for the whole machine.
    #[serde(default)]
    pub vmware_config: Option<Finding<BootFile>>,
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

/// VMware's configuration for the whole machine.
pub const VMWARE_CONFIG: &str = "/etc/vmware/config";

/// Transparent huge pages of the running kernel.
pub const THP: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// The drop-in that a tunable writes, if it writes one.
pub fn drop_in(id: &str, change: &Change) -> Option<String> {
    Some(match change {
        Change::Sysctl { .. } => format!("/etc/sysctl.d/90-hostwright-{id}.conf"),
        Change::TransparentHugePages | Change::Governor { .. } | Change::EnergyPreference { .. } => {
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
        passthrough: settings::passthrough(root),
        vmware: seen.vmware.seen().is_some_and(crate::detect::Vmware::is_installed),
        governed_by: settings::governed_by(root),
        governors: settings::of_processors(root, "scaling_governor"),
        energy_preferences: settings::of_processors(root, "energy_performance_preference"),
        power: settings::power_profiles(host),
        set_in: settings::sysctl_set_in(root),
        vmware_config: vmware_config(root),
        ..TuningFacts::default()
    };
    let mut paths =
        vec![THP.to_owned(), "/proc/sys/vm/dirty_ratio".to_owned(), "/proc/sys/vm/dirty_bytes".to_owned()];
    for tunable in catalogue::all() {
        if let Change::Sysctl { settings } = &tunable.change {
            paths.extend(settings.iter().map(catalogue::Setting::path));
        }
        if let Some(path) = drop_in(&tunable.id, &tunable.change) {
            facts.files.insert(path.clone(), boot_file(root, &path));
        }
    }
    for path in facts.governors.iter().chain(&facts.energy_preferences) {
        paths.push(path.clone());
        paths.push(
            path.replace("_governor", "_available_governors")
                .replace("_preference", "_available_preferences"),
        );
    }
    facts.values = settings::values(root, paths);
    // What tuned would bring is looked at only where nobody looks after power: it asks the package manager.
    let tuned = host.is_machine() && facts.governed_by.is_none() && !facts.governors.is_empty();
    if tuned
        && let Some(package) =
            os.and_then(|o| Distribution::of(o.family).package_of("tuned").map(str::to_owned))
    {
        facts.tuned = Some(packages::gather(host, &[package]));
    }
    if let Finding::Seen(disks) = &seen.storage {
        for disk in disks.iter().filter(|d| !d.removable) {
            if let Ok(scheduler) = root.read_text(&format!("/sys/block/{}/queue/scheduler", disk.name)) {
                let scheduler = scheduler.trim().to_owned();
                facts.disks.insert(disk.name.clone(), DiskFacts { kind: disk.kind, scheduler });
            }
        }
    }
    facts
}

fn boot_file(root: &Root, path: &str) -> Option<BootFile> {
    let text = root.read_text(path).ok()?;
    Some(BootFile { text, mode: root.metadata(path).map_or(0o644, |m| m.mode) })
}

/// VMware's configuration, where it can be read.
fn vmware_config(root: &Root) -> Option<Finding<BootFile>> {
    match root.read_text(VMWARE_CONFIG) {
        Ok(text) => {
            let mode = root.metadata(VMWARE_CONFIG).map_or(0o644, |m| m.mode);
            Some(Finding::Seen(BootFile { text, mode }))
        }
        Err(e) if e.is_not_found() => None,
        Err(e) => Some(Finding::unseen(e.to_string())),
    }
}
