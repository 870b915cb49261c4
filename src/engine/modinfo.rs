// SPDX-License-Identifier: GPL-3.0-or-later
//! What a kernel module says about itself: `.modinfo`, exported symbols, the appended signature; and
//! how module files are compressed. Pure.

use super::steps::Compression;
use object::{Object, ObjectSection, ObjectSymbol};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{Read, Write};

/// No module is anywhere near this large; what unpacks to more is no module.
pub const MODULE_LIMIT: u64 = 128 << 20;

/// Why a file is no kernel module that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModuleFileError {
    /// It is compressed and cannot be unpacked.
    #[error("it cannot be unpacked ({0}); the file is cut off or damaged")]
    Packed(String),
    /// It is no ELF file.
    #[error("it is no ELF object ({0}); the file is cut off or damaged")]
    NoElf(String),
    /// It is no module.
    #[error("it is no kernel module: it has no section .modinfo")]
    NoModinfo,
    /// Its signature is damaged.
    #[error("its appended signature is damaged: {0}")]
    Signature(&'static str),
}

/// The `key=value` pairs of `.modinfo`, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Modinfo {
    pairs: Vec<(String, String)>,
}

impl Modinfo {
    /// The first value of a key ("vermagic", "name", "license").
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// The bytes of the section, strings that each end with a zero byte.
    pub fn parse(section: &[u8]) -> Self {
        let pairs = section
            .split(|b| *b == 0)
            .filter_map(|text| {
                let text = String::from_utf8_lossy(text);
                text.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()))
            })
            .collect();
        Self { pairs }
    }

    /// Reads it out of a module, which may be signed but not compressed.
    ///
    /// # Errors
    /// When it is no ELF object or has no `.modinfo`.
    pub fn of_module(bytes: &[u8]) -> Result<Self, ModuleFileError> {
        let file = object::File::parse(bytes).map_err(|e| ModuleFileError::NoElf(e.to_string()))?;
        let section = file.section_by_name(".modinfo").ok_or(ModuleFileError::NoModinfo)?;
        let data = section.data().map_err(|e| ModuleFileError::NoElf(e.to_string()))?;
        Ok(Self::parse(data))
    }
}

/// vermagic as the kernel compares it: a trailing blank is part of it in the file, and lost on the way
/// through many tools.
pub fn same_vermagic(a: &str, b: &str) -> bool {
    a.trim_end() == b.trim_end()
}

/// Module names as the kernel sees them: `-` and `_` are one.
pub fn same_name(a: &str, b: &str) -> bool {
    a.replace('-', "_") == b.replace('-', "_")
}

/// The symbols of a `Module.symvers` (`crc TAB symbol TAB module TAB export [TAB namespace]`).
pub fn symvers(text: &str) -> BTreeSet<&str> {
    text.lines().filter_map(|line| line.split('\t').nth(1)).filter(|s| !s.is_empty()).collect()
}

/// The symbols that a module exports: `EXPORT_SYMBOL(x)` makes `__ksymtab_x`.
pub fn exports(file: &object::File<'_>) -> BTreeSet<String> {
    let exported = |name: &str| name.strip_prefix("__ksymtab_").map(str::to_owned);
    file.symbols().filter(|s| !s.is_undefined()).filter_map(|s| s.name().ok().and_then(exported)).collect()
}

/// What ends a signed module (`MODULE_SIG_STRING` in the kernel's include/linux/module_signature.h).
const MAGIC: &[u8] = b"~Module signature appended~\n";

/// The fixed part of an appended signature: `struct module_signature`.
const TRAILER: usize = 12;

/// `PKEY_ID_PKCS7`, the only kind the kernel accepts.
const PKCS7: u8 = 2;

/// A module taken apart: itself, and the PKCS#7 message that signs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed<'a> {
    /// The module without its signature.
    pub module: &'a [u8],
    /// The PKCS#7 message in DER.
    pub message: &'a [u8],
}

/// Takes the appended signature off. `None` when there is none.
///
/// # Errors
/// When there is one that the kernel would not read.
pub fn take_signature(bytes: &[u8]) -> Result<Option<Signed<'_>>, ModuleFileError> {
    let Some(rest) = bytes.strip_suffix(MAGIC) else { return Ok(None) };
    let Some((rest, trailer)) = rest.split_last_chunk::<TRAILER>() else {
        return Err(ModuleFileError::Signature("it is too short"));
    };
    let [_, _, kind, _, _, _, _, _, a, b, c, d] = *trailer;
    if kind != PKCS7 {
        return Err(ModuleFileError::Signature("it is no PKCS#7 message"));
    }
    let size = u32::from_be_bytes([a, b, c, d]) as usize;
    let at = rest.len().checked_sub(size).ok_or(ModuleFileError::Signature("it is longer than the file"))?;
    let (module, message) = rest.split_at(at);
    if message.is_empty() {
        return Err(ModuleFileError::Signature("it is empty"));
    }
    Ok(Some(Signed { module, message }))
}

/// How a module file is compressed, told by its first bytes as the kernel's tools do.
pub fn compression_of(bytes: &[u8]) -> Compression {
    match bytes {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        _ => Compression::None,
    }
}

/// Compresses a module as `make modules_install` does, the same bytes for the same module.
///
/// The kernel unpacks modules by itself (`MODULE_DECOMPRESS`): its xz knows only the CRC32 check, and
/// takes a dictionary of at most 1 MiB (scripts/Makefile.modinst).
///
/// # Errors
/// When the compressor fails (out of memory).
pub fn compress(bytes: &[u8], how: Compression) -> std::io::Result<Vec<u8>> {
    match how {
        Compression::None => Ok(bytes.to_vec()),
        Compression::Gzip => {
            // No name and no time, as with `gzip -n`.
            let mut encoder = flate2::GzBuilder::new().write(Vec::new(), flate2::Compression::best());
            encoder.write_all(bytes)?;
            encoder.finish()
        }
        Compression::Xz => {
            let mut options = liblzma::stream::LzmaOptions::new_preset(6).map_err(std::io::Error::other)?;
            options.dict_size(1 << 20);
            let mut filters = liblzma::stream::Filters::new();
            filters.lzma2(&options);
            let stream = liblzma::stream::Stream::new_stream_encoder(&filters, liblzma::stream::Check::Crc32)
                .map_err(std::io::Error::other)?;
            let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
            encoder.write_all(bytes)?;
            encoder.finish()
        }
        Compression::Zstd => {
            let mut encoder = zstd::Encoder::new(Vec::new(), 3)?;
            // The kernel allocates by the size that stands in the frame's head.
            encoder.set_pledged_src_size(Some(bytes.len() as u64))?;
            encoder.include_contentsize(true)?;
            encoder.include_checksum(true)?;
            encoder.write_all(bytes)?;
            encoder.finish()
        }
    }
}

/// Unpacks a module file; one that is not compressed is returned as it is.
///
/// # Errors
/// When it is damaged, or unpacks to more than [`MODULE_LIMIT`].
pub fn decompress(bytes: &[u8]) -> Result<Cow<'_, [u8]>, ModuleFileError> {
    let reader: Box<dyn Read + '_> = match compression_of(bytes) {
        Compression::None => return Ok(Cow::Borrowed(bytes)),
        Compression::Gzip => Box::new(flate2::read::GzDecoder::new(bytes)),
        Compression::Xz => Box::new(liblzma::read::XzDecoder::new(bytes)),
        Compression::Zstd => {
            Box::new(zstd::Decoder::new(bytes).map_err(|e| ModuleFileError::Packed(e.to_string()))?)
        }
    };
    let mut out = Vec::new();
    reader
        .take(MODULE_LIMIT + 1)
        .read_to_end(&mut out)
        .map_err(|e| ModuleFileError::Packed(e.to_string()))?;
    if out.len() as u64 > MODULE_LIMIT {
        return Err(ModuleFileError::Packed(format!("it unpacks to more than {MODULE_LIMIT} bytes")));
    }
    Ok(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn modinfo_is_read_as_the_kernel_reads_it() {
        let info = Modinfo::parse(b"license=GPL v2\0\0vermagic=6.1 SMP \0parm=a:b=c\0name=vmmon\0junk\0");
        assert_eq!(info.get("license"), Some("GPL v2"));
        assert_eq!(info.get("vermagic"), Some("6.1 SMP "));
        assert_eq!(info.get("parm"), Some("a:b=c"));
        assert_eq!(info.get("junk"), None);
        assert!(same_vermagic("6.1 SMP ", "6.1 SMP") && !same_vermagic("6.1 SMP", "6.1 PREEMPT"));
        assert!(same_name("snd-hda", "snd_hda") && !same_name("vmmon", "vmnet"));
    }

    #[test]
    fn module_symvers_of_all_ages_is_read() {
        let text =
            "0x12\tprintk\tvmlinux\tEXPORT_SYMBOL\n0x0\tx\tdrivers/y\tEXPORT_SYMBOL_GPL\tNS\n\nbroken\n";
        assert_eq!(symvers(text), BTreeSet::from(["printk", "x"]));
    }

    fn signed(module: &[u8], message: &[u8], kind: u8) -> Vec<u8> {
        let mut bytes = [module, message].concat();
        bytes.extend([0, 0, kind, 0, 0, 0, 0, 0]);
        bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        bytes.extend(MAGIC);
        bytes
    }

    #[test]
    fn an_appended_signature_is_taken_off() {
        assert_eq!(take_signature(b"module").unwrap(), None);
        let bytes = signed(b"module", b"pkcs7", PKCS7);
        let parts = take_signature(&bytes).unwrap().unwrap();
        assert_eq!((parts.module, parts.message), (&b"module"[..], &b"pkcs7"[..]));
        assert!(take_signature(&signed(b"m", b"x", 1)).is_err());
        assert!(take_signature(&signed(b"m", b"", PKCS7)).is_err());
        assert!(take_signature(MAGIC).is_err());
        let mut too_long = signed(b"m", b"x", PKCS7);
        let at = too_long.len() - MAGIC.len() - 4;
        too_long[at] = 0xff;
        assert!(take_signature(&too_long).is_err());
    }

    #[test]
    fn every_compression_comes_back_and_is_the_same_each_time() {
        let module: Vec<u8> = (0..200_000u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
        for how in [Compression::None, Compression::Gzip, Compression::Xz, Compression::Zstd] {
            let packed = compress(&module, how).unwrap();
            assert_eq!(compression_of(&packed), how);
            assert_eq!(decompress(&packed).unwrap().as_ref(), module.as_slice());
            assert_eq!(packed, compress(&module, how).unwrap());
            if how != Compression::None {
                assert!(decompress(&packed[..packed.len() / 2]).is_err(), "{how:?} cut off");
            }
        }
    }

    #[test]
    fn xz_has_the_check_that_the_kernel_knows() {
        let packed = compress(b"module", Compression::Xz).unwrap();
        // .xz file format, 2.1.1.2: the low four bits of the eighth byte; 1 is CRC32.
        assert_eq!(packed[7] & 0x0f, 1);
    }

    proptest! {
        #[test]
        fn nothing_that_is_read_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), tail in any::<bool>()) {
            let mut bytes = bytes;
            if tail {
                bytes.extend(MAGIC);
            }
            let _ = take_signature(&bytes);
            let _ = decompress(&bytes);
            let _ = Modinfo::parse(&bytes);
            let _ = Modinfo::of_module(&bytes);
            let _ = symvers(&String::from_utf8_lossy(&bytes));
        }
    }
}
