// SPDX-License-Identifier: GPL-3.0-or-later
//! How a guest ended, decided from all that was seen of it. Pure.

use super::report::{Outcome, Trouble, TroubleKind};
use super::spec::{Boot, Guest, Task};
use crate::host::Ended;

/// Why the machine was ended, when we did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WeEnded {
    /// All was said, and all of it arrived.
    Finished,
    /// The line that was waited for (`--until`).
    Reached(String),
    /// Its time was over.
    TimedOut,
    /// Somebody asked to stop.
    Cancelled,
    /// It was seen that nothing more would come.
    Hopeless,
}

/// All that was seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// Our first process (or the agent of an image) spoke.
    pub(super) hello: bool,
    /// What it said of the command's end.
    pub(super) command: Option<CommandEnd>,
    /// What it could not do: stage and reason.
    pub(super) failed: Option<(String, String)>,
    /// The firmware found nothing to start.
    pub(super) nothing_bootable: Option<String>,
    /// Why we ended the machine.
    pub(super) we_ended: Option<WeEnded>,
    /// Why QEMU ended, in its own words ("guest-shutdown", "guest-reset", "host-qmp-quit").
    pub(super) shutdown: Option<String>,
    /// How QEMU ended, when we did not end it.
    pub(super) qemu: Option<Ended>,
    /// What QEMU said on standard error.
    pub(super) qemu_said: String,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommandEnd {
    Exit(i32),
    Killed(i32),
}

/// 128 + SIGKILL: how a shell says that its command was killed.
const KILLED: i32 = 137;

/// Decides.
pub(super) fn decide(guest: &Guest, seen: &Seen, troubles: &[Trouble]) -> Outcome {
    let first = |kind| troubles.iter().find(|t: &&Trouble| t.kind == kind).map(|t| t.message.clone());
    let last = |kind| troubles.iter().rev().find(|t: &&Trouble| t.kind == kind).map(|t| t.message.clone());
    match &seen.we_ended {
        Some(WeEnded::Cancelled) => return Outcome::Cancelled,
        Some(WeEnded::Reached(line)) => return Outcome::Reached { line: line.clone() },
        _ => {}
    }
    if let Some(end) = seen.command {
        let killed = matches!(end, CommandEnd::Killed(9) | CommandEnd::Exit(KILLED));
        return match (end, last(TroubleKind::OutOfMemory)) {
            (_, Some(message)) if killed => Outcome::OutOfMemory { message },
            (CommandEnd::Exit(status), _) => Outcome::Exited { status },
            (CommandEnd::Killed(signal), _) => Outcome::Signalled { signal },
        };
    }
    if let Some((stage, reason)) = &seen.failed {
        return Outcome::InitFailed { reason: format!("{stage}: {reason}") };
    }
    if seen.shutdown.as_deref() == Some("host-qmp-quit") {
        return Outcome::Stopped;
    }
    for kind in [TroubleKind::NoRoot, TroubleKind::NoInit] {
        if let Some(reason) = last(kind) {
            return Outcome::NeverReachedInit { reason };
        }
    }
    let panic = first(TroubleKind::Panic);
    // A killer that takes all it can, init last, ends in a panic: memory is what was short.
    if let (Some(message), true) = (last(TroubleKind::OutOfMemory), panic.is_some() || seen.qemu.is_some()) {
        return Outcome::OutOfMemory { message };
    }
    if let Some(message) = panic {
        return Outcome::Panic { message };
    }
    if let Some(reason) = &seen.nothing_bootable {
        return Outcome::NothingBootable { reason: reason.clone() };
    }
    if let Some(ended) = seen.qemu
        && ended != Ended::Code(0)
    {
        let said = seen.qemu_said.trim();
        let message = if said.is_empty() { format!("QEMU ended with {ended}") } else { said.to_owned() };
        return Outcome::QemuFailed { message };
    }
    // Whatever else: a kernel that fell did not get further.
    if let Some(message) = first(TroubleKind::Oops) {
        return Outcome::Oops { message };
    }
    // One that hung for a while, as happens when the host is busy, and then shut down in order did get further.
    if let Some(message) = first(TroubleKind::LockUp)
        && seen.shutdown.as_deref() != Some("guest-shutdown")
    {
        return Outcome::LockUp { message };
    }
    let ours = matches!(&guest.boot, Boot::Kernel(_));
    if seen.we_ended == Some(WeEnded::TimedOut) {
        if ours && !seen.hello {
            let reason = format!("its first process did not speak within {} s", guest.timeout);
            return Outcome::NeverReachedInit { reason };
        }
        return Outcome::TimedOut { seconds: guest.timeout };
    }
    let by_itself = matches!(&guest.boot, Boot::Kernel(k) if matches!(k.task, Task::Init { .. }))
        || !matches!(&guest.boot, Boot::Kernel(_));
    if ours && !seen.hello {
        let reason = if seen.shutdown.as_deref() == Some("guest-reset") {
            "the machine restarted before its first process spoke"
        } else {
            "the machine ended before its first process spoke"
        };
        return Outcome::NeverReachedInit { reason: reason.to_owned() };
    }
    if by_itself {
        return Outcome::PoweredOff;
    }
    Outcome::InitFailed { reason: "the machine ended, and nothing was said of the command".into() }
}

#[cfg(test)]
#[path = "outcome_tests.rs"]
mod tests;
