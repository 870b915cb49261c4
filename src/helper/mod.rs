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
//! threads of their own. It leaves when idle (`work`), and nothing of it is needed while it is away.

pub mod admit;
mod caller;
mod job;
mod options;
pub mod polkit;
mod run;
mod serve;
mod service;
mod shared;
mod work;

pub use options::{Options, OptionsError};
pub use serve::{HelperError, serve, serve_host};

use crate::detect;
use crate::engine::{Check, Inputs, Plan, Sink};
use crate::flows::{self, PlanError};
use crate::host::{Cancel, Host};
use serde_json::Value;
use std::process::ExitCode;

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

impl Flows for Builtin {
    fn gather(&self, host: &Host) -> Result<Value, String> {
        serde_json::to_value(detect::gather(host, None)).map_err(|e| e.to_string())
    }

    fn plan(
        &self,
        host: &Host,
        flow: &str,
        choices: &Value,
        inputs: &Inputs,
        cancel: &Cancel,
        sink: &mut dyn Sink,
    ) -> Result<Plan, PlanError> {
        flows::plan(host, flow, choices, inputs, cancel, sink)
    }

    fn check(&self, host: &Host, plan: &Plan) -> Vec<Check> {
        flows::check(host, plan)
    }
}

/// The whole program: reads its own command line, serves, and says on standard error why it could not.
pub fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            tell(&error);
            return ExitCode::from(2);
        }
    };
    let level = if options.verbose { "hostwright=debug" } else { "hostwright=info" };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(level))
        .with_writer(std::io::stderr)
        .without_time()
        .with_ansi(false)
        .init();
    match serve(&options, Box::new(Builtin)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&error);
            ExitCode::FAILURE
        }
    }
}

/// A line for the journal of the service; nobody sits before this program.
fn tell(error: &dyn std::fmt::Display) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "hostwright-helper: {error}");
}
