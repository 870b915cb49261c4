// SPDX-License-Identifier: GPL-3.0-or-later
//! The deb822 format: stanzas of fields, parted by empty lines.

use super::Repository;

/// A file in the deb822 format, as its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deb822 {
    /// The lines with their line ends.
    lines: Vec<String>,
}

/// A field, and the lines it takes.
#[derive(Debug)]
struct Field {
    name: String,
    /// The value, its lines joined by blanks.
    value: String,
    /// The line of its name, from 0.
    at: usize,
}

/// A stanza that holds at least one field.
#[derive(Debug, Default)]
struct Stanza {
    fields: Vec<Field>,
    /// Lines that are neither field nor comment nor continuation.
    stray: Vec<usize>,
}

impl Stanza {
    fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|f| f.name.eq_ignore_ascii_case(name))
    }

    fn words(&self, name: &str) -> Vec<String> {
        let value = self.field(name).map_or("", |f| f.value.as_str());
        value.split_whitespace().map(str::to_owned).collect()
    }

    fn enabled(&self) -> bool {
        // apt's StringToBool: everything but these means yes.
        let value = self.field("Enabled").map_or("yes", |f| f.value.as_str()).to_ascii_lowercase();
        !matches!(value.as_str(), "no" | "false" | "without" | "off" | "disable" | "0")
    }

    fn wrong(&self) -> Option<String> {
        let missing: Vec<&str> =
            ["Types", "URIs", "Suites"].into_iter().filter(|name| self.words(name).is_empty()).collect();
        (!missing.is_empty()).then(|| format!("the stanza has no {}", missing.join(", no ")))
    }
}

impl Deb822 {
    pub(super) fn parse(text: &str) -> Self {
        Self { lines: text.split_inclusive('\n').map(str::to_owned).collect() }
    }

    fn stanzas(&self) -> Vec<Stanza> {
        let mut all = vec![Stanza::default()];
        for (at, line) in self.lines.iter().enumerate() {
            let Some(stanza) = all.last_mut() else { break };
            if line.starts_with('#') {
                continue;
            }
            if line.trim().is_empty() {
                if !stanza.fields.is_empty() || !stanza.stray.is_empty() {
                    all.push(Stanza::default());
                }
                continue;
            }
            if line.starts_with([' ', '\t']) {
                match stanza.fields.last_mut() {
                    Some(field) => {
                        if !field.value.is_empty() {
                            field.value.push(' ');
                        }
                        field.value.push_str(line.trim());
                    }
                    None => stanza.stray.push(at),
                }
                continue;
            }
            match line.split_once(':').filter(|(name, _)| is_field_name(name)) {
                Some((name, value)) => {
                    stanza.fields.push(Field { name: name.to_owned(), value: value.trim().to_owned(), at });
                }
                None => stanza.stray.push(at),
            }
        }
        all.retain(|s| !s.fields.is_empty() || !s.stray.is_empty());
        all
    }

    fn entries(&self) -> Vec<Stanza> {
        self.stanzas().into_iter().filter(|s| s.wrong().is_none()).collect()
    }

    pub(super) fn repositories(&self) -> Vec<Repository> {
        let read = |(index, stanza): (usize, Stanza)| Repository {
            index,
            line: stanza.fields.first().map_or(0, |f| f.at + 1),
            enabled: stanza.enabled(),
            types: stanza.words("Types"),
            uris: stanza.words("URIs"),
            suites: stanza.words("Suites"),
            components: stanza.words("Components"),
            signed_by: stanza.field("Signed-By").filter(|f| !f.value.is_empty()).map(|f| {
                if f.value.starts_with("-----BEGIN") { "embedded".to_owned() } else { f.value.clone() }
            }),
        };
        self.entries().into_iter().enumerate().map(read).collect()
    }

    pub(super) fn problems(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for stanza in self.stanzas() {
            if let (Some(first), Some(why)) = (stanza.fields.first(), stanza.wrong()) {
                found.push((first.at + 1, why));
            }
            found.extend(stanza.stray.iter().map(|at| (at + 1, "this is no field".to_owned())));
        }
        found.sort();
        found
    }

    pub(super) fn set_enabled(&mut self, index: usize, enabled: bool) -> bool {
        let stanzas = self.entries();
        let Some(stanza) = stanzas.get(index) else { return false };
        if stanza.enabled() == enabled {
            return true;
        }
        let word = if enabled { "true" } else { "false" };
        match stanza.field("Enabled") {
            Some(field) => {
                let at = field.at;
                let end = line_end(&self.lines[at]).to_owned();
                self.lines[at] =
                    format!("{}: {word}{}", field.name, if end.is_empty() { "" } else { end.as_str() });
                // The rest of a value over several lines would belong to the new one.
                while self
                    .lines
                    .get(at + 1)
                    .is_some_and(|l| l.starts_with([' ', '\t']) && !l.trim().is_empty())
                {
                    self.lines.remove(at + 1);
                }
            }
            None => {
                let at = stanza.fields.first().map_or(0, |f| f.at);
                let end = match line_end(&self.lines[at]) {
                    "" => "\n",
                    end => end,
                };
                self.lines.insert(at, format!("Enabled: {word}{end}"));
            }
        }
        true
    }
}

impl std::fmt::Display for Deb822 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.lines.iter().try_for_each(|line| f.write_str(line))
    }
}

fn line_end(line: &str) -> &str {
    &line[line.trim_end_matches(['\n', '\r']).len()..]
}

/// deb-822(5): printable ASCII without blanks and colon; neither `#` nor `-` at its beginning.
fn is_field_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(['#', '-']) && name.chars().all(|c| c.is_ascii_graphic())
}
