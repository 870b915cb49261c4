// SPDX-License-Identifier: GPL-3.0-or-later
//! Files of the user's own.

use super::{Catalogue, Kind, RowError};
use crate::host::{FileKind, HostError, Root};

/// Where an administrator places further rows.
pub const ETC_DIR: &str = "/etc/hostwright/vgpu";

/// Largest file that is read, in bytes.
const FILE_LIMIT: u64 = 4 << 20;

/// A folder with files.
#[derive(Debug)]
pub struct Source<'a> {
    /// The root it is below.
    pub root: &'a Root,
    /// The folder, as a path of that root.
    pub dir: &'a str,
    /// Users whose files are trusted.
    pub owners: &'a [u32],
}

/// Why there is no catalogue.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// A row is wrong.
    #[error(transparent)]
    Row(#[from] RowError),
    /// A file whose name does not tell which table it is for.
    #[error(
        "{path} is for no table; its name must begin with gpus, drivers or guest-drivers, rename or remove it"
    )]
    Name {
        /// Which.
        path: String,
    },
    /// A file that others can change.
    #[error(
        "{path} can be changed by others than its owner, or belongs to somebody else; run `chmod go-w {path}` and look at its owner"
    )]
    NotTrusted {
        /// Which.
        path: String,
    },
    /// It is not UTF-8.
    #[error("{path} is not UTF-8; save it as UTF-8")]
    NotUtf8 {
        /// Which.
        path: String,
    },
    /// A file could not be read.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl Catalogue {
    /// The tables in this program with those of `sources` over them, in this order.
    ///
    /// # Errors
    /// When a file is wrong or can be changed by others.
    pub fn load(sources: &[Source<'_>]) -> Result<Self, CatalogueError> {
        let mut all = Self::built_in()?;
        for source in sources {
            all.add_folder(source)?;
        }
        Ok(all)
    }

    fn add_folder(&mut self, source: &Source<'_>) -> Result<(), CatalogueError> {
        let entries = match source.root.list(source.dir) {
            Ok(entries) => entries,
            Err(e) if e.is_not_found() => return Ok(()),
            Err(e) => return Err(e.into()),
        };
        let mut names: Vec<String> =
            entries.into_iter().map(|e| e.name).filter(|n| n.ends_with(".csv")).collect();
        names.sort();
        for name in names {
            let path = format!("{}/{name}", source.dir.trim_end_matches('/'));
            let kind = match name.as_str() {
                n if n.starts_with("gpus") => Kind::Gpus,
                n if n.starts_with("drivers") => Kind::Drivers,
                n if n.starts_with("guest-drivers") => Kind::GuestDrivers,
                _ => return Err(CatalogueError::Name { path }),
            };
            let meta = source.root.metadata(&path)?;
            if meta.kind != FileKind::File || meta.mode & 0o022 != 0 || !source.owners.contains(&meta.uid) {
                return Err(CatalogueError::NotTrusted { path });
            }
            let bytes = source.root.read_at_most(&path, FILE_LIMIT)?;
            let text =
                String::from_utf8(bytes).map_err(|_| CatalogueError::NotUtf8 { path: path.clone() })?;
            self.add(kind, &path, &text)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn with(files: &[(&str, &str, u32)]) -> Result<Catalogue, CatalogueError> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text, mode) in files {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(*mode)).unwrap();
        }
        let root = Root::open(dir.path()).unwrap();
        let own = nix::unistd::geteuid().as_raw();
        Catalogue::load(&[
            Source { root: &root, dir: "/", owners: &[own] },
            Source { root: &root, dir: "/none", owners: &[] },
        ])
    }

    #[test]
    fn files_of_a_folder_are_laid_over_in_the_order_of_their_names() {
        let head = "branch,host_driver\n";
        let all = with(&[
            ("drivers-b.csv", &format!("{head}21.0,600.2\n"), 0o644),
            ("drivers-a.csv", &format!("{head}21.0,600.1\n"), 0o644),
            ("notes.txt", "x", 0o644),
        ])
        .unwrap();
        let newest = all.drivers().next().unwrap();
        assert_eq!((newest.host_driver.as_str(), newest.origin.as_str()), ("600.2", "/drivers-b.csv"));
        assert_eq!(newest.file_name, "NVIDIA-Linux-x86_64-600.2-vgpu-kvm.run");
    }

    #[test]
    fn a_file_that_others_can_change_is_not_taken() {
        let error = with(&[("gpus.csv", "device_id,name,chip,support,branches\n", 0o666)]).unwrap_err();
        assert!(matches!(error, CatalogueError::NotTrusted { .. }), "{error}");
    }

    #[test]
    fn a_file_for_no_table_is_told() {
        let error = with(&[("cards.csv", "", 0o644)]).unwrap_err();
        assert!(error.to_string().contains("gpus, drivers or guest-drivers"), "{error}");
    }
}
