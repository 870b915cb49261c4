// SPDX-License-Identifier: GPL-3.0-or-later
//! Stop services that hold modules, so that these can be unloaded.

use super::services::{self, Kept, Verb};
use super::{Action, preview::preview};
use crate::engine::context::{After, Applied, Before, Context};
use crate::engine::error::StepError;
use crate::engine::event::Check;
use crate::engine::plan::Permission;
use crate::engine::report::{Reversal, StepPreview};
use crate::host::{Command, Host};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Stop services that are there and running. A later [`RestartServices`](super::RestartServices) of the same
/// plan starts just these again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StopServices {
    /// Unit names ("vmware-networks.service") or, without systemd, names of init scripts.
    pub units: Vec<String>,
}

impl Action for StopServices {
    fn title(&self) -> String {
        format!("Stop {}", self.units.join(", "))
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [Permission::ModulesInstall].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::Full
    }

    fn weight(&self) -> u32 {
        5
    }

    fn preview(&self, host: &Host) -> StepPreview {
        let commands: Vec<Command> =
            self.units.iter().map(|u| services::command(host, Verb::Stop, u)).collect();
        preview(self, &commands, vec![])
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        let kept = Kept { active_services: services::active(ctx.host(), &self.units)? };
        Ok(Before { data: serde_json::to_value(kept).unwrap_or_default(), ..Before::default() })
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        let active = services::active(ctx.host(), &self.units)?;
        for unit in &active {
            services::ask(ctx, Verb::Stop, unit)?;
        }
        Ok(Applied { unchanged: active.is_empty(), ..Applied::default() })
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        services::checks(ctx.host(), &self.units, false)
    }

    /// Nothing yet: the modules come back first, see [`Action::settle`].
    fn undo(&self, _ctx: &mut Context<'_>, _: &Before, _: Option<&After>) -> Result<(), StepError> {
        Ok(())
    }

    fn settle_order(&self) -> u8 {
        3
    }

    fn settle(&self, ctx: &mut Context<'_>, before: &Before) -> Result<Option<String>, StepError> {
        let kept: Option<Kept> = serde_json::from_value(before.data.clone()).ok();
        services::start(ctx, &kept.map(|k| k.active_services).unwrap_or_default())?;
        Ok(None)
    }
}
