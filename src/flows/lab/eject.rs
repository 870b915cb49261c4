// SPDX-License-Identifier: GPL-3.0-or-later
//! Cleans up after builds that did not end well, and only after those.
//!
//! ```text
//!   work folders with a marker ─┐
//!   /proc/self/mountinfo ───────┼─► look ─► Left ─► plan (pure) ─► Action… ─► eject
//!   /sys/block ─────────────────┘
//! ```
//!
//! A build runs in namespaces of its own, so that a crash leaves files and nothing else; mounts and devices
//! can be there all the same, made by hand in such a folder or by a tool that left its namespaces.

use super::LabError;
use super::devices::{self, Device, DeviceKind};
use super::folders::{Folders, children};
use super::mountinfo::{self, Mount};
use super::remove::{self, Removed};
use super::work::{self, MARKER, Marker};
use crate::host::{Cancel, Command, Host};
use nix::mount::{MntFlags, umount2};
use rustix::fs::{AtFlags, FlockOperation};
use serde::Serialize;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How to clean up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EjectOptions {
    /// Drop the caches too.
    pub all: bool,
    /// Detach a mount that is in use at once, and let the kernel unmount it when nobody uses it any more
    /// (umount2(2), `MNT_DETACH`).
    pub lazy: bool,
}

/// Whose a folder below the lab's work folder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// A build that is under way.
    InUse {
        /// Its process.
        pid: i32,
    },
    /// Left by a build that is gone.
    Left(Marker),
    /// It has no marker and something in it, so that it is none of ours.
    Unmarked,
    /// It belongs to another user.
    Foreign {
        /// Who.
        uid: u32,
    },
}

/// One folder below the lab's work folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// Whose it is.
    pub whose: Whose,
    /// What is mounted in it, in the order in which it can be unmounted.
    pub mounts: Vec<Mount>,
    /// Devices made of its files, in the order in which they can be taken down.
    pub devices: Vec<Device>,
    /// Mounts elsewhere that those devices are mounted on.
    pub elsewhere: Vec<PathBuf>,
}

/// What was left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Left {
    /// Work folders.
    pub folders: Vec<Found>,
    /// Lock files that nobody holds.
    pub locks: Vec<PathBuf>,
    /// Cache folders that are there.
    pub caches: Vec<PathBuf>,
    /// What is mounted in the cache folders.
    pub cache_mounts: Vec<Mount>,
}

/// One thing that is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// A mount goes.
    Unmount {
        /// Where.
        point: PathBuf,
    },
    /// A device-mapper mapping goes.
    Unmap {
        /// Its name.
        mapping: String,
    },
    /// A loop device goes.
    Detach {
        /// Its device file.
        device: PathBuf,
    },
    /// A work folder goes.
    Remove {
        /// Which.
        folder: PathBuf,
    },
    /// A lock file goes.
    Unlock {
        /// Which.
        file: PathBuf,
    },
    /// A cache goes.
    Drop {
        /// Which.
        folder: PathBuf,
    },
}

/// What stays, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// What.
    pub path: PathBuf,
    /// Why, and what to do.
    pub reason: String,
    /// Whether that is as it should be (a build is under way).
    pub expected: bool,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ejected {
    /// What was done, in this order.
    pub done: Vec<Action>,
    /// What stays.
    pub kept: Vec<Kept>,
    /// Files, folders and links that were removed.
    pub entries: u64,
    /// Bytes of the disk that are free again.
    pub bytes: u64,
}

impl Ejected {
    fn count(&mut self, removed: Removed) {
        self.entries += removed.entries;
        self.bytes += removed.bytes;
    }
}

/// Looks at what was left. Changes nothing.
///
/// # Errors
/// When the work folder or the list of mounts cannot be read.
pub fn look(host: &Host, all: &Folders) -> Result<Left, LabError> {
    let mut left = Left::default();
    // Mounts are listed by their real path.
    let Ok(cache) = all.cache.canonicalize() else { return Ok(left) };
    let all = Folders { cache, logs: all.logs.clone() };
    let mounts = mountinfo::parse(&host.root().read("/proc/self/mountinfo")?);
    let devices = devices::read(host.root());
    for path in children(&all.work())? {
        let whose = whose(host, &path)?;
        let (inside, ours) = (mounts_in(&mounts, &path), devices::of_folder(&devices, &path));
        let elsewhere = mounts
            .iter()
            .filter(|m| !m.is_in(&path) && ours.iter().any(|d| is_on(m, d)))
            .map(|m| m.point.clone())
            .collect();
        left.folders.push(Found { whose, mounts: inside, devices: ours, elsewhere, path });
    }
    left.locks = children(&all.locks())?.into_iter().filter(|p| is_stale_lock(p)).collect();
    left.caches = all.caches()?;
    left.cache_mounts = left.caches.iter().flat_map(|c| mounts_in(&mounts, c)).collect();
    Ok(left)
}

/// The mounts in a folder, deepest first, and of those at one place the topmost first.
fn mounts_in(mounts: &[Mount], folder: &Path) -> Vec<Mount> {
    let mut inside: Vec<(usize, &Mount)> =
        mounts.iter().enumerate().filter(|(_, m)| m.is_in(folder)).collect();
    inside.sort_by_key(|(at, m)| std::cmp::Reverse((m.point.components().count(), *at)));
    inside.into_iter().map(|(_, m)| m.clone()).collect()
}

/// Whether a mount is of this device or one of its partitions.
fn is_on(mount: &Mount, device: &Device) -> bool {
    mount.device == device.number
        || mount
            .source
            .file_name()
            .and_then(|n| n.to_str())
            .is_some_and(|n| mount.source.starts_with("/dev") && devices::is_part_of(n, &device.name))
}

fn whose(host: &Host, path: &Path) -> Result<Whose, LabError> {
    let what = "could not look at";
    let meta = path.symlink_metadata().map_err(LabError::io(path, what))?;
    let own = nix::unistd::geteuid().as_raw();
    if meta.uid() != own {
        return Ok(Whose::Foreign { uid: meta.uid() });
    }
    if !meta.is_dir() {
        return Ok(Whose::Unmarked);
    }
    let marker: Option<Marker> =
        std::fs::read(path.join(MARKER)).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let held = std::fs::File::open(path)
        .map(|dir| rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive).is_err())
        .unwrap_or(false);
    Ok(match marker {
        Some(marker) if marker.uid != own => Whose::Foreign { uid: marker.uid },
        Some(marker) if held || marker.is_alive(host) => Whose::InUse { pid: marker.pid },
        Some(marker) => Whose::Left(marker),
        None if held => Whose::InUse { pid: 0 },
        // Made, and ended before it had its marker.
        None if children(path)?.is_empty() => Whose::Left(Marker {
            schema: 1,
            uid: own,
            pid: 0,
            started: 0,
            boot_id: String::new(),
            image: String::new(),
        }),
        None => Whose::Unmarked,
    })
}

fn is_stale_lock(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|m| m.is_file() && m.uid() == nix::unistd::geteuid().as_raw())
        && std::fs::File::open(path)
            .is_ok_and(|file| rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok())
}

/// What is done about what was left, and what stays. Pure.
pub fn plan(left: &Left, options: EjectOptions) -> (Vec<Action>, Vec<Kept>) {
    let (mut actions, mut kept) = (Vec::new(), Vec::new());
    let mut in_use = false;
    for found in &left.folders {
        let mut keep = |reason: String, expected| {
            kept.push(Kept { path: found.path.clone(), reason, expected });
        };
        match &found.whose {
            Whose::InUse { pid } => {
                in_use = true;
                keep(format!("a build is under way there (process {pid})"), true);
                continue;
            }
            Whose::Foreign { uid } => {
                keep(format!("it belongs to user {uid}; that user can eject it"), false);
                continue;
            }
            Whose::Unmarked => {
                keep(
                    "it has no marker, so that it is none of the lab's; move it elsewhere if it is yours"
                        .to_owned(),
                    false,
                );
                continue;
            }
            Whose::Left(_) => {}
        }
        if let Some(point) = found.elsewhere.first() {
            keep(
                format!("a file of it is mounted on {}; unmount that, and eject again", point.display()),
                false,
            );
            continue;
        }
        actions.extend(found.mounts.iter().map(|m| Action::Unmount { point: m.point.clone() }));
        actions.extend(found.devices.iter().map(|d| match &d.kind {
            DeviceKind::Mapper { mapping, .. } => Action::Unmap { mapping: mapping.clone() },
            DeviceKind::Loop { .. } => Action::Detach { device: Path::new("/dev").join(&d.name) },
        }));
        actions.push(Action::Remove { folder: found.path.clone() });
    }
    actions.extend(left.locks.iter().map(|file| Action::Unlock { file: file.clone() }));
    if options.all {
        for folder in &left.caches {
            // Nothing of a cache is ever mounted by us.
            if let Some(mount) = left.cache_mounts.iter().find(|m| m.is_in(folder)) {
                let reason = format!("{} is mounted; unmount it, and eject again", mount.point.display());
                kept.push(Kept { path: folder.clone(), reason, expected: false });
            } else if in_use {
                let reason = "a build that is under way may need it; eject again when it is done".to_owned();
                kept.push(Kept { path: folder.clone(), reason, expected: true });
            } else {
                actions.push(Action::Drop { folder: folder.clone() });
            }
        }
    }
    (actions, kept)
}

/// Cleans up. One thing that cannot be removed does not keep the others.
///
/// # Errors
/// When it cannot be found out what was left, or somebody asked to stop.
pub fn eject(
    host: &Host,
    all: &Folders,
    options: EjectOptions,
    cancel: &Cancel,
) -> Result<Ejected, LabError> {
    let left = look(host, all)?;
    let (actions, kept) = plan(&left, options);
    let mut ejected = Ejected { kept, ..Ejected::default() };
    // A folder in which something stayed mounted is not removed.
    let mut stuck: Vec<PathBuf> = Vec::new();
    for action in actions {
        if cancel.is_cancelled() {
            return Err(LabError::Cancelled);
        }
        match carry_out(host, &action, options, &stuck) {
            Ok(removed) => {
                ejected.count(removed);
                ejected.done.push(action);
            }
            Err(reason) => {
                let path = match &action {
                    Action::Unmount { point } => {
                        stuck.push(point.clone());
                        point.clone()
                    }
                    Action::Unmap { mapping } => Path::new("/dev/mapper").join(mapping),
                    Action::Detach { device } => device.clone(),
                    Action::Remove { folder } | Action::Drop { folder } => folder.clone(),
                    Action::Unlock { file } => file.clone(),
                };
                ejected.kept.push(Kept { path, reason, expected: false });
            }
        }
    }
    Ok(ejected)
}

fn carry_out(
    host: &Host,
    action: &Action,
    options: EjectOptions,
    stuck: &[PathBuf],
) -> Result<Removed, String> {
    let tool = |command: Command| {
        host.runner().run_ok(&command).map(|_| Removed::default()).map_err(|e| e.to_string())
    };
    match action {
        Action::Unmount { point } => unmount(point, options.lazy).map(|()| Removed::default()),
        Action::Unmap { mapping } => tool(Command::new("dmsetup").args(["remove", "--", mapping])),
        Action::Detach { device } => {
            tool(Command::new("losetup").args(["--detach".to_owned(), device.display().to_string()]))
        }
        Action::Remove { folder } | Action::Drop { folder } => {
            if let Some(point) = stuck.iter().find(|p| p.starts_with(folder)) {
                return Err(format!("{} is still mounted, so nothing of it was removed", point.display()));
            }
            // Once more, at the last moment: what is mounted below is never entered.
            let mounts = host.root().read("/proc/self/mountinfo").map_err(|e| e.to_string())?;
            if let Some(mount) = mountinfo::parse(&mounts).iter().find(|m| m.is_in(folder)) {
                return Err(format!("{} is mounted, so nothing of it was removed", mount.point.display()));
            }
            work::remove_marked(host, folder).map_err(|e| e.to_string())
        }
        Action::Unlock { file } => unlock(file).map_err(|e| e.to_string()),
    }
}

fn unmount(point: &Path, lazy: bool) -> Result<(), String> {
    // A link in the last place must not lead elsewhere.
    let flags = if lazy { MntFlags::MNT_DETACH } else { MntFlags::empty() } | MntFlags::UMOUNT_NOFOLLOW;
    umount2(point, flags).map_err(|errno| match errno {
        nix::errno::Errno::EBUSY => "it is in use; end what uses it (`fuser -vm`), or use --lazy".to_owned(),
        nix::errno::Errno::EPERM => {
            "only root may unmount it; use `sudo hostwright lab eject` or umount".to_owned()
        }
        other => format!("it could not be unmounted: {other}"),
    })
}

/// Removes a lock file while holding it.
fn unlock(file: &Path) -> std::io::Result<Removed> {
    let held = std::fs::File::open(file)?;
    rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive)?;
    rustix::fs::unlinkat(work::parent_of(file)?, file.file_name().unwrap_or_default(), AtFlags::empty())?;
    Ok(Removed { entries: 1, bytes: 0 })
}

/// Removes one thing of the lab's folders; for a process in the user namespace of the one whose it is.
///
/// # Errors
/// When it is in none of them, or something of it cannot be removed.
pub fn remove_inside(host: &Host, path: &Path) -> Result<Removed, LabError> {
    let refused = |reason: String| LabError::refused("not-ours", reason, "use `hostwright lab eject` alone");
    let marked = |folder: &Path| folder.join(MARKER).symlink_metadata().is_ok_and(|m| m.is_file());
    let plain = path.components().all(|c| !matches!(c, std::path::Component::ParentDir));
    if !path.is_absolute() || !plain || !path.ancestors().skip(1).any(marked) {
        return Err(refused(format!("{} is in no folder of the lab", path.display())));
    }
    let mounts = mountinfo::parse(&host.root().read("/proc/self/mountinfo")?);
    if let Some(mount) = mounts.iter().find(|m| m.is_in(path)) {
        return Err(refused(format!("{} is mounted", mount.point.display())));
    }
    let parent = work::parent_of(path).map_err(LabError::io(path, "could not open the folder above"))?;
    remove::remove(&parent, path.file_name().unwrap_or_default(), path).map_err(|e| refused(e.to_string()))
}

#[cfg(test)]
#[path = "eject_tests.rs"]
mod tests;
