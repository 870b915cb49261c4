// SPDX-License-Identifier: GPL-3.0-or-later
//! What a boot loader will really start: command lines of generated configurations, and whether words are
//! in them.

use super::words::{CommandLine, Parameter};

/// One entry of a boot loader's menu.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Generated {
    /// Its title; empty when the file holds one command line only.
    pub title: String,
    /// Its command line.
    pub line: CommandLine,
    /// Whether it is a way back (recovery mode, fallback) that is meant to stay as it is.
    pub is_way_out: bool,
}

impl Generated {
    pub(super) fn of(title: &str, line: CommandLine) -> Self {
        Self { title: title.to_owned(), line, is_way_out: false }
    }

    pub(super) fn way_out(self) -> Self {
        Self { is_way_out: true, ..self }
    }
}

/// The entries of `grub.cfg` that grub-mkconfig made for this system's own kernels. Where its sections are
/// marked (`### BEGIN …/10_linux ###`), those of other systems (30_os-prober) and of a person (40_custom) are
/// left out.
pub(super) fn grub_cfg(text: &str) -> Vec<Generated> {
    let marked = text.lines().any(|l| l.starts_with("### BEGIN "));
    let mut ours = !marked;
    let mut title = String::new();
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(section) = line.strip_prefix("### BEGIN ") {
            ours = section.contains("_linux");
        } else if line.starts_with("### END ") {
            ours = !marked;
        }
        let trimmed = line.trim();
        if let Some(rest) = trimmed.strip_prefix("menuentry ") {
            title = first_string(rest);
            continue;
        }
        if !ours {
            continue;
        }
        let Some((command, rest)) = trimmed.split_once([' ', '\t']) else { continue };
        let rest = rest.trim();
        let (image, words) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        let starts_linux = match command {
            "linux" | "linuxefi" | "linux16" => true,
            // Below Xen the kernel is a module.
            "module" | "module2" => image.contains("vmlinuz"),
            _ => false,
        };
        if starts_linux {
            let words = words.replace("\\\"", "\"");
            let line = CommandLine::parse(&words).unwrap_or_else(|_| CommandLine::of_blanks(&words));
            let is_way_out = title.contains("(recovery mode)");
            found.push(Generated { title: title.clone(), line, is_way_out });
        }
    }
    found
}

/// The first string of a line of GRUB's script.
fn first_string(text: &str) -> String {
    match text.chars().next() {
        Some(quote @ ('\'' | '"')) => text[1..].split(quote).next().unwrap_or("").to_owned(),
        _ => text.split_whitespace().next().unwrap_or("").to_owned(),
    }
}

/// What is wrong with these entries, in a sentence: every one that is no way back must have each word just
/// once. `None` when all is well.
pub fn missing(entries: &[Generated], wanted: &[Parameter]) -> Option<String> {
    let usual: Vec<&Generated> = entries.iter().filter(|e| !e.is_way_out).collect();
    if usual.is_empty() {
        return Some("no entry starts Linux".to_owned());
    }
    usual.iter().find_map(|entry| {
        wanted.iter().find_map(|parameter| {
            let named = if entry.title.is_empty() {
                "the command line".to_owned()
            } else {
                format!("the entry “{}”", entry.title)
            };
            match entry.line.count(parameter) {
                1 => None,
                0 => Some(format!("{named} does not have `{parameter}`")),
                n => Some(format!("{named} has `{parameter}` {n} times")),
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "### BEGIN /etc/grub.d/10_linux ###\nmenuentry 'Debian' --class debian {\n\tlinux\t/boot/vmlinuz-6.1 root=UUID=aa ro  quiet iommu=pt\n}\nsubmenu 'More' {\n\tmenuentry 'Debian, with Linux 6.1 (recovery mode)' {\n\t\tlinux\t/boot/vmlinuz-6.1 root=UUID=aa ro single\n\t}\n}\n### END /etc/grub.d/10_linux ###\n### BEGIN /etc/grub.d/30_os-prober ###\nmenuentry 'Other' {\n\tlinux /boot/vmlinuz root=/dev/sdb1\n}\n### END /etc/grub.d/30_os-prober ###\n";

    #[test]
    fn only_this_systems_usual_entries_count() {
        let found = grub_cfg(CONFIG);
        assert_eq!(found.len(), 2, "{found:?}");
        let wanted = ["iommu=pt".parse().unwrap()];
        assert_eq!(missing(&found, &wanted), None);
        let other = ["iommu=on".parse().unwrap()];
        assert_eq!(missing(&found, &other).unwrap(), "the entry “Debian” does not have `iommu=on`");
        let twice = grub_cfg(&CONFIG.replace("iommu=pt", "iommu=pt iommu=pt"));
        assert!(missing(&twice, &wanted).unwrap().ends_with("2 times"));
        assert_eq!(missing(&[], &wanted).unwrap(), "no entry starts Linux");
    }

    #[test]
    fn a_configuration_without_sections_counts_as_a_whole_and_xen_has_modules() {
        let found = grub_cfg(
            "menuentry \"X\" {\n multiboot2 /xen.gz\n module2 /vmlinuz-6 a=1\n module2 /initrd\n}\n",
        );
        assert_eq!((found.len(), found[0].title.as_str()), (1, "X"));
        assert_eq!(found[0].line.words, ["a=1"]);
    }
}
