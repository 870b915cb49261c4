// SPDX-License-Identifier: GPL-3.0-or-later
//! Keep a large file that came with the run.

use super::{Action, preview::preview};
use crate::engine::context::{Applied, Before, Context};
use crate::engine::error::StepError;
use crate::engine::event::{Check, CheckOutcome};
use crate::engine::plan::Permission;
use crate::engine::report::{FileChange, Reversal, StepPreview};
use crate::engine::space;
use crate::host::{FileState, Host};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::{Seek, SeekFrom};

/// Keep a large file (a driver) where only root can change it. Its bytes come with the run, by their
/// SHA-256; what is there already with these bytes is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeepFile {
    /// Where it is kept.
    pub path: String,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
    /// What it is, for people.
    pub what: String,
}

impl KeepFile {
    fn is_there(&self, host: &Host) -> Result<bool, StepError> {
        let state = host.root().state(&self.path)?;
        Ok(matches!(state, FileState::File { sha256, .. } if sha256 == self.sha256))
    }
}

impl Action for KeepFile {
    fn title(&self) -> String {
        format!("Keep {} in {}", self.what, self.path)
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [Permission::VgpuInstall].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::Full
    }

    fn weight(&self) -> u32 {
        10
    }

    fn preview(&self, _host: &Host) -> StepPreview {
        let diff = format!("{} bytes, SHA-256 {}, mode 0600", self.size, self.sha256);
        preview(self, &[], vec![FileChange { path: self.path.clone(), diff }])
    }

    fn space(&self, host: &Host) -> Vec<(String, u64)> {
        space::for_replacing(host, &self.path, self.size)
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        ctx.remember(&[&self.path])
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        if self.is_there(ctx.host())? {
            return Ok(Applied { unchanged: true, ..Applied::default() });
        }
        let Some(file) = ctx.inputs().large.get(&self.sha256).cloned() else {
            return Err(StepError::refused(
                format!("{} did not come with this run", self.what),
                "give the file again",
            ));
        };
        let again = |e: std::io::Error| {
            StepError::refused(format!("{} cannot be read: {e}", self.what), "give the file again")
        };
        let mut file = file.try_clone().map_err(again)?;
        file.seek(SeekFrom::Start(0)).map_err(again)?;
        ctx.write_from(&self.path, &mut file, &self.sha256, self.size, 0o600)?;
        Ok(Applied::default())
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        let outcome = match self.is_there(ctx.host()) {
            Ok(true) => CheckOutcome::Good,
            Ok(false) => CheckOutcome::Bad { reason: "its SHA-256 is another; give the file again".into() },
            Err(e) => CheckOutcome::CouldNotLook { reason: e.to_string() },
        };
        vec![Check { what: format!("{} holds just these bytes", self.path), outcome }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::RunState;
    use crate::engine::steps::Step;
    use crate::engine::testing::Scene;
    use sha2::{Digest, Sha256};
    use std::io::Write;
    use std::sync::Arc;

    fn scene(bytes: &[u8], said: &[u8]) -> (Scene, Step) {
        let mut scene = Scene::real();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let sha256 = hex::encode(Sha256::digest(said));
        scene.inputs.large.insert(sha256.clone(), Arc::new(file));
        let (path, size) = ("/var/lib/keep/x.run".to_owned(), said.len() as u64);
        (scene, Step::KeepFile(KeepFile { path, sha256, size, what: "the driver".into() }))
    }

    #[test]
    fn a_kept_file_is_for_root_only_and_undo_takes_it_away() {
        let (scene, step) = scene(b"driver", b"driver");
        scene.there_and_back(vec![step.clone()]);
        scene.execute(vec![step]).unwrap();
        assert_eq!(scene.host.root().metadata("/var/lib/keep/x.run").unwrap().mode, 0o600);
    }

    #[test]
    fn other_bytes_than_promised_are_taken_back() {
        let (scene, step) = scene(b"evil!!", b"driver");
        let report = scene.execute(vec![step]).unwrap();
        assert_eq!(report.state, RunState::RolledBack, "{report:?}");
        assert!(!scene.host.root().exists("/var/lib/keep/x.run"));
    }

    #[test]
    fn a_file_that_did_not_come_is_asked_for() {
        let (mut scene, step) = scene(b"driver", b"driver");
        scene.inputs.large.clear();
        let report = scene.execute(vec![step]).unwrap();
        assert!(report.message.contains("did not come with this run"), "{report:?}");
    }
}
