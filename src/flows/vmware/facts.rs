// SPDX-License-Identifier: GPL-3.0-or-later
//! Just what the plan of the `vmware` flow reads of a machine.
//!
//! The plan's digest is over these facts. Nothing that changes by itself (process numbers, free
//! memory, times) may stand here, or no plan that was shown could ever run.

use crate::detect::CompilerFit;
use crate::engine::steps::{Compression, InitramfsTool, SourceRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the plan reads of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VmwareFacts {
    /// The distribution's name for people.
    pub system: String,
    /// Why this system must not be changed by installing files, with guidance; ostree, NixOS, MicroOS.
    pub immutable: Option<String>,
    /// Whether this is the running machine (not a scratch root).
    pub machine: bool,
    /// Whether tools of this root can run (false on a partial scratch root).
    pub tools_run: bool,
    /// What is missing to build ("make: apt-get install make").
    pub missing_tools: Vec<String>,
    /// The installed product, for people.
    pub product: Option<String>,
    /// Programs of VMware that run and would be in the way, for people ("vmware-vmx (alice)").
    pub in_the_way: Vec<String>,
    /// Why it could not be seen whether VMware runs.
    pub processes_unseen: Option<String>,
    /// Chosen kernels that are there, newest first.
    pub kernels: Vec<KernelFacts>,
    /// Chosen kernels that cannot be served, with reason and remedy.
    pub unusable: Vec<UnusableKernel>,
    /// Modules of ours that are loaded now.
    pub loaded: Vec<String>,
    /// Whether Secure Boot is in effect; `None` with the reason when it could not be seen.
    pub secure_boot: Option<bool>,
    /// Why Secure Boot could not be seen.
    pub secure_boot_unseen: Option<String>,
    /// Whether MOK can be used here (EFI with shim).
    pub has_shim: bool,
    /// Whether `mokutil` is there.
    pub has_mokutil: bool,
    /// Signing keys that are there, best first.
    pub keys: Vec<KeyFacts>,
    /// Whether `openssl` is there to make a key.
    pub has_openssl: bool,
    /// The sources.
    pub sources: Vec<SourceFacts>,
    /// Who tells that kernels were installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updater: Option<super::updates::Updater>,
    /// DKMS; only looked at when kernel updates are asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dkms: Option<super::dkms::DkmsFacts>,
    /// Configuration files that the plan may write: path → present text.
    pub files: BTreeMap<String, Option<String>>,
    /// VMware services that are there.
    pub services: Vec<String>,
    /// What is missing to try modules in a virtual machine ("QEMU (apt-get install qemu-system-x86)"); none when
    /// it can be done, or was not asked for.
    #[serde(default)]
    pub no_rehearsal: Option<String>,
    /// The processor; only read for optimized builds.
    pub cpu: Option<CpuFacts>,
    /// SHA-256 of the adaptation catalogue.
    pub catalogue: String,
}

/// A chosen kernel that can be served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KernelFacts {
    /// Release.
    pub release: String,
    /// Whether it is the running one.
    pub running: bool,
    /// Its build tree, links resolved.
    pub build_dir: String,
    /// Identity of that tree.
    pub build_id: String,
    /// vermagic of its modules.
    pub vermagic: String,
    /// Compiler command for it.
    pub cc: String,
    /// That compiler's version.
    pub cc_version: String,
    /// Whether kbuild is called with `LLVM=1`.
    pub llvm: bool,
    /// How that compiler fits the one that built the kernel.
    pub compiler_fit: CompilerFit,
    /// That, in a sentence.
    pub compiler_note: String,
    /// Whether the kernel checks module signatures (CONFIG_MODULE_SIG).
    pub checks_signatures: bool,
    /// Whether it loads only signed modules (CONFIG_MODULE_SIG_FORCE).
    pub forces_signatures: bool,
    /// Hash for signatures (CONFIG_MODULE_SIG_HASH).
    pub signature_hash: String,
    /// Its `sign-file`.
    pub sign_file: Option<String>,
    /// Compression of its module files.
    pub compression: Compression,
    /// Folder that modules are installed to.
    pub install_dir: String,
    /// Copies of the modules that are there: module → path and SHA-256.
    pub present: Vec<PresentModule>,
    /// Its boot image, when it is there and can be read.
    #[serde(default)]
    pub image: Option<String>,
    /// Images to make anew, when they hold the modules.
    pub initramfs: Option<InitramfsFacts>,
    /// What the probes and the configuration said about it, by name.
    pub probes: BTreeMap<String, bool>,
}

/// A copy of a module that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PresentModule {
    /// Module name.
    pub module: String,
    /// Where.
    pub path: String,
    /// Its record of what it was built from, if it is one of ours.
    pub record: Option<String>,
    /// Key id or name of its signer.
    pub signer: Option<String>,
    /// Whether its vermagic is the kernel's.
    pub fits: bool,
}

/// How the initramfs of a kernel is made anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InitramfsFacts {
    /// The tool.
    pub tool: InitramfsTool,
    /// The image files.
    pub images: Vec<String>,
}

/// A chosen kernel that cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnusableKernel {
    /// Release.
    pub release: String,
    /// Why not.
    pub reason: String,
    /// What to do.
    pub remedy: String,
}

/// A signing key that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyFacts {
    /// Whether it is Hostwright's own (otherwise the distribution's).
    pub own: bool,
    /// Whose it is, for people.
    pub owner: String,
    /// Private key.
    pub key: String,
    /// Certificate.
    pub certificate: String,
    /// Whether the kernel or the firmware trusts it already; `None`: could not look.
    pub trusted: Option<bool>,
    /// Whether it waits for the next boot's MOK screen.
    pub pending: bool,
}

/// Sources of one module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceFacts {
    /// Module name.
    pub module: String,
    /// Where they come from.
    pub from: SourceRef,
    /// SHA-256 of the tree.
    pub sha256: String,
    /// Version constant found in them.
    pub version: Option<String>,
    /// What kind of tree it is, for people ("stock", "patched by the community").
    pub kind: String,
}

/// The processor, for optimized builds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CpuFacts {
    /// Model name.
    pub model: String,
    /// The name a compiler knows it by.
    pub march: String,
    /// VT-x with EPT or AMD-V with nested paging.
    pub nested_paging: bool,
    /// AVX-512 is there.
    pub avx512: bool,
    /// An NVMe disk is there.
    pub nvme: bool,
}
