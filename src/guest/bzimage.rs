// SPDX-License-Identifier: GPL-3.0-or-later
//! The x86 boot image: its header, and the ELF file that is packed in it.
//!
//! Source of facts: the kernel's `Documentation/arch/x86/boot.rst`.

use std::io::Read;

/// No kernel is larger than this, unpacked.
const LIMIT: u64 = 1 << 30;

/// Bytes from the image's start that hold its header and its release.
pub const HEAD: usize = 64 << 10;

/// What the header of an image says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The release, when the header tells it ("6.1.0-56-amd64").
    pub release: Option<String>,
    /// Bytes that the whole image has at least.
    pub length: u64,
    /// Where the packed kernel begins and ends; none in images older than boot protocol 2.08 (2007).
    pub payload: Option<std::ops::Range<usize>>,
}

/// Why an image is none that can be booted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// It ends too early.
    #[error("it is truncated: {is} bytes of at least {wanted}; copy or install it again")]
    Truncated {
        /// Bytes that are there.
        is: u64,
        /// Bytes that its header announces.
        wanted: u64,
    },
    /// It is something else.
    #[error("it is no x86 kernel image (no boot header, and no ELF file); name a bzImage or vmlinux")]
    Foreign,
    /// What is packed in it cannot be unpacked.
    #[error("the kernel in it is packed with {0}, which cannot be unpacked here")]
    Packing(String),
    /// The packed part is damaged.
    #[error("the kernel in it cannot be unpacked ({0}); copy or install it again")]
    Damaged(String),
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Reads the header from an image's first [`HEAD`] bytes (or all of it, when it is shorter).
///
/// # Errors
/// When it is no such image, or ends within its header.
pub fn header(head: &[u8]) -> Result<Header, ImageError> {
    if u16_at(head, 0x1fe) != Some(0xaa55) || head.get(0x202..0x206) != Some(b"HdrS") {
        return Err(ImageError::Foreign);
    }
    let short = || ImageError::Truncated { is: head.len() as u64, wanted: 0x260 };
    let version = u16_at(head, 0x206).ok_or_else(short)?;
    let sectors = match head.get(0x1f1).copied().ok_or_else(short)? {
        0 => 4,
        n => usize::from(n),
    };
    let code = (sectors + 1) * 512;
    let paragraphs = u32_at(head, 0x1f4).ok_or_else(short)?;
    let release = usize::from(u16_at(head, 0x20e).ok_or_else(short)?);
    let release = (release != 0)
        .then(|| head.get(0x200 + release..))
        .flatten()
        .and_then(|text| text.split(|b| *b == 0 || *b == b' ').next())
        .and_then(|word| std::str::from_utf8(word).ok())
        .filter(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic()))
        .map(str::to_owned);
    let payload = if version >= 0x208 {
        let offset = u32_at(head, 0x248).ok_or_else(short)? as usize;
        let length = u32_at(head, 0x24c).ok_or_else(short)? as usize;
        (length != 0).then(|| code + offset..code + offset + length)
    } else {
        None
    };
    let length =
        (code as u64 + u64::from(paragraphs) * 16).max(payload.as_ref().map_or(0, |range| range.end as u64));
    Ok(Header { release, length, payload })
}

/// Unpacks what an image carries; told by what it begins with.
///
/// # Errors
/// When the packing is not known or the data is damaged.
pub fn unpack(packed: &[u8]) -> Result<Vec<u8>, ImageError> {
    let damaged = |e: std::io::Error| ImageError::Damaged(e.to_string());
    // Behind the packed data stands its unpacked length (four bytes), but for gzip: every reader stops before.
    let reader: Box<dyn Read + '_> = match packed {
        [0x7f, b'E', b'L', b'F', ..] => return Ok(packed.to_vec()),
        [0x1f, 0x8b, ..] => Box::new(flate2::read::GzDecoder::new(packed)),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Box::new(liblzma::read::XzDecoder::new(packed)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            Box::new(zstd::stream::read::Decoder::with_buffer(packed).map_err(damaged)?.single_frame())
        }
        [0x5d, 0, 0, ..] => {
            let stream = liblzma::stream::Stream::new_lzma_decoder(u64::MAX)
                .map_err(|e| ImageError::Damaged(e.to_string()))?;
            Box::new(liblzma::read::XzDecoder::new_stream(packed, stream))
        }
        [0x02, 0x21, 0x4c, 0x18, blocks @ ..] => return lz4(blocks),
        [b'B', b'Z', b'h', ..] => return Err(ImageError::Packing("bzip2".to_owned())),
        [0x89, b'L', b'Z', b'O', ..] => return Err(ImageError::Packing("lzo".to_owned())),
        _ => return Err(ImageError::Packing("something unknown".to_owned())),
    };
    let mut out = Vec::with_capacity(packed.len().saturating_mul(5).min(128 << 20));
    reader.take(LIMIT + 1).read_to_end(&mut out).map_err(damaged)?;
    if out.len() as u64 > LIMIT {
        return Err(ImageError::Damaged("larger than any kernel".to_owned()));
    }
    Ok(out)
}

/// LZ4 as `lz4 -l` writes it: blocks of 8 MiB at most, each after its packed length; the kernel's build adds
/// four bytes with the whole length.
fn lz4(mut blocks: &[u8]) -> Result<Vec<u8>, ImageError> {
    const BLOCK: usize = 8 << 20;
    let mut out = Vec::new();
    while let Some((length, rest)) = blocks.split_at_checked(4) {
        let length = u32_at(length, 0).unwrap_or(0) as usize;
        let Some((block, rest)) = rest.split_at_checked(length) else {
            // The last four bytes are no block but the length of all.
            if rest.is_empty() && length == out.len() {
                return Ok(out);
            }
            return Err(ImageError::Damaged("a block ends too early".to_owned()));
        };
        if block.is_empty() {
            break;
        }
        let plain =
            lz4_flex::block::decompress(block, BLOCK).map_err(|e| ImageError::Damaged(e.to_string()))?;
        out.extend_from_slice(&plain);
        if out.len() as u64 > LIMIT {
            return Err(ImageError::Damaged("larger than any kernel".to_owned()));
        }
        blocks = rest;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    /// An image with all that is read of one.
    pub fn image(release: &str, payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 1024];
        image[0x1f1] = 1;
        image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x206..0x208].copy_from_slice(&0x20fu16.to_le_bytes());
        image[0x20e..0x210].copy_from_slice(&0x100u16.to_le_bytes());
        image[0x300..0x300 + release.len()].copy_from_slice(release.as_bytes());
        image[0x248..0x24c].copy_from_slice(&16u32.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        image.extend_from_slice(&[0x90; 16]);
        image.extend_from_slice(payload);
        image.resize(image.len().next_multiple_of(16), 0);
        let paragraphs = u32::try_from((image.len() - 1024) / 16).unwrap();
        image[0x1f4..0x1f8].copy_from_slice(&paragraphs.to_le_bytes());
        image
    }

    #[test]
    fn the_header_tells_the_release_and_where_the_kernel_is() {
        let image = image("6.1.0-56-amd64 (debian) #1", b"payload");
        let header = header(&image).unwrap();
        assert_eq!(header.release.as_deref(), Some("6.1.0-56-amd64"));
        assert_eq!(&image[header.payload.unwrap()], b"payload");
        assert_eq!(header.length, image.len() as u64);
    }

    #[test]
    fn every_packing_of_the_kernel_build_is_undone_with_its_length_behind() {
        let plain: Vec<u8> = (0..300_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let size = u32::try_from(plain.len()).unwrap().to_le_bytes();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&plain).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&plain).unwrap();
        let options = liblzma::stream::LzmaOptions::new_preset(1).unwrap();
        let lzma = liblzma::stream::Stream::new_lzma_encoder(&options).unwrap();
        let mut lzma = liblzma::write::XzEncoder::new_stream(Vec::new(), lzma);
        lzma.write_all(&plain).unwrap();
        let block = lz4_flex::block::compress(&plain);
        let mut lz4 = vec![0x02, 0x21, 0x4c, 0x18];
        lz4.extend_from_slice(&u32::try_from(block.len()).unwrap().to_le_bytes());
        lz4.extend_from_slice(&block);
        let packed = [
            gz.finish().unwrap(),
            [xz.finish().unwrap(), size.to_vec()].concat(),
            [lzma.finish().unwrap(), size.to_vec()].concat(),
            [zstd::encode_all(plain.as_slice(), 1).unwrap(), size.to_vec()].concat(),
            [lz4, size.to_vec()].concat(),
        ];
        for (index, packed) in packed.iter().enumerate() {
            assert!(unpack(packed).unwrap() == plain, "packing {index}");
        }
        assert!(matches!(unpack(b"BZh9"), Err(ImageError::Packing(_))));
        assert!(matches!(unpack(&packed[1][..2000]), Err(ImageError::Damaged(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..1200),
            magic in prop::sample::select(vec![
                &b""[..], b"\x1f\x8b", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"\x5d\0\0", b"\x02\x21\x4c\x18",
            ]),
        ) {
            let _ = unpack(&[magic, &bytes].concat());
            let _ = header(&bytes);
            let mut image = image("x", b"");
            for (at, byte) in bytes.iter().take(0x60).enumerate() {
                image[0x206 + at] = *byte;
            }
            let _ = header(&image);
        }
    }
}
