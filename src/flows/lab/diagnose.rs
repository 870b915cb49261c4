// SPDX-License-Identifier: GPL-3.0-or-later
//! What went wrong in an installer, read from the files that a guest handed over. Pure.
//!
//! Installers fail after the last question, when the choices are applied: then the configuration that they were
//! handed, and the end of their log, tell most.

use serde::Serialize;
use serde_json::Value;

/// Whether a configuration handed to an installer can be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Configuration {
    /// It is JSON.
    Valid,
    /// It is not.
    Invalid {
        /// Line, counted from 1.
        line: usize,
        /// Column, counted from 1.
        column: usize,
        /// Why.
        reason: String,
        /// The line.
        text: String,
    },
}

/// Looks at a JSON configuration.
pub fn configuration(text: &str) -> Configuration {
    match serde_json::from_str::<Value>(text) {
        Ok(_) => Configuration::Valid,
        Err(e) => {
            let whole = e.to_string();
            let reason = whole.split(" at line ").next().unwrap_or(&whole).to_owned();
            let line = text.lines().nth(e.line().saturating_sub(1)).unwrap_or_default().to_owned();
            Configuration::Invalid { line: e.line(), column: e.column(), reason, text: line }
        }
    }
}

/// A field that a log says was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// The field's name.
    pub field: String,
    /// The line that says so.
    pub said: String,
    /// Where the field is in the configuration (`/disk_config/device`, RFC 6901); `None`: it is not there.
    pub at: Option<String>,
}

/// The last field that a log says was not accepted: how Python (archinstall), JSON Schema and pydantic say it.
pub fn rejected(log: &str, configuration: &str) -> Option<Rejected> {
    let lines: Vec<&str> = log.lines().collect();
    let (said, field) = (0..lines.len()).rev().find_map(|n| Some((lines[n], field(&lines, n)?)))?;
    let document = serde_json::from_str::<Value>(configuration).unwrap_or(Value::Null);
    Some(Rejected { at: place(&document, &field, ""), said: said.trim().to_owned(), field })
}

/// The field that line `n` is about.
fn field(lines: &[&str], n: usize) -> Option<String> {
    let line = lines[n].trim();
    let after = |mark: &str| line.split_once(mark).and_then(|(_, rest)| quoted(rest));
    if let Some(name) = after("KeyError: ") {
        return Some(name);
    }
    for mark in
        ["unexpected keyword argument ", "missing 1 required positional argument: ", "invalid value for "]
    {
        if let Some(name) = after(mark) {
            return Some(name);
        }
    }
    if line.ends_with("is a required property") {
        return quoted(line);
    }
    if line.contains("Additional properties are not allowed") {
        return after("(");
    }
    // "Failed validating 'enum' in schema['properties']…", then "On instance['disk_config']['layout']:"
    if let Some(rest) = line.strip_prefix("On instance") {
        let name = rest.rsplit_once('[').map(|(_, last)| last.trim_end_matches([']', ':']))?;
        return quoted(name);
    }
    // pydantic: the field on a line of its own, then "  Input should be …" or "  Field required".
    let next = lines.get(n + 1).map(|l| l.trim_end())?;
    let begins =
        ["  Field required", "  Input should be", "  Extra inputs are not permitted", "  Value error"];
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if begins.iter().any(|b| next.starts_with(b)) && !line.is_empty() && line.chars().all(plain) {
        return line.rsplit('.').next().map(str::to_owned);
    }
    None
}

/// What stands between the first pair of quotes.
fn quoted(text: &str) -> Option<String> {
    let start = text.find(['\'', '"', '`'])?;
    let mark = text[start..].chars().next()?;
    let rest = &text[start + 1..];
    let end = rest.find(mark)?;
    (end > 0 && end < 100).then(|| rest[..end].to_owned())
}

/// Where the first field of this name is.
fn place(value: &Value, field: &str, at: &str) -> Option<String> {
    let step = |key: &str| format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
    match value {
        Value::Object(map) => {
            if map.contains_key(field) {
                return Some(step(field));
            }
            map.iter().find_map(|(key, inner)| place(inner, field, &step(key)))
        }
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(n, inner)| place(inner, field, &step(&n.to_string())))
        }
        _ => None,
    }
}

/// Lines of one log that are shown.
const LINES: usize = 15;

/// The lines of a log that show what went wrong, with their numbers: its last Python traceback, else the lines that
/// speak of errors, else nothing.
pub fn failing_lines(log: &str) -> Vec<(usize, String)> {
    let lines: Vec<&str> = log.lines().collect();
    let numbered = |n: usize| (n + 1, lines[n].trim_end().to_owned());
    if let Some(start) = lines.iter().rposition(|l| l.contains("Traceback (most recent call last)")) {
        // It ends with the first line that is not indented: the exception.
        let deep = |l: &str| l.starts_with(' ') || l.trim().is_empty();
        let end = (start + 1..lines.len()).find(|n| !deep(lines[*n])).map_or(lines.len(), |n| n + 1);
        let from = start.max(end.saturating_sub(LINES));
        return (from..end).map(numbered).collect();
    }
    let bad = |l: &str| {
        let l = l.to_ascii_lowercase();
        ["error", "fatal", "failed", "cannot", "panic", "segfault"].iter().any(|w| l.contains(w))
            && !l.contains("0 errors")
    };
    let all: Vec<usize> = (0..lines.len()).filter(|n| bad(lines[*n])).collect();
    all[all.len().saturating_sub(LINES)..].iter().map(|n| numbered(*n)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{"hostname": "x", "disk_config": {"device_modifications": [{"device": "/dev/vda", "wipe": true}]}}"#;

    #[test]
    fn a_broken_configuration_is_shown_where_it_breaks() {
        assert_eq!(configuration(CONFIG), Configuration::Valid);
        let Configuration::Invalid { line, column, reason, text } = configuration("{\n  \"a\": 1,\n}\n")
        else {
            panic!()
        };
        assert_eq!((line, column, text.as_str()), (3, 1, "}"));
        assert!(reason.contains("trailing comma"), "{reason}");
    }

    #[test]
    fn the_rejected_field_is_found_however_it_is_said() {
        let rows = [
            ("Traceback (most recent call last):\n  File \"x.py\", line 1\nKeyError: 'device'", "device"),
            ("TypeError: __init__() got an unexpected keyword argument 'wipe'", "wipe"),
            ("jsonschema.exceptions.ValidationError: 'bootloader' is a required property", "bootloader"),
            ("Additional properties are not allowed ('hostname' was unexpected)", "hostname"),
            (
                "Failed validating 'enum'\n\nOn instance['disk_config']['device_modifications']:",
                "device_modifications",
            ),
            ("1 validation error for Config\ndisk_config.device\n  Input should be a valid string", "device"),
        ];
        for (log, field) in rows {
            let rejected = rejected(log, CONFIG).unwrap_or_else(|| panic!("{log}"));
            assert_eq!(rejected.field, field, "{log}");
        }
        let found = rejected(rows[0].0, CONFIG).unwrap();
        assert_eq!(found.at.as_deref(), Some("/disk_config/device_modifications/0/device"));
        assert_eq!(rejected(rows[2].0, CONFIG).unwrap().at, None);
        assert_eq!(rejected("all is well", CONFIG), None);
    }

    #[test]
    fn a_traceback_is_shown_with_its_exception() {
        let log = "start\nTraceback (most recent call last):\n  File \"a.py\", line 3, in f\n    g()\nKeyError: 'x'\nbye";
        let lines = failing_lines(log);
        assert_eq!(lines.first().unwrap().0, 2);
        assert_eq!(lines.last().unwrap(), &(5, "KeyError: 'x'".to_owned()));
        let plain = failing_lines("a\nmount: cannot find /dev/vda2\nb\n");
        assert_eq!(plain, [(2, "mount: cannot find /dev/vda2".to_owned())]);
        assert!(failing_lines("fine\n").is_empty());
    }

    proptest::proptest! {
        #[test]
        fn no_log_makes_the_readers_fall(log in "\\PC{0,300}", config in "\\PC{0,100}") {
            rejected(&log, &config);
            failing_lines(&log);
            configuration(&config);
        }
    }
}
