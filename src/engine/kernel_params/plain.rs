// SPDX-License-Identifier: GPL-3.0-or-later
//! `/etc/kernel/cmdline` (kernel-install(8), proxmox-boot-tool, sdbootutil): the command line and nothing else.
//! Comments are refused: not every reader of this file leaves them out.

use super::words::{CommandLine, Parameter};
use super::{ParamError, check_text};

fn check(text: &str) -> Result<(), ParamError> {
    check_text(text)?;
    // The spaces of ASCII, as between words: what else looks empty is a word.
    let mut lines = text.split('\n').enumerate().filter(|(_, l)| !l.trim_ascii().is_empty());
    let first = lines.next();
    for (i, line) in first.into_iter().chain(lines) {
        if line.trim_start().starts_with('#') {
            let what = "this is a comment, and not every tool that reads this file knows comments";
            return Err(ParamError::new(i + 1, what, "take it out and look again"));
        }
        if first.is_some_and(|(n, _)| n != i) {
            let what = "the command line goes on in a second line, which not every tool reads";
            return Err(ParamError::new(i + 1, what, "write it as one line and look again"));
        }
    }
    Ok(())
}

/// Reads it.
pub(super) fn read(text: &str) -> Result<CommandLine, ParamError> {
    check(text)?;
    CommandLine::parse(text)
}

/// Adds to it.
pub(super) fn add(text: &str, wanted: &[Parameter]) -> Result<String, ParamError> {
    let line = read(text)?;
    let lacking = line.lacking(wanted)?;
    let mut changed = line.with(text, &lacking);
    if text.is_empty() && !changed.is_empty() {
        changed.push('\n');
    }
    Ok(changed)
}
