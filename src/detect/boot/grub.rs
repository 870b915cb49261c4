// SPDX-License-Identifier: GPL-3.0-or-later
//! GRUB 2: `grub.cfg` as grub-mkconfig writes it, and the environment block `grubenv`.

use std::collections::BTreeMap;

/// An entry or submenu of `grub.cfg`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MenuEntry {
    /// Its title.
    pub title: String,
    /// Its id (`--id`, `$menuentry_id_option`).
    pub id: Option<String>,
    /// The kernel image that its `linux` command loads.
    pub linux: Option<String>,
    /// Entries of a submenu.
    pub entries: Vec<MenuEntry>,
}

/// What matters here of `grub.cfg`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrubConfig {
    /// The entries.
    pub entries: Vec<MenuEntry>,
    /// The default when no entry is asked for once: the text of `set default="…"` ("0", "${saved_entry}").
    pub default: Option<String>,
    /// Whether entries come from `/boot/loader/entries` (`blscfg`).
    pub uses_bls: bool,
}

/// Splits a line into words as GRUB's script language does; `None` when a quote stays open.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(chars.next()),
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

enum Block {
    Menu(MenuEntry),
    Other,
}

/// Reads `grub.cfg`. What is not understood is passed over.
pub fn parse_grub_cfg(text: &str) -> GrubConfig {
    let mut config = GrubConfig::default();
    let mut open: Vec<Block> = Vec::new();
    for line in text.lines() {
        let Some(words) = words(line.trim()) else { continue };
        let Some(first) = words.first().map(String::as_str) else { continue };
        match first {
            "menuentry" | "submenu" => {
                let id = words
                    .iter()
                    .position(|w| w == "--id" || w == "$menuentry_id_option")
                    .and_then(|at| words.get(at + 1))
                    .cloned();
                let title = words.get(1).cloned().unwrap_or_default();
                open.push(Block::Menu(MenuEntry { title, id, ..MenuEntry::default() }));
            }
            "}" => {
                let Some(Block::Menu(entry)) = open.pop() else { continue };
                let parent = open.iter_mut().rev().find_map(|block| match block {
                    Block::Menu(menu) => Some(&mut menu.entries),
                    Block::Other => None,
                });
                parent.unwrap_or(&mut config.entries).push(entry);
            }
            "linux" | "linux16" | "linuxefi" => {
                if let Some(Block::Menu(entry)) = open.last_mut() {
                    entry.linux = words.get(1).cloned();
                }
            }
            "blscfg" => config.uses_bls = true,
            "set" => {
                if let Some(value) = words.get(1).and_then(|w| w.strip_prefix("default="))
                    && value != "${next_entry}"
                {
                    config.default = Some(value.to_owned());
                }
            }
            _ if words.last().is_some_and(|w| w == "{") => open.push(Block::Other),
            _ => {}
        }
    }
    config
}

/// Reads `grubenv`: `name=value` lines in a block of 1024 bytes filled with `#`.
pub fn parse_grubenv(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

impl GrubConfig {
    /// The entry that GRUB means by a position, id or title, or several of them with `>` between.
    pub fn entry(&self, wanted: &str) -> Option<&MenuEntry> {
        let mut level = &self.entries;
        let mut found: Option<&MenuEntry> = None;
        for part in wanted.split('>') {
            let entry = match part.trim().parse::<usize>() {
                Ok(position) => level.get(position),
                Err(_) => level.iter().find(|e| e.id.as_deref() == Some(part) || e.title == part),
            }?;
            level = &entry.entries;
            found = Some(entry);
        }
        found.map(first_leaf)
    }

    /// What is booted next by this configuration and environment: the name of the entry asked for.
    pub fn wanted<'a>(&'a self, env: &'a BTreeMap<String, String>) -> &'a str {
        let not_empty = |name: &str| env.get(name).map(String::as_str).filter(|v| !v.is_empty());
        if let Some(next) = not_empty("next_entry") {
            return next;
        }
        match self.default.as_deref() {
            Some("${saved_entry}" | "$saved_entry") => not_empty("saved_entry").unwrap_or("0"),
            Some("") | None => "0",
            Some(other) => other,
        }
    }
}

/// A submenu that is asked for itself starts its first entry.
fn first_leaf(entry: &MenuEntry) -> &MenuEntry {
    entry.entries.first().map_or(entry, first_leaf)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CONFIG: &str = r#"
if [ -s $prefix/grubenv ]; then
  load_env
fi
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
else
   set default="0"
fi
function savedefault {
  if [ -z "${boot_once}" ]; then
    saved_entry="${chosen}"
  fi
}
menuentry 'Debian GNU/Linux' --class debian --class os $menuentry_id_option 'gnulinux-simple-aa' {
	load_video
	linux	/boot/vmlinuz-6.1.0-25-amd64 root=UUID=aa ro quiet
	initrd	/boot/initrd.img-6.1.0-25-amd64
}
submenu 'Advanced options for Debian GNU/Linux' $menuentry_id_option 'gnulinux-advanced-aa' {
	menuentry 'Debian GNU/Linux, with Linux 6.1.0-25-amd64' $menuentry_id_option 'gnulinux-6.1.0-25-amd64-advanced-aa' {
		linux	/boot/vmlinuz-6.1.0-25-amd64 root=UUID=aa ro quiet
	}
	menuentry 'Debian GNU/Linux, with Linux 6.1.0-23-amd64' $menuentry_id_option 'gnulinux-6.1.0-23-amd64-advanced-aa' {
		linux	/boot/vmlinuz-6.1.0-23-amd64 root=UUID=aa ro quiet
	}
}
menuentry "UEFI Firmware Settings" --id 'uefi-firmware' {
	fwsetup
}
"#;

    fn booted<'a>(config: &'a GrubConfig, env: &str) -> Option<&'a str> {
        let env = parse_grubenv(env);
        config.entry(config.wanted(&env)).and_then(|e| e.linux.as_deref())
    }

    #[test]
    fn the_default_is_the_entry_grub_would_start() {
        let config = parse_grub_cfg(CONFIG);
        assert_eq!(config.entries.len(), 3);
        assert_eq!(booted(&config, "# GRUB Environment Block\n"), Some("/boot/vmlinuz-6.1.0-25-amd64"));
        for once in [
            "1>1",
            "gnulinux-advanced-aa>gnulinux-6.1.0-23-amd64-advanced-aa",
            "Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux 6.1.0-23-amd64",
        ] {
            let env = format!("# GRUB Environment Block\nnext_entry={once}\n####");
            assert_eq!(booted(&config, &env), Some("/boot/vmlinuz-6.1.0-23-amd64"), "{once}");
        }
        assert_eq!(booted(&config, "next_entry=gone\n"), None);
        assert_eq!(booted(&config, "next_entry=uefi-firmware\n"), None);
    }

    #[test]
    fn a_saved_entry_counts_only_when_grub_is_told_to_use_it() {
        let saved = parse_grub_cfg(&CONFIG.replace("set default=\"0\"", "set default=\"${saved_entry}\""));
        assert_eq!(booted(&saved, "saved_entry=1>1\n"), Some("/boot/vmlinuz-6.1.0-23-amd64"));
        assert_eq!(booted(&saved, ""), Some("/boot/vmlinuz-6.1.0-25-amd64"));
        assert_eq!(
            booted(&parse_grub_cfg(CONFIG), "saved_entry=1>1\n"),
            Some("/boot/vmlinuz-6.1.0-25-amd64")
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_these_parsers_panic(text in "(?s).*", lines in proptest::collection::vec("(menuentry|submenu|linux|set default=|\\}|x \\{)? ?['\"a>0 ]*\\{?", 0..20)) {
            let config = parse_grub_cfg(&lines.join("\n"));
            let env = parse_grubenv(&text);
            config.entry(config.wanted(&env));
            config.entry(&text);
            parse_grub_cfg(&text);
        }
    }
}
