// SPDX-License-Identifier: GPL-3.0-or-later
//! All adaptations: those in the program, and those that an administrator placed beside.

use super::model::{Adaptation, ModelError};
use crate::host::{FileKind, HostError, Root};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::unix::fs::MetadataExt;

/// Where an administrator places further adaptations.
pub const EXTRA_DIR: &str = "/etc/hostwright/adaptations.d";

/// Largest adaptation file that is read, in bytes.
const FILE_LIMIT: u64 = 1 << 20;

mod embedded {
    include!(concat!(env!("OUT_DIR"), "/adaptations.rs"));
}

/// Adaptations in the order in which they are applied.
#[derive(Debug, Clone)]
pub struct Catalogue {
    adaptations: Vec<Adaptation>,
    digest: String,
}

/// Why there is no catalogue.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// A file is wrong.
    #[error("{0}; correct the file or remove it")]
    Model(#[from] ModelError),
    /// A file or folder that others than root can change.
    #[error(
        "{path} {why}: whoever can change it could have any code built into the kernel; run `chown root:root {path} && chmod go-w {path}`"
    )]
    NotTrusted {
        /// Which.
        path: String,
        /// Why it is not trusted.
        why: String,
    },
    /// Adaptations wait for each other, or for one that is not there.
    #[error("adaptation {id} comes after `{other}`, which {why}; correct `after` in its file")]
    Order {
        /// Which.
        id: String,
        /// For which it waits.
        other: String,
        /// What is wrong with that.
        why: &'static str,
    },
    /// A file could not be read.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A file could not be read to its end.
    #[error("{path}: {source}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

impl Catalogue {
    /// The adaptations in this program.
    ///
    /// # Errors
    /// When one of them is wrong, which the tests rule out.
    pub fn embedded() -> Result<Self, CatalogueError> {
        Self::from_texts(embedded::FILES.iter().map(|(name, text)| (*name, *text)))
    }

    /// The adaptations in this program and those of [`EXTRA_DIR`]; a file there replaces the one of the
    /// same name in the program.
    ///
    /// `owners` are the users whose files are trusted: 0 on a machine, and whoever runs the program on
    /// a scratch root.
    ///
    /// # Errors
    /// When a file is wrong, or somebody else than `owners` can change it or a folder above it.
    pub fn load(root: &Root, owners: &[u32]) -> Result<Self, CatalogueError> {
        let extra = read_extra(root, owners)?;
        let mut texts: BTreeMap<String, String> =
            embedded::FILES.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect();
        for (name, text) in extra {
            texts.insert(name, text);
        }
        Self::from_texts(texts.iter().map(|(n, t)| (n.as_str(), t.as_str())))
    }

    /// A catalogue of these files (name, text).
    ///
    /// # Errors
    /// When one is wrong, or their order cannot be met.
    pub fn from_texts<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, CatalogueError> {
        let mut all = files
            .into_iter()
            .map(|(name, text)| Adaptation::parse(name, text).map(|a| (a.id.clone(), a)))
            .collect::<Result<BTreeMap<_, _>, _>>()?;
        let mut hasher = Sha256::new();
        for a in all.values() {
            hasher.update((a.text.len() as u64).to_le_bytes());
            hasher.update(a.text.as_bytes());
        }
        let digest = hex::encode(hasher.finalize());
        let ids: BTreeSet<String> = all.keys().cloned().collect();
        let mut adaptations: Vec<Adaptation> = Vec::new();
        while !all.is_empty() {
            let ready = all
                .values()
                .find(|a| a.after.iter().all(|o| adaptations.iter().any(|d| &d.id == o)))
                .map(|a| a.id.clone());
            match ready.and_then(|id| all.remove(&id)) {
                Some(a) => adaptations.push(a),
                None => {
                    let stuck = all.values().find_map(|a| {
                        let other = a.after.iter().find(|o| !adaptations.iter().any(|d| &d.id == *o))?;
                        let why = if ids.contains(other) { "waits for it in turn" } else { "is not there" };
                        Some(CatalogueError::Order { id: a.id.clone(), other: other.clone(), why })
                    });
                    match stuck {
                        Some(e) => return Err(e),
                        None => break,
                    }
                }
            }
        }
        Ok(Self { adaptations, digest })
    }

    /// The adaptations, in order.
    pub fn adaptations(&self) -> &[Adaptation] {
        &self.adaptations
    }

    /// SHA-256 of all files, hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

fn trusted(path: &str, uid: u32, mode: u32, owners: &[u32]) -> Result<(), CatalogueError> {
    let why = if !owners.contains(&uid) {
        format!("belongs to user {uid}, not to root")
    } else if mode & 0o022 != 0 {
        format!("can be written by its group or by all (mode {:o})", mode & 0o7777)
    } else {
        return Ok(());
    };
    Err(CatalogueError::NotTrusted { path: path.to_owned(), why })
}

fn read_extra(root: &Root, owners: &[u32]) -> Result<Vec<(String, String)>, CatalogueError> {
    if !root.exists(EXTRA_DIR) {
        return Ok(Vec::new());
    }
    for dir in ["/etc", "/etc/hostwright", EXTRA_DIR] {
        let meta = root.symlink_metadata(dir)?;
        if meta.kind != FileKind::Directory {
            return Err(CatalogueError::NotTrusted { path: dir.into(), why: "is not a plain folder".into() });
        }
        trusted(dir, meta.uid, meta.mode, owners)?;
    }
    let mut found = Vec::new();
    for entry in root.list(EXTRA_DIR)? {
        if !entry.name.ends_with(".toml") || entry.name.starts_with('.') {
            continue;
        }
        let path = format!("{EXTRA_DIR}/{}", entry.name);
        if entry.kind != FileKind::File {
            return Err(CatalogueError::NotTrusted { path, why: "is not a plain file".into() });
        }
        // Owner and mode of what is read, not of what stood there a moment ago.
        let file = root.open_file(&path)?;
        let fail = |source| CatalogueError::Read { path: path.clone(), source };
        let meta = file.metadata().map_err(fail)?;
        trusted(&path, meta.uid(), meta.mode(), owners)?;
        let mut text = String::new();
        file.take(FILE_LIMIT + 1).read_to_string(&mut text).map_err(fail)?;
        if text.len() as u64 > FILE_LIMIT {
            let why = format!("larger than {FILE_LIMIT} bytes");
            return Err(ModelError { file: path, why }.into());
        }
        found.push((entry.name, text));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn file(id: &str, after: &str) -> (String, String) {
        let text = format!(
            "schema = 1\nid = '{id}'\ntitle = 't'\nmodules = ['vmmon']\nsince = 's'\nsource = 's'\nafter = [{after}]\n[[apply]]\nreason = 'r'\ncflags = ['-g']\n"
        );
        (format!("{id}.toml"), text)
    }

    fn build(files: &[(String, String)]) -> Result<Catalogue, CatalogueError> {
        Catalogue::from_texts(files.iter().map(|(n, t)| (n.as_str(), t.as_str())))
    }

    fn machine() -> (tempfile::TempDir, Root, u32) {
        let dir = tempfile::tempdir().unwrap();
        let extra = dir.path().join("etc/hostwright/adaptations.d");
        std::fs::create_dir_all(&extra).unwrap();
        for d in ["etc", "etc/hostwright", "etc/hostwright/adaptations.d"] {
            std::fs::set_permissions(dir.path().join(d), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let (name, text) = file("local", "");
        std::fs::write(extra.join(&name), text).unwrap();
        std::fs::set_permissions(extra.join(&name), std::fs::Permissions::from_mode(0o644)).unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root, nix::unistd::geteuid().as_raw())
    }

    #[test]
    fn the_adaptations_in_the_program_are_all_good() {
        let catalogue = Catalogue::embedded().unwrap();
        assert!(catalogue.adaptations().len() > 10);
        assert!(
            catalogue
                .adaptations()
                .iter()
                .all(|a| a.text.starts_with("# SPDX-License-Identifier: GPL-2.0-or-later"))
        );
    }

    #[test]
    fn the_order_of_files_is_kept() {
        let c = build(&[file("a", "'z'"), file("b", ""), file("z", "")]).unwrap();
        assert_eq!(c.adaptations().iter().map(|a| a.id.as_str()).collect::<Vec<_>>(), ["b", "z", "a"]);
        let e = build(&[file("a", "'b'"), file("b", "'a'")]).unwrap_err();
        assert!(e.to_string().contains("in turn"), "{e}");
        let e = build(&[file("a", "'x'")]).unwrap_err();
        assert!(e.to_string().contains("not there"), "{e}");
    }

    #[test]
    fn files_of_the_administrator_are_read_too() {
        let (_dir, root, me) = machine();
        let c = Catalogue::load(&root, &[me]).unwrap();
        assert!(c.adaptations().iter().any(|a| a.id == "local"));
        assert_ne!(c.digest(), Catalogue::embedded().unwrap().digest());
    }

    #[test]
    fn files_that_others_can_change_are_refused() {
        let (dir, root, me) = machine();
        let e = Catalogue::load(&root, &[me + 1]).unwrap_err();
        assert!(matches!(e, CatalogueError::NotTrusted { .. }), "{e}");
        for path in
            ["etc/hostwright/adaptations.d/local.toml", "etc/hostwright/adaptations.d", "etc/hostwright"]
        {
            let path = dir.path().join(path);
            let old = std::fs::metadata(&path).unwrap().permissions();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(old.mode() | 0o020)).unwrap();
            let e = Catalogue::load(&root, &[me]).unwrap_err();
            assert!(e.to_string().contains("chmod go-w"), "{e}");
            std::fs::set_permissions(&path, old).unwrap();
        }
        Catalogue::load(&root, &[me]).unwrap();
        std::os::unix::fs::symlink("/dev/null", dir.path().join("etc/hostwright/adaptations.d/x.toml"))
            .unwrap();
        assert!(matches!(Catalogue::load(&root, &[me]), Err(CatalogueError::NotTrusted { .. })));
    }

    #[test]
    fn no_folder_means_no_further_adaptations() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(Catalogue::load(&root, &[0]).unwrap().digest(), Catalogue::embedded().unwrap().digest());
    }
}
