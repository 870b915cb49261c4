// SPDX-License-Identifier: GPL-3.0-or-later
//! Pin the kernel that a Proxmox host starts.

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
use std::time::Duration;

/// Where `proxmox-boot-tool` keeps the pin.
const PIN: &str = "/etc/kernel/proxmox-boot-pin";

/// Pin a kernel by Proxmox's own tool, which knows GRUB and systemd-boot. The kernel, its modules and its
/// initramfs must be there; no kernel is ever removed. Undo pins what was pinned before, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PinKernel {
    /// Kernel release.
    pub release: String,
    /// Why, for people.
    pub reason: String,
}

fn tool(args: &[&str]) -> Command {
    Command::new("proxmox-boot-tool").args(args.iter().copied()).timeout(Duration::from_secs(900))
}

/// The kernel that is pinned now.
fn pinned(host: &Host) -> Result<Option<String>, StepError> {
    match host.root().read_text(PIN) {
        Ok(text) => Ok(text.lines().map(str::trim).find(|l| !l.is_empty()).map(str::to_owned)),
        Err(e) if e.is_not_found() => Ok(None),
        Err(e) => Err(e.into()),
    }
}

impl PinKernel {
    fn require_bootable(&self, host: &Host) -> Result<(), StepError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-.+~_".contains(c);
        if !self.release.starts_with(|c: char| c.is_ascii_digit()) || !self.release.chars().all(plain) {
            return Err(StepError::refused(
                format!("`{}` is no release of a kernel", self.release.escape_debug()),
                "make the plan again; if it still says so, report it",
            ));
        }
        let r = &self.release;
        let needed = [
            format!("/boot/vmlinuz-{r}"),
            format!("/boot/initrd.img-{r}"),
            format!("/lib/modules/{r}/modules.dep"),
        ];
        for path in needed {
            if !host.root().exists(&path) {
                return Err(StepError::refused(
                    format!("{path} is not there, so that {r} could not start"),
                    format!("install the kernel {r} anew"),
                ));
            }
        }
        Ok(())
    }
}

impl Action for PinKernel {
    fn title(&self) -> String {
        format!("Pin the kernel {}", self.release)
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
        preview(self, &[tool(&["kernel", "pin", &self.release])], vec![])
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        self.require_bootable(ctx.host())?;
        Ok(Before { data: serde_json::json!({ "pinned": pinned(ctx.host())? }), ..Before::default() })
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        if pinned(ctx.host())?.as_deref() == Some(&self.release) {
            return Ok(Applied { unchanged: true, ..Applied::default() });
        }
        ctx.tool(ctx.locked(tool(&["kernel", "pin", &self.release])))?;
        Ok(Applied::default())
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        let outcome = match pinned(ctx.host()) {
            Ok(Some(now)) if now == self.release => CheckOutcome::Good,
            Ok(now) => CheckOutcome::Bad {
                reason: format!(
                    "{PIN} says {}; see what `proxmox-boot-tool kernel pin {}` says by hand",
                    now.as_deref().unwrap_or("nothing"),
                    self.release
                ),
            },
            Err(e) => CheckOutcome::CouldNotLook { reason: e.to_string() },
        };
        vec![Check { what: format!("{} is the pinned kernel", self.release), outcome }]
    }

    fn undo(&self, ctx: &mut Context<'_>, before: &Before, _: Option<&After>) -> Result<(), StepError> {
        let was: Option<String> = serde_json::from_value(before.data["pinned"].clone()).unwrap_or_default();
        let now = pinned(ctx.host())?;
        if now == was {
            return Ok(());
        }
        if now.as_deref() != Some(&self.release) {
            ctx.note(format!(
                "the pinned kernel is {} by now, which somebody chose since, and stays so",
                now.as_deref().unwrap_or("none")
            ));
            return Ok(());
        }
        let command = match &was {
            // A kernel that is gone cannot be pinned any more, and nothing pinned starts the newest.
            Some(release) if ctx.host().root().exists(&format!("/boot/vmlinuz-{release}")) => {
                tool(&["kernel", "pin", release])
            }
            _ => tool(&["kernel", "unpin"]),
        };
        ctx.tool(ctx.locked(command)).map(|_| ())
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

    const OLD: &str = "6.5.13-6-pve";

    fn scene() -> Scene {
        let dir: Arc<Mutex<PathBuf>> = Arc::default();
        let of = dir.clone();
        let runner = FakeRunner::new().answer(move |c| {
            let pin = of.lock().unwrap().join("etc/kernel/proxmox-boot-pin");
            match c.args[1].as_str() {
                "pin" => std::fs::write(pin, format!("{}\n", c.args[2])).unwrap(),
                _ => std::fs::remove_file(pin).unwrap(),
            }
            Some(Output { code: Some(0), ..Output::default() })
        });
        let scene = Scene::new(HostKind::Machine, runner);
        scene.put("/etc/kernel/x", "", 0o644);
        *dir.lock().unwrap() = scene.path().to_owned();
        for r in [OLD, "6.8.12-4-pve"] {
            scene.put(&format!("/boot/vmlinuz-{r}"), "k", 0o644);
            scene.put(&format!("/boot/initrd.img-{r}"), "i", 0o644);
            scene.put(&format!("/lib/modules/{r}/modules.dep"), "", 0o644);
        }
        scene
    }

    fn step(release: &str) -> Step {
        Step::PinKernel(PinKernel { release: release.into(), reason: String::new() })
    }

    #[test]
    fn nothing_is_pinned_again_after_undo() {
        scene().there_and_back(vec![step(OLD)]);
    }

    #[test]
    fn the_pin_of_before_comes_back_and_one_that_somebody_chose_since_stays() {
        let scene = scene();
        scene.put(PIN, "6.8.12-4-pve\n", 0o644);
        let run = scene.execute(vec![step(OLD)]).unwrap().run;
        assert_eq!(scene.host.root().read_text(PIN).unwrap().trim(), OLD);
        scene.undo(run).unwrap();
        assert_eq!(scene.host.root().read_text(PIN).unwrap().trim(), "6.8.12-4-pve");
        let run = scene.execute(vec![step(OLD)]).unwrap().run;
        scene.put(PIN, "6.11.0-1-pve\n", 0o644);
        let undone = scene.undo(run).unwrap();
        assert!(undone.message.contains("somebody chose since"), "{undone:?}");
        assert_eq!(scene.host.root().read_text(PIN).unwrap().trim(), "6.11.0-1-pve");
    }

    #[test]
    fn a_kernel_that_could_not_start_is_never_pinned() {
        let scene = scene();
        scene.host.root().remove_file(&format!("/boot/initrd.img-{OLD}")).unwrap();
        let report = scene.execute(vec![step(OLD)]).unwrap();
        assert_eq!(report.state, RunState::RolledBack);
        assert!(report.message.contains("could not start"), "{}", report.message);
        let report = scene.execute(vec![step("--next-boot")]).unwrap();
        assert!(report.message.contains("is no release of a kernel"), "{}", report.message);
    }
}
