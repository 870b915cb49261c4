// SPDX-License-Identifier: GPL-3.0-or-later
//! What a person picks.

use super::catalogue::Branch;
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
}
