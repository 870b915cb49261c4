// SPDX-License-Identifier: GPL-3.0-or-later
//! What every reader needs: the files of the machine with bounds, and whether it runs at all.

use super::Finding;
use crate::host::{Entry, Host, HostError, Root};

/// Largest text file that is read whole.
const TEXT_LIMIT: u64 = 8 << 20;
/// Largest package database that is read whole.
const BIG_TEXT_LIMIT: u64 = 256 << 20;

/// Why nothing can be said of a kernel that does not run.
pub(super) const NOT_RUNNING: &str = "this root is not running";

/// A machine to look at.
pub(super) struct Look<'a> {
    pub(super) host: &'a Host,
    pub(super) running: bool,
}

impl<'a> Look<'a> {
    pub(super) fn new(host: &'a Host) -> Self {
        // A scratch root has no /proc of its own; a recorded machine has.
        let running = host.root().exists("/proc/sys/kernel/osrelease");
        Self { host, running }
    }

    pub(super) fn root(&self) -> &'a Root {
        self.host.root()
    }

    /// `Seen` only on a machine that runs.
    pub(super) fn if_running<T>(&self, look: impl FnOnce() -> Finding<T>) -> Finding<T> {
        if self.running { look() } else { Finding::unseen(NOT_RUNNING) }
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.root().exists(path)
    }

    /// A text file, bytes that are not UTF-8 replaced.
    pub(super) fn text(&self, path: &str) -> Result<String, HostError> {
        let bytes = self.root().read_at_most(path, TEXT_LIMIT)?;
        Ok(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
        })
    }

    /// A text file; `None` when it is not there.
    pub(super) fn text_if_there(&self, path: &str) -> Finding<Option<String>> {
        match self.text(path) {
            Ok(text) => Finding::Seen(Some(text)),
            Err(e) if e.is_not_found() => Finding::Seen(None),
            Err(e) => Finding::unseen(e.to_string()),
        }
    }

    /// A text file that may be larger than others (a package database), bytes that are not UTF-8 replaced.
    pub(super) fn big_text(&self, path: &str) -> Result<String, HostError> {
        let bytes = self.root().read_at_most(path, BIG_TEXT_LIMIT)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Whether something is there; *could not look* where a folder above it cannot be entered.
    pub(super) fn there(&self, path: &str) -> Finding<bool> {
        match self.root().metadata(path) {
            Ok(_) => Finding::Seen(true),
            Err(e) if e.is_not_found() => Finding::Seen(false),
            Err(e) => Finding::unseen(e.to_string()),
        }
    }

    /// The first line of a small file, trimmed; `None` when it is empty or cannot be read.
    pub(super) fn line(&self, path: &str) -> Option<String> {
        let text = self.text(path).ok()?;
        let line = text.lines().next().unwrap_or("").trim();
        (!line.is_empty()).then(|| line.to_owned())
    }

    /// A number in a small file.
    pub(super) fn number<T: std::str::FromStr>(&self, path: &str) -> Option<T> {
        self.line(path)?.parse().ok()
    }

    /// A directory's entries; none when it is not there or cannot be read.
    pub(super) fn list(&self, path: &str) -> Vec<Entry> {
        self.root().list(path).unwrap_or_default()
    }

    /// The last name that a link leads to ("nvidia" for `…/driver`).
    pub(super) fn link_name(&self, path: &str) -> Option<String> {
        let target = self.root().read_link(path).ok()?;
        target.rsplit('/').next().map(str::to_owned)
    }

    /// The first of these paths that is there.
    pub(super) fn first_of<'p>(&self, paths: &[&'p str]) -> Option<&'p str> {
        paths.iter().copied().find(|path| self.exists(path))
    }

    /// The text of a configuration file and of all `*.conf` in its folder, in the order of their names.
    pub(super) fn with_drop_ins(&self, file: &str, dir: &str) -> Vec<(String, String)> {
        let mut texts: Vec<(String, String)> =
            self.text(file).ok().map(|t| (file.to_owned(), t)).into_iter().collect();
        for entry in self.list(dir) {
            let path = format!("{dir}/{}", entry.name);
            if entry.name.ends_with(".conf")
                && let Ok(text) = self.text(&path)
            {
                texts.push((path, text));
            }
        }
        texts
    }
}

/// `NAME=value` lines as a POSIX shell or os-release(5) reads them: comments left out, quotes taken off.
/// A later line wins. Expansions are not done.
pub(super) fn shell_assignments(text: &str) -> std::collections::BTreeMap<String, String> {
    let mut found = std::collections::BTreeMap::new();
    for line in text.lines() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=') else { continue };
        let name = name.trim_end();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        found.insert(name.to_owned(), unquote(value.trim()));
    }
    found
}

/// Takes shell quotes and backslashes off a word; what follows the word (a comment) is left out.
fn unquote(word: &str) -> String {
    let mut out = String::new();
    let mut quote: Option<char> = None;
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None | Some('"'), '\\') => out.extend(chars.next()),
            (None, c) if c.is_whitespace() => break,
            (_, c) => out.push(c),
        }
    }
    out
}

/// Compares version texts the way package managers do in essence: runs of digits as numbers, all else as
/// text; a release candidate is older than its release.
pub(super) fn compare_versions(a: &str, b: &str) -> std::cmp::Ordering {
    fn parts(text: &str) -> Vec<(u8, u128, String)> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if first.is_ascii_digit() {
                let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                parts.push((2, rest[..end].parse().unwrap_or(u128::MAX), String::new()));
                rest = &rest[end..];
            } else if first.is_ascii_alphabetic() || first == '~' {
                let end = rest
                    .char_indices()
                    .skip(1)
                    .find(|(_, c)| !c.is_ascii_alphabetic())
                    .map_or(rest.len(), |(i, _)| i);
                let word = &rest[..end];
                // "-rc1" is before the end of the text, every other word after it.
                let rank = u8::from(!(word == "rc" || word.starts_with('~')));
                parts.push((rank, 0, word.to_owned()));
                rest = &rest[end..];
            } else {
                rest = &rest[first.len_utf8()..];
            }
        }
        parts
    }
    let (a, b) = (parts(a), parts(b));
    for i in 0..a.len().max(b.len()) {
        let order = match (a.get(i), b.get(i)) {
            (Some(x), Some(y)) => x.cmp(y),
            (Some(x), None) if x.0 == 0 => std::cmp::Ordering::Less,
            (None, Some(y)) if y.0 == 0 => std::cmp::Ordering::Greater,
            (Some(_), None) => std::cmp::Ordering::Greater,
            (None, Some(_)) => std::cmp::Ordering::Less,
            (None, None) => std::cmp::Ordering::Equal,
        };
        if order.is_ne() {
            return order;
        }
    }
    std::cmp::Ordering::Equal
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cmp::Ordering;

    #[test]
    fn assignments_are_read_as_a_shell_reads_them() {
        let text =
            "# c\nA=1\nB=\"x y\" # after\nC='$q'\nexport D=a\\ b\nE=\"q\\\"r\"\nnot a line\nA=2\n1 X=3\n";
        let found = shell_assignments(text);
        let pairs: Vec<_> = found.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("A", "2"), ("B", "x y"), ("C", "$q"), ("D", "a b"), ("E", "q\"r")]);
    }

    #[test]
    fn newer_kernels_sort_after_older_ones() {
        for (a, b) in [
            ("6.1.0-9-amd64", "6.1.0-25-amd64"),
            ("6.9.0", "6.10.0"),
            ("6.10.0-rc3", "6.10.0"),
            ("6.8.12-1-pve", "6.8.12-10-pve"),
            ("5.10.0-46-amd64", "6.1.0-1-amd64"),
            ("6.12~rc1", "6.12"),
        ] {
            assert_eq!(compare_versions(a, b), Ordering::Less, "{a} {b}");
            assert_eq!(compare_versions(b, a), Ordering::Greater, "{a} {b}");
        }
        assert_eq!(compare_versions("6.1.0", "6.1.0"), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn no_text_makes_these_parsers_panic(a in "\\PC*", b in "(?s).*") {
            shell_assignments(&a);
            shell_assignments(&b);
            prop_assert_eq!(compare_versions(&a, &b), compare_versions(&b, &a).reverse());
        }
    }
}
