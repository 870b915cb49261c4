// SPDX-License-Identifier: GPL-3.0-or-later
//! Let the kernel's module index know what is there: `depmod`.

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

/// Make the module index of a kernel anew. Undo puts the old index files back, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Depmod {
    /// Kernel release.
    pub kernel: String,
}

impl Action for Depmod {
    fn title(&self) -> String {
        format!("Make the module index of {} anew", self.kernel)
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
