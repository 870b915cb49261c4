// SPDX-License-Identifier: GPL-3.0-or-later
//! Entries of the Boot Loader Specification (uapi-group.org, "type #1"): `options` may stand more than once,
//! and all of them together are the command line.

use super::generated::Generated;
use super::words::{self, CommandLine, Parameter};
use super::{ParamError, check_text};
use std::ops::Range;

/// Variables in `options` that GRUB fills in and that do not matter here: tuned keeps its words in one.
const KNOWN_VARIABLES: [&str; 1] = ["$tuned_params"];

/// One entry: its title, whether it starts Linux, and where its options are.
struct Entry {
    title: String,
    linux: bool,
    options: Vec<Range<usize>>,
}

fn parse(text: &str) -> Result<Entry, ParamError> {
    check_text(text)?;
    let mut entry = Entry { title: String::new(), linux: false, options: Vec::new() };
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let body = line.trim_end_matches('\n');
        let key_from = body.len() - body.trim_start().len();
        let rest = &body[key_from..];
        let Some(key_end) = rest.find([' ', '\t']) else { continue };
        let value_from = key_from + key_end;
        let gap = body[value_from..].len() - body[value_from..].trim_start().len();
        let value = start + value_from + gap..start + body.len();
        match &rest[..key_end] {
            "title" => entry.title = text[value].trim().to_owned(),
            "linux" => entry.linux = true,
            "options" => entry.options.push(value),
            _ => {}
        }
    }
    Ok(entry)
}

fn command_line(text: &str, entry: &Entry) -> Result<CommandLine, ParamError> {
    let mut all = CommandLine::default();
    for range in &entry.options {
        let line = super::line_of(text, range.start);
        let part = CommandLine::parse(&text[range.clone()]).map_err(|e| e.at(line))?;
        let unknown =
            part.words.iter().find(|w| w.starts_with('$') && !KNOWN_VARIABLES.contains(&w.as_str()));
        if let Some(word) = unknown {
            return Err(ParamError::new(
                line,
                format!("the words stand in GRUB's environment block (`{word}`), not here"),
                "set them with the distribution's own tool: `grubby --update-kernel=ALL --args=…`",
            ));
        }
        all.words.extend(part.words);
    }
    Ok(all)
}

/// Reads an entry; none when it starts no Linux kernel.
pub(super) fn read(text: &str) -> Result<Vec<Generated>, ParamError> {
    let entry = parse(text)?;
    if !entry.linux {
        return Ok(Vec::new());
    }
    Ok(vec![Generated::of(&entry.title, command_line(text, &entry)?)])
}

/// Adds to the last `options`.
pub(super) fn add(text: &str, wanted: &[Parameter]) -> Result<String, ParamError> {
    let entry = parse(text)?;
    if !entry.linux {
        return Ok(text.to_owned());
    }
    let all = command_line(text, &entry)?;
    let line = entry.options.last().map_or(1, |r| super::line_of(text, r.start));
    let lacking = all.lacking(wanted).map_err(|e| e.at(line))?;
    if lacking.is_empty() {
        return Ok(text.to_owned());
    }
    // Words behind `--` are init's wherever they stand: what follows in a later line is no kernel's either.
    let ends = |r: &&Range<usize>| text[(*r).clone()].split_whitespace().any(|w| w == "--");
    let Some(range) = entry.options.iter().find(ends).or(entry.options.last()) else {
        let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        let added = lacking.iter().map(|w| w.as_str()).collect::<Vec<_>>().join(" ");
        return Ok(format!("{text}{gap}options {added}\n"));
    };
    let value = &text[range.clone()];
    let changed = CommandLine::parse(value)?.with(value, &lacking);
    Ok(format!("{}{changed}{}", &text[..range.start], &text[range.end..]))
}

/// Takes words out of its options.
pub(super) fn take_out(text: &str, words: &[Parameter]) -> Result<String, ParamError> {
    let entry = parse(text)?;
    command_line(text, &entry)?;
    let mut changed = text.to_owned();
    for word in words {
        // Places shift with every word that goes: found anew for each.
        for range in parse(&changed)?.options.iter().rev() {
            let without = words::without(&changed[range.clone()], std::slice::from_ref(word));
            if without != changed[range.clone()] {
                changed.replace_range(range.clone(), &without);
                break;
            }
        }
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEDORA: &str = "title Fedora Linux (6.10.12-200.fc40.x86_64) 40 (Workstation Edition)\nversion 6.10.12-200.fc40.x86_64\nlinux /vmlinuz-6.10.12-200.fc40.x86_64\ninitrd /initramfs-6.10.12-200.fc40.x86_64.img $tuned_initrd\noptions root=UUID=aa ro rootflags=subvol=root rhgb quiet $tuned_params\ngrub_users $grub_users\ngrub_arg --unrestricted\ngrub_class fedora\n";

    fn wanted() -> Vec<Parameter> {
        vec!["intel_iommu=on".parse().unwrap(), "iommu=pt".parse().unwrap()]
    }

    #[test]
    fn words_go_to_the_end_of_the_options_and_come_out_again_byte_for_byte() {
        let changed = add(FEDORA, &wanted()).unwrap();
        assert!(changed.contains("quiet $tuned_params intel_iommu=on iommu=pt\ngrub_users"), "{changed}");
        assert_eq!(add(&changed, &wanted()).unwrap(), changed);
        assert_eq!(take_out(&changed, &wanted()).unwrap(), FEDORA);
    }

    #[test]
    fn several_options_are_one_command_line() {
        let text = "linux /l\noptions iommu=pt\n\toptions\tro  \n";
        assert_eq!(
            add(text, &wanted()).unwrap(),
            "linux /l\noptions iommu=pt\n\toptions\tro intel_iommu=on  \n"
        );
        let text = "linux /l\noptions ro -- single\noptions x\n";
        assert_eq!(
            add(text, &wanted()[1..]).unwrap(),
            "linux /l\noptions ro iommu=pt -- single\noptions x\n"
        );
    }

    #[test]
    fn an_entry_without_options_gets_a_line_and_one_without_linux_nothing() {
        assert_eq!(add("linux /l", &wanted()[1..]).unwrap(), "linux /l\noptions iommu=pt\n");
        assert_eq!(add("efi /x.efi\n", &wanted()).unwrap(), "efi /x.efi\n");
    }

    #[test]
    fn words_in_grubs_environment_block_are_refused() {
        let error = add("linux /l\noptions $kernelopts\n", &wanted()).unwrap_err().to_string();
        assert!(error.starts_with("line 2:") && error.contains("grubby"), "{error}");
    }
}
