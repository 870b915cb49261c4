// SPDX-License-Identifier: GPL-3.0-or-later
//! The root side, thin: lets a call in, asks polkit, hands the work to flows and engine, tells what
//! happens.
//!
//! ```text
//!   a call ──► service ──► caller (who?) ──► admit (is it well-formed?) ──► polkit (may they?)
//!                                                                            │
//!              run objects ◄── job (one at a time, own thread) ◄── Flows::plan, digest compared
//!                  │                    │
//!                  ▼                    ▼
//!           Event, properties      engine::execute, engine::undo
//! ```
//!
//! Nothing here waits on the executor's thread: planning, running and reading the journal happen on
//! threads of their own. It leaves when idle ([`work`]), and nothing of it is needed while it is away.

pub mod admit;
mod caller;
mod inhibit;
mod job;
mod options;
pub mod polkit;
mod run;
mod serve;
mod service;
mod work;

pub use options::{Options, OptionsError};
pub use serve::{HelperError, serve, serve_host};

use crate::engine::{Check, Inputs, Plan, Sink};
use crate::flows::PlanError;
use crate::host::{Cancel, Host};
use serde_json::Value;

/// What the helper plans with: [`Builtin`], or in tests a small flow of their own.
pub trait Flows: Send + Sync + 'static {
    /// The facts of the machine as a document.
    ///
    /// # Errors
    /// Why they could not be gathered, and what to do.
    fn gather(&self, host: &Host) -> Result<Value, String>;

    /// Looks at the machine and makes a plan.
    ///
    /// # Errors
    /// See [`PlanError`].
    fn plan(
        &self,
        host: &Host,
        flow: &str,
        choices: &Value,
        inputs: &Inputs,
        cancel: &Cancel,
        sink: &mut dyn Sink,
    ) -> Result<Plan, PlanError>;

    /// Looks whether what a plan promised is so.
    fn check(&self, host: &Host, plan: &Plan) -> Vec<Check>;
}

/// The flows of this crate.
#[derive(Debug, Clone, Copy, Default)]
pub struct Builtin;
