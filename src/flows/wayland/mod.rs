// SPDX-License-Identifier: GPL-3.0-or-later
//! VMware in a Wayland session: its launchers go through XWayland.
//!
//! ```text
//!   NAME (script)   ─► NAME.original (copy)   NAME: the same with our part behind the interpreter line
//!   NAME (program)  ─► NAME.original (copy)   NAME: a launcher of ours, which starts NAME.original
//! ```
//!
//! `NAME.original` is never overwritten: after a product update that replaced NAME, the next one is `NAME.original.2`.

mod plan;

pub use crate::detect::launchers::{Launcher, LauncherFacts, State, look};

use crate::engine::event::{Check, CheckOutcome};
use crate::engine::plan::Plan;
use crate::flows::PlanError;
use crate::host::Host;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name of this flow.
pub const FLOW: &str = "wayland";

/// What is wished for the launchers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// They go through XWayland in a Wayland session.
    #[default]
    Fix,
    /// They are as the product has them.
    Remove,
}

/// What a person picks in this flow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Choices {
    /// Fix or remove.
    pub wish: Wish,
    /// Just these launchers ("vmware"); all that are there when empty.
    pub only: Vec<String>,
}

/// The launchers that went through XWayland by our doing and were replaced since, as an update of the product does.
/// Nothing where they cannot be read.
pub fn replaced(host: &Host) -> Vec<String> {
    look(host).map(|f| f.replaced().into_iter().map(str::to_owned).collect()).unwrap_or_default()
}

/// Gathers what the plan reads and makes it.
///
/// # Errors
/// See [`PlanError`].
pub(super) fn plan_here(host: &Host, choices: &serde_json::Value) -> Result<Plan, PlanError> {
    let choices: Choices =
        serde_json::from_value(choices.clone()).map_err(|e| PlanError::BadChoices(e.to_string()))?;
    let facts = look(host).map_err(|e| PlanError::Failed(e.to_string()))?;
    Ok(plan::plan(&choices, &facts)?)
}

/// Looks whether the launchers stand as the plan promised.
pub(super) fn check(host: &Host, plan: &Plan) -> Vec<Check> {
    let wish = serde_json::from_value::<Choices>(plan.choices.clone()).unwrap_or_default().wish;
    let touched = |path: &str| {
        plan.steps.iter().any(|s| {
            matches!(s, crate::engine::Step::WriteFile(w) if w.path == path)
                || matches!(s, crate::engine::Step::CopyFile(c) if c.to == path)
        })
    };
    let facts = match look(host) {
        Ok(facts) => facts,
        Err(e) => {
            let outcome = CheckOutcome::CouldNotLook { reason: e.to_string() };
            return vec![Check { what: "the launchers".to_owned(), outcome }];
        }
    };
    facts
        .launchers
        .iter()
        .filter(|l| touched(&l.path))
        .map(|l| {
            let (what, good) = match wish {
                Wish::Fix => ("goes through XWayland", l.state == State::Fixed { current: true }),
                Wish::Remove => ("is as the product has it", l.state == State::Plain),
            };
            let starts = l.starts.as_ref().filter(|s| !host.root().exists(s));
            let outcome = match (good, starts) {
                (true, None) => CheckOutcome::Good,
                (true, Some(gone)) => {
                    CheckOutcome::Bad { reason: format!("{gone}, which it starts, is not there") }
                }
                (false, _) => CheckOutcome::Bad { reason: "another program changed it meanwhile".to_owned() },
            };
            Check { what: format!("{} {what}", l.path), outcome }
        })
        .collect()
}
