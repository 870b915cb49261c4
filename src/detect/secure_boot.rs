// SPDX-License-Identifier: GPL-3.0-or-later
//! Secure Boot: EFI variables, who vouches for the boot loader, and which keys the kernel trusts.

use super::Finding;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the machine boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Firmware {
    /// UEFI.
    Uefi,
    /// No EFI variables: a BIOS, or a virtual machine without firmware.
    Bios,
}

/// Who vouches for what is booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BootTrust {
    /// shim, with the machine owner keys (MOK).
    Shim,
    /// Keys of the owner in the firmware itself (sbctl), no shim: the MOK list is never read.
    OwnKeys,
}

/// Secure Boot and the keys it brings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecureBoot {
    /// How the machine boots.
    pub firmware: Firmware,
    /// Whether the firmware checks signatures (EFI variable `SecureBoot`). On BIOS: no.
    pub enabled: Finding<bool>,
    /// Whether the firmware awaits keys (EFI variable `SetupMode`).
    pub setup_mode: Finding<bool>,
    /// Whether shim was told not to check (`MokSBStateRT`): then the kernel does not lock down.
    pub shim_validation_disabled: Finding<bool>,
    /// shim, or own keys.
    pub trust: Finding<BootTrust>,
    /// The kernel's keys that vouch for modules or for the boot chain.
    pub kernel_keys: Finding<KernelKeys>,
}

impl SecureBoot {
    /// Whether the kernel refuses unsigned modules because of Secure Boot: on, and shim was not told
    /// otherwise.
    pub fn is_effective(&self) -> Finding<bool> {
        match (&self.enabled, &self.shim_validation_disabled) {
            (Finding::Seen(true), Finding::Seen(disabled)) => Finding::Seen(!disabled),
            (Finding::Seen(true), Finding::CouldNotLook { .. }) => Finding::Seen(true),
            (enabled, _) => enabled.clone(),
        }
    }
}

/// Keys and keyrings of the kernel, from `/proc/keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KernelKeys {
    /// Keyrings: name ("`.machine`", "`.platform`", "`.builtin_trusted_keys`") and how many keys each has.
    pub keyrings: Vec<Keyring>,
    /// Asymmetric keys in any of them.
    pub keys: Vec<KernelKey>,
}

/// A keyring of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Keyring {
    /// Its name, with the dot.
    pub name: String,
    /// How many keys are in it.
    pub keys: u32,
}

/// A public key in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KernelKey {
    /// Its description ("Debian Secure Boot CA").
    pub description: String,
    /// Its subject key id, hexadecimal.
    pub key_id: String,
}
