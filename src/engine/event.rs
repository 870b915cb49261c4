// SPDX-License-Identifier: GPL-3.0-or-later
//! One typed stream that the window, the command line, D-Bus and the tests all read.

use crate::host::Stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// For information.
    Note,
    /// Worth a look, does not stop anything.
    Warning,
    /// Stops the step.
    Error,
}

/// How a check after a step or a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum CheckOutcome {
    /// Looked, and it is as it should be.
    Good,
    /// Looked, and it is not.
    Bad {
        /// What was seen, and what to do.
        reason: String,
    },
    /// Could not look; never counted as success.
    CouldNotLook {
        /// Why.
        reason: String,
    },
    /// Does not apply here (for instance loading on a kernel that does not run).
    NotApplicable {
        /// Why.
        reason: String,
    },
}

impl CheckOutcome {
    /// Whether a run with this outcome may still be called a success.
    pub fn is_acceptable(&self) -> bool {
        matches!(self, Self::Good | Self::NotApplicable { .. })
    }
}

/// A named check and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// What was looked at, for people ("vmmon for 6.1.0-56-amd64 has the kernel's vermagic").
    pub what: String,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: CheckOutcome,
}

/// What happens in a run. Steps are numbered from 0 in the order of the plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run has begun.
    Started {
        /// Number of the run.
        run: u32,
        /// How many steps it has.
        steps: usize,
        /// Whether steps are taken back.
        undo: bool,
    },
    /// A step begins.
    Step {
        /// Its number.
        step: usize,
        /// What it does, for people.
        title: String,
    },
    /// Progress inside a step.
    Progress {
        /// The step.
        step: usize,
        /// Units done.
        done: u64,
        /// Units in all; 0 when unknown.
        total: u64,
        /// What is counted ("object files").
        unit: String,
    },
    /// A line for the log.
    Log {
        /// The step.
        step: usize,
        /// Where it came from.
        stream: Stream,
        /// The line.
        line: String,
    },
    /// A compiler error or warning, or another finding of a step.
    Diagnostic {
        /// The step.
        step: usize,
        /// How bad.
        level: Level,
        /// File it is about.
        #[serde(skip_serializing_if = "Option::is_none")]
        file: Option<String>,
        /// Line in the file, from 1.
        #[serde(skip_serializing_if = "Option::is_none")]
        line: Option<u32>,
        /// What it says.
        message: String,
    },
    /// A step is done and its postcondition holds.
    StepDone {
        /// The step.
        step: usize,
        /// Whether it found all as it should be and changed nothing.
        unchanged: bool,
    },
    /// A step failed.
    StepFailed {
        /// The step.
        step: usize,
        /// Why, and what to do.
        reason: String,
    },
    /// A check after the steps.
    Checked {
        /// The check.
        #[serde(flatten)]
        check: Check,
    },
    /// What came of one kernel of several.
    Kernel {
        /// That.
        #[serde(flatten)]
        result: super::report::KernelResult,
    },
    /// The run is over.
    Finished {
        /// How it ended.
        state: super::journal::RunState,
        /// One sentence for people.
        message: String,
    },
}

/// Takes events as they come. Must not block for long: it is called from the middle of the work.
pub trait Sink: Send {
    /// Takes one event. The run keeps it too: these events have numbers, in the order in which they come.
    fn event(&mut self, event: Event);

    /// Takes an event of the moment that the run does not keep: progress, and lines of a long log.
    fn passing(&mut self, event: Event) {
        self.event(event);
    }
}

impl<F: FnMut(Event) + Send> Sink for F {
    fn event(&mut self, event: Event) {
        self(event);
    }
}
