// SPDX-License-Identifier: GPL-3.0-or-later
//! What was found, how a machine stands and what went wrong, in words for people. Pure: data → sentences. The
//! command line and the assistant both tell these.
//!
//! | module | of what |
//! |---|---|
//! | `findings`, `hardware` | the facts, topic by topic |
//! | `state` | VMware's modules, keys and runs: whether something should be done |
//! | `plan` | what a plan asks for, why, and what its undo brings back |
//! | `lab` | how guests ended |
//! | `vgpu` | decisions of the vgpu flow |
//! | `problem` | errors: a title, the reason, what to do |

mod findings;
mod hardware;
pub(crate) mod lab;
mod plan;
mod problem;
mod state;
pub(crate) mod vgpu;

pub(crate) use findings::of as findings;
pub(crate) use plan::{applies_to, grouped, permission, shorter, told_and_diff};
pub(crate) use problem::{Exit, Problem, machine_changed, sentence};
pub(crate) use state::{Assessment, assess};
#[cfg(any(test, feature = "gui"))]
pub(crate) use state::{KernelStatus, ModuleStatus};

use crate::detect::Topic;
use crate::engine::RunState;

/// How a line is marked. Every mark is a sign of its own: nothing is said by colour alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// As it should be.
    Good,
    /// Worth a look.
    Warning,
    /// Wrong.
    Bad,
    /// Could not look.
    Unknown,
    /// For information; does not apply.
    Neutral,
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// How it is.
    pub(crate) mark: Mark,
    /// What it is about; empty when the line above says so.
    pub(crate) label: String,
    /// What was seen.
    pub(crate) text: String,
    /// What to do.
    pub(crate) remedy: Option<String>,
}

impl Row {
    /// A line.
    pub(crate) fn new(mark: Mark, label: &str, text: impl Into<String>) -> Self {
        Self { mark, label: label.to_owned(), text: text.into(), remedy: None }
    }

    /// What to do about it.
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// Headings, and the topics below each.
pub(crate) const SECTIONS: [(&str, &[Topic]); 6] = [
    ("System", &[Topic::Os, Topic::RunningKernel, Topic::Bootloader, Topic::Initramfs, Topic::Sessions]),
    ("Kernels", &[Topic::Kernels]),
    ("VMware", &[Topic::Vmware, Topic::Processes, Topic::LoadedModules, Topic::Kvm]),
    ("Building and signing", &[Topic::Toolchain, Topic::SecureBoot, Topic::Signing]),
    ("Hardware", &[Topic::Cpu, Topic::Memory, Topic::Storage, Topic::Gpus, Topic::Iommu]),
    ("For virtual machines", &[Topic::Score]),
];

/// A run's state in words.
pub(crate) fn run_state(state: RunState) -> (Mark, &'static str) {
    match state {
        RunState::Running => (Mark::Neutral, "under way"),
        RunState::Done => (Mark::Good, "done"),
        RunState::RolledBack => (Mark::Neutral, "failed, taken back"),
        RunState::Failed => (Mark::Bad, "failed, something remains"),
        RunState::Undoing => (Mark::Neutral, "being taken back"),
        RunState::Undone => (Mark::Neutral, "taken back"),
        RunState::UndoStopped => (Mark::Warning, "undo stopped"),
        RunState::Interrupted => (Mark::Bad, "interrupted"),
    }
}

/// `1 step`, `2 steps`.
pub(crate) fn count(n: usize, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

/// Bytes with three digits at most ("1.4 MiB", "23.5 GiB", "256 GiB").
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"];
    #[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
    let (mut value, mut unit) = (n as f64, 0);
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = match value {
        _ if unit == 0 || value >= 99.95 => 0,
        _ => 1,
    };
    let text = format!("{value:.decimals$}");
    format!("{} {}", text.strip_suffix(".0").unwrap_or(&text), UNITS[unit])
}

/// Seconds as people say them ("3.2 s", "2 min 5 s").
pub(crate) fn seconds(elapsed: std::time::Duration) -> String {
    let s = elapsed.as_secs();
    match s {
        0..=9 => format!("{:.1} s", elapsed.as_secs_f64()),
        _ => whole_seconds(elapsed),
    }
}

/// The same of what is only known to a second ("3 s").
pub(crate) fn whole_seconds(elapsed: std::time::Duration) -> String {
    let s = elapsed.as_secs();
    match s {
        0..=59 => format!("{s} s"),
        60..=3599 => format!("{} min {} s", s / 60, s % 60),
        _ => format!("{} h {} min", s / 3600, s / 60 % 60),
    }
}
