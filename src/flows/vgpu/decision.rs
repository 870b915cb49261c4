// SPDX-License-Identifier: GPL-3.0-or-later
//! What was decided; plain data.

use super::catalogue::{Branch, Support};
use super::choices::Role;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of the document.
pub const DECISION_VERSION: u32 = 1;

/// What goes together on a machine, and what would be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Decision {
    /// Version of this document: 1.
    pub schema: u32,
    /// Version of Proxmox VE.
    pub proxmox: String,
    /// The kernel that will run after the next start as things are.
    pub kernel: Option<String>,
    /// The cards.
    pub cards: Vec<Card>,
    /// Every branch that is catalogued, newest first.
    pub rows: Vec<Row>,
    /// The branch that was chosen, or the best.
    pub branch: Option<Branch>,
    /// Whether a person chose it.
    pub chosen: bool,
    /// What must be so before the driver is installed.
    pub preparation: Vec<Preparation>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

impl Decision {
    /// The row of the branch that was decided for.
    pub fn row(&self) -> Option<&Row> {
        self.rows.iter().find(|r| Some(r.branch) == self.branch)
    }
}

/// A card and what it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Card {
    /// PCI address.
    pub address: String,
    /// PCI device id.
    pub device_id: String,
    /// Its name; `None` for a card that the catalogue does not know.
    pub name: Option<String>,
    /// Its chip.
    pub chip: Option<String>,
    /// Its generation ("Pascal").
    pub generation: Option<String>,
    /// How it comes to virtual GPUs, rules applied; `None` when nothing is known of it.
    pub support: Option<Support>,
    /// Why not, or what else is known.
    pub remark: Option<String>,
    /// What it is for.
    pub role: Role,
    /// Why that, when nobody chose it.
    pub role_reason: Option<String>,
}

/// A branch of the vGPU software on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Row {
    /// The branch.
    pub branch: Branch,
    /// Its host driver.
    pub host_driver: String,
    /// Whether it works, for all cards that are for vGPU together.
    pub verdict: Verdict,
    /// The kernel it would run on; `None` when there is none.
    pub kernel: Option<KernelChoice>,
    /// Arguments of the driver's installer.
    pub installer: Vec<String>,
    /// How virtual GPUs will be offered.
    pub interface: ExpectedInterface,
    /// Whether Proxmox's own helper makes the virtual functions.
    pub proxmox_helper: bool,
    /// The patch that the driver needs.
    pub unlock_patch: Option<String>,
    /// What is known of the driver's file.
    pub checksum: Checksum,
    /// The verdict for each card alone, when there are several.
    pub cards: Vec<CardVerdict>,
}

/// A card alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CardVerdict {
    /// PCI address.
    pub address: String,
    /// Whether it works.
    pub verdict: Verdict,
}

/// Whether it works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Verdict {
    /// As things are.
    Works,
    /// When all of these are met.
    WorksIf {
        /// What must be met.
        conditions: Vec<Condition>,
    },
    /// Not.
    No {
        /// Because of all of these.
        reasons: Vec<Reason>,
    },
}

/// Something that must be met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Condition {
    /// Of which kind.
    pub kind: ConditionKind,
    /// In words, after "works if".
    pub text: String,
}

/// Kinds of conditions; earlier ones weigh less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConditionKind {
    /// The modules are signed and the key is enrolled.
    SignModules,
    /// The signed form of the kernel is installed.
    SignedKernel,
    /// The driver is patched and `vgpu_unlock-rs` preloaded.
    Unlock,
    /// The card's displays are switched off, so that it offers virtual functions.
    DisplayMode,
    /// Another kernel that is installed is started.
    PinKernel,
    /// Another kernel is installed and started.
    InstallKernel,
    /// Something could not be looked at.
    Look,
    /// Nobody is known to have tried.
    Unconfirmed,
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// A stable word for programs ("no-unlock-patch").
    pub code: String,
    /// In words, after "no, because".
    pub text: String,
}

/// A kernel and how it comes to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KernelChoice {
    /// Its release ("6.14.11-4-pve").
    pub release: String,
    /// What has to be done.
    pub action: KernelAction,
    /// Why another than the one that would run.
    pub reason: Option<String>,
}

/// How a kernel comes to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KernelAction {
    /// It will run anyway.
    Keep,
    /// It is installed and has to be pinned.
    Pin,
    /// It has to be installed and pinned.
    InstallAndPin,
}

/// How virtual GPUs will be offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExpectedInterface {
    /// Mediated devices of the card.
    Mdev,
    /// Mediated devices of virtual functions.
    SriovMdev,
    /// The vendor's VFIO interface of virtual functions: `mdevctl types` is empty then, and that is right.
    VendorVfio,
}

/// What is known of a file before it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Checksum {
    /// Its SHA-256.
    Sha256,
    /// Its MD5 only: finds damage, proves no origin.
    Md5,
    /// Nothing: its SHA-256 is pinned at its first use, after consent.
    Unknown,
}

/// Something that must be so before the driver is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Preparation {
    /// A stable word for programs ("iommu").
    pub code: String,
    /// How it is.
    pub state: PreparationState,
    /// In words.
    pub text: String,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PreparationState {
    /// As it should be.
    Done,
    /// To be done.
    ToDo,
    /// Could not look.
    Unknown,
}
