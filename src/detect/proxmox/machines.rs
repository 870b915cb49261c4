// SPDX-License-Identifier: GPL-3.0-or-later
//! Virtual machines of this node that have devices of the host's.

use crate::host::Host;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A virtual machine of Proxmox with devices of the host's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VmWithDevices {
    /// Its number.
    pub vm: u32,
    /// Its name.
    pub name: String,
    /// Whether it runs: its process is there.
    pub runs: bool,
    /// Its `hostpci` lines ("hostpci0: 0000:41:00.0,mdev=nvidia-63").
    pub devices: Vec<String>,
}

/// Reads a configuration of a virtual machine (qm.conf(5)): name, `hostpci` lines; snapshots, which follow in
/// sections, are left out. Pure.
pub fn parse_vm(text: &str) -> (String, Vec<String>) {
    let (mut name, mut devices) = (String::new(), Vec::new());
    for line in text.lines().take_while(|l| !l.starts_with('[')) {
        let Some((key, value)) = line.split_once(':') else { continue };
        if key == "name" {
            name = value.trim().to_owned();
        } else if key.starts_with("hostpci") {
            devices.push(line.trim().to_owned());
        }
    }
    (name, devices)
}

/// Whether a virtual machine runs: its process is there.
pub(super) fn runs(host: &Host, vm: u32) -> bool {
    let pid = host.root().read_text(&format!("/run/qemu-server/{vm}.pid")).unwrap_or_default();
    !pid.trim().is_empty() && host.root().exists(&format!("/proc/{}", pid.trim()))
}

/// The virtual machines that have devices of the host's.
pub fn with_devices(host: &Host) -> Vec<VmWithDevices> {
    let dir = "/etc/pve/qemu-server";
    let mut found = Vec::new();
    for entry in host.root().list(dir).unwrap_or_default() {
        let Some(vm) = entry.name.strip_suffix(".conf").and_then(|n| n.parse::<u32>().ok()) else { continue };
        let Ok(text) = host.root().read_text(&format!("{dir}/{}", entry.name)) else { continue };
        let (name, devices) = parse_vm(&text);
        if !devices.is_empty() {
            found.push(VmWithDevices { vm, name, runs: runs(host, vm), devices });
        }
    }
    found.sort_by_key(|r| r.vm);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostKind;
    use crate::host::fake::{FakeRunner, host};
    use proptest::prelude::*;
    use std::sync::Arc;

    const CONF: &str = "boot: order=scsi0\nhostpci0: 0000:41:00.0,mdev=nvidia-63,x-vga=1\nname: desk\n\n[old]\nhostpci1: 0000:42:00.0\n";

    #[test]
    fn devices_of_snapshots_do_not_count() {
        let (name, devices) = parse_vm(CONF);
        assert_eq!(name, "desk");
        assert_eq!(devices, ["hostpci0: 0000:41:00.0,mdev=nvidia-63,x-vga=1"]);
    }

    #[test]
    fn a_machine_runs_when_its_process_is_there_and_one_without_devices_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("etc/pve/qemu-server/200.conf", CONF);
        put("etc/pve/qemu-server/100.conf", CONF);
        put("etc/pve/qemu-server/300.conf", "name: plain\n");
        put("etc/pve/qemu-server/notes.txt", CONF);
        put("run/qemu-server/100.pid", "4242\n");
        put("run/qemu-server/200.pid", "4243\n");
        put("proc/4242/stat", "");
        let host = host(dir.path(), Arc::new(FakeRunner::new()), HostKind::Machine).unwrap();
        let found: Vec<_> = with_devices(&host).into_iter().map(|v| (v.vm, v.runs)).collect();
        assert_eq!(found, [(100, true), (200, false)]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(?s).*") {
            parse_vm(&text);
        }
    }
}
