// SPDX-License-Identifier: GPL-3.0-or-later
//! `limine.conf` (Limine's CONFIG.md, version 8 and later): entries begin with `/`, one more for each level;
//! below them `key: value`. Keys are the same in capitals.

use super::generated::Generated;
use super::words::{CommandLine, Parameter};
use super::{ParamError, check_text};
use std::ops::Range;

#[derive(Default)]
struct Entry {
    title: String,
    line: usize,
    linux: bool,
    cmdline: Option<Range<usize>>,
}

impl Entry {
    /// Whether it is a way back when the usual entry does not start.
    fn is_way_out(&self) -> bool {
        let title = self.title.to_lowercase();
        ["fallback", "rescue", "snapshot"].iter().any(|word| title.contains(word))
    }
}

fn parse(text: &str) -> Result<Vec<Entry>, ParamError> {
    check_text(text)?;
    let mut entries: Vec<Entry> = Vec::new();
    let mut at = 0;
    for (i, line) in text.split_inclusive('\n').enumerate() {
        let start = at;
        at += line.len();
        let body = line.trim_end_matches('\n');
        let trimmed = body.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        if let Some(title) = trimmed.strip_prefix('/') {
            let title = title.trim_start_matches(['/', '+']).trim().to_owned();
            entries.push(Entry { title, line: i + 1, ..Entry::default() });
            continue;
        }
        let (Some((key, _)), Some(entry)) = (trimmed.split_once(':'), entries.last_mut()) else { continue };
        let from = body.len() - trimmed.len() + key.len() + 1;
        let gap = body[from..].len() - body[from..].trim_start().len();
        let value = start + from + gap..start + body.len();
        match key.trim().to_lowercase().as_str() {
            "protocol" => entry.linux = text[value].trim().eq_ignore_ascii_case("linux"),
            "cmdline" | "kernel_cmdline" if entry.cmdline.is_some() => {
                return Err(ParamError::new(
                    i + 1,
                    format!("the entry “{}” has two command lines", entry.title),
                    "make them one and look again",
                ));
            }
            "cmdline" | "kernel_cmdline" => entry.cmdline = Some(value),
            _ => {}
        }
    }
    entries.retain(|e| e.linux);
    Ok(entries)
}

fn command_line(text: &str, entry: &Entry) -> Result<CommandLine, ParamError> {
    let Some(range) = &entry.cmdline else { return Ok(CommandLine::default()) };
    let line = super::line_of(text, range.start);
    if text[range.clone()].contains("${") {
        return Err(ParamError::new(
            line,
            "this command line has a macro in it",
            "write the words themselves there",
        ));
    }
    CommandLine::parse(&text[range.clone()]).map_err(|e| e.at(line))
}

/// Reads the entries that start Linux.
pub(super) fn read(text: &str) -> Result<Vec<Generated>, ParamError> {
    let read = |entry: &Entry| {
        let found = Generated::of(&entry.title, command_line(text, entry)?);
        Ok(if entry.is_way_out() { found.way_out() } else { found })
    };
    parse(text)?.iter().map(read).collect()
}

/// Adds to every entry that starts Linux and is no way out.
pub(super) fn add(text: &str, wanted: &[Parameter]) -> Result<String, ParamError> {
    let entries = parse(text)?;
    let usual: Vec<&Entry> = entries.iter().filter(|e| !e.is_way_out()).collect();
    if usual.is_empty() {
        return Err(ParamError::new(
            1,
            "no entry starts Linux (`protocol: linux`)",
            "look at how this machine boots",
        ));
    }
    let mut changed = text.to_owned();
    for entry in usual.iter().rev() {
        let Some(range) = &entry.cmdline else {
            return Err(ParamError::new(
                entry.line,
                format!("the entry “{}” has no command line", entry.title),
                "give it one (`cmdline: …`) and look again",
            ));
        };
        let line = super::line_of(text, range.start);
        let found = command_line(text, entry)?;
        let lacking = found.lacking(wanted).map_err(|e| e.at(line))?;
        changed.replace_range(range.clone(), &found.with(&text[range.clone()], &lacking));
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARCH: &str = "timeout: 5\n\n/Arch Linux\n    protocol: linux\n    path: boot():/vmlinuz-linux\n    cmdline: root=UUID=aa rw\n    module_path: boot():/initramfs-linux.img\n\n/Arch Linux (fallback)\n    PROTOCOL: linux\n    KERNEL_CMDLINE: root=UUID=aa rw\n\n/Windows\n    protocol: efi\n    path: boot():/EFI/Microsoft/Boot/bootmgfw.efi\n";

    #[test]
    fn the_usual_entry_gets_the_word_and_the_fallback_stays() {
        let wanted = ["iommu=pt".parse().unwrap()];
        let changed = add(ARCH, &wanted).unwrap();
        assert_eq!(changed, ARCH.replacen("rw\n", "rw iommu=pt\n", 1));
        assert_eq!(add(&changed, &wanted).unwrap(), changed);
    }

    #[test]
    fn macros_and_missing_command_lines_are_refused() {
        let wanted = ["iommu=pt".parse().unwrap()];
        for (text, says) in [
            ("/A\nprotocol: linux\ncmdline: ${X} rw\n", "line 3: this command line has a macro"),
            ("/A\nprotocol: linux\n", "line 1: the entry “A” has no command line"),
            ("/A\nprotocol: linux\ncmdline: a\ncmdline: b\n", "line 4: the entry “A” has two"),
            ("timeout: 3\n", "no entry starts Linux"),
        ] {
            let error = add(text, &wanted).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
