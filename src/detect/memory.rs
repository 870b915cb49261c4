// SPDX-License-Identifier: GPL-3.0-or-later
//! Memory, huge pages and NUMA nodes.

use super::Finding;
use super::kernel::chosen;
use super::look::Look;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Memory. Sizes in KiB, as `/proc/meminfo` has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Memory {
    /// All that the kernel manages.
    pub total_kib: u64,
    /// What could be given to programs without swapping, now.
    pub available_kib: u64,
    /// Swap.
    pub swap_total_kib: u64,
    /// Pools of huge pages.
    pub huge_pages: Vec<HugePool>,
    /// Transparent huge pages: "always", "madvise" or "never".
    pub transparent_huge_pages: Finding<String>,
    /// NUMA nodes; at least one.
    pub numa_nodes: u32,
}

/// A pool of huge pages of one size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HugePool {
    /// Page size in KiB.
    pub page_kib: u64,
    /// Reserved pages.
    pub total: u64,
    /// Of these, free.
    pub free: u64,
}

/// A value of `/proc/meminfo` in KiB.
fn meminfo(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Reads memory.
pub(super) fn read(look: &Look<'_>) -> Finding<Memory> {
    look.if_running(|| {
        let text = match look.text("/proc/meminfo") {
            Ok(text) => text,
            Err(e) => return Finding::unseen(e.to_string()),
        };
        let Some(total_kib) = meminfo(&text, "MemTotal") else {
            return Finding::unseen("/proc/meminfo has no MemTotal");
        };
        let pool = |entry: &crate::host::Entry| {
            let page_kib = entry.name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            let number = |file: &str| look.number(&format!("/sys/kernel/mm/hugepages/{}/{file}", entry.name));
            Some(HugePool { page_kib, total: number("nr_hugepages")?, free: number("free_hugepages")? })
        };
        let mut huge_pages: Vec<HugePool> =
            look.list("/sys/kernel/mm/hugepages").iter().filter_map(pool).collect();
        huge_pages.sort_by_key(|p| p.page_kib);
        let transparent = match look.text("/sys/kernel/mm/transparent_hugepage/enabled") {
            Ok(text) => match chosen(&text) {
                Some(mode) => Finding::Seen(mode.to_owned()),
                None => Finding::unseen("transparent_hugepage/enabled says nothing known"),
            },
            // The kernel was built without them.
            Err(e) if e.is_not_found() && look.exists("/sys/kernel/mm") => Finding::Seen("never".to_owned()),
            Err(e) => Finding::unseen(e.to_string()),
        };
        let nodes = look.list("/sys/devices/system/node").into_iter().filter(|e| {
            e.name
                .strip_prefix("node")
                .is_some_and(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit()))
        });
        Finding::Seen(Memory {
            total_kib,
            available_kib: meminfo(&text, "MemAvailable").unwrap_or(0),
            swap_total_kib: meminfo(&text, "SwapTotal").unwrap_or(0),
            huge_pages,
            transparent_huge_pages: transparent,
            numa_nodes: u32::try_from(nodes.count()).unwrap_or(1).max(1),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_found_by_their_whole_name() {
        let text = "MemTotal:       32768000 kB\nMemFree: 1 kB\nSwapTotal:             0 kB\n";
        assert_eq!(meminfo(text, "MemTotal"), Some(32_768_000));
        assert_eq!(meminfo(text, "Mem"), None);
        assert_eq!(meminfo(text, "SwapTotal"), Some(0));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(?s).*") {
            meminfo(&format!("MemTotal:{text}"), "MemTotal");
        }
    }
}
