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
mod job;
mod options;
pub mod polkit;
mod run;
mod serve;
mod service;
mod work;

pub use options::{Options, OptionsError};
pub use serve::{HelperError, serve, serve_host};

use crate::engine::plan::Refusal;
use crate::engine::{Check, Inputs, Plan, Sink};
use crate::host::{Cancel, Host};
use serde_json::Value;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The flow refuses: looked, understood, and must not or cannot be done.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is no such flow.
    #[error("there is no flow called `{0}`; there is: vmware")]
    UnknownFlow(String),
    /// The choices are no valid document for this flow.
    #[error("the choices are not valid: {0}")]
    BadChoices(String),
    /// Somebody asked to stop while it was being made.
    #[error("cancelled while the plan was made; nothing was changed")]
    Cancelled,
    /// Looking failed in a way that is no refusal.
    #[error("{0}")]
    Failed(String),
}

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
