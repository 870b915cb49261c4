// SPDX-License-Identifier: GPL-3.0-or-later
//! The one-line format: `deb [option=value …] uri suite component…`.

use super::Repository;

/// A file in the one-line format, as its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneLine {
    /// The lines with their line ends.
    lines: Vec<String>,
}

/// What is written in one line.
enum Line {
    /// Nothing, or a comment that is no entry.
    Nothing,
    /// An entry, switched off by a comment sign or not.
    Entry(Repository),
    /// Something that APT refuses.
    Wrong(String),
}

impl OneLine {
    pub(super) fn parse(text: &str) -> Self {
        Self { lines: text.split_inclusive('\n').map(str::to_owned).collect() }
    }

    fn entries(&self) -> impl Iterator<Item = (usize, Repository)> {
        let read = self.lines.iter().enumerate().filter_map(|(at, line)| match read_line(line) {
            Line::Entry(repository) => Some((at, repository)),
            _ => None,
        });
        read.enumerate()
            .map(|(index, (at, repository))| (at, Repository { index, line: at + 1, ..repository }))
    }

    pub(super) fn repositories(&self) -> Vec<Repository> {
        self.entries().map(|(_, repository)| repository).collect()
    }

    pub(super) fn problems(&self) -> Vec<(usize, String)> {
        let wrong = self.lines.iter().enumerate().filter_map(|(at, line)| match read_line(line) {
            Line::Wrong(why) => Some((at + 1, why)),
            _ => None,
        });
        wrong.collect()
    }

    pub(super) fn set_enabled(&mut self, index: usize, enabled: bool) -> bool {
        let Some((at, repository)) = self.entries().nth(index) else { return false };
        if repository.enabled != enabled {
            let line = &self.lines[at];
            self.lines[at] = if enabled {
                let begin = line.find('#').unwrap_or(0);
                line[begin..].trim_start_matches(['#', ' ', '\t']).to_owned()
            } else {
                format!("# {line}")
            };
        }
        true
    }
}

impl std::fmt::Display for OneLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.lines.iter().try_for_each(|line| f.write_str(line))
    }
}

fn read_line(line: &str) -> Line {
    let line = line.trim();
    if line.is_empty() {
        return Line::Nothing;
    }
    let Some(commented) = line.strip_prefix('#') else {
        return match entry(line) {
            Ok(repository) => Line::Entry(repository),
            Err(why) => Line::Wrong(why),
        };
    };
    // Prose may begin with "deb" too: only what is a whole entry counts as a disabled one.
    match entry(commented.trim_start_matches(['#', ' ', '\t'])) {
        Ok(repository) => Line::Entry(Repository { enabled: false, ..repository }),
        Err(_) => Line::Nothing,
    }
}

fn entry(line: &str) -> Result<Repository, String> {
    let line = line.split('#').next().unwrap_or("").trim();
    let (kind, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    if !matches!(kind, "deb" | "deb-src") {
        return Err(format!("\u{201c}{kind}\u{201d} is no type; it must be deb or deb-src"));
    }
    let mut rest = rest.trim_start();
    let mut signed_by = None;
    if let Some(after) = rest.strip_prefix('[') {
        let Some((options, after)) = after.split_once(']') else {
            return Err("the options have no closing bracket".to_owned());
        };
        for option in options.split_whitespace() {
            if let Some((name, value)) = option.split_once('=')
                && name.eq_ignore_ascii_case("signed-by")
            {
                signed_by = Some(value.to_owned());
            }
        }
        rest = after;
    }
    let mut words = rest.split_whitespace().map(str::to_owned);
    let (Some(uri), Some(suite)) = (words.next(), words.next()) else {
        return Err("an address and a suite must follow the type".to_owned());
    };
    if !is_uri(&uri) {
        return Err(format!("\u{201c}{uri}\u{201d} is no address"));
    }
    let components: Vec<String> = words.collect();
    if components.is_empty() && !suite.ends_with('/') {
        return Err(format!("no component follows the suite {suite}"));
    }
    Ok(Repository {
        index: 0,
        line: 0,
        enabled: true,
        types: vec![kind.to_owned()],
        uris: vec![uri],
        suites: vec![suite],
        components,
        signed_by,
    })
}

/// Begins with a scheme (RFC 3986): "http:", "cdrom:", "mirror+file:".
fn is_uri(word: &str) -> bool {
    let Some((scheme, _)) = word.split_once(':') else { return false };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}
