// SPDX-License-Identifier: GPL-3.0-or-later
//! What can be measured: workloads, and the figures that each gives.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// In which direction a figure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
}

/// What is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Workload {
    /// Compiling, loading and using VMware's modules, as the kernel's flags make them and tuned.
    Modules,
    /// Starting a virtual machine.
    Start,
    /// Disks, of the host and in a guest.
    Disk,
    /// Memory, with small pages and with huge ones.
    Memory,
    /// The processor.
    Cpu,
    /// How soon a thread runs that should.
    Scheduler,
}

impl Workload {
    /// All, in the order in which they are run and shown.
    pub const ALL: [Self; 6] =
        [Self::Modules, Self::Start, Self::Disk, Self::Memory, Self::Cpu, Self::Scheduler];

    /// Whether it takes seconds and needs nothing that is not here; the others take minutes, or packages.
    pub fn is_quick(self) -> bool {
        matches!(self, Self::Memory | Self::Cpu | Self::Scheduler)
    }

    /// Its name on the command line.
    pub fn id(self) -> &'static str {
        match self {
            Self::Modules => "modules",
            Self::Start => "start",
            Self::Disk => "disk",
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Scheduler => "scheduler",
        }
    }

    /// What it is, in a few words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Modules => "VMware's modules",
            Self::Start => "Start of a virtual machine",
            Self::Disk => "Disk",
            Self::Memory => "Memory",
            Self::Cpu => "Processor",
            Self::Scheduler => "Scheduler",
        }
    }

    /// What it does, in a sentence.
    pub fn what(self) -> &'static str {
        match self {
            Self::Modules => {
                "Compiles vmmon and vmnet with the kernel's own flags and tuned, by turns; loads each pair in a throw-away \
                 guest and passes frames between two ports of a vmnet hub there. Needs the kernel's headers and QEMU."
            }
            Self::Start => {
                "Boots a guest from QEMU's start to its first process; with --vmx also a virtual machine of VMware's, with \
                 vmrun. Needs QEMU and a kernel image that can be read."
            }
            Self::Disk => {
                "Reads and writes a file in a folder of the host, and a disk in a guest: in a row and at random, past the \
                 page cache. Needs fio; the guest needs QEMU."
            }
            Self::Memory => {
                "Copies and reads memory, and follows pointers through it, with pages of 4 KiB and with transparent huge \
                 pages."
            }
            Self::Cpu => "Hashes, compresses, sorts and multiplies matrices, on one core and on all of them.",
            Self::Scheduler => {
                "How late a thread wakes up that slept for a millisecond, on an idle machine and on a busy one; and a \
                 change from thread to thread and back."
            }
        }
    }
}

impl std::str::FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = Self::ALL.map(Self::id).join(", ");
        Self::ALL.into_iter().find(|w| w.id() == text).ok_or_else(|| format!("there are: {all}"))
    }
}

/// One figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name ("memory.random").
    pub id: &'static str,
    /// What is run for it.
    pub workload: Workload,
    /// What it is, in a few words.
    pub title: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// In which direction it is better.
    pub better: Better,
}

macro_rules! metrics {
    ($($name:ident $workload:ident $id:literal $title:literal $unit:literal $better:ident;)*) => {
        $(
            #[doc = concat!("`", $id, "`: ", $title, ", ", $unit, ".")]
            pub const $name: Metric = Metric {
                id: $id, workload: Workload::$workload, title: $title, unit: $unit, better: Better::$better,
            };
        )*
        /// All figures, in the order in which they are shown.
        pub const METRICS: &[Metric] = &[$($name),*];
    };
}

metrics! {
    BUILD Modules "modules.build" "Compiling both modules" "s" Lower;
    LOAD Modules "modules.load" "Loading both modules" "ms" Lower;
    THROUGHPUT Modules "modules.vmnet.throughput" "vmnet, throughput from port to port" "Mbit/s" Higher;
    LATENCY Modules "modules.vmnet.latency" "vmnet, there and back" "µs" Lower;
    LATENCY_TAIL Modules "modules.vmnet.latency_p99" "vmnet, there and back, slowest of 100" "µs" Lower;
    START_KERNEL Start "start.kernel" "To the kernel's clock" "ms" Lower;
    START_INIT Start "start.init" "To the first process" "ms" Lower;
    START_END Start "start.end" "To the end of an empty task" "ms" Lower;
    START_VMWARE Start "start.vmrun" "vmrun start" "s" Lower;
    DISK_READ Disk "disk.read" "Reading in a row" "MB/s" Higher;
    DISK_WRITE Disk "disk.write" "Writing in a row" "MB/s" Higher;
    DISK_RANDOM_READ Disk "disk.random_read" "Reading 4 KiB at random" "IOPS" Higher;
    DISK_RANDOM_WRITE Disk "disk.random_write" "Writing 4 KiB at random" "IOPS" Higher;
    DISK_READ_TAIL Disk "disk.random_read_p99" "Reading at random, slowest of 100" "µs" Lower;
    MEMORY_COPY Memory "memory.copy" "Copying" "GB/s" Higher;
    MEMORY_READ Memory "memory.read" "Reading in a row" "GB/s" Higher;
    MEMORY_RANDOM Memory "memory.random" "Following pointers" "ns" Lower;
    HASH_ONE Cpu "cpu.hash.one" "SHA-256, one core" "MB/s" Higher;
    HASH_ALL Cpu "cpu.hash.all" "SHA-256, all cores" "MB/s" Higher;
    COMPRESS_ONE Cpu "cpu.compress.one" "zstd, one core" "MB/s" Higher;
    COMPRESS_ALL Cpu "cpu.compress.all" "zstd, all cores" "MB/s" Higher;
    SORT_ONE Cpu "cpu.sort.one" "Sorting, one core" "M/s" Higher;
    SORT_ALL Cpu "cpu.sort.all" "Sorting, all cores" "M/s" Higher;
    MATRIX_ONE Cpu "cpu.matrix.one" "Matrices, one core" "GFLOP/s" Higher;
    MATRIX_ALL Cpu "cpu.matrix.all" "Matrices, all cores" "GFLOP/s" Higher;
    WAKE Scheduler "scheduler.wake" "Waking up late" "µs" Lower;
    WAKE_TAIL Scheduler "scheduler.wake_p99" "Waking up late, worst of 100" "µs" Lower;
    SWITCH Scheduler "scheduler.switch" "From thread to thread and back" "µs" Lower;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_begin_with_their_workload() {
        let mut ids: Vec<&str> = METRICS.iter().map(|m| m.id).collect();
        assert!(METRICS.iter().all(|m| m.id.starts_with(&format!("{}.", m.workload.id()))));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), METRICS.len());
        for workload in Workload::ALL {
            assert_eq!(workload.id().parse(), Ok(workload));
            assert!(METRICS.iter().any(|m| m.workload == workload));
        }
        assert!("cup".parse::<Workload>().unwrap_err().contains("modules, start, disk"));
    }
}
