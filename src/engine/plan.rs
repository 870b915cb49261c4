// SPDX-License-Identifier: GPL-3.0-or-later
//! A plan: plain data that a person reads before it runs, and whose digest proves that just it runs.

use super::report::KernelResult;
use super::steps::Step;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// The version of the plan document; raised when a reader of older plans would misread a new one.
pub const PLAN_VERSION: u32 = 1;

/// A polkit action id that a plan needs: one per kind of consequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    /// `org.hostwright.modules.install`
    ModulesInstall,
    /// `org.hostwright.applications.patch`
    ApplicationsPatch,
    /// `org.hostwright.system.tune`
    SystemTune,
    /// `org.hostwright.packages.install`
    PackagesInstall,
    /// `org.hostwright.boot.configure`
    BootConfigure,
    /// `org.hostwright.keys.enroll`
    KeysEnroll,
    /// `org.hostwright.vgpu.install`
    VgpuInstall,
    /// `org.hostwright.media.write`
    MediaWrite,
    /// `org.hostwright.undo`
    Undo,
    /// `org.hostwright.inspect`
    Inspect,
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::ModulesInstall,
        Self::ApplicationsPatch,
        Self::SystemTune,
        Self::PackagesInstall,
        Self::BootConfigure,
        Self::KeysEnroll,
        Self::VgpuInstall,
        Self::MediaWrite,
        Self::Undo,
        Self::Inspect,
    ];

    /// The polkit action id, as in `data/polkit/org.hostwright.policy`.
    pub fn action_id(self) -> &'static str {
        match self {
            Self::ModulesInstall => "org.hostwright.modules.install",
            Self::ApplicationsPatch => "org.hostwright.applications.patch",
            Self::SystemTune => "org.hostwright.system.tune",
            Self::PackagesInstall => "org.hostwright.packages.install",
            Self::BootConfigure => "org.hostwright.boot.configure",
            Self::KeysEnroll => "org.hostwright.keys.enroll",
            Self::VgpuInstall => "org.hostwright.vgpu.install",
            Self::MediaWrite => "org.hostwright.media.write",
            Self::Undo => "org.hostwright.undo",
            Self::Inspect => "org.hostwright.inspect",
        }
    }
}

/// Something a person should know before saying yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Warning {
    /// What, in one sentence.
    pub message: String,
    /// What to do about it, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// What would be done to a machine, here and now. Made by a flow's pure `plan` function only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`PLAN_VERSION`].
    pub version: u32,
    /// Which flow made it ("vmware").
    pub flow: String,
    /// What it is, in a few words, for lists and messages ("VMware modules for 6.1.0-56-amd64"). Older plans
    /// have none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// The choices it was made from, as given.
    pub choices: serde_json::Value,
    /// Just the facts that it read; the digest is over these, so that a change elsewhere on the machine
    /// does not matter.
    pub facts: serde_json::Value,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// What must be granted before the first write.
    pub permissions: BTreeSet<Permission>,
    /// Details for the authorization prompt (`kernels` → `6.1.0-56-amd64`).
    #[serde(default)]
    pub details: BTreeMap<String, String>,
    /// What a person should know before saying yes.
    #[serde(default)]
    pub warnings: Vec<Warning>,
    /// Kernels that were chosen and for which nothing is done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// What is explained beside the steps: (topic, text), for instance each adaptation with its reason and difference.
    #[serde(default)]
    pub notes: Vec<Note>,
    /// Whether its effect needs a reboot.
    #[serde(default)]
    pub needs_reboot: bool,
}

/// A kernel that was chosen and for which nothing is done; the others go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// Its release.
    pub kernel: String,
    /// Why.
    pub reason: String,
    /// What to do about it, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// Whether it was asked for by its name: a run that leaves it out is not done for all that it was to do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub named: bool,
}

/// An explanation in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Note {
    /// What it is about ("adaptation timer-delete-sync").
    pub topic: String,
    /// The reason, in a sentence or two.
    pub text: String,
    /// A unified difference, when files change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
}

impl Plan {
    /// SHA-256 of the whole plan in canonical JSON (sorted keys, no white space), hexadecimal. Two plans
    /// with the same digest do the same to a machine that looks the same.
    pub fn digest(&self) -> String {
        // A Value's maps are sorted by key, so that this is canonical.
        let bytes = serde_json::to_value(self).map(|v| v.to_string()).unwrap_or_default();
        hex::encode(Sha256::digest(bytes.as_bytes()))
    }

    /// The kernels that were asked for by name and are left out, as results.
    pub fn not_done(&self) -> Vec<KernelResult> {
        let named = self.left_out.iter().filter(|left| left.named);
        let text = |left: &LeftOut| match &left.remedy {
            Some(remedy) => format!("{}; {remedy}", left.reason),
            None => left.reason.clone(),
        };
        named.map(|l| KernelResult { kernel: l.kernel.clone(), good: false, text: text(l) }).collect()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

/// Why a flow makes no plan: a refusal with its reason and what to do. Not a failure of the program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{reason}{}", remedy.as_ref().map(|r| format!("\n{r}")).unwrap_or_default())]
pub struct Refusal {
    /// A stable word for programs ("headers-missing").
    pub code: String,
    /// Why, in a sentence.
    pub reason: String,
    /// What to do, in a sentence; a command where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Refusal {
    /// A refusal with a reason and what to do.
    pub fn new(code: &str, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code: code.to_owned(), reason: reason.into(), remedy: Some(remedy.into()) }
    }
}
