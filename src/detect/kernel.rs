// SPDX-License-Identifier: GPL-3.0-or-later
//! The kernels under `/lib/modules`, their headers, and what built them.

mod compiler;
mod config;
mod headers;
mod identity;
mod read;

pub use compiler::{choose as choose_compiler, parse_version_text};
pub use config::parse_config;
pub use identity::{IdentityError, build_id};
pub(super) use read::{chosen, kernels, running};

use super::Finding;
use super::modules::ModuleFile;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The kernel that runs now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunningKernel {
    /// As `uname -r` says ("6.1.0-56-amd64").
    pub release: String,
    /// `/proc/version`: who built it with what.
    pub version: String,
    /// The kernel command line.
    pub command_line: String,
    /// When it was started, in seconds since the epoch (`btime` of `/proc/stat`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<i64>,
    /// Whether modules can be loaded at all (`/proc/modules` is there).
    pub has_modules: bool,
    /// Whether it enforces module signatures now (`/sys/module/module/parameters/sig_enforce`).
    pub enforces_signatures: Finding<bool>,
    /// Lockdown: "none", "integrity" or "confidentiality" (`/sys/kernel/security/lockdown`).
    pub lockdown: Finding<String>,
}

/// One kernel under `/lib/modules`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Kernel {
    /// Its release ("6.1.0-56-amd64"), the name of its folder.
    pub release: String,
    /// Its module folder, links followed ("/usr/lib/modules/6.1.0-56-amd64").
    pub modules_dir: String,
    /// Whether modules can be built for it.
    pub headers: Headers,
    /// The vermagic its modules carry, read from one of them.
    pub vermagic: Finding<String>,
    /// The compiler that built it.
    pub compiler: Finding<KernelCompiler>,
    /// Its configuration, the part that matters here.
    pub config: Finding<KernelConfig>,
    /// How its own modules are compressed.
    pub compression: Compression,
    /// Its boot image, when found ("/boot/vmlinuz-6.1.0-56-amd64").
    pub image: Option<String>,
    /// Whether it is the one that runs now.
    pub is_running: Finding<bool>,
    /// Whether the boot loader starts it next.
    pub is_next_boot: Finding<bool>,
    /// VMware's modules installed for it.
    pub vmware_modules: Vec<ModuleFile>,
    /// Where modules from outside the kernel belong on this distribution, below `modules_dir`
    /// ("updates/dkms", "extra", "updates").
    pub module_install_dir: String,
    /// The kernel's tool that signs modules, links followed, when it is there.
    pub sign_file: Option<String>,
    /// The compiler of this machine to build modules with, and how it differs from the kernel's; `None`
    /// when there is no compiler.
    pub build_compiler: Finding<Option<BuildCompiler>>,
}

impl Kernel {
    /// Looked, and it runs now.
    pub fn runs(&self) -> bool {
        self.is_running.is_true()
    }

    /// The module folder for modules from outside the kernel, as a path ("/usr/lib/modules/K/updates/dkms").
    pub fn install_path(&self) -> String {
        format!("{}/{}", self.modules_dir, self.module_install_dir)
    }

    /// The resolved build folder, when the headers are usable.
    pub fn build_dir(&self) -> Option<&str> {
        match &self.headers {
            Headers::Usable { build_dir } => Some(build_dir),
            Headers::Missing { .. } | Headers::Broken { .. } => None,
        }
    }

    /// The VMware module of this name that `modprobe` would load: the one `modules.dep` names.
    pub fn vmware_module(&self, name: &str) -> Option<&ModuleFile> {
        let mut found = self.vmware_modules.iter().filter(|m| m.name == name);
        let first = found.clone().find(|m| m.in_modules_dep);
        first.or_else(|| found.next())
    }
}

/// Whether modules can be built for a kernel: Makefile, configuration, `Module.symvers` and kbuild's
/// own programs must all be there; the name of a package proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Headers {
    /// All is there.
    Usable {
        /// The build folder, links followed inside the root ("/usr/src/linux-headers-6.1.0-56-amd64").
        build_dir: String,
    },
    /// There is no build folder.
    Missing {
        /// The package to install on this distribution, when its name is known.
        package: Option<String>,
        /// What to do, as one could paste it, or in words where no command does it.
        command: String,
    },
    /// There is a build folder, and it cannot be used.
    Broken {
        /// The build folder as far as it resolves.
        build_dir: String,
        /// What is missing or wrong in it.
        missing: Vec<String>,
        /// The package to install again, when its name is known.
        package: Option<String>,
        /// What to do, as one could paste it, or in words where no command does it.
        command: String,
    },
}

impl Headers {
    /// Whether modules can be built.
    pub fn is_usable(&self) -> bool {
        matches!(self, Self::Usable { .. })
    }
}

/// Which compiler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CompilerKind {
    /// GNU C.
    Gcc,
    /// LLVM's clang.
    Clang,
}

/// The compiler that built a kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KernelCompiler {
    /// Which.
    pub kind: CompilerKind,
    /// The first line of its `--version`, as kbuild keeps it (`CONFIG_CC_VERSION_TEXT`).
    pub text: String,
    /// Its version ("12.2.0").
    pub version: String,
    /// The first number of its version.
    pub major: u32,
    /// The command that kbuild would call: the name in the headers' own makefiles ("gcc-12"), else the
    /// one in the version text, else "gcc" or "clang".
    pub command: String,
}

/// The compiler of this machine that modules of a kernel are built with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BuildCompiler {
    /// Its command, one of those of the toolchain.
    pub command: String,
    /// Its full path.
    pub path: String,
    /// How well it goes with the kernel.
    pub fit: CompilerFit,
    /// The difference for people, and what to do; empty when there is none.
    pub note: String,
}

/// How well a compiler goes with a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CompilerFit {
    /// The very one: the same version text.
    Same,
    /// The same kind and major version.
    SameMajor,
    /// The same kind, another major version: mostly works, warned about.
    OtherMajor,
    /// The other kind: flags and LTO formats do not go together.
    OtherKind,
}

/// How modules are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all (`.ko`).
    None,
    /// gzip (`.ko.gz`).
    Gzip,
    /// xz (`.ko.xz`).
    Xz,
    /// Zstandard (`.ko.zst`).
    Zstd,
}

impl Compression {
    /// The suffix of a module file ("", ".gz", ".xz", ".zst").
    pub fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Xz => ".xz",
            Self::Zstd => ".zst",
        }
    }
}

/// The part of a kernel's configuration that matters here; see [`KernelConfig::KEPT`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KernelConfig {
    /// The file it was read from.
    pub source: String,
    /// Options that are set: name with `CONFIG_` → value without quotes ("y", "m", "sha256").
    /// An option that is not here is not set.
    pub values: BTreeMap<String, String>,
}

impl KernelConfig {
    /// The options that are kept. A name that ends in `*` stands for all that begin so.
    pub const KEPT: &'static [&'static str] = &[
        "CONFIG_CC_IS_*",
        "CONFIG_CC_VERSION_TEXT",
        "CONFIG_GCC_VERSION",
        "CONFIG_CLANG_VERSION",
        "CONFIG_LD_*",
        "CONFIG_LTO*",
        "CONFIG_CFI*",
        "CONFIG_MODULES",
        "CONFIG_MODULE_*",
        "CONFIG_MODVERSIONS",
        "CONFIG_EXTENDED_MODVERSIONS",
        "CONFIG_GENDWARFKSYMS",
        "CONFIG_TRIM_UNUSED_KSYMS",
        "CONFIG_UNUSED_KSYMS_WHITELIST",
        "CONFIG_SMP",
        "CONFIG_PREEMPT*",
        "CONFIG_UBSAN*",
        "CONFIG_KASAN*",
        "CONFIG_KCSAN",
        "CONFIG_FORTIFY_SOURCE",
        "CONFIG_RANDSTRUCT*",
        "CONFIG_GCC_PLUGIN*",
        "CONFIG_OBJTOOL*",
        "CONFIG_UNWINDER_*",
        "CONFIG_STACK_VALIDATION",
        "CONFIG_X86_KERNEL_IBT",
        "CONFIG_WERROR",
        "CONFIG_RETPOLINE",
        "CONFIG_RETHUNK",
        "CONFIG_MITIGATION_*",
        "CONFIG_SLS",
        "CONFIG_CALL_PADDING",
        "CONFIG_FINEIBT",
        "CONFIG_SECURITY_LOCKDOWN_LSM*",
        "CONFIG_LOCK_DOWN_*",
        "CONFIG_INTEGRITY_PLATFORM_KEYRING",
        "CONFIG_INTEGRITY_MACHINE_KEYRING",
        "CONFIG_INTEGRITY_CA_MACHINE_KEYRING*",
        "CONFIG_SECONDARY_TRUSTED_KEYRING",
        "CONFIG_SYSTEM_TRUSTED_KEYS",
        "CONFIG_IMA_APPRAISE*",
        "CONFIG_IMA_ARCH_POLICY",
        "CONFIG_DEBUG_INFO_BTF*",
        "CONFIG_PAHOLE_VERSION",
        "CONFIG_RUST",
        "CONFIG_KVM",
        "CONFIG_KVM_INTEL",
        "CONFIG_KVM_AMD",
        "CONFIG_VMWARE_VMCI",
        "CONFIG_VSOCKETS",
        "CONFIG_MNATIVE*",
        "CONFIG_X86_NATIVE_CPU",
        "CONFIG_X86_64_VERSION",
        "CONFIG_GENERIC_CPU*",
        "CONFIG_HZ",
        "CONFIG_LOCALVERSION",
    ];

    /// Whether this option is kept here.
    pub fn keeps(name: &str) -> bool {
        Self::KEPT.iter().any(|kept| match kept.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == *kept,
        })
    }

    /// The value of an option, without quotes; `None` when it is not set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Whether an option is `y` or `m`.
    pub fn is_set(&self, name: &str) -> bool {
        matches!(self.get(name), Some("y" | "m"))
    }

    /// Whether clang built the kernel: modules then need `LLVM=1`.
    pub fn is_clang(&self) -> bool {
        self.is_set("CONFIG_CC_IS_CLANG")
    }

    /// Whether it was built with clang's link-time optimization.
    pub fn has_lto(&self) -> bool {
        self.is_set("CONFIG_LTO_CLANG")
            || self.is_set("CONFIG_LTO_CLANG_THIN")
            || self.is_set("CONFIG_LTO_CLANG_FULL")
    }

    /// Whether the kernel checks module signatures at all.
    pub fn checks_signatures(&self) -> bool {
        self.is_set("CONFIG_MODULE_SIG")
    }

    /// Whether the kernel always refuses modules without a trusted signature.
    pub fn forces_signatures(&self) -> bool {
        self.is_set("CONFIG_MODULE_SIG_FORCE")
    }

    /// The digest for module signatures ("sha256"), when the kernel checks them.
    pub fn signature_hash(&self) -> Option<&str> {
        self.get("CONFIG_MODULE_SIG_HASH").filter(|h| !h.is_empty())
    }

    /// Whether symbols carry versions (CRCs in `Module.symvers`).
    pub fn has_modversions(&self) -> bool {
        self.is_set("CONFIG_MODVERSIONS")
    }

    /// Whether objtool runs over the modules too.
    pub fn has_objtool(&self) -> bool {
        self.is_set("CONFIG_OBJTOOL") || self.is_set("CONFIG_STACK_VALIDATION")
    }

    /// Whether objtool's complaints are errors (`CONFIG_OBJTOOL_WERROR`, since 6.15).
    pub fn objtool_complaints_are_errors(&self) -> bool {
        self.is_set("CONFIG_OBJTOOL_WERROR")
    }

    /// Whether indirect branches need `ENDBR` (`CONFIG_X86_KERNEL_IBT`).
    pub fn has_ibt(&self) -> bool {
        self.is_set("CONFIG_X86_KERNEL_IBT")
    }

    /// Whether compiler warnings are errors.
    pub fn warnings_are_errors(&self) -> bool {
        self.is_set("CONFIG_WERROR")
    }

    /// Whether returns go through thunks (`CONFIG_RETHUNK`, `CONFIG_MITIGATION_RETHUNK` since 6.9).
    pub fn has_rethunk(&self) -> bool {
        self.is_set("CONFIG_RETHUNK") || self.is_set("CONFIG_MITIGATION_RETHUNK")
    }

    /// Whether the undefined behaviour sanitizer checks array bounds.
    pub fn has_ubsan_bounds(&self) -> bool {
        self.is_set("CONFIG_UBSAN_BOUNDS")
    }

    /// Whether the machine owner's keys (MOK) are trusted for modules: the machine keyring is linked
    /// to the secondary one, which module signatures are checked against.
    pub fn has_machine_keyring(&self) -> bool {
        self.is_set("CONFIG_INTEGRITY_MACHINE_KEYRING")
    }
}

/// Where the boot loader's next choice was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NextBoot {
    /// The kernel release it starts next.
    pub release: String,
    /// Where that is written ("/boot/loader/loader.conf").
    pub source: String,
}
