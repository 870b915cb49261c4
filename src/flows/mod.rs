// SPDX-License-Identifier: GPL-3.0-or-later
//! Decides: each flow turns facts and choices into a plan, or refuses with the reason, and knows
//! how to check that it worked.
//!
//! `plan` of a flow is pure. What is around it here gathers the facts it needs, so that the command
//! line on a scratch root and the helper on the machine come to the same plan by the same way.

pub mod bench;
pub mod boot;
pub mod lab;
pub mod packages;
pub mod profile;
pub mod tuning;
pub mod vgpu;
pub mod vmware;
pub mod wayland;

use crate::engine::event::{Check, Event, Level, Sink};
use crate::engine::plan::{Plan, Refusal};
use crate::engine::{Explain, Inputs};
use crate::host::{Cancel, Host};

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The flow refuses: looked, understood, and must not or cannot be done.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is no such flow.
    #[error("there is no flow called `{0}`; there are: lab-write, tuning, vgpu, vmware, wayland")]
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

/// Looks at the machine and makes the plan of `flow`. Changes nothing but caches.
///
/// # Errors
/// See [`PlanError`].
pub fn plan(
    host: &Host,
    flow: &str,
    choices: &serde_json::Value,
    inputs: &Inputs,
    cancel: &Cancel,
    sink: &mut dyn Sink,
) -> Result<Plan, PlanError> {
    let plan = match flow {
        vmware::FLOW => vmware::plan_here(host, choices, inputs, cancel, sink),
        wayland::FLOW => wayland::plan_here(host, choices),
        tuning::FLOW => tuning::plan_here(host, choices),
        vgpu::FLOW => vgpu::plan_here(host, choices),
        lab::write::FLOW => lab::write::plan_here(host, choices),
        other => Err(PlanError::UnknownFlow(other.to_owned())),
    }?;
    for warning in &plan.warnings {
        sink.event(Event::Diagnostic {
            step: 0,
            level: Level::Warning,
            file: None,
            line: None,
            message: warning.message.clone(),
        });
    }
    Ok(plan)
}

/// What the flows know about compiler errors, for [`Inputs::explain`].
pub fn explain() -> Explain {
    Explain::by(vmware::explain)
}

/// Looks whether what `plan` promised is so. Each check says what it looked at.
pub fn check(host: &Host, plan: &Plan) -> Vec<Check> {
    match plan.flow.as_str() {
        vmware::FLOW => vmware::check::check(host, plan),
        wayland::FLOW => wayland::check(host, plan),
        tuning::FLOW => tuning::check(host, plan),
        vgpu::FLOW => vgpu::check::check(host, plan),
        _ => Vec::new(),
    }
}
