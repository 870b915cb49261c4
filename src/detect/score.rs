// SPDX-License-Identifier: GPL-3.0-or-later
//! How well this machine is set up for virtual machines, part by part, and the recommended build mode.

use super::cpu::VirtTechnology;
use super::kernel::{CompilerFit, Kernel};
use super::storage::DiskKind;
use super::{Facts, Finding};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How modules are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BuildMode {
    /// With the kernel's own flags.
    Vanilla,
    /// With the documented, safe set of flags for this processor.
    Optimized,
}

impl BuildMode {
    /// "vanilla" or "optimized".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vanilla => "vanilla",
            Self::Optimized => "optimized",
        }
    }
}

/// The score: what the machine has of what virtual machines can use. It promises no speed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Score {
    /// Points of all parts.
    pub points: u32,
    /// The most that could be had from the parts that could be looked at.
    pub max: u32,
    /// The parts.
    pub parts: Vec<ScorePart>,
    /// The recommended build mode.
    pub recommended: BuildMode,
    /// Why that one.
    pub reason: String,
}

/// One part of the score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScorePart {
    /// A stable word ("nested-paging").
    pub id: String,
    /// What it is, for people.
    pub title: String,
    /// Points it got.
    pub points: u32,
    /// Points it could get; 0 when it could not be looked at.
    pub max: u32,
    /// Why.
    pub reason: String,
}

/// Looks at one part; `Err` says why it could not be looked at.
type Looked = Result<(u32, String), String>;

fn part(id: &str, title: &str, max: u32, looked: Looked) -> ScorePart {
    let (points, max, reason) = match looked {
        Ok((points, reason)) => (points.min(max), max, reason),
        Err(why) => (0, 0, format!("could not look: {why}")),
    };
    ScorePart { id: id.to_owned(), title: title.to_owned(), points, max, reason }
}

fn seen<T>(finding: &Finding<T>) -> Result<&T, String> {
    finding.as_result().map_err(str::to_owned)
}

fn virtualization(facts: &Facts) -> Looked {
    let cpu = seen(&facts.cpu)?;
    let name = match cpu.virtualization.technology {
        Some(VirtTechnology::VtX) => "VT-x",
        Some(VirtTechnology::AmdV) => "AMD-V",
        None => return Ok((0, "the processor shows neither VT-x nor AMD-V".to_owned())),
    };
    match &cpu.virtualization.enabled {
        Finding::Seen(true) => Ok((20, format!("{name} is there and switched on"))),
        Finding::Seen(false) => Ok((0, format!("{name} is switched off in the firmware"))),
        Finding::CouldNotLook { .. } => {
            Ok((15, format!("{name} is there; whether the firmware left it on could not be looked at")))
        }
    }
}

fn nested_paging(facts: &Facts) -> Looked {
    let v = &seen(&facts.cpu)?.virtualization;
    let (paging, tagged) = match v.technology {
        Some(VirtTechnology::AmdV) => ("NPT", "ASID"),
        Some(VirtTechnology::VtX) => ("EPT", "VPID"),
        None => return Ok((0, "there is none without VT-x or AMD-V".to_owned())),
    };
    Ok(match (v.nested_paging, v.vpid) {
        (true, true) => (15, format!("{paging} and {tagged} are there")),
        (true, false) => (12, format!("{paging} is there, {tagged} is not")),
        (false, _) => (0, format!("{paging} is not there: guests run with shadow page tables")),
    })
}

fn free_virtualization(facts: &Facts) -> Looked {
    let kvm = seen(&facts.kvm)?;
    let module = kvm.module.as_deref().unwrap_or("KVM");
    match &kvm.holds_virtualization {
        Finding::Seen(false) => {
            Ok((10, "no other hypervisor holds the processor's virtualization".to_owned()))
        }
        Finding::Seen(true) => Ok((0, format!("{module} holds it: VMware's monitor may find it taken"))),
        Finding::CouldNotLook { why } => Err(why.clone()),
    }
}

fn memory(facts: &Facts) -> Looked {
    let gib = seen(&facts.memory)?.total_kib / (1 << 20);
    let points = match gib {
        0..=3 => 0,
        4..=7 => 5,
        8..=15 => 10,
        _ => 15,
    };
    Ok((points, format!("{gib} GiB of memory")))
}

fn processors(facts: &Facts) -> Looked {
    let cpu = seen(&facts.cpu)?;
    let points = match cpu.logical {
        0 | 1 => 0,
        2 | 3 => 3,
        4..=7 => 7,
        _ => 10,
    };
    let processors = if cpu.logical == 1 { "processor" } else { "processors" };
    Ok((points, format!("{} logical {processors}", cpu.logical)))
}

fn storage(facts: &Facts) -> Looked {
    let disks = seen(&facts.storage)?;
    let fixed: Vec<_> = disks.iter().filter(|d| !d.removable).collect();
    let (disk, which) = match fixed.iter().find(|d| d.holds_root == Some(true)) {
        Some(disk) => (disk, "the system is on"),
        None => match fixed.iter().min_by_key(|d| d.kind) {
            Some(disk) => (disk, "there is"),
            None => return Err("no disk was found".to_owned()),
        },
    };
    Ok(match disk.kind {
        DiskKind::Nvme => (10, format!("{which} an NVMe disk ({})", disk.name)),
        DiskKind::Ssd => (8, format!("{which} a disk without moving parts ({})", disk.name)),
        DiskKind::Virtual => (5, format!("{which} a virtual disk ({})", disk.name)),
        DiskKind::Rotating => (2, format!("{which} a rotating disk ({})", disk.name)),
    })
}

/// The kernel that modules will be needed for: the next one booted, else the running, else the newest.
fn target(facts: &Facts) -> Result<&Kernel, String> {
    let kernels = seen(&facts.kernels)?;
    let next = kernels.iter().find(|k| k.is_next_boot.is_true());
    let running = kernels.iter().find(|k| k.runs());
    next.or(running).or(kernels.first()).ok_or_else(|| "no kernel is installed".to_owned())
}

fn buildable(facts: &Facts) -> Looked {
    let kernel = target(facts)?;
    let release = &kernel.release;
    if let Some(remedy) = kernel.headers_remedy() {
        return Ok((0, format!("modules cannot be built for {release}: {remedy}")));
    }
    Ok(match seen(&kernel.build_compiler)? {
        Some(c) if c.fit <= CompilerFit::SameMajor => {
            (10, format!("headers of {release} and a compiler that fits ({}) are there", c.command))
        }
        Some(c) => (5, format!("headers of {release} are there; {}", c.note)),
        None => (3, format!("headers of {release} are there, a compiler is not")),
    })
}

fn signatures(facts: &Facts) -> Looked {
    let effective = match seen(&facts.secure_boot)?.is_effective() {
        Finding::Seen(effective) => effective,
        Finding::CouldNotLook { why } => return Err(why),
    };
    let forced = facts.running_kernel.seen().is_some_and(|k| k.enforces_signatures.is_true());
    if !effective && !forced {
        return Ok((5, "the kernel takes modules without a signature".to_owned()));
    }
    let keys = &seen(&facts.signing)?.keys;
    let trusted = keys
        .iter()
        .find(|k| k.trust.in_kernel.is_true() || k.trust.enrolled.is_true() || k.trust.in_firmware.is_true());
    Ok(match trusted {
        Some(key) => (5, format!("modules must be signed, and {} is trusted", key.certificate_path)),
        None => (0, "modules must be signed, and no key here is trusted yet".to_owned()),
    })
}

fn vectors(facts: &Facts) -> Looked {
    let cpu = seen(&facts.cpu)?;
    Ok(match (cpu.avx2, cpu.avx512.is_empty()) {
        (true, false) => (3, "guests can use AVX2 and AVX-512; kernel modules never do".to_owned()),
        (true, true) => (2, "guests can use AVX2; kernel modules never do".to_owned()),
        (false, _) => (0, "the processor has no AVX2".to_owned()),
    })
}

fn huge_pages(facts: &Facts) -> Looked {
    let memory = seen(&facts.memory)?;
    let mode = seen(&memory.transparent_huge_pages)?;
    let points = if mode == "never" { 0 } else { 2 };
    Ok((points, format!("transparent huge pages: {mode}")))
}

/// The build mode that suits this machine, and why. Neither mode is promised to be faster.
fn recommend(facts: &Facts) -> (BuildMode, String) {
    let vanilla = |why: String| (BuildMode::Vanilla, format!("{why}; the kernel's own flags are right here"));
    let cpu = match seen(&facts.cpu) {
        Ok(cpu) => cpu,
        Err(why) => return vanilla(format!("the processor could not be looked at ({why})")),
    };
    if cpu.virtualization.under_hypervisor {
        return vanilla(
            "this machine is itself a virtual machine and may wake up on another processor".to_owned(),
        );
    }
    let compiler = match target(facts).and_then(|k| seen(&k.build_compiler)) {
        Ok(Some(compiler)) => compiler,
        Ok(None) => return vanilla("there is no compiler".to_owned()),
        Err(why) => return vanilla(why),
    };
    if compiler.fit > CompilerFit::SameMajor {
        return vanilla("the compiler that built the kernel is not here".to_owned());
    }
    let major = facts.toolchain.seen().and_then(|t| t.compiler(&compiler.command)).map_or(0, |c| c.major);
    let march = cpu.march_for_gcc(major);
    if cpu.x86_64_level < 3 || march == "x86-64" {
        return vanilla(format!("tuning for this processor ({march}) changes next to nothing"));
    }
    let reason = format!(
        "the compiler that built the kernel is here and knows this processor ({march}); the modules will be for \
         just this processor. No gain is promised: measure it"
    );
    (BuildMode::Optimized, reason)
}

/// The score of a machine from its other findings.
pub fn score(facts: &Facts) -> Finding<Score> {
    let parts = vec![
        part("virtualization", "Hardware virtualization", 20, virtualization(facts)),
        part("nested-paging", "Second-level address translation", 15, nested_paging(facts)),
        part("free", "Virtualization is free for VMware", 10, free_virtualization(facts)),
        part("memory", "Memory", 15, memory(facts)),
        part("processors", "Processors", 10, processors(facts)),
        part("storage", "Storage", 10, storage(facts)),
        part("buildable", "Modules can be built", 10, buildable(facts)),
        part("signatures", "Modules will be accepted", 5, signatures(facts)),
        part("vectors", "Vector instructions for guests", 3, vectors(facts)),
        part("huge-pages", "Huge pages", 2, huge_pages(facts)),
    ];
    if parts.iter().all(|p| p.max == 0) {
        return Finding::unseen("none of what the score is made of could be looked at");
    }
    let (recommended, reason) = recommend(facts);
    Finding::Seen(Score {
        points: parts.iter().map(|p| p.points).sum(),
        max: parts.iter().map(|p| p.max).sum(),
        parts,
        recommended,
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_looked_at_costs_no_points() {
        let lost = part("x", "X", 20, Err("no permission".to_owned()));
        assert_eq!((lost.points, lost.max), (0, 0));
        assert_eq!(lost.reason, "could not look: no permission");
        let over = part("x", "X", 5, Ok((9, String::new())));
        assert_eq!((over.points, over.max), (5, 5));
    }
}
