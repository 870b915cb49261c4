// SPDX-License-Identifier: GPL-3.0-or-later
//! Install NVIDIA's vGPU host driver from its `.run` file.

use super::running_kernel;
use super::{Action, preview::preview};
use crate::engine::context::{After, Applied, Before, Context};
use crate::engine::error::StepError;
use crate::engine::event::{Check, CheckOutcome};
use crate::engine::plan::Permission;
use crate::engine::report::{FileChange, Reversal, StepPreview};
use crate::fetch::{RunFile, inspect, parse_header, verify_payload};
use crate::host::{BuildUser, Command, FileKind, FileState, Host, INSIDE, Root, Sandbox, WorkFolder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::time::Duration;

/// The patch that unlocks consumer cards, for one build of the driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DriverPatch {
    /// The patch, a file that root alone can change.
    pub file: String,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
    /// Its name ("535.230.02.patch").
    pub name: String,
}

/// Install a driver from a `.run` file that root alone can change. The file's checksum and header are looked at
/// first; a patch is applied by the file's own `--apply-patch` as the build user in the sandbox, and what comes out
/// must be the same driver. Undo unloads the modules, runs the driver's uninstaller, takes what is left out of
/// DKMS, and removes what the installer made and left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstallDriver {
    /// The `.run` file.
    pub file: String,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
    /// Version of the driver.
    pub version: String,
    /// Arguments of its installer ("--dkms", "-m=kernel", "-s").
    pub arguments: Vec<String>,
    /// The patch, for cards that are unlocked.
    pub patch: Option<DriverPatch>,
    /// The release of the kernel it is installed for: the running one.
    pub kernel: String,
}

const UNINSTALLER: &str = "/usr/bin/nvidia-uninstall";
/// The driver's modules, those that use others first.
const MODULES: [&str; 6] =
    ["nvidia_vgpu_vfio", "nvidia_uvm", "nvidia_drm", "nvidia_modeset", "nvidia_peermem", "nvidia"];
/// A patch is no larger, in bytes.
const PATCH_LIMIT: u64 = 64 << 20;
/// A driver is no larger, in bytes.
const LIMIT: u64 = 2 << 30;
/// DKMS compiles a large module on a slow machine.
const LONG: Duration = Duration::from_secs(2 * 3600);

impl InstallDriver {
    /// What an installer makes that its uninstaller may leave.
    fn leavings(&self) -> [String; 5] {
        [
            "/var/log/nvidia-installer.log".to_owned(),
            "/var/log/nvidia-uninstall.log".to_owned(),
            format!("/usr/src/nvidia-{}", self.version),
            "/var/lib/dkms/nvidia".to_owned(),
            "/var/lib/nvidia".to_owned(),
        ]
    }

    fn must_be(&self, header: &RunFile) -> Result<(), StepError> {
        if header.is_host_driver(&self.version) {
            return Ok(());
        }
        Err(StepError::refused(
            format!(
                "{} says that it is “{}”, not the vGPU host driver {}",
                self.file, header.label, self.version
            ),
            "give the Linux KVM host driver of this branch",
        ))
    }

    fn look(&self, host: &Host) -> Result<(), StepError> {
        match host.root().state(&self.file)? {
            FileState::File { sha256, .. } if sha256 == self.sha256 => {}
            _ => {
                return Err(StepError::refused(
                    format!("{} is not the file of the plan", self.file),
                    "give the driver's file again",
                ));
            }
        }
        let refused = |e: String| StepError::refused(e, "give the driver's file again");
        let mut file = host.root().open_file(&self.file)?;
        let header = inspect(&mut file).map_err(|e| refused(e.to_string()))?;
        self.must_be(&header)?;
        verify_payload(&mut file, &header).map_err(|e| refused(e.to_string()))?;
        Ok(())
    }

    /// The patched file, made in the sandbox.
    fn patched(&self, ctx: &Context<'_>, patch: &DriverPatch) -> Result<Vec<u8>, StepError> {
        let text = ctx.host().root().read_at_most(&patch.file, PATCH_LIMIT)?;
        if hex::encode(Sha256::digest(&text)) != patch.sha256 {
            return Err(StepError::refused(
                format!("{} is not the patch of the plan", patch.file),
                "give the patch again",
            ));
        }
        let failed = |e: String| StepError::refused(e, "see what is said above; nothing was changed");
        let user = BuildUser::find();
        let work = WorkFolder::create(ctx.host(), &user)?;
        work.write("driver.run", &ctx.host().root().read_at_most(&self.file, LIMIT)?)?;
        work.write("driver.patch", &text)?;
        work.hand_over()?;
        let sandbox = Sandbox::new(ctx.host(), work.path(), user).map_err(|e| failed(e.to_string()))?;
        let command = Command::new("sh")
            .args(["driver.run", "--apply-patch", &format!("{INSIDE}/driver.patch")])
            .cwd(INSIDE)
            .timeout(LONG);
        ctx.command(&sandbox.wrap(&command))?;
        let bytes = work.take("driver-custom.run", LIMIT).map_err(|e| {
            StepError::refused(
                format!("the driver did not take the patch: {e}"),
                format!("give the patch for exactly the build {}", self.version),
            )
        })?;
        let header = parse_header(&bytes[..bytes.len().min(256 << 10)]);
        self.must_be(&header.map_err(|e| failed(e.to_string()))?)?;
        Ok(bytes)
    }

    fn has_module(&self, root: &Root) -> bool {
        let below = format!("/lib/modules/{}", self.kernel);
        ["updates/dkms", "updates", "extra", "kernel/drivers/video"].iter().any(|dir| {
            ["", ".xz", ".zst", ".gz"].iter().any(|end| root.exists(&format!("{below}/{dir}/nvidia.ko{end}")))
        })
    }

    fn unload(ctx: &Context<'_>) -> Result<(), StepError> {
        for name in MODULES {
            let Some(module) = running_kernel::find(ctx.host(), name)? else { continue };
            if module.uses > 0 && module.users.is_empty() {
                return Err(StepError::refused(
                    format!("the module {name} is in use"),
                    "shut down the virtual machines that have virtual GPUs, and undo again",
                ));
            }
            ctx.command(&Command::new("rmmod").arg(name))?;
        }
        Ok(())
    }
}

/// Removes a file, or a folder with all that is in it; links are removed, not followed.
fn remove_all(root: &Root, path: &str) -> Result<(), StepError> {
    match root.symlink_metadata(path) {
        Err(e) if e.is_not_found() => return Ok(()),
        Err(e) => return Err(e.into()),
        Ok(meta) if meta.kind != FileKind::Directory => return Ok(root.remove_file(path)?),
        Ok(_) => {}
    }
    for entry in root.list(path)? {
        remove_all(root, &format!("{path}/{}", entry.name))?;
    }
    Ok(root.remove_dir(path)?)
}

impl Action for InstallDriver {
    fn title(&self) -> String {
        format!("Install the vGPU host driver {} for {}", self.version, self.kernel)
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [Permission::VgpuInstall].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::Full
    }

    fn weight(&self) -> u32 {
        1200
    }

    fn preview(&self, _host: &Host) -> StepPreview {
        let mut commands = Vec::new();
        if let Some(patch) = &self.patch {
            commands.push(Command::new("sh").args([&self.file, "--apply-patch", &patch.name]));
        }
        commands.push(Command::new("sh").arg(&self.file).args(self.arguments.iter().cloned()));
        let change = FileChange {
            path: format!("/usr/src/nvidia-{}", self.version),
            diff: format!("the modules' sources, which DKMS builds for {} and later kernels", self.kernel),
        };
        preview(self, &commands, vec![change])
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        let root = ctx.host().root();
        running_kernel::require_machine(ctx.host())?;
        let running = running_kernel::release(ctx.host())?;
        if running != self.kernel {
            return Err(StepError::refused(
                format!("the kernel {running} runs, and the driver is to be built for {}", self.kernel),
                format!("start {} first", self.kernel),
            ));
        }
        if root.exists(UNINSTALLER) {
            return Err(StepError::refused(
                format!("another driver of NVIDIA's is installed ({UNINSTALLER} is there)"),
                "take its run back first, or run that uninstaller",
            ));
        }
        self.look(ctx.host())?;
        let there: Vec<String> = self.leavings().into_iter().filter(|p| root.exists(p)).collect();
        Ok(Before { data: serde_json::json!({ "there": there }), ..Before::default() })
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        self.look(ctx.host())?;
        let dir = ctx.work_dir()?;
        let root = ctx.host().root();
        let runs = format!("{dir}/driver.run");
        if let Some(patch) = &self.patch {
            root.write(&runs, &self.patched(ctx, patch)?, 0o600, None)?;
        } else {
            root.write_from(&runs, &mut root.open_file(&self.file)?, 0o600, None, None)?;
        }
        let outside = |path: &str| root.outside(path).display().to_string();
        let command = Command::new("sh")
            .arg(outside(&runs))
            .args(self.arguments.iter().cloned())
            // It unpacks itself there, and not under a name that others may guess.
            .env("TMPDIR", outside(&dir))
            .env("HOME", outside(&dir))
            .cwd(root.outside(&dir))
            .timeout(LONG);
        ctx.command(&command)?;
        Ok(Applied::default())
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        let root = ctx.host().root();
        let dkms = root.exists(&format!("/var/lib/dkms/nvidia/{}", self.version));
        let says = |good: bool, reason: &str| {
            if good { CheckOutcome::Good } else { CheckOutcome::Bad { reason: reason.to_owned() } }
        };
        vec![
            Check {
                what: format!("DKMS has the driver {}", self.version),
                outcome: says(dkms, "the installer succeeded without it; see /var/log/nvidia-installer.log"),
            },
            Check {
                what: format!("{} has the module nvidia", self.kernel),
                outcome: says(
                    self.has_module(root),
                    "it was not built; see make.log in /var/lib/dkms/nvidia and /var/log/nvidia-installer.log",
                ),
            },
        ]
    }

    fn undo(&self, ctx: &mut Context<'_>, before: &Before, _: Option<&After>) -> Result<(), StepError> {
        let there: Vec<String> = serde_json::from_value(before.data["there"].clone()).unwrap_or_default();
        Self::unload(ctx)?;
        let root = ctx.host().root();
        if root.exists(UNINSTALLER) {
            ctx.command(&Command::new(UNINSTALLER).arg("-s").timeout(LONG))?;
        }
        if root.exists(&format!("/var/lib/dkms/nvidia/{}", self.version)) && root.exists("/usr/sbin/dkms") {
            let module = format!("nvidia/{}", self.version);
            ctx.command(&Command::new("dkms").args(["remove", &module, "--all"]).timeout(LONG))?;
        }
        for path in self.leavings() {
            if !there.contains(&path) {
                remove_all(root, &path)?;
            }
        }
        if self.has_module(root) {
            return Err(StepError::refused(
                format!(
                    "the driver's uninstaller succeeded, and {} still has the module nvidia",
                    self.kernel
                ),
                "remove it from /lib/modules by hand, run depmod, and undo again",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "install_driver_tests.rs"]
mod tests;
