// SPDX-License-Identifier: GPL-3.0-or-later
//! Benchmarks: choosing what is measured, how far it is, results, and two of them side by side.
//!
//! ```text
//!   setup ──wish──► Job (a thread: measure) ──told──► how far ──► results ◄── earlier ones
//!     └── two earlier results ──► compared
//! ```

mod job;
mod shown;
mod view;

pub(in crate::ui) use view::BenchView;
