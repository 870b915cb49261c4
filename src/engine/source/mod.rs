// SPDX-License-Identifier: GPL-3.0-or-later
//! Source texts of foreign modules, in memory only: an archive or a folder becomes paths and bytes.
//!
//! Nothing is written anywhere here. Archives are taken apart by pure code with limits; what could
//! lead out of a folder or fill the memory is refused, and so is what no source archive holds (links,
//! devices). The tar format is that of `tar(5)`: ustar, pax and GNU long names are read.

use super::steps::SourceRef;
use crate::host::{FileKind, HostError, Root};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

mod archive;

pub use archive::read_archive;
use archive::{normal_path, shown};

/// Relative path → bytes. Paths are normal: no empty, `.` or `..` parts, `/` between the parts.
pub type Files = BTreeMap<String, Vec<u8>>;

/// How much is taken from an archive or a folder. VMware's two modules together are 240 files of
/// 2.4 MB; the limits leave room for a whole repository snapshot around them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most entries (files and folders).
    pub entries: usize,
    /// Most bytes of one file.
    pub file: u64,
    /// Most bytes of an archive when unpacked, and of all files together.
    pub total: u64,
    /// Most bytes of an archive as it is.
    pub packed: u64,
    /// Deepest folder.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 10_000, file: 16 << 20, total: 96 << 20, packed: 64 << 20, depth: 24 }
    }
}

/// Why an archive or a folder cannot be used as sources.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It holds no tar, plain or compressed.
    #[error(
        "this is no tar archive ({why}); give a .tar, .tar.gz, .tar.xz or .tar.zst of the module sources"
    )]
    NotAnArchive {
        /// What was seen instead.
        why: String,
    },
    /// It ends too early.
    #[error("the archive is cut off ({why}); download or copy it again")]
    Truncated {
        /// Where.
        why: String,
    },
    /// It unpacks to too much, or holds too much.
    #[error(
        "the sources are too large: {what} is more than {limit}; they are no VMware module sources, or pack only vmmon-only and vmnet-only"
    )]
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// A name that leads out of the folder.
    #[error(
        "the entry `{name}` {why}; such an archive is refused: get the sources from where they come from, or pack them again with `tar -c vmmon-only vmnet-only`"
    )]
    BadName {
        /// The name, shortened and with control characters escaped.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A link, device or other thing that source archives do not hold.
    #[error(
        "`{name}` is {what}; only plain files and folders are taken: pack the sources again without it (`tar --dereference` follows links)"
    )]
    NotAFile {
        /// The name.
        name: String,
        /// What it is.
        what: &'static str,
    },
    /// The same name twice.
    #[error("`{name}` is in the archive twice; pack the sources again")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// Nothing in it.
    #[error("there are no files in {place}; give the module sources")]
    Empty {
        /// Where was looked.
        place: String,
    },
    /// The module is not in there.
    #[error(
        "{place} holds no {module} sources ({why}); give an archive or a folder with `{module}-only`, for instance from /usr/lib/vmware/modules/source"
    )]
    NoModule {
        /// Where was looked.
        place: String,
        /// Which module.
        module: String,
        /// What was missing.
        why: String,
    },
    /// The module is in there more than once.
    #[error("{place} holds several {module} sources ({}); give just one of them", found.join(", "))]
    Ambiguous {
        /// Where was looked.
        place: String,
        /// Which module.
        module: String,
        /// The folders.
        found: Vec<String>,
    },
    /// A sealed archive that was not handed over.
    #[error("the archive `{name}` was not handed over with the request; choose it again")]
    NotHandedOver {
        /// What the caller called it.
        name: String,
    },
    /// The machine's files could not be read.
    #[error("{0}; check that the path is right and readable")]
    Host(#[from] HostError),
}

/// Names that are never part of the sources of a module: version control and left-overs of builds.
fn is_left_over(name: &str, kind: FileKind) -> bool {
    match kind {
        FileKind::Directory => matches!(name, ".git" | ".hg" | ".svn" | ".tmp_versions"),
        _ => {
            let ends = [".o", ".ko", ".cmd", ".mod", ".mod.c", ".o.d", ".rej", ".orig"];
            ends.iter().any(|e| name.ends_with(e))
                || matches!(name, "Module.symvers" | "modules.order" | ".cache.mk")
        }
    }
}

/// Reads a folder of a machine, without what version control and earlier builds left in it. Links are
/// refused: what they lead to is not part of the folder.
///
/// # Errors
/// When it cannot be read, is over the limits, or holds links or devices.
pub fn read_folder(root: &Root, path: &str, limits: &Limits) -> Result<Files, SourceError> {
    let mut files = Files::new();
    let mut waiting = vec![String::new()];
    let (mut entries, mut total) = (0usize, 0u64);
    let top = path.trim_end_matches('/');
    while let Some(dir) = waiting.pop() {
        let here = if dir.is_empty() { top.to_owned() } else { format!("{top}/{dir}") };
        for entry in root.list(&here)? {
            if is_left_over(&entry.name, entry.kind) {
                continue;
            }
            entries += 1;
            if entries > limits.entries {
                return Err(SourceError::TooLarge {
                    what: format!("the number of entries below {path}"),
                    limit: limits.entries as u64,
                });
            }
            let rel = if dir.is_empty() { entry.name.clone() } else { format!("{dir}/{}", entry.name) };
            let full = format!("{top}/{rel}");
            match entry.kind {
                FileKind::Directory if rel.split('/').count() >= limits.depth => {
                    return Err(SourceError::BadName { name: rel, why: "is nested too deep" });
                }
                FileKind::Directory => waiting.push(rel),
                FileKind::File => {
                    let bytes = root.read_at_most(&full, limits.file)?;
                    total = total.saturating_add(bytes.len() as u64);
                    if total > limits.total {
                        return Err(SourceError::TooLarge {
                            what: format!("all files below {path} together"),
                            limit: limits.total,
                        });
                    }
                    if normal_path(rel.as_bytes(), limits.depth)?.is_some() {
                        files.insert(rel, bytes);
                    }
                }
                FileKind::Symlink => {
                    return Err(SourceError::NotAFile { name: full, what: "a symbolic link" });
                }
                FileKind::Other => {
                    return Err(SourceError::NotAFile { name: full, what: "a device, socket or pipe" });
                }
            }
        }
    }
    if files.is_empty() {
        return Err(SourceError::Empty { place: path.to_owned() });
    }
    Ok(files)
}

/// SHA-256 of a tree: every path and its bytes, each with its length before it, in the order of the
/// paths; hexadecimal. Modes and times do not count.
pub fn tree_sha256(files: &Files) -> String {
    let mut hasher = Sha256::new();
    for (path, bytes) in files {
        hasher.update((path.len() as u64).to_le_bytes());
        hasher.update(path.as_bytes());
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    }
    hex::encode(hasher.finalize())
}

/// The makefiles in which a module's build begins, the most telling first.
pub const MAKEFILES: [&str; 3] = ["Makefile.kernel", "Kbuild", "Makefile"];

/// Whether the folder `dir` of `files` ("" for the top) builds `module`: one of its makefiles names it
/// as its driver or object, and there is C text in it.
fn builds_module(files: &Files, dir: &str, module: &str) -> bool {
    let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
    let names_it = MAKEFILES.iter().filter_map(|m| files.get(&format!("{prefix}{m}"))).any(|bytes| {
        String::from_utf8_lossy(bytes).lines().any(|line| {
            let line = line.split('#').next().unwrap_or_default();
            let Some((name, value)) = line.split_once('=') else { return false };
            let name = name.trim_end_matches([':', '+', '?']).trim().trim_start_matches("override ");
            let mut words = value.split_whitespace();
            match name {
                "DRIVER" => words.next() == Some(module),
                "obj-m" => words.any(|w| w.strip_suffix(".o") == Some(module)),
                _ => false,
            }
        })
    });
    names_it && files.keys().any(|p| p.starts_with(&prefix) && p.ends_with(".c"))
}

/// Picks the files of one module out of an archive or a folder: its `MODULE-only` folder at any depth,
/// or else the folder whose makefile builds it. Returned paths are relative to that folder.
///
/// # Errors
/// When there is none, or more than one and they differ.
pub fn module_files(files: &Files, module: &str, place: &str) -> Result<(String, Files), SourceError> {
    let mut dirs: std::collections::BTreeSet<&str> = std::collections::BTreeSet::new();
    for path in files.keys() {
        if let Some((dir, name)) = path.rsplit_once('/') {
            if MAKEFILES.contains(&name) {
                dirs.insert(dir);
            }
        } else if MAKEFILES.contains(&path.as_str()) {
            dirs.insert("");
        }
    }
    let wanted = format!("{module}-only");
    let all: Vec<&str> = dirs.into_iter().filter(|d| builds_module(files, d, module)).collect();
    let named: Vec<&str> =
        all.iter().copied().filter(|d| d.rsplit('/').next() == Some(wanted.as_str())).collect();
    let found = if named.is_empty() { all } else { named };
    let pick = |dir: &str| -> Files {
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        files
            .iter()
            .filter_map(|(p, b)| p.strip_prefix(&prefix).map(|rel| (rel.to_owned(), b.clone())))
            .collect()
    };
    match found.as_slice() {
        [] => {
            let folder = files.keys().any(|p| format!("/{p}").contains(&format!("/{wanted}/")));
            let why = if folder {
                format!("`{wanted}` is there, but no makefile in it builds {module}")
            } else {
                format!("no folder with a makefile that builds {module}")
            };
            Err(SourceError::NoModule { place: place.to_owned(), module: module.to_owned(), why })
        }
        [dir] => Ok(((*dir).to_owned(), pick(dir))),
        [first, rest @ ..] => {
            let tree = pick(first);
            if rest.iter().all(|d| pick(d) == tree) {
                return Ok(((*first).to_owned(), tree));
            }
            let found = found.iter().take(8).map(|d| (*d).to_owned()).collect();
            Err(SourceError::Ambiguous { place: place.to_owned(), module: module.to_owned(), found })
        }
    }
}

/// Reads the files of one module from where a plan says they are, anew.
///
/// `sealed` holds the archives that were handed over, by their SHA-256.
///
/// # Errors
/// As [`read_archive`], [`read_folder`] and [`module_files`].
pub fn load(
    root: &Root,
    source: &SourceRef,
    sealed: &BTreeMap<String, Vec<u8>>,
    module: &str,
) -> Result<Files, SourceError> {
    let limits = Limits::default();
    let (files, place) = match source {
        SourceRef::Installed { path } => (read_place(root, path, &limits)?, path.as_str()),
        SourceRef::Sealed { sha256, name } => {
            let bytes = sealed
                .get(sha256)
                .ok_or_else(|| SourceError::NotHandedOver { name: shown(name.as_bytes()) })?;
            (read_archive(bytes, &limits)?, name.as_str())
        }
    };
    module_files(&files, module, place).map(|(_, files)| files)
}

/// Reads a path of a machine that is a folder or an archive.
///
/// # Errors
/// As [`read_archive`] and [`read_folder`].
pub fn read_place(root: &Root, path: &str, limits: &Limits) -> Result<Files, SourceError> {
    match root.metadata(path)?.kind {
        FileKind::Directory => read_folder(root, path, limits),
        FileKind::File => read_archive(&root.read_at_most(path, limits.packed)?, limits),
        _ => Err(SourceError::NotAFile { name: path.to_owned(), what: "neither a file nor a folder" }),
    }
}

#[cfg(test)]
mod tests;
