// SPDX-License-Identifier: GPL-3.0-or-later
//! Runs one guest from its preparation to its end.

use super::argv::{self, QEMU, Wires};
use super::error::GuestError;
use super::live::Live;
use super::outcome::decide;
use super::prepare::{self, write_whole};
use super::report::{AcceleratorUsed, Report, SCHEMA};
use super::running::{Card, Seat};
use super::setup::{GuestEvent, Setup};
use super::spec::{Boot, Guest};
use super::{accel, collect, wires};
use crate::host::{Cancel, Command, CommandError, Process};
use std::path::Path;
use std::time::{Duration, Instant};

/// The report's file in a run's folder.
pub const REPORT: &str = "report.json";

/// The console's file in a run's folder.
pub const CONSOLE: &str = "console.log";

/// How long QEMU may take to write its disks when it is asked to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs `guest` to its end, writes `report.json` into the run's folder and returns the same.
///
/// Whatever happens, no process of it is left: QEMU and its helpers are in process groups of their own, die
/// with this thread, and are ended and reaped before this returns. A guest that panics, hangs or fails is no
/// error here: its [`Report::outcome`] says so.
///
/// # Errors
/// When the guest cannot be started, with what to do.
pub fn run(
    guest: &Guest,
    mut setup: Setup<'_>,
    cancel: &Cancel,
    events: &mut dyn FnMut(GuestEvent<'_>),
) -> Result<Report, GuestError> {
    let stop = |cancel: &Cancel| if cancel.is_cancelled() { Err(GuestError::Cancelled) } else { Ok(()) };
    check(guest)?;
    stop(cancel)?;
    make_folder(&setup.cache)?;
    make_folder(&setup.folder)?;
    let accelerator = accel::choose(setup.host, &setup.cache, guest.accelerator, setup.wrap.is_some())?;
    stop(cancel)?;
    let (mut prepared, mut kept) = prepare::prepare(guest, &setup, accelerator.name == "kvm", false)?;
    let began_at = setup.host.clock().now();
    let seat = match &setup.control {
        None => None,
        Some(folder) => {
            let (seat, listener) = Seat::take(folder)?;
            seat.card(&Card {
                name: setup.name.clone(),
                process: std::process::id(),
                began: began_at,
                folder: setup.folder.clone(),
                what: what(guest),
                ssh: kept.ssh,
                vsock: kept.vsock,
            })?;
            Some((seat, listener))
        }
    };
    let (seat, listener) = seat.unzip();
    let bios = !matches!(guest.boot, Boot::Kernel(_)) && prepared.uefi.is_none();
    let (ends, inherit, wires) = wires::make(bios, listener)?;
    prepared.wires = wires;
    let mut command = Command::new(QEMU).args(argv::argv(&prepared));
    command.env.clone_from(&setup.environment);
    for fd in inherit.into_iter().chain(std::mem::take(&mut kept.inherit)) {
        command = command.inherit(fd);
    }
    if let Some(wrap) = setup.wrap {
        command = wrap(command)?;
    }
    stop(cancel)?;
    events(GuestEvent::Starting {
        command: &command.display(),
        accelerator: &accelerator,
        ssh: kept.ssh,
        vsock: kept.vsock,
    });
    let shown = command.display();
    let began = Instant::now();
    let process = start(&command)?;
    // Our copies of QEMU's ends: as long as one is open, the other side never ends.
    drop(command);
    let input = std::mem::take(&mut setup.input);
    let console = setup.folder.join(CONSOLE);
    let mut live = Live::new(guest, process, ends, input, &console, began)?;
    let watched = live.watch(cancel, events);
    let screenshots = match &watched {
        Ok(()) if prepared.graphics && setup.screenshot_on_failure && setup.wrap.is_none() => {
            live.screenshot_of_failure(&setup.folder)
        }
        _ => Vec::new(),
    };
    let keeps = prepared.disks.iter().any(|d| d.writes == argv::Writes::Kept);
    live.end(if keeps { PATIENCE } else { Duration::ZERO }, events);
    let took = began.elapsed();
    drop(kept.server.take());
    drop(seat);
    watched?;
    let end = live.finish();
    let collected = collect::unpack(&end.files, &setup.folder)?;
    let outcome = decide(guest, &end.seen, &end.troubles);
    let report = Report {
        schema: SCHEMA,
        name: setup.name.clone(),
        guest: guest.clone(),
        began: began_at,
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        outcome,
        stages: end.stages,
        accelerator,
        kernel: kept.release.clone(),
        troubles: end.troubles,
        console_tail: end.tail,
        collected,
        screenshots,
        command: shown,
    };
    let text = serde_json::to_vec_pretty(&report).unwrap_or_default();
    write_whole(&setup.folder.join(REPORT), &text)?;
    Ok(report)
}

/// The QEMU command of `guest` as one could paste it: its console goes to standard error, its command's output
/// where it belongs, its input is empty. Leaves the initramfs in the run's folder, since the command needs it.
///
/// # Errors
/// As [`run`].
pub fn dry_run(guest: &Guest, setup: &Setup<'_>) -> Result<(String, AcceleratorUsed), GuestError> {
    check(guest)?;
    make_folder(&setup.cache)?;
    make_folder(&setup.folder)?;
    let accelerator = accel::choose(setup.host, &setup.cache, guest.accelerator, false)?;
    let (mut prepared, mut kept) = prepare::prepare(guest, setup, accelerator.name == "kvm", true)?;
    kept.scratch.clear();
    prepared.wires = Wires::to_paste();
    Ok((Command::new(QEMU).args(argv::argv(&prepared)).display(), accelerator))
}

/// What cannot be, whatever the machine.
fn check(guest: &Guest) -> Result<(), GuestError> {
    if guest.cpus == 0 || guest.cpus > 255 {
        let reason = format!("{} processors are none that a guest can have", guest.cpus);
        return Err(GuestError::refused("cpus", reason, "give it 1 to 255"));
    }
    if guest.memory < 32 {
        let reason = format!("{} MiB of memory are too few for any kernel", guest.memory);
        return Err(GuestError::refused("memory", reason, "give it 128 MiB or more"));
    }
    if let Some(until) = &guest.until {
        regex::Regex::new(until).map_err(|e| {
            let reason = format!("`{until}` is no regular expression ({e})");
            GuestError::refused("until", reason, "escape what is meant literally with a backslash")
        })?;
    }
    Ok(())
}

fn start(command: &Command) -> Result<Process, GuestError> {
    Process::start(command).map_err(|e| match e {
        CommandError::Start { ref source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            GuestError::MissingTool { program: QEMU, package: QEMU_PACKAGE }
        }
        e => e.into(),
    })
}

const QEMU_PACKAGE: &str = "the package `qemu-system-x86` (Debian, Ubuntu), `qemu-system-x86-core` (Fedora), \
                            `qemu-system-x86` (Arch) or `qemu-x86` (SUSE)";

fn make_folder(path: &Path) -> Result<(), GuestError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|e| GuestError::file("make the folder", path, e))
}

/// What a guest is, for people.
fn what(guest: &Guest) -> String {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match &guest.boot {
        Boot::Kernel(kernel) => name(&kernel.image),
        Boot::Iso { path, .. } => name(path),
        Boot::Disk { .. } => guest.disks.first().map(|d| name(&d.path)).unwrap_or_default(),
    }
}
