// SPDX-License-Identifier: GPL-3.0-or-later
//! What a person picks for VMware's modules. Plain data; a field that is unknown is refused, so that a
//! misspelt wish is never silently ignored.

use crate::engine::steps::Mode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// For which kernels modules are built.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KernelChoice {
    /// The kernel that runs; on a scratch root, where none runs, the newest.
    #[default]
    Running,
    /// Every installed kernel that has usable headers.
    All,
    /// The newest so many installed kernels.
    Newest(u32),
    /// Just these releases.
    Releases(Vec<String>),
}

/// Where the module sources come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceChoice {
    /// Those of the installed product (`/usr/lib/vmware/modules/source`).
    #[default]
    Installed,
    /// An archive that comes with the request as a sealed file.
    Sealed {
        /// SHA-256 of the archive, hexadecimal.
        sha256: String,
        /// What the person calls it ("vmware-host-modules-w17.5.1.tar.gz").
        name: String,
    },
}

/// Whether and with which key modules are signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignChoice {
    /// With the key that is there, the distribution's first; with a new one when the kernel wants signatures.
    #[default]
    Auto,
    /// With Hostwright's own key, made when missing.
    Own,
    /// With the distribution's key only.
    Distribution,
    /// Not at all; refused where the kernel would then not load them.
    Never,
}

/// Whether modules are put into the running kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoadChoice {
    /// When the modules are for the running kernel.
    #[default]
    Auto,
    /// Not now.
    Never,
}

/// Whether initramfs images are made anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InitramfsChoice {
    /// Only where the image already holds one of the modules.
    #[default]
    Auto,
    /// Never.
    Never,
}

/// Whether modules are tried in a virtual machine before they are installed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RehearseChoice {
    /// Where QEMU and the kernel's boot image are there.
    #[default]
    Auto,
    /// Yes; refused where it cannot be done, and failed when it turns out that it could not.
    Always,
    /// No.
    Never,
}

/// Whether modules are built by themselves when kernels are installed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpdateChoice {
    /// As it is now.
    #[default]
    Keep,
    /// By hooks of the distribution.
    Hook,
    /// Not; hooks that are there are removed.
    Never,
}

/// All that a person picks in the `vmware` flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Choices {
    /// For which kernels.
    pub kernels: KernelChoice,
    /// With which flags.
    pub mode: Mode,
    /// From which sources.
    pub source: SourceChoice,
    /// Signed or not.
    pub sign: SignChoice,
    /// Queue the signing key for the Machine Owner Key list, when it is not trusted yet.
    pub enroll: bool,
    /// Load them now.
    pub load: LoadChoice,
    /// Load them at every boot (`modules-load.d`).
    pub boot: bool,
    /// Initramfs images.
    pub initramfs: InitramfsChoice,
    /// Try the modules in a virtual machine first.
    pub rehearse: RehearseChoice,
    /// Kernel updates.
    #[serde(skip_serializing_if = "is_keep")]
    pub updates: UpdateChoice,
}

/// What was always so is not written, so that the plans of earlier versions keep their digest.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes the field by reference")]
fn is_keep(choice: &UpdateChoice) -> bool {
    *choice == UpdateChoice::Keep
}

impl Default for Choices {
    fn default() -> Self {
        Self {
            kernels: KernelChoice::default(),
            mode: Mode::default(),
            source: SourceChoice::default(),
            sign: SignChoice::default(),
            enroll: false,
            load: LoadChoice::default(),
            boot: true,
            initramfs: InitramfsChoice::default(),
            rehearse: RehearseChoice::default(),
            updates: UpdateChoice::default(),
        }
    }
}

impl Choices {
    /// Reads choices from JSON.
    ///
    /// # Errors
    /// A sentence that names the field.
    pub fn from_json(value: &serde_json::Value) -> Result<Self, String> {
        serde_json::from_value(value.clone()).map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_document_means_the_defaults() {
        assert_eq!(Choices::from_json(&serde_json::json!({})).unwrap(), Choices::default());
    }

    #[test]
    fn a_misspelt_field_is_refused_by_name() {
        let error = Choices::from_json(&serde_json::json!({"kernel": "all"})).unwrap_err();
        assert!(error.contains("kernel"), "{error}");
    }

    #[test]
    fn choices_come_back_from_json_as_they_were() {
        let choices = Choices {
            kernels: KernelChoice::Releases(vec!["6.1.0-56-amd64".into()]),
            mode: Mode::Optimized,
            source: SourceChoice::Sealed { sha256: "00".into(), name: "x.tar".into() },
            ..Choices::default()
        };
        let json = serde_json::to_value(&choices).unwrap();
        assert_eq!(Choices::from_json(&json).unwrap(), choices);
    }
}
