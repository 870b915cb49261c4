// SPDX-License-Identifier: GPL-3.0-or-later
//! Turns what was detected into just the facts that the plan reads.

use super::choices::{Choices, InitramfsChoice, RehearseChoice, SourceChoice, UpdateChoice};
use super::facts::{
    CpuFacts, InitramfsFacts, KernelFacts, KeyFacts, PresentModule, SourceFacts, VmwareFacts,
};
use super::plan::{MODPROBE, MODULES_LOAD};
use super::select::Selected;
use super::source::SourceTree;
use super::updates::{self, Updater};
use super::{MODULES, RECORD, dkms};
use crate::detect::os::Family;
use crate::detect::{self, Facts, Finding, KeyOwner, VmwareRole};
use crate::engine::Inputs;
use crate::engine::plan::Refusal;
use crate::engine::source::SourceError;
use crate::engine::steps::{Compression, InitramfsTool, Mode, SourceRef};
use crate::host::{Host, HostKind, Root};
use std::collections::BTreeMap;

/// The sources of the modules, in memory.
pub type Sources = BTreeMap<String, SourceTree>;

/// Reads the sources that the choices name. A module without sources is left out: the plan refuses.
///
/// # Errors
/// A refusal that says what is wrong with them.
pub fn sources(host: &Host, choices: &Choices, facts: &Facts, inputs: &Inputs) -> Result<Sources, Refusal> {
    let mut trees = Sources::new();
    for module in MODULES {
        let from = match &choices.source {
            SourceChoice::Sealed { sha256, name } => {
                SourceRef::Sealed { sha256: sha256.clone(), name: name.clone() }
            }
            SourceChoice::Installed => {
                let Some(vmware) = facts.vmware.seen() else { continue };
                let Some(source) = vmware.module_sources.iter().find(|s| s.module == module) else {
                    continue;
                };
                SourceRef::Installed { path: source.path.clone() }
            }
        };
        let tree = match &from {
            SourceRef::Installed { path } => SourceTree::read(host.root(), path, module),
            SourceRef::Sealed { sha256, name } => match inputs.sealed.get(sha256) {
                Some(bytes) => SourceTree::from_archive(bytes, name, module),
                None => Err(SourceError::NotHandedOver { name: name.clone() }),
            },
        }
        .map_err(|e| {
            let remedy = match choices.source {
                SourceChoice::Installed => {
                    "Reinstall the product, or give other sources with --source FOLDER."
                }
                SourceChoice::Sealed { .. } => {
                    "Give a folder or archive with vmmon-only and vmnet-only in it."
                }
            };
            Refusal::new("sources-unusable", e.to_string(), remedy)
        })?;
        trees.insert(module.to_owned(), tree);
    }
    Ok(trees)
}

/// What the plan says of the sources.
pub fn source_facts(trees: &Sources) -> Vec<SourceFacts> {
    trees
        .values()
        .map(|tree| SourceFacts {
            module: tree.module.clone(),
            from: tree.source.clone(),
            sha256: tree.sha256.clone(),
            version: tree.version().map(str::to_owned),
            kind: tree.recognised.describe(),
        })
        .collect()
}

/// The facts that need no probing and no sources; kernels still lack their probes.
pub fn machine_facts(host: &Host, choices: &Choices, facts: &Facts, selected: &Selected<'_>) -> VmwareFacts {
    let os = facts.os.seen();
    let secure_boot = facts.secure_boot.seen();
    let effective = facts.secure_boot.as_ref().and_then(detect::SecureBoot::is_effective);
    VmwareFacts {
        system: os.map_or_else(|| "This system".to_owned(), |o| o.name.clone()),
        immutable: os.and_then(|o| o.immutable.as_ref()).map(|i| i.guidance.clone()),
        machine: host.is_machine(),
        tools_run: host.kind() != HostKind::PartialRoot,
        missing_tools: missing_tools(facts),
        product: product(facts),
        in_the_way: in_the_way(facts),
        processes_unseen: facts.processes.why().map(str::to_owned),
        kernels: selected.kernels.iter().filter_map(|k| kernel_facts(host, choices, facts, k)).collect(),
        unusable: selected.unusable.clone(),
        loaded: MODULES
            .iter()
            .filter(|m| facts.loaded_modules.seen().is_some_and(|l| l.get(m).is_some()))
            .map(|m| (*m).to_owned())
            .collect(),
        secure_boot: effective.seen().copied(),
        secure_boot_unseen: effective.why().map(str::to_owned),
        has_shim: secure_boot.is_some_and(|s| s.trust.seen() == Some(&detect::secure_boot::BootTrust::Shim)),
        has_mokutil: has_tool(facts, "mokutil"),
        keys: keys(facts),
        has_openssl: has_tool(facts, "openssl"),
        sources: Vec::new(),
        // Without a wish for them they are none of the plan's business.
        updater: (choices.updates == UpdateChoice::Hook)
            .then(|| os.and_then(|o| Updater::of(o.family, host.root())))
            .flatten(),
        dkms: (choices.updates != UpdateChoice::Keep).then(|| dkms::gather(host.root(), facts)),
        files: [MODULES_LOAD, MODPROBE]
            .into_iter()
            .chain(updates::paths().filter(|_| choices.updates != UpdateChoice::Keep))
            .map(|path| (path.to_owned(), host.root().read_text(path).ok()))
            .collect(),
        services: services(facts),
        no_rehearsal: selected
            .kernels
            .iter()
            .any(|k| choices.for_kernel(&k.release).rehearse != RehearseChoice::Never)
            .then(|| no_rehearsal(host, facts))
            .flatten(),
        cpu: selected
            .kernels
            .iter()
            .any(|k| choices.for_kernel(&k.release).mode == Mode::Optimized)
            .then(|| cpu(facts))
            .flatten(),
        catalogue: String::new(),
    }
}

/// What is missing for a virtual machine. It runs on this machine, also when the modules are for a scratch root.
fn no_rehearsal(host: &Host, facts: &Facts) -> Option<String> {
    let has = |root: &Root| QEMU.iter().any(|path| root.exists(path));
    let there = if host.is_machine() {
        has(host.root())
    } else {
        Root::open(std::path::Path::new("/")).is_ok_and(|root| has(&root))
    };
    if there {
        return None;
    }
    let family = facts.os.seen().map_or(Family::Unknown, |os| os.family);
    let install = match family {
        Family::Debian | Family::Ubuntu | Family::Proxmox => "apt-get install qemu-system-x86",
        Family::Fedora | Family::Rhel => "dnf install qemu-system-x86-core",
        Family::Suse => "zypper install qemu-x86",
        Family::Arch => "pacman -S qemu-system-x86",
        Family::Gentoo => "emerge app-emulation/qemu",
        _ => "install the package with qemu-system-x86_64",
    };
    Some(format!("QEMU ({install})"))
}

/// Where QEMU for this architecture is.
const QEMU: [&str; 2] = ["/usr/bin/qemu-system-x86_64", "/usr/local/bin/qemu-system-x86_64"];

fn has_tool(facts: &Facts, name: &str) -> bool {
    facts.signing.seen().is_some_and(|s| s.tools.contains_key(name))
}

fn missing_tools(facts: &Facts) -> Vec<String> {
    let Some(toolchain) = facts.toolchain.seen() else { return Vec::new() };
    toolchain
        .missing
        .iter()
        .map(|m| match &m.command {
            Some(command) => format!("{} ({command})", m.tool),
            None => m.tool.clone(),
        })
        .collect()
}

fn product(facts: &Facts) -> Option<String> {
    let vmware = facts.vmware.seen()?;
    let name = match vmware.product? {
        detect::VmwareProduct::Workstation => "VMware Workstation",
        detect::VmwareProduct::Player => "VMware Player",
        detect::VmwareProduct::Other => "VMware",
    };
    let words =
        [Some(name.to_owned()), vmware.version.clone(), vmware.build.as_ref().map(|b| format!("build {b}"))];
    Some(words.into_iter().flatten().collect::<Vec<_>>().join(" "))
}

/// Programs that hold the modules: virtual machines and the windows. Services are restarted instead.
fn in_the_way(facts: &Facts) -> Vec<String> {
    let Some(processes) = facts.processes.seen() else { return Vec::new() };
    let mut names: Vec<String> = processes
        .iter()
        .filter(|p| p.role != VmwareRole::Service)
        .map(|p| format!("{} ({})", p.name, p.user.clone().unwrap_or_else(|| p.uid.to_string())))
        .collect();
    names.sort();
    names.dedup();
    names
}

fn services(facts: &Facts) -> Vec<String> {
    let Some(vmware) = facts.vmware.seen() else { return Vec::new() };
    let mut names: Vec<String> = vmware.services.iter().map(|s| s.name.clone()).collect();
    names.sort();
    names.dedup();
    names
}

fn keys(facts: &Facts) -> Vec<KeyFacts> {
    let Some(signing) = facts.signing.seen() else { return Vec::new() };
    signing
        .keys
        .iter()
        // The key of a kernel build tree is not a machine's key for modules of others.
        .filter(|k| k.owner != KeyOwner::KernelBuild && k.has_private.is_true() && k.certificate.is_seen())
        .map(|k| KeyFacts {
            own: k.owner == KeyOwner::Hostwright,
            owner: format!("{:?}", k.owner),
            key: k.private_path.clone(),
            certificate: k.certificate_path.clone(),
            trusted: trusted(&k.trust),
            pending: k.trust.pending.is_true(),
        })
        .collect()
}

/// Trusted when the kernel's keyrings hold it; when those cannot be seen, when shim or the firmware do.
pub(super) fn trusted(trust: &detect::signing::KeyTrust) -> Option<bool> {
    if let Finding::Seen(in_kernel) = trust.in_kernel {
        return Some(in_kernel);
    }
    match (&trust.enrolled, &trust.in_firmware) {
        (Finding::Seen(true), _) | (_, Finding::Seen(true)) => Some(true),
        (Finding::Seen(false), Finding::Seen(false)) => Some(false),
        _ => None,
    }
}

/// What the oldest of the compilers that kernels here would be built for with knows the processor as.
fn march(facts: &Facts, cpu: &detect::Cpu) -> String {
    let kernels = facts.kernels.seen().map(Vec::as_slice).unwrap_or_default();
    let toolchain = facts.toolchain.seen();
    let major = |kernel: &detect::Kernel| {
        let compiler = kernel.build_compiler.seen()?.as_ref()?;
        Some(toolchain?.compiler(&compiler.command)?.major)
    };
    kernels
        .iter()
        .filter_map(major)
        .min()
        .map_or_else(|| cpu.march.clone(), |oldest| cpu.march_for_gcc(oldest))
}

fn cpu(facts: &Facts) -> Option<CpuFacts> {
    let cpu = facts.cpu.seen()?;
    let nvme = facts
        .storage
        .seen()
        .is_some_and(|disks| disks.iter().any(|d| d.kind == detect::storage::DiskKind::Nvme));
    Some(CpuFacts {
        model: cpu.model_name.clone(),
        march: march(facts, cpu),
        nested_paging: cpu.virtualization.nested_paging,
        avx512: !cpu.avx512.is_empty(),
        nvme,
    })
}

fn kernel_facts(
    host: &Host,
    choices: &Choices,
    facts: &Facts,
    kernel: &detect::Kernel,
) -> Option<KernelFacts> {
    let choices = choices.for_kernel(&kernel.release);
    let config = kernel.config.seen();
    let compiler = kernel.build_compiler.seen()?.as_ref()?;
    let build_dir = kernel.build_dir()?.to_owned();
    Some(KernelFacts {
        release: kernel.release.clone(),
        running: host.is_machine() && kernel.runs(),
        build_id: detect::kernel::build_id(host.root(), &build_dir).ok()?,
        build_dir,
        vermagic: kernel.vermagic.seen()?.clone(),
        cc: compiler.command.clone(),
        cc_version: compiler_version(facts, &compiler.command),
        llvm: config.is_some_and(detect::KernelConfig::is_clang),
        compiler_fit: compiler.fit,
        compiler_note: compiler.note.clone(),
        checks_signatures: config.is_some_and(detect::KernelConfig::checks_signatures),
        forces_signatures: config.is_some_and(detect::KernelConfig::forces_signatures),
        signature_hash: config.and_then(detect::KernelConfig::signature_hash).unwrap_or("sha512").to_owned(),
        sign_file: kernel
            .sign_file
            .clone()
            .or_else(|| facts.signing.seen().and_then(|s| s.sign_file.clone())),
        compression: match kernel.compression {
            detect::Compression::None => Compression::None,
            detect::Compression::Gzip => Compression::Gzip,
            detect::Compression::Xz => Compression::Xz,
            detect::Compression::Zstd => Compression::Zstd,
        },
        install_dir: kernel.install_path(),
        present: kernel
            .vmware_modules
            .iter()
            .filter(|m| MODULES.contains(&m.name.as_str()))
            .map(|m| PresentModule {
                module: m.name.clone(),
                path: m.path.clone(),
                record: m.hostwright.get(RECORD).cloned(),
                signer: m
                    .signature
                    .seen()
                    .and_then(Option::as_ref)
                    .map(|s| s.signer.clone().or_else(|| s.key_id.clone()).unwrap_or_default()),
                fits: m.vermagic_fits.is_true(),
            })
            .collect(),
        // Some distributions keep the image from all but root.
        image: kernel.image.clone().filter(|image| {
            choices.rehearse != RehearseChoice::Never && host.root().open_file(image).is_ok()
        }),
        initramfs: (choices.initramfs == InitramfsChoice::Auto)
            .then(|| initramfs(host, facts, kernel))
            .flatten(),
        probes: BTreeMap::new(),
    })
}

fn compiler_version(facts: &Facts, command: &str) -> String {
    facts
        .toolchain
        .seen()
        .and_then(|t| t.compilers.iter().find(|c| c.command == command))
        .map_or_else(|| "unknown".to_owned(), |c| c.version.clone())
}

/// The images to make anew: only where the initramfs configuration names the modules and the tool can run.
fn initramfs(host: &Host, facts: &Facts, kernel: &detect::Kernel) -> Option<InitramfsFacts> {
    let seen = facts.initramfs.seen()?;
    if seen.names_vmware_modules.is_empty() || host.kind() == HostKind::PartialRoot {
        return None;
    }
    let release = &kernel.release;
    let (tool, candidates) = match seen.tool? {
        detect::InitramfsTool::InitramfsTools => {
            (InitramfsTool::UpdateInitramfs, vec![format!("/boot/initrd.img-{release}")])
        }
        detect::InitramfsTool::Dracut => (
            InitramfsTool::Dracut,
            vec![format!("/boot/initramfs-{release}.img"), format!("/boot/initrd-{release}")],
        ),
        detect::InitramfsTool::Mkinitcpio => {
            let pkgbase = host.root().read_text(&format!("/lib/modules/{release}/pkgbase")).ok()?;
            let base = pkgbase.trim();
            let images =
                [format!("/boot/initramfs-{base}.img"), format!("/boot/initramfs-{base}-fallback.img")];
            (InitramfsTool::Mkinitcpio, images.into())
        }
        detect::InitramfsTool::Genkernel => {
            (InitramfsTool::Genkernel, vec![format!("/boot/initramfs-{release}.img")])
        }
        detect::InitramfsTool::Booster => return None,
    };
    let images: Vec<String> = candidates.into_iter().filter(|p| host.root().exists(p)).collect();
    (!images.is_empty()).then_some(InitramfsFacts { tool, images })
}
