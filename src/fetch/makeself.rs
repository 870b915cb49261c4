// SPDX-License-Identifier: GPL-3.0-or-later
//! Self-extracting archives of makeself's kind (`.run`), looked at without being run.
//!
//! Such a file is a shell script with an archive behind it. The script says in assignments how many lines it
//! has (`skip` or `offset`), what the archive's checksum is (`MD5`), and what it unpacks (`label`,
//! `targetdir`); NVIDIA's driver is such a file and adds `version`.

use md5::Md5;
use sha2::Digest;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// How much of a file may be script, in bytes.
const HEADER_LIMIT: u64 = 256 << 10;

/// How the archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// bzip2.
    Bzip2,
    /// Zstandard.
    Zstd,
    /// Not compressed.
    Tar,
}

/// What a `.run` file says of itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RunFile {
    /// Its label ("NVIDIA Accelerated Graphics Driver for Linux-x86_64 535.230.02").
    pub label: String,
    /// The version of what it holds.
    pub version: Option<String>,
    /// The architecture of what it holds ("`x86_64`").
    pub architecture: Option<String>,
    /// The folder it unpacks into.
    pub target_dir: String,
    /// What it would run.
    pub script: String,
    /// Where the archive begins, in bytes.
    pub payload_offset: u64,
    /// How the archive is compressed.
    pub payload: Payload,
    /// Sizes of its archives, in bytes, when it says so.
    pub payload_sizes: Vec<u64>,
    /// MD5 of the first archive, when it says so.
    pub payload_md5: Option<String>,
}

impl RunFile {
    /// Whether it is the vGPU manager for KVM hosts of this version.
    pub fn is_host_driver(&self, version: &str) -> bool {
        self.version.as_deref() == Some(version)
            && self.architecture.as_deref() == Some("x86_64")
            && self.target_dir.ends_with("-vgpu-kvm")
    }

    /// Whether it is the vGPU driver for Linux guests of this version.
    pub fn is_guest_driver(&self, version: &str) -> bool {
        self.version.as_deref() == Some(version)
            && self.architecture.as_deref() == Some("x86_64")
            && self.target_dir.ends_with("-grid")
    }
}

/// Why a file is not taken for a `.run` file.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It is none.
    #[error("this is no self-extracting archive: {0}; give the .run file as NVIDIA hands it out")]
    NotRun(&'static str),
    /// Its archive is damaged.
    #[error("the archive inside is damaged: its MD5 is {found} and should be {expected}; get the file again")]
    Damaged {
        /// As the header says.
        expected: String,
        /// As it is.
        found: String,
    },
    /// Its archive is cut off.
    #[error("the archive inside is cut off: {found} of {expected} bytes are there; get the file again")]
    Short {
        /// As the header says.
        expected: u64,
        /// As it is.
        found: u64,
    },
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] std::io::Error),
}

/// A value of a shell assignment, quotes taken off; what would be computed is not a value.
fn value(text: &str) -> Option<&str> {
    let text = text.trim();
    let bare = |t: &str| !t.contains(['$', '`', ';', '|', '&', '(', ')', '<', '>', '\\']);
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote) {
            let (inner, rest) = inner.split_once(quote)?;
            return (rest.trim_start().is_empty() && (quote == '\'' || bare(inner))).then_some(inner);
        }
    }
    (bare(text) && !text.contains(char::is_whitespace)).then_some(text)
}

/// Reads the script at the beginning of a file. `bytes` holds it and the beginning of the archive.
///
/// # Errors
/// What it lacks to be one.
pub fn parse_header(bytes: &[u8]) -> Result<RunFile, RunError> {
    if !bytes.starts_with(b"#!") {
        return Err(RunError::NotRun("it does not begin with #!"));
    }
    let mut fields: std::collections::BTreeMap<&str, &str> = std::collections::BTreeMap::new();
    for line in bytes.split(|b| *b == b'\n').take(4000) {
        // The archive is no text; assignments stand before it.
        let Ok(line) = std::str::from_utf8(line) else { break };
        if let Some((name, text)) = line.split_once('=')
            && let Some(text) = value(text)
        {
            // The first of a name is the header's own.
            fields.entry(name.trim()).or_insert(text);
        }
    }
    let field = |name: &str| fields.get(name).copied().filter(|v| !v.is_empty());
    let skip = field("skip").and_then(|s| s.parse::<usize>().ok());
    let (Some(label), Some(target_dir)) = (field("label"), field("targetdir")) else {
        return Err(RunError::NotRun("its header has no label and no targetdir"));
    };
    let Some(skip) = skip else { return Err(RunError::NotRun("its header does not say how long it is")) };
    let offset = payload_offset(bytes, skip)?;
    let rest = &bytes[offset..];
    let payload = match rest {
        [0x1f, 0x8b, ..] => Payload::Gzip,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Payload::Xz,
        [b'B', b'Z', b'h', ..] => Payload::Bzip2,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Payload::Zstd,
        _ if rest.get(257..262) == Some(b"ustar") => Payload::Tar,
        _ => return Err(RunError::NotRun("no archive begins where its header ends")),
    };
    let sizes = field("filesizes").into_iter().flat_map(str::split_whitespace);
    let md5 = field("MD5").and_then(|m| m.split_whitespace().next());
    let md5 = md5.filter(|m| m.len() == 32 && m.chars().all(|c| c.is_ascii_hexdigit()));
    let is_version = |w: &&str| {
        w.contains('.') && w.split('.').all(|p| !p.is_empty() && p.chars().all(|c| c.is_ascii_digit()))
    };
    let words = label.split_whitespace().chain(target_dir.split('-'));
    let architecture =
        ["x86_64", "aarch64", "ppc64le"].into_iter().find(|a| target_dir.contains(a) || label.contains(a));
    Ok(RunFile {
        version: field("version")
            .filter(is_version)
            .or_else(|| words.clone().find(is_version))
            .map(str::to_owned),
        architecture: architecture.map(str::to_owned),
        label: label.to_owned(),
        target_dir: target_dir.to_owned(),
        script: field("script").unwrap_or_default().to_owned(),
        payload_offset: offset as u64,
        payload,
        payload_sizes: sizes.filter_map(|s| s.parse().ok()).collect(),
        payload_md5: md5.filter(|m| m.chars().any(|c| c != '0')).map(str::to_lowercase),
    })
}

/// Where the archive begins: after `skip` lines, or, as in NVIDIA's own variant, one line before.
fn payload_offset(bytes: &[u8], skip: usize) -> Result<usize, RunError> {
    let mut ends = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + 1);
    let archive = |at: &usize| {
        let rest = &bytes[*at..];
        rest.starts_with(&[0x1f, 0x8b])
            || rest.starts_with(b"\xfd7zXZ\0")
            || rest.starts_with(b"BZh")
            || rest.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
            || rest.get(257..262) == Some(b"ustar")
    };
    let before = skip.checked_sub(1).filter(|n| *n > 0).and_then(|n| ends.nth(n - 1));
    let after = if skip > 0 { ends.next() } else { None };
    let places: Vec<usize> = [after, before].into_iter().flatten().collect();
    places.iter().copied().find(archive).ok_or(RunError::NotRun("no archive begins where its header ends"))
}

/// Looks at a file; nothing of it is run or unpacked.
///
/// # Errors
/// What it lacks to be a `.run` file.
pub fn inspect(file: &mut File) -> Result<RunFile, RunError> {
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.take(HEADER_LIMIT).read_to_end(&mut bytes)?;
    parse_header(&bytes)
}

/// Compares the archive with the checksum in the header. Returns whether there was one.
///
/// # Errors
/// When it is damaged or cut off.
pub fn verify_payload(file: &mut File, header: &RunFile) -> Result<bool, RunError> {
    let size = file.metadata()?.len().saturating_sub(header.payload_offset);
    let expected: u64 = header.payload_sizes.iter().sum();
    if expected > size {
        return Err(RunError::Short { expected, found: size });
    }
    let Some(md5) = &header.payload_md5 else { return Ok(false) };
    // The checksum is of the first archive, or of all that follows where no size is given.
    let length = header.payload_sizes.first().copied().unwrap_or(size);
    file.seek(SeekFrom::Start(header.payload_offset))?;
    let mut hash = Md5::new();
    let mut buffer = vec![0u8; 256 << 10];
    let mut from = file.take(length);
    loop {
        match from.read(&mut buffer)? {
            0 => break,
            n => hash.update(&buffer[..n]),
        }
    }
    let found = hex::encode(hash.finalize());
    if found == *md5 { Ok(true) } else { Err(RunError::Damaged { expected: md5.clone(), found }) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    /// A `.run` file of a test's own: a header as makeself's, and a small archive.
    pub(crate) fn run_file(version: &str, kind: &str) -> Vec<u8> {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&[b'x'; 5000]).unwrap();
        let payload = gz.finish().unwrap();
        let md5 = hex::encode(Md5::digest(&payload));
        let name = format!("NVIDIA-Linux-x86_64-{version}{kind}");
        let lines = [
            "#!/bin/sh".to_owned(),
            "skip=\"9\"".to_owned(),
            format!("MD5=\"{md5}\""),
            format!("label=\"NVIDIA Accelerated Graphics Driver for Linux-x86_64 {version}\""),
            "script=\"./nvidia-installer\"".to_owned(),
            format!("targetdir=\"{name}\""),
            format!("filesizes=\"{}\"", payload.len()),
            "TMPROOT=${TMPDIR:=/tmp}".to_owned(),
            "exit 1 # never reached: nobody runs this".to_owned(),
        ];
        let mut out = lines.join("\n").into_bytes();
        out.push(b'\n');
        out.extend(payload);
        out
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn a_driver_is_known_by_its_header() {
        let mut file = file(&run_file("535.230.02", "-vgpu-kvm"));
        let found = inspect(&mut file).unwrap();
        assert_eq!(found.version.as_deref(), Some("535.230.02"));
        assert_eq!(found.architecture.as_deref(), Some("x86_64"));
        assert_eq!((found.payload, found.script.as_str()), (Payload::Gzip, "./nvidia-installer"));
        assert!(found.is_host_driver("535.230.02") && !found.is_host_driver("535.230.03"));
        assert!(verify_payload(&mut file, &found).unwrap());
        let guest = parse_header(&run_file("535.230.02", "-grid")).unwrap();
        assert!(!guest.is_host_driver("535.230.02"));
    }

    #[test]
    fn a_damaged_or_cut_archive_is_told() {
        let good = run_file("535.230.02", "-vgpu-kvm");
        let mut bad = good.clone();
        *bad.last_mut().unwrap() ^= 1;
        let header = parse_header(&good).unwrap();
        assert!(matches!(verify_payload(&mut file(&bad), &header), Err(RunError::Damaged { .. })));
        let cut = &good[..good.len() - 10];
        assert!(matches!(verify_payload(&mut file(cut), &header), Err(RunError::Short { .. })));
    }

    #[test]
    fn what_is_computed_in_a_header_is_not_believed() {
        assert_eq!(value("\"a b\""), Some("a b"));
        assert_eq!(value("'$x'"), Some("$x"));
        assert_eq!(value("\"$(reboot)\""), None);
        assert_eq!(value("`id`"), None);
        assert_eq!(value("a b"), None);
        assert_eq!(value("\"a\"; reboot"), None);
    }

    #[test]
    fn other_files_are_no_archives() {
        for bytes in [&b""[..], b"\x7fELF", b"<!DOCTYPE html>", b"#!/bin/sh\necho hello\n"] {
            assert!(matches!(parse_header(bytes), Err(RunError::NotRun(_))), "{bytes:?}");
        }
        let text =
            String::from_utf8_lossy(&run_file("1.2", "")).replace("skip=\"9\"", "skip=\"4\"").into_bytes();
        assert!(parse_header(&text).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), skip in any::<u32>(), text in "\\PC*") {
            let _ = parse_header(&bytes);
            let mut script = format!("#!/bin/sh\nskip={skip}\nlabel={text}\ntargetdir=x\n{text}\n").into_bytes();
            script.extend(bytes);
            let _ = parse_header(&script);
        }
    }
}
