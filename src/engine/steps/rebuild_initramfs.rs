// SPDX-License-Identifier: GPL-3.0-or-later
//! Make an initramfs anew with the distribution's own tool.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
