// SPDX-License-Identifier: GPL-3.0-or-later
//! Boot loader entries of the Boot Loader Specification: text files and unified kernel images.

use crate::detect::look::compare_versions;
use std::cmp::Ordering;

/// One entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoaderEntry {
    /// Its file name, without the boot counter ("arch.conf").
    pub id: String,
    /// `version`.
    pub version: Option<String>,
    /// `sort-key`.
    pub sort_key: Option<String>,
    /// `machine-id`.
    pub machine_id: Option<String>,
    /// `linux`: the kernel image, seen from the partition it lies on.
    pub linux: Option<String>,
    /// Kernel release of a unified kernel image (its `.uname` section).
    pub release: Option<String>,
    /// Whether its boot counter says that it failed every time.
    pub is_bad: bool,
}

/// An entry's file name without its counter ("arch+3-0.conf"), and whether no tries are left.
pub fn split_counter(file: &str) -> (String, bool) {
    let Some((stem, suffix)) = file.rsplit_once('.') else { return (file.to_owned(), false) };
    let Some((name, counter)) = stem.rsplit_once('+') else { return (file.to_owned(), false) };
    let mut numbers = counter.split('-');
    let left = numbers.next().and_then(|n| n.parse::<u32>().ok());
    let valid = left.is_some() && numbers.all(|n| n.parse::<u32>().is_ok());
    if valid { (format!("{name}.{suffix}"), left == Some(0)) } else { (file.to_owned(), false) }
}

/// Reads an entry file.
pub fn parse_entry(file: &str, text: &str) -> LoaderEntry {
    let (id, is_bad) = split_counter(file);
    let mut entry = LoaderEntry { id, is_bad, ..LoaderEntry::default() };
    for line in text.lines() {
        let Some((key, value)) = line.trim().split_once(char::is_whitespace) else { continue };
        let value = value.trim().to_owned();
        match key {
            "version" => entry.version = Some(value),
            "sort-key" => entry.sort_key = Some(value),
            "machine-id" => entry.machine_id = Some(value),
            "linux" => entry.linux = Some(value),
            _ => {}
        }
    }
    entry
}

/// The value of a key in `loader.conf`; the last one counts.
pub fn loader_conf(text: &str, key: &str) -> Option<String> {
    let lines = text.lines().filter_map(|line| line.trim().split_once(char::is_whitespace));
    lines.rev().find(|(k, _)| *k == key).map(|(_, v)| v.trim().to_owned())
}

/// The order in which systemd-boot lists entries (Boot Loader Specification, "Sorting").
fn compare(a: &LoaderEntry, b: &LoaderEntry) -> Ordering {
    let newest = |a: &Option<String>, b: &Option<String>| {
        compare_versions(b.as_deref().unwrap_or(""), a.as_deref().unwrap_or(""))
    };
    a.is_bad
        .cmp(&b.is_bad)
        .then_with(|| b.sort_key.is_some().cmp(&a.sort_key.is_some()))
        .then_with(|| match (&a.sort_key, &b.sort_key) {
            (Some(x), Some(y)) => x
                .cmp(y)
                .then_with(|| a.machine_id.cmp(&b.machine_id))
                .then_with(|| newest(&a.version, &b.version)),
            _ => Ordering::Equal,
        })
        .then_with(|| compare_versions(&b.id, &a.id))
}

/// Whether a name matches a pattern with `*` and `?`, the way `loader.conf` has them.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        if p < pattern.len() && (pattern[p] == '?' || pattern[p] == name[n]) && pattern[p] != '*' {
            p += 1;
            n += 1;
        } else if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, n));
            p += 1;
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            p = at + 1;
            n = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// The entry that is started: the one a pattern names, else the first of the list. `None` when the
/// pattern names none and there are none.
pub fn choose<'a>(entries: &'a [LoaderEntry], wanted: Option<&str>) -> Option<&'a LoaderEntry> {
    let mut sorted: Vec<&LoaderEntry> = entries.iter().collect();
    sorted.sort_by(|a, b| compare(a, b));
    let named = wanted.and_then(|pattern| {
        let fits = |e: &&&LoaderEntry| {
            // Older entries of `loader.conf` leave the suffix out.
            matches(pattern, &e.id) || e.id.strip_suffix(".conf").is_some_and(|stem| matches(pattern, stem))
        };
        sorted.iter().find(fits).copied()
    });
    named.or_else(|| sorted.first().copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(id: &str, sort_key: Option<&str>, version: &str) -> LoaderEntry {
        LoaderEntry {
            id: id.into(),
            sort_key: sort_key.map(Into::into),
            version: Some(version.into()),
            ..Default::default()
        }
    }

    #[test]
    fn entries_are_read_with_their_counters() {
        let text = "title Arch Linux\n# c\nversion 6.11.5-arch1-1\nsort-key arch\nmachine-id 0a\nlinux   /vmlinuz-linux\ninitrd /initramfs-linux.img\noptions root=x\n";
        let found = parse_entry("arch+0-3.conf", text);
        assert_eq!(found.id, "arch.conf");
        assert!(found.is_bad);
        assert_eq!(found.linux.as_deref(), Some("/vmlinuz-linux"));
        assert_eq!(split_counter("a+b.conf"), ("a+b.conf".into(), false));
        assert_eq!(split_counter("x+2.efi"), ("x.efi".into(), false));
    }

    #[test]
    fn the_newest_entry_is_first_unless_another_is_named() {
        let entries = [
            entry("m-6.9.0.conf", Some("fedora"), "6.9.0"),
            entry("m-6.10.0.conf", Some("fedora"), "6.10.0"),
            entry("z-9.9.conf", None, "9.9"),
            LoaderEntry { is_bad: true, ..entry("m-6.11.0.conf", Some("fedora"), "6.11.0") },
        ];
        let chosen = |wanted| choose(&entries, wanted).map(|e| e.id.as_str());
        assert_eq!(chosen(None), Some("m-6.10.0.conf"));
        assert_eq!(chosen(Some("m-6.9*")), Some("m-6.9.0.conf"));
        assert_eq!(chosen(Some("z-9.9")), Some("z-9.9.conf"));
        assert_eq!(chosen(Some("none")), Some("m-6.10.0.conf"));
        assert_eq!(choose(&[], Some("x")), None);
    }

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, fits) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*b", "ab", true),
            ("a", "ab", false),
            ("**", "x", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn the_last_default_of_loader_conf_counts() {
        assert_eq!(
            loader_conf("timeout 3\ndefault  a.conf\n#default c\ndefault b.conf\n", "default").as_deref(),
            Some("b.conf")
        );
        assert_eq!(loader_conf("timeout 3\n", "default"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_these_parsers_panic(a in "(?s).*", b in "[a*?é]*", c in "[aé]*") {
            parse_entry(&a, &a);
            loader_conf(&a, "default");
            matches(&b, &c);
            matches(&c, &b);
            choose(&[parse_entry(&b, &a), parse_entry(&c, &b)], Some(&c));
        }
    }
}
