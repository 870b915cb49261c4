// SPDX-License-Identifier: GPL-3.0-or-later
//! Restart services that use the modules.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Restart services that are there and were running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestartServices {
    /// Unit names ("vmware-networks.service") or, without systemd, names of init scripts.
    pub units: Vec<String>,
}
