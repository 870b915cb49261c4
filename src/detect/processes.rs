// SPDX-License-Identifier: GPL-3.0-or-later
//! Programs of VMware that run: exact executable names, never a part of a name or of a command line.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a running program of VMware means for the modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VmwareRole {
    /// A virtual machine (`vmware-vmx`): holds `vmmon`, and a person's work.
    VirtualMachine,
    /// A window (`vmware`, `vmplayer`, …).
    Application,
    /// A service of VMware's (`vmnet-bridge`, `vmware-usbarbitrator`, …): stopped with its unit.
    Service,
}

/// A program of VMware that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VmwareProcess {
    /// Process id.
    pub pid: u32,
    /// Its exact executable name ("vmware-vmx").
    pub name: String,
    /// What that means.
    pub role: VmwareRole,
    /// User id it runs as.
    pub uid: u32,
    /// That user's name, when `/etc/passwd` has it.
    pub user: Option<String>,
}
