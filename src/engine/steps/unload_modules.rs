// SPDX-License-Identifier: GPL-3.0-or-later
//! Take modules out of the running kernel.

use super::running_kernel::{find, release, remedy, require_machine, require_names, require_unused};
use super::{Action, preview::preview};
use crate::engine::context::{After, Applied, Before, Context};
use crate::engine::error::StepError;
use crate::engine::event::{Check, CheckOutcome};
use crate::engine::plan::Permission;
use crate::engine::report::{Reversal, StepPreview};
use crate::host::{Command, Host};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Take modules out of the running kernel, in this order (vmnet before vmmon). Modules that are not loaded are passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnloadModules {
    /// Their names, users first.
    pub modules: Vec<String>,
}

/// What the step keeps.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Release of the kernel that ran.
    release: String,
    /// Those that were loaded, in the order of the step.
    loaded: Vec<String>,
}

impl Action for UnloadModules {
    fn title(&self) -> String {
        format!("Unload {}", self.modules.join(", "))
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [Permission::ModulesInstall].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::Full
    }

    fn preview(&self, _host: &Host) -> StepPreview {
        let commands: Vec<Command> = self.modules.iter().map(|m| Command::new("rmmod").arg(m)).collect();
        preview(self, &commands, vec![])
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        require_machine(ctx.host())?;
        require_names(&self.modules)?;
        let mut loaded = Vec::new();
        for module in &self.modules {
            if find(ctx.host(), module)?.is_some() {
                loaded.push(module.clone());
            }
        }
        let kept = Kept { release: release(ctx.host())?, loaded };
        Ok(Before { data: serde_json::to_value(kept).unwrap_or_default(), ..Before::default() })
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        let mut unchanged = true;
        for name in &self.modules {
            let Some(module) = find(ctx.host(), name)? else { continue };
            require_unused(ctx.host(), &module)?;
            ctx.tool(Command::new("rmmod").arg(name))?;
            unchanged = false;
        }
        Ok(Applied { unchanged, ..Applied::default() })
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        let check = |name: &String| {
            let outcome = match find(ctx.host(), name) {
                Ok(None) => CheckOutcome::Good,
                Ok(Some(_)) => CheckOutcome::Bad {
                    reason: "something loaded it again at once; end that and try again".into(),
                },
                Err(e) => CheckOutcome::CouldNotLook { reason: e.to_string() },
            };
            Check { what: format!("{name} is not loaded"), outcome }
        };
        self.modules.iter().map(check).collect()
    }

    /// Nothing yet: the files of the old modules come back first, see [`Action::settle`].
    fn undo(&self, _ctx: &mut Context<'_>, _: &Before, _: Option<&After>) -> Result<(), StepError> {
        Ok(())
    }

    fn settle_order(&self) -> u8 {
        2
    }

    fn settle(&self, ctx: &mut Context<'_>, before: &Before) -> Result<Option<String>, StepError> {
        let Ok(kept) = serde_json::from_value::<Kept>(before.data.clone()) else { return Ok(None) };
        // After a restart with another kernel there is nothing to load them into.
        if !ctx.host().is_machine() || release(ctx.host())? != kept.release {
            return Ok(None);
        }
        for name in kept.loaded.iter().rev() {
            if find(ctx.host(), name)?.is_none() {
                load(ctx, name)?;
            }
        }
        Ok(None)
    }
}

/// Loads a module and says what to do when the kernel does not take it.
pub(super) fn load(ctx: &Context<'_>, name: &str) -> Result<(), StepError> {
    ctx.tool(Command::new("modprobe").arg(name)).map(|_| ()).map_err(|e| match e {
        StepError::Command(crate::host::CommandError::Failed { ref stderr, .. }) => {
            let remedy = remedy(stderr);
            StepError::refused(e.to_string(), remedy)
        }
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::RunState;
    use crate::engine::steps::Step;
    use crate::engine::testing::{FakeKernel, Scene};

    fn unload(modules: &[&str]) -> Step {
        Step::UnloadModules(UnloadModules { modules: modules.iter().map(|m| (*m).to_owned()).collect() })
    }

    #[test]
    fn loaded_modules_are_unloaded_in_order_and_loaded_again_by_undo_in_the_other() {
        let (scene, kernel) = FakeKernel::scene("6.1.0-test", &["vmmon", "vmnet"]);
        let report = scene.execute(vec![unload(&["vmnet", "vmmon", "vmblock"])]).unwrap();
        assert!(report.is_verified(), "{report:?}");
        assert!(kernel.loaded().is_empty());
        assert_eq!(scene.undo(report.run).unwrap().state, RunState::Undone);
        assert_eq!(kernel.loaded(), ["vmmon", "vmnet"]);
        assert_eq!(scene.runner.calls(), ["rmmod vmnet", "rmmod vmmon", "modprobe vmmon", "modprobe vmnet"]);
    }

    #[test]
    fn modules_that_are_not_loaded_are_nothing_to_do() {
        let (scene, _) = FakeKernel::scene("6.1.0-test", &[]);
        let report = scene.execute(vec![unload(&["vmnet", "vmmon"])]).unwrap();
        assert_eq!(report.state, RunState::Done);
        assert!(scene.runner.calls().is_empty());
    }

    #[test]
    fn users_are_named_and_what_was_unloaded_before_is_loaded_again() {
        let (scene, kernel) = FakeKernel::scene("6.1.0-test", &["vmmon", "vmnet"]);
        kernel.used("vmmon", 2);
        scene.put("/proc/321/comm", "vmware-vmx\n", 0o644).put("/proc/321/fd/keep", "", 0o644);
        scene.host.root().symlink("/dev/vmmon", "/proc/321/fd/7").unwrap();
        scene.host.root().symlink("/dev/vmmon-other", "/proc/321/fd/8").unwrap();
        let report = scene.execute(vec![unload(&["vmnet", "vmmon"])]).unwrap();
        assert_eq!(report.state, RunState::RolledBack);
        assert!(
            report
                .message
                .contains("vmmon is in use by vmware-vmx (process 321); shut down the virtual machines"),
            "{}",
            report.message
        );
        assert_eq!(kernel.loaded(), ["vmmon", "vmnet"]);
        assert_eq!(scene.runner.calls(), ["rmmod vmnet", "modprobe vmnet"]);
    }

    #[test]
    fn after_a_restart_with_another_kernel_undo_loads_nothing() {
        let (scene, kernel) = FakeKernel::scene("6.1.0-test", &["vmmon"]);
        let report = scene.execute(vec![unload(&["vmmon"])]).unwrap();
        scene.put("/proc/sys/kernel/osrelease", "6.12.0-new\n", 0o644);
        assert_eq!(scene.undo(report.run).unwrap().state, RunState::Undone);
        assert!(kernel.loaded().is_empty());
    }

    #[test]
    fn a_directory_tree_has_no_kernel_to_unload_from_and_odd_names_are_refused() {
        let scene = Scene::real();
        let report = scene.execute(vec![unload(&["vmmon"])]).unwrap();
        assert!(report.message.contains("whose kernel does not run"), "{}", report.message);
        let (scene, _) = FakeKernel::scene("6.1.0-test", &[]);
        for odd in ["-f", "a b", "../x", ""] {
            let report = scene.execute(vec![unload(&[odd])]).unwrap();
            assert!(report.message.contains("is no name of a module"), "{}", report.message);
        }
    }
}
