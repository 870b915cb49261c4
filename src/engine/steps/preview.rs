// SPDX-License-Identifier: GPL-3.0-or-later
//! What previews of steps have in common.

use super::Action;
use crate::engine::report::{FileChange, StepPreview};
use crate::host::{Command, FileState, Host};
use similar::TextDiff;

/// Files larger than this are not shown as differences, in bytes.
const SHOWN: u64 = 256 << 10;

/// A preview of commands and files.
pub(super) fn preview(action: &dyn Action, commands: &[Command], files: Vec<FileChange>) -> StepPreview {
    StepPreview {
        title: action.title(),
        commands: commands.iter().map(Command::display).collect(),
        files,
        reversal: action.reversal(),
        permissions: action.permissions(),
    }
}

/// How a file would change to `text` with this mode, or be removed.
pub(super) fn change(host: &Host, path: &str, to: Option<(&str, u32)>) -> FileChange {
    let diff = match host.root().state(path) {
        Err(e) => format!("it cannot be looked at: {e}"),
        Ok(state) => describe(host, path, &state, to),
    };
    FileChange { path: path.to_owned(), diff }
}

fn describe(host: &Host, path: &str, state: &FileState, to: Option<(&str, u32)>) -> String {
    let old = match state {
        FileState::Absent => Some(String::new()),
        FileState::File { size, .. } if *size <= SHOWN => {
            host.root().read(path).ok().and_then(|b| String::from_utf8(b).ok())
        }
        _ => None,
    };
    let mut said = match (state, to) {
        (FileState::Absent, None) => return "it is not there".to_owned(),
        (FileState::File { size, .. }, None) if old.is_none() => {
            return format!("removed ({size} bytes, kept for undo)");
        }
        (FileState::Symlink { target, .. }, None) => return format!("removed (a link to {target})"),
        (FileState::Symlink { target, .. }, _) => format!("the link to {target} is replaced by a file\n"),
        (FileState::Directory { .. } | FileState::Other, _) => {
            return "no file: this will be refused".to_owned();
        }
        (FileState::File { mode, .. }, Some((_, new))) if *mode != new => {
            format!("mode {mode:04o} becomes {new:04o}\n")
        }
        (FileState::Absent, Some((_, new))) => format!("new file, mode {new:04o}\n"),
        _ => String::new(),
    };
    let text = to.map_or("", |(text, _)| text);
    match old {
        None if !matches!(state, FileState::Symlink { .. }) => {
            said.push_str("it is replaced (no text, or too long to show)");
        }
        old => {
            let old = old.unwrap_or_default();
            let from = if *state == FileState::Absent { "/dev/null" } else { path };
            let into = if to.is_none() { "/dev/null" } else { path };
            let diff = TextDiff::from_lines(old.as_str(), text);
            said.push_str(&diff.unified_diff().context_radius(3).header(from, into).to_string());
        }
    }
    said
}
