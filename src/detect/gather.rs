// SPDX-License-Identifier: GPL-3.0-or-later
//! Gathers all findings of a machine, the slow ones side by side.

use super::efi::Variables;
use super::look::Look;
use super::os::Family;
use super::{
    FACTS_VERSION, Facts, Finding, boot, cpu, distro, gpu, iommu, kernel, kvm, memory, modules, os, pci,
    processes, score, secure_boot, session, signing, storage, toolchain, vmware,
};
use crate::host::Host;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A part of the facts that can be asked for alone. The names are those of the fields of [`Facts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// The distribution.
    Os,
    /// The kernel that runs.
    RunningKernel,
    /// The kernels that are installed.
    Kernels,
    /// Compilers, make, linkers.
    Toolchain,
    /// VMware's product and module sources.
    Vmware,
    /// Programs of VMware that run.
    Processes,
    /// Modules in the running kernel.
    LoadedModules,
    /// KVM and who uses it.
    Kvm,
    /// Secure Boot.
    SecureBoot,
    /// Keys and tools for signing.
    Signing,
    /// The initramfs tool.
    Initramfs,
    /// The boot loader.
    Bootloader,
    /// Desktop sessions.
    Sessions,
    /// The processor.
    Cpu,
    /// Memory.
    Memory,
    /// Disks.
    Storage,
    /// Graphics cards.
    Gpus,
    /// The IOMMU.
    Iommu,
    /// The score; what it is made of is gathered too.
    Score,
}

impl Topic {
    /// All of them, in the order of [`Facts`].
    pub const ALL: [Self; 19] = [
        Self::Os,
        Self::RunningKernel,
        Self::Kernels,
        Self::Toolchain,
        Self::Vmware,
        Self::Processes,
        Self::LoadedModules,
        Self::Kvm,
        Self::SecureBoot,
        Self::Signing,
        Self::Initramfs,
        Self::Bootloader,
        Self::Sessions,
        Self::Cpu,
        Self::Memory,
        Self::Storage,
        Self::Gpus,
        Self::Iommu,
        Self::Score,
    ];

    /// What the score is made of.
    const SCORE: [Self; 9] = [
        Self::RunningKernel,
        Self::Kernels,
        Self::Toolchain,
        Self::Kvm,
        Self::SecureBoot,
        Self::Signing,
        Self::Cpu,
        Self::Memory,
        Self::Storage,
    ];

    /// Its name, as in JSON ("secure_boot").
    pub fn name(self) -> &'static str {
        match self {
            Self::Os => "os",
            Self::RunningKernel => "running_kernel",
            Self::Kernels => "kernels",
            Self::Toolchain => "toolchain",
            Self::Vmware => "vmware",
            Self::Processes => "processes",
            Self::LoadedModules => "loaded_modules",
            Self::Kvm => "kvm",
            Self::SecureBoot => "secure_boot",
            Self::Signing => "signing",
            Self::Initramfs => "initramfs",
            Self::Bootloader => "bootloader",
            Self::Sessions => "sessions",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Storage => "storage",
            Self::Gpus => "gpus",
            Self::Iommu => "iommu",
            Self::Score => "score",
        }
    }
}

impl std::fmt::Display for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A topic that does not exist.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("there is no topic \u{201c}{0}\u{201d}; choose among {known}", known = Topic::ALL.map(Topic::name).join(", "))]
pub struct UnknownTopic(pub String);

impl std::str::FromStr for Topic {
    type Err = UnknownTopic;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.trim().replace('-', "_");
        Self::ALL.into_iter().find(|t| t.name() == name).ok_or_else(|| UnknownTopic(text.to_owned()))
    }
}

/// How to gather, beyond what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// On a scratch root, take the processor from the running machine: modules that are built for that
    /// root will run here.
    pub cpu_of_machine: bool,
}

/// Gathers the findings of a machine: all, or only some. Never writes, needs no root; what is for root
/// only is *could not look*. A topic that was not asked for is *could not look* too, and says so.
pub fn gather(host: &Host, only: Option<&[Topic]>) -> Facts {
    gather_with(host, only, Options::default())
}

const NOT_ASKED: &str = "not asked for";

/// What a part that ended in an error of this program is: never an answer.
fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> Option<T> {
    thread.join().ok()
}

fn or_unseen<T>(value: Option<Finding<T>>) -> Finding<T> {
    value.unwrap_or_else(|| Finding::unseen("looking ended in an error of this program; please report it"))
}

/// As [`gather`], with [`Options`].
pub fn gather_with(host: &Host, only: Option<&[Topic]>, options: Options) -> Facts {
    let asked = |topic: Topic| {
        only.is_none_or(|only| {
            only.contains(&topic) || (only.contains(&Topic::Score) && Topic::SCORE.contains(&topic))
        })
    };
    /// Looks only when the topic was asked for.
    macro_rules! look {
        ($topic:ident, $finding:expr) => {
            if asked(Topic::$topic) { $finding } else { Finding::unseen(NOT_ASKED) }
        };
    }
    let look = &Look::new(host);
    // Everything hangs on the distribution, and it is one small file.
    let os = os::read(look);
    let family = os.seen().map_or(Family::Unknown, |os| os.family);
    let distribution = &distro::Distribution::of(family);
    let os_ref = &os;

    let mut facts = std::thread::scope(|scope| {
        let kernels = scope.spawn(move || look!(Kernels, kernel::kernels(look, os_ref)));
        // The kernels are told which compiler fits them.
        let toolchain = scope.spawn(move || {
            if asked(Topic::Toolchain) || asked(Topic::Kernels) {
                toolchain::read(look, distribution)
            } else {
                Finding::unseen(NOT_ASKED)
            }
        });
        let processes = scope.spawn(move || {
            if !(asked(Topic::Processes) || asked(Topic::Kvm)) {
                return (Finding::unseen(NOT_ASKED), Finding::unseen(NOT_ASKED));
            }
            let users = session::users(look);
            let all = processes::list(look);
            let kvm = look!(Kvm, kvm::read(look, &all, &users));
            (look!(Processes, processes::vmware(look, &all, &users)), kvm)
        });
        let devices = scope.spawn(move || {
            let gpus = look!(Gpus, gpu::read(look, &pci::devices(look)));
            (gpus, look!(Iommu, iommu::read(look)), look!(Storage, storage::read(look)))
        });
        let variables = &Variables::new(look);
        let keys = if asked(Topic::SecureBoot) || asked(Topic::Signing) {
            secure_boot::kernel_keys(look)
        } else {
            Finding::unseen(NOT_ASKED)
        };
        let mut facts = Facts {
            schema: FACTS_VERSION,
            os: Finding::unseen(NOT_ASKED),
            running_kernel: look!(RunningKernel, kernel::running(look)),
            kernels: Finding::unseen(NOT_ASKED),
            toolchain: Finding::unseen(NOT_ASKED),
            vmware: look!(Vmware, vmware::read(look)),
            processes: Finding::unseen(NOT_ASKED),
            loaded_modules: look!(LoadedModules, modules::read_loaded(look)),
            kvm: Finding::unseen(NOT_ASKED),
            secure_boot: look!(SecureBoot, secure_boot::read(look, variables, &keys)),
            signing: look!(Signing, signing::read(look, distribution, variables, &keys)),
            initramfs: look!(Initramfs, boot::read_initramfs(look, family)),
            bootloader: if asked(Topic::Bootloader) || asked(Topic::Kernels) {
                boot::read_bootloader(look, variables, family)
            } else {
                Finding::unseen(NOT_ASKED)
            },
            sessions: look!(Sessions, session::read(look)),
            cpu: look!(Cpu, read_cpu(look, options)),
            memory: look!(Memory, memory::read(look)),
            storage: Finding::unseen(NOT_ASKED),
            gpus: Finding::unseen(NOT_ASKED),
            iommu: Finding::unseen(NOT_ASKED),
            score: Finding::unseen(NOT_ASKED),
        };
        facts.kernels = or_unseen(joined(kernels));
        facts.toolchain = or_unseen(joined(toolchain));
        if let Some((vmware, kvm)) = joined(processes) {
            (facts.processes, facts.kvm) = (vmware, kvm);
        } else {
            (facts.processes, facts.kvm) = (or_unseen(None), or_unseen(None));
        }
        if let Some((gpus, iommu, storage)) = joined(devices) {
            (facts.gpus, facts.iommu, facts.storage) = (gpus, iommu, storage);
        } else {
            (facts.gpus, facts.iommu, facts.storage) = (or_unseen(None), or_unseen(None), or_unseen(None));
        }
        facts
    });

    let next = facts.bootloader.as_ref().and_then(|b| b.next_boot.clone());
    if let Finding::Seen(kernels) = &mut facts.kernels {
        for kernel in kernels {
            kernel.complete(&next, &facts.toolchain);
        }
    }
    if !asked(Topic::Toolchain) {
        facts.toolchain = Finding::unseen(NOT_ASKED);
    }
    if !asked(Topic::Bootloader) {
        facts.bootloader = Finding::unseen(NOT_ASKED);
    }
    facts.os = if asked(Topic::Os) { os } else { Finding::unseen(NOT_ASKED) };
    facts.score = look!(Score, score::score(&facts));
    facts
}

fn read_cpu(look: &Look<'_>, options: Options) -> Finding<super::Cpu> {
    let own = cpu::read(look);
    if own.is_seen() || !options.cpu_of_machine {
        return own;
    }
    match Host::machine() {
        Ok(machine) => cpu::read(&Look::new(&machine)),
        Err(e) => Finding::unseen(e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_is_a_field_of_the_facts() {
        let dir = tempfile::tempdir().unwrap();
        let runner = std::sync::Arc::new(crate::host::fake::FakeRunner::new());
        let host = crate::host::fake::host(dir.path(), runner, crate::host::HostKind::Machine).unwrap();
        let facts = serde_json::to_value(gather(&host, Some(&[]))).unwrap();
        for topic in Topic::ALL {
            assert_eq!(facts[topic.name()]["could_not_look"], NOT_ASKED, "{topic}");
            assert_eq!(topic.name().parse(), Ok(topic));
            assert_eq!(serde_json::to_value(topic).unwrap(), topic.name());
        }
        assert_eq!(facts.as_object().unwrap().len(), Topic::ALL.len() + 1);
    }

    #[test]
    fn an_unknown_topic_is_told_the_known_ones() {
        let error = "kernel".parse::<Topic>().unwrap_err().to_string();
        assert!(error.contains("running_kernel, kernels"), "{error}");
        assert_eq!("secure-boot".parse(), Ok(Topic::SecureBoot));
    }
}
