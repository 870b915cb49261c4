// SPDX-License-Identifier: GPL-3.0-or-later
//! Debian's archives: which are used, and what they have. Apt works on lists of the lab's own; those of
//! the machine are neither needed nor touched.

use super::super::LabError;
use super::super::folders;
use super::super::job::Job;
use crate::host::{Command, Host};
use std::path::Path;

/// The keys of Debian's archives.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where packages come from: lines of sources.list(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sources {
    lines: Vec<String>,
}

impl Sources {
    /// The archive of a release and that of its security updates, at `mirror`, or where this machine's own apt
    /// has them, or at Debian's own address.
    pub fn of(host: &Host, suite: &str, mirror: Option<&str>) -> Self {
        let (main, security) = match mirror {
            Some(mirror) => (Some(mirror.to_owned()), None),
            None => of_machine(host),
        };
        Self::at(suite, main.as_deref(), security.as_deref(), mirror.is_some())
    }

    /// The same for known addresses. Pure. On a mirror that carries both, the security archive stands
    /// beside the main one.
    fn at(suite: &str, main: Option<&str>, security: Option<&str>, given: bool) -> Self {
        let main = main.unwrap_or("http://deb.debian.org/debian").trim_end_matches('/');
        let security = security.map(|s| s.trim_end_matches('/').to_owned());
        let security = security.unwrap_or_else(|| format!("{main}-security"));
        let line = |at: &str, suite: &str| format!("deb [signed-by={KEYRING}] {at} {suite} main");
        let mut lines = vec![line(main, suite)];
        // A folder of the person's own need not have it, and the unstable releases have none.
        let rolling = ["sid", "unstable", "experimental"].contains(&suite);
        let folder = given && main.starts_with("file:");
        if !rolling && !folder {
            lines.push(line(&security, &format!("{suite}-security")));
        }
        Self { lines }
    }

    /// Lines of sources.list(5).
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

/// The addresses that this machine's apt has for Debian's archive and for its security updates.
fn of_machine(host: &Host) -> (Option<String>, Option<String>) {
    let command = Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(LABEL) $(REPO_URI)",
        "Created-By: Packages",
        "Origin: Debian",
    ]);
    let said = host.runner().run_ok(&command).map(|o| o.stdout).unwrap_or_default();
    (labelled(&said, "Debian"), labelled(&said, "Debian-Security"))
}

/// The first address on the network with this label, in lines of a label and an address.
fn labelled(lines: &str, label: &str) -> Option<String> {
    lines.lines().find_map(|line| {
        let (of, address) = line.trim().split_once(' ')?;
        (of == label && address.starts_with("http")).then(|| address.to_owned())
    })
}

/// How this machine's apt reaches an archive: proxies, and whether old lists are taken.
pub(super) fn transport(host: &Host) -> Vec<String> {
    let Ok(output) = host.runner().run_ok(&Command::new("apt-config").arg("dump")) else { return Vec::new() };
    output.stdout.lines().filter(|l| is_transport(l)).map(str::to_owned).collect()
}

fn is_transport(line: &str) -> bool {
    let key = line.split(' ').next().unwrap_or_default().to_ascii_lowercase();
    [
        "acquire::http::proxy",
        "acquire::https::proxy",
        "acquire::check-valid-until",
        "acquire::check-date",
        "acquire::retries",
    ]
    .contains(&key.as_str())
}

/// What apt would install.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Amount {
    /// Bytes from the archive.
    pub download: u64,
    /// Bytes on the disk.
    pub installed: u64,
}

/// Whether the archives have all packages and what they need, and how much that is.
pub(super) fn look(
    job: &mut Job<'_>,
    sources: &Sources,
    suite: &str,
    packages: &[String],
) -> Result<Amount, LabError> {
    let lists = job.folders.lists().join(suite);
    for folder in ["state/lists/partial", "cache/archives/partial"] {
        folders::make(&lists.join(folder))?;
    }
    for (name, text) in [("sources.list", sources.lines.join("\n") + "\n"), ("status", String::new())] {
        let path = lists.join(name);
        std::fs::write(&path, text).map_err(LabError::io(&path, "could not write"))?;
    }
    job.run(&apt(&lists).arg("update")).map_err(|error| match error {
        LabError::Command(error) => LabError::refused(
            "no-archive",
            format!("the archives of {suite} could not be read: {error}"),
            "look at the name of the release, the address of --mirror, and the network",
        ),
        other => other,
    })?;
    let wanted = apt(&lists)
        .args(["install", "--assume-no", "--no-install-recommends", "apt", "?essential"])
        .args(packages.iter().map(String::as_str));
    let output = job.run_any(&wanted)?;
    judge(suite, &output.stdout, &output.stderr)
}

/// Apt with folders of its own, and nothing of the machine's.
fn apt(lists: &Path) -> Command {
    let at = |name: &str| lists.join(name).display().to_string();
    let options = [
        format!("Dir::State={}", at("state")),
        format!("Dir::State::status={}", at("status")),
        format!("Dir::Cache={}", at("cache")),
        format!("Dir::Etc::SourceList={}", at("sources.list")),
        "Dir::Etc::SourceParts=/dev/null".to_owned(),
        "Dir::Etc::Preferences=/dev/null".to_owned(),
        "Dir::Etc::PreferencesParts=/dev/null".to_owned(),
        "APT::Architecture=amd64".to_owned(),
        "APT::Architectures=amd64".to_owned(),
        "APT::Sandbox::User=".to_owned(),
        "APT::Update::Error-Mode=any".to_owned(),
        "Acquire::Languages=none".to_owned(),
        "Debug::NoLocking=true".to_owned(),
    ];
    Command::new("apt-get").args(options.into_iter().flat_map(|o| ["-o".to_owned(), o]))
}

/// What apt said to the question of what it would install.
fn judge(suite: &str, stdout: &str, stderr: &str) -> Result<Amount, LabError> {
    let mut missing: Vec<&str> = stderr
        .lines()
        .filter_map(|l| {
            l.strip_prefix("E: Unable to locate package ").or_else(|| {
                l.strip_prefix("E: Package '").and_then(|r| r.strip_suffix("' has no installation candidate"))
            })
        })
        .collect();
    missing.sort_unstable();
    missing.dedup();
    if !missing.is_empty() {
        return Err(LabError::refused(
            "no-package",
            format!("{suite} has no package {}", missing.join(", ")),
            "look at the spelling, or choose another --suite",
        ));
    }
    match amount(stdout) {
        Some(amount) => Ok(amount),
        None => {
            let said: Vec<&str> = stdout
                .lines()
                .skip_while(|l| !l.contains("unmet dependencies"))
                .chain(stderr.lines().filter(|l| l.starts_with("E: ")))
                .take(12)
                .collect();
            Err(LabError::refused(
                "packages",
                format!("{suite} cannot install these packages together: {}", said.join("\n")),
                "choose other packages",
            ))
        }
    }
}

/// "Need to get 113 MB of archives." and "After this operation, 594 MB of additional disk space will be used."
fn amount(stdout: &str) -> Option<Amount> {
    let mut download = None;
    let mut installed = None;
    for line in stdout.lines() {
        if let Some(rest) = line.strip_prefix("Need to get ") {
            // "12 MB/113 MB" when part of it is there.
            let words = rest.split(" of archives").next()?;
            download = size(words.rsplit('/').next()?);
        } else if let Some(rest) = line.strip_prefix("After this operation, ") {
            installed = size(rest.split(" of additional").next()?);
        }
    }
    Some(Amount { download: download?, installed: installed? })
}

/// "1,234 kB", "594 MB", "0 B": apt counts in thousands.
fn size(text: &str) -> Option<u64> {
    let (number, unit) = text.trim().split_once(' ')?;
    let number: f64 = number.replace(',', "").parse().ok()?;
    let factor: f64 = match unit {
        "B" => 1.0,
        "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        _ => return None,
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "apt's own figures")]
    (0.0..1e9).contains(&number).then_some((number * factor) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REAL: &str = "0 upgraded, 105 newly installed, 0 to remove and 0 not upgraded.\n\
        Need to get 113 MB of archives.\n\
        After this operation, 1,594 kB of additional disk space will be used.\n\
        Do you want to continue? [Y/n] N\nAbort.\n";

    #[test]
    fn how_much_it_is_comes_from_apt() {
        let amount = judge("bookworm", REAL, "").unwrap();
        assert_eq!(amount, Amount { download: 113_000_000, installed: 1_594_000 });
        assert_eq!(size("0 B"), Some(0));
        assert_eq!(size("12 parsec"), None);
    }

    #[test]
    fn packages_that_the_archive_has_not_are_all_named() {
        let stderr = "E: Unable to locate package nosuch1\nE: Package 'old' has no installation candidate\n\
                      E: Unable to locate package nosuch1\n";
        let error = judge("bookworm", "Reading package lists...\n", stderr).unwrap_err().to_string();
        assert!(error.starts_with("bookworm has no package nosuch1, old; "), "{error}");
        let stdout = "The following packages have unmet dependencies:\n a : Depends: b but it is not going to be installed\n";
        let error = judge("bookworm", stdout, "E: Unable to correct problems\n").unwrap_err().to_string();
        assert!(error.contains("Depends: b") && error.contains("Unable to correct"), "{error}");
    }

    #[test]
    fn the_security_archive_stands_beside_a_mirror_unless_apt_knows_better() {
        let lines = Sources::at("bookworm", Some("http://m/debian/"), None, true).lines;
        assert_eq!(lines[0], format!("deb [signed-by={KEYRING}] http://m/debian bookworm main"));
        assert!(lines[1].ends_with(" http://m/debian-security bookworm-security main"));
        let lines = Sources::at("trixie", None, Some("http://s/sec/"), false).lines;
        assert!(
            lines[0].contains("deb.debian.org/debian trixie")
                && lines[1].contains("http://s/sec trixie-security")
        );
        assert_eq!(Sources::at("sid", None, None, false).lines.len(), 1);
        assert_eq!(Sources::at("bookworm", Some("file:///m"), None, true).lines.len(), 1);
    }

    #[test]
    fn the_archives_of_the_machine_are_told_by_their_labels() {
        let said =
            "Debian-Security http://s/\nDebian Backports http://b/\nDebian file:/m/\nDebian http://d/ \n";
        assert_eq!(labelled(said, "Debian"), Some("http://d/".to_owned()));
        assert_eq!(labelled(said, "Debian-Security"), Some("http://s/".to_owned()));
        assert_eq!(labelled("", "Debian"), None);
    }

    #[test]
    fn only_how_to_reach_an_archive_is_taken_from_the_machine() {
        assert!(is_transport("Acquire::http::Proxy \"http://p:3142\";"));
        assert!(is_transport("Acquire::Check-Valid-Until \"false\";"));
        for line in [
            "APT::Install-Recommends \"1\";",
            "Acquire::http::Proxy-Auto-Detect \"/bin/x\";",
            "AllowInsecureRepositories \"1\";",
        ] {
            assert!(!is_transport(line), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(out in ".*", err in ".*") {
            let _ = judge("x", &out, &err);
            amount(&format!("Need to get {out}\nAfter this operation, {err}"));
        }
    }
}
