// SPDX-License-Identifier: GPL-3.0-or-later
//! Make an RSA-2048 key pair for signing modules (extendedKeyUsage codeSigning), readable by root only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Make a key pair for signing modules. Never replaces a key that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateSigningKey {
    /// Private key, PEM, mode 0600 ("/var/lib/hostwright/keys/hostwright.key").
    pub key: String,
    /// Certificate, DER ("/var/lib/hostwright/keys/hostwright.der"); a PEM copy is written beside it.
    pub certificate: String,
    /// Subject common name.
    pub common_name: String,
}
