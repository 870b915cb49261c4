// SPDX-License-Identifier: GPL-3.0-or-later
//! One virtual machine: described as data, started, watched, and always ended.
//!
//! ```text
//!   Guest (data) ── prepare ──► Prepared: kernel image, initramfs, share, accelerator
//!        │                          │
//!        └──── argv (pure) ◄────────┘
//!                │
//!                ▼
//!          run: QEMU, its ports, QMP, the console ──► Outcome, and a run folder
//! ```
//!
//! Knows nothing of flows. The lab boots what a person wants to see; the engine's step `Rehearse` boots a
//! kernel with modules that were just built.

pub mod argv;
pub mod console;
mod error;
pub mod qmp;
mod report;
mod run;
mod setup;
pub mod spec;
mod wires;

pub use error::GuestError;
pub use report::{AcceleratorUsed, Outcome, Report, SCHEMA, Stage, Trouble, TroubleKind};
pub use run::run;
pub use setup::{GuestEvent, Input, Setup, Wrap};
