// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads a machine: findings, pure parsers, one gatherer. Never writes, needs no root.
//!
//! ```text
//!   Host ──► gather ──► Facts { os, kernels, toolchain, vmware, secure_boot, cpu, … : Finding<T> }
//!                          │
//!                          ├─► export   (JSON, shell)
//!                          └─► report   (lines for people)
//! ```
//!
//! Every file is read below [`Host::root`](crate::host::Host::root), `/proc`, `/sys` and EFI variables
//! too: a scratch root without a `/proc` of its own is not running, and says so in its findings.

pub mod apt;
pub mod boot;
pub mod certificate;
pub mod conditions;
pub mod containers;
pub mod cpu;
pub mod distro;
pub mod efi;
mod finding;
mod gather;
pub mod gpu;
pub mod iommu;
pub mod kernel;
pub mod kvm;
pub mod launchers;
mod look;
pub mod media;
pub mod memory;
pub mod modules;
pub mod nvidia;
pub mod os;
mod pci;
pub mod processes;
pub mod proxmox;
pub mod score;
pub mod secure_boot;
pub mod session;
pub mod settings;
pub mod signing;
pub mod storage;
pub mod toolchain;
pub mod vmware;

pub use boot::{BootTool, Bootloader, BootloaderKind, CommandLinePlace, Initramfs, InitramfsTool};
pub use cpu::Cpu;
pub use finding::Finding;
pub use gather::{Options, Topic, UnknownTopic, gather, gather_with};
pub use gpu::Gpu;
pub use iommu::Iommu;
pub use kernel::{
    BuildCompiler, CompilerFit, CompilerKind, Compression, Headers, Kernel, KernelCompiler, KernelConfig,
    NextBoot, RunningKernel,
};
pub use kvm::Kvm;
pub use memory::Memory;
pub use modules::{LoadedModule, LoadedModules, ModuleFile, ModuleSignature};
pub use os::{Family, Immutable, ImmutableKind, Os};
pub use processes::{VmwareProcess, VmwareRole};
pub use score::{BuildMode, Score};
pub use secure_boot::SecureBoot;
pub use session::Sessions;
pub use signing::{KeyOwner, Signing, SigningKey};
pub use storage::Disk;
pub use toolchain::{Compiler, Toolchain};
pub use vmware::{ModuleSource, ModuleSourceKind, Service, ServiceKind, Vmware, VmwareProduct};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of the facts document; raised when a reader of older facts would misread a new one.
pub const FACTS_VERSION: u32 = 1;

/// All findings of a machine; plain data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Facts {
    /// Version of this document: 1.
    pub schema: u32,
    /// The distribution.
    pub os: Finding<Os>,
    /// The kernel that runs.
    pub running_kernel: Finding<RunningKernel>,
    /// The kernels that are installed, in the order of their versions, newest first.
    pub kernels: Finding<Vec<Kernel>>,
    /// Compilers, make, linkers.
    pub toolchain: Finding<Toolchain>,
    /// VMware's product and module sources.
    pub vmware: Finding<Vmware>,
    /// Programs of VMware that run.
    pub processes: Finding<Vec<VmwareProcess>>,
    /// Modules in the running kernel.
    pub loaded_modules: Finding<LoadedModules>,
    /// KVM and who uses it.
    pub kvm: Finding<Kvm>,
    /// Secure Boot.
    pub secure_boot: Finding<SecureBoot>,
    /// Keys and tools for signing.
    pub signing: Finding<Signing>,
    /// The initramfs tool.
    pub initramfs: Finding<Initramfs>,
    /// The boot loader.
    pub bootloader: Finding<Bootloader>,
    /// Desktop sessions.
    pub sessions: Finding<Sessions>,
    /// The processor.
    pub cpu: Finding<Cpu>,
    /// Memory.
    pub memory: Finding<Memory>,
    /// Disks.
    pub storage: Finding<Vec<Disk>>,
    /// Graphics cards.
    pub gpus: Finding<Vec<Gpu>>,
    /// The IOMMU.
    pub iommu: Finding<Iommu>,
    /// The score, from the findings above.
    pub score: Finding<Score>,
}

impl Facts {
    /// The installed kernel of this release.
    pub fn kernel(&self, release: &str) -> Option<&Kernel> {
        self.kernels.seen()?.iter().find(|k| k.release == release)
    }
}
