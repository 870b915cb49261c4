// SPDX-License-Identifier: GPL-3.0-or-later
//! Put words on the kernel command line where this machine decides it.

use super::Action;
use super::preview::{change, preview};
use crate::engine::context::{Applied, Before, Context};
use crate::engine::error::StepError;
use crate::engine::event::{Check, CheckOutcome};
use crate::engine::kernel_params::{self, Format, Parameter};
use crate::engine::plan::Permission;
use crate::engine::report::{Reversal, StepPreview};
use crate::engine::space;
use crate::host::{FileState, Host};
use rustix::fs::IFlags;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// One configuration file with the words in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParameterFile {
    /// The file.
    pub path: String,
    /// How it holds command lines.
    pub format: Format,
    /// SHA-256 (hexadecimal) of the text that it was made from; `None` when there was no file.
    pub from: Option<String>,
    /// Its whole new text.
    pub content: String,
    /// Permission bits.
    pub mode: u32,
}

/// Put words on the kernel command line: configuration files are edited, and every other byte stays. Undo
/// puts the files back; entries of kernels that came since are made without these words too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetKernelParameters {
    /// The words that were not there.
    pub parameters: Vec<Parameter>,
    /// The files.
    pub files: Vec<ParameterFile>,
}

/// The words in one line.
pub(super) fn words(parameters: &[Parameter]) -> String {
    parameters.iter().map(Parameter::as_str).collect::<Vec<_>>().join(" ")
}

/// What is wrong with the command lines of a file, if anything.
pub(super) fn look(host: &Host, path: &str, format: Format, wanted: &[Parameter]) -> CheckOutcome {
    let text = match host.root().read_text(path) {
        Ok(text) => text,
        Err(e) => return CheckOutcome::CouldNotLook { reason: e.to_string() },
    };
    match kernel_params::read(format, &text) {
        Err(e) => CheckOutcome::Bad { reason: format!("{path}, {e}") },
        Ok(found) => match kernel_params::missing(&found, wanted) {
            None => CheckOutcome::Good,
            Some(what) => {
                CheckOutcome::Bad { reason: format!("{what} (in {path}); look at what changes that file") }
            }
        },
    }
}

impl ParameterFile {
    /// Whether a file in this state has the new text.
    fn is_done(&self, state: &FileState) -> bool {
        matches!(state, FileState::File { sha256, .. } if *sha256 == hex::encode(Sha256::digest(&self.content)))
    }

    /// Refuses a file that is not the one that the text was made from, or that nobody may change.
    fn admit(&self, host: &Host) -> Result<(), StepError> {
        let root = host.root();
        let state = root.state(&self.path)?;
        if self.is_done(&state) {
            return Ok(());
        }
        let as_read = match (&state, &self.from) {
            (FileState::Absent, None) => true,
            (FileState::File { sha256, .. }, Some(from)) => sha256 == from,
            _ => false,
        };
        if let FileState::Symlink { target, .. } = &state {
            return Err(StepError::refused(
                format!("{} is a link to {target}", self.path),
                "put a file in its place, or set the parameters yourself where it leads",
            ));
        }
        if !as_read {
            return Err(StepError::refused(
                format!("{} changed since the plan was made", self.path),
                "look again: make the plan anew",
            ));
        }
        if self.from.is_some()
            && let Ok(file) = root.open_file(&self.path)
            // Not every file system has these flags.
            && let Ok(flags) = rustix::fs::ioctl_getflags(&file)
            && flags.intersects(IFlags::IMMUTABLE | IFlags::APPEND)
        {
            return Err(StepError::refused(
                format!("{} is marked so that nobody may change it (chattr +i or +a)", self.path),
                format!("if that is no longer wanted: `chattr -i -a {}`", self.path),
            ));
        }
        Ok(())
    }
}

impl SetKernelParameters {
    /// The folders of boot loader entries among the files.
    fn entry_folders(&self) -> BTreeSet<&str> {
        let entries = self.files.iter().filter(|f| f.format == Format::LoaderEntry);
        entries.filter_map(|f| f.path.rsplit_once('/').map(|(folder, _)| folder)).collect()
    }
}

impl Action for SetKernelParameters {
    fn title(&self) -> String {
        format!("Put `{}` on the kernel command line", words(&self.parameters))
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [Permission::BootConfigure].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::Full
    }

    fn preview(&self, host: &Host) -> StepPreview {
        let changes = self.files.iter().map(|f| change(host, &f.path, Some((&f.content, f.mode))));
        preview(self, &[], changes.collect())
    }

    fn space(&self, host: &Host) -> Vec<(String, u64)> {
        self.files.iter().flat_map(|f| space::for_replacing(host, &f.path, f.content.len() as u64)).collect()
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        for file in &self.files {
            file.admit(ctx.host())?;
        }
        let paths: Vec<&str> = self.files.iter().map(|f| f.path.as_str()).collect();
        let mut before = ctx.remember(&paths)?;
        let entries = self.files.iter().filter(|f| f.format == Format::LoaderEntry);
        before.may_be_gone = entries.map(|f| f.path.clone()).collect();
        Ok(before)
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        let mut unchanged = true;
        for file in &self.files {
            ctx.stop_if_cancelled()?;
            if file.is_done(&ctx.host().root().state(&file.path)?) {
                continue;
            }
            unchanged = false;
            ctx.write(&file.path, file.content.as_bytes(), file.mode)?;
        }
        Ok(Applied { unchanged, ..Applied::default() })
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        let check = |file: &ParameterFile| {
            let state = ctx.host().root().state(&file.path);
            let outcome = match state {
                Ok(state) if file.is_done(&state) => {
                    look(ctx.host(), &file.path, file.format, &self.parameters)
                }
                Ok(_) => CheckOutcome::Bad {
                    reason: "another program changed it at the same time; end that program and try again"
                        .into(),
                },
                Err(e) => CheckOutcome::CouldNotLook { reason: e.to_string() },
            };
            Check { what: format!("{} has `{}` once", file.path, words(&self.parameters)), outcome }
        };
        self.files.iter().map(check).collect()
    }

    /// Entries of kernels that were installed since have the words from the template: they are taken out
    /// there as well, or the kernel that starts next would still have them.
    fn settle(&self, ctx: &mut Context<'_>, before: &Before) -> Result<Option<String>, StepError> {
        let root = ctx.host().root();
        let mut cleared = Vec::new();
        for folder in self.entry_folders() {
            let Ok(entries) = root.list(folder) else { continue };
            for entry in entries.iter().filter(|e| e.name.ends_with(".conf")) {
                let path = format!("{folder}/{}", entry.name);
                if before.files.contains_key(&path) {
                    continue;
                }
                let Ok(text) = root.read_text(&path) else { continue };
                // What is not understood was not made from our template.
                if let Ok(Some(without)) = kernel_params::take_out(&text, &self.parameters) {
                    let mode = root.metadata(&path)?.mode;
                    ctx.write(&path, without.as_bytes(), mode)?;
                    cleared.push(path);
                }
            }
        }
        let said = format!(
            "these entries were made since, with the words in them, and have them no longer: {}",
            cleared.join(", ")
        );
        Ok((!cleared.is_empty()).then_some(said))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::RunState;
    use crate::engine::steps::Step;
    use crate::engine::testing::{Scene, same};

    const ENTRY: &str = "/boot/loader/entries/m-6.1.conf";
    const TEXT: &str = "title X\nlinux /vmlinuz-6.1\noptions root=/dev/vda1 ro\n";

    fn parameters() -> Vec<Parameter> {
        vec!["intel_iommu=on".parse().unwrap(), "iommu=pt".parse().unwrap()]
    }

    fn file(path: &str, format: Format, text: Option<&str>, content: &str) -> ParameterFile {
        ParameterFile {
            path: path.into(),
            format,
            from: text.map(|t| hex::encode(Sha256::digest(t))),
            content: content.into(),
            mode: 0o644,
        }
    }

    fn step() -> Step {
        let edited = kernel_params::add(Format::LoaderEntry, TEXT, &parameters()).unwrap().unwrap();
        let template = kernel_params::add(Format::Plain, "ro\n", &parameters()).unwrap().unwrap();
        Step::SetKernelParameters(SetKernelParameters {
            parameters: parameters(),
            files: vec![
                file(ENTRY, Format::LoaderEntry, Some(TEXT), &edited),
                file("/etc/kernel/cmdline", Format::Plain, Some("ro\n"), &template),
                file(
                    "/etc/default/grub.d/zz-hostwright.cfg",
                    Format::GrubDefaults,
                    None,
                    "GRUB_CMDLINE_LINUX_DEFAULT=\"$GRUB_CMDLINE_LINUX_DEFAULT intel_iommu=on iommu=pt\"\n",
                ),
            ],
        })
    }

    fn scene() -> Scene {
        let scene = Scene::real();
        scene.put(ENTRY, TEXT, 0o600).put("/etc/kernel/cmdline", "ro\n", 0o644);
        scene
    }

    #[test]
    fn the_words_are_there_once_and_undo_leaves_the_tree_byte_equal() {
        let scene = scene();
        let report = scene.there_and_back(vec![step()]);
        assert_eq!(report.checks.len(), 3);
    }

    #[test]
    fn a_second_run_finds_all_as_it_should_be() {
        let scene = scene();
        scene.execute(vec![step()]).unwrap();
        let again = scene.execute(vec![step()]).unwrap();
        assert!(again.message.contains("as it should be already"), "{}", again.message);
    }

    #[test]
    fn a_file_that_changed_since_the_plan_is_refused_and_nothing_changes() {
        let scene = scene();
        scene.put("/etc/kernel/cmdline", "ro quiet\n", 0o644);
        let before = scene.tree();
        let report = scene.execute(vec![step()]).unwrap();
        assert!(report.message.contains("changed since the plan was made"), "{}", report.message);
        same(&scene.tree(), &before);
    }

    #[test]
    fn a_file_that_nobody_may_change_is_refused_with_its_name_and_nothing_changes() {
        let scene = scene();
        let path = scene.path().join("etc/kernel/cmdline");
        let Some(_guard) = crate::engine::testing::Immutable::mark(&path) else { return };
        let before = scene.tree();
        let report = scene.execute(vec![step()]).unwrap();
        assert!(
            report.message.contains("/etc/kernel/cmdline is marked so that nobody may change it"),
            "{report:?}"
        );
        same(&scene.tree(), &before);
    }

    #[test]
    fn a_link_is_not_followed() {
        let scene = scene();
        scene.put("/elsewhere", "ro\n", 0o644);
        scene.host.root().remove_file("/etc/kernel/cmdline").unwrap();
        scene.host.root().symlink("/elsewhere", "/etc/kernel/cmdline").unwrap();
        let report = scene.execute(vec![step()]).unwrap();
        assert!(report.message.contains("is a link to /elsewhere"), "{}", report.message);
        assert_eq!(scene.host.root().read_text("/elsewhere").unwrap(), "ro\n");
    }

    #[test]
    fn entries_that_came_and_went_with_their_kernels_do_not_stop_undo() {
        let scene = scene();
        let run = scene.execute(vec![step()]).unwrap().run;
        // A kernel update: a new entry made from the template, the old one removed.
        let newer = "/boot/loader/entries/m-6.2.conf";
        scene.put(newer, "title Y\nlinux /vmlinuz-6.2\noptions ro intel_iommu=on iommu=pt quiet\n", 0o640);
        scene.host.root().remove_file(ENTRY).unwrap();
        let undone = scene.undo(run).unwrap();
        assert_eq!(undone.state, RunState::Undone, "{undone:?}");
        assert!(undone.message.contains(newer), "{}", undone.message);
        let root = scene.host.root();
        assert_eq!(root.read_text(newer).unwrap(), "title Y\nlinux /vmlinuz-6.2\noptions ro quiet\n");
        assert_eq!(root.metadata(newer).unwrap().mode, 0o640);
        assert!(!root.exists(ENTRY));
        assert_eq!(root.read_text("/etc/kernel/cmdline").unwrap(), "ro\n");
    }

    #[test]
    fn a_file_that_somebody_edited_since_stops_undo() {
        let scene = scene();
        let run = scene.execute(vec![step()]).unwrap().run;
        scene.put("/etc/kernel/cmdline", "mine\n", 0o644);
        let undone = scene.undo(run).unwrap();
        assert_eq!(undone.state, RunState::UndoStopped, "{undone:?}");
        assert_eq!(scene.host.root().read_text("/etc/kernel/cmdline").unwrap(), "mine\n");
    }

    #[test]
    fn the_preview_shows_the_difference() {
        let scene = scene();
        let shown = crate::engine::preview(&crate::engine::testing::plan(vec![step()]), &scene.host);
        assert!(shown[0].files[0].diff.contains("+options root=/dev/vda1 ro intel_iommu=on iommu=pt"));
        assert_eq!(shown[0].permissions, [Permission::BootConfigure].into());
    }
}
