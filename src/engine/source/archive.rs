// SPDX-License-Identifier: GPL-3.0-or-later
//! Takes archives apart in memory: tar, plain or compressed.

use super::{Files, Limits, SourceError};
use std::io::Read;

/// A name for a message: short, and nothing in it that a terminal would obey.
pub(super) fn shown(name: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(name).chars().take(120).collect();
    text.escape_debug().to_string()
}

/// A raw entry name as a normal relative path; `None` for the top folder itself.
pub(super) fn normal_path(raw: &[u8], depth: usize) -> Result<Option<String>, SourceError> {
    let bad = |why| SourceError::BadName { name: shown(raw), why };
    let text = std::str::from_utf8(raw).map_err(|_| bad("is not UTF-8"))?;
    if text.starts_with('/') {
        return Err(bad("is an absolute path"));
    }
    if text.chars().any(|c| c.is_control() || c == '\\') {
        return Err(bad("has control characters or backslashes in its name"));
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(bad("leads out of its folder")),
            _ if part.len() > 255 => return Err(bad("has a part longer than 255 bytes")),
            _ => parts.push(part),
        }
    }
    if parts.len() > depth {
        return Err(bad("is nested too deep"));
    }
    Ok((!parts.is_empty()).then(|| parts.join("/")))
}

/// Unpacks gzip, xz and zstd (told apart by their first bytes); anything else is returned as it is.
fn unpack(bytes: &[u8], limits: &Limits) -> Result<Vec<u8>, SourceError> {
    let too_large = |what: &str, limit| SourceError::TooLarge { what: what.to_owned(), limit };
    if bytes.len() as u64 > limits.packed {
        return Err(too_large("the archive", limits.packed));
    }
    let mut out = Vec::new();
    let limit = limits.total.saturating_add(1);
    let (format, result) = if bytes.starts_with(&[0x1f, 0x8b]) {
        ("gzip", flate2::read::MultiGzDecoder::new(bytes).take(limit).read_to_end(&mut out))
    } else if bytes.starts_with(&[0xfd, b'7', b'z', b'X', b'Z', 0]) {
        // xz -9 needs 65 MiB to unpack (xz(1)); more than that is asked only by files made to hurt.
        let stream = liblzma::stream::Stream::new_stream_decoder(96 << 20, liblzma::stream::CONCATENATED)
            .map_err(|e| SourceError::NotAnArchive { why: format!("xz: {e}") })?;
        ("xz", liblzma::read::XzDecoder::new_stream(bytes, stream).take(limit).read_to_end(&mut out))
    } else if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut decoder = zstd::stream::read::Decoder::new(bytes)
            .map_err(|e| SourceError::NotAnArchive { why: format!("zstd: {e}") })?;
        // 2^27 bytes is what zstd(1) itself takes without --long.
        decoder.window_log_max(27).map_err(|e| SourceError::NotAnArchive { why: format!("zstd: {e}") })?;
        ("zstd", decoder.take(limit).read_to_end(&mut out))
    } else {
        if bytes.len() as u64 > limits.total {
            return Err(too_large("the archive", limits.total));
        }
        return Ok(bytes.to_vec());
    };
    // Too large first: a bomb is one however its end looks.
    if out.len() as u64 > limits.total {
        return Err(too_large("the unpacked archive", limits.total));
    }
    match result {
        Ok(_) => Ok(out),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(SourceError::Truncated { why: format!("{format} data ends early") })
        }
        Err(e) => Err(SourceError::NotAnArchive { why: format!("{format}: {e}") }),
    }
}

/// Reads a tar archive (plain, gzip, xz or zstd) from memory.
///
/// # Errors
/// For every entry that is no plain file or folder, names that lead out, duplicates, limits, and
/// archives that are none or are cut off.
pub fn read_archive(bytes: &[u8], limits: &Limits) -> Result<Files, SourceError> {
    let tar_bytes = unpack(bytes, limits)?;
    if tar_bytes.len() < 512 {
        return Err(SourceError::NotAnArchive { why: format!("only {} bytes", tar_bytes.len()) });
    }
    let mut files = Files::new();
    let mut dirs = std::collections::BTreeSet::new();
    let mut total = 0u64;
    let mut end = 0u64;
    let mut archive = tar::Archive::new(tar_bytes.as_slice());
    let entries = archive.entries().map_err(|e| tar_error(&e, true))?;
    for (count, entry) in entries.enumerate() {
        if count >= limits.entries {
            return Err(SourceError::TooLarge {
                what: "the number of entries".into(),
                limit: limits.entries as u64,
            });
        }
        let mut entry = entry.map_err(|e| tar_error(&e, count == 0))?;
        let size = entry.size();
        end = entry.raw_file_position().saturating_add(size);
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            continue; // `git archive` keeps its commit id there
        }
        let raw = entry.path_bytes().into_owned();
        let not_a_file = |what| SourceError::NotAFile { name: shown(&raw), what };
        match kind {
            tar::EntryType::Regular | tar::EntryType::Continuous => {}
            tar::EntryType::Directory => {}
            tar::EntryType::Symlink => return Err(not_a_file("a symbolic link")),
            tar::EntryType::Link => return Err(not_a_file("a hard link")),
            tar::EntryType::Char | tar::EntryType::Block => return Err(not_a_file("a device")),
            tar::EntryType::Fifo => return Err(not_a_file("a named pipe")),
            tar::EntryType::GNUSparse => return Err(not_a_file("a sparse file")),
            _ => return Err(not_a_file("of an unknown kind")),
        }
        let Some(path) = normal_path(&raw, limits.depth)? else { continue };
        // Old archives mark a folder by a slash at the end of its name (tar(5)).
        if kind == tar::EntryType::Directory || raw.ends_with(b"/") {
            if files.contains_key(&path) {
                return Err(SourceError::Duplicate { name: shown(&raw) });
            }
            dirs.insert(path);
            continue;
        }
        if size > limits.file {
            return Err(SourceError::TooLarge { what: format!("`{}`", shown(&raw)), limit: limits.file });
        }
        total = total.saturating_add(size);
        if total > limits.total {
            return Err(SourceError::TooLarge { what: "all files together".into(), limit: limits.total });
        }
        let mut data = Vec::new();
        entry.by_ref().take(limits.file).read_to_end(&mut data).map_err(|e| tar_error(&e, false))?;
        if data.len() as u64 != size {
            return Err(SourceError::Truncated { why: format!("in `{}`", shown(&raw)) });
        }
        if dirs.contains(&path) || files.insert(path, data).is_some() {
            return Err(SourceError::Duplicate { name: shown(&raw) });
        }
    }
    if files.is_empty() && dirs.is_empty() && tar_bytes.iter().any(|&b| b != 0) {
        return Err(SourceError::NotAnArchive { why: "it has no tar header".into() });
    }
    if files.is_empty() {
        return Err(SourceError::Empty { place: "the archive".into() });
    }
    file_below_file(&files, &dirs)?;
    // An archive ends with blocks of zeros (tar(5)); one that was cut between two entries does not.
    let marker = usize::try_from(end.next_multiple_of(512)).unwrap_or(usize::MAX);
    match tar_bytes.get(marker..).and_then(|rest| rest.get(..512)) {
        Some(block) if block.iter().all(|&b| b == 0) => Ok(files),
        _ => Err(SourceError::Truncated { why: "the end-of-archive mark is missing".into() }),
    }
}

/// `a` and `a/b` cannot both be files, nor `a` a file and a folder.
fn file_below_file(files: &Files, dirs: &std::collections::BTreeSet<String>) -> Result<(), SourceError> {
    for path in files.keys().chain(dirs) {
        for (i, _) in path.match_indices('/') {
            if files.contains_key(&path[..i]) {
                return Err(SourceError::Duplicate { name: shown(&path.as_bytes()[..i]) });
            }
        }
    }
    Ok(())
}

fn tar_error(e: &std::io::Error, first: bool) -> SourceError {
    if e.kind() == std::io::ErrorKind::UnexpectedEof {
        SourceError::Truncated { why: e.to_string() }
    } else if first {
        SourceError::NotAnArchive { why: shown(e.to_string().as_bytes()) }
    } else {
        // The beginning was a tar: what follows is damaged.
        SourceError::Truncated { why: shown(e.to_string().as_bytes()) }
    }
}
