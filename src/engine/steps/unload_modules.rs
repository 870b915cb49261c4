// SPDX-License-Identifier: GPL-3.0-or-later
//! Take modules out of the running kernel.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Take modules out of the running kernel, in this order (vmnet before vmmon). Modules that are not loaded are passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnloadModules {
    /// Their names, users first.
    pub modules: Vec<String>,
}
