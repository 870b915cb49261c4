// SPDX-License-Identifier: GPL-3.0-or-later
//! Benchmarks of this machine as a host of virtual machines: what a change really brings, before and after it.
//!
//! ```text
//!   round 1: every workload once ─► round 2: every workload once ─► …      (so that what drifts, drifts for all)
//!        │ values                                   conditions before and after (detect::conditions)
//!        ▼
//!   Results (JSON) ─► compare: rank test ─► Comparison ─► words, CSV, charts (SVG, PNG), report (HTML)
//! ```
//!
//! Nothing here changes the machine: files are made in a private folder and removed, modules are loaded in throw-away
//! guests only. A figure that could not be taken is named with the reason, and never filled in.

pub mod chart;
pub mod compare;
mod cpu;
mod disk;
mod document;
mod memory;
pub mod metrics;
mod modules;
pub mod report;
mod run;
mod scheduler;
mod start;
pub mod stats;
pub mod store;

pub use compare::{Compared, Comparison, Verdict};
pub use document::{LeftOut, Place, Results, SCHEMA, Series};
pub use metrics::{Better, Metric, Workload};
pub use modules::Trial;
pub use run::{BenchError, Setup, Told, run};
