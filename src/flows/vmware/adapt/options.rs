// SPDX-License-Identifier: GPL-3.0-or-later
//! What adapting depends on beside the kernel and the sources: the mode, and the processor it is for.

use crate::engine::steps::Mode;
use crate::flows::vmware::facts::CpuFacts;
use std::collections::BTreeMap;

/// What a person and the machine have a say in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The kernel's own flags, or tuned.
    pub mode: Mode,
    /// The processor that optimized modules are for.
    pub cpu: Option<CpuFacts>,
    /// Whether the kernel is built by clang (`LLVM=1`).
    pub llvm: bool,
    /// The word that the module carries in its `.modinfo` to say what it was built from.
    pub record: String,
}

impl Options {
    /// The values of `@{name}` in adaptation texts. A value that there is none for is left out.
    pub fn values(&self) -> BTreeMap<&'static str, String> {
        let mode = match self.mode {
            Mode::Vanilla => "vanilla",
            Mode::Optimized => "optimized",
        };
        let mut values = BTreeMap::from([("mode", mode.to_owned()), ("record", in_string(&self.record))]);
        if let (Mode::Optimized, Some(cpu)) = (self.mode, &self.cpu) {
            values.insert("cpu", in_string(&cpu.model));
            if is_safe_march(&cpu.march) {
                values.insert("march", cpu.march.clone());
            }
        }
        values
    }

    pub(super) fn word(&self, word: &str, module: &str) -> Option<bool> {
        let cpu =
            |has: fn(&CpuFacts) -> bool| self.mode == Mode::Optimized && self.cpu.as_ref().is_some_and(has);
        Some(match word {
            "optimized" => self.mode == Mode::Optimized,
            "clang" => self.llvm,
            "vmmon" | "vmnet" => word == module,
            "has_vtx_ept" => cpu(|c| c.nested_paging),
            "has_avx512" => cpu(|c| c.avx512),
            "has_nvme" => cpu(|c| c.nvme),
            _ => return None,
        })
    }
}

/// A value inside a C string: only characters that mean nothing there.
fn in_string(text: &str) -> String {
    let ok = |c: char| c.is_ascii_alphanumeric() || " ()@.,_+-/".contains(c);
    text.chars().filter(|c| ok(*c)).take(100).collect::<String>().trim().to_owned()
}

/// Names that a kernel module may be compiled for. The kernel's own `-mno-sse … -mno-avx` take the
/// vector registers away from all of them; what remains is scheduling and general-purpose
/// instructions (BMI, MOVBE). Not here: names with APX, whose registers the kernel does not save.
fn is_safe_march(march: &str) -> bool {
    const NAMES: [&str; 34] = [
        "x86-64",
        "x86-64-v2",
        "x86-64-v3",
        "x86-64-v4",
        "core2",
        "nehalem",
        "westmere",
        "sandybridge",
        "ivybridge",
        "haswell",
        "broadwell",
        "skylake",
        "skylake-avx512",
        "cascadelake",
        "cooperlake",
        "cannonlake",
        "icelake-client",
        "icelake-server",
        "tigerlake",
        "rocketlake",
        "alderlake",
        "raptorlake",
        "sapphirerapids",
        "silvermont",
        "goldmont",
        "goldmont-plus",
        "tremont",
        "gracemont",
        "znver1",
        "znver2",
        "znver3",
        "znver4",
        "znver5",
        "bdver4",
    ];
    NAMES.contains(&march)
}
