// SPDX-License-Identifier: GPL-3.0-or-later
//! Keys that modules can be signed with, whether they are trusted, and the tools for it.

use super::Finding;
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
    /// Path of the private key (its content is never read here).
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
    /// SHA-1 of the DER certificate, hexadecimal: how `mokutil` names it.
    pub sha1: String,
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
