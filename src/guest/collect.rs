// SPDX-License-Identifier: GPL-3.0-or-later
//! The files that a guest hands over: one cpio archive (newc, `Documentation/driver-api/early-userspace/buffer-format.rst`
//! of the kernel), unpacked below the run's folder. A guest is not trusted: names cannot lead out, links and
//! devices are not made, and what is unpacked is never executable.

use super::error::GuestError;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use std::io::Write;
use std::path::{Component, Path, PathBuf};

/// The folder, below the run's, that they come into.
pub(super) const FOLDER: &str = "collected";

/// Most files of one guest.
const FILES: usize = 100_000;

const HEADER: usize = 110;

/// A member of an archive.
#[derive(Debug, PartialEq, Eq)]
struct Member<'a> {
    name: &'a str,
    regular: bool,
    data: &'a [u8],
}

/// The members of an archive; what comes after a broken or cut-off one is not read. Pure.
fn members(mut bytes: &[u8]) -> Vec<Member<'_>> {
    let mut all = Vec::new();
    while all.len() < FILES {
        let Some((member, rest)) = member(bytes) else { break };
        if member.name == "TRAILER!!!" {
            break;
        }
        all.push(member);
        bytes = rest;
    }
    all
}

fn member(bytes: &[u8]) -> Option<(Member<'_>, &[u8])> {
    let header = bytes.get(..HEADER)?;
    if !header.starts_with(b"070701") {
        return None;
    }
    let field = |n: usize| {
        let text = std::str::from_utf8(header.get(6 + n * 8..14 + n * 8)?).ok()?;
        usize::from_str_radix(text, 16).ok()
    };
    let (mode, size, name_size) = (field(1)?, field(6)?, field(11)?);
    let round = |n: usize| n.checked_add(3).map(|n| n & !3);
    let name_end = HEADER.checked_add(name_size)?;
    let name = bytes.get(HEADER..name_end)?.strip_suffix(&[0])?;
    let from = round(name_end)?;
    let to = from.checked_add(size)?;
    let data = bytes.get(from..to)?;
    // The padding of the last one may be missing.
    let rest = bytes.get(round(to)?..).unwrap_or_default();
    let regular = mode & 0o170_000 == 0o100_000;
    Some((Member { name: std::str::from_utf8(name).ok()?, regular, data }, rest))
}

/// Where a name leads below the folder; `None` when it leads nowhere or out.
fn place(name: &str) -> Option<PathBuf> {
    let mut place = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => place.push(part),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    (!place.as_os_str().is_empty()).then_some(place)
}

/// Unpacks what a guest sent; the names of the files, relative to `folder`, in the archive's order.
pub(super) fn unpack(archive: &[u8], folder: &Path) -> Result<Vec<String>, GuestError> {
    let members = members(archive);
    let files: Vec<_> =
        members.iter().filter(|m| m.regular).filter_map(|m| Some((place(m.name)?, m.data))).collect();
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let top = folder.join(FOLDER);
    std::fs::create_dir_all(&top).map_err(|e| GuestError::file("make the folder", &top, e))?;
    let dir =
        Dir::open_ambient_dir(&top, ambient_authority()).map_err(|e| GuestError::file("open", &top, e))?;
    let mut names = Vec::new();
    for (place, data) in files {
        let fail = |e| GuestError::file("write", top.join(&place), e);
        if let Some(parent) = place.parent().filter(|p| !p.as_os_str().is_empty()) {
            dir.create_dir_all(parent).map_err(fail)?;
        }
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = dir.open_with(&place, &options).map_err(fail)?;
        file.write_all(data).map_err(fail)?;
        names.push(Path::new(FOLDER).join(&place).display().to_string());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One member as cpio writes it.
    fn newc(name: &str, mode: u32, data: &[u8]) -> Vec<u8> {
        let mut out = format!(
            "070701{:08X}{mode:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}",
            1,
            0,
            0,
            1,
            0,
            data.len(),
            0,
            0,
            0,
            0,
            name.len() + 1,
            0
        )
        .into_bytes();
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        while out.len() % 4 != 0 {
            out.push(0);
        }
        out.extend_from_slice(data);
        while out.len() % 4 != 0 {
            out.push(0);
        }
        out
    }

    #[test]
    fn files_come_back_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let mut archive = newc("var/log", 0o040_755, b"");
        archive.extend(newc("/var/log/a b.log", 0o100_640, b"one\n\0two"));
        archive.extend(newc("etc/empty", 0o100_644, b""));
        archive.extend(newc("TRAILER!!!", 0, b""));
        archive.extend(newc("after", 0o100_644, b"x"));
        let names = unpack(&archive, dir.path()).unwrap();
        assert_eq!(names, ["collected/var/log/a b.log", "collected/etc/empty"]);
        assert_eq!(std::fs::read(dir.path().join(&names[0])).unwrap(), b"one\n\0two");
    }

    #[test]
    fn a_guest_cannot_write_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let mut archive = newc("../../outside", 0o100_644, b"x");
        archive.extend(newc("link", 0o120_777, b"/etc"));
        archive.extend(newc("link/passwd", 0o100_644, b"x"));
        let names = unpack(&archive, dir.path()).unwrap();
        assert_eq!(names, ["collected/link/passwd"]);
        assert!(dir.path().join("collected/link").is_dir());
        assert!(!dir.path().parent().unwrap().join("outside").exists());
    }

    #[test]
    fn a_guest_that_sends_nothing_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(unpack(b"", dir.path()).unwrap(), Vec::<String>::new());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_fall(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400), cut in 0usize..200) {
            members(&bytes);
            let mut archive = newc("a", 0o100_644, b"abcdef");
            archive.extend(newc("b", 0o100_644, b"ghi"));
            archive.truncate(cut);
            members(&archive);
        }
    }
}
