// SPDX-License-Identifier: GPL-3.0-or-later
//! Graphics cards and their drivers.

use super::Finding;
use super::look::Look;
use super::pci::{self, PciDevice};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A graphics card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gpu {
    /// PCI address ("0000:01:00.0").
    pub address: String,
    /// PCI vendor id ("10de").
    pub vendor_id: String,
    /// PCI device id ("2684").
    pub device_id: String,
    /// The vendor's name, when known.
    pub vendor: Option<String>,
    /// PCI class ("0300" VGA, "0302" 3D).
    pub class: String,
    /// The driver that holds it ("nvidia"); `None` when none does.
    pub driver: Option<String>,
    /// Whether the firmware's console is on it.
    pub boot_vga: bool,
    /// Its IOMMU group.
    pub iommu_group: Option<u32>,
    /// How many virtual functions it could have (SR-IOV).
    pub sriov_total: Option<u32>,
}

/// Names of vendors of graphics cards (pci.ids).
fn vendor_name(id: &str) -> Option<&'static str> {
    Some(match id {
        "10de" => "NVIDIA",
        "1002" => "AMD",
        "8086" => "Intel",
        "1a03" => "ASPEED",
        "102b" => "Matrox",
        "1234" => "Bochs",
        "1af4" => "virtio",
        "1b36" => "Red Hat",
        "15ad" => "VMware",
        "80ee" => "VirtualBox",
        "1414" => "Microsoft",
        _ => return None,
    })
}

/// The graphics cards among the PCI devices (class 03).
pub(super) fn read(look: &Look<'_>, devices: &Finding<Vec<PciDevice>>) -> Finding<Vec<Gpu>> {
    devices.as_ref().map(|devices| {
        let cards = devices.iter().filter(|d| d.class.starts_with("03"));
        let card = |device: &PciDevice| {
            let dir = format!("{}/{}", pci::DEVICES, device.address);
            Gpu {
                address: device.address.clone(),
                vendor_id: device.vendor.clone(),
                device_id: device.device.clone(),
                vendor: vendor_name(&device.vendor).map(str::to_owned),
                class: device.class[..4].to_owned(),
                driver: device.driver.clone(),
                boot_vga: look.line(&format!("{dir}/boot_vga")).as_deref() == Some("1"),
                iommu_group: look.link_name(&format!("{dir}/iommu_group")).and_then(|g| g.parse().ok()),
                sriov_total: look.number(&format!("{dir}/sriov_totalvfs")),
            }
        };
        cards.map(card).collect()
    })
}
