// SPDX-License-Identifier: GPL-3.0-or-later
//! What a person picks.

use super::catalogue::Branch;
use crate::engine::steps::ContainerEngine;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a card is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It is parted into virtual GPUs.
    Vgpu,
    /// It is handed to one virtual machine as a whole.
    Passthrough,
    /// The host keeps it as it is.
    Host,
}

impl Role {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Vgpu => "vgpu",
            Self::Passthrough => "passthrough",
            Self::Host => "host",
        }
    }
}

/// Choices of the vgpu flow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Choices {
    /// The branch ("16.9"); without one the best that works is taken.
    pub branch: Option<Branch>,
    /// What cards are for, by PCI address ("0000:41:00.0"). Cards that are not named are for vGPU when they
    /// can be, and left alone otherwise.
    pub roles: BTreeMap<String, Role>,
    /// What is planned; without it the first stage that has something to do.
    pub stage: Option<Stage>,
    /// The driver's `.run` file, which comes with the run or is kept from an earlier one.
    pub driver: Option<KeptFile>,
    /// The patch that unlocks consumer cards, for exactly the build of the driver.
    pub patch: Option<KeptFile>,
    /// SHA-256 (hexadecimal) of the archive of vgpu_unlock-rs's sources, dependencies in it.
    pub unlock_source: Option<String>,
    /// What is given to a virtual machine.
    pub assign: Option<Assignment>,
    /// The whole text of `profile_override.toml`.
    pub overrides: Option<String>,
    /// The licence server's token for a guest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<GuestToken>,
    /// A licence server of one's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub licence_server: Option<LicenceServer>,
}

/// A part of the work; between them the machine is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Repositories, packages, IOMMU, modules, kernel, signing key: all that a restart brings about.
    Prepare,
    /// The driver, its services, virtual functions.
    Install,
    /// Only cards for passthrough.
    Passthrough,
    /// Only a virtual GPU for a virtual machine.
    Assign,
    /// Only the overrides of types, for unlocked cards.
    Overrides,
    /// Only a licence server's token for a guest.
    Token,
    /// Only a licence server of one's own.
    LicenceServer,
}

impl Stage {
    /// Whether it stands beside the two stages that set a host up.
    pub fn is_aside(self) -> bool {
        !matches!(self, Self::Prepare | Self::Install)
    }
}

/// The token of a licence server for a virtual machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GuestToken {
    /// Number of the virtual machine.
    pub vm: u32,
    /// The token's file, which comes with the run.
    pub file: KeptFile,
}

/// A licence server of one's own: FastAPI-DLS in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LicenceServer {
    /// The image with its digest ("docker.io/who/what@sha256:…").
    pub image: String,
    /// The address it listens on ("192.0.2.7").
    pub listen: String,
    /// The port it listens on.
    pub port: u16,
    /// Names by which guests reach it, the one that tokens tell first; without one the address.
    pub names: Vec<String>,
    /// Its time zone ("Europe/Vienna").
    pub time_zone: String,
    /// How long a lease lasts, in days (1 to 90).
    pub lease_days: u32,
    /// After which part of its time a lease can be renewed, in percent (1 to 99).
    pub renewal_percent: u8,
    /// Who runs the container; without it the one that is there, else Docker.
    pub engine: Option<ContainerEngine>,
    /// Whether the person said to be entitled to the licences.
    pub entitled: bool,
}

/// A virtual GPU for a virtual machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// Number of the virtual machine.
    pub vm: u32,
    /// The type, by its id ("nvidia-63", "701") or its name ("GRID T4-2Q").
    pub kind: String,
    /// The card, by its PCI address; without it the first with a free place.
    pub card: Option<String>,
    /// The number of the `hostpci` option.
    pub slot: u8,
}

/// A file that is handed over and kept where only root can change it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeptFile {
    /// Its name, without a folder.
    pub name: String,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
}
