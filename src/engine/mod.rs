// SPDX-License-Identifier: GPL-3.0-or-later
//! Carries out plans: knows steps, not flows.
//!
//! ```text
//!   execute                                                       undo, or a run that failed
//!   ───────                                                       ──────────────────────────
//!   lock, way clear of interrupted runs, room on the disks        steps with an intent, last first:
//!   for each step:                                                  as before?        nothing to do
//!     before ─► old bytes into the store, Intent ─► journal         as it was left?   put back
//!     apply  ─► each path announced ─► journal, then exchanged      announced, and    put back
//!     after  ─► Done ─► journal                                       never recorded?
//!     verify ─► checks                                              anything else?    drift: stop, say so
//!   check of the whole ─► End                                     settle: index, modules, services ─► End
//! ```
//!
//! | module | what it knows |
//! |---|---|
//! | `execute`, `undo`, `take_back` | the order of things, and how runs end |
//! | [`steps`] | the kinds of changes: [`Step`], one file each |
//! | `context`, `change` | what a step has at hand; what it found and what it left |
//! | [`journal`], `store`, `folders` | what is kept of a run, and where |
//! | `restore`, [`Drift`] | who placed what stands at a path, and the way back |
//! | [`plan`], [`event`], `report` | the plain data that others see |
//! | [`kernel_params`] | the kernel command line in every boot loader's configuration |
//! | [`source`], [`edit`], [`build`], [`kbuild`], [`modinfo`], [`module_check`] | building modules |

pub mod build;
mod change;
mod context;
pub mod diagnose;
mod drift;
pub mod edit;
mod error;
pub mod event;
mod execute;
mod folders;
mod given_up;
mod inhibit;
pub mod journal;
pub mod kbuild;
pub mod kernel_params;
pub mod modinfo;
pub mod module_check;
pub mod mok_password;
pub mod packages;
pub mod plan;
mod prune;
mod rehearse;
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
mod try_out;
mod undo;
mod voice;

pub use context::{After, Applied, Before, Context};
pub use drift::Drift;
pub use error::{RunError, StepError};
pub use event::{Check, CheckOutcome, Event, Level, Sink};
pub use execute::execute;
pub use folders::LOCK;
pub use journal::{JournalError, RunState};
pub use plan::{LeftOut, Permission, Plan, Warning};
pub use prune::{KEPT, prunable, prune};
pub use rehearse::{Progressed, Wanted, measure, rehearse};
pub use report::{
    Explain, FileChange, Inputs, KernelResult, Owner, Reversal, RunReport, RunSummary, Secret, StepPreview,
    StepState, StepSummary, UndoPreview, UndoStep,
};
pub use runs::{events, runs};
pub use steps::Step;
pub use try_out::{build_only, build_or_reuse, try_all};
pub use undo::{undo, undo_preview};

#[doc(hidden)]
pub use crate::host::failpoint;
use crate::host::{FileState, Host};

/// What each step of a plan would do, in order. Reads only.
pub fn preview(plan: &Plan, host: &Host) -> Vec<StepPreview> {
    plan.steps.iter().map(|s| s.action().preview(host)).collect()
}

/// The same, made with root's rights for somebody who has them not: the text of a file that not everybody may read is
/// left out, and that is said.
pub fn preview_for_anybody(plan: &Plan, host: &Host) -> Vec<StepPreview> {
    let mut steps = preview(plan, host);
    for file in steps.iter_mut().flat_map(|s| &mut s.files).filter(|f| !for_all_to_read(host, &f.path)) {
        file.diff = "it changes; only root may read it, so its text is not shown".to_owned();
    }
    steps
}

/// Whether any user may read what is there, or nothing is there. A link is what its target is, and is not followed.
fn for_all_to_read(host: &Host, path: &str) -> bool {
    let allows = |path: &str, bits: u32| match host.root().state(path) {
        Ok(FileState::File { mode, .. } | FileState::Directory { mode, .. }) => mode & bits == bits,
        Ok(FileState::Absent) => true,
        Ok(_) | Err(_) => false,
    };
    // Where /usr has been merged these are links into it.
    let merged = |folder: &str| matches!(folder, "/lib" | "/lib32" | "/lib64" | "/bin" | "/sbin");
    let mut folders = path.match_indices('/').skip(1).map(|(at, _)| &path[..at]);
    folders.all(|folder| merged(folder) || allows(folder, 0o001)) && allows(path, 0o004)
}
