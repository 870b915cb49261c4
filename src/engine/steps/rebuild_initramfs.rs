// SPDX-License-Identifier: GPL-3.0-or-later
//! Make an initramfs anew with the distribution's own tool.

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

/// The distribution's tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InitramfsTool {
    /// `update-initramfs -u -k K` (Debian, Ubuntu, Proxmox).
    UpdateInitramfs,
    /// `dracut -f --kver K` (Fedora, openSUSE).
    Dracut,
    /// `mkinitcpio -P` (Arch).
    Mkinitcpio,
    /// `genkernel` (Gentoo).
    Genkernel,
}

/// Make the initramfs of a kernel anew. Undo puts the old image back, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RebuildInitramfs {
    /// Kernel release.
    pub kernel: String,
    /// The tool.
    pub tool: InitramfsTool,
    /// The images that the tool writes ("/boot/initrd.img-K").
    pub images: Vec<String>,
}

impl Action for RebuildInitramfs {
    fn title(&self) -> String {
        format!("Make the initramfs of {} anew", self.kernel)
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [Permission::BootConfigure].into()
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
