// SPDX-License-Identifier: GPL-3.0-or-later
//! What a file is, and all that must come back when a change of it is undone.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::io;

/// What a directory entry is, without following links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, socket or pipe.
    Other,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: FileKind,
}

/// Owner, mode and size of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMeta {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits (`07777`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
    /// Modification time, nanoseconds since the epoch.
    pub mtime_ns: i128,
}

/// All that must come back when a change of a path is undone. Plain data for the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum FileState {
    /// Nothing is there.
    Absent,
    /// A regular file.
    File {
        /// SHA-256 of its bytes, hexadecimal.
        sha256: String,
        /// Size in bytes.
        size: u64,
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Modification time, seconds since the epoch.
        mtime: i64,
        /// Nanoseconds of the modification time.
        mtime_nsec: u32,
        /// Extended attributes (SELinux label, capabilities, ACLs), values hexadecimal.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        xattrs: BTreeMap<String, String>,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points.
        target: String,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// A directory (its entries are not part of the state).
    Directory {
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// A device, socket or pipe: never touched.
    Other,
}

impl FileState {
    /// Whether two states are the same to a reader: content, mode, owner; times do not count.
    pub fn same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::File { sha256, mode, uid, gid, .. },
                Self::File { sha256: sha2, mode: mode2, uid: uid2, gid: gid2, .. },
            ) => sha256 == sha2 && mode == mode2 && uid == uid2 && gid == gid2,
            _ => self == other,
        }
    }
}

pub(super) fn meta_of(stat: &rustix::fs::Stat) -> FileMeta {
    let kind = match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
        rustix::fs::FileType::RegularFile => FileKind::File,
        rustix::fs::FileType::Directory => FileKind::Directory,
        rustix::fs::FileType::Symlink => FileKind::Symlink,
        _ => FileKind::Other,
    };
    FileMeta {
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime_ns: i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec),
    }
}

pub(super) fn read_xattrs(file: &File) -> io::Result<BTreeMap<String, String>> {
    let mut names = vec![0u8; 64 << 10];
    let len = match rustix::fs::flistxattr(file, &mut names[..]) {
        Ok(len) => len,
        Err(rustix::io::Errno::OPNOTSUPP) => return Ok(BTreeMap::new()),
        Err(e) => return Err(e.into()),
    };
    let mut found = BTreeMap::new();
    for name in names[..len].split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let Ok(key) = CString::new(name) else { continue };
        let mut value = vec![0u8; 64 << 10];
        match rustix::fs::fgetxattr(file, key.as_c_str(), &mut value[..]) {
            Ok(len) => {
                found.insert(key.to_string_lossy().into_owned(), hex::encode(&value[..len]));
            }
            // Gone meanwhile, or not for us to read: not ours to restore either.
            Err(rustix::io::Errno::NODATA | rustix::io::Errno::PERM) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(found)
}
