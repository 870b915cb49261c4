// SPDX-License-Identifier: GPL-3.0-or-later
//! NVIDIA's driver, its services, and what keeps `nouveau` away.

use crate::detect::Finding;
use crate::detect::look::Look;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// NVIDIA's driver as it is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NvidiaDriver {
    /// Version of the module that is loaded ("535.161.05").
    pub loaded: Option<String>,
    /// Versions that DKMS has sources of.
    pub dkms: Vec<String>,
    /// Whether it is the vGPU manager of a host and not a driver for a desktop or guest.
    pub is_vgpu: bool,
    /// Its uninstaller, when it was installed from NVIDIA's `.run` file.
    pub uninstaller: Option<String>,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NvidiaService {
    /// Its unit ("nvidia-vgpu-mgr.service").
    pub unit: String,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Whether it runs: it has a control group.
    pub running: Finding<bool>,
    /// Its drop-ins.
    pub drop_ins: Vec<String>,
}

/// `/proc/driver/nvidia/version`: the version of the loaded module ("NVRM version: NVIDIA UNIX x86_64 Kernel
/// Module  535.161.05  Tue Feb …").
pub fn parse_driver_version(text: &str) -> Option<&str> {
    let line = text.lines().find(|l| l.starts_with("NVRM version:"))?;
    line.split_whitespace().find(|w| is_version(w))
}

/// Digits with at least one dot ("535.161.05").
fn is_version(word: &str) -> bool {
    word.contains('.') && word.split('.').all(|p| !p.is_empty() && p.chars().all(|c| c.is_ascii_digit()))
}

pub(super) fn read(look: &Look<'_>) -> Finding<Option<NvidiaDriver>> {
    let proc = look.text_if_there("/proc/driver/nvidia/version");
    let loaded = match proc {
        Finding::Seen(text) => text.as_deref().and_then(parse_driver_version).map(str::to_owned),
        Finding::CouldNotLook { why } => return Finding::CouldNotLook { why },
    };
    let loaded = loaded.or_else(|| look.line("/sys/module/nvidia/version"));
    let mut dkms: Vec<String> =
        look.list("/var/lib/dkms/nvidia").into_iter().map(|e| e.name).filter(|n| is_version(n)).collect();
    dkms.sort_by(|a, b| crate::detect::look::compare_versions(a, b));
    let manager = look.exists("/usr/bin/nvidia-vgpu-mgr") || look.exists("/usr/bin/nvidia-vgpud");
    let is_vgpu = manager || look.exists("/sys/module/nvidia_vgpu_vfio");
    let uninstaller = look.first_of(&["/usr/bin/nvidia-uninstall"]).map(str::to_owned);
    if loaded.is_none() && dkms.is_empty() && !is_vgpu && uninstaller.is_none() {
        return Finding::Seen(None);
    }
    Finding::Seen(Some(NvidiaDriver { loaded, dkms, is_vgpu, uninstaller }))
}

const UNIT_DIRS: [&str; 3] = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

fn drop_ins(look: &Look<'_>, unit: &str) -> Vec<String> {
    let dir = format!("/etc/systemd/system/{unit}.d");
    let names = look.list(&dir).into_iter().map(|e| e.name).filter(|n| n.ends_with(".conf"));
    names.map(|n| format!("{dir}/{n}")).collect()
}

fn running(look: &Look<'_>, unit: &str) -> Finding<bool> {
    look.if_running(|| {
        if !look.exists("/sys/fs/cgroup/system.slice") {
            return Finding::unseen("there are no control groups of services");
        }
        Finding::Seen(look.exists(&format!("/sys/fs/cgroup/system.slice/{unit}")))
    })
}

/// The services that are installed.
pub(super) fn services(look: &Look<'_>) -> Vec<NvidiaService> {
    let wanted_by = "/etc/systemd/system/multi-user.target.wants";
    let mut found = Vec::new();
    for unit in ["nvidia-vgpud.service", "nvidia-vgpu-mgr.service", "pve-nvidia-sriov@.service"] {
        if !UNIT_DIRS.iter().any(|dir| look.exists(&format!("{dir}/{unit}"))) {
            continue;
        }
        if let Some((template, suffix)) = unit.split_once('@') {
            // Instances of a template: "pve-nvidia-sriov@0000:41:00.0.service" or "@ALL".
            let names = look.list(wanted_by).into_iter().map(|e| e.name);
            for name in names.filter(|n| n.starts_with(&format!("{template}@")) && n.ends_with(suffix)) {
                let (running, drop_ins) = (running(look, &name), drop_ins(look, &name));
                found.push(NvidiaService { unit: name, enabled: true, running, drop_ins });
            }
        }
        // A link that leads outside the root still says "enabled".
        let enabled = look.root().symlink_metadata(&format!("{wanted_by}/{unit}")).is_ok();
        let (running, drop_ins) = (running(look, unit), drop_ins(look, unit));
        found.push(NvidiaService { unit: unit.to_owned(), enabled, running, drop_ins });
    }
    found
}

/// Whether a file of modprobe.d(5) blocks a module.
fn blocks(text: &str, module: &str) -> bool {
    text.lines().any(|line| {
        let words: Vec<&str> = line.split('#').next().unwrap_or("").split_whitespace().collect();
        match words.as_slice() {
            ["blacklist", name] => *name == module,
            ["install", name, command, ..] => {
                *name == module
                    && matches!(*command, "/bin/false" | "/bin/true" | "/usr/bin/false" | "/usr/bin/true")
            }
            _ => false,
        }
    })
}

pub(super) fn nouveau_blocked_by(look: &Look<'_>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for dir in ["/etc/modprobe.d", "/run/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d"] {
        for entry in look.list(dir) {
            let path = format!("{dir}/{}", entry.name);
            if entry.name.ends_with(".conf")
                && look.text(&path).is_ok_and(|text| blocks(&text, "nouveau"))
                // `/lib` is a link to `/usr/lib` on most machines.
                && !found.iter().any(|f| f.strip_prefix("/usr") == Some(&path))
            {
                found.push(path);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_loaded_version_is_read_from_either_kind_of_module() {
        let closed = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.161.05  Fri Feb 23 19:46:51 UTC 2024\nGCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n";
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.02  Release Build\n";
        assert_eq!(parse_driver_version(closed), Some("535.161.05"));
        assert_eq!(parse_driver_version(open), Some("580.95.02"));
        assert_eq!(parse_driver_version("GCC version: 12.2.0"), None);
    }

    #[test]
    fn a_module_is_blocked_by_name_only() {
        assert!(blocks("# x\nblacklist nouveau # y\n", "nouveau"));
        assert!(blocks("install nouveau /bin/false\n", "nouveau"));
        assert!(!blocks("#blacklist nouveau\nblacklist nouveaux\noptions nouveau modeset=0\n", "nouveau"));
    }

    proptest! {
        #[test]
        fn no_text_makes_these_parsers_panic(text in "(?s).*") {
            parse_driver_version(&text);
            parse_driver_version(&format!("NVRM version: {text}"));
            blocks(&text, "nouveau");
        }
    }
}
