// SPDX-License-Identifier: GPL-3.0-or-later
//! The IOMMU and its groups.

use super::Finding;
use super::look::Look;
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

/// The words of a kernel command line that matter to the IOMMU.
fn parameters(command_line: &str) -> Vec<String> {
    let prefixes = ["intel_iommu=", "amd_iommu=", "iommu=", "iommu.", "vfio", "pcie_acs_override="];
    let words = command_line.split_whitespace();
    words.filter(|word| prefixes.iter().any(|prefix| word.starts_with(prefix))).map(str::to_owned).collect()
}

/// Reads the IOMMU.
pub(super) fn read(look: &Look<'_>) -> Finding<Iommu> {
    look.if_running(|| {
        if !look.exists("/sys/kernel") {
            return Finding::unseen("/sys is not mounted");
        }
        let dir = "/sys/kernel/iommu_groups";
        let group = |entry: &crate::host::Entry| {
            let number = entry.name.parse().ok()?;
            let devices = look.list(&format!("{dir}/{}/devices", entry.name));
            Some(IommuGroup { number, devices: devices.into_iter().map(|d| d.name).collect() })
        };
        let mut groups: Vec<IommuGroup> = look.list(dir).iter().filter_map(group).collect();
        groups.sort_by_key(|g| g.number);
        Finding::Seen(Iommu {
            active: !groups.is_empty(),
            units: look.list("/sys/class/iommu").into_iter().map(|e| e.name).collect(),
            parameters: parameters(&look.line("/proc/cmdline").unwrap_or_default()),
            groups,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_whole_words() {
        let line = "quiet root=UUID=x intel_iommu=on iommu=pt vfio-pci.ids=10de:2684 xiommu=1";
        assert_eq!(parameters(line), ["intel_iommu=on", "iommu=pt", "vfio-pci.ids=10de:2684"]);
    }
}
