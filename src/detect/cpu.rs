// SPDX-License-Identifier: GPL-3.0-or-later
//! The processor: virtualization, instruction sets, and the name a compiler knows it by.

use super::Finding;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Hardware virtualization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VirtTechnology {
    /// Intel VT-x (`vmx`).
    VtX,
    /// AMD-V (`svm`).
    AmdV,
}

/// Hardware virtualization as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Virtualization {
    /// What the processor shows; `None`: absent, or switched off in the firmware (the kernel hides it then).
    pub technology: Option<VirtTechnology>,
    /// Whether the firmware left it on.
    pub enabled: Finding<bool>,
    /// Second-level address translation: EPT (Intel) or NPT (AMD).
    pub nested_paging: bool,
    /// Tagged TLB: VPID on Intel; always there with AMD-V (ASID).
    pub vpid: bool,
    /// Whether this machine is itself a virtual machine.
    pub under_hypervisor: bool,
}

/// Two kinds of cores in one processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hybrid {
    /// Logical processors on performance cores.
    pub performance: u32,
    /// Logical processors on efficiency cores.
    pub efficiency: u32,
}

/// The processor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cpu {
    /// `vendor_id` ("GenuineIntel", "AuthenticAMD").
    pub vendor: String,
    /// `model name`.
    pub model_name: String,
    /// `cpu family`.
    pub family: u32,
    /// `model`.
    pub model: u32,
    /// `stepping`.
    pub stepping: u32,
    /// Logical processors.
    pub logical: u32,
    /// Cores, all sockets together; `None` when not told.
    pub cores: Option<u32>,
    /// Sockets.
    pub sockets: u32,
    /// Hardware virtualization.
    pub virtualization: Virtualization,
    /// Performance and efficiency cores, when the kernel tells them apart.
    pub hybrid: Option<Hybrid>,
    /// AVX2.
    pub avx2: bool,
    /// The AVX-512 parts it has ("avx512f", …); empty without AVX-512.
    pub avx512: Vec<String>,
    /// Level of the x86-64 ABI, 1 to 4; 0 for another architecture.
    pub x86_64_level: u8,
    /// The `-march` name for just this processor: a named one when all that the name stands for is
    /// there, else `x86-64-vN`. Concrete: never "native".
    pub march: String,
    /// Oldest gcc that knows `march`; `None` for the `x86-64-vN` names (gcc 11) and `x86-64`.
    pub march_needs_gcc: Option<u32>,
    /// Flags of the first processor, sorted.
    pub flags: Vec<String>,
}
