// SPDX-License-Identifier: GPL-3.0-or-later
//! The tunables as data (`data/tunables/*.toml`, built in).

use crate::detect::storage::DiskKind;
use crate::engine::kernel_params::Parameter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

/// How much can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Nothing that a person would notice at once.
    Low,
    /// Programs or devices may suffer.
    Medium,
    /// The machine may not start.
    High,
}

/// What must hold for a tunable to make sense at all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Applies {
    /// The processor's vendor ("GenuineIntel").
    pub vendor: Option<String>,
    /// A flag of the processor ("pdpe1gb").
    pub flag: Option<String>,
    /// Swap is there.
    pub swap: bool,
}

/// One number of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// Its name ("vm.swappiness").
    pub key: String,
    /// The value that is proposed.
    pub value: u64,
    /// The smallest value that makes sense.
    pub min: u64,
    /// The largest.
    pub max: u64,
}

impl Setting {
    /// Where the running kernel has it.
    pub fn path(&self) -> String {
        format!("/proc/sys/{}", self.key.replace('.', "/"))
    }
}

/// Where a setting of VMware's may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// `/etc/vmware/config`: all users and guests.
    Machine,
    /// `~/.vmware/config`: guests that this user starts.
    User,
    /// A guest's `.vmx`.
    Vm,
}

/// One setting of VMware's.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VmwareSetting {
    /// Its name ("mainMem.useNamedFile").
    pub key: String,
    /// The value that is proposed.
    pub value: String,
    /// All values that may be given.
    pub values: Vec<String>,
}

/// What a tunable changes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// A word on the kernel command line.
    KernelParameter {
        /// The word.
        parameter: Parameter,
        /// Other values that it may have; none when it is as it is.
        #[serde(default)]
        values: Vec<String>,
    },
    /// AMD's IOMMU, which needs no word: only looked at.
    AmdIommu,
    /// Reserved huge pages of this size.
    HugePages {
        /// Size of a page in KiB.
        page_kib: u64,
    },
    /// Numbers of the kernel, in a drop-in of sysctl.d(5); a value that is given is for the first.
    Sysctl {
        /// The numbers.
        settings: Vec<Setting>,
    },
    /// Transparent huge pages at run time, in a drop-in of tmpfiles.d(5).
    TransparentHugePages,
    /// The I/O scheduler, by a rule of udev(7).
    IoScheduler {
        /// For which disks.
        disks: DiskKind,
        /// The scheduler that is proposed.
        value: String,
    },
    /// A setting of VMware's own, in its configuration for the machine, of a user, or of one virtual machine.
    VmwareConfig {
        /// Where it may stand.
        scopes: Vec<Scope>,
        /// The settings; a value that is given is for the first.
        settings: Vec<VmwareSetting>,
    },
    /// A power profile, with who looks after them.
    PowerProfile {
        /// The one of tuned.
        tuned: String,
        /// The one of power-profiles-daemon.
        daemon: String,
    },
    /// What a processor that chooses its frequency by itself weighs more.
    EnergyPreference {
        /// The preference that is proposed.
        value: String,
    },
    /// The CPU frequency governor.
    Governor {
        /// The governor that is proposed.
        value: String,
    },
}

impl Change {
    /// Whether it takes a restart.
    pub fn needs_reboot(&self) -> bool {
        matches!(self, Self::KernelParameter { .. } | Self::HugePages { .. } | Self::AmdIommu)
    }
}

/// One thing that can be tuned.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tunable {
    /// Its name ("iommu-passthrough").
    pub id: String,
    /// What it is, in a few words.
    pub title: String,
    /// What it does.
    pub what: String,
    /// When it helps.
    pub helps: String,
    /// When it harms.
    pub harms: String,
    /// Where that is known from.
    pub source: String,
    /// How much can go wrong.
    pub risk: Risk,
    /// Those that contradict it.
    #[serde(default)]
    pub excludes: Vec<String>,
    /// What must hold.
    #[serde(default)]
    pub applies: Applies,
    /// What it changes.
    pub change: Change,
}

/// In the order in which they are shown.
const BUILT_IN: [&str; 22] = [
    include_str!("../../../data/tunables/intel-iommu.toml"),
    include_str!("../../../data/tunables/amd-iommu.toml"),
    include_str!("../../../data/tunables/iommu-passthrough.toml"),
    include_str!("../../../data/tunables/hugepages-2m.toml"),
    include_str!("../../../data/tunables/hugepages-1g.toml"),
    include_str!("../../../data/tunables/transparent-huge-pages.toml"),
    include_str!("../../../data/tunables/transparent-huge-pages-boot.toml"),
    include_str!("../../../data/tunables/compaction.toml"),
    include_str!("../../../data/tunables/dirty-limits.toml"),
    include_str!("../../../data/tunables/swappiness.toml"),
    include_str!("../../../data/tunables/max-map-count.toml"),
    include_str!("../../../data/tunables/nmi-watchdog.toml"),
    include_str!("../../../data/tunables/io-scheduler-nvme.toml"),
    include_str!("../../../data/tunables/io-scheduler-ssd.toml"),
    include_str!("../../../data/tunables/io-scheduler-rotating.toml"),
    include_str!("../../../data/tunables/governor.toml"),
    include_str!("../../../data/tunables/energy-preference.toml"),
    include_str!("../../../data/tunables/power-profile.toml"),
    include_str!("../../../data/tunables/vmware-locked-memory.toml"),
    include_str!("../../../data/tunables/vmware-named-file.toml"),
    include_str!("../../../data/tunables/vmware-trim.toml"),
    include_str!("../../../data/tunables/vmware-page-sharing.toml"),
];

/// All tunables.
pub fn all() -> &'static [Tunable] {
    static PARSED: OnceLock<Vec<Tunable>> = OnceLock::new();
    // They are built in and a test parses each of them.
    PARSED.get_or_init(|| BUILT_IN.iter().filter_map(|text| toml::from_str(text).ok()).collect())
}

/// The tunable of this name.
pub fn by_id(id: &str) -> Option<&'static Tunable> {
    all().iter().find(|t| t.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_whole_and_names_only_entries_that_are_there() {
        for text in BUILT_IN {
            toml::from_str::<Tunable>(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        }
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data/tunables");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), BUILT_IN.len(), "each file is built in");
        for tunable in all() {
            for text in [&tunable.title, &tunable.what, &tunable.helps, &tunable.harms] {
                assert!(!text.is_empty(), "{}", tunable.id);
            }
            let vendors =
                ["https://docs.kernel.org/", "https://docs.redhat.com/", "https://docs.vmware.com/"];
            let known = vendors.iter().any(|v| tunable.source.starts_with(v));
            assert!(known || tunable.source.starts_with("https://pubs.vmware.com/"), "{}", tunable.id);
            for other in &tunable.excludes {
                let other = by_id(other).unwrap_or_else(|| panic!("{}: {other}", tunable.id));
                assert!(other.excludes.contains(&tunable.id), "{}: both ways", tunable.id);
            }
            if let Change::Sysctl { settings } = &tunable.change {
                for s in settings {
                    assert!((s.min..=s.max).contains(&s.value), "{}", s.key);
                }
            }
            if let Change::VmwareConfig { settings, scopes } = &tunable.change {
                assert!(!scopes.is_empty() && !settings.is_empty());
                for s in settings {
                    assert!(s.values.contains(&s.value), "{}", s.key);
                    let plain = |v: &String| v.bytes().all(|b| b.is_ascii_alphanumeric());
                    assert!(s.values.iter().all(plain), "{}: it is written between quotes", s.key);
                }
            }
        }
    }

    #[test]
    fn nothing_weakens_the_machine() {
        for text in BUILT_IN {
            for word in ["mitigations=", "nosmt", "nopti", "spectre", "retbleed", "acs_override"] {
                assert!(!text.contains(word), "{word}");
            }
        }
    }
}
