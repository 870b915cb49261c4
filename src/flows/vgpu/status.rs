// SPDX-License-Identifier: GPL-3.0-or-later
//! How vGPU stands on a host: virtual machines that have some, what the kernel says, and advice for each known
//! failure.

use super::facts::VgpuFacts;
use crate::detect::Finding;
use crate::detect::nvidia::{self, Interface, Licence};
use crate::host::{Command, Host};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A virtual machine of Proxmox with devices of the host's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Running {
    /// Its number.
    pub vm: u32,
    /// Its name.
    pub name: String,
    /// Whether it runs: its process is there.
    pub runs: bool,
    /// Its `hostpci` lines ("hostpci0: 0000:41:00.0,mdev=nvidia-63").
    pub devices: Vec<String>,
}

/// What to do about something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Advice {
    /// A stable word for programs ("iommu-off").
    pub code: String,
    /// In a sentence or two.
    pub text: String,
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

/// The virtual machines that have devices of the host's.
pub fn running(host: &Host) -> Vec<Running> {
    let dir = "/etc/pve/qemu-server";
    let mut found = Vec::new();
    for entry in host.root().list(dir).unwrap_or_default() {
        let Some(vm) = entry.name.strip_suffix(".conf").and_then(|n| n.parse::<u32>().ok()) else { continue };
        let Ok(text) = host.root().read_text(&format!("{dir}/{}", entry.name)) else { continue };
        let (name, devices) = parse_vm(&text);
        if !devices.is_empty() {
            let pid = host.root().read_text(&format!("/run/qemu-server/{vm}.pid")).unwrap_or_default();
            let runs = !pid.trim().is_empty() && host.root().exists(&format!("/proc/{}", pid.trim()));
            found.push(Running { vm, name, runs, devices });
        }
    }
    found.sort_by_key(|r| r.vm);
    found
}

/// Lines of the kernel and of NVIDIA's services that matter, the newest twenty.
pub fn kernel_says(host: &Host) -> Vec<String> {
    let command = Command::new("journalctl")
        .args([
            "-b",
            "-q",
            "--no-pager",
            "-o",
            "cat",
            "_TRANSPORT=kernel",
            "+",
            "_SYSTEMD_UNIT=nvidia-vgpu-mgr.service",
        ])
        .timeout(Duration::from_secs(10));
    if !host.is_machine() {
        return Vec::new();
    }
    let Ok(output) = host.runner().run(&command) else { return Vec::new() };
    matter(&output.stdout)
}

/// Those of some lines that tell of trouble with vGPU. Pure.
pub fn matter(text: &str) -> Vec<String> {
    const WORDS: [&str; 9] = [
        "NVRM:",
        "nvidia-vgpu-vfio",
        "waited 10 seconds for mediated device driver",
        "vmiop",
        "DMAR: [DMA",
        "AMD-Vi: Event",
        "module verification failed",
        "Loading of unsigned module",
        "Key was rejected",
    ];
    let said = text.lines().filter(|l| WORDS.iter().any(|w| l.contains(w)));
    let lines: Vec<String> = said.map(|l| l.chars().take(300).collect()).collect();
    lines[lines.len().saturating_sub(20)..].to_vec()
}

/// Whether a vGPU host driver is loaded.
fn driver_runs(facts: &VgpuFacts) -> bool {
    facts.driver.seen().and_then(Option::as_ref).is_some_and(|d| d.loaded.is_some() && d.is_vgpu)
}

/// The licences of the virtual GPUs that run; none runs without the driver.
pub fn licences(host: &Host, facts: &VgpuFacts) -> Finding<Vec<Licence>> {
    if driver_runs(facts) { nvidia::licences(host) } else { Finding::Seen(Vec::new()) }
}

/// Advice for what is known to go wrong. Pure.
///
/// Where a guest keeps its licence's token and which service reads it: NVIDIA, Virtual GPU Client Licensing User Guide.
pub fn advice(
    facts: &VgpuFacts,
    running: &[Running],
    said: &[String],
    licences: &Finding<Vec<Licence>>,
) -> Vec<Advice> {
    let mut found = Vec::new();
    let mut add =
        |code: &str, text: &str| found.push(Advice { code: code.to_owned(), text: text.to_owned() });
    let loaded = driver_runs(facts);
    let has = |words: &str| said.iter().any(|l| l.contains(words));
    if facts.iommu.is_false() {
        add(
            "iommu-off",
            "The IOMMU is not in use: switch VT-d or AMD-Vi on in the firmware; `hostwright vgpu apply` puts \
             intel_iommu=on on the command line of an Intel machine.",
        );
    }
    if facts.nouveau_loaded.is_true() {
        add(
            "nouveau",
            "The free driver nouveau holds cards: `hostwright vgpu apply` blocks it, then restart.",
        );
    }
    let gpus: Vec<_> = facts.gpus.seen().into_iter().flatten().collect();
    let nothing = |i: &Interface| match i {
        Interface::None => true,
        Interface::Mdev { types } => types.is_empty(),
        Interface::VendorVfio { types } => types.is_empty(),
    };
    if loaded && gpus.iter().any(|g| g.driver.as_deref() == Some("nvidia") && nothing(&g.interface)) {
        add(
            "no-types",
            "The driver is loaded and a card offers no types: is nvidia-vgpud enabled and has it ended without an error \
             (`journalctl -u nvidia-vgpud`)? A card to unlock needs the patched driver and vgpu_unlock-rs; a card with \
             SR-IOV needs its virtual functions, and a workstation card its displays off.",
        );
    }
    if gpus.iter().any(|g| g.sriov.as_ref().is_some_and(|s| s.functions.is_empty())) && loaded {
        add(
            "no-functions",
            "No virtual functions are there: `systemctl status pve-nvidia-sriov@ALL` (Proxmox 8 and 9) or \
             hostwright-nvidia-sriov; SR-IOV must be on in the firmware.",
        );
    }
    if has("waited 10 seconds for mediated device driver") {
        add(
            "waited-for-mdev",
            "A virtual machine was started while the driver was not ready (“waited 10 seconds for mediated device \
             driver”): nvidia-vgpu-mgr must run, and the type must have a free place; then start it again.",
        );
    }
    if has("Key was rejected") || has("Loading of unsigned module") {
        add(
            "unsigned",
            "The kernel refuses the module for its signature: `hostwright vgpu apply --stage prepare` asks for the key to \
             be trusted; restart and choose Enroll MOK.",
        );
    }
    for vm in running {
        if vm.devices.iter().any(|d| d.contains("mdev=") && d.contains("x-vga=1")) {
            add(
                "x-vga",
                &format!(
                    "VM {}: x-vga=1 is for whole cards; a virtual GPU does not start with it. Remove it.",
                    vm.vm
                ),
            );
        }
    }
    if !running.is_empty() && loaded && said.iter().any(|l| l.contains("vmiop") && l.contains("error")) {
        add(
            "guest-driver",
            "A guest reports trouble (Code 43 in Windows): the guest's driver must be of the host driver's branch, and \
             its licence valid; look at `journalctl -u nvidia-vgpu-mgr`.",
        );
    }
    for without in licences.seen().into_iter().flatten().filter(|l| l.licensed == Some(false)) {
        add(
            "unlicensed",
            &format!(
                "{} of {} has no licence and is slowed down after a while. In the guest: the client configuration token \
                 of your licence server goes to /etc/nvidia/ClientConfigToken (Windows: \
                 C:\\Program Files\\NVIDIA Corporation\\vGPU Licensing\\ClientConfigToken), the guest's clock must be \
                 right, then restart nvidia-gridd (Windows: NVDisplay.ContainerLocalSystem).",
                without.kind, without.vm
            ),
        );
    }
    if let Finding::Seen(Some(driver)) = &facts.driver
        && !driver.is_vgpu
    {
        add(
            "desktop-driver",
            "The installed driver is no vGPU host driver: remove it (nvidia-uninstall), then `hostwright vgpu apply`.",
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CONF: &str = "boot: order=scsi0\nhostpci0: 0000:41:00.0,mdev=nvidia-63,x-vga=1\nname: desk\n\n[old]\nhostpci1: 0000:42:00.0\n";

    #[test]
    fn devices_of_snapshots_do_not_count() {
        let (name, devices) = parse_vm(CONF);
        assert_eq!(name, "desk");
        assert_eq!(devices, ["hostpci0: 0000:41:00.0,mdev=nvidia-63,x-vga=1"]);
    }

    #[test]
    fn known_trouble_gets_advice() {
        let host = super::super::tests::unpack("pve7-tesla-p4", "");
        let facts = VgpuFacts { iommu: Finding::Seen(false), ..super::super::gather(&host.host) };
        let (name, devices) = parse_vm(CONF);
        let vms = [Running { vm: 100, name, runs: true, devices }];
        let said =
            matter("x\nnvidia-vgpu-vfio: waited 10 seconds for mediated device driver\nusb 1-1: new\n");
        assert_eq!(said.len(), 1);
        let codes: Vec<String> =
            advice(&facts, &vms, &said, &Finding::Seen(vec![])).into_iter().map(|a| a.code).collect();
        assert_eq!(codes, ["iommu-off", "waited-for-mdev", "x-vga"]);
    }

    #[test]
    fn a_host_that_serves_needs_no_advice() {
        let host = super::super::tests::unpack("pve9-a16-sriov", "");
        assert_eq!(advice(&super::super::gather(&host.host), &[], &[], &Finding::Seen(vec![])), []);
    }

    #[test]
    fn only_a_virtual_gpu_that_is_said_to_have_no_licence_gets_advice() {
        let host = super::super::tests::unpack("pve9-a16-sriov", "");
        let facts = super::super::gather(&host.host);
        let all = [("desk", Some(true)), ("lab", Some(false)), ("new", None)].map(|(vm, licensed)| Licence {
            vm: vm.to_owned(),
            kind: "GRID T4-1Q".to_owned(),
            licensed,
            ..Licence::default()
        });
        let told = advice(&facts, &[], &[], &Finding::Seen(all.to_vec()));
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].code, "unlicensed");
        assert!(told[0].text.starts_with("GRID T4-1Q of lab"), "{}", told[0].text);
        assert_eq!(advice(&facts, &[], &[], &Finding::unseen("no nvidia-smi")), []);
    }

    #[test]
    fn without_the_driver_nobody_is_asked_for_licences() {
        let host = super::super::tests::unpack("pve8-rtx-2080", "");
        let facts = VgpuFacts { driver: Finding::Seen(None), ..super::super::gather(&host.host) };
        assert_eq!(licences(&host.host, &facts), Finding::Seen(vec![]));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(?s).*") {
            parse_vm(&text);
            matter(&text);
        }
    }
}
