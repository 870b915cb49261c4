// SPDX-License-Identifier: GPL-3.0-or-later
//! Take a file away; its bytes, mode and owner are kept in the journal.

use super::Action;
use super::preview::{change, preview};
use super::write_file::permission_for;
use crate::engine::context::{Applied, Before, Context};
use crate::engine::error::StepError;
use crate::engine::event::{Check, CheckOutcome};
use crate::engine::plan::Permission;
use crate::engine::report::{Reversal, StepPreview};
use crate::engine::space;
use crate::host::{FileState, Host};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Take a file away, for instance another copy of a module that would be found first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveFile {
    /// The file.
    pub path: String,
    /// Why, for people.
    pub reason: String,
}

impl Action for RemoveFile {
    fn title(&self) -> String {
        format!("Remove {}", self.path)
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [permission_for(&self.path)].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::Full
    }

    fn preview(&self, host: &Host) -> StepPreview {
        preview(self, &[], vec![change(host, &self.path, None)])
    }

    fn space(&self, host: &Host) -> Vec<(String, u64)> {
        space::for_replacing(host, &self.path, 0)
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        let mut before = ctx.remember(&[&self.path])?;
        // Nothing is created, whatever folders are missing.
        before.dirs.clear();
        Ok(before)
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        if ctx.host().root().state(&self.path)? == FileState::Absent {
            return Ok(Applied { unchanged: true, ..Applied::default() });
        }
        ctx.remove(&self.path)?;
        Ok(Applied::default())
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        let outcome = match ctx.host().root().state(&self.path) {
            Ok(FileState::Absent) => CheckOutcome::Good,
            Ok(_) => CheckOutcome::Bad {
                reason: "another program put it there again; end that program and try again".into(),
            },
            Err(e) => CheckOutcome::CouldNotLook { reason: e.to_string() },
        };
        vec![Check { what: format!("{} is no longer there", self.path), outcome }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::RunState;
    use crate::engine::steps::Step;
    use crate::engine::testing::Scene;

    fn remove(path: &str) -> Step {
        Step::RemoveFile(RemoveFile { path: path.into(), reason: String::new() })
    }

    #[test]
    fn a_removed_file_comes_back_whole() {
        let scene = Scene::real();
        scene.put("/lib/modules/6.1/extra/vmmon.ko", vec![0x7f; 300_000], 0o640);
        if nix::unistd::geteuid().is_root() {
            let path = scene.path().join("lib/modules/6.1/extra/vmmon.ko");
            std::os::unix::fs::chown(path, Some(7), Some(8)).unwrap();
        }
        scene.there_and_back(vec![remove("/lib/modules/6.1/extra/vmmon.ko")]);
    }

    #[test]
    fn a_removed_link_comes_back_and_its_target_stays_all_the_time() {
        let scene = Scene::real();
        scene.put("/target", "mine", 0o600).put("/etc/x", "", 0o644);
        scene.host.root().symlink("../target", "/etc/link").unwrap();
        scene.there_and_back(vec![remove("/etc/link")]);
        assert_eq!(scene.host.root().read_text("/target").unwrap(), "mine");
    }

    #[test]
    fn a_file_that_is_not_there_is_nothing_to_do() {
        let scene = Scene::real();
        let report = scene.execute(vec![remove("/no/such/file")]).unwrap();
        assert_eq!(report.state, RunState::Done);
        assert!(report.message.contains("as it should be already"), "{}", report.message);
        assert!(scene.tree().is_empty());
        let error = scene.undo(report.run).unwrap_err().to_string();
        assert!(error.contains("nothing to take back"), "{error}");
    }

    #[test]
    fn a_file_that_somebody_put_there_since_is_left_alone() {
        let scene = Scene::real();
        scene.put("/etc/f", "old", 0o644);
        let report = scene.execute(vec![remove("/etc/f")]).unwrap();
        scene.put("/etc/f", "theirs", 0o644);
        let undone = scene.undo(report.run).unwrap();
        assert_eq!(undone.state, RunState::UndoStopped);
        assert!(undone.message.contains("/etc/f was changed since (a file is there now)"), "{undone:?}");
        assert_eq!(scene.host.root().read_text("/etc/f").unwrap(), "theirs");
        scene.host.root().remove_file("/etc/f").unwrap();
        assert_eq!(scene.undo(report.run).unwrap().state, RunState::Undone);
        assert_eq!(scene.host.root().read_text("/etc/f").unwrap(), "old");
    }
}
