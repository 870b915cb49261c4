// SPDX-License-Identifier: GPL-3.0-or-later
//! Restart services that use the modules.

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

/// Restart services that are there and were running (also those that a
/// [`StopServices`](super::StopServices) of the same plan stopped). Undo stops them, so that the modules can
/// be unloaded, and starts them again when everything else is as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestartServices {
    /// Unit names ("vmware-networks.service") or, without systemd, names of init scripts.
    pub units: Vec<String>,
}

impl RestartServices {
    /// Those that were active before the run.
    fn were_active(&self, ctx: &Context<'_>) -> Result<Vec<String>, StepError> {
        let stopped: Vec<String> = ctx
            .kept_by_earlier_steps()
            .into_iter()
            .filter_map(|data| serde_json::from_value::<Kept>(data).ok())
            .flat_map(|kept| kept.active_services)
            .collect();
        let active = services::active(ctx.host(), &self.units)?;
        Ok(self.units.iter().filter(|u| active.contains(u) || stopped.contains(u)).cloned().collect())
    }
}

impl Action for RestartServices {
    fn title(&self) -> String {
        format!("Restart {}", self.units.join(", "))
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
            self.units.iter().map(|u| services::command(host, Verb::Restart, u)).collect();
        preview(self, &commands, vec![])
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        let kept = Kept { active_services: self.were_active(ctx)? };
        Ok(Before { data: serde_json::to_value(kept).unwrap_or_default(), ..Before::default() })
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        let units = self.were_active(ctx)?;
        for unit in &units {
            services::ask(ctx, Verb::Restart, unit)?;
        }
        let data = serde_json::to_value(&units).unwrap_or_default();
        Ok(Applied { unchanged: units.is_empty(), data, ..Applied::default() })
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        match self.were_active(ctx) {
            Ok(units) => services::checks(ctx.host(), &units, true),
            Err(e) => vec![Check {
                what: format!("{} are active", self.units.join(", ")),
                outcome: crate::engine::CheckOutcome::CouldNotLook { reason: e.to_string() },
            }],
        }
    }

    fn undo(&self, ctx: &mut Context<'_>, before: &Before, _: Option<&After>) -> Result<(), StepError> {
        for unit in self.kept(before) {
            if services::is_active(ctx.host(), &unit)? {
                services::ask(ctx, Verb::Stop, &unit)?;
            }
        }
        Ok(())
    }

    fn settle_order(&self) -> u8 {
        3
    }

    fn settle(&self, ctx: &mut Context<'_>, before: &Before) -> Result<Option<String>, StepError> {
        services::start(ctx, &self.kept(before))?;
        Ok(None)
    }
}

impl RestartServices {
    fn kept(&self, before: &Before) -> Vec<String> {
        let kept: Option<Kept> = serde_json::from_value(before.data.clone()).ok();
        kept.map(|k| k.active_services).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::RunState;
    use crate::engine::steps::{LoadModules, Step, StopServices, UnloadModules};
    use crate::engine::testing::{FakeKernel, FakeServices, Scene};
    use crate::host::HostKind;

    fn names(units: &[&str]) -> Vec<String> {
        units.iter().map(|u| (*u).to_owned()).collect()
    }

    fn restart(units: &[&str]) -> Step {
        Step::RestartServices(RestartServices { units: names(units) })
    }

    fn stop(units: &[&str]) -> Step {
        Step::StopServices(StopServices { units: names(units) })
    }

    #[test]
    fn only_active_services_are_restarted_and_undo_starts_them_anew() {
        let (services, runner) = FakeServices::systemd(&["vmware-networks.service"]);
        let scene = Scene::new(HostKind::Machine, runner);
        scene.put("/run/systemd/system/x", "", 0o644);
        let units = ["vmware-networks.service", "vmware-USBArbitrator.service"];
        let report = scene.execute(vec![restart(&units)]).unwrap();
        assert!(report.is_verified(), "{report:?}");
        assert_eq!(services.changes(&scene), ["systemctl restart vmware-networks.service"]);
        assert_eq!(scene.undo(report.run).unwrap().state, RunState::Undone);
        assert_eq!(
            services.changes(&scene)[1..],
            ["systemctl stop vmware-networks.service", "systemctl start vmware-networks.service"]
        );
    }

    #[test]
    fn a_whole_reload_and_its_undo_keep_the_order_that_the_kernel_needs() {
        let (services, runner) = FakeServices::systemd(&["net.service"]);
        let (scene, kernel) = FakeKernel::scene_with("6.1.0-test", &["vmmon", "vmnet"], runner);
        scene.put("/run/systemd/system/x", "", 0o644);
        let modules = names(&["vmmon", "vmnet"]);
        let steps = vec![
            stop(&["net.service", "off.service"]),
            Step::UnloadModules(UnloadModules { modules: names(&["vmnet", "vmmon"]) }),
            Step::LoadModules(LoadModules { kernel: "6.1.0-test".into(), modules }),
            restart(&["net.service", "off.service"]),
        ];
        let report = scene.execute(steps).unwrap();
        assert!(report.is_verified(), "{report:?}");
        assert_eq!(kernel.loaded(), ["vmmon", "vmnet"]);
        assert_eq!(
            services.changes(&scene),
            [
                "systemctl stop net.service",
                "rmmod vmnet",
                "rmmod vmmon",
                "modprobe vmmon",
                "modprobe vmnet",
                "systemctl restart net.service",
            ]
        );
        let done = services.changes(&scene).len();
        assert_eq!(scene.undo(report.run).unwrap().state, RunState::Undone);
        assert_eq!(
            services.changes(&scene)[done..],
            [
                "systemctl stop net.service",
                "rmmod vmnet",
                "rmmod vmmon",
                "modprobe vmmon",
                "modprobe vmnet",
                "systemctl start net.service",
            ]
        );
        assert_eq!(services.active(), ["net.service"]);
    }

    #[test]
    fn init_scripts_are_used_where_systemd_does_not_run() {
        let (services, runner) = FakeServices::init_scripts(&["vmware"]);
        let scene = Scene::new(HostKind::Machine, runner);
        scene.put("/etc/init.d/vmware", "#!/bin/sh\n", 0o755);
        let report = scene.execute(vec![restart(&["vmware.service", "other.service"])]).unwrap();
        assert!(report.is_verified(), "{report:?}");
        assert_eq!(services.changes(&scene), ["/etc/init.d/vmware restart"]);
    }

    #[test]
    fn a_service_that_does_not_come_up_takes_the_run_back() {
        let (services, runner) = FakeServices::systemd(&["net.service"]);
        let scene = Scene::new(HostKind::Machine, runner);
        scene.put("/run/systemd/system/x", "", 0o644);
        services.breaks("net.service");
        let report = scene.execute(vec![restart(&["net.service"])]).unwrap();
        assert_eq!(report.state, RunState::Failed, "{report:?}");
        assert!(report.message.contains("net.service failed"), "{}", report.message);
        services.mended("net.service");
        assert_eq!(scene.undo(report.run).unwrap().state, RunState::Undone);
        assert_eq!(services.active(), ["net.service"]);
    }

    #[test]
    fn odd_names_are_refused() {
        let scene = Scene::new(HostKind::Machine, crate::host::fake::FakeRunner::new());
        for odd in ["--now", "../../bin/sh", "", "a b"] {
            let report = scene.execute(vec![restart(&[odd])]).unwrap();
            assert!(report.message.contains("is no name of a service"), "{}", report.message);
        }
    }
}
