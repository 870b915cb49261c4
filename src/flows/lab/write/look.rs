// SPDX-License-Identifier: GPL-3.0-or-later
//! What an image is, by its first bytes, and its SHA-256. Facts: ECMA-119 (ISO 9660), UEFI 2.10 chapter 5 (GPT), and the
//! magic numbers of compressed files and disk images as file(1) knows them.

use crate::engine::plan::Refusal;
use crate::flows::PlanError;
use crate::host::Cancel;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// What an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// An ISO 9660 file system with a partition table: boots from discs and sticks.
    Hybrid,
    /// An ISO 9660 file system alone.
    Iso,
    /// A disk image with a partition table.
    Partitioned,
    /// Something else.
    Unknown,
}

/// An image that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// What it is.
    pub content: Content,
}

/// How much is read at once.
const CHUNK: usize = 1 << 20;
/// The first volume descriptor of ISO 9660 is in sector 16.
const HEAD: usize = 0x8800;

/// Reads a whole image. `progress` hears how many bytes were read.
///
/// # Errors
/// A refusal of what is no image as it is (compressed, another format), or when it cannot be read.
pub fn look(file: &File, cancel: &Cancel, progress: &mut dyn FnMut(u64, u64)) -> Result<Looked, PlanError> {
    let failed = |e: io::Error| PlanError::Failed(format!("the image could not be read: {e}"));
    let size = file.metadata().map_err(failed)?.len();
    let mut buffer = vec![0; CHUNK];
    let mut hash = Sha256::new();
    let mut at = 0;
    let mut content = Content::Unknown;
    while at < size {
        if cancel.is_cancelled() {
            return Err(PlanError::Cancelled);
        }
        let want = usize::try_from(size - at).unwrap_or(CHUNK).min(CHUNK);
        file.read_exact_at(&mut buffer[..want], at).map_err(failed)?;
        if at == 0 {
            if let Some(refusal) = foreign(&buffer[..want]) {
                return Err(refusal.into());
            }
            content = sniff(&buffer[..want.min(HEAD)]);
        }
        hash.update(&buffer[..want]);
        at += want as u64;
        progress(at, size);
    }
    Ok(Looked { size, sha256: hex::encode(hash.finalize()), content })
}

fn has(head: &[u8], offset: usize, magic: &[u8]) -> bool {
    head.get(offset..offset + magic.len()) == Some(magic)
}

/// What the first bytes say.
fn sniff(head: &[u8]) -> Content {
    let iso = has(head, 0x8001, b"CD001");
    // A boot sector with at least one partition, or a GPT.
    let entries = head.get(0x1be..0x1fe).is_some_and(|t| t.chunks(16).any(|e| e[4] != 0));
    let partitioned = (has(head, 0x1fe, &[0x55, 0xaa]) && entries) || has(head, 0x200, b"EFI PART");
    match (iso, partitioned) {
        (true, true) => Content::Hybrid,
        (true, false) => Content::Iso,
        (false, true) => Content::Partitioned,
        (false, false) => Content::Unknown,
    }
}

/// What must be turned into an image first.
fn foreign(head: &[u8]) -> Option<Refusal> {
    let packed: [(&[u8], &str, &str); 5] = [
        (&[0x1f, 0x8b], "gzip", "gunzip --keep"),
        (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz", "unxz --keep"),
        (&[0x28, 0xb5, 0x2f, 0xfd], "zstd", "unzstd"),
        (b"BZh", "bzip2", "bunzip2 --keep"),
        (b"PK\x03\x04", "zip", "unzip"),
    ];
    for (magic, format, command) in packed {
        if has(head, 0, magic) {
            let why = format!("The file is compressed ({format}); on a stick it would boot nothing.");
            return Some(Refusal::new("compressed", why, format!("Unpack it first with `{command} FILE`.")));
        }
    }
    let disks: [(&[u8], &str); 4] =
        [(b"QFI\xfb", "qcow2"), (b"KDMV", "VMDK"), (b"vhdxfile", "VHDX"), (b"conectix", "VHD")];
    let (_, format) = disks.iter().find(|(magic, _)| has(head, 0, magic))?;
    let why = format!("The file is a disk of virtual machines ({format}); a stick needs it byte by byte.");
    Some(Refusal::new("format", why, "Make one with `qemu-img convert -O raw FILE IMAGE`."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn image(parts: &[(usize, &[u8])], size: usize) -> File {
        let mut bytes = vec![0; size];
        for (at, part) in parts {
            bytes[*at..*at + part.len()].copy_from_slice(part);
        }
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        file
    }

    fn looked(file: &File) -> Result<Looked, PlanError> {
        look(file, &Cancel::new(), &mut |_, _| {})
    }

    #[test]
    fn an_image_is_known_by_its_first_bytes() {
        let iso: (usize, &[u8]) = (0x8001, b"CD001");
        let mbr: (usize, &[u8]) = (0x1fe, &[0x55, 0xaa]);
        let entry: (usize, &[u8]) = (0x1c2, &[0x17]);
        let gpt: (usize, &[u8]) = (0x200, b"EFI PART");
        type Parts<'a> = &'a [(usize, &'a [u8])];
        let rows: [(Parts<'_>, Content); 6] = [
            (&[iso, mbr, entry], Content::Hybrid),
            (&[iso], Content::Iso),
            (&[mbr, entry], Content::Partitioned),
            (&[gpt], Content::Partitioned),
            // The boot sector of a file system without partitions.
            (&[mbr], Content::Unknown),
            (&[], Content::Unknown),
        ];
        for (parts, content) in rows {
            assert_eq!(looked(&image(parts, 0x9000)).unwrap().content, content, "{parts:?}");
        }
        assert_eq!(looked(&image(&[], 3)).unwrap().content, Content::Unknown);
    }

    #[test]
    fn the_hash_is_over_all_of_it() {
        let size = CHUNK * 2 + 7;
        let file = image(&[(CHUNK, b"x"), (size - 1, b"y")], size);
        let seen = looked(&file).unwrap();
        let mut bytes = vec![0; size];
        bytes[CHUNK] = b'x';
        bytes[size - 1] = b'y';
        assert_eq!((seen.size, seen.sha256), (size as u64, hex::encode(Sha256::digest(&bytes))));
    }

    #[test]
    fn what_is_no_image_as_it_is_is_refused_with_the_command_that_helps() {
        for (magic, says) in
            [(&b"\x1f\x8b"[..], "gunzip"), (b"QFI\xfb", "qemu-img convert"), (b"\xfd7zXZ\0", "unxz")]
        {
            let error = looked(&image(&[(0, magic)], 1000)).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_wish_to_stop_is_heard() {
        let cancel = Cancel::new();
        cancel.cancel();
        assert!(matches!(look(&image(&[], 9), &cancel, &mut |_, _| {}), Err(PlanError::Cancelled)));
    }
}
