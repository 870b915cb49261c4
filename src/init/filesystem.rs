// SPDX-License-Identifier: GPL-3.0-or-later
//! Which file system a disk holds, told by what it begins with; on the host to know what modules a guest needs,
//! in the guest to mount it.
//!
//! Source of facts: `libblkid`'s documented magic numbers, `include/uapi/linux/magic.h` of the kernel.

/// Bytes of a disk's beginning that are looked at.
pub const HEAD: usize = 0x10048;

/// The file system's name, as mount(2) takes it.
pub fn kind(head: &[u8]) -> Option<&'static str> {
    const MAGIC: [(usize, &[u8], &str); 8] = [
        (0x438, b"\x53\xef", "ext4"),
        (0, b"hsqs", "squashfs"),
        (1024, b"\xe2\xe1\xf5\xe0", "erofs"),
        (0, b"XFSB", "xfs"),
        (0x10040, b"_BHRfS_M", "btrfs"),
        (0x8001, b"CD001", "iso9660"),
        (0x52, b"FAT32   ", "vfat"),
        (0x36, b"FAT16   ", "vfat"),
    ];
    MAGIC.iter().find(|(at, magic, _)| head.get(*at..at + magic.len()) == Some(magic)).map(|(.., name)| *name)
}

/// Whether it can only be read.
pub fn is_read_only(kind: &str) -> bool {
    matches!(kind, "squashfs" | "erofs" | "iso9660")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_file_system_is_told_by_its_magic() {
        let mut head = vec![0; HEAD];
        assert_eq!(kind(&head), None);
        head[0x438..0x43a].copy_from_slice(b"\x53\xef");
        assert_eq!(kind(&head), Some("ext4"));
        assert_eq!(kind(b"hsqs"), Some("squashfs"));
        head[0x438] = 0;
        head[0x10040..].copy_from_slice(b"_BHRfS_M");
        assert_eq!(kind(&head), Some("btrfs"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(head in proptest::collection::vec(any::<u8>(), 0..2000)) {
            kind(&head);
        }
    }
}
