// SPDX-License-Identifier: GPL-3.0-or-later
//! Keys that modules can be signed with, whether they are trusted, and the tools for it.

use super::Finding;
use super::certificate;
use super::distro::{Distribution, KeyPaths};
use super::efi::{self, Variables};
use super::look::{Look, compare_versions, shell_assignments};
use super::secure_boot::KernelKeys;
use super::toolchain::which;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where Hostwright keeps its own private key (PEM, root-only).
pub const OWN_KEY: &str = "/var/lib/hostwright/keys/hostwright.key";
/// Where Hostwright keeps its own certificate (DER).
pub const OWN_CERTIFICATE: &str = "/var/lib/hostwright/keys/hostwright.der";

/// Whose key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyOwner {
    /// Ubuntu's machine owner key (`/var/lib/shim-signed/mok`).
    ShimSigned,
    /// akmods' (`/etc/pki/akmods`).
    Akmods,
    /// DKMS's (`/var/lib/dkms/mok.*`, or the one named in `framework.conf`).
    Dkms,
    /// Gentoo's (`MODULES_SIGN_KEY` in `make.conf`).
    Portage,
    /// The key of a kernel built here (`certs/signing_key.pem` beside its headers).
    KernelBuild,
    /// Our own.
    Hostwright,
}

/// A key pair for signing modules. It is listed as soon as either half is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SigningKey {
    /// Whose.
    pub owner: KeyOwner,
    /// Path of the private key (of its file no more than a certificate is read).
    pub private_path: String,
    /// Path of the certificate.
    pub certificate_path: String,
    /// Whether the private key is there.
    pub has_private: Finding<bool>,
    /// Its certificate.
    pub certificate: Finding<Certificate>,
    /// Where it is trusted.
    pub trust: KeyTrust,
}

/// A certificate, the part that matters here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Certificate {
    /// Common name of its subject.
    pub subject: Option<String>,
    /// Serial number, hexadecimal.
    pub serial: String,
    /// Subject key id, hexadecimal: how the kernel names it.
    pub key_id: Option<String>,
    /// SHA-256 of the DER certificate, hexadecimal.
    pub sha256: String,
    /// End of validity (RFC 3339). The kernel does not look at it.
    pub not_after: String,
    /// Whether it may sign code (extended key usage). Ubuntu's shim refuses keys for modules only
    /// (1.3.6.1.4.1.2312.16.1.2) for boot loaders, the kernel takes both.
    pub code_signing: bool,
}

/// Where a key is trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyTrust {
    /// In shim's list of machine owner keys (`MokListRT`).
    pub enrolled: Finding<bool>,
    /// Waiting for a person at the next boot (`MokNew`).
    pub pending: Finding<bool>,
    /// In the firmware's own list (`db`).
    pub in_firmware: Finding<bool>,
    /// Among the keys of the running kernel.
    pub in_kernel: Finding<bool>,
}

/// Keys and tools for signing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Signing {
    /// Key pairs found, the distribution's first, ours last.
    pub keys: Vec<SigningKey>,
    /// Tools that are there: name ("mokutil", "openssl", "kmodsign", "sbctl"…) → full path.
    pub tools: std::collections::BTreeMap<String, String>,
    /// Where to look for `sign-file` when a kernel's own headers lack it: the newest found.
    pub sign_file: Option<String>,
}

impl Signing {
    /// The key pair of this owner.
    pub fn key(&self, owner: KeyOwner) -> Option<&SigningKey> {
        self.keys.iter().find(|k| k.owner == owner)
    }
}

/// What keys are looked for in.
struct TrustLists {
    mok: Finding<Option<Vec<u8>>>,
    new: Finding<Option<Vec<u8>>>,
    db: Finding<Option<Vec<u8>>>,
}

/// Whether a certificate is in a list of EFI signatures; no list holds none.
fn listed(list: &Finding<Option<Vec<u8>>>, der: &[u8]) -> Finding<bool> {
    match list {
        Finding::Seen(None) => Finding::Seen(false),
        Finding::Seen(Some(bytes)) => Finding::from(efi::certificates(bytes).map(|all| all.contains(&der))),
        Finding::CouldNotLook { why } => Finding::unseen(why.clone()),
    }
}

fn trust(
    certificate: &Finding<Certificate>,
    der: Option<&[u8]>,
    lists: &TrustLists,
    kernel: &Finding<KernelKeys>,
) -> KeyTrust {
    let (Finding::Seen(certificate), Some(der)) = (certificate, der) else {
        let why = certificate.why().unwrap_or("the certificate was not read");
        let unseen = || Finding::unseen(why);
        return KeyTrust {
            enrolled: unseen(),
            pending: unseen(),
            in_firmware: unseen(),
            in_kernel: unseen(),
        };
    };
    // The kernel names a key by its subject key id, or by its serial number when it has none.
    let id = certificate.key_id.as_ref().unwrap_or(&certificate.serial);
    KeyTrust {
        enrolled: listed(&lists.mok, der),
        pending: listed(&lists.new, der),
        in_firmware: listed(&lists.db, der),
        in_kernel: kernel.as_ref().map(|keys| keys.keys.iter().any(|k| k.key_id == *id)),
    }
}

/// One key pair; `None` when neither half is there.
fn key(
    look: &Look<'_>,
    owner: KeyOwner,
    private_path: String,
    certificate_path: String,
    lists: &TrustLists,
    kernel: &Finding<KernelKeys>,
) -> Option<SigningKey> {
    let has_private = match look.root().metadata(&private_path) {
        Ok(_) => Finding::Seen(true),
        Err(e) if e.is_not_found() => Finding::Seen(false),
        Err(e) => Finding::unseen(e.to_string()),
    };
    let (certificate, der) = match look.root().read_at_most(&certificate_path, 1 << 20) {
        Ok(bytes) => {
            let parsed = certificate::parse(&bytes).map_err(|e| format!("{certificate_path}: {e}"));
            (Finding::from(parsed), certificate::der_of(&bytes).ok())
        }
        Err(e) if e.is_not_found() && !has_private.is_true() => return None,
        Err(e) => (Finding::unseen(e.to_string()), None),
    };
    let trust = trust(&certificate, der.as_deref(), lists, kernel);
    Some(SigningKey { owner, private_path, certificate_path, has_private, certificate, trust })
}

/// The key paths of DKMS: `framework.conf` may name others.
fn dkms_paths(look: &Look<'_>, defaults: KeyPaths) -> KeyPaths {
    let mut paths = defaults;
    for (_, text) in look.with_drop_ins("/etc/dkms/framework.conf", "/etc/dkms/framework.conf.d") {
        let mut values = shell_assignments(&text);
        // DKMS runs this as shell; what it would expand is not guessed.
        let mut plain = |name| values.remove(name).filter(|v| v.starts_with('/') && !v.contains('$'));
        paths.private = plain("mok_signing_key").or(paths.private);
        paths.certificate = plain("mok_certificate").or(paths.certificate);
    }
    paths
}

/// The key paths of Portage: `MODULES_SIGN_KEY` and `MODULES_SIGN_CERT` of make.conf; the certificate may
/// stand in the key's file.
fn portage_paths(look: &Look<'_>) -> KeyPaths {
    let mut paths = KeyPaths::default();
    let mut texts: Vec<String> = look.text("/etc/portage/make.conf").ok().into_iter().collect();
    for entry in look.list("/etc/portage/make.conf") {
        texts.extend(look.text(&format!("/etc/portage/make.conf/{}", entry.name)));
    }
    for text in texts {
        let mut values = shell_assignments(&text);
        let mut plain = |name| values.remove(name).filter(|v| v.starts_with('/') && !v.contains('$'));
        paths.private = plain("MODULES_SIGN_KEY").or(paths.private);
        paths.certificate = plain("MODULES_SIGN_CERT").or(paths.certificate);
    }
    if paths.certificate.is_none() {
        paths.certificate.clone_from(&paths.private);
    }
    paths
}

const TOOLS: &[&str] = &[
    "openssl",
    "mokutil",
    "kmodsign",
    "sbsign",
    "sbctl",
    "update-secureboot-policy",
    "kmodgenca",
    "dkms",
    "modinfo",
    "depmod",
];

/// Reads keys and tools for signing.
pub(super) fn read(
    look: &Look<'_>,
    distribution: &Distribution,
    variables: &Variables<'_>,
    kernel: &Finding<KernelKeys>,
) -> Finding<Signing> {
    let lists = TrustLists {
        mok: variables.mok_list(),
        new: variables.get("MokNew", efi::SHIM),
        db: variables.get("db", efi::SECURITY),
    };
    let mut keys = Vec::new();
    for owner in &distribution.keys {
        let paths = Distribution::key_paths(*owner);
        let paths = match owner {
            KeyOwner::Dkms => dkms_paths(look, paths),
            KeyOwner::Portage => portage_paths(look),
            _ => paths,
        };
        if let (Some(private), Some(certificate)) = (paths.private, paths.certificate) {
            keys.extend(key(look, *owner, private, certificate, &lists, kernel));
        }
    }
    for entry in look.list("/lib/modules") {
        let Ok(build) = look.root().resolve(&format!("/lib/modules/{}/build", entry.name)) else { continue };
        let (private, certificate) =
            (format!("{build}/certs/signing_key.pem"), format!("{build}/certs/signing_key.x509"));
        if look.exists(&private) && !keys.iter().any(|k: &SigningKey| k.private_path == private) {
            keys.extend(key(look, KeyOwner::KernelBuild, private, certificate, &lists, kernel));
        }
    }
    keys.extend(key(look, KeyOwner::Hostwright, OWN_KEY.into(), OWN_CERTIFICATE.into(), &lists, kernel));
    let tools =
        TOOLS.iter().filter_map(|tool| which(look.root(), tool).map(|path| ((*tool).to_owned(), path)));
    Finding::Seen(Signing { keys, tools: tools.collect(), sign_file: any_sign_file(look) })
}

/// The newest `sign-file` of any kernel: the format does not depend on the kernel.
fn any_sign_file(look: &Look<'_>) -> Option<String> {
    let mut found: Vec<(String, String)> = Vec::new();
    for (dir, inside) in [
        ("/usr/lib", "scripts/sign-file"),
        ("/usr/src/kernels", "scripts/sign-file"),
        ("/usr/src", "scripts/sign-file"),
    ] {
        for entry in look.list(dir) {
            if dir == "/usr/lib" && !entry.name.starts_with("linux-kbuild-") {
                continue;
            }
            let path = format!("{dir}/{}/{inside}", entry.name);
            if let Ok(real) = look.root().resolve(&path) {
                found.push((entry.name, real));
            }
        }
    }
    found.into_iter().max_by(|a, b| compare_versions(&a.0, &b.0)).map(|(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_enrolled_only_when_its_whole_certificate_is_listed() {
        let mut list = vec![
            0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72,
        ];
        for number in [28 + 16 + 3, 0, 16 + 3u32] {
            list.extend(number.to_le_bytes());
        }
        list.extend([0; 16]);
        list.extend(b"der");
        let seen = Finding::Seen(Some(list.clone()));
        assert!(listed(&seen, b"der").is_true());
        assert!(listed(&seen, b"de").is_false());
        assert!(listed(&Finding::Seen(None), b"der").is_false());
        assert!(!listed(&Finding::Seen(Some(list[..40].to_vec())), b"der").is_seen());
        assert!(!listed(&Finding::unseen("no permission"), b"der").is_seen());
    }
}
