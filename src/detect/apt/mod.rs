// SPDX-License-Identifier: GPL-3.0-or-later
//! APT's sources (sources.list(5)), in the one-line and the deb822 format, read so that all that is not
//! changed comes back byte for byte.
//!
//! ```text
//!   text ─► SourcesFile { parts } ─► repositories()      what APT would use
//!                       │
//!                       ├─► disable(n), enable(n), …       pure edits of one entry
//!                       └─► to_string()                    the same bytes, but for the edits
//! ```

mod deb822;
mod one_line;
mod read;

pub use deb822::Deb822;
pub use one_line::OneLine;
pub use read::AptFile;
pub(super) use read::read;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which of APT's two formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourcesFormat {
    /// `deb [options] uri suite components` (`*.list`).
    OneLine,
    /// `Types:`, `URIs:` … in stanzas (`*.sources`).
    Deb822,
}

impl SourcesFormat {
    /// The format that APT takes a file of this name for; `None` for a name that APT does not read.
    pub fn of_name(name: &str) -> Option<Self> {
        match name.rsplit_once('.') {
            Some((stem, "list")) if !stem.is_empty() => Some(Self::OneLine),
            Some((stem, "sources")) if !stem.is_empty() => Some(Self::Deb822),
            _ => None,
        }
    }
}

/// What a Proxmox repository is for, by its address and component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProxmoxRepository {
    /// For those with a subscription key; without one APT is refused (401).
    Enterprise,
    /// For everybody.
    NoSubscription,
    /// For tests.
    Test,
    /// Ceph for those with a subscription key.
    CephEnterprise,
    /// Ceph for everybody.
    Ceph,
}

/// One entry: where packages come from. An entry of the deb822 format may stand for several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Repository {
    /// Its place among the entries of the file, disabled ones counted, from 0.
    pub index: usize,
    /// The line it begins in, from 1.
    pub line: usize,
    /// Whether APT uses it. In the one-line format a commented entry is a disabled one.
    pub enabled: bool,
    /// `deb`, `deb-src`.
    pub types: Vec<String>,
    /// Addresses.
    pub uris: Vec<String>,
    /// Suites ("bookworm"); one that ends in a slash is a path.
    pub suites: Vec<String>,
    /// Components ("main", "pve-no-subscription").
    pub components: Vec<String>,
    /// The key that must have signed it: a path, or "embedded" for a key in the file itself.
    pub signed_by: Option<String>,
}

impl Repository {
    /// Which of Proxmox's repositories this is, if any.
    pub fn proxmox(&self) -> Option<ProxmoxRepository> {
        use ProxmoxRepository::{Ceph, CephEnterprise, Enterprise, NoSubscription, Test};
        let host = |uri: &str| {
            let rest = uri.split_once("://").map_or("", |(_, rest)| rest);
            rest.split(['/', ':']).next().unwrap_or("").to_ascii_lowercase()
        };
        let ours = self.uris.iter().any(|uri| host(uri).ends_with("proxmox.com"));
        if !ours {
            return None;
        }
        let ceph = self.uris.iter().any(|uri| uri.contains("/ceph"));
        let has = |names: &[&str]| self.components.iter().any(|c| names.contains(&c.as_str()));
        let enterprise =
            self.uris.iter().any(|uri| host(uri) == "enterprise.proxmox.com") || has(&["enterprise"]);
        Some(match (ceph, enterprise) {
            (true, true) => CephEnterprise,
            (true, false) => Ceph,
            (false, true) => Enterprise,
            (false, false) if has(&["pve-no-subscription"]) => NoSubscription,
            (false, false) if has(&["pvetest", "pve-test"]) => Test,
            _ => return None,
        })
    }
}

/// A file of APT's sources in either format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourcesFile {
    /// The one-line format.
    OneLine(OneLine),
    /// The deb822 format.
    Deb822(Deb822),
}

impl SourcesFile {
    /// Reads a file. Nothing is ever refused: what is not understood is kept and told by
    /// [`problems`](Self::problems).
    pub fn parse(format: SourcesFormat, text: &str) -> Self {
        match format {
            SourcesFormat::OneLine => Self::OneLine(OneLine::parse(text)),
            SourcesFormat::Deb822 => Self::Deb822(Deb822::parse(text)),
        }
    }

    /// Its entries.
    pub fn repositories(&self) -> Vec<Repository> {
        match self {
            Self::OneLine(file) => file.repositories(),
            Self::Deb822(file) => file.repositories(),
        }
    }

    /// Lines that APT would refuse or that mean nothing: number from 1, and what is wrong.
    pub fn problems(&self) -> Vec<(usize, String)> {
        match self {
            Self::OneLine(file) => file.problems(),
            Self::Deb822(file) => file.problems(),
        }
    }

    /// Switches an entry on or off: by a comment in the one-line format, by `Enabled:` in the other.
    /// Nothing else changes; nothing at all when it is so already. Returns whether there is such an entry.
    pub fn set_enabled(&mut self, index: usize, enabled: bool) -> bool {
        match self {
            Self::OneLine(file) => file.set_enabled(index, enabled),
            Self::Deb822(file) => file.set_enabled(index, enabled),
        }
    }
}

impl std::fmt::Display for SourcesFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OneLine(file) => file.fmt(f),
            Self::Deb822(file) => file.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIST: &str = "# PVE\ndeb http://ftp.debian.org/debian bookworm main contrib\n\n\
        deb  [arch=amd64 signed-by=/usr/share/keyrings/x.gpg]   http://download.proxmox.com/debian/pve bookworm pve-no-subscription # for everybody\n\
        #deb https://enterprise.proxmox.com/debian/pve bookworm pve-enterprise\n\
        # debian is a word, not a repository\n";

    const SOURCES: &str = "# made by the installer\nTypes: deb deb-src\nURIs: http://deb.debian.org/debian/\n\
        Suites: trixie\n trixie-updates\nComponents: main contrib\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n\
        Types: deb\nURIs: https://enterprise.proxmox.com/debian/pve\nSuites: trixie\nComponents: pve-enterprise\n\
        # kept for later\nenabled: no\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n -----END PGP PUBLIC KEY BLOCK-----";

    #[test]
    fn entries_of_the_one_line_format_are_read_with_their_options() {
        let found = SourcesFile::parse(SourcesFormat::OneLine, LIST).repositories();
        let short: Vec<_> =
            found.iter().map(|r| (r.line, r.enabled, r.proxmox(), r.signed_by.as_deref())).collect();
        assert_eq!(
            short,
            [
                (2, true, None, None),
                (4, true, Some(ProxmoxRepository::NoSubscription), Some("/usr/share/keyrings/x.gpg")),
                (5, false, Some(ProxmoxRepository::Enterprise), None),
            ]
        );
        assert_eq!(found[0].components, ["main", "contrib"]);
        assert_eq!(found[1].components, ["pve-no-subscription"]);
    }

    #[test]
    fn stanzas_are_read_with_their_continuations() {
        let found = SourcesFile::parse(SourcesFormat::Deb822, SOURCES).repositories();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].suites, ["trixie", "trixie-updates"]);
        assert_eq!(found[0].types, ["deb", "deb-src"]);
        assert!(found[0].enabled && !found[1].enabled);
        assert_eq!(found[1].proxmox(), Some(ProxmoxRepository::Enterprise));
        assert_eq!(found[1].signed_by.as_deref(), Some("embedded"));
    }

    #[test]
    fn switching_an_entry_off_and_on_changes_that_entry_only() {
        for (format, text, index) in [(SourcesFormat::OneLine, LIST, 1), (SourcesFormat::Deb822, SOURCES, 0)]
        {
            let mut file = SourcesFile::parse(format, text);
            assert!(file.set_enabled(index, false));
            let off = file.to_string();
            assert_ne!(off, text);
            let changed = similar::TextDiff::from_lines(text, &off);
            let lines = changed.iter_all_changes().filter(|c| c.tag() != similar::ChangeTag::Equal).count();
            assert!(lines <= 2, "{off}");
            assert!(!SourcesFile::parse(format, &off).repositories()[index].enabled);
            assert!(file.set_enabled(index, true));
            assert!(SourcesFile::parse(format, &file.to_string()).repositories()[index].enabled);
            assert!(!file.set_enabled(99, false));
        }
    }

    #[test]
    fn an_entry_that_is_off_already_is_left_as_it_is() {
        for (format, text, index) in [(SourcesFormat::OneLine, LIST, 2), (SourcesFormat::Deb822, SOURCES, 1)]
        {
            let mut file = SourcesFile::parse(format, text);
            assert!(file.set_enabled(index, false));
            assert_eq!(file.to_string(), text);
        }
    }

    #[test]
    fn what_apt_would_refuse_is_told_with_its_line() {
        let one_line = SourcesFile::parse(
            SourcesFormat::OneLine,
            "deb http://x y main\ndep http://x y main\ndeb [arch=amd64 http://x y\n",
        );
        let lines: Vec<usize> = one_line.problems().iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [2, 3]);
        let deb822 = SourcesFile::parse(SourcesFormat::Deb822, "Types: deb\nSuites: x\n\nnot a field\n");
        let lines: Vec<usize> = deb822.problems().iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [1, 4]);
    }

    #[test]
    fn apt_reads_only_files_with_its_endings() {
        assert_eq!(SourcesFormat::of_name("pve-enterprise.list"), Some(SourcesFormat::OneLine));
        assert_eq!(SourcesFormat::of_name("proxmox.sources"), Some(SourcesFormat::Deb822));
        assert_eq!(SourcesFormat::of_name("pve-enterprise.list.bak"), None);
        assert_eq!(SourcesFormat::of_name(".list"), None);
    }

    proptest! {
        #[test]
        fn what_is_not_changed_comes_back_byte_for_byte(
            text in "(?s)(#|deb |\\[a=b\\] |http://x/ |Types: deb\n|URIs: x\n|Enabled: no\n| more\n|\n|\r|\t|é|.){0,40}"
        ) {
            for format in [SourcesFormat::OneLine, SourcesFormat::Deb822] {
                let mut file = SourcesFile::parse(format, &text);
                prop_assert_eq!(file.to_string(), text.clone());
                file.problems();
                // Every entry can be switched off, and is off then.
                for repository in file.repositories() {
                    prop_assert!(file.set_enabled(repository.index, false));
                }
                let again = SourcesFile::parse(format, &file.to_string());
                prop_assert!(again.repositories().iter().all(|r| !r.enabled), "{}", file);
            }
        }
    }
}
