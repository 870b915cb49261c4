// SPDX-License-Identifier: GPL-3.0-or-later
//! The sources of one VMware module: found, read into memory and recognised.

use crate::engine::source::{self, Files, Limits, SourceError};
use crate::engine::steps::SourceRef;
use crate::host::{FileKind, Root};
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Where VMware's installer puts the sources of its modules.
pub const INSTALLED: &str = "/usr/lib/vmware/modules/source";

/// The two modules, the one whose symbols nobody needs last does not matter: they are independent.
pub const MODULES: [&str; 2] = ["vmmon", "vmnet"];

/// The sources of one module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTree {
    /// Module name ("vmmon").
    pub module: String,
    /// Path relative to the module's folder → bytes.
    pub files: Files,
    /// SHA-256 of paths and bytes ([`source::tree_sha256`]).
    pub sha256: String,
    /// Where it came from.
    pub source: SourceRef,
    /// The folder inside the archive or folder ("vmmon-only"), empty for its top.
    pub folder: String,
    /// Version constants found in it: `VMMON_VERSION` → "416.0".
    pub constants: BTreeMap<String, String>,
    /// What it is.
    pub recognised: Recognised,
}

/// What a source tree is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Recognised {
    /// Byte for byte as VMware ships it.
    Stock {
        /// In which products ("Workstation 17.5.0, 17.5.1").
        product: String,
    },
    /// The practice modules of this project.
    Practice,
    /// A tree packaged for DKMS.
    Dkms {
        /// `PACKAGE_VERSION` of its `dkms.conf`, when it has one.
        version: Option<String>,
    },
    /// A module of this name that is not in the table of known releases: a newer release, or a tree
    /// that somebody changed.
    Other,
}

impl Recognised {
    /// In a few words, for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Stock { product } => format!("as shipped with {product}"),
            Self::Practice => "practice module".into(),
            Self::Dkms { version: Some(v) } => format!("DKMS tree {v}"),
            Self::Dkms { version: None } => "DKMS tree".into(),
            Self::Other => "changed or of a release that is not in the table".into(),
        }
    }
}

/// A place with sources, for choosing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FoundSource {
    /// Where.
    pub path: String,
    /// Which modules are in it.
    pub modules: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    #[serde(default)]
    source: Vec<KnownSource>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KnownSource {
    product: String,
    vmmon: String,
    vmnet: String,
}

static KNOWN: LazyLock<Vec<KnownSource>> = LazyLock::new(|| {
    let text = include_str!("../../../data/known-sources.toml");
    toml::from_str::<Known>(text).map(|k| k.source).unwrap_or_default()
});

/// `(416 << 16 | 0)` as VMware writes a version of two parts.
static CONSTANT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?m)^\s*#\s*define\s+(VMMON_VERSION|VNET_API_VERSION|VNET_EVENT_VERSION)\s+\(?\s*(\d+)(?:\s*<<\s*16\s*\|\s*(\d+))?\s*\)?",
    )
    .ok()
});

fn constants(files: &Files) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let Some(regex) = CONSTANT.as_ref() else { return found };
    for (path, bytes) in files {
        if !path.ends_with(".h") {
            continue;
        }
        let text = String::from_utf8_lossy(bytes);
        for c in regex.captures_iter(&text) {
            let value = match c.get(3) {
                Some(minor) => format!("{}.{}", &c[2], minor.as_str()),
                None => c[2].to_owned(),
            };
            // The last one wins: the first branches of vnet.h are for other systems.
            found.insert(c[1].to_owned(), value);
        }
    }
    found
}

fn recognise(module: &str, sha256: &str, files: &Files, around: &Files) -> Recognised {
    let products: Vec<&str> = KNOWN
        .iter()
        .filter(|k| (if module == "vmmon" { &k.vmmon } else { &k.vmnet }) == sha256)
        .map(|k| k.product.as_str())
        .collect();
    if !products.is_empty() {
        return Recognised::Stock { product: format!("Workstation {}", products.join(", ")) };
    }
    if files.values().any(|b| contains(b, "Hostwright's practice stand-in")) {
        return Recognised::Practice;
    }
    if let Some(conf) = files.get("dkms.conf").or_else(|| around.get("dkms.conf")) {
        let version = String::from_utf8_lossy(conf).lines().find_map(|l| {
            let value = l.trim().strip_prefix("PACKAGE_VERSION=")?;
            let value = value.trim_matches(|c: char| c == '"' || c == '\'' || c.is_whitespace());
            (!value.is_empty() && value.len() < 40 && !value.chars().any(char::is_control))
                .then(|| value.to_owned())
        });
        return Recognised::Dkms { version };
    }
    Recognised::Other
}

fn contains(text: &[u8], word: &str) -> bool {
    String::from_utf8_lossy(text).contains(word)
}

impl SourceTree {
    /// Takes the sources of `module` out of the files of an archive or a folder.
    ///
    /// # Errors
    /// When the module is not in there, or is there several times.
    pub fn from_files(files: &Files, module: &str, source: &SourceRef) -> Result<Self, SourceError> {
        let place = match source {
            SourceRef::Installed { path } => path.as_str(),
            SourceRef::Sealed { name, .. } => name.as_str(),
        };
        let (folder, tree) = source::module_files(files, module, place)?;
        Self::check(module, &tree, place)?;
        let sha256 = source::tree_sha256(&tree);
        Ok(Self {
            module: module.to_owned(),
            constants: constants(&tree),
            recognised: recognise(module, &sha256, &tree, files),
            sha256,
            folder,
            files: tree,
            source: source.clone(),
        })
    }

    /// Whether it is what its name says: an entry point, and the device that VMware's programs open.
    fn check(module: &str, files: &Files, place: &str) -> Result<(), SourceError> {
        let any = |words: &[&str]| {
            files
                .iter()
                .filter(|(p, _)| p.ends_with(".c") || p.ends_with(".h"))
                .any(|(_, b)| words.iter().any(|w| contains(b, w)))
        };
        let missing = |what: &str| SourceError::NoModule {
            place: place.to_owned(),
            module: module.to_owned(),
            why: format!("its C text has {what}"),
        };
        if !any(&["init_module", "module_init"]) {
            return Err(missing("no init_module() and no module_init()"));
        }
        let device: &[&str] = match module {
            "vmmon" => &["misc_register", "register_chrdev"],
            "vmnet" => &["register_chrdev", "alloc_chrdev_region", "misc_register"],
            _ => return Ok(()),
        };
        if any(device) { Ok(()) } else { Err(missing("no device registration, so it is no VMware module")) }
    }

    /// Reads the sources of `module` from a path of a machine: an archive, a folder with `MODULE-only`
    /// (or `MODULE.tar`), or the folder itself.
    ///
    /// # Errors
    /// When it cannot be read, is not what it should be, or holds no such module.
    pub fn read(root: &Root, path: &str, module: &str) -> Result<Self, SourceError> {
        let limits = Limits::default();
        let path = path.trim_end_matches('/');
        if root.metadata(path)?.kind == FileKind::Directory {
            // The module's own folder or archive first: what lies beside it is none of our business.
            let mut own = [format!("{path}/{module}-only"), format!("{path}/{module}.tar")];
            if path == INSTALLED {
                // There VMware's own tools build from the archive; a folder beside it is somebody's left-over.
                own.reverse();
            }
            for inside in own {
                if root.exists(&inside) {
                    let files = source::read_place(root, &inside, &limits)?;
                    return Self::from_files(&files, module, &SourceRef::Installed { path: inside });
                }
            }
        }
        let files = source::read_place(root, path, &limits)?;
        Self::from_files(&files, module, &SourceRef::Installed { path: path.to_owned() })
    }

    /// Reads the sources of `module` from an archive in memory.
    ///
    /// # Errors
    /// When it is no archive, is refused, or holds no such module.
    pub fn from_archive(bytes: &[u8], name: &str, module: &str) -> Result<Self, SourceError> {
        use sha2::{Digest, Sha256};
        let files = source::read_archive(bytes, &Limits::default())?;
        let sha256 = hex::encode(Sha256::digest(bytes));
        Self::from_files(&files, module, &SourceRef::Sealed { sha256, name: name.to_owned() })
    }

    /// The version constant that VMware's programs compare ("416.0"), if there is one.
    pub fn version(&self) -> Option<&str> {
        let name = if self.module == "vmmon" { "VMMON_VERSION" } else { "VNET_API_VERSION" };
        self.constants.get(name).map(String::as_str)
    }

    /// One sentence for people.
    pub fn describe(&self) -> String {
        let version = self.version().map(|v| format!(" (interface {v})")).unwrap_or_default();
        let what = self.recognised.describe();
        format!("{}{version}, {} files, {what}", self.module, self.files.len())
    }
}

/// Where on a machine module sources are: what VMware's installer placed, and DKMS trees that name a
/// VMware module.
pub fn find(root: &Root) -> Vec<FoundSource> {
    let mut found = Vec::new();
    let holds = |dir: &str| -> Vec<String> {
        MODULES
            .iter()
            .filter(|m| {
                root.exists(&format!("{dir}/{m}.tar")) || root.exists(&format!("{dir}/{m}-only/Makefile"))
            })
            .map(|m| (*m).to_owned())
            .collect()
    };
    let modules = holds(INSTALLED);
    if !modules.is_empty() {
        found.push(FoundSource { path: INSTALLED.into(), modules });
    }
    for entry in root.list("/usr/src").unwrap_or_default() {
        let dir = format!("/usr/src/{}", entry.name);
        let name = entry.name.to_ascii_lowercase();
        if entry.kind != FileKind::Directory || !["vmware", "vmmon", "vmnet"].iter().any(|w| name.contains(w))
        {
            continue;
        }
        let mut modules = holds(&dir);
        if modules.is_empty() {
            modules = MODULES
                .iter()
                .filter(|m| name.starts_with(**m) && root.exists(&format!("{dir}/Makefile")))
                .map(|m| (*m).to_owned())
                .collect();
        }
        if !modules.is_empty() {
            found.push(FoundSource { path: dir, modules });
        }
    }
    found
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
