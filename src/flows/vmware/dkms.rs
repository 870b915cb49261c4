// SPDX-License-Identifier: GPL-3.0-or-later
//! Keeping the modules there across kernel updates by DKMS: a source tree in `/usr/src` whose Makefile has us build, so
//! that it adapts to kernels that do not exist yet, and that compiles nothing as root.
//!
//! DKMS 3.0 makes *both* files of its signing key anew when either is missing (`prepare_signing` in dkms), which loses a
//! key that the firmware trusts; so it is looked at first.

use super::MODULES;
use super::choices::{SignChoice, UpdateChoice};
use super::facts::{KernelFacts, KeyFacts, VmwareFacts};
use crate::detect::os::Family;
use crate::detect::{Facts, KeyOwner};
use crate::engine::Step;
use crate::engine::plan::Refusal;
use crate::engine::steps::{DkmsInstall, RemoveFile};
use crate::host::{FileKind, Root};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// DKMS's name of our source tree.
pub const NAME: &str = "hostwright-vmware";
/// Its version: of the two files below, not of VMware's sources, which are read when it builds.
pub const VERSION: &str = "1";

const CONF: &str = include_str!("../../../data/dkms/dkms.conf");
const MAKEFILE: &str = include_str!("../../../data/dkms/Makefile");

const CONF_PATH: &str = "/usr/src/hostwright-vmware-1/dkms.conf";
const MAKEFILE_PATH: &str = "/usr/src/hostwright-vmware-1/Makefile";
const SOURCE: &str = "/var/lib/dkms/hostwright-vmware/1/source";
const TREE: &str = "/var/lib/dkms";

/// What is known of DKMS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DkmsFacts {
    /// Whether it is installed.
    pub installed: bool,
    /// How it is installed here.
    pub install: String,
    /// Whether our source tree is registered.
    pub registered: bool,
    /// The kernels that it has our modules installed for.
    pub kernels: Vec<String>,
    /// Source trees of others that build the same modules ("vmware-host-modules/17.5.1").
    pub others: Vec<String>,
    /// Its private key, and whether it is there.
    pub key: (String, bool),
    /// Its certificate, and whether it is there.
    pub certificate: (String, bool),
}

/// Looks at DKMS.
pub(super) fn gather(root: &Root, facts: &Facts) -> DkmsFacts {
    let family = facts.os.seen().map_or(Family::Unknown, |os| os.family);
    let mut seen = DkmsFacts {
        installed: ["/usr/sbin/dkms", "/usr/bin/dkms", "/sbin/dkms"].iter().any(|p| root.exists(p)),
        install: match family {
            Family::Debian | Family::Ubuntu | Family::Proxmox => "apt-get install dkms",
            Family::Fedora | Family::Rhel => "dnf install dkms",
            Family::Suse => "zypper install dkms",
            Family::Arch => "pacman -S dkms",
            Family::Gentoo => "emerge sys-kernel/dkms",
            _ => "install the package `dkms`",
        }
        .to_owned(),
        registered: root.symlink_metadata(SOURCE).is_ok(),
        ..DkmsFacts::default()
    };
    // What the distribution's configuration says is in the list of keys as soon as one half is there.
    let owners = [KeyOwner::Dkms, KeyOwner::ShimSigned];
    let listed = facts.signing.seen().and_then(|s| s.keys.iter().find(|k| owners.contains(&k.owner)));
    let (key, certificate) = match listed {
        Some(key) => (key.private_path.clone(), key.certificate_path.clone()),
        // dkms has Ubuntu's own program make a key when there is none.
        None if family == Family::Ubuntu => {
            ("/var/lib/shim-signed/mok/MOK.priv".to_owned(), "/var/lib/shim-signed/mok/MOK.der".to_owned())
        }
        None => (format!("{TREE}/mok.key"), format!("{TREE}/mok.pub")),
    };
    let there = |path: &str| root.symlink_metadata(path).is_ok();
    seen.key = (key.clone(), there(&key));
    seen.certificate = (certificate.clone(), there(&certificate));
    for package in root.list(TREE).unwrap_or_default() {
        if package.kind != FileKind::Directory {
            continue;
        }
        for entry in root.list(&format!("{TREE}/{}", package.name)).unwrap_or_default() {
            if package.name == NAME {
                // kernel-RELEASE-ARCH
                let release = entry.name.strip_prefix("kernel-").and_then(|r| r.rsplit_once('-'));
                seen.kernels.extend(release.map(|(release, _)| release.to_owned()));
                continue;
            }
            let conf = format!("{TREE}/{}/{}/source/dkms.conf", package.name, entry.name);
            let text = root.read_text(&conf).unwrap_or_default();
            if builds_ours(&text) {
                seen.others.push(format!("{}/{}", package.name, entry.name));
            }
        }
    }
    seen.kernels.sort();
    seen.others.sort();
    seen
}

/// Whether a `dkms.conf` names one of our modules.
fn builds_ours(conf: &str) -> bool {
    let value = |line: &str| {
        let (name, value) = line.trim().split_once('=')?;
        let name = name.split('[').next()?;
        matches!(name, "BUILT_MODULE_NAME" | "DEST_MODULE_NAME")
            .then(|| value.trim_matches(['"', '\'']).to_owned())
    };
    conf.lines().filter_map(value).any(|name| MODULES.contains(&name.as_str()))
}

/// Files of the source tree: path, text, reason.
pub(super) fn files() -> [(&'static str, &'static str, &'static str); 2] {
    [
        (CONF_PATH, CONF, "tells DKMS what is built"),
        (
            MAKEFILE_PATH,
            MAKEFILE,
            "has Hostwright build the modules, in the sandbox, when DKMS asks for them",
        ),
    ]
}

/// Refuses what cannot be, or must not.
///
/// # Errors
/// A refusal with its reason and what to do.
pub(super) fn refuse(updates: UpdateChoice, sign: SignChoice, facts: &VmwareFacts) -> Result<(), Refusal> {
    let Some(dkms) = &facts.dkms else { return Ok(()) };
    if !matches!(updates, UpdateChoice::Hook | UpdateChoice::Dkms) {
        return Ok(());
    }
    if let Some(other) = dkms.others.first() {
        return Err(Refusal::new(
            "dkms-conflict",
            format!("DKMS builds these modules already, from {other}: both would write the same files."),
            format!("Remove it first: dkms remove {other} --all (or the package that brought it)."),
        ));
    }
    if updates == UpdateChoice::Hook {
        if dkms.registered {
            return Err(Refusal::new(
                "dkms-conflict",
                "Hostwright's modules are registered with DKMS: with hooks beside it each kernel would be built for \
                 twice.",
                format!(
                    "Take that run back with `hostwright undo`, or remove it with `dkms remove {NAME}/{VERSION} \
                     --all`, and plan again."
                ),
            ));
        }
        return Ok(());
    }
    if !dkms.installed {
        return Err(Refusal::new(
            "dkms-missing",
            "DKMS is not installed.",
            format!("Install it ({}), or use --on-kernel-update hook, which needs nothing.", dkms.install),
        ));
    }
    match sign {
        SignChoice::Own | SignChoice::Never => {
            return Err(Refusal::new(
                "dkms-signs",
                "DKMS signs what it installs by itself, with its own key.",
                "Leave --sign out, or use --on-kernel-update hook.",
            ));
        }
        SignChoice::Auto | SignChoice::Distribution => {}
    }
    match (&dkms.key, &dkms.certificate) {
        ((key, true), (certificate, false)) => Err(half(key, certificate)),
        ((key, false), (certificate, true)) => Err(half(certificate, key)),
        _ => Ok(()),
    }
}

fn half(there: &str, missing: &str) -> Refusal {
    Refusal::new(
        "dkms-key",
        format!(
            "Of DKMS's signing key {there} is there and {missing} is missing: DKMS would make both anew, and a key \
             that this machine's firmware trusts would be lost."
        ),
        "Put the missing file back from a backup; or, when the key is of no use any more, move the other one away.",
    )
}

/// The key that DKMS signs with, and whether it must be made first.
pub(super) fn key(facts: &VmwareFacts, dkms: &DkmsFacts) -> (KeyFacts, bool) {
    let known = facts.keys.iter().find(|k| k.key == dkms.key.0).cloned();
    let new = KeyFacts {
        own: false,
        owner: "DKMS".to_owned(),
        key: dkms.key.0.clone(),
        certificate: dkms.certificate.0.clone(),
        trusted: Some(false),
        pending: false,
    };
    (known.unwrap_or(new), !dkms.key.1 && !dkms.certificate.1)
}

/// The steps for one kernel. What others or we had put in the same place makes way first.
pub(super) fn install(
    kernel: &KernelFacts,
    to: impl Fn(&str) -> String,
    key: Option<&KeyFacts>,
    dkms: &DkmsFacts,
) -> Vec<Step> {
    let mut steps = Vec::new();
    let managed = dkms.kernels.contains(&kernel.release);
    for present in &kernel.present {
        // What DKMS installed for us is its step's to replace.
        if !(managed && present.path == to(&present.module)) {
            steps.push(Step::RemoveFile(RemoveFile {
                path: present.path.clone(),
                reason: format!(
                    "another copy of {} for {}, where DKMS installs its own; kept in the journal",
                    present.module, kernel.release
                ),
            }));
        }
    }
    steps.push(Step::DkmsInstall(DkmsInstall {
        name: NAME.to_owned(),
        version: VERSION.to_owned(),
        kernel: kernel.release.clone(),
        arch: std::env::consts::ARCH.to_owned(),
        vermagic: kernel.vermagic.clone(),
        to: MODULES.iter().map(|m| ((*m).to_owned(), to(m))).collect(),
        certificate: key.filter(|_| kernel.checks_signatures).map(|k| k.certificate.clone()),
    }));
    steps
}

/// Files that go when nothing is to be built any more.
pub(super) fn registration(dkms: &DkmsFacts) -> Option<&'static str> {
    dkms.registered.then_some(SOURCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dkms() -> DkmsFacts {
        DkmsFacts {
            installed: true,
            install: "apt-get install dkms".into(),
            key: ("/var/lib/dkms/mok.key".into(), true),
            certificate: ("/var/lib/dkms/mok.pub".into(), true),
            ..DkmsFacts::default()
        }
    }

    fn refused(updates: UpdateChoice, sign: SignChoice, dkms: DkmsFacts) -> Option<String> {
        let facts = VmwareFacts { dkms: Some(dkms), ..VmwareFacts::default() };
        refuse(updates, sign, &facts).err().map(|r| r.code)
    }

    #[test]
    fn two_ways_at_once_are_refused_and_so_is_half_a_key() {
        use SignChoice::Auto;
        let code = |updates, dkms| refused(updates, Auto, dkms);
        assert_eq!(code(UpdateChoice::Dkms, dkms()), None);
        let other = DkmsFacts { others: vec!["vmware-host-modules/17".into()], ..dkms() };
        assert_eq!(code(UpdateChoice::Dkms, other.clone()).as_deref(), Some("dkms-conflict"));
        assert_eq!(code(UpdateChoice::Hook, other).as_deref(), Some("dkms-conflict"));
        let ours = DkmsFacts { registered: true, ..dkms() };
        assert_eq!(code(UpdateChoice::Hook, ours.clone()).as_deref(), Some("dkms-conflict"));
        assert_eq!(code(UpdateChoice::Dkms, ours), None);
        let half = DkmsFacts { certificate: ("/var/lib/dkms/mok.pub".into(), false), ..dkms() };
        assert_eq!(code(UpdateChoice::Dkms, half.clone()).as_deref(), Some("dkms-key"));
        assert_eq!(code(UpdateChoice::Hook, half), None);
        let missing = DkmsFacts { installed: false, ..dkms() };
        assert_eq!(code(UpdateChoice::Dkms, missing).as_deref(), Some("dkms-missing"));
        assert_eq!(refused(UpdateChoice::Dkms, SignChoice::Own, dkms()).as_deref(), Some("dkms-signs"));
    }

    #[test]
    fn a_key_is_made_only_when_neither_half_is_there() {
        let facts = VmwareFacts::default();
        assert!(!key(&facts, &dkms()).1);
        let none = DkmsFacts {
            key: ("/var/lib/dkms/mok.key".into(), false),
            certificate: ("/var/lib/dkms/mok.pub".into(), false),
            ..dkms()
        };
        let (made, create) = key(&facts, &none);
        assert!(create);
        assert_eq!((made.key.as_str(), made.trusted), ("/var/lib/dkms/mok.key", Some(false)));
    }

    #[test]
    fn a_source_tree_of_others_is_known_by_the_modules_that_it_builds() {
        assert!(builds_ours("PACKAGE_NAME=\"x\"\nBUILT_MODULE_NAME[0]=\"vmmon\"\n"));
        assert!(builds_ours("BUILT_MODULE_NAME=vmnet\n"));
        assert!(!builds_ours("BUILT_MODULE_NAME[0]=\"nvidia\"\n# BUILT_MODULE_NAME=vmmon\n"));
    }

    #[test]
    fn what_dkms_reads_names_the_version_that_it_is_registered_with() {
        assert!(CONF.contains(&format!("PACKAGE_NAME=\"{NAME}\"")));
        assert!(CONF.contains(&format!("PACKAGE_VERSION=\"{VERSION}\"")));
        assert!(CONF_PATH.contains(&format!("{NAME}-{VERSION}/")));
        for module in MODULES {
            assert!(builds_ours(CONF) && CONF.contains(module));
        }
    }
}
