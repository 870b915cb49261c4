// SPDX-License-Identifier: GPL-3.0-or-later
//! Let the kernel's module index know what is there: `depmod`.
//!
//! The index is derived: anybody may have it made anew at any time (a package manager does). Undo puts the
//! old files back as long as nobody did; otherwise it leaves them and has the index made anew once the
//! modules are as they were.

use super::module_index::{base_for_depmod, files, flaw, folder, from_outside, is_half_made, require_kernel};
use super::{Action, preview::preview};
use crate::engine::context::{After, Applied, Before, Context};
use crate::engine::error::StepError;
use crate::engine::event::{Check, CheckOutcome};
use crate::engine::plan::Permission;
use crate::engine::report::{FileChange, Reversal, StepPreview};
use crate::engine::space;
use crate::host::{Command, Host};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Make the module index of a kernel anew. Undo puts the old index files back, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Depmod {
    /// Kernel release.
    pub kernel: String,
}

/// What the step keeps beside the files.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Whether the index fitted the modules before the run.
    fitted: bool,
}

impl Depmod {
    fn make(&self, ctx: &Context<'_>) -> Result<(), StepError> {
        if from_outside(ctx.host()) {
            let base = base_for_depmod(ctx.host(), &self.kernel)?;
            ctx.command(&ctx.locked(Command::new("depmod").args(["-b", &base, &self.kernel])))?;
        } else {
            ctx.tool(ctx.locked(Command::new("depmod").arg(&self.kernel)))?;
        }
        Ok(())
    }
}

impl Action for Depmod {
    fn title(&self) -> String {
        format!("Make the module index of {} anew", self.kernel)
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [Permission::ModulesInstall].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::Full
    }

    fn weight(&self) -> u32 {
        20
    }

    fn preview(&self, host: &Host) -> StepPreview {
        let mut command = Command::new("depmod");
        if from_outside(host) {
            let base = base_for_depmod(host, &self.kernel).unwrap_or_else(|e| format!("({e})"));
            command = command.args(["-b", &base]);
        }
        let path = format!("{}/modules.*", folder(&self.kernel));
        let files = vec![FileChange { path, diff: "made anew; the old ones are kept for undo".to_owned() }];
        preview(self, &[command.arg(&self.kernel)], files)
    }

    fn space(&self, host: &Host) -> Vec<(String, u64)> {
        let files = files(host, &self.kernel).unwrap_or_default();
        let size = |p: &String| host.root().symlink_metadata(p).map_or(0, |m| m.size);
        let kept: u64 = files.iter().map(size).sum();
        // The new ones are written beside the old ones, one after the other.
        vec![(space::KEPT.to_owned(), kept), (folder(&self.kernel), kept / 2)]
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        require_kernel(ctx.host(), &self.kernel)?;
        let files = files(ctx.host(), &self.kernel)?;
        let paths: Vec<&str> = files.iter().map(String::as_str).collect();
        let mut before = ctx.remember(&paths)?;
        before.derived = true;
        let fitted = flaw(ctx.host(), &self.kernel)?.is_none();
        before.data = serde_json::to_value(Kept { fitted }).unwrap_or_default();
        Ok(before)
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        let known = files(ctx.host(), &self.kernel)?;
        self.make(ctx)?;
        let also = files(ctx.host(), &self.kernel)?.difference(&known).cloned().collect();
        Ok(Applied { also, ..Applied::default() })
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        let outcome = match flaw(ctx.host(), &self.kernel) {
            Ok(None) => CheckOutcome::Good,
            Ok(Some(flaw)) => CheckOutcome::Bad {
                reason: format!("{flaw}; run `depmod {}` by hand and look at what it says", self.kernel),
            },
            Err(e) => CheckOutcome::CouldNotLook { reason: e.to_string() },
        };
        vec![Check { what: format!("the module index of {} names every module", self.kernel), outcome }]
    }

    fn undo(&self, ctx: &mut Context<'_>, before: &Before, after: Option<&After>) -> Result<(), StepError> {
        let root = ctx.host().root();
        // A depmod that was stopped leaves the file that it was writing.
        if after.is_none() && root.exists(&folder(&self.kernel)) {
            for entry in root.list(&folder(&self.kernel))? {
                let path = format!("{}/{}", folder(&self.kernel), entry.name);
                if is_half_made(&entry.name) && !before.files.contains_key(&path) {
                    root.remove_file(&path)?;
                }
            }
        }
        ctx.restore(before, after)
    }

    fn settle(&self, ctx: &mut Context<'_>, before: &Before) -> Result<Option<String>, StepError> {
        let root = ctx.host().root();
        if !root.exists(&folder(&self.kernel)) {
            return Ok(None);
        }
        let fitted = serde_json::from_value(before.data.clone()).is_ok_and(|k: Kept| k.fitted);
        let mut as_before = true;
        for (path, was) in &before.files {
            as_before &= root.state(path)?.same_as(was);
        }
        // Where even the old index did not fit, its being put back is all there is to do.
        if as_before && (!fitted || flaw(ctx.host(), &self.kernel)?.is_none()) {
            return Ok(None);
        }
        self.make(ctx)?;
        Ok(Some(format!(
            "the module index of {} had been made anew by somebody else since, so it was made anew again instead of being put back",
            self.kernel
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::steps::{RemoveFile, Step, WriteFile};
    use crate::engine::testing::{Scene, same};
    use crate::engine::{CheckOutcome, RunState};
    use crate::host::HostKind;
    use crate::host::fake::FakeRunner;

    const K: &str = "6.1.0-test";

    fn depmod() -> Step {
        Step::Depmod(Depmod { kernel: K.into() })
    }

    fn write(path: &str, content: &str) -> Step {
        Step::WriteFile(WriteFile {
            path: path.into(),
            content: content.into(),
            mode: 0o644,
            reason: String::new(),
        })
    }

    /// A kernel with one module and an index by the real depmod.
    fn scene() -> Scene {
        let scene = Scene::real();
        scene.put(&format!("/lib/modules/{K}/kernel/old.ko"), "no ELF file, and named all the same", 0o644);
        scene.put(&format!("/lib/modules/{K}/modules.order"), "kernel/old.ko\n", 0o644);
        scene.put(&format!("/lib/modules/{K}/modules.builtin"), "", 0o644);
        let base = scene.path().display().to_string();
        scene.host.runner().run_ok(&Command::new("depmod").args(["-b", &base, K])).unwrap();
        scene
    }

    fn dep(scene: &Scene) -> String {
        scene.host.root().read_text(&format!("/lib/modules/{K}/modules.dep")).unwrap()
    }

    #[test]
    fn the_real_depmod_names_a_new_module_and_undo_leaves_no_trace() {
        let scene = scene();
        let before = scene.tree();
        let new = format!("/lib/modules/{K}/updates/vmmon.ko");
        let report = scene.execute(vec![write(&new, "new"), depmod()]).unwrap();
        assert!(report.is_verified(), "{report:?}");
        assert!(dep(&scene).contains("updates/vmmon.ko:"));
        let undone = scene.undo(report.run).unwrap();
        assert_eq!(undone.message, "Everything that this run had changed was taken back.");
        same(&scene.tree(), &before);
    }

    #[test]
    fn an_index_that_was_never_made_is_gone_after_undo() {
        let scene = Scene::real();
        scene.put(&format!("/lib/modules/{K}/kernel/a.ko"), "x", 0o644);
        scene.there_and_back(vec![depmod()]);
    }

    #[test]
    fn an_odd_old_index_comes_back_as_it_was_with_mode_and_owner_and_links() {
        let scene = scene();
        let dir = format!("/lib/modules/{K}");
        scene.put(&format!("{dir}/modules.dep"), "nonsense", 0o600);
        scene.host.root().remove_file(&format!("{dir}/modules.alias")).unwrap();
        scene.host.root().symlink("kernel/old.ko", &format!("{dir}/modules.alias")).unwrap();
        if nix::unistd::geteuid().is_root() {
            let path = scene.path().join(&format!("{dir}/modules.dep")[1..]);
            std::os::unix::fs::chown(path, Some(7), Some(8)).unwrap();
        }
        scene.there_and_back(vec![depmod()]);
    }

    #[test]
    fn merged_usr_is_worked_on_where_it_is() {
        let scene = Scene::real();
        scene.put(&format!("/usr/lib/modules/{K}/kernel/a.ko"), "x", 0o644);
        scene.host.root().symlink("usr/lib", "/lib").unwrap();
        scene.there_and_back(vec![depmod()]);
    }

    #[test]
    fn a_link_that_leads_out_of_the_root_leads_depmod_nowhere() {
        let outside = Scene::real();
        outside.put("/lib/modules/x/kernel/a.ko", "x", 0o644);
        let before = outside.tree();
        let scene = Scene::real();
        scene.put("/lib/modules/other/kernel/a.ko", "x", 0o644);
        let target = outside.path().join("lib/modules/x").display().to_string();
        scene.host.root().symlink(&target, &format!("/lib/modules/{K}")).unwrap();
        let report = scene.execute(vec![depmod()]).unwrap();
        assert_eq!(report.state, RunState::RolledBack, "{report:?}");
        scene.host.root().remove_file(&format!("/lib/modules/{K}")).unwrap();
        scene.host.root().symlink("other", &format!("/lib/modules/{K}")).unwrap();
        let report = scene.execute(vec![depmod()]).unwrap();
        assert_eq!(report.state, RunState::RolledBack, "{report:?}");
        assert!(report.message.contains("depmod would not look for it"), "{}", report.message);
        same(&outside.tree(), &before);
    }

    #[test]
    fn an_index_made_anew_since_does_not_stop_undo_and_fits_afterwards() {
        let scene = scene();
        let ours = format!("/lib/modules/{K}/updates/vmmon.ko");
        let report = scene.execute(vec![write(&ours, "new"), depmod()]).unwrap();
        // A package brings a module of its own and has the index made anew.
        scene.put(&format!("/lib/modules/{K}/updates/theirs.ko"), "x", 0o644);
        let base = scene.path().display().to_string();
        scene.host.runner().run_ok(&Command::new("depmod").args(["-b", &base, K])).unwrap();
        let undone = scene.undo(report.run).unwrap();
        assert_eq!(undone.state, RunState::Undone, "{undone:?}");
        assert!(undone.message.contains("made anew again"), "{}", undone.message);
        let dep = dep(&scene);
        assert!(dep.contains("theirs.ko") && dep.contains("old.ko") && !dep.contains("vmmon"), "{dep}");
    }

    #[test]
    fn two_runs_may_have_the_same_index_made_and_be_undone_in_any_order() {
        let scene = scene();
        let before = scene.tree();
        let first =
            scene.execute(vec![write(&format!("/lib/modules/{K}/updates/a.ko"), "a"), depmod()]).unwrap();
        let second =
            scene.execute(vec![write(&format!("/lib/modules/{K}/extra/b.ko"), "b"), depmod()]).unwrap();
        assert_eq!(scene.undo(first.run).unwrap().state, RunState::Undone);
        assert!(dep(&scene).contains("b.ko") && !dep(&scene).contains("a.ko:"));
        assert_eq!(scene.undo(second.run).unwrap().state, RunState::Undone);
        // Made anew, so with another time; the bytes are those of before.
        let bytes = |t: &std::collections::BTreeMap<String, crate::host::FileState>| {
            t.iter().map(|(p, s)| (p.clone(), s.clone())).collect::<Vec<_>>()
        };
        let (now, then) = (bytes(&scene.tree()), bytes(&before));
        assert_eq!(now.len(), then.len());
        assert!(now.iter().zip(&then).all(|(a, b)| a.0 == b.0 && a.1.same_as(&b.1)));
    }

    #[test]
    fn a_depmod_that_failed_half_way_leaves_nothing() {
        let runner = FakeRunner::new().fails("depmod", 1, "depmod: ERROR: could not write index");
        let mut scene = scene();
        scene.host = crate::host::fake::host(scene.path(), runner.into(), HostKind::PartialRoot).unwrap();
        scene.put(&format!("/lib/modules/{K}/modules.dep"), "half", 0o644);
        let before = scene.tree();
        let report = scene.execute(vec![depmod()]).unwrap();
        assert_eq!(report.state, RunState::RolledBack);
        assert!(report.message.contains("could not write index"), "{}", report.message);
        same(&scene.tree(), &before);
    }

    #[test]
    fn an_index_that_misses_a_module_is_no_success() {
        // This depmod claims success and does nothing.
        let scene = Scene::new(HostKind::Machine, FakeRunner::new().ok("depmod", ""));
        scene.put(&format!("/lib/modules/{K}/kernel/a.ko"), "x", 0o644);
        scene.put(&format!("/lib/modules/{K}/modules.dep"), "", 0o644);
        let before = scene.tree();
        let report = scene.execute(vec![depmod()]).unwrap();
        assert_eq!(report.state, RunState::RolledBack);
        assert!(matches!(&report.checks[0].outcome, CheckOutcome::Bad { reason } if reason.contains("a.ko")));
        same(&scene.tree(), &before);
        assert_eq!(scene.runner.calls(), [format!("depmod {K}")]);
    }

    #[test]
    fn a_kernel_that_was_removed_meanwhile_is_named() {
        let scene = Scene::real();
        let report = scene.execute(vec![depmod()]).unwrap();
        assert!(
            report.message.contains("6.1.0-test is no longer installed; make the plan again"),
            "{report:?}"
        );
        for odd in ["../x", "", "-a", "a/b"] {
            let report = scene.execute(vec![Step::Depmod(Depmod { kernel: odd.into() })]).unwrap();
            assert!(report.message.contains("is no kernel release"), "{report:?}");
        }
    }

    #[test]
    fn undo_after_the_kernel_was_removed_passes_over_what_has_no_place_any_more() {
        let scene = scene();
        let report = scene
            .execute(vec![
                Step::RemoveFile(RemoveFile {
                    path: format!("/lib/modules/{K}/kernel/old.ko"),
                    reason: String::new(),
                }),
                write(&format!("/lib/modules/{K}/updates/vmmon.ko"), "new"),
                depmod(),
            ])
            .unwrap();
        std::fs::remove_dir_all(scene.path().join("lib/modules").join(K)).unwrap();
        let undone = scene.undo(report.run).unwrap();
        assert_eq!(undone.state, RunState::Undone, "{undone:?}");
        assert!(undone.message.contains("kernel/old.ko is not put back: the folder"), "{}", undone.message);
        assert!(!scene.host.root().exists(&format!("/lib/modules/{K}")));
    }
}
