// SPDX-License-Identifier: GPL-3.0-or-later
//! What came of a guest: the document `report.json` of its run folder. Its schema is published in
//! `data/schemas/guest-report.json`.

use super::spec::Guest;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of the document.
pub const SCHEMA: u32 = 1;

/// What came of a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Version of this document: [`SCHEMA`].
    pub schema: u32,
    /// What the guest was called.
    pub name: String,
    /// What was wanted.
    pub guest: Guest,
    /// When QEMU was started.
    #[schemars(with = "String")]
    pub began: Timestamp,
    /// From QEMU's start to its end, milliseconds.
    pub took_ms: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Where it got to, in order.
    pub stages: Vec<Stage>,
    /// What ran it.
    pub accelerator: AcceleratorUsed,
    /// The kernel's release, when a kernel was booted directly.
    pub kernel: Option<String>,
    /// What the kernel complained about on the console, in order; also when the guest ended well.
    pub troubles: Vec<Trouble>,
    /// The last lines of the console.
    pub console_tail: Vec<String>,
    /// Files that the guest handed over, relative to the run's folder.
    pub collected: Vec<String>,
    /// Pictures of the screen, relative to the run's folder.
    pub screenshots: Vec<String>,
    /// The QEMU command as one could paste it.
    pub command: String,
}

impl Report {
    /// Whether the guest did what was wanted: its command exited with 0, the line that was waited for came, or
    /// (without a command) it powered itself off.
    pub fn success(&self) -> bool {
        matches!(self.outcome, Outcome::Exited { status: 0 } | Outcome::PoweredOff | Outcome::Reached { .. })
    }

    /// The first complaint of the kernel that is more than a warning.
    pub fn worst(&self) -> Option<&Trouble> {
        self.troubles.iter().find(|t| t.kind != TroubleKind::Warning)
    }
}

/// How a guest ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// Its command ended with this status.
    Exited {
        /// Exit status, 0 to 255.
        status: i32,
    },
    /// A signal ended its command.
    Signalled {
        /// The signal's number.
        signal: i32,
    },
    /// Its first process could not do its work (a module that is refused, a root that cannot be mounted, a
    /// command that is not there).
    InitFailed {
        /// What it said.
        reason: String,
    },
    /// It powered itself off or restarted, and no command was asked for.
    PoweredOff,
    /// The kernel panicked.
    Panic {
        /// The kernel's line.
        message: String,
    },
    /// The kernel met a mistake of its own and the guest did not get further.
    Oops {
        /// The kernel's line.
        message: String,
    },
    /// A processor hung in the kernel and the guest did not get further.
    LockUp {
        /// The kernel's line.
        message: String,
    },
    /// Memory ran out: the command was ended for it, or the kernel gave up.
    OutOfMemory {
        /// The kernel's line.
        message: String,
    },
    /// The kernel never started a first process of ours.
    NeverReachedInit {
        /// What is known of the reason.
        reason: String,
    },
    /// The firmware found nothing that it could start.
    NothingBootable {
        /// The firmware's line.
        reason: String,
    },
    /// The line that was waited for came on the console, and the guest was ended.
    Reached {
        /// The line.
        line: String,
    },
    /// It did not end in its time, and was ended.
    TimedOut {
        /// The time it had, seconds.
        seconds: u32,
    },
    /// Somebody asked to stop, and it was ended.
    Cancelled,
    /// Somebody stopped it from outside (`lab stop`).
    Stopped,
    /// QEMU itself ended with an error.
    QemuFailed {
        /// What it said.
        message: String,
    },
}

/// A place that a guest got to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stage {
    /// A short word: `qemu`, `firmware`, `kernel`, `init`, `modules`, `root`, `command`, `collect`, `end`, or
    /// what the guest called it.
    pub name: String,
    /// When, milliseconds since QEMU's start, by the host's clock.
    pub at_ms: u64,
    /// The guest's own time (milliseconds since its kernel's start), where it told.
    pub guest_ms: Option<u64>,
    /// What is said of it, where something is.
    pub note: Option<String>,
    /// How many lines the console had by then.
    #[serde(default)]
    pub console_lines: usize,
}

/// What runs a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AcceleratorUsed {
    /// `kvm` or `tcg`.
    pub name: String,
    /// Why it is this one, for people.
    pub reason: String,
}

/// A complaint of the guest's kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Trouble {
    /// Of which kind.
    pub kind: TroubleKind,
    /// The kernel's line.
    pub message: String,
    /// The lines that belong to it, the first of them included; 60 at most.
    pub lines: Vec<String>,
}

/// Kinds of complaints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TroubleKind {
    /// `Kernel panic - not syncing`.
    Panic,
    /// An oops, a `BUG()`, a general protection fault.
    Oops,
    /// A soft or hard lock-up, a stalled RCU, a hung task.
    LockUp,
    /// The out-of-memory killer.
    OutOfMemory,
    /// A `WARN()`.
    Warning,
    /// No root file system.
    NoRoot,
    /// No first process.
    NoInit,
    /// A module that the kernel refused.
    Module,
}
