// SPDX-License-Identifier: GPL-3.0-or-later
//! Disks.

use super::Finding;
use super::kernel::chosen;
use super::look::Look;
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

/// Block devices that are no disks of their own.
pub(super) fn is_disk(name: &str) -> bool {
    let others = ["loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd", "zd", "drbd"];
    // A partition of an eMMC that holds its boot code.
    let boots = name.starts_with("mmcblk") && name.contains("boot");
    !boots && others.iter().all(|prefix| !name.starts_with(prefix))
}

/// The scheduler in use ("mq-deadline kyber \[none\]").
fn scheduler(text: &str) -> Option<String> {
    chosen(text).map(str::to_owned).or_else(|| Some(text.trim().to_owned()).filter(|t| !t.is_empty()))
}

/// The device that holds `/`: major and minor number of `/proc/self/mountinfo`.
fn root_device(mountinfo: &str) -> Option<&str> {
    // Number, parent, major:minor, root, mount point (proc_pid_mountinfo(5)); the last mount is seen.
    let mut mounts = mountinfo.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(2);
        let device = words.next()?;
        (words.nth(1)? == "/").then_some(device)
    });
    mounts.next_back()
}

/// The whole disks below a block device: itself, what it is a partition of, or what a mapping lies on.
fn disks_below(look: &Look<'_>, device: &str, depth: u32) -> Vec<String> {
    let path = format!("/sys/dev/block/{device}");
    let Ok(real) = look.root().resolve(&path) else { return vec![] };
    let mut names = real.rsplit('/');
    let (Some(name), parent) = (names.next(), names.next()) else { return vec![] };
    if look.exists(&format!("{path}/partition")) {
        return parent.map(str::to_owned).into_iter().collect();
    }
    let slaves = look.list(&format!("{path}/slaves"));
    if slaves.is_empty() || depth == 0 {
        return vec![name.to_owned()];
    }
    let numbers = slaves.iter().filter_map(|slave| look.line(&format!("{path}/slaves/{}/dev", slave.name)));
    numbers.flat_map(|number| disks_below(look, &number, depth - 1)).collect()
}

/// Reads the disks.
pub(super) fn read(look: &Look<'_>) -> Finding<Vec<Disk>> {
    look.if_running(|| {
        let entries = match look.root().list("/sys/block") {
            Ok(entries) => entries,
            Err(e) => return Finding::unseen(e.to_string()),
        };
        // Several file systems (btrfs, ZFS, overlayfs) have device numbers of their own, with major 0.
        let device = look.text("/proc/self/mountinfo").ok().and_then(|t| root_device(&t).map(str::to_owned));
        let device = device.filter(|d| !d.starts_with("0:"));
        let holds = device.map(|device| disks_below(look, &device, 4)).filter(|d| !d.is_empty());
        let disk = |name: &str| {
            let dir = format!("/sys/block/{name}");
            let sectors: u64 = look.number(&format!("{dir}/size"))?;
            // An empty card reader.
            if sectors == 0 {
                return None;
            }
            let rotates = look.line(&format!("{dir}/queue/rotational")).as_deref() == Some("1");
            let kind = if name.starts_with("nvme") {
                DiskKind::Nvme
            } else if name.starts_with("vd") || name.starts_with("xvd") {
                DiskKind::Virtual
            } else if rotates {
                DiskKind::Rotating
            } else {
                DiskKind::Ssd
            };
            Some(Disk {
                kind,
                model: look.line(&format!("{dir}/device/model")),
                size: sectors.saturating_mul(512),
                removable: look.line(&format!("{dir}/removable")).as_deref() == Some("1"),
                scheduler: look.text(&format!("{dir}/queue/scheduler")).ok().and_then(|t| scheduler(&t)),
                holds_root: holds.as_ref().map(|disks| disks.iter().any(|d| d == name)),
                name: name.to_owned(),
            })
        };
        Finding::Seen(entries.iter().filter(|e| is_disk(&e.name)).filter_map(|e| disk(&e.name)).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_mount_on_the_root_counts() {
        let text = "1 1 0:2 / / rw - rootfs rootfs rw\n29 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw\n30 29 0:25 / /proc rw - proc proc rw\n";
        assert_eq!(root_device(text), Some("259:2"));
        assert_eq!(root_device("x"), None);
    }

    #[test]
    fn mappings_and_memory_are_no_disks() {
        for name in ["loop0", "zram0", "dm-1", "md127", "sr0", "zd16", "mmcblk0boot0"] {
            assert!(!is_disk(name), "{name}");
        }
        for name in ["sda", "nvme0n1", "vda", "mmcblk0"] {
            assert!(is_disk(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_these_parsers_panic(text in "(?s).*") {
            root_device(&text);
            scheduler(&text);
        }
    }
}
