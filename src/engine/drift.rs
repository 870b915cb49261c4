// SPDX-License-Identifier: GPL-3.0-or-later
//! Drift: a file is no longer as a run left it, so that undo leaves it alone.

use crate::host::FileState;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A path that changed since a step was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Drift {
    /// The path.
    pub path: String,
    /// How the step left it; nothing when the step was interrupted before it said so.
    pub left: Option<FileState>,
    /// How it is now.
    pub now: FileState,
    /// How it was before the step.
    pub before: FileState,
    /// Where the bytes of before are kept, if it was a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<String>,
}

impl std::fmt::Display for Drift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let reference = self.left.as_ref().unwrap_or(&self.before);
        let difference = difference(reference, &self.now);
        write!(f, "{} was changed since ({difference}), so it is left as it is; ", self.path)?;
        match (&self.before, &self.copy) {
            (FileState::Absent, _) => write!(f, "if it is not needed, remove it and undo again"),
            (_, Some(copy)) => write!(
                f,
                "bring it back to how this run left it, or to how it was before (a copy is in {copy}), and undo again"
            ),
            (_, None) => {
                write!(f, "bring it back to how this run left it, or to how it was before, and undo again")
            }
        }
    }
}

/// How `now` differs from `then`, in a few words.
fn difference(then: &FileState, now: &FileState) -> String {
    match (then, now) {
        (_, FileState::Absent) => "it is no longer there".to_owned(),
        (FileState::Absent, _) => format!("{} is there now", kind(now)),
        (
            FileState::File { sha256, size, mode, uid, gid, .. },
            FileState::File { sha256: sha2, size: size2, mode: mode2, uid: uid2, gid: gid2, .. },
        ) => {
            let mut parts = Vec::new();
            if sha256 != sha2 {
                parts.push(if size == size2 {
                    "its content is another".to_owned()
                } else {
                    format!("its content is another, {size2} bytes instead of {size}")
                });
            }
            parts.extend(access((*mode, *uid, *gid), (*mode2, *uid2, *gid2)));
            parts.join(", ")
        }
        (
            FileState::Directory { mode, uid, gid },
            FileState::Directory { mode: mode2, uid: uid2, gid: gid2 },
        ) => access((*mode, *uid, *gid), (*mode2, *uid2, *gid2)).join(", "),
        (FileState::Symlink { target, .. }, FileState::Symlink { target: target2, .. })
            if target != target2 =>
        {
            format!("the link leads to {target2} instead of {target}")
        }
        (FileState::Symlink { .. }, FileState::Symlink { uid, gid, .. }) => {
            format!("the link's owner is {uid}:{gid} now")
        }
        _ => format!("{} stands there instead of {}", kind(now), kind(then)),
    }
}

fn access(then: (u32, u32, u32), now: (u32, u32, u32)) -> Vec<String> {
    let mut parts = Vec::new();
    if then.0 != now.0 {
        parts.push(format!("its mode is {:04o} instead of {:04o}", now.0, then.0));
    }
    if (then.1, then.2) != (now.1, now.2) {
        parts.push(format!("its owner is {}:{} instead of {}:{}", now.1, now.2, then.1, then.2));
    }
    parts
}

fn kind(state: &FileState) -> &'static str {
    match state {
        FileState::Absent => "nothing",
        FileState::File { .. } => "a file",
        FileState::Symlink { .. } => "a symbolic link",
        FileState::Directory { .. } => "a directory",
        FileState::Other => "a device, socket or pipe",
    }
}
