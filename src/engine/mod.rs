// SPDX-License-Identifier: GPL-3.0-or-later
//! Carries out plans: knows steps, not flows.
//!
//! ```text
//!   Plan ── steps ──► execute ──► Journal (intent, done) ──► verify ──► RunReport
//!                        │              │
//!                        ▼              ▼
//!                      Events         undo (reverse order, stops at drift)
//! ```

pub mod build;
mod context;
pub mod diagnose;
mod drift;
pub mod edit;
mod error;
pub mod event;
mod execute;
mod folders;
mod inhibit;
pub mod journal;
pub mod kbuild;
pub mod modinfo;
pub mod module_check;
pub mod mok_password;
pub mod plan;
mod report;
mod restore;
mod runs;
mod signing;
pub mod source;
mod space;
pub mod steps;
mod store;
mod take_back;
#[cfg(test)]
pub(crate) mod testing;
mod undo;
mod voice;

pub use context::{After, Applied, Before, Context};
pub use drift::Drift;
pub use error::{RunError, StepError};
pub use event::{Check, CheckOutcome, Event, Level, Sink};
pub use execute::execute;
pub use folders::LOCK;
pub use journal::{JournalError, RunState};
pub use plan::{Permission, Plan, Warning};
pub use report::{
    Explain, FileChange, Inputs, Owner, Reversal, RunReport, RunSummary, Secret, StepPreview, StepState,
    StepSummary, UndoPreview, UndoStep,
};
pub use runs::{events, runs};
pub use steps::Step;
pub use undo::{undo, undo_preview};

use crate::host::Host;
#[doc(hidden)]
pub use crate::host::failpoint;

/// What each step of a plan would do, in order. Reads only.
pub fn preview(plan: &Plan, host: &Host) -> Vec<StepPreview> {
    plan.steps.iter().map(|s| s.action().preview(host)).collect()
}
