// SPDX-License-Identifier: GPL-3.0-or-later
//! VMware Workstation and Player: product, version, where their module sources are, their services.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VmwareProduct {
    /// VMware Workstation (Pro).
    Workstation,
    /// VMware Player (Workstation Player).
    Player,
    /// Installed, and neither name was found.
    Other,
}

/// What is there of VMware.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Vmware {
    /// The installed product; `None` when there is none.
    pub product: Option<VmwareProduct>,
    /// Its version ("17.5.1").
    pub version: Option<String>,
    /// Its build number ("23298084").
    pub build: Option<String>,
    /// The file that said version and build.
    pub source: Option<String>,
    /// Library folder ("/usr/lib/vmware").
    pub libdir: String,
    /// Module sources found, `vmmon` before `vmnet`; archives before folders.
    pub module_sources: Vec<ModuleSource>,
    /// Its services that are installed.
    pub services: Vec<Service>,
    /// Whether networking was set up (`/etc/vmware/networking`).
    pub has_networking: bool,
}

impl Vmware {
    /// Whether a product is installed.
    pub fn is_installed(&self) -> bool {
        self.product.is_some()
    }
}

/// The form of a module source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModuleSourceKind {
    /// `vmmon.tar`.
    Archive,
    /// A folder `vmmon-only/`.
    Folder,
}

/// A module source of VMware's on this machine. What is inside is read by the flow, not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModuleSource {
    /// The module ("vmmon").
    pub module: String,
    /// Its form.
    pub kind: ModuleSourceKind,
    /// Its path in the root.
    pub path: String,
    /// Size of an archive in bytes; `None` for a folder.
    pub size: Option<u64>,
}

/// How a service is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceKind {
    /// A systemd unit.
    Systemd,
    /// A System V script.
    SysV,
}

/// An installed service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    /// Its name without suffix ("vmware-networks").
    pub name: String,
    /// How it is started.
    pub kind: ServiceKind,
    /// Its file.
    pub path: String,
    /// Whether it starts at boot (a link in a `*.wants` folder, or in `rc?.d`).
    pub enabled: bool,
}
