// SPDX-License-Identifier: GPL-3.0-or-later
//! Built modules by what they were built from, so that the same build need not be done twice. Written by
//! us only; what comes out is checked again before it is used.

use crate::engine::modinfo::MODULE_LIMIT;
use crate::engine::steps::BuildModules;
use crate::host::{FileKind, Host, HostError, Root};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Where the cache is, inside the root.
pub const CACHE: &str = "/var/cache/hostwright/builds";

/// Raised when the way modules are built changes, so that older results are not used.
const VERSION: u32 = 1;

/// How many builds are kept, the newest.
const KEPT: usize = 24;

/// What one cached build is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Hash of each module's file.
    files: BTreeMap<String, String>,
    /// The log of the build that made them.
    log: String,
    /// When they were built.
    when: String,
}

/// A build that is in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct Cached {
    /// Module name and file.
    pub modules: Vec<(String, Vec<u8>)>,
    /// The log of the build that made them.
    pub log: String,
    /// When they were built.
    pub when: String,
}

/// Identity of a build: everything that has an influence on its result. Where the sources came from has none.
pub(in crate::engine) fn key(step: &BuildModules) -> String {
    let modules: Vec<_> = step
        .modules
        .iter()
        .map(|m| serde_json::json!([m.module, m.source_sha256, m.edits, m.compat_header, m.make_vars]))
        .collect();
    let identity = serde_json::json!([
        VERSION,
        step.kernel,
        step.build_dir,
        step.build_id,
        step.vermagic,
        step.mode,
        step.compiler,
        modules,
    ]);
    hex::encode(Sha256::digest(identity.to_string()))
}

/// The cache of one machine.
pub(in crate::engine) struct Cache<'a> {
    root: &'a Root,
}

impl<'a> Cache<'a> {
    pub fn of(host: &'a Host) -> Self {
        Self { root: host.root() }
    }

    /// Looks a build up. Anything that is not just as it was stored counts as not there.
    pub fn find(&self, key: &str, step: &BuildModules) -> Option<Cached> {
        let dir = format!("{CACHE}/{key}");
        let ours = |path: &str, kind| {
            self.root.symlink_metadata(path).is_ok_and(|m| {
                m.kind == kind && m.uid == nix::unistd::geteuid().as_raw() && m.mode & 0o022 == 0
            })
        };
        if !ours(CACHE, FileKind::Directory) || !ours(&dir, FileKind::Directory) {
            return None;
        }
        let record = self.root.read_at_most(&format!("{dir}/build.json"), 1 << 20).ok()?;
        let record: Record = serde_json::from_slice(&record).ok()?;
        let mut modules = Vec::new();
        for module in &step.modules {
            let path = format!("{dir}/{}.ko", module.module);
            if !ours(&path, FileKind::File) {
                return None;
            }
            let bytes = self.root.read_at_most(&path, MODULE_LIMIT).ok()?;
            if record.files.get(&module.module) != Some(&hex::encode(Sha256::digest(&bytes))) {
                tracing::warn!(path, "a module in the build cache is damaged; it is built again");
                return None;
            }
            modules.push((module.module.clone(), bytes));
        }
        Some(Cached { modules, log: record.log, when: record.when })
    }

    /// Stores a build; its record comes last, so that half a build is none.
    pub fn store(
        &self,
        key: &str,
        modules: &[(&str, &[u8])],
        log: &str,
        when: &str,
    ) -> Result<(), HostError> {
        let dir = format!("{CACHE}/{key}");
        self.root.create_dirs("/var/cache/hostwright", 0o755)?;
        self.root.create_dirs(&dir, 0o755)?;
        let mut record = Record { files: BTreeMap::new(), log: log.to_owned(), when: when.to_owned() };
        for (module, bytes) in modules {
            self.root.write(&format!("{dir}/{module}.ko"), bytes, 0o644, None)?;
            record.files.insert((*module).to_owned(), hex::encode(Sha256::digest(bytes)));
        }
        let text = serde_json::to_vec_pretty(&record).unwrap_or_default();
        self.root.write(&format!("{dir}/build.json"), &text, 0o644, None)?;
        self.forget_old();
        Ok(())
    }

    /// Removes a build that did not hold what it should.
    pub fn forget(&self, key: &str) {
        let removed = self.root.dir(CACHE).map(|dir| dir.remove_dir_all(key));
        if let Ok(Err(error)) = removed {
            tracing::warn!(key, %error, "a damaged build stays in the cache");
        }
    }

    fn forget_old(&self) {
        let Ok(entries) = self.root.list(CACHE) else { return };
        let mut builds: Vec<(i128, String)> = entries
            .into_iter()
            .filter(|e| e.kind == FileKind::Directory)
            .map(|e| {
                let when =
                    self.root.metadata(&format!("{CACHE}/{}/build.json", e.name)).map_or(0, |m| m.mtime_ns);
                (when, e.name)
            })
            .collect();
        builds.sort();
        let surplus = builds.len().saturating_sub(KEPT);
        for (_, key) in builds.into_iter().take(surplus) {
            self.forget(&key);
        }
    }
}

/// Removes all cached builds of a machine; returns how many there were.
///
/// # Errors
/// When one cannot be removed.
pub fn clean(host: &Host) -> Result<usize, HostError> {
    let root = host.root();
    let entries = match root.list(CACHE) {
        Err(e) if e.is_not_found() => return Ok(0),
        other => other?,
    };
    let dir = root.dir(CACHE)?;
    for entry in &entries {
        let removed = match entry.kind {
            FileKind::Directory => dir.remove_dir_all(&entry.name),
            _ => dir.remove_file(&entry.name),
        };
        removed.map_err(|source| HostError {
            path: format!("{CACHE}/{}", entry.name),
            what: "could not remove",
            source,
        })?;
    }
    Ok(entries.len())
}
