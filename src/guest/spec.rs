// SPDX-License-Identifier: GPL-3.0-or-later
//! What is wanted of a guest. Plain data; paths are of the machine that runs QEMU.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A guest as a person wants it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Guest {
    /// What is booted.
    pub boot: Boot,
    /// Virtual processors.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory: u32,
    /// Which accelerator.
    #[serde(default)]
    pub accelerator: Accelerator,
    /// Where its screen is shown.
    #[serde(default)]
    pub display: Display,
    /// Its network.
    #[serde(default)]
    pub network: Network,
    /// Disks, the one to boot from first.
    #[serde(default)]
    pub disks: Vec<Disk>,
    /// Ended after so many seconds; never when 0.
    pub timeout: u32,
    /// Ended, with success, once a line of the console, or the name of a stage, matches this regular expression.
    #[serde(default)]
    pub until: Option<String>,
}

/// What is booted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[allow(clippy::large_enum_variant, reason = "there is one of them for each machine")]
pub enum Boot {
    /// A kernel image, with an initramfs of ours.
    Kernel(KernelBoot),
    /// An ISO image.
    Iso {
        /// The image.
        path: PathBuf,
        /// Which firmware starts it.
        firmware: Firmware,
    },
    /// The first of the guest's disks.
    Disk {
        /// Which firmware starts it.
        firmware: Firmware,
    },
}

/// Direct kernel boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KernelBoot {
    /// The image: a bzImage, or an ELF `vmlinux` with a PVH entry.
    pub image: PathBuf,
    /// Where its modules are (`/lib/modules/RELEASE`); without, only what is built in can be used.
    #[serde(default)]
    pub modules: Option<PathBuf>,
    /// Where its configuration is (`/boot/config-RELEASE`), when known.
    #[serde(default)]
    pub config: Option<PathBuf>,
    /// The root file system.
    #[serde(default)]
    pub root: GuestRoot,
    /// Whether the guest may change what is shared with it; else it writes into memory.
    #[serde(default)]
    pub writable: bool,
    /// What runs there.
    pub task: Task,
    /// More words for the kernel command line.
    #[serde(default)]
    pub append: Vec<String>,
    /// Module files that are put into the initramfs and inserted, in order, before the task.
    #[serde(default)]
    pub insert: Vec<PathBuf>,
    /// Files or patterns of the guest that are handed over at its end.
    #[serde(default)]
    pub collect: Vec<String>,
}

/// The root file system of a direct kernel boot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum GuestRoot {
    /// The initramfs alone.
    #[default]
    None,
    /// A directory of the host, shared (virtiofs or 9p); `/` is the host itself.
    Directory {
        /// Which.
        path: PathBuf,
    },
    /// An image with a file system in it.
    Image {
        /// Which.
        path: PathBuf,
        /// How it is written.
        format: ImageFormat,
    },
}

/// What runs in a direct kernel boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Task {
    /// A command; the guest ends with it.
    Command {
        /// Program and arguments. Empty: nothing is run, and that is success.
        argv: Vec<String>,
        /// Variables of its environment.
        #[serde(default)]
        env: Vec<(String, String)>,
        /// Its working directory.
        #[serde(default)]
        cwd: Option<String>,
    },
    /// The tree's own init takes over.
    Init {
        /// Path in the guest ("/sbin/init").
        path: String,
        /// Its arguments.
        #[serde(default)]
        args: Vec<String>,
    },
    /// Modules of VMware are inserted, used and removed (see `init::rehearse`).
    Rehearse {
        /// Whether only loading and opening is tried.
        only_load: bool,
    },
    /// Modules of VMware are measured (see `init::rehearse::measure`).
    Measure {
        /// For how long each figure, in milliseconds.
        milliseconds: u32,
    },
}

/// How a disk image is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImageFormat {
    /// Byte by byte.
    Raw,
    /// QEMU's own.
    Qcow2,
}

/// A disk of the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// The image.
    pub path: PathBuf,
    /// How it is written.
    pub format: ImageFormat,
    /// Whether it is written to; else the guest writes into a layer that is thrown away.
    pub writable: bool,
    /// Whether it is a USB stick and not a disk that is built in.
    #[serde(default)]
    pub usb: bool,
}

/// Which firmware starts an ISO or a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Firmware {
    /// SeaBIOS.
    Bios,
    /// UEFI (OVMF/EDK2).
    #[default]
    Uefi,
    /// UEFI with Secure Boot and Microsoft's keys.
    SecureBoot,
}

/// Which accelerator runs the guest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Accelerator {
    /// KVM when it really works here, else TCG.
    #[default]
    Auto,
    /// KVM, or an error.
    Kvm,
    /// QEMU's own emulation.
    Tcg,
}

/// Where the guest's screen is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Display {
    /// Nowhere; screenshots can be taken of machines with a graphics card.
    #[default]
    None,
    /// A GTK window.
    Gtk,
    /// An SDL window.
    Sdl,
}

/// The guest's network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// None.
    #[default]
    None,
    /// QEMU's user-mode network; no port of the host is open.
    User,
    /// The same, with a port of the host's loopback forwarded to port 22.
    Ssh {
        /// The host's port; 0: a free one.
        port: u16,
    },
}
