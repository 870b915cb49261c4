// SPDX-License-Identifier: GPL-3.0-or-later
//! The IOMMU and its groups.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The IOMMU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Iommu {
    /// Whether the kernel uses one (there are groups).
    pub active: bool,
    /// The units ("dmar0", "ivhd0").
    pub units: Vec<String>,
    /// What the kernel command line says about it, word by word.
    pub parameters: Vec<String>,
    /// The groups.
    pub groups: Vec<IommuGroup>,
}

/// Devices that can only be handed on together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IommuGroup {
    /// Its number.
    pub number: u32,
    /// PCI addresses.
    pub devices: Vec<String>,
}
