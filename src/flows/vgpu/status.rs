// SPDX-License-Identifier: GPL-3.0-or-later
//! How vGPU stands on a host: the licences of what runs, and advice for each known failure.

use super::facts::VgpuFacts;
use crate::detect::Finding;
use crate::detect::nvidia::{self, Interface, Licence};
use crate::detect::proxmox::VmWithDevices;
use crate::host::Host;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What to do about something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Advice {
    /// A stable word for programs ("iommu-off").
    pub code: String,
    /// In a sentence or two.
    pub text: String,
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
    running: &[VmWithDevices],
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
    use crate::detect::nvidia::matter;
    use crate::detect::proxmox::parse_vm;

    const CONF: &str = "boot: order=scsi0\nhostpci0: 0000:41:00.0,mdev=nvidia-63,x-vga=1\nname: desk\n\n[old]\nhostpci1: 0000:42:00.0\n";

    #[test]
    fn known_trouble_gets_advice() {
        let host = super::super::tests::unpack("pve7-tesla-p4", "");
        let facts = VgpuFacts { iommu: Finding::Seen(false), ..super::super::gather(&host.host) };
        let (name, devices) = parse_vm(CONF);
        let vms = [VmWithDevices { vm: 100, name, runs: true, devices }];
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
}
