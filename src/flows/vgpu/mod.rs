// SPDX-License-Identifier: GPL-3.0-or-later
//! NVIDIA vGPU on Proxmox VE: which card, which branch, which kernel, and the driver's file.
//!
//! ```text
//!   Host ── gather ──► VgpuFacts ─┐
//!   Choices (branch, roles) ──────┼─► decide (pure) ─► Decision { cards, rows: works / if / no, … }
//!   Catalogue, Rules (data/vgpu) ─┘
//! ```
//!
//! What is decided here is not carried out yet: there are no steps for it.

pub mod catalogue;
pub mod choices;
pub mod decide;
pub mod decision;
pub mod download;
pub mod facts;
mod kernel;
pub mod own;
mod prepare;
mod resolve;
pub mod rules;
#[cfg(test)]
pub(crate) mod tests;

pub use catalogue::Catalogue;
pub use choices::{Choices, Role};
pub use decide::decide;
pub use decision::Decision;
pub use facts::{VgpuFacts, gather};
pub use rules::Rules;

/// The name of this flow.
pub const FLOW: &str = "vgpu";
