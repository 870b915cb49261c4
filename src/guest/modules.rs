// SPDX-License-Identifier: GPL-3.0-or-later
//! What a kernel has built in, what it has as modules, and in which order those are inserted.

use super::error::GuestError;
use std::collections::BTreeSet;

/// Something that a guest needs of its kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// Virtio devices on PCI.
    VirtioPci,
    /// Virtio devices of a microvm.
    VirtioMmio,
    /// Ports between host and guest.
    Ports,
    /// Directories over 9p.
    Ninep,
    /// Directories over virtiofs.
    Virtiofs,
    /// A layer in memory over a read-only root.
    Overlay,
    /// Virtio disks.
    Disk,
    /// Virtio network cards.
    Net,
    /// Sockets between host and guest.
    Vsock,
    /// A file system on a disk.
    Ext4,
    /// The same.
    Squashfs,
    /// The same.
    Erofs,
    /// The same.
    Xfs,
    /// The same.
    Btrfs,
    /// The same.
    Iso9660,
    /// The same.
    Vfat,
}

/// How a kernel has something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Have {
    /// Built in.
    BuiltIn,
    /// As modules that are there.
    Module,
    /// Not: its option (`CONFIG_9P_FS`) and why ("is not set", "is a module, and its modules are not there").
    Missing {
        /// The option's name.
        option: &'static str,
        /// Why.
        why: String,
    },
    /// Neither its configuration nor its modules are known: it may work.
    Unknown,
}

/// What a kernel can do.
#[derive(Debug, Clone, Default)]
pub struct Abilities {}

impl Abilities {
    /// How it has `need`.
    pub fn has(&self, need: Need) -> Have {
        let _ = need;
        Have::Unknown
    }

    /// Refuses, before a boot, with the first option that is missing.
    ///
    /// # Errors
    /// When one of `needs` is missing for certain.
    pub fn require(&self, needs: &BTreeSet<Need>) -> Result<(), GuestError> {
        let _ = needs;
        Ok(())
    }
}
