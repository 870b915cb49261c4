// SPDX-License-Identifier: GPL-3.0-or-later
//! KVM and QEMU: whether something holds the processor's virtualization.

use super::Finding;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// KVM and who uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Kvm {
    /// The vendor module that is loaded or built in ("kvm_intel", "kvm_amd", "kvm_pvm").
    pub module: Option<String>,
    /// Whether `/dev/kvm` is there. It may be there and be of no use; only a started guest proves it.
    pub has_device: bool,
    /// References to the vendor module: running guests.
    pub references: Finding<u32>,
    /// Whether KVM turned virtualization on at load time and keeps it (`enable_virt_at_load`, since
    /// 6.12): then VMware's monitor cannot have it.
    pub holds_virtualization: Finding<bool>,
    /// Nested virtualization is allowed (`nested`).
    pub nested: Finding<bool>,
    /// Running QEMU guests.
    pub guests: Finding<Vec<Guest>>,
    /// QEMU programs that are installed: full paths.
    pub qemu: Vec<String>,
}

/// A running QEMU or VirtualBox guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Guest {
    /// Process id.
    pub pid: u32,
    /// Its exact executable name ("qemu-system-x86_64").
    pub name: String,
    /// User id it runs as.
    pub uid: u32,
    /// That user's name.
    pub user: Option<String>,
}
