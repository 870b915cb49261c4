// SPDX-License-Identifier: GPL-3.0-or-later
//! Enable services, and start them.

use super::services::require_names;
use super::{Action, preview::preview};
use crate::engine::context::{After, Applied, Before, Context};
use crate::engine::error::StepError;
use crate::engine::event::{Check, CheckOutcome};
use crate::engine::plan::Permission;
use crate::engine::report::{Reversal, StepPreview};
use crate::host::{Command, Host};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Enable systemd units for every start and, where `start` says so, start them now (those that run are
/// restarted, so that drop-ins count). Undo stops and disables those that were not so before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnableServices {
    /// Unit names.
    pub units: Vec<String>,
    /// Whether they are started now.
    pub start: bool,
    /// What must be granted for it.
    pub permission: Permission,
}

/// How a unit was: enabled, active.
type Kept = BTreeMap<String, (bool, bool)>;

fn systemctl(args: &[&str]) -> Command {
    Command::new("systemctl").args(args.iter().copied())
}

/// Whether systemctl answers yes to a question about a unit.
fn is(ctx: &Context<'_>, question: &str, unit: &str) -> Result<bool, StepError> {
    let Some(command) = ctx.host().tool(systemctl(&[question, "--quiet", unit])) else {
        return Err(StepError::refused(
            "services cannot be asked about: this root has no systemd of its own",
            "leave services out here",
        ));
    };
    Ok(ctx.host().runner().run(&command)?.success())
}

impl EnableServices {
    /// Whether systemd runs here.
    fn running(host: &Host) -> bool {
        host.is_machine() && host.root().exists("/run/systemd/system")
    }

    fn states(&self, ctx: &Context<'_>) -> Result<Kept, StepError> {
        require_names(&self.units)?;
        let mut kept = Kept::new();
        for unit in &self.units {
            let active = Self::running(ctx.host()) && is(ctx, "is-active", unit)?;
            kept.insert(unit.clone(), (is(ctx, "is-enabled", unit)?, active));
        }
        Ok(kept)
    }

    fn commands(&self) -> Vec<Command> {
        let mut commands = vec![systemctl(&["daemon-reload"])];
        commands.extend(self.units.iter().map(|u| systemctl(&["enable", u])));
        if self.start {
            commands.extend(self.units.iter().map(|u| systemctl(&["restart", u])));
        }
        commands
    }
}

impl Action for EnableServices {
    fn title(&self) -> String {
        let verb = if self.start { "Enable and start" } else { "Enable" };
        format!("{verb} {}", self.units.join(", "))
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [self.permission].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::Full
    }

    fn weight(&self) -> u32 {
        10
    }

    fn preview(&self, _host: &Host) -> StepPreview {
        preview(self, &self.commands(), vec![])
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        let kept = self.states(ctx)?;
        Ok(Before { data: serde_json::to_value(kept).unwrap_or_default(), ..Before::default() })
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        let running = Self::running(ctx.host());
        for command in self.commands() {
            // A tree has nobody to reload or start anything.
            if running || command.args[0] == "enable" {
                ctx.tool(command)?;
            }
        }
        Ok(Applied::default())
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        let mut checks = Vec::new();
        for unit in &self.units {
            let outcome = match is(ctx, "is-enabled", unit) {
                Ok(true) => CheckOutcome::Good,
                Ok(false) => CheckOutcome::Bad { reason: format!("see `systemctl status {unit}`") },
                Err(e) => CheckOutcome::CouldNotLook { reason: e.to_string() },
            };
            checks.push(Check { what: format!("{unit} is enabled"), outcome });
            if self.start && Self::running(ctx.host()) {
                // Some of them do their work and end: that is no failure.
                let outcome = match is(ctx, "is-failed", unit) {
                    Ok(false) => CheckOutcome::Good,
                    Ok(true) => CheckOutcome::Bad { reason: format!("see `journalctl -u {unit}`") },
                    Err(e) => CheckOutcome::CouldNotLook { reason: e.to_string() },
                };
                checks.push(Check { what: format!("{unit} has not failed"), outcome });
            }
        }
        checks
    }

    fn undo(&self, ctx: &mut Context<'_>, before: &Before, _: Option<&After>) -> Result<(), StepError> {
        let kept: Kept = serde_json::from_value(before.data.clone()).unwrap_or_default();
        for (unit, (enabled, active)) in kept.iter().rev() {
            if !active && Self::running(ctx.host()) && is(ctx, "is-active", unit)? {
                ctx.tool(systemctl(&["stop", unit]))?;
            }
            if !enabled && is(ctx, "is-enabled", unit)? {
                ctx.tool(systemctl(&["disable", unit]))?;
            }
            if !active && Self::running(ctx.host()) {
                // Forgets a failure, which would be shown for ever.
                if let Some(command) = ctx.host().tool(systemctl(&["reset-failed", unit])) {
                    let _ = ctx.host().runner().run(&command)?;
                }
            }
        }
        Ok(())
    }

    fn settle_order(&self) -> u8 {
        3
    }

    /// Their files are gone or as they were by now.
    fn settle(&self, ctx: &mut Context<'_>, before: &Before) -> Result<Option<String>, StepError> {
        if !Self::running(ctx.host()) {
            return Ok(None);
        }
        ctx.tool(systemctl(&["daemon-reload"]))?;
        let kept: Kept = serde_json::from_value(before.data.clone()).unwrap_or_default();
        for (unit, _) in kept.iter().filter(|(_, (_, active))| *active) {
            ctx.tool(systemctl(&["restart", unit]))?;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::RunState;
    use crate::engine::steps::Step;
    use crate::engine::testing::Scene;
    use crate::host::fake::FakeRunner;
    use crate::host::{HostKind, Output};
    use std::sync::{Arc, Mutex};

    type Units = Arc<Mutex<(BTreeSet<String>, BTreeSet<String>, Option<String>)>>;

    /// A systemd of a test's own: enabled, active, the one that fails.
    fn scene(enabled: &[&str]) -> (Scene, Units) {
        let units = Units::default();
        units.lock().unwrap().0 = enabled.iter().map(|u| (*u).to_owned()).collect();
        let of = units.clone();
        let runner = FakeRunner::new().answer(move |c| {
            let (enabled, active, fails) = &mut *of.lock().unwrap();
            let unit = c.args.last().unwrap().clone();
            let code = match c.args[0].as_str() {
                "is-enabled" => i32::from(!enabled.contains(&unit)),
                "is-active" => i32::from(!active.contains(&unit)) * 3,
                "is-failed" => i32::from(fails.as_ref() != Some(&unit)),
                "enable" => {
                    enabled.insert(unit);
                    0
                }
                "disable" => i32::from(!enabled.remove(&unit)),
                "restart" => {
                    active.insert(unit);
                    0
                }
                "stop" => i32::from(!active.remove(&unit)),
                _ => 0,
            };
            Some(Output { code: Some(code), ..Output::default() })
        });
        let scene = Scene::new(HostKind::Machine, runner);
        scene.put("/run/systemd/system/x", "", 0o644);
        (scene, units)
    }

    fn step() -> Step {
        Step::EnableServices(EnableServices {
            units: vec!["a.service".into(), "b.service".into()],
            start: true,
            permission: Permission::VgpuInstall,
        })
    }

    #[test]
    fn undo_disables_just_what_was_not_enabled_before() {
        let (scene, units) = scene(&["a.service"]);
        let report = scene.execute(vec![step()]).unwrap();
        assert!(report.is_verified(), "{report:?}");
        assert_eq!(units.lock().unwrap().0.len(), 2);
        assert_eq!(scene.undo(report.run).unwrap().state, RunState::Undone);
        let units = units.lock().unwrap();
        assert_eq!(units.0, ["a.service".to_owned()].into());
        assert!(units.1.is_empty());
    }

    #[test]
    fn a_service_that_failed_is_no_success() {
        let (scene, units) = scene(&[]);
        units.lock().unwrap().2 = Some("b.service".into());
        let report = scene.execute(vec![step()]).unwrap();
        assert_eq!(report.state, RunState::RolledBack, "{report:?}");
        assert!(report.message.contains("journalctl -u b.service"), "{}", report.message);
        assert!(units.lock().unwrap().0.is_empty());
    }
}
