// SPDX-License-Identifier: GPL-3.0-or-later
//! Memory, huge pages and NUMA nodes.

use super::Finding;
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
