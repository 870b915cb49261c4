// SPDX-License-Identifier: GPL-3.0-or-later
//! Let the distribution's own tool bring a changed kernel command line to the boot loader.

use super::set_kernel_parameters::{look, words};
use super::{Action, preview::preview};
use crate::engine::context::{Applied, Before, Context};
use crate::engine::error::StepError;
use crate::engine::event::{Check, CheckOutcome};
use crate::engine::kernel_params::{Format, Parameter};
use crate::engine::plan::Permission;
use crate::engine::report::{FileChange, Reversal, StepPreview};
use crate::engine::space::KEPT;
use crate::host::{Command, Host, HostKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// The distribution's tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BootLoaderTool {
    /// `update-grub` (Debian, Ubuntu).
    UpdateGrub,
    /// `grub-mkconfig -o FILE` (Arch, Gentoo).
    GrubMkconfig,
    /// `grub2-mkconfig -o FILE`.
    Grub2Mkconfig,
    /// `update-bootloader --refresh` (openSUSE with GRUB).
    UpdateBootloader,
    /// `sdbootutil update-all-entries` (openSUSE with entries).
    Sdbootutil,
    /// `proxmox-boot-tool refresh`.
    ProxmoxBootTool,
}

/// The tools look at every disk for other systems; with many that takes minutes.
const TIMEOUT: Duration = Duration::from_secs(900);

/// Make the boot loader's configuration anew. Undo puts the old one back, byte for byte; when it was made anew
/// since, it is made once more instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateBootLoader {
    /// The tool.
    pub tool: BootLoaderTool,
    /// The `grub.cfg` that it makes, where it can be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// The entries that it makes, where they can be seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<String>,
    /// The words that must be in what it makes.
    pub parameters: Vec<Parameter>,
}

impl UpdateBootLoader {
    /// The command. Pure.
    fn command(&self) -> Command {
        let config = self.config.as_deref().unwrap_or("/boot/grub/grub.cfg");
        let command = match self.tool {
            BootLoaderTool::UpdateGrub => Command::new("update-grub"),
            BootLoaderTool::GrubMkconfig => Command::new("grub-mkconfig").args(["-o", config]),
            BootLoaderTool::Grub2Mkconfig => Command::new("grub2-mkconfig").args(["-o", config]),
            BootLoaderTool::UpdateBootloader => Command::new("update-bootloader").arg("--refresh"),
            BootLoaderTool::Sdbootutil => Command::new("sdbootutil").arg("update-all-entries"),
            BootLoaderTool::ProxmoxBootTool => Command::new("proxmox-boot-tool").arg("refresh"),
        };
        command.timeout(TIMEOUT)
    }

    /// The files that the tool makes, and what grub-mkconfig has beside its file meanwhile.
    fn outputs(&self) -> Vec<String> {
        let config = self.config.iter().flat_map(|c| [c.clone(), format!("{c}.new")]);
        config.chain(self.entries.iter().cloned()).collect()
    }

    /// Whether it writes where nobody can look without mounting something.
    fn writes_elsewhere(&self) -> bool {
        self.tool == BootLoaderTool::ProxmoxBootTool
    }

    fn run(&self, ctx: &Context<'_>) -> Result<(), StepError> {
        ctx.tool(ctx.locked(self.command())).map(|_| ())
    }
}

impl Action for UpdateBootLoader {
    fn title(&self) -> String {
        "Make the boot loader's configuration anew".to_owned()
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [Permission::BootConfigure].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::Full
    }

    fn weight(&self) -> u32 {
        60
    }

    fn preview(&self, _host: &Host) -> StepPreview {
        let change = |path: &String| FileChange {
            path: path.clone(),
            diff: "made anew; the old one is kept for undo".to_owned(),
        };
        let files = self.config.iter().chain(&self.entries).map(change).collect();
        preview(self, &[self.command()], files)
    }

    fn space(&self, host: &Host) -> Vec<(String, u64)> {
        let size: u64 =
            self.outputs().iter().map(|p| host.root().symlink_metadata(p).map_or(0, |m| m.size)).sum();
        vec![(KEPT.to_owned(), size)]
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        if ctx.host().kind() == HostKind::PartialRoot {
            return Err(StepError::refused(
                "this root has no tools of its own, and its boot loader's configuration is made by them",
                "use a root with a whole system in it, or leave kernel parameters out",
            ));
        }
        let outputs = self.outputs();
        let mut before = ctx.remember(&outputs.iter().map(String::as_str).collect::<Vec<_>>())?;
        before.dirs.clear();
        before.derived = true;
        before.may_be_gone = self.entries.iter().cloned().collect();
        Ok(before)
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        self.run(ctx)?;
        Ok(Applied::default())
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        let words = words(&self.parameters);
        let check = |path: &String, format| Check {
            what: format!("{path} starts Linux with `{words}`"),
            outcome: look(ctx.host(), path, format, &self.parameters),
        };
        let config = self.config.iter().map(|path| check(path, Format::GrubConfig));
        let entries = self.entries.iter().map(|path| check(path, Format::LoaderEntry));
        let mut checks: Vec<Check> = config.chain(entries).collect();
        if checks.is_empty() {
            let reason = format!(
                "`{}` went well and writes to partitions that are not mounted; the next start tells",
                self.command().display()
            );
            let what = format!("the boot loader starts Linux with `{words}`");
            checks.push(Check { what, outcome: CheckOutcome::CouldNotLook { reason } });
        }
        checks
    }

    fn settle_order(&self) -> u8 {
        1
    }

    fn settle(&self, ctx: &mut Context<'_>, before: &Before) -> Result<Option<String>, StepError> {
        let root = ctx.host().root();
        let as_before = before.files.iter().all(|(path, was)| {
            let now = root.state(path);
            now.is_ok_and(|now| now.same_as(was) || (before.may_be_gone.contains(path) && !root.exists(path)))
        });
        if as_before && !self.writes_elsewhere() {
            return Ok(None);
        }
        self.run(ctx)?;
        let said = "the boot loader's configuration had been made anew since, so it was made anew once more instead of being put back";
        Ok((!as_before).then(|| said.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::RunState;
    use crate::engine::steps::Step;
    use crate::engine::testing::{Scene, same};
    use crate::host::Output;
    use crate::host::fake::FakeRunner;
    use std::path::{Path, PathBuf};
    use std::sync::{Arc, Mutex};

    const CONFIG: &str = "/boot/grub/grub.cfg";
    const OLD: &str = "menuentry 'X' {\n\tlinux /vmlinuz ro\n}\n";
    const NEW: &str = "menuentry 'X' {\n\tlinux /vmlinuz ro iommu=pt\n}\n";

    fn step() -> Step {
        Step::UpdateBootLoader(UpdateBootLoader {
            tool: BootLoaderTool::UpdateGrub,
            config: Some(CONFIG.into()),
            entries: vec![],
            parameters: vec!["iommu=pt".parse().unwrap()],
        })
    }

    /// A machine whose update-grub does this to its root.
    fn scene(tool: impl Fn(&Path) -> i32 + Send + Sync + 'static) -> Scene {
        let place = Arc::new(Mutex::new(PathBuf::new()));
        let known = place.clone();
        let runner = FakeRunner::new().answer(move |c| {
            (c.program == "update-grub").then(|| {
                let code = tool(&known.lock().unwrap());
                Output { code: Some(code), stderr: "said by the tool".into(), ..Output::default() }
            })
        });
        let scene = Scene::new(HostKind::Machine, runner);
        *place.lock().unwrap() = scene.path().to_owned();
        scene.put(CONFIG, OLD, 0o600);
        scene
    }

    fn makes(text: &'static str) -> impl Fn(&Path) -> i32 {
        move |root| {
            std::fs::write(root.join(&CONFIG[1..]), text).unwrap();
            0
        }
    }

    #[test]
    fn the_generated_configuration_is_looked_at_and_the_old_one_comes_back() {
        let scene = scene(makes(NEW));
        let report = scene.there_and_back(vec![step()]);
        assert_eq!(report.checks.len(), 1);
        assert_eq!(scene.runner.calls(), ["update-grub"], "putting back needs no tool");
    }

    #[test]
    fn a_tool_that_does_not_bring_the_words_is_no_success() {
        for (text, says) in [(OLD, "does not have `iommu=pt`"), ("", "no entry starts Linux")] {
            let scene = scene(makes(text));
            let before = scene.tree();
            let report = scene.execute(vec![step()]).unwrap();
            assert_eq!(report.state, RunState::RolledBack);
            assert!(report.message.contains(says), "{}", report.message);
            same(&scene.tree(), &before);
        }
    }

    #[test]
    fn a_tool_that_fails_half_way_leaves_nothing_beside() {
        let scene = scene(|root| {
            std::fs::write(root.join("boot/grub/grub.cfg.new"), "half").unwrap();
            1
        });
        let before = scene.tree();
        let report = scene.execute(vec![step()]).unwrap();
        assert_eq!(report.state, RunState::RolledBack);
        assert!(report.message.contains("said by the tool"), "{}", report.message);
        same(&scene.tree(), &before);
    }

    #[test]
    fn a_configuration_made_anew_since_is_made_anew_again_by_undo() {
        let scene = scene(makes(NEW));
        let report = scene.execute(vec![step()]).unwrap();
        scene.put(CONFIG, "with a newer kernel", 0o600);
        let undone = scene.undo(report.run).unwrap();
        assert_eq!(undone.state, RunState::Undone);
        assert!(undone.message.contains("made anew once more"), "{}", undone.message);
        assert_eq!(scene.runner.calls().len(), 2);
    }

    #[test]
    fn what_proxmox_boot_tool_wrote_is_not_seen_and_undo_runs_it_again() {
        let runner = FakeRunner::new().ok("proxmox-boot-tool", "");
        let scene = Scene::new(HostKind::Machine, runner);
        let tool = BootLoaderTool::ProxmoxBootTool;
        let parameters = vec!["iommu=pt".parse().unwrap()];
        let step =
            Step::UpdateBootLoader(UpdateBootLoader { tool, config: None, entries: vec![], parameters });
        let report = scene.execute(vec![step]).unwrap();
        assert_eq!(report.state, RunState::Done);
        assert!(!report.is_verified(), "nobody looked: {report:?}");
        assert_eq!(scene.undo(report.run).unwrap().state, RunState::Undone);
        assert_eq!(scene.runner.calls(), ["proxmox-boot-tool refresh"; 2]);
    }

    #[test]
    fn a_root_without_tools_is_refused() {
        let report = Scene::real().execute(vec![step()]).unwrap();
        assert!(report.message.contains("has no tools of its own"), "{}", report.message);
    }

    #[test]
    fn every_tool_has_its_command() {
        use BootLoaderTool::{
            Grub2Mkconfig, GrubMkconfig, ProxmoxBootTool, Sdbootutil, UpdateBootloader, UpdateGrub,
        };
        let shown = [UpdateGrub, GrubMkconfig, Grub2Mkconfig, UpdateBootloader, Sdbootutil, ProxmoxBootTool]
            .map(|tool| {
                let config = Some("/boot/grub2/grub.cfg".to_owned());
                UpdateBootLoader { tool, config, entries: vec![], parameters: vec![] }.command().display()
            });
        assert_eq!(
            shown,
            [
                "update-grub",
                "grub-mkconfig -o /boot/grub2/grub.cfg",
                "grub2-mkconfig -o /boot/grub2/grub.cfg",
                "update-bootloader --refresh",
                "sdbootutil update-all-entries",
                "proxmox-boot-tool refresh"
            ]
        );
    }
}
