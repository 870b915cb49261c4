// SPDX-License-Identifier: GPL-3.0-or-later
//! Processor, memory, disks, graphics, IOMMU and the score as lines for people. Pure.

use super::findings::{look_at, unknown, word};
use super::{Mark, Row, bytes, count};
use crate::detect::{Facts, Finding};

pub(super) fn cpu(facts: &Facts) -> Vec<Row> {
    look_at("Processor", &facts.cpu, |cpu| {
        let mut text =
            format!("{}, {}", cpu.model_name.trim(), count(cpu.logical as usize, "thread", "threads"));
        if let Some(hybrid) = &cpu.hybrid {
            text.push_str(&format!(
                " ({} performance, {} efficiency)",
                hybrid.performance, hybrid.efficiency
            ));
        }
        let mut rows = vec![Row::new(Mark::Good, "Processor", text)];
        let v = &cpu.virtualization;
        rows.push(match (&v.technology, &v.enabled) {
            (Some(technology), Finding::Seen(true)) => {
                let name = match technology {
                    crate::detect::cpu::VirtTechnology::VtX => "VT-x",
                    crate::detect::cpu::VirtTechnology::AmdV => "AMD-V",
                };
                let paging = if v.nested_paging { ", second-level address translation" } else { "" };
                Row::new(Mark::Good, "Virtualization", format!("{name}{paging}"))
            }
            (Some(_), Finding::Seen(false)) => {
                Row::new(Mark::Bad, "Virtualization", "switched off in the firmware")
                    .remedy("Switch it on in the firmware's setup (VT-x, SVM).")
            }
            (None, _) if v.under_hypervisor => {
                Row::new(Mark::Warning, "Virtualization", "not shown by the hypervisor this machine runs in")
            }
            (None, _) => Row::new(Mark::Bad, "Virtualization", "absent, or switched off in the firmware")
                .remedy("Look into the firmware's setup for VT-x or SVM."),
            (Some(_), Finding::CouldNotLook { why }) => unknown("Virtualization", why),
        });
        let avx = match (cpu.avx512.is_empty(), cpu.avx2) {
            (false, _) => ", AVX-512",
            (true, true) => ", AVX2",
            (true, false) => "",
        };
        rows.push(Row::new(
            Mark::Neutral,
            "Instruction set",
            format!("x86-64-v{}{avx}; compilers know it as {}", cpu.x86_64_level, cpu.march),
        ));
        rows
    })
}

pub(super) fn memory(facts: &Facts) -> Vec<Row> {
    look_at("Memory", &facts.memory, |memory| {
        let mut text =
            format!("{}, {} available", bytes(memory.total_kib * 1024), bytes(memory.available_kib * 1024));
        if memory.numa_nodes > 1 {
            text.push_str(&format!(", {} NUMA nodes", memory.numa_nodes));
        }
        let mut rows = vec![Row::new(Mark::Good, "Memory", text)];
        for pool in memory.huge_pages.iter().filter(|p| p.total > 0) {
            let size = bytes(pool.page_kib * 1024);
            rows.push(Row::new(
                Mark::Neutral,
                "",
                format!("{} huge pages of {size} reserved, {} free", pool.total, pool.free),
            ));
        }
        rows
    })
}

pub(super) fn storage(facts: &Facts) -> Vec<Row> {
    look_at("Disks", &facts.storage, |disks| {
        let one = |d: &crate::detect::Disk| {
            let root = if d.holds_root == Some(true) { ", holds the system" } else { "" };
            let model = d.model.as_ref().map(|m| format!(" {}", m.trim())).unwrap_or_default();
            Row::new(
                Mark::Neutral,
                "Disks",
                format!("{}:{model} {} {}{root}", d.name, bytes(d.size), word(&d.kind)),
            )
        };
        disks.iter().map(one).collect()
    })
}

pub(super) fn gpus(facts: &Facts) -> Vec<Row> {
    look_at("Graphics", &facts.gpus, |gpus| {
        let one = |g: &crate::detect::Gpu| {
            let vendor = g.vendor.clone().unwrap_or_else(|| g.vendor_id.clone());
            let driver = g.driver.as_ref().map_or_else(|| "no driver".to_owned(), |d| format!("driver {d}"));
            Row::new(
                Mark::Neutral,
                "Graphics",
                format!("{vendor} {} at {}, {driver}", g.device_id, g.address),
            )
        };
        gpus.iter().map(one).collect()
    })
}

pub(super) fn iommu(facts: &Facts) -> Vec<Row> {
    look_at("IOMMU", &facts.iommu, |iommu| {
        let text = if iommu.active {
            format!("in use, {}", count(iommu.groups.len(), "group", "groups"))
        } else {
            "not in use; VMware's products need none".to_owned()
        };
        vec![Row::new(Mark::Neutral, "IOMMU", text)]
    })
}

pub(super) fn score(facts: &Facts) -> Vec<Row> {
    look_at("Score", &facts.score, |score| {
        let mut rows =
            vec![Row::new(Mark::Neutral, "Score", format!("{} of {} points", score.points, score.max))];
        for part in &score.parts {
            let mark = match part.max {
                0 => Mark::Unknown,
                max if part.points == max => Mark::Good,
                _ => Mark::Warning,
            };
            let points =
                if part.max == 0 { "?".to_owned() } else { format!("{} of {}", part.points, part.max) };
            rows.push(Row::new(mark, &points, format!("{}: {}", part.title, part.reason)));
        }
        rows.push(Row::new(
            Mark::Neutral,
            "Recommended",
            format!("{}: {}", score.recommended.as_str(), score.reason),
        ));
        rows
    })
}
