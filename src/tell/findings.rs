// SPDX-License-Identifier: GPL-3.0-or-later
//! Each topic of the facts as lines for people. Pure.

use super::hardware::{cpu, gpus, iommu, memory, score, storage};
use super::{Mark, Row};

use crate::detect::kernel::{CompilerFit, Headers, Kernel};
use crate::detect::secure_boot::{BootTrust, Firmware};
use crate::detect::signing::{KeyOwner, SigningKey};
use crate::detect::vmware::VmwareProduct;
use crate::detect::{Facts, Finding, ModuleFile, Topic, VmwareRole};

/// The lines of a topic.
pub(crate) fn of(facts: &Facts, topic: Topic) -> Vec<Row> {
    match topic {
        Topic::Os => os(facts),
        Topic::RunningKernel => running(facts),
        Topic::Kernels => kernels(facts),
        Topic::Toolchain => toolchain(facts),
        Topic::Vmware => vmware(facts),
        Topic::Processes => processes(facts),
        Topic::LoadedModules => loaded(facts),
        Topic::Kvm => kvm(facts),
        Topic::SecureBoot => secure_boot(facts),
        Topic::Signing => signing(facts),
        Topic::Initramfs => initramfs(facts),
        Topic::Bootloader => bootloader(facts),
        Topic::Sessions => sessions(facts),
        Topic::Cpu => cpu(facts),
        Topic::Memory => memory(facts),
        Topic::Storage => storage(facts),
        Topic::Gpus => gpus(facts),
        Topic::Iommu => iommu(facts),
        Topic::Score => score(facts),
    }
}

/// One line that says why one could not look, or what `see` makes of what was seen.
pub(super) fn look_at<T>(label: &str, finding: &Finding<T>, see: impl FnOnce(&T) -> Vec<Row>) -> Vec<Row> {
    match finding {
        Finding::Seen(value) => see(value),
        Finding::CouldNotLook { why } => vec![unknown(label, why)],
    }
}

pub(super) fn unknown(label: &str, why: &str) -> Row {
    Row::new(Mark::Unknown, label, format!("could not look: {why}"))
}

/// A word of a typed value, as its JSON has it, with dashes ("systemd-boot").
pub(super) fn word<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(|s| s.replace('_', "-"))).unwrap_or_default()
}

fn os(facts: &Facts) -> Vec<Row> {
    look_at("Distribution", &facts.os, |os| {
        let mut text = os.name.clone();
        if let Some(proxmox) = &os.proxmox {
            text.push_str(&format!(", Proxmox VE {proxmox}"));
        }
        if let Some(arch) = &os.architecture {
            text.push_str(&format!(", {arch}"));
        }
        match &os.immutable {
            Some(immutable) => {
                vec![
                    Row::new(
                        Mark::Bad,
                        "Distribution",
                        format!("{text}: its system cannot be changed in place"),
                    )
                    .remedy(&immutable.guidance),
                ]
            }
            None => vec![Row::new(Mark::Good, "Distribution", text)],
        }
    })
}

fn running(facts: &Facts) -> Vec<Row> {
    look_at("Running kernel", &facts.running_kernel, |kernel| {
        let mut text = kernel.release.clone();
        if !kernel.has_modules {
            text.push_str(", without loadable modules");
        }
        if kernel.enforces_signatures.is_true() {
            text.push_str(", refuses unsigned modules");
        }
        if let Some(lockdown) = kernel.lockdown.seen()
            && lockdown != "none"
        {
            text.push_str(&format!(", locked down ({lockdown})"));
        }
        let mark = if kernel.has_modules { Mark::Good } else { Mark::Warning };
        vec![Row::new(mark, "Running kernel", text)]
    })
}

fn bootloader(facts: &Facts) -> Vec<Row> {
    look_at("Boot loader", &facts.bootloader, |loader| {
        let kinds: Vec<String> = loader.kinds.iter().map(word).collect();
        let kinds = if kinds.is_empty() { "none found".to_owned() } else { kinds.join(", ") };
        let text = match &loader.next_boot {
            Finding::Seen(next) => format!("{kinds}; starts {} next", next.release),
            Finding::CouldNotLook { why } => format!("{kinds}; what starts next is not known: {why}"),
        };
        let mark = if loader.kinds.is_empty() { Mark::Neutral } else { Mark::Good };
        vec![Row::new(mark, "Boot loader", text)]
    })
}

fn initramfs(facts: &Facts) -> Vec<Row> {
    look_at("Initramfs", &facts.initramfs, |initramfs| {
        let text = match &initramfs.tool {
            Some(tool) => word(tool),
            None => "no tool for it".to_owned(),
        };
        let mark = if initramfs.tool.is_some() { Mark::Good } else { Mark::Neutral };
        let mut rows = vec![Row::new(mark, "Initramfs", text)];
        for file in &initramfs.names_vmware_modules {
            rows.push(Row::new(Mark::Neutral, "", format!("{file} names VMware's modules")));
        }
        rows
    })
}

fn sessions(facts: &Facts) -> Vec<Row> {
    look_at("Desktop", &facts.sessions, |sessions| {
        if sessions.sessions.is_empty() {
            let text = if sessions.graphical_target { "nobody is logged in" } else { "none" };
            return vec![Row::new(Mark::Neutral, "Desktop", text)];
        }
        let one = |s: &crate::detect::session::Session| {
            let user = s.user.clone().unwrap_or_else(|| s.uid.to_string());
            let desktop = s.desktop.as_ref().map(|d| format!("{d}, ")).unwrap_or_default();
            let active = if s.active { "" } else { ", in the background" };
            Row::new(Mark::Good, "Desktop", format!("{desktop}{} ({user}{active})", word(&s.kind)))
        };
        sessions.sessions.iter().map(one).collect()
    })
}

fn kernels(facts: &Facts) -> Vec<Row> {
    look_at("Kernels", &facts.kernels, |kernels| {
        if kernels.is_empty() {
            return vec![Row::new(Mark::Warning, "Kernels", "none under /lib/modules")];
        }
        kernels.iter().flat_map(kernel).collect()
    })
}

fn kernel(kernel: &Kernel) -> Vec<Row> {
    let mut traits: Vec<String> = Vec::new();
    if kernel.runs() {
        traits.push("runs now".into());
    }
    if kernel.is_next_boot.is_true() {
        traits.push("starts next".into());
    }
    if let Some(config) = kernel.config.seen() {
        if config.forces_signatures() {
            traits.push("refuses unsigned modules".into());
        } else if config.checks_signatures() {
            traits.push("checks module signatures".into());
        }
        if config.has_lto() {
            traits.push("link-time optimized".into());
        }
    }
    if let Some(compiler) = kernel.compiler.seen() {
        traits.push(format!("built by {} {}", word(&compiler.kind), compiler.version));
    }
    let note = traits.join(", ");
    let mut rows = match &kernel.headers {
        Headers::Usable { .. } => {
            let text =
                if note.is_empty() { "headers usable".to_owned() } else { format!("headers usable; {note}") };
            vec![Row::new(Mark::Good, &kernel.release, text)]
        }
        Headers::Missing { command, .. } => {
            vec![
                Row::new(Mark::Warning, &kernel.release, joined("its headers are not installed", &note))
                    .remedy(command),
            ]
        }
        Headers::Broken { missing, command, .. } => {
            let text = format!("its headers are incomplete: {}", missing.join(", "));
            vec![Row::new(Mark::Warning, &kernel.release, joined(&text, &note)).remedy(command)]
        }
    };
    match &kernel.build_compiler {
        Finding::Seen(None) if kernel.headers.is_usable() => {
            rows.push(Row::new(Mark::Warning, "", "no compiler for it is installed").remedy("Install gcc."));
        }
        Finding::Seen(Some(compiler)) if compiler.fit > CompilerFit::SameMajor => {
            rows.push(Row::new(
                Mark::Warning,
                "",
                format!("built here with {}: {}", compiler.command, compiler.note),
            ));
        }
        Finding::CouldNotLook { why } if kernel.headers.is_usable() => {
            rows.push(Row::new(Mark::Unknown, "", format!("no compiler for it: {why}")));
        }
        _ => {}
    }
    rows.extend(kernel.vmware_modules.iter().map(module));
    rows
}

fn joined(text: &str, note: &str) -> String {
    if note.is_empty() { text.to_owned() } else { format!("{text}; {note}") }
}

fn module(module: &ModuleFile) -> Row {
    let mut parts = vec![module.name.clone()];
    if let Some(version) = &module.version {
        parts[0].push_str(&format!(" {version}"));
    }
    let mut mark = Mark::Good;
    match &module.vermagic_fits {
        Finding::Seen(true) => parts.push("built for this kernel".into()),
        Finding::Seen(false) => {
            mark = Mark::Bad;
            parts.push("built for another kernel".into());
        }
        Finding::CouldNotLook { why } => {
            mark = Mark::Unknown;
            parts.push(format!("vermagic unknown ({why})"));
        }
    }
    parts.push(signed(module));
    if !module.in_modules_dep {
        mark = if mark == Mark::Good { Mark::Warning } else { mark };
        parts.push("not in the module index".into());
    }
    Row::new(mark, "", format!("{} ({})", parts.join(", "), module.path))
}

/// By whom a module is signed, in words.
pub(crate) fn signed(module: &ModuleFile) -> String {
    match &module.signature {
        Finding::Seen(Some(signature)) => {
            format!("signed by {}", signature.signer.as_deref().unwrap_or("somebody unnamed"))
        }
        Finding::Seen(None) => "not signed".into(),
        Finding::CouldNotLook { why } => format!("signature unknown ({why})"),
    }
}

fn vmware(facts: &Facts) -> Vec<Row> {
    look_at("Product", &facts.vmware, |vmware| {
        let mut rows = Vec::new();
        match &vmware.product {
            None => rows.push(Row::new(Mark::Neutral, "Product", "VMware is not installed")),
            Some(product) => {
                let name = match product {
                    VmwareProduct::Workstation => "VMware Workstation",
                    VmwareProduct::Player => "VMware Player",
                    VmwareProduct::Other => "VMware, which product is not known",
                };
                let version = vmware.version.as_ref().map(|v| format!(" {v}")).unwrap_or_default();
                let build = vmware.build.as_ref().map(|b| format!(" (build {b})")).unwrap_or_default();
                rows.push(Row::new(Mark::Good, "Product", format!("{name}{version}{build}")));
            }
        }
        for source in &vmware.module_sources {
            rows.push(Row::new(Mark::Good, "Module sources", format!("{}: {}", source.module, source.path)));
        }
        if vmware.module_sources.is_empty() && vmware.is_installed() {
            rows.push(
                Row::new(Mark::Warning, "Module sources", format!("none under {}", vmware.libdir))
                    .remedy("Give some with --source FOLDER|TARBALL."),
            );
        }
        let services: Vec<String> = vmware
            .services
            .iter()
            .map(|s| if s.enabled { s.name.clone() } else { format!("{} (not started at boot)", s.name) })
            .collect();
        if !services.is_empty() {
            rows.push(Row::new(Mark::Good, "Services", services.join(", ")));
        }
        rows
    })
}

fn processes(facts: &Facts) -> Vec<Row> {
    look_at("Running programs", &facts.processes, |processes| {
        if processes.is_empty() {
            return vec![Row::new(Mark::Good, "Running programs", "none of VMware's")];
        }
        let one = |p: &crate::detect::VmwareProcess| {
            let user = p.user.clone().unwrap_or_else(|| p.uid.to_string());
            let mark = if p.role == VmwareRole::Service { Mark::Neutral } else { Mark::Warning };
            Row::new(mark, "Running programs", format!("{} (process {}, {user})", p.name, p.pid))
        };
        processes.iter().map(one).collect()
    })
}

fn loaded(facts: &Facts) -> Vec<Row> {
    look_at("Loaded modules", &facts.loaded_modules, |loaded| {
        let names: Vec<String> = loaded
            .modules
            .iter()
            .map(|m| {
                if m.used_by.is_empty() {
                    m.name.clone()
                } else {
                    format!("{} (used by {})", m.name, m.used_by.join(", "))
                }
            })
            .collect();
        let text = if names.is_empty() { "none of interest here".to_owned() } else { names.join(", ") };
        vec![Row::new(Mark::Neutral, "Loaded modules", format!("{text}; {} in all", loaded.count))]
    })
}

fn kvm(facts: &Facts) -> Vec<Row> {
    look_at("KVM", &facts.kvm, |kvm| {
        let mut rows = Vec::new();
        match &kvm.module {
            None => rows.push(Row::new(Mark::Neutral, "KVM", "not loaded")),
            Some(module) => {
                let held = kvm.holds_virtualization.is_true();
                let text = if held { "loaded, and holds the processor's virtualization" } else { "loaded" };
                let row = Row::new(
                    if held { Mark::Warning } else { Mark::Neutral },
                    "KVM",
                    format!("{module}: {text}"),
                );
                rows.push(if held {
                    row.remedy("VMware cannot start machines while it does: unload it, or boot with kvm.enable_virt_at_load=0")
                } else {
                    row
                });
            }
        }
        for guest in kvm.guests.seen().into_iter().flatten() {
            let user = guest.user.clone().unwrap_or_else(|| guest.uid.to_string());
            rows.push(Row::new(
                Mark::Neutral,
                "",
                format!("{} runs (process {}, {user})", guest.name, guest.pid),
            ));
        }
        rows
    })
}

fn toolchain(facts: &Facts) -> Vec<Row> {
    look_at("Tools", &facts.toolchain, |tools| {
        let mut rows = Vec::new();
        let mut there: Vec<String> =
            tools.compilers.iter().map(|c| format!("{} {}", c.command, c.version)).collect();
        for tool in [&tools.make, &tools.ld, &tools.lld, &tools.bubblewrap].into_iter().flatten() {
            there.push(match &tool.version {
                Some(version) => format!("{} {version}", tool.command),
                None => tool.command.clone(),
            });
        }
        if !there.is_empty() {
            rows.push(Row::new(Mark::Good, "Tools", there.join(", ")));
        }
        for missing in &tools.missing {
            let row = Row::new(Mark::Warning, "Missing", missing.tool.clone());
            rows.push(match (&missing.command, &missing.package) {
                (Some(command), _) => row.remedy(command),
                (None, Some(package)) => row.remedy(format!("Install the package {package}.")),
                (None, None) => row,
            });
        }
        rows
    })
}

fn secure_boot(facts: &Facts) -> Vec<Row> {
    look_at("Secure Boot", &facts.secure_boot, |boot| {
        if boot.firmware == Firmware::Bios {
            return vec![Row::new(Mark::Neutral, "Secure Boot", "not there: no EFI variables")];
        }
        let mut rows = Vec::new();
        match boot.is_effective() {
            Finding::Seen(true) => {
                rows.push(Row::new(Mark::Good, "Secure Boot", "on: modules must be signed"));
            }
            Finding::Seen(false) if boot.enabled.is_true() => {
                rows.push(Row::new(Mark::Neutral, "Secure Boot", "on, but shim was told not to check"));
            }
            Finding::Seen(false) => rows.push(Row::new(Mark::Neutral, "Secure Boot", "off")),
            Finding::CouldNotLook { why } => rows.push(unknown("Secure Boot", &why)),
        }
        match &boot.trust {
            Finding::Seen(BootTrust::Shim) => {
                rows.push(Row::new(Mark::Neutral, "", "booted through shim: machine owner keys count"));
            }
            Finding::Seen(BootTrust::OwnKeys) => {
                rows.push(Row::new(
                    Mark::Neutral,
                    "",
                    "own keys in the firmware, no shim: machine owner keys do not count",
                ));
            }
            Finding::CouldNotLook { .. } => {}
        }
        rows
    })
}

fn signing(facts: &Facts) -> Vec<Row> {
    look_at("Signing keys", &facts.signing, |signing| {
        if signing.keys.is_empty() {
            return vec![Row::new(Mark::Neutral, "Signing keys", "none; one is made when it is needed")];
        }
        signing.keys.iter().map(key).collect()
    })
}

/// Whose key, in words.
pub(crate) fn key_owner(owner: KeyOwner) -> &'static str {
    match owner {
        KeyOwner::ShimSigned => "Ubuntu's machine owner key",
        KeyOwner::Akmods => "akmods' key",
        KeyOwner::Dkms => "DKMS's key",
        KeyOwner::Portage => "Portage's key",
        KeyOwner::KernelBuild => "the kernel build's key",
        KeyOwner::Hostwright => "Hostwright's own key",
    }
}

fn key(key: &SigningKey) -> Row {
    let owner = key_owner(key.owner);
    let (mark, state) = if key.trust.in_kernel.is_true() {
        (Mark::Good, "trusted by the running kernel")
    } else if key.trust.enrolled.is_true() {
        (Mark::Good, "enrolled")
    } else if key.trust.pending.is_true() {
        (Mark::Warning, "waits to be enrolled at the next boot")
    } else if key.trust.in_firmware.is_true() {
        (Mark::Good, "in the firmware's list")
    } else if key.trust.in_kernel.is_false() || key.trust.enrolled.is_false() {
        (Mark::Neutral, "not enrolled")
    } else {
        (Mark::Unknown, "could not look whether it is trusted")
    };
    let half = if key.has_private.is_false() { "; its private half is missing" } else { "" };
    let mark = if half.is_empty() { mark } else { Mark::Warning };
    Row::new(mark, "Signing keys", format!("{owner}, {state}{half} ({})", key.certificate_path))
}
