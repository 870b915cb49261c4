// SPDX-License-Identifier: GPL-3.0-or-later
//! The ZFS pool of the root file system and what a kernel must know to import it.

use crate::detect::Finding;
use crate::detect::look::{Look, NOT_RUNNING};
use crate::host::Command;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// State of a pool's feature (zpool-features(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeatureState {
    /// Off.
    Disabled,
    /// Allowed; it becomes active when something first uses it.
    Enabled,
    /// In use: a ZFS without it cannot import the pool for writing.
    Active,
}

/// A feature of a pool.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct PoolFeature {
    /// Its short name ("`block_cloning_endian`").
    pub name: String,
    /// Its state.
    pub state: FeatureState,
}

/// The pool that holds `/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RootPool {
    /// Its name ("rpool").
    pub name: String,
    /// Its features that are enabled or active.
    pub features: Finding<Vec<PoolFeature>>,
}

/// `zpool get -H -o property,value all POOL`: the features that are not disabled, by name.
pub fn parse_zpool_get(text: &str) -> Vec<PoolFeature> {
    let mut found: Vec<PoolFeature> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next()?.strip_prefix("feature@")?.to_owned();
            let state = match words.next()? {
                "active" => FeatureState::Active,
                "enabled" => FeatureState::Enabled,
                _ => return None,
            };
            Some(PoolFeature { name, state })
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

/// The dataset that is mounted on `/` ("rpool/ROOT/pve-1"), from `/proc/self/mountinfo`
/// (proc_pid_mountinfo(5)); `None` when another file system is.
pub fn root_dataset(mountinfo: &str) -> Option<&str> {
    let mut mounts = mountinfo.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        (before.split(' ').nth(4)? == "/").then_some(())?;
        let mut words = after.split(' ');
        Some((words.next()?, words.next()?))
    });
    // The last mount on a place is the one that is seen.
    mounts.next_back().filter(|(kind, _)| *kind == "zfs").map(|(_, source)| source)
}

pub(super) fn read(look: &Look<'_>) -> Finding<Option<RootPool>> {
    if !look.running {
        return Finding::unseen(NOT_RUNNING);
    }
    let mountinfo = match look.text("/proc/self/mountinfo") {
        Ok(text) => text,
        Err(e) => return Finding::unseen(e.to_string()),
    };
    let Some(dataset) = root_dataset(&mountinfo) else { return Finding::Seen(None) };
    let name = dataset.split('/').next().unwrap_or(dataset).to_owned();
    let features = features(look, &name);
    Finding::Seen(Some(RootPool { name, features }))
}

fn features(look: &Look<'_>, pool: &str) -> Finding<Vec<PoolFeature>> {
    let command = Command::new("/usr/sbin/zpool").args(["get", "-H", "-o", "property,value", "all", pool]);
    let Some(command) = look.host.tool(command.timeout(Duration::from_secs(20))) else {
        return Finding::unseen("this root has no tools of its own");
    };
    match look.host.runner().run(&command) {
        Ok(output) if output.success() => Finding::Seen(parse_zpool_get(&output.stdout)),
        Ok(output) => {
            let said = output.stderr.lines().last().unwrap_or("it said nothing").to_owned();
            Finding::unseen(format!("{} failed: {said}", command.display()))
        }
        Err(e) => Finding::unseen(e.to_string()),
    }
}

/// Version of the ZFS module of each kernel under `/lib/modules` that has one: what it says of itself.
pub(super) fn modules(look: &Look<'_>) -> Finding<Vec<(String, String)>> {
    let kernels = match look.root().list("/lib/modules") {
        Ok(kernels) => kernels,
        Err(e) => return Finding::unseen(e.to_string()),
    };
    let mut found = Vec::new();
    for kernel in kernels {
        let version = ["zfs/zfs.ko", "extra/zfs.ko", "updates/dkms/zfs.ko", "kernel/fs/zfs/zfs.ko"]
            .iter()
            .find_map(|place| module_version(look, &format!("/lib/modules/{}/{place}", kernel.name)));
        if let Some(version) = version {
            found.push((kernel.name, version));
        }
    }
    found.sort_by(|a, b| crate::detect::look::compare_versions(&b.0, &a.0));
    Finding::Seen(found)
}

fn module_version(look: &Look<'_>, path: &str) -> Option<String> {
    use object::{Object, ObjectSection};
    let bytes = look.root().read_at_most(path, 64 << 20).ok()?;
    let file = object::File::parse(bytes.as_slice()).ok()?;
    let section = file.section_by_name(".modinfo")?;
    let mut fields = section.data().ok()?.split(|b| *b == 0).filter_map(|f| std::str::from_utf8(f).ok());
    fields.find_map(|f| f.strip_prefix("version=").map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn features_that_are_on_are_read_and_no_other_property() {
        let text = "size\t928G\nfeature@async_destroy\tenabled\nfeature@lz4_compress\tactive\n\
                    feature@block_cloning_endian\tactive\nfeature@draid\tdisabled\n";
        let found = parse_zpool_get(text);
        let short: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.state)).collect();
        assert_eq!(
            short,
            [
                ("async_destroy", FeatureState::Enabled),
                ("block_cloning_endian", FeatureState::Active),
                ("lz4_compress", FeatureState::Active)
            ]
        );
    }

    #[test]
    fn the_root_dataset_is_the_last_mount_on_the_root() {
        let text = "1 1 0:2 / / rw - rootfs rootfs rw\n29 1 0:27 / / rw,relatime shared:1 - zfs rpool/ROOT/pve-1 rw,xattr\n30 29 0:30 / /data rw - zfs tank rw\n";
        assert_eq!(root_dataset(text), Some("rpool/ROOT/pve-1"));
        assert_eq!(root_dataset("29 1 8:2 / / rw shared:1 - ext4 /dev/sda2 rw\n"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_these_parsers_panic(text in "(?s).*", word in "\\PC*") {
            parse_zpool_get(&text);
            parse_zpool_get(&format!("feature@{word}"));
            root_dataset(&text);
            root_dataset(&format!("1 2 3 / / - zfs{word}"));
        }
    }
}
