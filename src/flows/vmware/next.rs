// SPDX-License-Identifier: GPL-3.0-or-later
//! The kernel that comes next: installed and not booted yet, or offered by the package manager. Pure; apt's and dpkg's
//! output in, packages and answers out.

use super::gather;
use super::select::compare_releases;
use crate::detect::{Facts, KernelConfig, KeyOwner, SecureBoot};
use serde::Serialize;

/// How one question is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Yes.
    Good,
    /// Could not look.
    Unknown,
    /// No.
    Bad,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// Yes, no, or could not look.
    pub state: State,
    /// In words.
    pub text: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Answer {
    /// An answer without anything to do.
    pub fn new(state: State, text: impl Into<String>) -> Self {
        Self { state, text: text.into(), remedy: None }
    }

    /// The same, with what to do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// The kernels that are installed and newer than the one that runs, or that the boot loader starts next; newest first.
/// Where none runs (a scratch root) the newest.
pub fn installed(facts: &Facts) -> Vec<String> {
    let mut kernels: Vec<_> = facts.kernels.seen().into_iter().flatten().collect();
    kernels.sort_by(|a, b| compare_releases(&b.release, &a.release));
    match kernels.iter().find(|k| k.runs()) {
        None => kernels.first().map(|k| k.release.clone()).into_iter().collect(),
        Some(running) => kernels
            .iter()
            .filter(|k| !k.runs())
            .filter(|k| k.is_next_boot.is_true() || compare_releases(&k.release, &running.release).is_gt())
            .map(|k| k.release.clone())
            .collect(),
    }
}

/// What dpkg-query is asked for ([`metapackages`] reads the answer).
pub const PATTERNS: [&str; 4] =
    ["linux-image-*", "proxmox-default-kernel", "proxmox-kernel-*", "pve-kernel-*"];

/// Of dpkg-query's lines (STATUS PACKAGE) the installed packages that bring whatever kernel is the newest: those that
/// are not named after a release.
pub fn metapackages(text: &str) -> Vec<String> {
    let prefixes = ["linux-image-", "proxmox-kernel-", "pve-kernel-"];
    let is_meta = |name: &str| {
        let rest = prefixes.iter().find_map(|p| name.strip_prefix(p)).unwrap_or(name);
        let release = rest.trim_start_matches("unsigned-");
        // A release has its patch level; `proxmox-kernel-6.8` is a series and brings its newest.
        let numbers = release.split(['-', '+', '~']).next().unwrap_or_default();
        !release.ends_with("-dbg") && numbers.matches('.').count() < 2
    };
    let installed = text.lines().filter_map(|line| line.trim().strip_prefix("installed "));
    installed.filter(|name| is_meta(name)).map(str::to_owned).collect()
}

/// The candidate in the output of `apt-cache policy PACKAGE`.
pub fn candidate(text: &str) -> Option<String> {
    let version = text.lines().find_map(|l| l.trim().strip_prefix("Candidate:"))?.trim();
    (version != "(none)" && !version.is_empty()).then(|| version.to_owned())
}

/// The packages that `apt-cache depends PACKAGE` says it needs.
pub fn depends(text: &str) -> Vec<String> {
    let name = |line: &str| {
        let name = line.trim_start_matches([' ', '|']).strip_prefix("Depends:")?.trim();
        (!name.starts_with('<')).then(|| name.split(':').next().unwrap_or(name).to_owned())
    };
    text.lines().filter_map(name).collect()
}

/// Whether a package holds a part of a kernel or of its headers.
pub fn is_part(package: &str) -> bool {
    const PARTS: [&str; 9] = [
        "linux-image-",
        "linux-binary-",
        "linux-modules-",
        "linux-headers-",
        "linux-kbuild-",
        "proxmox-kernel-",
        "proxmox-headers-",
        "pve-kernel-",
        "pve-headers-",
    ];
    PARTS.iter().any(|p| package.starts_with(p))
}

/// The release that a package with a kernel is for ("linux-image-6.1.0-56-amd64").
pub fn release_of(package: &str) -> Option<&str> {
    let rest = ["linux-image-unsigned-", "linux-image-", "linux-binary-", "proxmox-kernel-", "pve-kernel-"]
        .iter()
        .find_map(|p| package.strip_prefix(p))?;
    let release = rest.strip_suffix("-signed").unwrap_or(rest);
    release.starts_with(|c: char| c.is_ascii_digit()).then_some(release)
}

/// The package with the headers of what a package with a kernel brings.
pub fn headers_of(package: &str) -> Option<String> {
    let release = release_of(package)?;
    let name = match package {
        p if p.starts_with("proxmox-") => "proxmox-headers",
        p if p.starts_with("pve-") => "pve-headers",
        _ => "linux-headers",
    };
    Some(format!("{name}-{release}"))
}

/// Whether a kernel with this configuration will trust modules that are signed as a plan would sign them here.
pub fn trust(facts: &Facts, config: Option<&KernelConfig>) -> Answer {
    let effective = facts.secure_boot.as_ref().and_then(SecureBoot::is_effective);
    let forced = config.map(KernelConfig::forces_signatures);
    match (effective.seen(), forced) {
        (Some(false), Some(false)) => {
            return Answer::new(
                State::Good,
                "this kernel takes unsigned modules, and Secure Boot is not in effect",
            );
        }
        (_, None) => return Answer::new(State::Unknown, "the kernel's configuration could not be read"),
        (None, Some(false)) => {
            let why = effective.why().unwrap_or_default().to_owned();
            return Answer::new(
                State::Unknown,
                format!("could not see whether Secure Boot is in effect: {why}"),
            );
        }
        _ => {}
    }
    let Some(signing) = facts.signing.seen() else {
        return Answer::new(State::Unknown, "could not look for signing keys");
    };
    let enroll = "hostwright vmware apply --enroll";
    let key = signing.keys.iter().find(|k| k.owner != KeyOwner::KernelBuild && !k.has_private.is_false());
    let Some(key) = key else {
        return Answer::new(State::Bad, "only signed modules are loaded, and there is no signing key yet")
            .remedy(enroll);
    };
    let whose = match key.owner {
        KeyOwner::Hostwright => "Hostwright's key",
        _ => "the distribution's key",
    };
    match (gather::trusted(&key.trust), key.trust.pending.is_true()) {
        (Some(true), _) => Answer::new(State::Good, format!("{whose} signs them, and it is trusted")),
        (_, true) => Answer::new(State::Bad, format!("{whose} waits to be enrolled"))
            .remedy("Restart, and choose Enroll MOK on the blue screen."),
        (Some(false), false) => {
            Answer::new(State::Bad, format!("{whose} signs them, and it is not trusted")).remedy(enroll)
        }
        (None, false) => Answer::new(State::Unknown, format!("could not see whether {whose} is trusted")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metapackage_is_not_named_after_a_release() {
        let text = "installed linux-image-6.1.0-56-amd64\ninstalled linux-image-amd64\n\
                    config-files linux-image-cloud-amd64\ninstalled linux-image-generic-hwe-22.04\n\
                    installed linux-image-unsigned-6.8.0-45-generic\ninstalled proxmox-kernel-6.8\n\
                    installed proxmox-kernel-6.8.12-4-pve-signed\ninstalled proxmox-default-kernel\n";
        assert_eq!(
            metapackages(text),
            [
                "linux-image-amd64",
                "linux-image-generic-hwe-22.04",
                "proxmox-kernel-6.8",
                "proxmox-default-kernel"
            ]
        );
    }

    #[test]
    fn what_apt_says_is_read() {
        let text =
            "linux-image-cloud-amd64:\n  Installed: (none)\n  Candidate: 6.1.192-2\n  Version table:\n";
        assert_eq!(candidate(text).as_deref(), Some("6.1.192-2"));
        assert_eq!(candidate("x:\n  Candidate: (none)\n"), None);
        let text = "linux-headers-6.1.0-56-amd64\n  Depends: linux-headers-6.1.0-56-common\n  Depends: linux-kbuild-6.1\n \
                    |Depends: linux-compiler-gcc-12-x86\n  Depends: <gcc>\n  Depends: gcc:any\n";
        assert_eq!(
            depends(text),
            ["linux-headers-6.1.0-56-common", "linux-kbuild-6.1", "linux-compiler-gcc-12-x86", "gcc"]
        );
    }

    #[test]
    fn a_kernels_package_names_its_release_and_its_headers() {
        for (package, release, headers) in [
            ("linux-image-6.1.0-56-amd64", "6.1.0-56-amd64", "linux-headers-6.1.0-56-amd64"),
            ("proxmox-kernel-6.8.12-4-pve-signed", "6.8.12-4-pve", "proxmox-headers-6.8.12-4-pve"),
            ("pve-kernel-5.15.158-2-pve", "5.15.158-2-pve", "pve-headers-5.15.158-2-pve"),
        ] {
            assert_eq!(release_of(package), Some(release));
            assert_eq!(headers_of(package).as_deref(), Some(headers));
        }
        assert_eq!(release_of("linux-image-amd64"), None);
        assert!(
            is_part("linux-kbuild-6.1") && !is_part("linux-compiler-gcc-12-x86") && !is_part("linux-base")
        );
    }

    proptest::proptest! {
        #[test]
        fn any_output_is_read_without_panic(text in "\\PC{0,200}") {
            let _ = (metapackages(&text), candidate(&text), depends(&text), release_of(&text));
        }
    }
}
