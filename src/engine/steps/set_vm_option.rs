// SPDX-License-Identifier: GPL-3.0-or-later
//! Set an option of a virtual machine of Proxmox, by Proxmox's own tool.

use super::{Action, preview::preview};
use crate::engine::context::{After, Applied, Before, Context};
use crate::engine::error::StepError;
use crate::engine::event::{Check, CheckOutcome};
use crate::engine::plan::Permission;
use crate::engine::report::{FileChange, Reversal, StepPreview};
use crate::host::{Command, Host};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// Set one option of a virtual machine (`qm set`). Undo sets what was there before, or deletes the option; one that
/// somebody changed since stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetVmOption {
    /// Number of the virtual machine.
    pub vm: u32,
    /// The option ("hostpci0").
    pub option: String,
    /// Its value ("0000:41:00.0,mdev=nvidia-63").
    pub value: String,
}

/// An option in a configuration (qm.conf(5)); sections of snapshots follow it. Pure.
fn option<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let lines = text.lines().take_while(|l| !l.starts_with('['));
    lines.filter_map(|l| l.split_once(':')).find(|(key, _)| *key == name).map(|(_, value)| value.trim())
}

fn qm(args: &[&str]) -> Command {
    Command::new("qm").args(args.iter().copied()).timeout(Duration::from_secs(120))
}

impl SetVmOption {
    fn path(&self) -> String {
        format!("/etc/pve/qemu-server/{}.conf", self.vm)
    }

    fn now(&self, host: &Host) -> Result<Option<String>, StepError> {
        match host.root().read_text(&self.path()) {
            Ok(text) => Ok(option(&text, &self.option).map(str::to_owned)),
            Err(e) if e.is_not_found() => Err(StepError::refused(
                format!("there is no virtual machine {} on this node", self.vm),
                "`qm list` shows those that are",
            )),
            Err(e) => Err(e.into()),
        }
    }

    fn set(&self, value: Option<&str>) -> Command {
        let vm = self.vm.to_string();
        match value {
            Some(value) => qm(&["set", &vm, &format!("--{}", self.option), value]),
            None => qm(&["set", &vm, "--delete", &self.option]),
        }
    }
}

impl Action for SetVmOption {
    fn title(&self) -> String {
        format!("Set {} of the virtual machine {} to {}", self.option, self.vm, self.value)
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [Permission::VgpuInstall].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::Full
    }

    fn preview(&self, host: &Host) -> StepPreview {
        let was = self.now(host).ok().flatten().unwrap_or_else(|| "nothing".to_owned());
        let diff = format!("{}: {was} becomes {}", self.option, self.value);
        preview(self, &[self.set(Some(&self.value))], vec![FileChange { path: self.path(), diff }])
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        let plain = |s: &str, more: &[u8]| {
            !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
        };
        if !plain(&self.option, b"") || !plain(&self.value, b":.,=-_") || self.value.starts_with('-') {
            return Err(StepError::refused(
                format!("`{}: {}` is no option of a virtual machine", self.option, self.value.escape_debug()),
                "make the plan again; if it still says so, report it",
            ));
        }
        Ok(Before { data: serde_json::json!({ "was": self.now(ctx.host())? }), ..Before::default() })
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        if self.now(ctx.host())?.as_deref() == Some(&self.value) {
            return Ok(Applied { unchanged: true, ..Applied::default() });
        }
        ctx.tool(self.set(Some(&self.value)))?;
        Ok(Applied::default())
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        let outcome = match self.now(ctx.host()) {
            Ok(Some(now)) if now == self.value => CheckOutcome::Good,
            Ok(now) => CheckOutcome::Bad {
                reason: format!("it is {}", now.as_deref().unwrap_or("not there, though qm succeeded")),
            },
            Err(e) => CheckOutcome::CouldNotLook { reason: e.to_string() },
        };
        vec![Check {
            what: format!("the option {} of the virtual machine {} is {}", self.option, self.vm, self.value),
            outcome,
        }]
    }

    fn undo(&self, ctx: &mut Context<'_>, before: &Before, _: Option<&After>) -> Result<(), StepError> {
        let was: Option<String> = serde_json::from_value(before.data["was"].clone()).unwrap_or_default();
        // The virtual machine may be gone, and its options with it.
        if !ctx.host().root().exists(&self.path()) {
            return Ok(());
        }
        let now = self.now(ctx.host())?;
        if now == was {
            return Ok(());
        }
        if now.as_deref() != Some(&self.value) {
            ctx.note(format!("{} of {} was changed since, and stays so", self.option, self.vm));
            return Ok(());
        }
        ctx.tool(self.set(was.as_deref())).map(|_| ())
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
    use std::path::PathBuf;
    use std::sync::{Arc, Mutex};

    const CONF: &str = "/etc/pve/qemu-server/100.conf";

    fn scene() -> Scene {
        let dir: Arc<Mutex<PathBuf>> = Arc::default();
        let of = dir.clone();
        let runner = FakeRunner::new().answer(move |c| {
            let path = of.lock().unwrap().join(&CONF[1..]);
            let text = std::fs::read_to_string(&path).unwrap();
            let name = if c.args[2] == "--delete" { &c.args[3] } else { &c.args[2][2..] };
            let mut lines: Vec<String> =
                text.lines().filter(|l| !l.starts_with(name)).map(str::to_owned).collect();
            if c.args[2] != "--delete" {
                lines.push(format!("{name}: {}", c.args[3]));
            }
            std::fs::write(&path, lines.join("\n") + "\n").unwrap();
            Some(Output { code: Some(0), ..Output::default() })
        });
        let scene = Scene::new(HostKind::Machine, runner);
        scene.put(CONF, "name: desk\n", 0o640);
        *dir.lock().unwrap() = scene.path().to_owned();
        scene
    }

    fn step(vm: u32, value: &str) -> Step {
        Step::SetVmOption(SetVmOption { vm, option: "hostpci0".into(), value: value.into() })
    }

    #[test]
    fn an_option_is_set_and_deleted_by_undo_and_what_was_there_comes_back() {
        let scene = scene();
        let text = || scene.host.root().read_text(CONF).unwrap();
        let run = scene.execute(vec![step(100, "0000:41:00.0,mdev=nvidia-63")]).unwrap().run;
        assert_eq!(text(), "name: desk\nhostpci0: 0000:41:00.0,mdev=nvidia-63\n");
        let second = scene.execute(vec![step(100, "0000:41:00.0,mdev=nvidia-64")]).unwrap().run;
        scene.undo(second).unwrap();
        assert!(text().contains("nvidia-63"));
        scene.undo(run).unwrap();
        assert_eq!(text(), "name: desk\n");
    }

    #[test]
    fn a_value_that_could_be_an_option_and_a_machine_that_is_not_there_are_refused() {
        let scene = scene();
        for (vm, value) in [(100, "--delete"), (100, "a b"), (100, ""), (7, "0000:41:00.0")] {
            let report = scene.execute(vec![step(vm, value)]).unwrap();
            assert_eq!(report.state, RunState::RolledBack, "{value}");
        }
        assert!(scene.runner.calls().is_empty());
    }
}
