// SPDX-License-Identifier: GPL-3.0-or-later
//! Loop devices and device-mapper mappings, as `/sys/block` shows them (Documentation/ABI: `loop/backing_file`,
//! `dm/name`, `slaves/`).

use crate::host::Root;
use std::path::{Path, PathBuf};

/// A block device that is made of something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its name in `/sys/block` ("loop3", "dm-0").
    pub name: String,
    /// Major and minor number, "7:3".
    pub number: String,
    /// What it is.
    pub kind: DeviceKind,
}

/// What a block device is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceKind {
    /// A file.
    Loop {
        /// Which.
        file: PathBuf,
    },
    /// Other devices.
    Mapper {
        /// Its name for dmsetup(8).
        mapping: String,
        /// Names of the devices it is made of.
        on: Vec<String>,
    },
}

/// All of them on this machine.
pub fn read(root: &Root) -> Vec<Device> {
    let mut devices = Vec::new();
    for entry in root.list("/sys/block").unwrap_or_default() {
        let at = format!("/sys/block/{}", entry.name);
        let text = |name: &str| root.read_text(&format!("{at}/{name}")).ok().map(|t| t.trim_end().to_owned());
        let kind = if entry.name.starts_with("loop") {
            text("loop/backing_file").map(|file| DeviceKind::Loop {
                // The kernel says so when the file has no name any more.
                file: file.strip_suffix(" (deleted)").unwrap_or(&file).into(),
            })
        } else if entry.name.starts_with("dm-") {
            text("dm/name").map(|mapping| DeviceKind::Mapper {
                mapping,
                on: root
                    .list(&format!("{at}/slaves"))
                    .unwrap_or_default()
                    .into_iter()
                    .map(|e| e.name)
                    .collect(),
            })
        } else {
            None
        };
        if let (Some(kind), Some(number)) = (kind, text("dev")) {
            devices.push(Device { name: entry.name, number, kind });
        }
    }
    devices
}

/// Those that are made of files in `folder`, in the order in which they can be taken down. Partitions of a
/// loop device have its number in their parent's folder only, and go with it.
pub fn of_folder(devices: &[Device], folder: &Path) -> Vec<Device> {
    let mut ours: Vec<Device> = devices
        .iter()
        .filter(|d| matches!(&d.kind, DeviceKind::Loop { file } if file.starts_with(folder)))
        .cloned()
        .collect();
    loop {
        let more: Vec<Device> = devices
            .iter()
            .filter(|d| !ours.contains(d))
            .filter(|d| {
                matches!(&d.kind, DeviceKind::Mapper { on, .. }
                    if on.iter().any(|name| ours.iter().any(|o| is_part_of(name, &o.name))))
            })
            .cloned()
            .collect();
        if more.is_empty() {
            break;
        }
        ours.extend(more);
    }
    ours.reverse();
    ours
}

/// Whether `name` is `device` or one of its partitions ("loop3p1").
pub fn is_part_of(name: &str, device: &str) -> bool {
    name.strip_prefix(device).is_some_and(|rest| {
        rest.is_empty()
            || rest.strip_prefix('p').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root_with(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        for (path, text) in files {
            root.create_dirs(path.rsplit_once('/').unwrap().0, 0o755).unwrap();
            root.write(path, text.as_bytes(), 0o644, None).unwrap();
        }
        (dir, root)
    }

    #[test]
    fn devices_on_files_of_a_folder_are_found_with_what_stands_on_them() {
        let (_dir, root) = root_with(&[
            ("/sys/block/loop0/dev", "7:0\n"),
            ("/sys/block/loop1/dev", "7:1\n"),
            ("/sys/block/loop1/loop/backing_file", "/c/work/x y/root.img (deleted)\n"),
            ("/sys/block/loop11/dev", "7:11\n"),
            ("/sys/block/loop11/loop/backing_file", "/c/work/x y2/root.img\n"),
            ("/sys/block/dm-0/dev", "254:0\n"),
            ("/sys/block/dm-0/dm/name", "crypt\n"),
            ("/sys/block/dm-0/slaves/loop1p2/x", ""),
            ("/sys/block/dm-1/dev", "254:1\n"),
            ("/sys/block/dm-1/dm/name", "vg-root\n"),
            ("/sys/block/dm-1/slaves/dm-0/x", ""),
            ("/sys/block/dm-2/dev", "254:2\n"),
            ("/sys/block/dm-2/dm/name", "home\n"),
            ("/sys/block/dm-2/slaves/loop11/x", ""),
            ("/sys/block/sda/dev", "8:0\n"),
        ]);
        let all = read(&root);
        assert_eq!(all.len(), 5, "{all:?}");
        let ours: Vec<String> =
            of_folder(&all, Path::new("/c/work/x y")).into_iter().map(|d| d.name).collect();
        assert_eq!(ours, ["dm-1", "dm-0", "loop1"]);
    }

    #[test]
    fn a_partition_belongs_to_its_device_and_to_no_other() {
        assert!(is_part_of("loop1p2", "loop1") && is_part_of("loop1", "loop1"));
        assert!(!is_part_of("loop11", "loop1") && !is_part_of("loop1p", "loop1"));
    }
}
