// SPDX-License-Identifier: GPL-3.0-or-later
//! Write a configuration file.

use super::Action;
use super::preview::{change, preview};
use crate::engine::context::{Applied, Before, Context};
use crate::engine::error::StepError;
use crate::engine::event::{Check, CheckOutcome};
use crate::engine::plan::Permission;
use crate::engine::report::{Reversal, StepPreview};
use crate::engine::space;
use crate::host::{FileState, Host};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// Write a text file; what was there is kept in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteFile {
    /// The file.
    pub path: String,
    /// Its whole text.
    pub content: String,
    /// Permission bits.
    pub mode: u32,
    /// Why, for people.
    pub reason: String,
}

/// What must be granted for a change of this file, by what it has an effect on.
pub(super) fn permission_for(path: &str) -> Permission {
    let below = |dirs: &[&str]| dirs.iter().any(|d| path.starts_with(d));
    if below(&["/boot/", "/efi/", "/etc/default/grub", "/etc/grub.d/", "/etc/kernel/", "/etc/mkinitcpio"])
        || below(&["/etc/dracut", "/etc/initramfs-tools/"])
    {
        Permission::BootConfigure
    } else if below(&["/lib/modules/", "/usr/lib/modules/", "/etc/modules-load.d/", "/etc/modprobe.d/"])
        || below(&["/etc/depmod.d/", "/etc/dkms/"])
    {
        Permission::ModulesInstall
    } else if below(&["/etc/apt/"]) {
        Permission::PackagesInstall
    } else if below(&["/etc/systemd/system/nvidia-", "/etc/systemd/system/hostwright-nvidia"])
        || below(&["/etc/systemd/system/hostwright-vgpu", "/etc/udev/rules.d/61-hostwright-vgpu"])
        || below(&["/etc/vgpu_unlock/", "/etc/hostwright/dls/", "/etc/systemd/system/hostwright-dls"])
    {
        Permission::VgpuInstall
    } else if below(&[
        "/usr/bin/",
        "/usr/local/",
        "/usr/lib/vmware/",
        "/usr/share/applications/",
        "/etc/vmware/",
    ]) {
        Permission::ApplicationsPatch
    } else {
        Permission::SystemTune
    }
}

impl WriteFile {
    /// Whether a file in this state is what the step makes.
    fn is_done(&self, state: &FileState) -> bool {
        let me = nix::unistd::geteuid().as_raw();
        matches!(state, FileState::File { sha256, mode, uid, .. }
            if *mode == self.mode && *uid == me && *sha256 == hex::encode(Sha256::digest(&self.content)))
    }
}

impl Action for WriteFile {
    fn title(&self) -> String {
        format!("Write {}", self.path)
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [permission_for(&self.path)].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::Full
    }

    fn preview(&self, host: &Host) -> StepPreview {
        preview(self, &[], vec![change(host, &self.path, Some((&self.content, self.mode)))])
    }

    fn space(&self, host: &Host) -> Vec<(String, u64)> {
        space::for_replacing(host, &self.path, self.content.len() as u64)
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        ctx.remember(&[&self.path])
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        if self.is_done(&ctx.host().root().state(&self.path)?) {
            return Ok(Applied { unchanged: true, ..Applied::default() });
        }
        ctx.write(&self.path, self.content.as_bytes(), self.mode)?;
        Ok(Applied::default())
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        let outcome = match ctx.host().root().state(&self.path) {
            Ok(state) if self.is_done(&state) => CheckOutcome::Good,
            Ok(_) => CheckOutcome::Bad {
                reason: "another program changed it at the same time; end that program and try again".into(),
            },
            Err(e) => CheckOutcome::CouldNotLook { reason: e.to_string() },
        };
        vec![Check { what: format!("{} holds what it should", self.path), outcome }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::steps::Step;
    use crate::engine::testing::{Scene, same};
    use crate::engine::{RunState, preview};

    fn write(path: &str, content: &str, mode: u32) -> Step {
        Step::WriteFile(WriteFile { path: path.into(), content: content.into(), mode, reason: String::new() })
    }

    #[test]
    fn a_new_file_and_its_new_folders_are_gone_after_undo() {
        let scene = Scene::real();
        scene.put("/etc/keep", "x", 0o644);
        let before = scene.tree();
        let report = scene.execute(vec![write("/etc/modules-load.d/a/b.conf", "vmmon\n", 0o640)]).unwrap();
        assert_eq!(report.state, RunState::Done);
        let root = scene.host.root();
        assert_eq!(root.read_text("/etc/modules-load.d/a/b.conf").unwrap(), "vmmon\n");
        assert_eq!(root.metadata("/etc/modules-load.d/a/b.conf").unwrap().mode, 0o640);
        assert_eq!(root.metadata("/etc/modules-load.d").unwrap().mode, 0o755);
        scene.undo(report.run).unwrap();
        same(&scene.tree(), &before);
    }

    #[test]
    fn a_file_that_nobody_may_change_is_named_and_nothing_changes() {
        let scene = Scene::real();
        scene.put("/etc/sysctl.d/x.conf", "a = 1\n", 0o644).put("/etc/first", "old", 0o644);
        let path = scene.path().join("etc/sysctl.d/x.conf");
        let Some(_guard) = crate::engine::testing::Immutable::mark(&path) else { return };
        let before = scene.tree();
        let steps = vec![write("/etc/first", "new", 0o644), write("/etc/sysctl.d/x.conf", "a = 2\n", 0o644)];
        let report = scene.execute(steps).unwrap();
        assert_eq!(report.state, RunState::RolledBack, "{report:?}");
        assert!(report.message.contains("/etc/sysctl.d/x.conf"), "{}", report.message);
        same(&scene.tree(), &before);
    }

    #[test]
    fn an_old_file_comes_back_with_mode_owner_time_and_attributes() {
        let scene = Scene::real();
        scene.put("/etc/f.conf", "old\n", 0o640);
        let path = scene.path().join("etc/f.conf");
        let file = std::fs::File::open(&path).unwrap();
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(1234), Some(4321)).unwrap();
        }
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::new(86_400, 42)).unwrap();
        // Some file systems have no user attributes; the rest is still compared.
        let _ = rustix::fs::setxattr(&path, "user.note", b"mine", rustix::fs::XattrFlags::empty());
        scene.there_and_back(vec![write("/etc/f.conf", "new\n", 0o644)]);
    }

    #[test]
    fn a_link_is_replaced_and_comes_back_and_its_target_is_never_touched() {
        let scene = Scene::real();
        scene.put("/precious", "mine", 0o600).put("/etc/x", "", 0o644);
        scene.host.root().symlink("/precious", "/etc/f.conf").unwrap();
        let report = scene.there_and_back(vec![write("/etc/f.conf", "new", 0o644)]);
        assert_eq!(report.checks.len(), 1);
        assert_eq!(scene.host.root().read_text("/precious").unwrap(), "mine");
        assert_eq!(scene.host.root().read_link("/etc/f.conf").unwrap(), "/precious");
    }

    #[test]
    fn a_file_that_is_right_already_is_not_touched_and_its_later_edit_is_no_business_of_undo() {
        let scene = Scene::real();
        scene.put("/etc/f.conf", "same", 0o644).put("/etc/g.conf", "old", 0o644);
        let before = scene.tree();
        let steps = vec![write("/etc/f.conf", "same", 0o644), write("/etc/g.conf", "new", 0o644)];
        let report = scene.execute(steps).unwrap();
        assert_eq!(scene.tree()["/etc/f.conf"], before["/etc/f.conf"]);
        scene.put("/etc/f.conf", "edited", 0o644);
        assert_eq!(scene.undo(report.run).unwrap().state, RunState::Undone);
        assert_eq!(scene.host.root().read_text("/etc/f.conf").unwrap(), "edited");
    }

    #[test]
    fn a_directory_or_device_in_the_way_is_refused_by_name_and_nothing_changes() {
        let scene = Scene::real();
        scene.put("/etc/d/inside", "x", 0o644);
        nix::unistd::mkfifo(&scene.path().join("etc/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let before = scene.tree();
        for (path, what) in [("/etc/d", "a directory"), ("/etc/pipe", "a device, socket or pipe")] {
            let report =
                scene.execute(vec![write("/etc/first", "1", 0o644), write(path, "2", 0o644)]).unwrap();
            assert_eq!(report.state, RunState::RolledBack);
            assert!(report.message.contains(&format!("{path} is {what}")), "{}", report.message);
            assert!(report.message.contains("move it away"), "{}", report.message);
            same(&scene.tree(), &before);
        }
    }

    #[test]
    fn a_file_where_a_folder_should_be_is_refused_and_nothing_changes() {
        let scene = Scene::real();
        scene.put("/etc/f", "x", 0o644);
        let before = scene.tree();
        let report = scene.execute(vec![write("/etc/f/g/h", "1", 0o644)]).unwrap();
        assert_eq!(report.state, RunState::RolledBack);
        assert!(report.message.contains("a file stands where a directory is needed"), "{}", report.message);
        same(&scene.tree(), &before);
    }

    #[test]
    fn a_path_that_means_more_than_one_place_is_refused() {
        let scene = Scene::real();
        for path in ["etc/f", "/etc/../f", "/etc/./f", "/etc/", "/a\0b", ""] {
            let report = scene.execute(vec![write(path, "1", 0o644)]).unwrap();
            assert_eq!(report.state, RunState::RolledBack, "{path}");
            assert!(report.message.contains("no absolute path of a file"), "{}", report.message);
        }
        assert!(scene.tree().is_empty());
    }

    #[test]
    fn the_preview_shows_the_difference() {
        let scene = Scene::real();
        scene.put("/etc/f.conf", "one\ntwo\n", 0o600);
        let steps = vec![write("/etc/f.conf", "one\n2\n", 0o644), write("/etc/new", "n\n", 0o644)];
        let shown = preview(&crate::engine::testing::plan(steps), &scene.host);
        assert_eq!(
            shown[0].files[0].diff,
            "mode 0600 becomes 0644\n--- /etc/f.conf\n+++ /etc/f.conf\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n"
        );
        assert_eq!(
            shown[1].files[0].diff,
            "new file, mode 0644\n--- /dev/null\n+++ /etc/new\n@@ -0,0 +1 @@\n+n\n"
        );
        assert_eq!(shown[0].reversal, Reversal::Full);
    }
}
