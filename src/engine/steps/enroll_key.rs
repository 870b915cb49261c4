// SPDX-License-Identifier: GPL-3.0-or-later
//! Ask shim to trust a certificate: `mokutil --import`, finished by a person at the next boot.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Queue a certificate for the Machine Owner Key list. The one-time password comes with the run, never with the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrollKey {
    /// Certificate, DER.
    pub certificate: String,
}
