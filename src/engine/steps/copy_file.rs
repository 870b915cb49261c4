// SPDX-License-Identifier: GPL-3.0-or-later
//! Copy a file that is there, with its mode and owner.

use super::Action;
use super::preview::preview;
use super::write_file::permission_for;
use crate::engine::context::{Applied, Before, Context};
use crate::engine::error::StepError;
use crate::engine::event::{Check, CheckOutcome};
use crate::engine::plan::Permission;
use crate::engine::report::{FileChange, Reversal, StepPreview};
use crate::engine::space;
use crate::host::{FileState, Host};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// The largest file that is copied, in bytes.
const LIMIT: u64 = 512 << 20;

/// Copy a file, for instance a launcher to `NAME.original` before it is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CopyFile {
    /// The file.
    pub from: String,
    /// SHA-256 that it must have, hexadecimal.
    pub sha256: String,
    /// Where to.
    pub to: String,
    /// Permission bits of the copy.
    pub mode: u32,
    /// Why, for people.
    pub reason: String,
}

impl CopyFile {
    fn is_done(&self, state: &FileState) -> bool {
        matches!(state, FileState::File { sha256, mode, .. } if *sha256 == self.sha256 && *mode == self.mode)
    }
}

impl Action for CopyFile {
    fn title(&self) -> String {
        format!("Copy {} to {}", self.from, self.to)
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [permission_for(&self.to)].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::Full
    }

    fn preview(&self, host: &Host) -> StepPreview {
        let diff = match host.root().state(&self.to) {
            Ok(FileState::Absent) => format!("new file, the bytes of {}", self.from),
            Ok(_) => format!("replaced by the bytes of {}", self.from),
            Err(e) => format!("it cannot be looked at: {e}"),
        };
        preview(self, &[], vec![FileChange { path: self.to.clone(), diff }])
    }

    fn space(&self, host: &Host) -> Vec<(String, u64)> {
        let size = host.root().metadata(&self.from).map_or(0, |m| m.size);
        space::for_replacing(host, &self.to, size)
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        ctx.remember(&[&self.to])
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        if self.is_done(&ctx.host().root().state(&self.to)?) {
            return Ok(Applied { unchanged: true, ..Applied::default() });
        }
        let bytes = ctx.host().root().read_at_most(&self.from, LIMIT)?;
        if hex::encode(Sha256::digest(&bytes)) != self.sha256 {
            return Err(StepError::refused(
                format!("{} changed since the plan was made", self.from),
                "plan again, so that the plan is for what is there now",
            ));
        }
        ctx.write(&self.to, &bytes, self.mode)?;
        Ok(Applied::default())
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        let outcome = match ctx.host().root().state(&self.to) {
            Ok(state) if self.is_done(&state) => CheckOutcome::Good,
            Ok(_) => CheckOutcome::Bad {
                reason: "another program changed it at the same time; end that program and try again".into(),
            },
            Err(e) => CheckOutcome::CouldNotLook { reason: e.to_string() },
        };
        vec![Check { what: format!("{} is a copy of {}", self.to, self.from), outcome }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::RunState;
    use crate::engine::steps::Step;
    use crate::engine::testing::Scene;

    fn copy(bytes: &[u8]) -> Step {
        Step::CopyFile(CopyFile {
            from: "/usr/bin/vmware".into(),
            sha256: hex::encode(Sha256::digest(bytes)),
            to: "/usr/bin/vmware.original".into(),
            mode: 0o755,
            reason: String::new(),
        })
    }

    #[test]
    fn a_copy_is_gone_after_undo_and_the_file_stays() {
        let scene = Scene::real();
        let bytes = vec![0x7f; 70_000];
        scene.put("/usr/bin/vmware", bytes.clone(), 0o755);
        scene.there_and_back(vec![copy(&bytes)]);
    }

    #[test]
    fn a_copy_that_was_there_with_other_bytes_comes_back() {
        let scene = Scene::real();
        scene.put("/usr/bin/vmware", "new", 0o755).put("/usr/bin/vmware.original", "old", 0o700);
        scene.there_and_back(vec![copy(b"new")]);
    }

    #[test]
    fn another_file_than_that_of_the_plan_is_not_copied() {
        let scene = Scene::real();
        scene.put("/usr/bin/vmware", "other", 0o755);
        let report = scene.execute(vec![copy(b"planned")]).unwrap();
        assert_eq!(report.state, RunState::RolledBack);
        assert!(report.message.contains("changed since the plan"), "{}", report.message);
        assert!(!scene.host.root().exists("/usr/bin/vmware.original"));
    }
}
