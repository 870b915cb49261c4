// SPDX-License-Identifier: GPL-3.0-or-later
//! What differs between families of distributions: `data/distributions.toml`, built in.

use super::os::{Family, Os};
use super::signing::KeyOwner;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::OnceLock;

const TABLE: &str = include_str!("../../data/distributions.toml");

/// A rule for the name of the package with a kernel's headers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadersRule {
    suffix: Option<String>,
    contains: Option<String>,
    os_below: Option<u32>,
    needs: Option<String>,
    package: String,
    install_as: Option<String>,
}

/// One family of distributions.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distribution {
    /// The command that installs packages, before their names; empty when no package can be installed.
    pub install: Vec<String>,
    /// Where modules from outside the kernel belong, below `/lib/modules/RELEASE`.
    pub module_dir: String,
    /// Key pairs to look for, the distribution's own first.
    pub keys: Vec<KeyOwner>,
    headers: Vec<HeadersRule>,
    advice: Option<String>,
    packages: BTreeMap<String, String>,
}

/// Where a key pair lies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyPaths {
    /// The private key.
    pub private: Option<String>,
    /// The certificate.
    pub certificate: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    families: BTreeMap<Family, Distribution>,
    keys: BTreeMap<KeyOwner, KeyPaths>,
}

fn table() -> &'static Table {
    static PARSED: OnceLock<Table> = OnceLock::new();
    // The table is built in and a test parses it; an empty one would only lose package names.
    PARSED.get_or_init(|| toml::from_str(TABLE).unwrap_or_default())
}

/// The package with a kernel's headers, and what to do to get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadersPackage {
    /// Its name, when known.
    pub package: Option<String>,
    /// A command as one could paste it, or words where no command does it.
    pub command: String,
}

/// What is known of a kernel besides its release, to name its packages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelNames {
    /// `/lib/modules/RELEASE/pkgbase`.
    pub pkgbase: Option<String>,
    /// Version and release of the package that owns the kernel.
    pub edition: Option<String>,
}

impl Distribution {
    /// The handling of a family.
    pub fn of(family: Family) -> Self {
        let families = &table().families;
        families.get(&family).or_else(|| families.get(&Family::Unknown)).cloned().unwrap_or(Self {
            install: Vec::new(),
            module_dir: "updates".to_owned(),
            keys: Vec::new(),
            headers: Vec::new(),
            advice: None,
            packages: BTreeMap::new(),
        })
    }

    /// Where this kind of key pair lies by default.
    pub fn key_paths(owner: KeyOwner) -> KeyPaths {
        table().keys.get(&owner).cloned().unwrap_or_default()
    }

    /// The package that has a tool, when known.
    pub fn package_of(&self, tool: &str) -> Option<&str> {
        self.packages.get(tool).map(String::as_str)
    }

    /// The command that installs `package`, as one could paste it (as root).
    pub fn install_command(&self, package: &str) -> Option<String> {
        if self.install.is_empty() {
            return None;
        }
        let words = self.install.iter().map(String::as_str).chain([package]);
        Some(words.collect::<Vec<_>>().join(" "))
    }

    /// The package with the headers of the kernel `release` on this distribution.
    pub fn headers_package(&self, os: &Os, release: &str, names: &KernelNames) -> HeadersPackage {
        let major = os.version_id.as_deref().and_then(leading_number);
        let major = os.proxmox.as_deref().and_then(leading_number).or(major);
        let fill = |template: &str| {
            let version = release.split('-').next().unwrap_or(release);
            let build = release.split_once('-').map_or("", |(_, b)| b);
            template
                .replace("{release}", release)
                .replace("{version}", version)
                .replace("{build}", build.strip_suffix("+debug").unwrap_or(build))
                .replace("{flavor}", release.rsplit('-').next().unwrap_or("default"))
                .replace("{pkgbase}", names.pkgbase.as_deref().unwrap_or_default())
                .replace("{edition}", names.edition.as_deref().unwrap_or_default())
        };
        let rule = self.headers.iter().find(|rule| {
            rule.suffix.as_ref().is_none_or(|s| release.ends_with(s.as_str()))
                && rule.contains.as_ref().is_none_or(|s| release.contains(s.as_str()))
                && rule.os_below.is_none_or(|below| major.is_some_and(|m| m < below))
                && match rule.needs.as_deref() {
                    None => true,
                    Some("pkgbase") => names.pkgbase.is_some(),
                    Some("edition") => names.edition.is_some(),
                    Some(_) => false,
                }
        });
        let found = rule.and_then(|rule| {
            let command = self.install_command(&fill(rule.install_as.as_ref().unwrap_or(&rule.package)))?;
            Some(HeadersPackage { package: Some(fill(&rule.package)), command })
        });
        found.unwrap_or_else(|| {
            let general = "install the headers of the kernel {release} from your distribution";
            HeadersPackage { package: None, command: fill(self.advice.as_deref().unwrap_or(general)) }
        })
    }
}

fn leading_number(text: &str) -> Option<u32> {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(family: Family, version: &str, proxmox: Option<&str>) -> Os {
        Os {
            id: "x".into(),
            id_like: vec![],
            name: "X".into(),
            version_id: Some(version.into()),
            codename: None,
            family,
            immutable: None,
            architecture: None,
            proxmox: proxmox.map(Into::into),
        }
    }

    #[test]
    fn the_built_in_table_has_every_family_and_key() {
        let table: Table = toml::from_str(TABLE).unwrap();
        for family in Family::ALL {
            assert!(table.families.contains_key(&family), "{family:?}");
        }
        for distribution in table.families.values() {
            for key in &distribution.keys {
                assert!(table.keys.contains_key(key), "{key:?}");
            }
        }
    }

    #[test]
    fn the_exact_header_package_is_named_for_each_distribution() {
        let plain = KernelNames::default();
        let arch = KernelNames { pkgbase: Some("linux-zen".into()), edition: None };
        let suse = KernelNames { pkgbase: None, edition: Some("6.11.8-1.1".into()) };
        let cases = [
            (
                Family::Debian,
                "12",
                None,
                "6.1.0-25-amd64",
                &plain,
                Some("linux-headers-6.1.0-25-amd64"),
                "apt-get install linux-headers-6.1.0-25-amd64",
            ),
            (
                Family::Ubuntu,
                "24.04",
                None,
                "6.8.0-45-generic",
                &plain,
                Some("linux-headers-6.8.0-45-generic"),
                "apt-get install linux-headers-6.8.0-45-generic",
            ),
            (
                Family::Proxmox,
                "12",
                Some("8.2.4"),
                "6.8.12-1-pve",
                &plain,
                Some("proxmox-headers-6.8.12-1-pve"),
                "apt-get install proxmox-headers-6.8.12-1-pve",
            ),
            (
                Family::Proxmox,
                "11",
                Some("7.4-17"),
                "5.15.158-2-pve",
                &plain,
                Some("pve-headers-5.15.158-2-pve"),
                "apt-get install pve-headers-5.15.158-2-pve",
            ),
            (
                Family::Proxmox,
                "12",
                Some("8.2.4"),
                "6.1.0-25-amd64",
                &plain,
                Some("linux-headers-6.1.0-25-amd64"),
                "apt-get install linux-headers-6.1.0-25-amd64",
            ),
            (
                Family::Fedora,
                "40",
                None,
                "6.10.12-200.fc40.x86_64",
                &plain,
                Some("kernel-devel-6.10.12-200.fc40.x86_64"),
                "dnf install kernel-devel-6.10.12-200.fc40.x86_64",
            ),
            (
                Family::Fedora,
                "40",
                None,
                "6.10.12-200.fc40.x86_64+debug",
                &plain,
                Some("kernel-debug-devel-6.10.12-200.fc40.x86_64"),
                "dnf install kernel-debug-devel-6.10.12-200.fc40.x86_64",
            ),
            (
                Family::Rhel,
                "9.4",
                None,
                "5.15.0-209.161.7.2.el9uek.x86_64",
                &plain,
                Some("kernel-uek-devel-5.15.0-209.161.7.2.el9uek.x86_64"),
                "dnf install kernel-uek-devel-5.15.0-209.161.7.2.el9uek.x86_64",
            ),
            (
                Family::Suse,
                "20241101",
                None,
                "6.11.8-1-default",
                &suse,
                Some("kernel-default-devel"),
                "zypper install kernel-default-devel=6.11.8-1.1",
            ),
            (
                Family::Suse,
                "20241101",
                None,
                "6.11.8-1-default",
                &plain,
                Some("kernel-default-devel"),
                "zypper install kernel-default-devel=6.11.8",
            ),
            (
                Family::Arch,
                "",
                None,
                "6.11.5-zen1-1-zen",
                &arch,
                Some("linux-zen-headers"),
                "pacman -S --needed linux-zen-headers",
            ),
        ];
        for (family, version, proxmox, release, names, package, command) in cases {
            let found =
                Distribution::of(family).headers_package(&os(family, version, proxmox), release, names);
            assert_eq!(found.package.as_deref(), package, "{family:?} {release}");
            assert_eq!(found.command, command, "{family:?} {release}");
        }
        let gentoo = Distribution::of(Family::Gentoo).headers_package(
            &os(Family::Gentoo, "", None),
            "6.6.52-gentoo",
            &plain,
        );
        assert_eq!(gentoo.package, None);
        assert!(gentoo.command.contains("6.6.52-gentoo"), "{}", gentoo.command);
    }
}
