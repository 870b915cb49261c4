// SPDX-License-Identifier: GPL-3.0-or-later
//! The processor: virtualization, instruction sets, and the name a compiler knows it by.

mod march;

use super::Finding;
use super::look::{Look, NOT_RUNNING};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

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

impl Cpu {
    /// The `-march` name that a gcc of this major version knows: the name of the processor, or else the
    /// level of the x86-64 ABI (gcc 11), or else nothing better than "x86-64".
    pub fn march_for_gcc(&self, major: u32) -> String {
        match self.march_needs_gcc {
            Some(needed) if major >= needed => self.march.clone(),
            _ if major >= 11 => march::level_name(self.x86_64_level),
            _ => march::level_name(1),
        }
    }
}

/// `/proc/cpuinfo`: the fields of the first processor, how many there are, and how many cores and
/// sockets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct CpuInfo {
    fields: BTreeMap<String, String>,
    logical: u32,
    sockets: u32,
    cores: Option<u32>,
}

fn parse_cpuinfo(text: &str) -> CpuInfo {
    let mut info = CpuInfo::default();
    let mut sockets = BTreeSet::new();
    let mut cores = BTreeSet::new();
    for processor in text.split("\n\n").filter(|p| !p.trim().is_empty()) {
        let mut fields = BTreeMap::new();
        for line in processor.lines() {
            if let Some((key, value)) = line.split_once(':') {
                let key = key.trim();
                // The long lists are the same for all; they are taken from the first.
                if info.logical == 0 || matches!(key, "processor" | "physical id" | "core id") {
                    fields.insert(key.to_owned(), value.trim().to_owned());
                }
            }
        }
        if !fields.contains_key("processor") {
            continue;
        }
        let socket = fields.get("physical id").cloned();
        if let (Some(socket), Some(core)) = (&socket, fields.get("core id")) {
            cores.insert((socket.clone(), core.clone()));
        }
        sockets.insert(socket.unwrap_or_default());
        info.logical += 1;
        if info.logical == 1 {
            info.fields = fields;
        }
    }
    info.sockets = u32::try_from(sockets.len()).unwrap_or(1).max(1);
    info.cores = u32::try_from(cores.len()).ok().filter(|n| *n > 0);
    info
}

/// How many processors a list names ("0-3,8").
fn parse_cpu_list(text: &str) -> u32 {
    let count = |range: &str| -> Option<u32> {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (from, to): (u32, u32) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
        to.checked_sub(from)?.checked_add(1)
    };
    text.trim().split(',').filter_map(count).fold(0, u32::saturating_add)
}

/// Two kinds of cores: Intel's kernel drivers give each its own list.
fn hybrid(look: &Look<'_>) -> Option<Hybrid> {
    let list = |name: &str| look.line(&format!("/sys/devices/{name}/cpus")).map(|l| parse_cpu_list(&l));
    let (performance, efficiency) = (list("cpu_core")?, list("cpu_atom")?);
    (performance > 0 && efficiency > 0).then_some(Hybrid { performance, efficiency })
}

/// A model specific register of the first processor, through `/dev/cpu/0/msr` (root, module `msr`).
fn msr(look: &Look<'_>, register: u64) -> Option<u64> {
    use std::os::unix::fs::FileExt;
    let mut bytes = [0u8; 8];
    look.root().open_file("/dev/cpu/0/msr").ok()?.read_exact_at(&mut bytes, register).ok()?;
    Some(u64::from_le_bytes(bytes))
}

/// Whether the firmware left virtualization on.
fn enabled(look: &Look<'_>, technology: Option<VirtTechnology>, vendor: &str) -> Finding<bool> {
    match technology {
        // Since 5.6 the kernel hides `vmx` when the firmware locked it out (arch/x86/kernel/cpu/feat_ctl.c).
        Some(VirtTechnology::VtX) => Finding::Seen(true),
        Some(VirtTechnology::AmdV) => {
            if look.exists("/sys/module/kvm_amd") && look.exists("/dev/kvm") {
                return Finding::Seen(true);
            }
            // VM_CR, bit 4: SVMDIS (AMD64 Architecture Programmer's Manual, volume 2, 15.30.1).
            match msr(look, 0xc001_0114) {
                Some(value) => Finding::Seen(value & (1 << 4) == 0),
                None => Finding::unseen(
                    "the firmware's switch is in a register (VM_CR) that only root can read, with the module msr loaded",
                ),
            }
        }
        None if vendor == "GenuineIntel" || vendor == "AuthenticAMD" || vendor == "HygonGenuine" => {
            Finding::unseen(
                "the processor shows no virtualization: it has none, or the firmware or a hypervisor switched it off. \
             Look for VT-x or SVM in the firmware's setup",
            )
        }
        None => Finding::Seen(false),
    }
}

fn of_info(look: &Look<'_>, info: &CpuInfo) -> Finding<Cpu> {
    let field = |name: &str| info.fields.get(name).map(String::as_str);
    let number = |name: &str| field(name).and_then(|v| v.parse::<u32>().ok());
    let Some(vendor) = field("vendor_id") else {
        return Finding::unseen("/proc/cpuinfo names no processor of the x86 family");
    };
    let mut flags: Vec<String> =
        field("flags").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    flags.sort();
    flags.dedup();
    let has = |flag: &str| flags.binary_search_by(|f| f.as_str().cmp(flag)).is_ok();
    // Newer kernels list these apart.
    let vmx = |flag: &str| field("vmx flags").is_some_and(|f| f.split_whitespace().any(|w| w == flag));
    let technology = match (has("vmx"), has("svm")) {
        (true, _) => Some(VirtTechnology::VtX),
        (_, true) => Some(VirtTechnology::AmdV),
        _ => None,
    };
    let (family, model) = (number("cpu family").unwrap_or(0), number("model").unwrap_or(0));
    let (march, march_needs_gcc) = march::name(vendor, family, model, has);
    Finding::Seen(Cpu {
        vendor: vendor.to_owned(),
        model_name: field("model name").unwrap_or_default().to_owned(),
        family,
        model,
        stepping: number("stepping").unwrap_or(0),
        logical: info.logical,
        cores: info.cores,
        sockets: info.sockets,
        virtualization: Virtualization {
            technology,
            enabled: enabled(look, technology, vendor),
            nested_paging: has("ept") || vmx("ept") || has("npt"),
            vpid: has("vpid") || vmx("vpid") || technology == Some(VirtTechnology::AmdV),
            under_hypervisor: has("hypervisor"),
        },
        hybrid: hybrid(look),
        avx2: has("avx2"),
        avx512: flags.iter().filter(|f| f.starts_with("avx512")).cloned().collect(),
        x86_64_level: march::level(has),
        march,
        march_needs_gcc,
        flags,
    })
}

/// Reads the processor.
pub(super) fn read(look: &Look<'_>) -> Finding<Cpu> {
    match look.text("/proc/cpuinfo") {
        Ok(text) => of_info(look, &parse_cpuinfo(&text)),
        Err(e) if e.is_not_found() => Finding::unseen(NOT_RUNNING),
        Err(e) => Finding::unseen(e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn processors_cores_and_sockets_are_counted() {
        let one = |n: u32, socket: u32, core: u32| {
            format!(
                "processor\t: {n}\nvendor_id\t: GenuineIntel\nphysical id\t: {socket}\ncore id\t\t: {core}\nflags\t\t: lm vmx\n\n"
            )
        };
        let text: String =
            [(0, 0, 0), (1, 0, 0), (2, 0, 1), (3, 1, 0)].iter().map(|(n, s, c)| one(*n, *s, *c)).collect();
        let info = parse_cpuinfo(&text);
        assert_eq!((info.logical, info.sockets, info.cores), (4, 2, Some(3)));
        assert_eq!(info.fields["flags"], "lm vmx");
    }

    #[test]
    fn the_firmwares_switch_is_read_where_the_register_can_be() {
        use std::os::unix::fs::FileExt;
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("dev/cpu/0")).unwrap();
        let runner = std::sync::Arc::new(crate::host::fake::FakeRunner::new());
        let host = crate::host::fake::host(dir.path(), runner, crate::host::HostKind::Machine).unwrap();
        let found = || enabled(&Look::new(&host), Some(VirtTechnology::AmdV), "AuthenticAMD");
        assert!(found().why().unwrap().contains("VM_CR"));
        // Sparse: the register's number is its place in the file.
        let register = std::fs::File::create(dir.path().join("dev/cpu/0/msr")).unwrap();
        for (value, on) in [(0x18u64, false), (0x08, true)] {
            register.write_all_at(&value.to_le_bytes(), 0xc001_0114).unwrap();
            assert_eq!(found(), Finding::Seen(on));
        }
    }

    #[test]
    fn lists_of_processors_are_counted() {
        for (text, count) in [("0-15\n", 16), ("0-3,8", 5), ("7", 1), ("", 0), ("5-3", 0), ("x", 0)] {
            assert_eq!(parse_cpu_list(text), count, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_these_parsers_panic(text in "(?s).*", list in "[0-9,-]*") {
            parse_cpuinfo(&text);
            parse_cpuinfo(&format!("processor: 0\n{text}\n\nprocessor: 1"));
            parse_cpu_list(&list);
        }
    }
}
