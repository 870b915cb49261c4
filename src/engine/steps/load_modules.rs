// SPDX-License-Identifier: GPL-3.0-or-later
//! Put modules into the running kernel.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Put modules into the running kernel by `modprobe`, in this order. Only ever for the kernel that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadModules {
    /// The release that must be running.
    pub kernel: String,
    /// Their names, needed ones first.
    pub modules: Vec<String>,
}
