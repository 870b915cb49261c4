// SPDX-License-Identifier: GPL-3.0-or-later
//! The boot loader, its next choice, and the tool that makes the initramfs.

use super::Finding;
use super::kernel::NextBoot;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which boot loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BootloaderKind {
    /// GRUB 2.
    Grub,
    /// systemd-boot.
    SystemdBoot,
    /// rEFInd.
    Refind,
    /// Limine.
    Limine,
    /// Proxmox's `proxmox-boot-tool`, which keeps several system partitions.
    ProxmoxBootTool,
    /// Syslinux or extlinux.
    Syslinux,
}

/// The boot loader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bootloader {
    /// Those whose configuration was found, the one in charge first.
    pub kinds: Vec<BootloaderKind>,
    /// The file that told so.
    pub evidence: Vec<String>,
    /// What is booted next.
    pub next_boot: Finding<NextBoot>,
}

/// The tool that makes the initramfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InitramfsTool {
    /// `update-initramfs` (initramfs-tools).
    InitramfsTools,
    /// `dracut`.
    Dracut,
    /// `mkinitcpio`.
    Mkinitcpio,
    /// `booster`.
    Booster,
    /// `genkernel`.
    Genkernel,
}

/// The initramfs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Initramfs {
    /// The tool that is in charge; `None` when the system has none.
    pub tool: Option<InitramfsTool>,
    /// All that are installed.
    pub installed: Vec<InitramfsTool>,
    /// Configuration files that name VMware's modules: only then do these belong into the initramfs.
    pub names_vmware_modules: Vec<String>,
}
