// SPDX-License-Identifier: GPL-3.0-or-later
//! What the kernel itself shows: `/proc`, `/sys`, `/dev`.

use super::config::Config;
use super::sys::{self, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REMOUNT};
use super::{Failure, voice};
use std::io::ErrorKind;
use std::os::unix::fs::symlink;

const QUIET: u64 = MS_NOSUID | MS_NODEV | MS_NOEXEC;

/// Mounts what every program expects.
///
/// # Errors
/// When the kernel lacks one of them.
pub fn kernel() -> Result<(), Failure> {
    let fail = |what: &'static str| Failure::at("init", format!("could not mount {what}"));
    for dir in ["/proc", "/sys", "/dev", "/run", "/tmp"] {
        make_folder(dir)?;
    }
    sys::mount_at("proc", "/proc", "proc", QUIET, "").map_err(fail("/proc"))?;
    sys::mount_at("sysfs", "/sys", "sysfs", QUIET, "").map_err(fail("/sys"))?;
    if sys::mount_at("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=0755").is_err() {
        sys::mount_at("tmpfs", "/dev", "tmpfs", MS_NOSUID, "mode=0755").map_err(fail("/dev"))?;
        let nodes =
            [("null", 0o666, 1, 3), ("zero", 0o666, 1, 5), ("full", 0o666, 1, 7), ("random", 0o666, 1, 8)];
        let more = [
            ("urandom", 0o666, 1, 9),
            ("tty", 0o666, 5, 0),
            ("console", 0o600, 5, 1),
            ("kmsg", 0o644, 1, 11),
        ];
        for (name, mode, major, minor) in nodes.into_iter().chain(more) {
            sys::make_device(&format!("/dev/{name}"), false, mode, major, minor).map_err(fail("/dev"))?;
        }
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        // Some kernels' devtmpfs has them.
        let _ = symlink(target, format!("/dev/{name}"));
    }
    Ok(())
}

/// Host name and loopback, which a command may want.
///
/// # Errors
/// When the host name is refused.
pub fn names(config: &Config) -> Result<(), Failure> {
    if let Some(name) = &config.hostname {
        sys::set_hostname(name).map_err(Failure::at("init", "could not set the host name"))?;
    }
    // A kernel without network has no loopback either.
    let _ = sys::loopback_up();
    Ok(())
}

/// What a command finds in a root, beside what [`kernel`] mounted: pseudo-terminals, shared memory, an empty `/run`.
/// What this kernel lacks is left out.
pub fn comforts() {
    let mounts = [
        ("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=620,ptmxmode=666"),
        ("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"),
        ("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755"),
    ];
    for (source, target, kind, flags, data) in mounts {
        let _ = std::fs::create_dir(target);
        let _ = sys::mount_at(source, target, kind, flags, data);
    }
    let _ = std::fs::remove_file("/dev/ptmx");
    let _ = symlink("pts/ptmx", "/dev/ptmx");
}

/// A folder, unless it is there.
///
/// # Errors
/// When it cannot be made.
pub fn make_folder(path: &str) -> Result<(), Failure> {
    match std::fs::create_dir(path) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => {
            Err(Failure { stage: "init", reason: format!("could not make the folder {path}: {e}") })
        }
        _ => Ok(()),
    }
}

/// Makes sure that what was written to a disk or a shared folder is there.
pub fn settle() {
    sys::write_out();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let is_writable_disk = |l: &str| {
        l.starts_with("/dev/") && l.split(' ').nth(3).is_some_and(|o| o.split(',').any(|o| o == "rw"))
    };
    for line in mounts.lines().rev().filter(|line| is_writable_disk(line)) {
        let target = line.split(' ').nth(1).unwrap_or("/").replace("\\040", " ");
        if let Err(e) = sys::mount_at("", &target, "", MS_REMOUNT | MS_RDONLY, "") {
            voice::console(&format!("end: {target} could not be closed cleanly: {e}"));
        }
    }
}
