// SPDX-License-Identifier: GPL-3.0-or-later
//! The distribution: os-release(5), its family, and the immutable ones that are refused with guidance.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The families of distributions that need the same handling; keys of `data/distributions.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Debian and what follows it closely.
    Debian,
    /// Ubuntu and its descendants (Mint, Pop!_OS…): a machine owner key of shim-signed.
    Ubuntu,
    /// Proxmox VE: Debian with its own kernels and boot tool.
    Proxmox,
    /// Fedora.
    Fedora,
    /// Red Hat Enterprise Linux and its rebuilds.
    Rhel,
    /// openSUSE and SUSE Linux Enterprise.
    Suse,
    /// Arch Linux and its descendants.
    Arch,
    /// Gentoo.
    Gentoo,
    /// NixOS: refused, with guidance.
    Nixos,
    /// None of these: no package names are guessed.
    Unknown,
}

/// Why the system's own files cannot be changed in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImmutableKind {
    /// Booted from an OSTree deployment (`/run/ostree-booted`).
    Ostree,
    /// NixOS: the system is generated from its configuration.
    Nixos,
    /// Read-only root changed by `transactional-update` (MicroOS, Aeon, Leap Micro).
    Transactional,
}

/// An immutable system, and the right way there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Immutable {
    /// Which kind.
    pub kind: ImmutableKind,
    /// What to do instead, for people.
    pub guidance: String,
}

/// The distribution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Os {
    /// `ID` of os-release(5) ("debian").
    pub id: String,
    /// `ID_LIKE`, in its order.
    pub id_like: Vec<String>,
    /// `PRETTY_NAME`, for people.
    pub name: String,
    /// `VERSION_ID` ("12"); rolling distributions have none.
    pub version_id: Option<String>,
    /// `VERSION_CODENAME` ("bookworm").
    pub codename: Option<String>,
    /// Whose handling it needs.
    pub family: Family,
    /// Set when the system cannot be changed in place: every flow refuses with this guidance.
    pub immutable: Option<Immutable>,
    /// Machine type of the user space, as `uname -m` names it ("x86_64").
    pub architecture: Option<String>,
    /// Proxmox VE's version ("8.2.4"), on Proxmox VE.
    pub proxmox: Option<String>,
}
