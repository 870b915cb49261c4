// SPDX-License-Identifier: GPL-3.0-or-later
//! Module files (`.ko`): their `.modinfo`, their signature, and the modules that are loaded.

use super::Finding;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A module file on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModuleFile {
    /// Its module name ("vmmon").
    pub name: String,
    /// Its path in the root ("/lib/modules/K/updates/dkms/vmmon.ko.xz").
    pub path: String,
    /// Whether `modules.dep` names it: only then would `modprobe` load it.
    pub in_modules_dep: bool,
    /// Its vermagic.
    pub vermagic: Finding<String>,
    /// Whether that is the vermagic of the kernel it lies under.
    pub vermagic_fits: Finding<bool>,
    /// Its `version`.
    pub version: Option<String>,
    /// Who signed it, as `modinfo` shows; `None` when it is not signed.
    pub signature: Finding<Option<ModuleSignature>>,
    /// What Hostwright noted in it: `hostwright_*` fields of its modinfo, name without the prefix → value.
    pub hostwright: BTreeMap<String, String>,
    /// SHA-256 of the file as it lies there, hexadecimal.
    pub sha256: Finding<String>,
}

/// The signature at the end of a module (`~Module signature appended~`, PKCS#7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModuleSignature {
    /// Common name of the signing certificate's issuer.
    pub signer: Option<String>,
    /// Serial number of the signing certificate, or its subject key id, hexadecimal without colons.
    pub key_id: Option<String>,
    /// Digest ("sha256").
    pub hash: Option<String>,
}

/// A module in the running kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoadedModule {
    /// Its name, with underscores.
    pub name: String,
    /// Its size in memory, bytes.
    pub size: u64,
    /// How many references hold it.
    pub references: u32,
    /// The modules that use it.
    pub used_by: Vec<String>,
    /// Its taint letters ("OE": out of tree, unsigned).
    pub taint: String,
}

/// The modules in the running kernel that matter here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoadedModules {
    /// How many are loaded in all.
    pub count: u32,
    /// VMware's (`vmmon`, `vmnet`, `vmci`, `vsock` transports), KVM's, VirtualBox's, graphics drivers.
    pub modules: Vec<LoadedModule>,
}

impl LoadedModules {
    /// The loaded module of this name.
    pub fn get(&self, name: &str) -> Option<&LoadedModule> {
        self.modules.iter().find(|m| m.name == name)
    }
}
