// SPDX-License-Identifier: GPL-3.0-or-later
//! The kernel as an ELF file: whether it can be started directly, and how to write it small.
//!
//! Source of facts: the ELF note `XEN_ELFNOTE_PHYS32_ENTRY` of Xen's `include/public/elfnote.h`, which QEMU
//! looks for (x86/HVM direct boot ABI, "PVH").

use object::elf::{self, FileHeader64, ProgramHeader64};
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use object::{Endianness, U16, U32, U64};

type Header = FileHeader64<Endianness>;
type Segment = ProgramHeader64<Endianness>;

const PHYS32_ENTRY: u32 = 18;

/// Why an ELF file cannot be started directly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// It is damaged or something else.
    #[error("it is no x86-64 kernel: {0}")]
    Foreign(String),
    /// It lacks the note.
    #[error("it has no PVH entry (CONFIG_PVH is not set)")]
    NoPvh,
}

/// Writes the ELF file anew with only what a boot needs: its segments, without zeros at their ends, and the
/// notes. QEMU copies the file into the guest's memory at every boot, and a third of a kernel's file is zeros.
///
/// # Errors
/// When it is no x86-64 ELF file, is truncated, or has no PVH entry.
pub fn slim(data: &[u8]) -> Result<Vec<u8>, ElfError> {
    let foreign = |e: object::Error| ElfError::Foreign(e.to_string());
    let header = Header::parse(data).map_err(foreign)?;
    let endian = header.endian().map_err(foreign)?;
    if header.e_machine(endian) != elf::EM_X86_64 {
        return Err(ElfError::Foreign("another architecture".to_owned()));
    }
    let segments = header.program_headers(endian, data).map_err(foreign)?;
    let mut pvh = false;
    for segment in segments {
        let Some(mut notes) = segment.notes(endian, data).map_err(foreign)? else { continue };
        while let Some(note) = notes.next().map_err(foreign)? {
            pvh |= note.name() == b"Xen" && note.n_type(endian) == PHYS32_ENTRY;
        }
    }
    if !pvh {
        return Err(ElfError::NoPvh);
    }
    let kept: Vec<&Segment> =
        segments.iter().filter(|s| matches!(s.p_type(endian), elf::PT_LOAD | elf::PT_NOTE)).collect();
    let table = size_of::<Header>();
    let mut at = (table + kept.len() * size_of::<Segment>()).next_multiple_of(4096);
    let mut new_header = *header;
    let zero16 = U16::new(endian, 0);
    new_header.e_phoff = U64::new(endian, table as u64);
    new_header.e_phnum = U16::new(endian, u16::try_from(kept.len()).unwrap_or(u16::MAX));
    new_header.e_shoff = U64::new(endian, 0);
    (new_header.e_shnum, new_header.e_shstrndx) = (zero16, zero16);
    let mut head = object::pod::bytes_of(&new_header).to_vec();
    let mut body: Vec<(usize, &[u8])> = Vec::new();
    for segment in kept {
        let bytes = segment
            .data(endian, data)
            .map_err(|()| ElfError::Foreign("a segment ends behind the file's end".to_owned()))?;
        let bytes = if segment.p_type(endian) == elf::PT_LOAD { without_zeros(bytes) } else { bytes };
        let mut new = *segment;
        new.p_offset = U64::new(endian, at as u64);
        new.p_filesz = U64::new(endian, bytes.len() as u64);
        new.p_memsz = U64::new(endian, segment.p_memsz(endian).max(segment.p_filesz(endian)));
        // Its addresses are no longer congruent to its offset; nothing maps this file.
        new.p_align = U64::new(endian, segment.p_align(endian).min(4096));
        new.p_flags = U32::new(endian, segment.p_flags(endian));
        head.extend_from_slice(object::pod::bytes_of(&new));
        body.push((at, bytes));
        at = (at + bytes.len()).next_multiple_of(4096);
    }
    let end = body.last().map_or(head.len(), |(at, bytes)| at + bytes.len());
    let mut out = Vec::with_capacity(end);
    out.extend_from_slice(&head);
    for (at, bytes) in body {
        out.resize(at, 0);
        out.extend_from_slice(bytes);
    }
    Ok(out)
}

fn without_zeros(bytes: &[u8]) -> &[u8] {
    const PAGE: usize = 4096;
    let pages = bytes.chunks(PAGE).rposition(|page| page.iter().any(|b| *b != 0)).map_or(0, |last| last + 1);
    &bytes[..(pages * PAGE).min(bytes.len())]
}

/// The release that a kernel carries in its banner ("Linux version 6.1.0-56-amd64 (…").
pub fn release(data: &[u8]) -> Option<String> {
    let start = find(data, b"Linux version ")? + b"Linux version ".len();
    let word = data.get(start..)?.split(|b| b.is_ascii_whitespace() || *b == 0).next()?;
    let word = std::str::from_utf8(word.get(..word.len().min(128))?).ok()?;
    // The format string of the same banner, in some kernels the first to be found, has a `%s` here.
    (!word.is_empty() && !word.contains('%')).then(|| word.to_owned())
}

/// The configuration that a kernel with `CONFIG_IKCONFIG` carries.
pub fn ikconfig(data: &[u8]) -> Option<String> {
    use std::io::Read;
    let start = find(data, b"IKCFG_ST\x1f\x8b")? + b"IKCFG_ST".len();
    let mut text = String::new();
    let packed = flate2::read::GzDecoder::new(data.get(start..)?);
    packed.take(16 << 20).read_to_string(&mut text).ok()?;
    Some(text)
}

fn find(data: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(data, needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A kernel as small as can be: one segment that ends in zeros, and one note.
    fn elf(note: u32) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        file[16..24].copy_from_slice(&[2, 0, 62, 0, 1, 0, 0, 0]);
        file[32] = 64;
        file[52..58].copy_from_slice(&[64, 0, 56, 0, 2, 0]);
        let segment = |kind: u32, offset: u64, file: u64, memory: u64| {
            let words = [offset, 0x100_0000, 0x100_0000, file, memory, 4];
            let mut bytes = [kind.to_le_bytes(), 5u32.to_le_bytes()].concat();
            words.iter().for_each(|w| bytes.extend_from_slice(&w.to_le_bytes()));
            bytes
        };
        file.extend(segment(1, 4096, 40_960, 50_000));
        file.extend(segment(4, 4096, 20, 20));
        file.resize(4096, 0);
        for word in [4u32, 4, note] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        file.extend_from_slice(b"Xen\0\x10\0\0\0Linux version 6.1.0-x (a@b)");
        file.resize(4096 + 40_960, 0);
        file
    }

    #[test]
    fn zeros_at_the_end_of_a_segment_are_left_out_and_still_in_memory() {
        let small = slim(&elf(18)).unwrap();
        assert!(small.len() < 3 * 4096 + 100, "{}", small.len());
        let header = Header::parse(small.as_slice()).unwrap();
        let segments = header.program_headers(Endianness::Little, small.as_slice()).unwrap();
        assert_eq!(segments[0].p_memsz(Endianness::Little), 50_000);
        assert_eq!(segments[0].p_filesz(Endianness::Little), 4096);
        assert_eq!(slim(&small).unwrap(), small);
        assert_eq!(release(&small).as_deref(), Some("6.1.0-x"));
    }

    #[test]
    fn a_kernel_without_the_note_is_told_apart_from_what_is_no_kernel() {
        assert_eq!(slim(&elf(17)), Err(ElfError::NoPvh));
        assert!(matches!(slim(&elf(18)[..8000]), Err(ElfError::Foreign(_))));
        assert!(matches!(slim(b"\x7fELF"), Err(ElfError::Foreign(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(
            changes in proptest::collection::vec((0usize..200, any::<u8>()), 0..20),
            length in 0usize..6000,
        ) {
            let mut file = elf(18);
            changes.iter().for_each(|(at, byte)| file[*at] = *byte);
            let _ = slim(&file);
            file.truncate(length);
            let _ = slim(&file);
            release(&file);
            ikconfig(&file);
        }
    }
}
