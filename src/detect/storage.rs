// SPDX-License-Identifier: GPL-3.0-or-later
//! Disks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which kind of disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DiskKind {
    /// NVMe.
    Nvme,
    /// A disk without moving parts, or one that says so.
    Ssd,
    /// A rotating disk.
    Rotating,
    /// A virtual disk (virtio, Xen).
    Virtual,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Disk {
    /// Its name ("nvme0n1").
    pub name: String,
    /// Which kind.
    pub kind: DiskKind,
    /// Its model, when it tells one.
    pub model: Option<String>,
    /// Size in bytes.
    pub size: u64,
    /// Whether it can be taken out.
    pub removable: bool,
    /// The I/O scheduler in use ("none", "mq-deadline").
    pub scheduler: Option<String>,
    /// Whether the root file system is on it; `None` when that could not be traced (device mapper, ZFS…).
    pub holds_root: Option<bool>,
}
