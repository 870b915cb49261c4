// SPDX-License-Identifier: GPL-3.0-or-later
//! Carries out plans: knows steps, not flows.
//!
//! ```text
//!   Plan ── steps ──► execute ──► Journal (intent, done) ──► verify ──► Outcome
//!                        │              │
//!                        ▼              ▼
//!                      Events         undo (reverse order, stops at drift)
//! ```

pub mod edit;
pub mod event;
pub mod journal;
pub mod plan;
pub mod steps;

pub use event::{Event, Level, Sink};
pub use plan::{Permission, Plan, Warning};
pub use steps::Step;
