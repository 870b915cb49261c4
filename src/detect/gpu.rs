// SPDX-License-Identifier: GPL-3.0-or-later
//! Graphics cards and their drivers.

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
