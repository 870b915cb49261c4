// SPDX-License-Identifier: GPL-3.0-or-later
//! Kernels and headers in dpkg's database.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a kernel package holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KernelPackageKind {
    /// A kernel.
    Kernel,
    /// A kernel signed for Secure Boot.
    SignedKernel,
    /// The headers of a kernel.
    Headers,
    /// Follows the newest kernel of a series ("proxmox-kernel-6.8"), or of the release.
    Meta,
}

/// An installed package of a kernel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct KernelPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it holds.
    pub kind: KernelPackageKind,
    /// The release it is for ("6.8.12-4-pve"); `None` for one that follows others.
    pub release: Option<String>,
}

impl KernelPackage {
    /// What a package of this name holds; `None` when it is no kernel package of Proxmox.
    pub fn of(name: &str, version: &str) -> Option<Self> {
        let (headers, rest) = [
            (false, "proxmox-kernel-"),
            (false, "pve-kernel-"),
            (true, "proxmox-headers-"),
            (true, "pve-headers-"),
        ]
        .into_iter()
        .find_map(|(headers, prefix)| Some((headers, name.strip_prefix(prefix)?)))?;
        let (rest, signed) = match rest.strip_suffix("-signed") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let release = (rest.ends_with("-pve") && rest.starts_with(|c: char| c.is_ascii_digit()))
            .then(|| rest.to_owned());
        let kind = match (&release, headers, signed) {
            (None, _, _) if rest == "helper" || rest == "libc-dev" => return None,
            (None, _, _) => KernelPackageKind::Meta,
            (Some(_), true, _) => KernelPackageKind::Headers,
            (Some(_), false, true) => KernelPackageKind::SignedKernel,
            (Some(_), false, false) => KernelPackageKind::Kernel,
        };
        Some(Self { name: name.to_owned(), version: version.to_owned(), kind, release })
    }
}

/// Name and version of each installed package that `wanted` says yes to.
pub(super) fn installed(status: &str, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = (&str, &str)> {
    status.split("\n\n").filter_map(move |stanza| {
        let field =
            |name: &str| stanza.lines().find_map(|l| Some(l.strip_prefix(name)?.strip_prefix(':')?.trim()));
        let name = field("Package").filter(|name| wanted(name))?;
        // dpkg(1): want, error, state.
        field("Status")?.ends_with(" installed").then_some(())?;
        Some((name, field("Version").unwrap_or("")))
    })
}

/// The installed kernel packages in the text of `/var/lib/dpkg/status`, sorted by name.
pub fn parse_dpkg_status(text: &str) -> Vec<KernelPackage> {
    let of_kernel = |name: &str| name.starts_with("proxmox-") || name.starts_with("pve-");
    let mut found: Vec<KernelPackage> =
        installed(text, of_kernel).filter_map(|(name, version)| KernelPackage::of(name, version)).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn kernel_packages_are_known_by_their_names() {
        use KernelPackageKind::{Headers, Kernel, Meta, SignedKernel};
        for (name, kind, release) in [
            ("proxmox-kernel-6.8.12-4-pve-signed", Some(SignedKernel), Some("6.8.12-4-pve")),
            ("proxmox-kernel-6.8.12-4-pve", Some(Kernel), Some("6.8.12-4-pve")),
            ("pve-kernel-5.15.158-2-pve", Some(Kernel), Some("5.15.158-2-pve")),
            ("pve-headers-5.15.158-2-pve", Some(Headers), Some("5.15.158-2-pve")),
            ("proxmox-headers-6.8", Some(Meta), None),
            ("proxmox-default-kernel", None, None),
            ("proxmox-kernel-helper", None, None),
            ("pve-kernel-libc-dev", None, None),
        ] {
            let found = KernelPackage::of(name, "1");
            assert_eq!(found.as_ref().map(|p| p.kind), kind, "{name}");
            assert_eq!(found.and_then(|p| p.release).as_deref(), release, "{name}");
        }
    }

    #[test]
    fn only_installed_packages_count() {
        let text = "Package: pve-kernel-5.15.108-1-pve\nStatus: deinstall ok config-files\nVersion: 5.15.108-1\n\n\
                    Package: pve-kernel-5.15.158-2-pve\nStatus: install ok installed\nPriority: optional\nVersion: 5.15.158-2\n\n\
                    Package: bash\nStatus: install ok installed\nVersion: 5.2\n";
        let found = parse_dpkg_status(text);
        let names: Vec<_> = found.iter().map(|p| (p.name.as_str(), p.version.as_str())).collect();
        assert_eq!(names, [("pve-kernel-5.15.158-2-pve", "5.15.158-2")]);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(?s).*", name in "(proxmox|pve)-(kernel|headers)-\\PC*") {
            parse_dpkg_status(&text);
            parse_dpkg_status(&format!("Package: {name}\nStatus: {text} installed\n"));
            KernelPackage::of(&name, &text);
        }
    }
}
