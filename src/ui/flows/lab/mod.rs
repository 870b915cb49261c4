// SPDX-License-Identifier: GPL-3.0-or-later
//! The test lab: choosing what is booted, a guest while it runs, and what came of it.
//!
//! ```text
//!   SetupPage ──wish──► Job (a thread: build, boot, watch) ──told──► LivePage ──► ReportPage
//!      │  guests that run, earlier runs ───────────────────────────────────────────►┘
//! ```

mod job;
mod lists;
mod live;
mod report;
mod setup;
mod view;

pub(in crate::ui) use view::LabView;
