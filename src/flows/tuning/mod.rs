// SPDX-License-Identifier: GPL-3.0-or-later
//! Tunes a machine for virtual machines. Every tunable is a data entry with what it does, when it helps and
//! when it harms; only what evidence of this machine speaks for is preselected, and never what makes it less secure.
//!
//! ```text
//!   data/tunables ─┐
//!   Host ─ facts ──┼─ evaluate (now, proposed, why) ─ Choices ─ plan ─► WriteFile, SetRunningValues,
//!                  │                                                  SetKernelParameters, UpdateBootLoader
//!   flows::boot ───┘
//! ```

pub mod catalogue;
pub mod evaluate;
pub mod facts;
pub mod plan;
#[cfg(test)]
mod tests;
mod value;
pub mod vmware_file;

pub use evaluate::{Evaluated, Standing};
pub use facts::TuningFacts;

use crate::detect::{self, Topic};
use crate::engine::Step;
use crate::engine::event::{Check, CheckOutcome};
use crate::engine::plan::Plan;
use crate::flows::PlanError;
use crate::host::Host;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The name of this flow.
pub const FLOW: &str = "tuning";

/// All that a person picks in the `tuning` flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Choices {
    /// These tunables, each with its value; `null` for the one that is proposed.
    pub set: BTreeMap<String, Option<String>>,
    /// Also those that evidence of this machine speaks for.
    pub recommended: bool,
}

impl Default for Choices {
    fn default() -> Self {
        Self { set: BTreeMap::new(), recommended: true }
    }
}

/// What is read for this flow.
const TOPICS: [Topic; 8] = [
    Topic::Os,
    Topic::RunningKernel,
    Topic::Bootloader,
    Topic::Cpu,
    Topic::Memory,
    Topic::Storage,
    Topic::Iommu,
    Topic::Vmware,
];

/// Looks at the machine.
pub fn look(host: &Host) -> TuningFacts {
    facts::gather(host, &detect::gather(host, Some(&TOPICS)))
}

/// Gathers what the plan reads and makes it.
///
/// # Errors
/// See [`PlanError`].
pub(super) fn plan_here(host: &Host, choices: &serde_json::Value) -> Result<Plan, PlanError> {
    let choices: Choices =
        serde_json::from_value(choices.clone()).map_err(|e| PlanError::BadChoices(e.to_string()))?;
    Ok(plan::plan(&choices, &look(host))?)
}

/// Looks whether the running kernel has the words that the plan put on its command line: not before a
/// restart, which `hostwright status` looks at again.
pub(super) fn check(host: &Host, plan: &Plan) -> Vec<Check> {
    let line = host.root().read_text("/proc/cmdline");
    let mut checks = Vec::new();
    for step in &plan.steps {
        let Step::SetKernelParameters(set) = step else { continue };
        for parameter in &set.parameters {
            let outcome = match &line {
                Ok(line) if line.split_whitespace().any(|w| w == parameter.as_str()) => CheckOutcome::Good,
                _ => CheckOutcome::NotApplicable { reason: "it counts from the next start on".to_owned() },
            };
            checks.push(Check { what: format!("the running kernel has `{parameter}`"), outcome });
        }
    }
    checks
}
