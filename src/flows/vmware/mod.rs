// SPDX-License-Identifier: GPL-3.0-or-later
//! VMware's kernel modules: adapted, compiled, signed, installed, loaded, verified.
//!
//! ```text
//!   Choices ─┐                                   ┌─► BuildModules, InstallModule, …
//!            ├─ gather (detect, sources, probes) ─ plan (pure) ─┤
//!   Host ────┘                                   └─► Refusal (reason, what to do)
//! ```

pub mod adapt;
pub mod choices;
pub mod facts;
pub mod plan;
#[cfg(test)]
mod plan_tests;
pub mod source;

pub use choices::Choices;

/// The name of this flow.
pub const FLOW: &str = "vmware";

/// The modules, needed ones first.
pub const MODULES: [&str; 2] = ["vmmon", "vmnet"];
