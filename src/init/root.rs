// SPDX-License-Identifier: GPL-3.0-or-later
//! Mounts the guest's root, goes into it, or hands over to its own init.

use super::config::{Config, Root};
use super::devices::{News, PATIENCE, block_devices, named, node};
use super::modules::List;
use super::mounts::{self, make_folder};
use super::sys::{self, MS_MOVE, MS_NODEV, MS_NOSUID, MS_RDONLY};
use super::voice::Voice;
use super::{Failure, agent, filesystem};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Where the new root is until it is `/`.
const NEW: &str = "/newroot";
/// Where a root lies that only a layer over it is written to.
const LOWER: &str = "/lower";
/// The layer.
const LAYER: &str = "/layer";

fn fail(reason: String) -> Failure {
    Failure { stage: "root", reason }
}

/// Mounts the root at a place of its own, with a layer in memory over it unless it may be written to.
///
/// # Errors
/// When its device does not appear, or it cannot be mounted.
pub fn mount(config: &Config, modules: &mut List, news: &News) -> Result<(), Failure> {
    make_folder(NEW)?;
    let place = if config.writable {
        NEW
    } else {
        make_folder(LOWER)?;
        LOWER
    };
    let flags = if config.writable { 0 } else { MS_RDONLY };
    match &config.root {
        Root::None => return Ok(()),
        Root::Ninep { tag, msize } => ninep(tag, *msize, place, config.writable, news)?,
        Root::Virtiofs { tag } => {
            let mounted = news.wait(PATIENCE, || retry(sys::mount_at(tag, place, "virtiofs", flags, "")));
            done(mounted, || format!("no virtiofs device with the tag {tag} appeared"))?
                .map_err(Failure::at("root", format_args!("could not mount {tag} (virtiofs)")))?;
        }
        Root::Disk { serial } => disk(serial, place, flags, modules, news)?,
    }
    if !config.writable {
        layer()?;
    }
    looks_like_a_root()
}

/// What a mount said, unless its device may still come.
fn retry(result: std::io::Result<()>) -> Option<std::io::Result<()>> {
    /// ENOENT, ENXIO, ENODEV for 9p's tags; EINVAL for virtiofs's.
    const NOT_YET: [i32; 3] = [2, 6, 22];
    match result {
        Err(e) if e.raw_os_error().is_some_and(|code| NOT_YET.contains(&code)) => None,
        other => Some(other),
    }
}

fn done<T>(found: Option<T>, missing: impl FnOnce() -> String) -> Result<T, Failure> {
    found.ok_or_else(|| fail(format!("{} in {} seconds", missing(), PATIENCE.as_secs())))
}

fn ninep(tag: &str, msize: u32, place: &str, writable: bool, news: &News) -> Result<(), Failure> {
    // Only a folder that the guest cannot change may be cached without asking the host each time. `access=any`:
    // one attachment for all users, as the host's side knows one only.
    let (flags, cache) = if writable { (0, "mmap") } else { (MS_RDONLY, "loose") };
    let options = format!("trans=virtio,version=9p2000.L,msize={msize},access=any,cache={cache}");
    let mounted = news.wait(PATIENCE, || retry(sys::mount_at(tag, place, "9p", flags, &options)));
    done(mounted, || format!("no 9p device with the tag {tag} appeared"))?
        .map_err(Failure::at("root", format_args!("could not mount {tag} (9p)")))
}

/// Mounts the disk with this serial number, or the largest of its partitions that looks like a root.
fn disk(serial: &str, place: &str, flags: u64, modules: &mut List, news: &News) -> Result<(), Failure> {
    let name = done(news.wait(PATIENCE, || named("/sys/block", "serial", serial)), || {
        let there: Vec<String> = block_devices().into_keys().collect();
        format!("no disk with the serial number {serial} appeared (there are: {})", there.join(", "))
    })?;
    let mut parts: Vec<(String, u64)> = block_devices()
        .into_iter()
        .filter(|(part, _)| part.starts_with(&name) && (*part == name || is_partition(part)))
        .collect();
    // The whole disk first, then its partitions, the largest first.
    parts.sort_by_key(|(part, size)| (*part != name, std::cmp::Reverse(*size)));
    let mut tried = Vec::new();
    for (part, _) in &parts {
        let path = node(&format!("/sys/class/block/{part}"), part, true)?;
        let Some(kind) = file_system(&path) else {
            tried.push(format!("{part}: no known file system"));
            continue;
        };
        modules.insert(kind)?;
        let flags = if filesystem::is_read_only(kind) { MS_RDONLY } else { flags };
        match sys::mount_at(&path, place, kind, flags, "") {
            Ok(()) if holds_a_root(place) => return Ok(()),
            Ok(()) => {
                tried.push(format!("{part}: {kind}, but no root"));
                let _ = sys::detach(place);
            }
            Err(e) => tried.push(format!("{part}: {kind} could not be mounted: {e}")),
        }
    }
    Err(fail(format!("the disk {name} holds no root that can be used ({})", tried.join("; "))))
}

fn is_partition(name: &str) -> bool {
    Path::new(&format!("/sys/class/block/{name}/partition")).exists()
}

fn file_system(device: &str) -> Option<&'static str> {
    let mut head = Vec::with_capacity(filesystem::HEAD);
    std::fs::File::open(device).ok()?.take(filesystem::HEAD as u64).read_to_end(&mut head).ok()?;
    filesystem::kind(&head)
}

fn layer() -> Result<(), Failure> {
    let at = |what: &'static str| Failure::at("root", what);
    make_folder(LAYER)?;
    sys::mount_at("tmpfs", LAYER, "tmpfs", MS_NODEV, "mode=755").map_err(at("could not mount memory"))?;
    make_folder(&format!("{LAYER}/upper"))?;
    make_folder(&format!("{LAYER}/work"))?;
    let options = format!("lowerdir={LOWER},upperdir={LAYER}/upper,workdir={LAYER}/work");
    sys::mount_at("overlay", NEW, "overlay", 0, &options).map_err(at("could not lay memory over the root"))
}

fn holds_a_root(place: &str) -> bool {
    ["usr", "bin", "sbin", "etc", "lib"].iter().any(|dir| Path::new(place).join(dir).exists())
}

fn looks_like_a_root() -> Result<(), Failure> {
    if holds_a_root(NEW) {
        return Ok(());
    }
    Err(fail("what is mounted is no root: it has none of usr, bin, sbin, etc, lib; name the folder or image of a whole system".to_owned()))
}

/// Makes the new root `/`.
///
/// # Errors
/// When it lacks a place for `/proc`, `/sys` or `/dev` and none can be made, or as mount(2).
pub fn enter(config: &Config) -> Result<(), Failure> {
    for dir in ["/proc", "/sys", "/dev", "/run", "/tmp"] {
        let new = format!("{NEW}{dir}");
        // What a read-only disk without them lacks shows when it is mounted.
        let _ = std::fs::create_dir(&new);
        if matches!(dir, "/proc" | "/sys" | "/dev") {
            sys::mount_at(dir, &new, "", MS_MOVE, "")
                .map_err(Failure::at("root", format_args!("the root has no place for {dir}")))?;
        }
    }
    std::env::set_current_dir(NEW).map_err(Failure::at("root", NEW))?;
    sys::mount_at(".", "/", "", MS_MOVE, "").map_err(Failure::at("root", "could not move the root"))?;
    sys::change_root(".").map_err(Failure::at("root", "could not go into the root"))?;
    std::env::set_current_dir("/").map_err(Failure::at("root", "/"))?;
    if !matches!(config.task, super::config::Task::Init { .. }) {
        mounts::comforts();
    }
    Ok(())
}

/// Becomes the tree's own init; comes back only when that cannot be. Where files are to be collected, an agent
/// is left in `/run`, where systemd finds it.
pub fn hand_over(voice: &mut Voice, config: &Config, path: &str, args: &[String]) -> Failure {
    let at = |reason: String| Failure { stage: "switch", reason };
    if config.root == Root::None {
        return at("there is no root to hand over to".to_owned());
    }
    match std::fs::metadata(path) {
        Err(e) => return at(format!("{path} is not in the root: {e}")),
        Ok(meta) if !meta.is_file() || meta.permissions().mode() & 0o111 == 0 => {
            return at(format!("{path} is no program"));
        }
        Ok(_) => {}
    }
    if let Err(e) = sys::mount_at("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755") {
        return at(format!("could not mount /run: {e}"));
    }
    if let Err(failure) = agent::leave(&config.collect) {
        return failure;
    }
    voice.stage("switch");
    voice.let_go();
    sys::release_signals();
    let refused = sys::become_program(path, args);
    // The ports are closed: reopening is not worth it, the console says why.
    at(format!("{path} cannot be run: {refused}"))
}
