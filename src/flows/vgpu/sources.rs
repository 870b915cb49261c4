// SPDX-License-Identifier: GPL-3.0-or-later
//! APT's sources as they should be on a Proxmox host without a subscription. Pure.

use super::rules::{ProxmoxRelease, SourcesHabit};
use super::setup::{SetupFacts, TextFile};
use crate::detect::apt::{ProxmoxRepository, Repository, SourcesFile, SourcesFormat};
use crate::engine::plan::Refusal;
use crate::engine::steps::WriteFile;

/// The file that gets the repository when no file has it.
pub(super) const OWN: &str = "/etc/apt/sources.list.d/hostwright-pve-no-subscription";

/// Whether two entries name the same packages, so that APT would warn of them ("configured multiple times").
fn same(a: &Repository, b: &Repository) -> bool {
    let plain = |r: &Repository| {
        let mut uris: Vec<String> =
            r.uris.iter().map(|u| u.trim_end_matches('/').to_ascii_lowercase()).collect();
        uris.sort();
        let sorted = |words: &[String]| {
            let mut words = words.to_vec();
            words.sort();
            words
        };
        (uris, sorted(&r.suites), sorted(&r.components), sorted(&r.types))
    };
    plain(a) == plain(b)
}

fn write(path: &str, content: String, mode: u32, reason: &str) -> WriteFile {
    WriteFile { path: path.to_owned(), content, mode, reason: reason.to_owned() }
}

/// What is changed: the enterprise repositories are switched off (unless there is a subscription), doubles are
/// switched off, and the no-subscription repository is switched on or added. Each file keeps every other byte.
///
/// # Errors
/// When APT's sources could not be read, or the key that signs Proxmox's packages is not here.
pub(super) fn edits(facts: &SetupFacts, release: &ProxmoxRelease) -> Result<Vec<WriteFile>, Refusal> {
    let texts = facts.sources.seen().ok_or_else(|| {
        Refusal::new(
            "sources-unseen",
            "APT's sources could not be read.",
            "Look as root at /etc/apt/sources.list and /etc/apt/sources.list.d.",
        )
    })?;
    let mut files: Vec<(&TextFile, SourcesFile)> = texts
        .iter()
        .filter_map(|t| {
            let name = t.path.rsplit('/').next().unwrap_or("");
            Some((t, SourcesFile::parse(SourcesFormat::of_name(name)?, &t.text)))
        })
        .collect();
    let mut seen: Vec<Repository> = Vec::new();
    let (mut active, mut asleep) = (false, None);
    for (at, (_, file)) in files.iter_mut().enumerate() {
        for repository in file.repositories() {
            let kind = repository.proxmox();
            let enterprise =
                matches!(kind, Some(ProxmoxRepository::Enterprise | ProxmoxRepository::CephEnterprise));
            if repository.enabled && enterprise && !facts.subscription {
                file.set_enabled(repository.index, false);
                continue;
            }
            if kind == Some(ProxmoxRepository::NoSubscription)
                && repository.suites.contains(&release.codename)
            {
                if repository.enabled {
                    active = true;
                } else if asleep.is_none() {
                    asleep = Some((at, repository.index));
                }
            }
            if !repository.enabled {
                continue;
            }
            if seen.iter().any(|other| same(other, &repository)) {
                file.set_enabled(repository.index, false);
            } else {
                seen.push(repository);
            }
        }
    }
    let needed = !active && !facts.subscription;
    if needed && let Some((at, index)) = asleep {
        files[at].1.set_enabled(index, true);
    }
    let reason = "packages of Proxmox come from a repository that this host may use";
    let mut edits: Vec<WriteFile> = files
        .iter()
        .filter_map(|(text, file)| {
            let new = file.to_string();
            (new != text.text).then(|| write(&text.path, new, text.mode, reason))
        })
        .collect();
    if needed && asleep.is_none() {
        edits.push(added(facts, release)?);
    }
    Ok(edits)
}

fn added(facts: &SetupFacts, release: &ProxmoxRelease) -> Result<WriteFile, Refusal> {
    let Some(key) = facts.keyrings.first() else {
        return Err(Refusal::new(
            "no-proxmox-key",
            format!(
                "The key that signs Proxmox's packages is not here ({}), and nothing unsigned is installed.",
                keyrings(&release.codename).join(", ")
            ),
            "Install the package proxmox-archive-keyring, or put that file back.",
        ));
    };
    let (codename, uri) = (&release.codename, "http://download.proxmox.com/debian/pve");
    let head = "# Written by Hostwright: Proxmox VE for hosts without a subscription.\n";
    let reason = "packages of Proxmox come from a repository that this host may use";
    Ok(match release.sources {
        SourcesHabit::OneLine => write(
            &format!("{OWN}.list"),
            format!("{head}deb [signed-by={key}] {uri} {codename} pve-no-subscription\n"),
            0o644,
            reason,
        ),
        SourcesHabit::Deb822 => write(
            &format!("{OWN}.sources"),
            format!(
                "{head}Types: deb\nURIs: {uri}\nSuites: {codename}\nComponents: pve-no-subscription\nSigned-By: {key}\n"
            ),
            0o644,
            reason,
        ),
    })
}

/// Where the key is, newest place first.
pub(super) fn keyrings(codename: &str) -> [String; 3] {
    [
        "/usr/share/keyrings/proxmox-archive-keyring.gpg".to_owned(),
        format!("/usr/share/keyrings/proxmox-release-{codename}.gpg"),
        format!("/etc/apt/trusted.gpg.d/proxmox-release-{codename}.gpg"),
    ]
}
