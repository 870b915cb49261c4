// SPDX-License-Identifier: GPL-3.0-or-later
//! Settings of the running kernel and of what looks after them: values of `/proc/sys` and `/sys`, where `/etc` sets
//! them already, frequency governors, power profiles.
//!
//! Sources: sysctl.d(5), Documentation/admin-guide/pm/cpufreq.rst, powerprofilesctl(1), tuned-adm(8).

use crate::host::{Command, FileKind, Host, Root};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Who looks after power profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PowerManager {
    /// power-profiles-daemon, asked by `powerprofilesctl`.
    PowerProfilesDaemon,
    /// tuned, asked by `tuned-adm`.
    Tuned,
}

impl PowerManager {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::PowerProfilesDaemon => "power-profiles-daemon",
            Self::Tuned => "tuned",
        }
    }
}

/// Power profiles of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PowerProfiles {
    /// Who looks after them.
    pub manager: PowerManager,
    /// The one that is active, where one is.
    pub active: Option<String>,
    /// Those that there are.
    pub available: BTreeSet<String>,
}

/// What tuned says which profile it has, and whether a person chose it (tuned-adm(8)).
pub const TUNED_ACTIVE: &str = "/etc/tuned/active_profile";
/// "manual" or "auto".
pub const TUNED_MODE: &str = "/etc/tuned/profile_mode";

/// Programs that set the governor by themselves, and their names.
const GOVERNING: [(&str, &str); 5] = [
    ("/usr/libexec/power-profiles-daemon", "power-profiles-daemon"),
    ("/usr/lib/power-profiles-daemon", "power-profiles-daemon"),
    ("/usr/sbin/tuned", "tuned"),
    ("/usr/bin/tuned", "tuned"),
    ("/usr/sbin/tlp", "TLP"),
];

/// Modules of which one is loaded where devices are handed to guests.
const PASSTHROUGH: [&str; 4] = ["vfio_pci", "vfio_iommu_type1", "nvidia_vgpu_vfio", "mdev"];

/// What these files of the kernel show, where they can be read.
pub fn values(root: &Root, paths: impl IntoIterator<Item = String>) -> BTreeMap<String, String> {
    let read = |path: String| root.read_text(&path).ok().map(|text| (path, text.trim().to_owned()));
    paths.into_iter().filter_map(read).collect()
}

/// The files of all processors' policies with this name ("scaling_governor").
pub fn of_processors(root: &Root, file: &str) -> Vec<String> {
    const POLICIES: &str = "/sys/devices/system/cpu/cpufreq";
    let entries = root.list(POLICIES).unwrap_or_default();
    entries
        .iter()
        .filter(|e| e.name.starts_with("policy"))
        .map(|e| format!("{POLICIES}/{}/{file}", e.name))
        .filter(|path| root.exists(path))
        .collect()
}

/// What looks after the governor by itself ("tuned").
pub fn governed_by(root: &Root) -> Option<String> {
    GOVERNING.iter().find(|(path, _)| root.exists(path)).map(|(_, name)| (*name).to_owned())
}

/// What hands devices to guests here, for people.
pub fn passthrough(root: &Root) -> Option<String> {
    let modules = root.read_text("/proc/modules").ok()?;
    let loaded = |name: &str| modules.lines().any(|l| l.split(' ').next() == Some(name));
    PASSTHROUGH.iter().find(|m| loaded(m)).map(|m| format!("the module {m} is loaded"))
}

/// Numbers that files of a person's own set (`/etc/sysctl.conf`, `/etc/sysctl.d`), ours left out: key → file.
pub fn sysctl_set_in(root: &Root) -> BTreeMap<String, String> {
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
pub fn sysctl_keys(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim).filter(|l| !l.starts_with(['#', ';']));
    let keys = lines.filter_map(|l| l.split_once('=')).map(|(key, _)| key.trim().trim_start_matches('-'));
    keys.map(|key| key.replace('/', ".")).collect()
}

/// Power profiles, and who looks after them; none where nobody does. power-profiles-daemon is asked on the running
/// machine only: it keeps what it has to itself.
pub fn power_profiles(host: &Host) -> Option<PowerProfiles> {
    let root = host.root();
    match governed_by(root)?.as_str() {
        "tuned" => Some(PowerProfiles {
            manager: PowerManager::Tuned,
            active: root.read_text(TUNED_ACTIVE).ok().map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()),
            available: tuned_profiles(root),
        }),
        "power-profiles-daemon" if host.is_machine() => {
            let command = Command::new("powerprofilesctl").arg("list").timeout(Duration::from_secs(10));
            let said = host.runner().run(&command).ok().filter(crate::host::Output::success)?;
            let (active, available) = power_profiles_list(&said.stdout);
            Some(PowerProfiles { manager: PowerManager::PowerProfilesDaemon, active, available })
        }
        _ => None,
    }
}

/// Folders with a `tuned.conf`: tuned's own and a person's.
fn tuned_profiles(root: &Root) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for folder in ["/usr/lib/tuned", "/usr/lib/tuned/profiles", "/etc/tuned", "/etc/tuned/profiles"] {
        for entry in root.list(folder).unwrap_or_default() {
            if root.exists(&format!("{folder}/{}/tuned.conf", entry.name)) {
                found.insert(entry.name);
            }
        }
    }
    found
}

/// What `powerprofilesctl list` says: the active one (with a star before it), and all. Pure.
pub fn power_profiles_list(text: &str) -> (Option<String>, BTreeSet<String>) {
    let (mut active, mut all) = (None, BTreeSet::new());
    for line in text.lines() {
        let (mark, rest) = line.split_at_checked(2).unwrap_or(("", line));
        // "* balanced:", "  performance:"; what belongs to one is indented deeper.
        let Some(name) = rest.strip_suffix(':').filter(|n| !n.is_empty() && !n.starts_with(' ')) else {
            continue;
        };
        if mark == "* " {
            active = Some(name.to_owned());
        }
        if mark == "* " || mark == "  " {
            all.insert(name.to_owned());
        }
    }
    (active, all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostKind;
    use crate::host::fake::{FakeRunner, host};
    use proptest::prelude::*;
    use std::sync::Arc;

    const LIST: &str = "  performance:\n    CpuDriver:\tamd_pstate\n    Degraded:   no\n\n* balanced:\n    \
                        CpuDriver:\tamd_pstate\n    PlatformDriver:\tplatform_profile\n\n  power-saver:\n";

    #[test]
    fn numbers_that_a_person_set_are_found_however_they_are_written() {
        let text = "# vm.a=1\n; vm.b=1\nvm.swappiness = 60\n-net/ipv4/ip_forward=1\nnonsense\n";
        assert_eq!(sysctl_keys(text), ["vm.swappiness", "net.ipv4.ip_forward"]);
    }

    #[test]
    fn profiles_of_both_managers_are_read() {
        let (active, all) = power_profiles_list(LIST);
        assert_eq!(active.as_deref(), Some("balanced"));
        assert_eq!(all.into_iter().collect::<Vec<_>>(), ["balanced", "performance", "power-saver"]);
        let dir = tempfile::tempdir().unwrap();
        let runner = Arc::new(FakeRunner::new().ok("powerprofilesctl", LIST));
        let host = host(dir.path(), runner, HostKind::Machine).unwrap();
        assert_eq!(power_profiles(&host), None, "nobody looks after it");
        let put = |path: &str, text: &str| {
            host.root().create_dirs(path.rsplit_once('/').unwrap().0, 0o755).unwrap();
            host.root().write(path, text.as_bytes(), 0o644, None).unwrap();
        };
        put("/usr/sbin/tuned", "");
        put("/usr/lib/tuned/virtual-host/tuned.conf", "[main]\n");
        put("/etc/tuned/active_profile", "balanced\n");
        let seen = power_profiles(&host).unwrap();
        assert_eq!((seen.manager, seen.active.as_deref()), (PowerManager::Tuned, Some("balanced")));
        assert!(seen.available.contains("virtual-host"));
        put("/usr/libexec/power-profiles-daemon", "");
        assert_eq!(power_profiles(&host).unwrap().manager, PowerManager::PowerProfilesDaemon);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in "(?s).*") {
            sysctl_keys(&text);
            power_profiles_list(&text);
        }
    }
}
