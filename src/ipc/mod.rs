// SPDX-License-Identifier: GPL-3.0-or-later
//! What crosses the privilege boundary, and nothing else: names on the bus, documents, sealed files,
//! errors, and the client that the command line and the assistant use.
//!
//! ```text
//!   Client ── gather, plan, execute, undo, runs ──►  org.hostwright.Helper1      (system bus)
//!     │                                              /org/hostwright/Helper1
//!     └─ Run ── follow, log, cancel, state  ──────►  /org/hostwright/Helper1/runs/N
//! ```
//!
//! Facts, choices, plans, runs and events cross as JSON documents in strings. What must not stand in a
//! plan (a source archive, the MOK password) crosses as a sealed memory file: see [`Sealed`].
//! The interface is published in `data/dbus/org.hostwright.Helper1.xml`.

mod agent;
pub mod blocking;
mod client;
mod error;
mod follow;
mod power;
mod proxy;
pub mod remote;
mod sealed;

pub use agent::{Agent, AgentError};
pub use client::{Client, Run};
pub use error::Error;
pub use follow::{Follow, RunEvent};
pub use proxy::RunProxy;
pub use sealed::{Sealed, SealedError, read_sealed, seal_file, take_sealed};

use crate::engine::{Plan, StepPreview};
use serde::{Deserialize, Serialize};

/// The helper's name on the system bus; also the name of its interface.
pub const NAME: &str = "org.hostwright.Helper1";
/// Where the helper's own object is.
pub const PATH: &str = "/org/hostwright/Helper1";
/// Below this are the runs, each under its number.
pub const RUNS_PATH: &str = "/org/hostwright/Helper1/runs";
/// The interface of a run.
pub const RUN_INTERFACE: &str = "org.hostwright.Helper1.Run";
/// The name of the sealed file that holds the one-time password for enrolling a key with shim (MOK).
pub const MOK_PASSWORD: &str = "mok-password";
/// The prefix of the name of a sealed source archive; its SHA-256 (hexadecimal) follows.
pub const SOURCE_PREFIX: &str = "source:";
/// The prefix of the name of a sealed file too large for memory (a driver); its SHA-256 (hexadecimal) follows.
pub const LARGE_PREFIX: &str = "large:";
/// The prefix of the name of an open image file; the SHA-256 (hexadecimal) that its bytes must have follows.
pub const IMAGE_PREFIX: &str = "image:";

/// A plan, and what each of its steps would do on the machine that made it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanPreview {
    /// The plan.
    pub plan: Plan,
    /// Its steps, in order.
    pub steps: Vec<StepPreview>,
}

/// The object path of a run.
pub fn run_path(run: u32) -> String {
    format!("{RUNS_PATH}/{run}")
}

/// The number in the object path of a run; `None` for another path.
pub fn run_number(path: &str) -> Option<u32> {
    let digits = path.strip_prefix(RUNS_PATH)?.strip_prefix('/')?;
    // "007" or "+7" would be a second name for the same run.
    digits.parse().ok().filter(|n: &u32| n.to_string() == digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_one_path_and_only_that() {
        assert_eq!(run_number(&run_path(0)), Some(0));
        assert_eq!(run_number(&run_path(u32::MAX)), Some(u32::MAX));
        for other in ["/", RUNS_PATH, "/org/hostwright/Helper1/runs/", "/org/hostwright/Helper1/runs/+7"] {
            assert_eq!(run_number(other), None, "{other}");
        }
        assert_eq!(run_number("/org/hostwright/Helper1/runs/007"), None);
        assert_eq!(run_number("/org/hostwright/Helper1/runs/99999999999"), None);
    }
}
