// SPDX-License-Identifier: GPL-3.0-or-later
//! NVIDIA vGPU on Proxmox VE: which card, which branch, which kernel, and the driver's file.
//!
//! ```text
//!   Host ── gather ──► VgpuFacts ─┐
//!   Choices (branch, roles) ──────┼─► decide (pure) ─► Decision { cards, rows: works / if / no, … }
//!   Catalogue, Rules (data/vgpu) ─┘
//! ```
//!
//! The decision is carried out in two stages with a restart between them ([`plan`]): each is a plan and a run of its
//! own, and what the second needs to know stands in the journal of the first.

mod assign;
pub mod catalogue;
pub mod check;
pub mod choices;
pub mod decide;
pub mod decision;
pub mod download;
pub mod facts;
mod kernel;
pub mod licensing;
pub mod overrides;
pub mod own;
pub mod plan;
mod prepare;
mod resolve;
pub mod rules;
pub mod setup;
mod sources;
pub mod status;
#[cfg(test)]
pub(crate) mod tests;
pub mod token;

pub use catalogue::Catalogue;
pub use choices::{Assignment, Choices, GuestToken, KeptFile, LicenceServer, Role, Stage};
pub use decide::decide;
pub use decision::Decision;
pub use facts::{VgpuFacts, gather};
pub use rules::Rules;

use crate::engine::plan::Plan;
use crate::flows::PlanError;
use crate::host::Host;

/// The name of this flow.
pub const FLOW: &str = "vgpu";

/// Looks at the machine and makes the plan.
///
/// # Errors
/// See [`PlanError`].
pub(super) fn plan_here(host: &Host, choices: &serde_json::Value) -> Result<Plan, PlanError> {
    let choices: Choices =
        serde_json::from_value(choices.clone()).map_err(|e| PlanError::BadChoices(e.to_string()))?;
    let rules = Rules::built_in().map_err(|e| PlanError::Failed(e.to_string()))?;
    let catalogue = setup::catalogue(host)?;
    let facts = setup::gather(host, &choices, &catalogue, &rules)?;
    Ok(plan::plan(&choices, &facts, &catalogue, &rules)?)
}
