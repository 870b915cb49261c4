// SPDX-License-Identifier: GPL-3.0-or-later
//! Make an RSA-2048 key pair for signing modules (extendedKeyUsage codeSigning), readable by root only.

use super::Action;
use crate::engine::context::{Applied, Before, Context};
use crate::engine::error::StepError;
use crate::engine::event::Check;
use crate::engine::plan::Permission;
use crate::engine::report::{Reversal, StepPreview};
use crate::host::Host;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

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

impl Action for CreateSigningKey {
    fn title(&self) -> String {
        format!("Make the signing key {}", self.key)
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [Permission::KeysEnroll].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::Full
    }

    fn preview(&self, _host: &Host) -> StepPreview {
        StepPreview {
            title: self.title(),
            commands: Vec::new(),
            files: Vec::new(),
            reversal: self.reversal(),
            permissions: self.permissions(),
        }
    }

    fn before(&self, _ctx: &Context<'_>) -> Result<Before, StepError> {
        Err(StepError::refused("this kind of step is not in this version", "use a later version"))
    }

    fn apply(&self, _ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        Err(StepError::refused("this kind of step is not in this version", "use a later version"))
    }

    fn verify(&self, _ctx: &Context<'_>) -> Vec<Check> {
        Vec::new()
    }
}
