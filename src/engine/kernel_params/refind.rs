// SPDX-License-Identifier: GPL-3.0-or-later
//! `refind_linux.conf`: lines of two quoted strings, a title and a command line; `""` inside a string is one
//! quote (rEFInd's documentation, "Methods of Booting Linux"). rEFInd starts the first line by itself; the others are a
//! person's ways out and stay as they are.

use super::generated::Generated;
use super::words::{CommandLine, Parameter};
use super::{ParamError, check_text};
use std::ops::Range;

/// The title of a line and where its command line is.
type Line = (String, Range<usize>);

fn parse(text: &str) -> Result<Vec<Line>, ParamError> {
    check_text(text)?;
    let mut found = Vec::new();
    let mut at = 0;
    for (i, line) in text.split_inclusive('\n').enumerate() {
        let start = at;
        at += line.len();
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let mut strings = strings(line, i + 1)?.into_iter();
        match (strings.next(), strings.next(), strings.next()) {
            (Some(title), Some(options), None) => {
                found.push((line[title].to_owned(), start + options.start..start + options.end));
            }
            _ => {
                return Err(ParamError::new(
                    i + 1,
                    "these are not two strings in double quotes",
                    "write \"TITLE\" \"OPTIONS\" and look again",
                ));
            }
        }
    }
    Ok(found)
}

/// Where the strings of a line are, without their quotes.
fn strings(line: &str, number: usize) -> Result<Vec<Range<usize>>, ParamError> {
    let bytes = line.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at].is_ascii_whitespace() {
            at += 1;
            continue;
        }
        if bytes[at] == b'#' {
            break;
        }
        if bytes[at] != b'"' {
            return Ok(Vec::new());
        }
        let from = at + 1;
        at = from;
        loop {
            match bytes.get(at) {
                None | Some(b'\n') => return Err(ParamError::open_quote(number, '"')),
                Some(b'"') if bytes.get(at + 1) == Some(&b'"') => at += 2,
                Some(b'"') => break,
                Some(_) => at += 1,
            }
        }
        found.push(from..at);
        at += 1;
    }
    Ok(found)
}

/// A command line as rEFInd hands it on.
fn command_line(text: &str, range: &Range<usize>) -> Result<CommandLine, ParamError> {
    let number = super::line_of(text, range.start);
    CommandLine::parse(&text[range.clone()].replace("\"\"", "\"")).map_err(|e| e.at(number))
}

/// Reads the lines; all but the first are ways out.
pub(super) fn read(text: &str) -> Result<Vec<Generated>, ParamError> {
    let lines = parse(text)?;
    let mut found = Vec::new();
    for (i, (title, range)) in lines.iter().enumerate() {
        let line = Generated::of(title, command_line(text, range)?);
        found.push(if i == 0 { line } else { line.way_out() });
    }
    Ok(found)
}

/// Adds to the first line.
pub(super) fn add(text: &str, wanted: &[Parameter]) -> Result<String, ParamError> {
    let lines = parse(text)?;
    let Some((_, range)) = lines.first() else {
        return Err(ParamError::new(
            1,
            "it has no line that boots anything",
            "run `mkrlconf`, which writes one",
        ));
    };
    let number = super::line_of(text, range.start);
    let lacking = command_line(text, range)?.lacking(wanted).map_err(|e| e.at(number))?;
    // Doubled quotes do not part words either: the places are the same.
    let value = &text[range.clone()];
    let changed = CommandLine::parse(value).map_err(|e| e.at(number))?.with(value, &lacking);
    Ok(format!("{}{changed}{}", &text[..range.start], &text[range.end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARCH: &str = "\"Boot with standard options\"  \"rw root=UUID=aa initrd=boot\\initramfs-%v.img\"\n\"Boot to single-user mode\"    \"rw root=UUID=aa single\"\n\"Boot with minimal options\"   \"ro root=UUID=aa\"\n";

    fn wanted() -> Vec<Parameter> {
        vec!["amd_iommu=on".parse().unwrap()]
    }

    #[test]
    fn the_first_line_gets_the_word_and_the_ways_out_stay() {
        let changed = add(ARCH, &wanted()).unwrap();
        let lines: Vec<&str> = changed.lines().collect();
        assert!(lines[0].ends_with("%v.img amd_iommu=on\""), "{changed}");
        assert!(ARCH.ends_with(&lines[1..].join("\n")) || ARCH.contains(lines[1]), "{changed}");
        assert_eq!(add(&changed, &wanted()).unwrap(), changed);
        assert_eq!(changed.replace(" amd_iommu=on", ""), ARCH);
    }

    #[test]
    fn doubled_quotes_are_one_and_broken_lines_are_refused_by_number() {
        let text = "# c\n\n\"a\" \"x=\"\"1 2\"\" y\"\n";
        assert_eq!(add(text, &wanted()).unwrap(), "# c\n\n\"a\" \"x=\"\"1 2\"\" y amd_iommu=on\"\n");
        assert!(add("\"a\" \"b\n", &wanted()).unwrap_err().to_string().starts_with("line 1: a quote"));
        assert!(
            add("\n\"a\" b\n", &wanted()).unwrap_err().to_string().starts_with("line 2: these are not two")
        );
        assert!(add("", &wanted()).unwrap_err().to_string().contains("mkrlconf"));
    }
}
