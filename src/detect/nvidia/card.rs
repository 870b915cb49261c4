// SPDX-License-Identifier: GPL-3.0-or-later
//! A card, its virtual functions, and the types of virtual GPU they offer.

use crate::detect::look::Look;
use crate::detect::pci::{self, PciDevice};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// NVIDIA's vendor id.
const VENDOR: &str = "10de";

/// A graphics card of NVIDIA's: a physical function of class 03.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NvidiaGpu {
    /// PCI address ("0000:41:00.0").
    pub address: String,
    /// PCI device id ("25b6").
    pub device_id: String,
    /// PCI subsystem vendor and device id ("10de:159d"): tells boards with the same chip apart.
    pub subsystem: Option<String>,
    /// PCI class, four digits ("0302" 3D, "0300" VGA).
    pub class: String,
    /// The driver that holds it.
    pub driver: Option<String>,
    /// Whether the firmware's console is on it.
    pub boot_vga: bool,
    /// Its IOMMU group, when the IOMMU is in use.
    pub iommu_group: Option<u32>,
    /// What else is in its group and is neither a function of the same card nor a bridge.
    pub group_shared_with: Vec<String>,
    /// SR-IOV; `None` when the card cannot do it.
    pub sriov: Option<Sriov>,
    /// How it offers virtual GPUs now.
    pub interface: Interface,
}

/// SR-IOV of a card (`sriov_totalvfs`, `sriov_numvfs` and the functions themselves).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sriov {
    /// How many virtual functions it can have.
    pub total: u32,
    /// How many the kernel says are on.
    pub enabled: u32,
    /// Those that are really there.
    pub functions: Vec<VirtualFunction>,
}

/// A virtual function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VirtualFunction {
    /// PCI address.
    pub address: String,
    /// The driver that holds it.
    pub driver: Option<String>,
    /// Number of the vGPU type on it (`nvidia/current_vgpu_type`), 0 for none; `None` without that file.
    pub current_type: Option<u32>,
}

/// How a card offers virtual GPUs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Interface {
    /// Not at all: no vGPU driver holds it.
    None,
    /// Mediated devices (`mdev_supported_types`), of the card or of its virtual functions.
    Mdev {
        /// The types.
        types: Vec<MdevType>,
    },
    /// The vendor's VFIO interface (`nvidia/creatable_vgpu_types` below each virtual function).
    VendorVfio {
        /// The types that can be made now on any function.
        types: Vec<VgpuType>,
    },
}

/// A type of mediated device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MdevType {
    /// Its id ("nvidia-63").
    pub id: String,
    /// Its name ("GRID P4-1Q").
    pub name: String,
    /// How many more can be made now, on the card or on all of its functions.
    pub available: u32,
    /// Frame buffer, when the description tells it ("1024M").
    pub framebuffer: Option<String>,
    /// How many fit on one card, when the description tells it.
    pub max_instances: Option<u32>,
}

/// A type of virtual GPU in the vendor's interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct VgpuType {
    /// Its number, as written to `current_vgpu_type`.
    pub id: u32,
    /// Its name ("NVIDIA A16-2Q").
    pub name: String,
}

/// `creatable_vgpu_types`: lines "588 : NVIDIA L40-1B", with or without a head line.
pub fn parse_creatable_types(text: &str) -> Vec<VgpuType> {
    let line = |line: &str| {
        let (id, name) = line.split_once(':')?;
        let name = name.trim();
        (!name.is_empty()).then_some(VgpuType { id: id.trim().parse().ok()?, name: name.to_owned() })
    };
    let mut found: Vec<VgpuType> = text.lines().filter_map(line).collect();
    found.sort();
    found.dedup();
    found
}

/// `description` of an mdev type ("num_heads=4, frl_config=60, framebuffer=1024M, max_resolution=5120x2880,
/// max_instance=8"): frame buffer and how many fit on a card.
pub fn parse_mdev_description(text: &str) -> (Option<String>, Option<u32>) {
    let field = |name: &str| {
        text.split(',').find_map(|part| {
            let (key, value) = part.trim().split_once('=')?;
            (key == name).then(|| value.trim())
        })
    };
    let number = field("max_instance").and_then(|v| v.parse().ok());
    (field("framebuffer").filter(|f| !f.is_empty()).map(str::to_owned), number)
}

/// Domain, bus and slot of an address: what the functions of one card share.
fn slot(address: &str) -> &str {
    address.rsplit_once('.').map_or(address, |(slot, _)| slot)
}

pub(super) fn read(look: &Look<'_>, devices: &[PciDevice]) -> Vec<NvidiaGpu> {
    let cards = devices.iter().filter(|d| d.vendor == VENDOR && d.class.starts_with("03"));
    let physical = cards.filter(|d| !look.exists(&format!("{}/{}/physfn", pci::DEVICES, d.address)));
    physical.map(|device| gpu(look, device, devices)).collect()
}

fn gpu(look: &Look<'_>, device: &PciDevice, devices: &[PciDevice]) -> NvidiaGpu {
    let dir = format!("{}/{}", pci::DEVICES, device.address);
    let id = |name: &str| {
        look.line(&format!("{dir}/{name}")).map(|v| v.trim_start_matches("0x").to_ascii_lowercase())
    };
    let subsystem = match (id("subsystem_vendor"), id("subsystem_device")) {
        (Some(vendor), Some(device)) => Some(format!("{vendor}:{device}")),
        _ => None,
    };
    let iommu_group: Option<u32> = look.link_name(&format!("{dir}/iommu_group")).and_then(|g| g.parse().ok());
    let sriov =
        look.number::<u32>(&format!("{dir}/sriov_totalvfs")).filter(|total| *total > 0).map(|total| {
            let mut functions = Vec::new();
            for n in 0..total.min(256) {
                let Some(address) = look.link_name(&format!("{dir}/virtfn{n}")) else { continue };
                let at = format!("{}/{address}", pci::DEVICES);
                functions.push(VirtualFunction {
                    driver: devices.iter().find(|d| d.address == address).and_then(|d| d.driver.clone()),
                    current_type: look.number(&format!("{at}/nvidia/current_vgpu_type")),
                    address,
                });
            }
            Sriov { total, enabled: look.number(&format!("{dir}/sriov_numvfs")).unwrap_or(0), functions }
        });
    NvidiaGpu {
        address: device.address.clone(),
        device_id: device.device.clone(),
        subsystem,
        class: device.class.get(..4).unwrap_or(&device.class).to_owned(),
        driver: device.driver.clone(),
        boot_vga: look.line(&format!("{dir}/boot_vga")).as_deref() == Some("1"),
        group_shared_with: iommu_group.map_or_else(Vec::new, |g| shared(look, device, g, devices)),
        iommu_group,
        interface: interface(look, &dir, sriov.as_ref()),
        sriov,
    }
}

/// Bridges (class 06) of the same group are handed on by nobody and do not count.
fn shared(look: &Look<'_>, own: &PciDevice, group: u32, devices: &[PciDevice]) -> Vec<String> {
    let members = look.list(&format!("/sys/kernel/iommu_groups/{group}/devices"));
    let is_bridge = |address: &str| devices.iter().any(|d| d.address == address && d.class.starts_with("06"));
    let others = members.into_iter().map(|e| e.name);
    others.filter(|a| slot(a) != slot(&own.address) && !is_bridge(a)).collect()
}

fn interface(look: &Look<'_>, dir: &str, sriov: Option<&Sriov>) -> Interface {
    let functions: Vec<String> = sriov
        .map(|s| s.functions.iter().map(|f| format!("{}/{}", pci::DEVICES, f.address)).collect())
        .unwrap_or_default();
    let mut places = vec![dir.to_owned()];
    places.extend(functions);
    let vendor: Vec<&String> =
        places.iter().filter(|p| look.exists(&format!("{p}/nvidia/current_vgpu_type"))).collect();
    if !vendor.is_empty() {
        let texts = vendor.iter().filter_map(|p| look.text(&format!("{p}/nvidia/creatable_vgpu_types")).ok());
        let all: String = texts.map(|t| t + "\n").collect();
        return Interface::VendorVfio { types: parse_creatable_types(&all) };
    }
    let mut types: Vec<MdevType> = Vec::new();
    let mut seen = false;
    for place in &places {
        let folder = format!("{place}/mdev_supported_types");
        seen |= look.exists(&folder);
        for entry in look.list(&folder) {
            let at = format!("{folder}/{}", entry.name);
            let available = look.number(&format!("{at}/available_instances")).unwrap_or(0);
            if let Some(known) = types.iter_mut().find(|t| t.id == entry.name) {
                known.available += available;
                continue;
            }
            let text = look.text(&format!("{at}/description")).unwrap_or_default();
            let (framebuffer, max_instances) = parse_mdev_description(&text);
            let name = look.line(&format!("{at}/name")).unwrap_or_default();
            types.push(MdevType { id: entry.name, name, available, framebuffer, max_instances });
        }
    }
    types.sort_by(|a, b| crate::detect::look::compare_versions(&a.id, &b.id));
    if seen { Interface::Mdev { types } } else { Interface::None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn types_of_the_vendors_interface_are_read_with_or_without_a_head_line() {
        let text = "ID    : vGPU Name\n  588 : NVIDIA L40-1B\n1414 : NVIDIA H200X-1-18C\n588 : NVIDIA L40-1B\nnothing\n";
        let found = parse_creatable_types(text);
        let short: Vec<_> = found.iter().map(|t| (t.id, t.name.as_str())).collect();
        assert_eq!(short, [(588, "NVIDIA L40-1B"), (1414, "NVIDIA H200X-1-18C")]);
    }

    #[test]
    fn a_description_tells_memory_and_count() {
        let text =
            "num_heads=4, frl_config=60, framebuffer=1024M, max_resolution=5120x2880, max_instance=8\n";
        assert_eq!(parse_mdev_description(text), (Some("1024M".to_owned()), Some(8)));
        assert_eq!(parse_mdev_description("framebuffer=, max_instance=x"), (None, None));
    }

    proptest! {
        #[test]
        fn no_text_makes_these_parsers_panic(text in "(?s).*") {
            parse_creatable_types(&text);
            parse_creatable_types(&format!("1:{text}"));
            parse_mdev_description(&text);
            parse_mdev_description(&format!("max_instance={text},framebuffer={text}"));
            slot(&text);
        }
    }
}
