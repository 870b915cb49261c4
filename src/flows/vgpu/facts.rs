// SPDX-License-Identifier: GPL-3.0-or-later
//! What the decision reads, and nothing else.

use crate::detect::apt::ProxmoxRepository;
use crate::detect::nvidia::{NvidiaDriver, NvidiaGpu, NvidiaService};
use crate::detect::proxmox::{Earlier, KernelPackageKind, KernelPin, RootPool};
use crate::detect::{self, Finding, Headers, KeyOwner, Topic, nvidia, proxmox};
use crate::host::Host;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the decision reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VgpuFacts {
    /// Version of Proxmox VE; `None` when this is none.
    pub proxmox: Finding<Option<String>>,
    /// Installed kernels, newest first.
    pub kernels: Finding<Vec<KernelFact>>,
    /// The kernel that runs.
    pub running: Option<String>,
    /// The kernel that the boot loader starts next, where that is known.
    pub next: Finding<String>,
    /// The pinned kernel.
    pub pin: Finding<Option<KernelPin>>,
    /// Releases of kernels that APT could install, oldest first.
    pub available: Finding<Vec<String>>,
    /// The pool of the root file system.
    pub root_pool: Finding<Option<RootPool>>,
    /// Whether Secure Boot makes the kernel refuse unsigned modules.
    pub secure_boot: Finding<bool>,
    /// Whether a key that modules can be signed with here is trusted already.
    pub key_trusted: Finding<bool>,
    /// Whether the IOMMU is in use.
    pub iommu: Finding<bool>,
    /// The cards.
    pub gpus: Finding<Vec<NvidiaGpu>>,
    /// Whether `nouveau` is loaded.
    pub nouveau_loaded: Finding<bool>,
    /// Files that block `nouveau`.
    pub nouveau_blocked_by: Vec<String>,
    /// NVIDIA's driver.
    pub driver: Finding<Option<NvidiaDriver>>,
    /// Services.
    pub services: Vec<NvidiaService>,
    /// Whether Proxmox's helper is installed.
    pub vgpu_helper: Finding<bool>,
    /// Proxmox repositories that APT uses, and the files they are in.
    pub repositories: Finding<Vec<(ProxmoxRepository, String)>>,
    /// What other installers left.
    pub earlier: Finding<Vec<Earlier>>,
}

/// An installed kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KernelFact {
    /// Its release.
    pub release: String,
    /// Whether its headers are usable.
    pub headers: bool,
    /// Whether its package is the signed one; `None` when that is not known.
    pub signed: Option<bool>,
    /// Version of its ZFS module.
    pub zfs: Option<String>,
}

/// Looks at a machine for all that the decision reads.
pub fn gather(host: &Host) -> VgpuFacts {
    let topics = [
        Topic::RunningKernel,
        Topic::Kernels,
        Topic::Bootloader,
        Topic::SecureBoot,
        Topic::Signing,
        Topic::Iommu,
    ];
    let facts = detect::gather(host, Some(&topics));
    let pve = proxmox::read(host);
    let nvidia = nvidia::read(host);

    let signed = |release: &str| {
        let packages = pve.packages.seen()?;
        let of = packages.iter().filter(|p| p.release.as_deref() == Some(release));
        let mut kinds = of.map(|p| p.kind).filter(|k| *k != KernelPackageKind::Headers).peekable();
        kinds.peek().is_some().then(|| kinds.any(|k| k == KernelPackageKind::SignedKernel))
    };
    let zfs = |release: &str| {
        let modules = pve.zfs_modules.seen()?;
        modules.iter().find(|(k, _)| k == release).map(|(_, version)| version.clone())
    };
    let kernels = facts.kernels.as_ref().map(|kernels| {
        let fact = |k: &detect::Kernel| KernelFact {
            release: k.release.clone(),
            headers: matches!(k.headers, Headers::Usable { .. }),
            signed: signed(&k.release),
            zfs: zfs(&k.release),
        };
        kernels.iter().map(fact).collect()
    });
    let key_trusted = facts.signing.as_ref().and_then(|signing| {
        let ours = [KeyOwner::Hostwright, KeyOwner::Dkms].into_iter().filter_map(|o| signing.key(o));
        let mut unseen = None;
        for key in ours {
            for place in [&key.trust.enrolled, &key.trust.in_kernel, &key.trust.in_firmware] {
                match place {
                    Finding::Seen(true) => return Finding::Seen(true),
                    Finding::Seen(false) => {}
                    Finding::CouldNotLook { why } => unseen = Some(why.clone()),
                }
            }
        }
        unseen.map_or(Finding::Seen(false), Finding::unseen)
    });
    VgpuFacts {
        proxmox: pve.version,
        kernels,
        running: facts.running_kernel.seen().map(|k| k.release.clone()),
        next: facts.bootloader.as_ref().and_then(|b| b.next_boot.as_ref().map(|n| n.release.clone())),
        pin: pve.pin,
        available: pve.available.map(|names| releases(&names)),
        root_pool: pve.root_pool,
        secure_boot: facts.secure_boot.as_ref().and_then(detect::SecureBoot::is_effective),
        key_trusted,
        iommu: facts.iommu.as_ref().map(|i| i.active),
        gpus: nvidia.gpus,
        nouveau_loaded: nvidia.nouveau_loaded,
        nouveau_blocked_by: nvidia.nouveau_blocked_by,
        driver: nvidia.driver,
        services: nvidia.services,
        vgpu_helper: pve.vgpu_helper,
        repositories: pve.apt.map(|files| {
            let of = |file: &detect::apt::AptFile| {
                let enabled: Vec<ProxmoxRepository> =
                    file.repositories.iter().filter(|r| r.enabled).filter_map(|r| r.proxmox()).collect();
                enabled.into_iter().map(|kind| (kind, file.path.clone())).collect::<Vec<_>>()
            };
            files.iter().flat_map(of).collect()
        }),
        earlier: pve.earlier,
    }
}

/// The releases in names of kernel packages, in their order, each once.
fn releases(names: &[String]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for name in names {
        if let Some(package) = proxmox::KernelPackage::of(name, "")
            && let Some(release) = package.release
            && !found.contains(&release)
        {
            found.push(release);
        }
    }
    found
}
