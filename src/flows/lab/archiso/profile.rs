// SPDX-License-Identifier: GPL-3.0-or-later
//! An archiso profile, read and never run: `profiledef.sh` is a script of bash, of which plain assignments
//! of words and arrays are understood (archiso's README.profile.rst lists what is set there).

use super::super::LabError;
use super::Mistake;
use std::collections::BTreeMap;
use std::path::Path;

/// What is known of a profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Profile {
    /// Its plain variables. A value that bash would have to work out is not here.
    pub words: BTreeMap<String, String>,
    /// Its arrays.
    pub lists: BTreeMap<String, Vec<String>>,
    /// Packages that are installed.
    pub packages: Vec<String>,
    /// The name of its pacman configuration.
    pub pacman_conf: String,
    /// Whether there is an `airootfs`.
    pub has_airootfs: bool,
    /// Folders that its boot modes need and that are missing.
    pub missing: Vec<String>,
}

/// Boot loaders as the names of boot modes have them (`uefi.grub`, `uefi-x64.grub.esp`, `bios.syslinux.mbr`), and the
/// folder of the profile that each needs.
const LOADERS: [(&str, &str); 3] = [("syslinux", "syslinux"), ("systemd-boot", "efiboot"), ("grub", "grub")];

impl Profile {
    /// Reads a profile's folder.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(folder: &Path) -> Result<Self, LabError> {
        let read = |name: &str| {
            std::fs::read_to_string(folder.join(name)).map_err(|e| {
                LabError::refused(
                    "no-profile",
                    format!("{} is no archiso profile: {name} could not be read ({e})", folder.display()),
                    "name the folder that has profiledef.sh, as `cp -r /usr/share/archiso/configs/releng` makes one",
                )
            })
        };
        let mut profile = parse(&read("profiledef.sh")?);
        let arch = profile.words.get("arch").cloned().unwrap_or_else(|| "x86_64".to_owned());
        profile.packages = packages(&read(&format!("packages.{arch}"))?);
        profile.has_airootfs = folder.join("airootfs").is_dir();
        let missing =
            LOADERS.iter().filter(|(loader, needs)| profile.boots_by(loader) && !folder.join(needs).is_dir());
        profile.missing = missing.map(|(_, needs)| (*needs).to_owned()).collect();
        Ok(profile)
    }

    /// Whether one of its boot modes is by this boot loader.
    pub fn boots_by(&self, loader: &str) -> bool {
        let modes = self.lists.get("bootmodes").map(Vec::as_slice).unwrap_or_default();
        modes.iter().any(|mode| mode.split('.').any(|part| part == loader))
    }

    /// What of it mkarchiso would stumble over.
    pub fn mistakes(&self) -> Vec<Mistake> {
        let mut all = Vec::new();
        let lists = |name: &str| self.lists.get(name).map(Vec::as_slice).unwrap_or_default();
        if self.lists.contains_key("buildmodes") && !lists("buildmodes").iter().any(|m| m == "iso") {
            all.push(Mistake::fatal("buildmodes in profiledef.sh has no `iso`; add it"));
        }
        if lists("bootmodes").is_empty() && !self.lists.contains_key("bootmodes") {
            all.push(Mistake::doubtful("profiledef.sh sets no bootmodes; the image may boot nowhere"));
        }
        for folder in &self.missing {
            all.push(Mistake::fatal(format!(
                "a boot mode in profiledef.sh needs the folder {folder}/, and the profile has none; copy it from \
                 /usr/share/archiso/configs/releng"
            )));
        }
        if self.packages.is_empty() {
            all.push(Mistake::fatal(
                "the list of packages is empty; name at least base, linux, mkinitcpio and mkinitcpio-archiso",
            ));
        }
        let has = |package: &str| self.packages.iter().any(|p| p == package);
        let bios = lists("bootmodes").iter().any(|m| m.starts_with("bios.syslinux"));
        if bios && !has("syslinux") {
            all.push(Mistake::fatal(
                "the boot mode bios.syslinux needs the package syslinux; add it to the list of packages",
            ));
        }
        if let Some(label) = self.words.get("iso_label")
            && (label.len() > 32 || label.contains(|c: char| !(c.is_ascii_alphanumeric() || c == '_')))
        {
            all.push(Mistake::doubtful(format!(
                "iso_label `{label}` is no volume name of ISO 9660: letters, digits and `_`, 32 at most"
            )));
        }
        if !self.has_airootfs {
            all.push(Mistake::doubtful("the profile has no airootfs/; one is made for the project"));
        }
        all
    }
}

/// One package for each line; `#` begins a comment.
pub(super) fn packages(text: &str) -> Vec<String> {
    let mut all: Vec<String> = text
        .lines()
        .map(|l| l.split('#').next().unwrap_or_default().trim())
        .filter(|l| !l.is_empty())
        .map(str::to_owned)
        .collect();
    all.sort();
    all.dedup();
    all
}

/// The assignments of a `profiledef.sh`.
pub(super) fn parse(text: &str) -> Profile {
    let mut profile = Profile { pacman_conf: "pacman.conf".to_owned(), ..Profile::default() };
    for (name, value) in assignments(text) {
        match value {
            Value::Word(word) => {
                if name == "pacman_conf" {
                    profile.pacman_conf.clone_from(&word);
                }
                profile.words.insert(name, word);
            }
            Value::List(list) => {
                profile.lists.insert(name, list);
            }
        }
    }
    profile
}

/// What is assigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// One word.
    Word(String),
    /// An array. Of an associative one, keys and values follow each other as `[key]=value`.
    List(Vec<String>),
}

/// Plain assignments of a bash script, in order; `+=` to an array adds to it. Words that bash would have to
/// work out (`$(…)`, `${…}`) are left out.
pub(super) fn assignments(text: &str) -> Vec<(String, Value)> {
    let mut all: Vec<(String, Value)> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let line = rest.trim_start_matches([' ', '\t', ';', '\n']);
        let end = line.find('\n').unwrap_or(line.len());
        let name_len = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(line.len());
        let (name, after) = line.split_at(name_len);
        let (after, adds) = match after.strip_prefix("+=") {
            Some(after) => (Some(after), true),
            None => (after.strip_prefix('='), false),
        };
        let named = !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit());
        let Some(after) = after.filter(|_| named) else {
            rest = line.get(end + 1..).unwrap_or_default();
            continue;
        };
        let (words, left) =
            if let Some(inner) = after.strip_prefix('(') { words(inner, true) } else { words(after, false) };
        rest = left;
        if after.starts_with('(') {
            let list: Vec<String> = words.into_iter().flatten().collect();
            match all.iter_mut().find(|(n, _)| n == name).filter(|_| adds) {
                Some((_, Value::List(known))) => known.extend(list),
                _ => all.push((name.to_owned(), Value::List(list))),
            }
        } else if let Some(Some(word)) = words.into_iter().next() {
            all.push((name.to_owned(), Value::Word(word)));
        }
    }
    all
}

/// Words of bash up to the end of the assignment: the closing bracket of an array, else the first blank.
/// `None` for a word that would have to be worked out. Returns what follows.
fn words(text: &str, array: bool) -> (Vec<Option<String>>, &str) {
    let mut all = Vec::new();
    let mut word = String::new();
    let (mut begun, mut plain) = (false, true);
    let mut chars = text.char_indices();
    let mut quote = None;
    let mut end = |word: &mut String, begun: &mut bool, plain: &mut bool| {
        if *begun {
            all.push(plain.then(|| word.clone()));
        }
        word.clear();
        (*begun, *plain) = (false, true);
    };
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (Some('\''), c) => word.push(c),
            (None, '\'' | '"') => (quote, begun) = (Some(c), true),
            (_, '\\') => {
                begun = true;
                if let Some((_, next)) = chars.next()
                    && next != '\n'
                {
                    word.push(next);
                }
            }
            (_, '$' | '`') => (begun, plain) = (true, false),
            (Some(_), c) => word.push(c),
            (None, ')') if array => {
                end(&mut word, &mut begun, &mut plain);
                return (all, &text[at + 1..]);
            }
            (None, '#') if !begun => {
                // A comment to the end of the line.
                for (_, c) in chars.by_ref() {
                    if c == '\n' {
                        break;
                    }
                }
                if !array {
                    break;
                }
            }
            (None, ' ' | '\t' | '\n' | ';') => {
                end(&mut word, &mut begun, &mut plain);
                if !array {
                    return (all, &text[at..]);
                }
            }
            (None, c) => {
                begun = true;
                word.push(c);
            }
        }
    }
    end(&mut word, &mut begun, &mut plain);
    (all, chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_name_of_a_boot_mode_asks_for_its_loaders_folder() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("packages.x86_64"), "base\n").unwrap();
        for (mode, folder) in [
            ("uefi.grub", "grub"),
            ("uefi-x64.grub.esp", "grub"),
            ("uefi-ia32.grub.eltorito", "grub"),
            ("uefi.systemd-boot", "efiboot"),
            ("uefi-x64.systemd-boot.esp", "efiboot"),
            ("bios.syslinux.mbr", "syslinux"),
        ] {
            let text = format!("bootmodes=('{mode}')\n");
            std::fs::write(dir.path().join("profiledef.sh"), text).unwrap();
            assert_eq!(Profile::read(dir.path()).unwrap().missing, [folder], "{mode}");
            std::fs::create_dir(dir.path().join(folder)).unwrap();
            assert_eq!(Profile::read(dir.path()).unwrap().missing, [""; 0], "{mode}");
            std::fs::remove_dir(dir.path().join(folder)).unwrap();
        }
    }

    #[test]
    fn a_profile_is_read_without_running_it() {
        let profile = parse(
            r#"#!/usr/bin/env bash
# shellcheck disable=SC2034
iso_name="my linux"   # a comment
iso_label="MY_$(date --date="@${SOURCE_DATE_EPOCH:-$(date +%s)}" +%Y%m)"
iso_publisher='It'\''s me'
install_dir=arch
buildmodes=('iso')
bootmodes=('bios.syslinux'
           # the next one is for UEFI
           'uefi.systemd-boot')
arch="x86_64"
pacman_conf="pacman-build.conf"
airootfs_image_tool_options=('-comp' 'zstd' '-Xcompression-level' '15' '-b' '1M')
file_permissions=(
  ["/etc/shadow"]="0:0:400"
  ["/root/.automated_script.sh"]="0:0:755"
)
bootmodes+=(extra)
"#,
        );
        assert_eq!(profile.words["iso_name"], "my linux");
        assert_eq!(profile.words["iso_publisher"], "It's me");
        assert!(!profile.words.contains_key("iso_label"), "{profile:?}");
        assert_eq!(profile.words["arch"], "x86_64");
        assert_eq!(profile.pacman_conf, "pacman-build.conf");
        assert_eq!(profile.lists["bootmodes"], ["bios.syslinux", "uefi.systemd-boot", "extra"]);
        assert_eq!(profile.lists["file_permissions"][0], "[/etc/shadow]=0:0:400");
        assert_eq!(profile.lists["airootfs_image_tool_options"].len(), 6);
    }

    #[test]
    fn packages_are_read_without_comments() {
        assert_eq!(packages("linux\n# no\n\nbase # yes\n  linux \n"), ["base", "linux"]);
    }

    proptest! {
        #[test]
        fn no_script_makes_it_panic(text in ".*", shape in "[a-z=()\"'$#\\\\\n +]{0,80}") {
            parse(&text);
            parse(&shape);
        }
    }
}
