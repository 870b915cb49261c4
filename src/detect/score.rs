// SPDX-License-Identifier: GPL-3.0-or-later
//! How well this machine is set up for virtual machines, part by part, and the recommended build mode.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How modules are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BuildMode {
    /// With the kernel's own flags.
    Vanilla,
    /// With the documented, safe set of flags for this processor.
    Optimized,
}

impl BuildMode {
    /// "vanilla" or "optimized".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vanilla => "vanilla",
            Self::Optimized => "optimized",
        }
    }
}

/// The score: what the machine has of what virtual machines can use. It promises no speed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Score {
    /// Points of all parts.
    pub points: u32,
    /// The most that could be had from the parts that could be looked at.
    pub max: u32,
    /// The parts.
    pub parts: Vec<ScorePart>,
    /// The recommended build mode.
    pub recommended: BuildMode,
    /// Why that one.
    pub reason: String,
}

/// One part of the score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScorePart {
    /// A stable word ("nested-paging").
    pub id: String,
    /// What it is, for people.
    pub title: String,
    /// Points it got.
    pub points: u32,
    /// Points it could get; 0 when it could not be looked at.
    pub max: u32,
    /// Why.
    pub reason: String,
}
