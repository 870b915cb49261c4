// SPDX-License-Identifier: GPL-3.0-or-later
//! Make an initramfs anew with the distribution's own tool.

use super::module_index::require_kernel;
use super::{Action, preview::preview};
use crate::engine::context::{Applied, Before, Context};
use crate::engine::error::StepError;
use crate::engine::event::{Check, CheckOutcome};
use crate::engine::plan::Permission;
use crate::engine::report::{FileChange, Reversal, StepPreview};
use crate::engine::space::KEPT;
use crate::host::{Command, FileState, Host, HostKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::Read;

/// The distribution's tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InitramfsTool {
    /// `update-initramfs -u -k K` (Debian, Ubuntu, Proxmox).
    UpdateInitramfs,
    /// `dracut -f --kver K` (Fedora, openSUSE).
    Dracut,
    /// `mkinitcpio -P` (Arch).
    Mkinitcpio,
    /// `genkernel` (Gentoo).
    Genkernel,
}

impl InitramfsTool {
    /// The command that makes the images of this kernel anew. Pure.
    fn command(self, kernel: &str) -> Command {
        match self {
            Self::UpdateInitramfs => Command::new("update-initramfs").args(["-u", "-k", kernel]),
            Self::Dracut => Command::new("dracut").args(["-f", "--kver", kernel]),
            Self::Mkinitcpio => Command::new("mkinitcpio").arg("-P"),
            Self::Genkernel => Command::new("genkernel").args(["--install", "initramfs"]),
        }
    }
}

/// Make the initramfs of a kernel anew. Undo puts the old image back, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RebuildInitramfs {
    /// Kernel release.
    pub kernel: String,
    /// The tool.
    pub tool: InitramfsTool,
    /// The images that the tool writes ("/boot/initrd.img-K").
    pub images: Vec<String>,
}

/// What the tools write beside an image before it takes its place, or keep of the old one meanwhile
/// (update-initramfs: `.new`, `.dpkg-bak`; mkinitcpio: `.tmp`).
const BESIDE: [&str; 3] = [".new", ".dpkg-bak", ".tmp"];

/// Hooks that bring a new image to where the firmware or a boot loader reads it (update-initramfs(8);
/// Proxmox copies it to the EFI partitions there).
const HOOKS: &str = "/etc/initramfs/post-update.d";

/// What an image begins with, one of: cpio (newc), gzip, xz, zstd, lz4 (legacy), lzma, bzip2, lzop; see
/// the kernel's `lib/decompress.c` and `init/initramfs.c`. Pure.
fn is_image(start: &[u8]) -> bool {
    let magics: [&[u8]; 9] = [
        b"070701",
        b"070702",
        b"\x1f\x8b",
        b"\xfd7zXZ",
        b"\x28\xb5\x2f\xfd",
        b"\x02\x21\x4c\x18",
        b"\x5d\x00\x00",
        b"BZh",
        b"\x89LZO",
    ];
    magics.iter().any(|m| start.starts_with(m))
}

impl RebuildInitramfs {
    fn make(&self, ctx: &Context<'_>) -> Result<(), StepError> {
        ctx.tool(ctx.locked(self.tool.command(&self.kernel))).map(|_| ())
    }

    fn states(&self, host: &Host) -> Result<Vec<FileState>, StepError> {
        self.images.iter().map(|i| Ok(host.root().state(i)?)).collect()
    }

    /// How large the images are now, in bytes.
    fn size(&self, host: &Host) -> u64 {
        self.images.iter().map(|i| host.root().symlink_metadata(i).map_or(0, |m| m.size)).sum()
    }

    /// Brings the image that was put back to where it is booted from.
    fn run_hooks(&self, ctx: &Context<'_>) -> Result<(), StepError> {
        if self.tool != InitramfsTool::UpdateInitramfs || !ctx.host().root().exists(HOOKS) {
            return Ok(());
        }
        for image in &self.images {
            let arguments = [format!("--arg={}", self.kernel), format!("--arg={image}"), HOOKS.to_owned()];
            ctx.tool(ctx.locked(Command::new("run-parts").args(arguments)))?;
        }
        Ok(())
    }

    fn look(&self, host: &Host, image: &str) -> CheckOutcome {
        let mut start = Vec::new();
        let read = host
            .root()
            .open_file(image)
            .map_err(|e| e.to_string())
            .and_then(|file| file.take(8).read_to_end(&mut start).map_err(|e| format!("{image}: {e}")));
        match read {
            Ok(_) if is_image(&start) => CheckOutcome::Good,
            Ok(_) => CheckOutcome::Bad {
                reason: format!(
                    "it is no archive that a kernel can unpack; run `{}` by hand and look at what it says",
                    self.tool.command(&self.kernel).display()
                ),
            },
            Err(reason) => CheckOutcome::CouldNotLook { reason },
        }
    }
}

impl Action for RebuildInitramfs {
    fn title(&self) -> String {
        format!("Make the initramfs of {} anew", self.kernel)
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [Permission::BootConfigure].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::Full
    }

    fn weight(&self) -> u32 {
        300
    }

    fn preview(&self, _host: &Host) -> StepPreview {
        let change = |path: &String| FileChange {
            path: path.clone(),
            diff: "made anew; the old one is kept for undo".to_owned(),
        };
        preview(self, &[self.tool.command(&self.kernel)], self.images.iter().map(change).collect())
    }

    fn space(&self, host: &Host) -> Vec<(String, u64)> {
        let size = self.size(host);
        // The new image is made beside the old one, and is a little larger with more modules in it.
        let new = |image: &String| {
            let old = host.root().symlink_metadata(image).map_or(0, |m| m.size);
            (image.rsplit_once('/').map_or("/", |(dir, _)| dir).to_owned(), old + old / 8)
        };
        std::iter::once((KEPT.to_owned(), size)).chain(self.images.iter().map(new)).collect()
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        if ctx.host().kind() == HostKind::PartialRoot {
            return Err(StepError::refused(
                "this root has no tools of its own, and an initramfs is made by them",
                "use a root with a whole system in it, or plan without the initramfs",
            ));
        }
        require_kernel(ctx.host(), &self.kernel)?;
        for (dir, needed) in self.space(ctx.host()).into_iter().skip(1) {
            let (free, _) = ctx.host().root().space(&dir)?;
            if free < needed {
                return Err(StepError::refused(
                    format!("{dir} has {} MiB free and a new image needs {} MiB", free >> 20, needed >> 20),
                    "remove kernels that you no longer use and try again",
                ));
            }
        }
        let beside = self.images.iter().flat_map(|i| BESIDE.iter().map(move |b| format!("{i}{b}")));
        let paths: Vec<String> = self.images.iter().cloned().chain(beside).collect();
        let mut before = ctx.remember(&paths.iter().map(String::as_str).collect::<Vec<_>>())?;
        before.dirs.clear();
        before.derived = true;
        Ok(before)
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        let before = self.states(ctx.host())?;
        self.make(ctx)?;
        // Some of these tools say that they do nothing, and succeed (a read-only /boot, a switch in
        // their configuration): times are compared, too.
        if let Some((image, _)) = self
            .images
            .iter()
            .zip(self.states(ctx.host())?.iter().zip(&before))
            .find(|(_, (now, was))| now == was)
        {
            let command = self.tool.command(&self.kernel).display();
            return Err(StepError::refused(
                format!("`{command}` succeeded and did not make {image}"),
                "look at its configuration and at whether /boot is mounted and writable",
            ));
        }
        Ok(Applied::default())
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        let check = |image: &String| Check {
            what: format!("{image} is an initramfs"),
            outcome: self.look(ctx.host(), image),
        };
        self.images.iter().map(check).collect()
    }

    fn settle_order(&self) -> u8 {
        1
    }

    fn settle(&self, ctx: &mut Context<'_>, before: &Before) -> Result<Option<String>, StepError> {
        let root = ctx.host().root();
        if !root.exists(&format!("/lib/modules/{}", self.kernel)) {
            return Ok(None);
        }
        let mut as_before = true;
        for image in &self.images {
            as_before &=
                before.files.get(image).is_none_or(|was| root.state(image).is_ok_and(|s| s.same_as(was)));
        }
        if as_before {
            self.run_hooks(ctx)?;
            return Ok(None);
        }
        self.make(ctx)?;
        Ok(Some(format!(
            "the initramfs of {} had been made anew by somebody else since, so it was made anew again instead of being put back",
            self.kernel
        )))
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
    use std::sync::{Arc, Mutex};

    const K: &str = "6.1.0-test";
    const IMAGE: &str = "/boot/initrd.img-6.1.0-test";

    fn step() -> Step {
        Step::RebuildInitramfs(RebuildInitramfs {
            kernel: K.into(),
            tool: InitramfsTool::UpdateInitramfs,
            images: vec![IMAGE.into()],
        })
    }

    /// A machine whose update-initramfs does this to its root.
    fn scene(tool: impl Fn(&std::path::Path) -> i32 + Send + Sync + 'static) -> Scene {
        let place = Arc::new(Mutex::new(std::path::PathBuf::new()));
        let known = place.clone();
        let runner = FakeRunner::new().ok("run-parts", "").answer(move |c| {
            (c.program == "update-initramfs").then(|| {
                let code = tool(&known.lock().unwrap());
                Output { code: Some(code), stderr: "said by the tool".into(), ..Output::default() }
            })
        });
        let scene = Scene::new(HostKind::Machine, runner);
        *place.lock().unwrap() = scene.path().to_owned();
        scene.put(IMAGE, b"\x1f\x8bthe old one", 0o600).put(&format!("/lib/modules/{K}/x"), "", 0o644);
        scene
    }

    fn write(root: &std::path::Path, path: &str, bytes: &[u8]) {
        let path = root.join(&path[1..]);
        let _ = std::fs::remove_file(&path);
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn a_new_image_is_made_and_the_old_one_comes_back_and_is_brought_to_the_boot_loader() {
        let scene = scene(|root| {
            write(root, IMAGE, b"070701new");
            0
        });
        scene.put("/etc/initramfs/post-update.d/hook", "", 0o755);
        scene.there_and_back(vec![step()]);
        assert_eq!(
            scene.runner.calls(),
            [
                format!("update-initramfs -u -k {K}"),
                format!("run-parts --arg={K} --arg={IMAGE} /etc/initramfs/post-update.d"),
            ]
        );
    }

    #[test]
    fn a_tool_that_fails_half_way_leaves_nothing_beside() {
        let scene = scene(|root| {
            write(root, &format!("{IMAGE}.new"), b"half");
            write(root, &format!("{IMAGE}.dpkg-bak"), b"copy");
            1
        });
        let before = scene.tree();
        let report = scene.execute(vec![step()]).unwrap();
        assert_eq!(report.state, RunState::RolledBack);
        assert!(report.message.contains("said by the tool"), "{}", report.message);
        same(&scene.tree(), &before);
    }

    #[test]
    fn a_tool_that_succeeds_and_does_nothing_is_no_success() {
        let scene = scene(|_| 0);
        let before = scene.tree();
        let report = scene.execute(vec![step()]).unwrap();
        assert_eq!(report.state, RunState::RolledBack);
        assert!(report.message.contains("succeeded and did not make /boot/initrd.img"), "{}", report.message);
        same(&scene.tree(), &before);
    }

    #[test]
    fn an_image_that_no_kernel_can_unpack_is_taken_back() {
        let scene = scene(|root| {
            write(root, IMAGE, b"");
            0
        });
        let before = scene.tree();
        let report = scene.execute(vec![step()]).unwrap();
        assert_eq!(report.state, RunState::RolledBack);
        same(&scene.tree(), &before);
    }

    #[test]
    fn an_image_made_anew_since_is_made_anew_again_by_undo() {
        let scene = scene(|root| {
            write(root, IMAGE, b"070701new");
            0
        });
        let report = scene.execute(vec![step()]).unwrap();
        scene.put(IMAGE, b"070701with newer firmware", 0o600);
        let undone = scene.undo(report.run).unwrap();
        assert_eq!(undone.state, RunState::Undone);
        assert!(undone.message.contains("made anew again"), "{}", undone.message);
        assert_eq!(scene.runner.calls().len(), 2);
    }

    #[test]
    fn a_root_without_tools_is_refused() {
        let scene = Scene::real();
        scene.put(&format!("/lib/modules/{K}/x"), "", 0o644);
        let report = scene.execute(vec![step()]).unwrap();
        assert!(report.message.contains("has no tools of its own"), "{}", report.message);
    }

    #[test]
    fn every_tool_has_its_command() {
        use InitramfsTool::{Dracut, Genkernel, Mkinitcpio, UpdateInitramfs};
        let shown = [UpdateInitramfs, Dracut, Mkinitcpio, Genkernel].map(|t| t.command(K).display());
        assert_eq!(
            shown,
            [
                "update-initramfs -u -k 6.1.0-test",
                "dracut -f --kver 6.1.0-test",
                "mkinitcpio -P",
                "genkernel --install initramfs"
            ]
        );
    }
}
