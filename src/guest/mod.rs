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

pub mod accel;
pub mod argv;
mod bzimage;
mod cache;
mod collect;
pub mod console;
mod error;
mod feed;
pub mod firmware;
mod heard;
mod index;
pub mod initramfs;
pub mod kernel;
mod live;
pub mod modules;
mod outcome;
mod prepare;
mod program;
pub mod qmp;
pub mod rehearsal;
pub mod remote;
mod report;
mod run;
pub mod running;
mod setup;
mod share;
pub mod spec;
mod vmlinux;
mod wires;

pub use error::GuestError;
pub use report::{AcceleratorUsed, Outcome, Report, SCHEMA, Stage, Trouble, TroubleKind};
pub use run::{CONSOLE, REPORT, dry_run, run};
pub use setup::{GuestEvent, Input, Setup, Sharing, Wrap};

/// The program that every guest with an initramfs of ours starts with: static, stripped, for this machine's
/// architecture.
pub fn init_image() -> &'static [u8] {
    include_bytes!(concat!(env!("OUT_DIR"), "/hostwright-init"))
}
