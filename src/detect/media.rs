// SPDX-License-Identifier: GPL-3.0-or-later
//! Disks as something to write an image to: what they are, how they are connected, and who uses them. Facts:
//! `Documentation/ABI/testing/sysfs-block` and `Documentation/admin-guide/devices.txt` of the kernel; proc(5).
//!
//! A whole disk only; what is made of other disks (device mapper, md, loop) is none.

use super::storage::is_disk;
use crate::host::{HostError, Root};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How a medium is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Connection {
    /// USB.
    Usb,
    /// A slot for SD cards (MMC).
    Card,
    /// Anything else: built in, as far as one can tell.
    Other,
}

/// A whole disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Medium {
    /// Its device file ("/dev/sdb").
    pub device: String,
    /// Major and minor number ("8:16").
    pub number: String,
    /// The kernel's number for this medium in this device, counted up with each change (`diskseq`, since 5.15).
    pub instance: Option<u64>,
    /// Vendor and model, as it tells them.
    pub model: Option<String>,
    /// Its serial number, as it tells it.
    pub serial: Option<String>,
    /// Size in bytes; 0: an empty slot.
    pub size: u64,
    /// How it is connected.
    pub connection: Connection,
    /// Whether the kernel calls it a medium that can be taken out.
    pub removable: bool,
    /// Whether it cannot be written to (a switch on a card).
    pub read_only: bool,
    /// Its partitions, with their sizes in bytes.
    pub partitions: Vec<(String, u64)>,
    /// Who uses it or a part of it, one sentence each; empty: nobody that can be seen.
    pub used: Vec<String>,
}

impl Medium {
    /// Whether it is something that one carries from machine to machine.
    pub fn is_portable(&self) -> bool {
        self.removable || self.connection != Connection::Other
    }
}

/// What `/proc` says of who uses block devices.
#[derive(Debug, Default)]
struct Users {
    /// (device number or source, mount point)
    mounts: BTreeSet<(String, String)>,
    swaps: BTreeSet<String>,
}

/// All whole disks, in the order of their names, empty slots too. What the caller may not see (mounts in namespaces
/// of others) is not told.
///
/// # Errors
/// When `/sys/block` cannot be listed.
pub fn read(root: &Root) -> Result<Vec<Medium>, HostError> {
    let users = users(root);
    let names = root.list("/sys/block")?.into_iter().map(|e| e.name).filter(|n| is_disk(n));
    let mut media: Vec<Medium> = names.filter_map(|name| medium(root, &name, &users)).collect();
    media.sort_by(|a, b| a.device.cmp(&b.device));
    Ok(media)
}

fn line(root: &Root, path: &str) -> Option<String> {
    let bytes = root.read_at_most(path, 4096).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    // Devices fill their names up with spaces, and some with worse.
    let clean: String = text.trim().chars().filter(|c| !c.is_control()).collect();
    let words: Vec<&str> = clean.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

fn medium(root: &Root, name: &str, users: &Users) -> Option<Medium> {
    let dir = format!("/sys/block/{name}");
    // Sizes are in sectors of 512 bytes, whatever the disk's own are.
    let sectors = |path: &str| line(root, path)?.parse::<u64>().ok();
    let number = line(root, &format!("{dir}/dev"))?;
    let size = sectors(&format!("{dir}/size"))?.saturating_mul(512);
    let mut parts = vec![(name.to_owned(), number.clone(), dir.clone())];
    let mut partitions = Vec::new();
    for entry in root.list(&dir).unwrap_or_default() {
        let below = format!("{dir}/{}", entry.name);
        if !root.exists(&format!("{below}/partition")) {
            continue;
        }
        let bytes = sectors(&format!("{below}/size")).unwrap_or(0).saturating_mul(512);
        partitions.push((entry.name.clone(), bytes));
        parts.push((entry.name, line(root, &format!("{below}/dev")).unwrap_or_default(), below));
    }
    partitions.sort();
    let used = parts.iter().flat_map(|(name, number, dir)| uses(root, name, number, dir, users)).collect();
    let real = root.resolve(&dir).unwrap_or_default();
    let kind = line(root, &format!("{dir}/device/type"));
    let connection = if real.split('/').any(|part| part.starts_with("usb")) {
        Connection::Usb
    } else if name.starts_with("mmcblk") && kind.as_deref() == Some("SD") {
        Connection::Card
    } else {
        Connection::Other
    };
    Some(Medium {
        device: format!("/dev/{name}"),
        number,
        instance: sectors(&format!("{dir}/diskseq")),
        model: model(root, &dir),
        serial: serial(root, &dir, &real),
        size,
        connection,
        removable: line(root, &format!("{dir}/removable")).as_deref() == Some("1"),
        read_only: line(root, &format!("{dir}/ro")).as_deref() == Some("1"),
        partitions,
        used,
    })
}

fn model(root: &Root, dir: &str) -> Option<String> {
    let vendor = line(root, &format!("{dir}/device/vendor")).filter(|v| !v.starts_with("0x"));
    let model = ["model", "name"].iter().find_map(|file| line(root, &format!("{dir}/device/{file}")));
    match (vendor, model) {
        // libata's placeholder for disks that have no vendor field.
        (Some(vendor), Some(model)) if vendor != "ATA" => Some(format!("{vendor} {model}")),
        (vendor, model) => model.or(vendor),
    }
}

/// The serial number: of the disk (virtio, NVMe, MMC), of SCSI's page 0x80, or of the USB device that it is in.
fn serial(root: &Root, dir: &str, real: &str) -> Option<String> {
    let own = ["serial", "device/serial"].iter().find_map(|file| line(root, &format!("{dir}/{file}")));
    let of_scsi = || {
        let page = root.read_at_most(&format!("{dir}/device/vpd_pg80"), 4096).ok()?;
        // SPC-4, 7.8.15: four bytes of header, the last two of them the length.
        let length = usize::from(u16::from_be_bytes([*page.get(2)?, *page.get(3)?]));
        let text: String =
            page.get(4..4 + length)?.iter().map(|b| char::from(*b)).filter(char::is_ascii_graphic).collect();
        (!text.is_empty()).then_some(text)
    };
    let of_usb = || {
        let mut above = real;
        while let Some((folder, _)) = above.rsplit_once('/') {
            above = folder;
            // The device, not the host controller, which calls its own address a serial number.
            if root.exists(&format!("{above}/idVendor")) {
                return line(root, &format!("{above}/serial"));
            }
        }
        None
    };
    own.or_else(of_usb).or_else(of_scsi)
}

fn uses(root: &Root, name: &str, number: &str, dir: &str, users: &Users) -> Vec<String> {
    let device = format!("/dev/{name}");
    let mounted = users.mounts.iter().filter(|(what, _)| *what == number || *what == device);
    let mut all: Vec<String> = mounted.map(|(_, at)| format!("{device} is mounted on {at}")).collect();
    if users.swaps.contains(&device) {
        all.push(format!("{device} is used as swap"));
    }
    for holder in root.list(&format!("{dir}/holders")).unwrap_or_default() {
        let shown = line(root, &format!("/sys/block/{}/dm/name", holder.name)).unwrap_or(holder.name);
        all.push(format!("{device} is part of {shown} (LVM, encryption or RAID)"));
    }
    all.sort();
    all.dedup();
    all
}

/// Reads the mounts of every namespace that can be seen, and the swaps.
fn users(root: &Root) -> Users {
    let mut users = Users::default();
    let mut seen = BTreeSet::new();
    let processes = root.list("/proc").unwrap_or_default();
    let numbers = processes.iter().map(|e| e.name.as_str()).filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
    for process in std::iter::once("self").chain(numbers) {
        // Without the right to see which namespace it is, its mounts are read all the same.
        let namespace = root.read_link(&format!("/proc/{process}/ns/mnt")).ok();
        if namespace.is_some_and(|n| !seen.insert(n)) {
            continue;
        }
        if let Ok(bytes) = root.read_at_most(&format!("/proc/{process}/mountinfo"), 4 << 20) {
            users.mounts.extend(mounts(&String::from_utf8_lossy(&bytes)));
        }
    }
    if let Ok(text) = root.read_text("/proc/swaps") {
        users.swaps = swaps(&text);
    }
    users
}

/// (device number, point) and (source, point) of each mount: btrfs and the like have numbers of their own.
fn mounts(text: &str) -> BTreeSet<(String, String)> {
    let mut all = BTreeSet::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let end = words.iter().position(|w| *w == "-");
        let (Some(number), Some(point)) = (words.get(2), words.get(4)) else { continue };
        let point = point.replace("\\040", " ");
        all.insert(((*number).to_owned(), point.clone()));
        if let Some(source) = end.and_then(|e| words.get(e + 2)).filter(|s| s.starts_with("/dev/")) {
            all.insert(((*source).to_owned(), point));
        }
    }
    all
}

/// The devices of `/proc/swaps`.
fn swaps(text: &str) -> BTreeSet<String> {
    text.lines().skip(1).filter_map(|l| Some(l.split_whitespace().next()?.to_owned())).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A tree with a USB stick `sdb` of two partitions, and a built-in disk `sda` with the root on it.
    pub(crate) fn machine(dir: &std::path::Path) {
        let put = |path: &str, text: &str| {
            let path = dir.join(path.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let usb = "/sys/devices/pci0000:00/0000:00:14.0/usb1/1-2";
        let stick = format!("{usb}/1-2:1.0/host2/target2:0:0/2:0:0:0/block/sdb");
        put(&format!("{usb}/serial"), "AA010203\n");
        put(&format!("{usb}/idVendor"), "0781\n");
        for (file, text) in [
            ("dev", "8:16\n"),
            ("size", "8192\n"),
            ("diskseq", "7\n"),
            ("removable", "1\n"),
            ("ro", "0\n"),
            ("sdb1/partition", "1\n"),
            ("sdb1/dev", "8:17\n"),
            ("sdb1/size", "4096\n"),
            ("device/vendor", "SanDisk \n"),
            ("device/model", "Cruzer  Blade   \n"),
        ] {
            put(&format!("{stick}/{file}"), text);
        }
        std::fs::create_dir_all(dir.join(format!("{}/sdb1/holders", stick.trim_start_matches('/')))).unwrap();
        let disk = "/sys/devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda";
        for (file, text) in [
            ("dev", "8:0\n"),
            ("size", "1000000\n"),
            ("removable", "0\n"),
            ("ro", "0\n"),
            ("sda1/partition", "1\n"),
            ("sda1/dev", "8:1\n"),
            ("sda1/size", "900000\n"),
            ("device/vendor", "ATA     \n"),
            ("device/model", "Disk One\n"),
        ] {
            put(&format!("{disk}/{file}"), text);
        }
        std::fs::create_dir_all(dir.join("sys/block")).unwrap();
        std::os::unix::fs::symlink(format!("..{}", &stick[4..]), dir.join("sys/block/sdb")).unwrap();
        std::os::unix::fs::symlink(format!("..{}", &disk[4..]), dir.join("sys/block/sda")).unwrap();
        put("/proc/self/mountinfo", "29 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n");
        put("/proc/swaps", "Filename Type Size Used Priority\n");
    }

    fn read_at(dir: &std::path::Path) -> Vec<Medium> {
        read(&Root::open(dir).unwrap()).unwrap()
    }

    #[test]
    fn a_stick_is_told_by_model_serial_and_size_and_nobody_uses_it() {
        let dir = tempfile::tempdir().unwrap();
        machine(dir.path());
        let media = read_at(dir.path());
        let stick = media.iter().find(|m| m.device == "/dev/sdb").unwrap();
        assert_eq!(stick.model.as_deref(), Some("SanDisk Cruzer Blade"));
        assert_eq!(stick.serial.as_deref(), Some("AA010203"));
        assert_eq!((stick.size, stick.connection, stick.removable), (4 << 20, Connection::Usb, true));
        assert_eq!(stick.partitions, [("sdb1".to_owned(), 2 << 20)]);
        assert!(stick.is_portable() && stick.used.is_empty(), "{stick:?}");
        let disk = media.iter().find(|m| m.device == "/dev/sda").unwrap();
        assert_eq!((disk.model.as_deref(), disk.is_portable()), (Some("Disk One"), false));
        assert_eq!(disk.used, ["/dev/sda1 is mounted on /"]);
    }

    #[test]
    fn a_mount_in_another_namespace_swap_and_a_mapping_are_all_uses() {
        let dir = tempfile::tempdir().unwrap();
        machine(dir.path());
        let other = dir.path().join("proc/4242");
        std::fs::create_dir_all(&other).unwrap();
        std::fs::write(
            other.join("mountinfo"),
            "40 1 0:55 / /mnt/a\\040b rw - btrfs /dev/sdb1 rw\n41 1 8:16 / /media rw - vfat /dev/sdb rw\n",
        )
        .unwrap();
        std::fs::write(
            dir.path().join("proc/swaps"),
            "Filename\tType\n/dev/sdb1                               partition\t2\n",
        )
        .unwrap();
        let holder = dir.path().join("sys/block/sdb/sdb1/holders/dm-0");
        std::fs::create_dir_all(holder).unwrap();
        let name = dir.path().join("sys/block/dm-0/dm");
        std::fs::create_dir_all(&name).unwrap();
        std::fs::write(name.join("name"), "vault\n").unwrap();
        let media = read_at(dir.path());
        let stick = media.iter().find(|m| m.device == "/dev/sdb").unwrap();
        assert_eq!(
            stick.used,
            [
                "/dev/sdb is mounted on /media",
                "/dev/sdb1 is mounted on /mnt/a b",
                "/dev/sdb1 is part of vault (LVM, encryption or RAID)",
                "/dev/sdb1 is used as swap",
            ]
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parsers_fall(text in "(?s).{0,300}") {
            mounts(&text);
            swaps(&text);
        }
    }
}
