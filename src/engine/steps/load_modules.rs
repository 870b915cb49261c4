// SPDX-License-Identifier: GPL-3.0-or-later
//! Put modules into the running kernel.

use super::module_index::{folder, name_of};
use super::running_kernel::{
    find, modules, release, require_machine, require_names, require_unused, spelled,
};
use super::unload_modules::load;
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

/// Put modules into the running kernel by `modprobe`, in this order. Only ever for the kernel that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadModules {
    /// The release that must be running.
    pub kernel: String,
    /// Their names, needed ones first.
    pub modules: Vec<String>,
}

/// What the step keeps.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// All that was loaded.
    loaded: BTreeSet<String>,
}

/// The modules that this one needs, by modules.dep(5). Pure.
fn needed_by(modules_dep: &str, module: &str) -> Vec<String> {
    let module = spelled(module);
    let line = modules_dep.lines().find_map(|line| {
        let (path, needs) = line.split_once(':')?;
        (name_of(path)? == module).then_some(needs)
    });
    line.unwrap_or_default().split_ascii_whitespace().filter_map(name_of).collect()
}

impl LoadModules {
    /// What undo has to unload, users first: what was not loaded before, of the modules and of those
    /// that modprobe loaded because they need them.
    fn to_unload(&self, host: &Host, kept: &Kept) -> Result<Vec<String>, StepError> {
        let index = host.root().read_text(&format!("{}/modules.dep", folder(&self.kernel)));
        let index = index.unwrap_or_default();
        let mut names: Vec<String> = Vec::new();
        for name in self.modules.iter().rev() {
            names.push(spelled(name));
        }
        for name in self.modules.iter().rev() {
            names.extend(needed_by(&index, name));
        }
        let mut seen = BTreeSet::new();
        names.retain(|n| !kept.loaded.contains(n) && seen.insert(n.clone()));
        let now: BTreeSet<String> = modules(host)?.into_iter().map(|m| m.name).collect();
        names.retain(|n| now.contains(n));
        Ok(names)
    }
}

impl Action for LoadModules {
    fn title(&self) -> String {
        format!("Load {}", self.modules.join(", "))
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [Permission::ModulesInstall].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::Full
    }

    fn preview(&self, _host: &Host) -> StepPreview {
        let commands: Vec<Command> = self.modules.iter().map(|m| Command::new("modprobe").arg(m)).collect();
        preview(self, &commands, vec![])
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        require_machine(ctx.host())?;
        require_names(&self.modules)?;
        let running = release(ctx.host())?;
        if running != self.kernel {
            return Err(StepError::refused(
                format!("the modules are for {} and {running} is running", self.kernel),
                "make the plan again",
            ));
        }
        let kept = Kept { loaded: modules(ctx.host())?.into_iter().map(|m| m.name).collect() };
        Ok(Before { data: serde_json::to_value(kept).unwrap_or_default(), ..Before::default() })
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        let mut unchanged = true;
        for name in &self.modules {
            if find(ctx.host(), name)?.is_none() {
                load(ctx, name)?;
                unchanged = false;
            }
        }
        Ok(Applied { unchanged, ..Applied::default() })
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        let check = |name: &String| {
            let outcome = match find(ctx.host(), name) {
                Ok(Some(module)) if module.live => CheckOutcome::Good,
                Ok(_) => CheckOutcome::Bad {
                    reason: "modprobe says it is, and the kernel does not list it as live; look at `journalctl -k`"
                        .into(),
                },
                Err(e) => CheckOutcome::CouldNotLook { reason: e.to_string() },
            };
            Check { what: format!("{name} is loaded"), outcome }
        };
        self.modules.iter().map(check).collect()
    }

    fn undo(&self, ctx: &mut Context<'_>, before: &Before, _: Option<&After>) -> Result<(), StepError> {
        let Ok(kept) = serde_json::from_value::<Kept>(before.data.clone()) else { return Ok(()) };
        // After a restart with another kernel none of this is ours.
        if !ctx.host().is_machine() || release(ctx.host())? != self.kernel {
            return Ok(());
        }
        let own: BTreeSet<String> = self.modules.iter().map(|m| spelled(m)).collect();
        for name in self.to_unload(ctx.host(), &kept)? {
            let Some(module) = find(ctx.host(), &name)? else { continue };
            // What the kernel itself brought along stays while somebody uses it.
            if !own.contains(&name) && (module.uses > 0 || !module.users.is_empty()) {
                continue;
            }
            require_unused(ctx.host(), &module)?;
            ctx.tool(Command::new("rmmod").arg(&name))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::RunState;
    use crate::engine::steps::Step;
    use crate::engine::testing::FakeKernel;

    const K: &str = "6.1.0-test";

    fn step() -> Step {
        let modules = vec!["vmmon".into(), "vmnet".into()];
        Step::LoadModules(LoadModules { kernel: K.into(), modules })
    }

    #[test]
    fn modules_are_loaded_and_unloaded_again_with_what_they_brought_along() {
        let (scene, kernel) = FakeKernel::scene(K, &["dummy"]);
        kernel.needs("vmmon", "vmw_vmci");
        scene.put(
            &format!("/lib/modules/{K}/modules.dep"),
            "updates/vmmon.ko: kernel/drivers/misc/vmw_vmci/vmw_vmci.ko.xz\nupdates/vmnet.ko:\n",
            0o644,
        );
        let report = scene.execute(vec![step()]).unwrap();
        assert!(report.is_verified(), "{report:?}");
        assert_eq!(kernel.loaded(), ["dummy", "vmw_vmci", "vmmon", "vmnet"]);
        assert_eq!(scene.undo(report.run).unwrap().state, RunState::Undone);
        assert_eq!(kernel.loaded(), ["dummy"]);
        assert_eq!(
            scene.runner.calls(),
            ["modprobe vmmon", "modprobe vmnet", "rmmod vmnet", "rmmod vmmon", "rmmod vmw_vmci"]
        );
    }

    #[test]
    fn what_was_loaded_before_stays_loaded_after_undo() {
        let (scene, kernel) = FakeKernel::scene(K, &["vmmon"]);
        let report = scene.execute(vec![step()]).unwrap();
        assert_eq!(scene.undo(report.run).unwrap().state, RunState::Undone);
        assert_eq!(kernel.loaded(), ["vmmon"]);
        assert_eq!(scene.runner.calls(), ["modprobe vmnet", "rmmod vmnet"]);
    }

    #[test]
    fn a_module_in_use_stops_undo_with_its_users_named_and_undo_goes_on_later() {
        let (scene, kernel) = FakeKernel::scene(K, &[]);
        let report = scene.execute(vec![step()]).unwrap();
        kernel.used("vmnet", 3);
        let undone = scene.undo(report.run).unwrap();
        assert_eq!(undone.state, RunState::UndoStopped);
        assert!(undone.message.contains("vmnet is in use by 3 open handles"), "{}", undone.message);
        kernel.used("vmnet", 0);
        assert_eq!(scene.undo(report.run).unwrap().state, RunState::Undone);
        assert!(kernel.loaded().is_empty());
    }

    #[test]
    fn a_rejected_key_is_explained_and_the_first_module_is_unloaded_again() {
        let (scene, kernel) = FakeKernel::scene(K, &[]);
        kernel.rejects("vmnet", "modprobe: ERROR: could not insert 'vmnet': Key was rejected by service");
        let report = scene.execute(vec![step()]).unwrap();
        assert_eq!(report.state, RunState::RolledBack);
        assert!(report.message.contains("enroll the signing key, restart"), "{}", report.message);
        assert!(kernel.loaded().is_empty());
    }

    #[test]
    fn another_running_kernel_is_refused() {
        let (scene, _) = FakeKernel::scene("6.12.0-other", &[]);
        let report = scene.execute(vec![step()]).unwrap();
        assert_eq!(report.state, RunState::RolledBack);
        assert!(
            report.message.contains("6.12.0-other is running; make the plan again"),
            "{}",
            report.message
        );
        assert!(scene.runner.calls().is_empty());
    }

    #[test]
    fn what_a_module_needs_is_read_from_the_index() {
        let index = "a/x-y.ko.xz: b/p.ko b/q-r.ko.zst\nb/p.ko:\n";
        assert_eq!(needed_by(index, "x-y"), ["p", "q_r"]);
        assert_eq!(needed_by(index, "p"), [""; 0]);
        assert_eq!(needed_by(index, "unknown"), [""; 0]);
    }
}
