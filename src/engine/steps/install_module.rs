// SPDX-License-Identifier: GPL-3.0-or-later
//! Put a built (and signed) module where the kernel finds it, archiving what is displaced.

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

/// How module files of a kernel are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// `.ko`
    None,
    /// `.ko.gz`
    Gzip,
    /// `.ko.xz` (CRC32 check, as the kernel's decompressor needs)
    Xz,
    /// `.ko.zst`
    Zstd,
}

/// What signs a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignWith {
    /// Private key, PEM.
    pub key: String,
    /// Certificate, DER or PEM.
    pub certificate: String,
    /// Hash, from the kernel's CONFIG_MODULE_SIG_HASH ("sha256").
    pub hash: String,
    /// The kernel's `scripts/sign-file` (or kmodsign) of this machine.
    pub sign_file: String,
}

/// Put a module that this run built into the module folder of a kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstallModule {
    /// Kernel release.
    pub kernel: String,
    /// Module name ("vmmon").
    pub module: String,
    /// Where it goes ("/lib/modules/K/updates/dkms/vmmon.ko.xz").
    pub to: String,
    /// How it is compressed there.
    pub compression: Compression,
    /// What signs it, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign: Option<SignWith>,
}

impl Action for InstallModule {
    fn title(&self) -> String {
        format!("Install {} for {}", self.module, self.kernel)
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [Permission::ModulesInstall].into()
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
