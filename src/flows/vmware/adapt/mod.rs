// SPDX-License-Identifier: GPL-3.0-or-later
//! Fits module sources to a kernel by asking the kernel's own headers, never its version number.
//!
//! ```text
//!   Catalogue ──► ProbeDir ──► (one kbuild run in the sandbox) ──► Outcomes ─┐
//!   data/adaptations/*.toml      .config, Module.symvers ─────────► Outcomes ─┤
//!                                                     SourceTree, Options ────┴─► Resolved
//! ```
//!
//! All of it is pure; whoever plans runs the one command in between.

pub mod catalogue;
pub mod diagnose;
pub mod expr;
pub mod model;
mod options;
pub mod probe;
mod read;
pub mod resolve;
mod resolved;
mod text;

pub use catalogue::{Catalogue, CatalogueError};
pub use diagnose::{Diagnostic, Severity};
pub use probe::{Outcomes, ProbeDir, ProbeError};
pub use resolve::{Options, ResolveError, Resolved, resolve};
