// SPDX-License-Identifier: GPL-3.0-or-later
//! Where this machine's kernel command line is decided: which file a person would edit, and which tool of
//! the distribution brings it to the boot loader.

use super::entries;
use super::grub::parse_grub_cfg;
use super::{BOOT_DIRS, BootloaderKind, GRUB_DIRS};
use crate::detect::Finding;
use crate::detect::efi::{self, Variables};
use crate::detect::look::{Look, shell_assignments};
use crate::detect::os::Family;
use crate::detect::toolchain::which;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The distribution's own tool that brings a changed command line to the boot loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BootTool {
    /// `update-grub` (Debian, Ubuntu).
    UpdateGrub,
    /// `grub-mkconfig -o FILE` (Arch, Gentoo).
    GrubMkconfig,
    /// `grub2-mkconfig -o FILE` (Fedora's and Red Hat's name of it).
    Grub2Mkconfig,
    /// `update-bootloader --refresh` (openSUSE with GRUB).
    UpdateBootloader,
    /// `sdbootutil update-all-entries` (openSUSE with systemd-boot or GRUB with entries).
    Sdbootutil,
    /// `proxmox-boot-tool refresh`.
    ProxmoxBootTool,
}

/// Where the kernel command line is decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "place", rename_all = "snake_case")]
pub enum CommandLinePlace {
    /// `/etc/default/grub`, with the files that are read after it where this GRUB reads any.
    Grub {
        /// `/etc/default/grub`; it may be missing.
        defaults: String,
        /// The folder of files read after it; `None` when this grub-mkconfig reads none.
        drop_ins: Option<String>,
        /// Those that are there, in the order in which they are read.
        drop_in_files: Vec<String>,
        /// What the tool makes, as far as it can be seen here.
        config: Option<String>,
        /// The tool.
        tool: BootTool,
    },
    /// Boot loader entries, one file for each; nothing is generated from elsewhere at once.
    Entries {
        /// The entries that start Linux and are no way back (rescue, fallback).
        entries: Vec<String>,
        /// The ways back, which stay as they are.
        ways_out: Vec<String>,
        /// Files from which entries of later kernels are made (`/etc/kernel/cmdline`).
        templates: Vec<String>,
        /// `/etc/default/grub`, where GRUB reads the entries and later kernels may follow that file.
        defaults: Option<String>,
    },
    /// `/etc/kernel/cmdline`, from which a tool makes all entries.
    KernelCmdline {
        /// The file.
        file: String,
        /// The entries that the tool makes, as far as they can be seen here.
        entries: Vec<String>,
        /// The tool.
        tool: BootTool,
    },
    /// rEFInd's `refind_linux.conf`.
    Refind {
        /// The file.
        file: String,
    },
    /// `limine.conf`.
    Limine {
        /// The file.
        file: String,
    },
    /// Looked, and it is none of these: nothing must be changed here.
    NotUnderstood {
        /// What was seen.
        reason: String,
        /// What to do.
        remedy: String,
    },
}

const DEFAULTS: &str = "/etc/default/grub";
const CMDLINE: &str = "/etc/kernel/cmdline";

fn refused(reason: impl Into<String>, remedy: impl Into<String>) -> Finding<CommandLinePlace> {
    Finding::Seen(CommandLinePlace::NotUnderstood { reason: reason.into(), remedy: remedy.into() })
}

/// Reads where the command line is decided. `kinds` are the boot loaders found, the one in charge first;
/// `told` says that the firmware named that one.
pub(super) fn read(
    look: &Look<'_>,
    variables: &Variables<'_>,
    family: Family,
    kinds: &[BootloaderKind],
    told: Option<BootloaderKind>,
) -> Finding<CommandLinePlace> {
    if kinds.contains(&BootloaderKind::ProxmoxBootTool) {
        return proxmox(look, variables, told);
    }
    if let Some(place) = suse(look) {
        return place;
    }
    // systemd-boot and rEFInd start from UEFI only.
    let uefi = !variables.state().is_false();
    let possible: Vec<BootloaderKind> = kinds
        .iter()
        .copied()
        .filter(|k| uefi || !matches!(k, BootloaderKind::SystemdBoot | BootloaderKind::Refind))
        .collect();
    let kind = match (told, possible.as_slice()) {
        (Some(kind), _) => kind,
        (None, [kind]) => *kind,
        (None, []) => {
            return refused(
                "no boot loader's configuration was found",
                "set kernel parameters where this machine's boot loader reads them",
            );
        }
        (None, several) => {
            let names: Vec<String> = several.iter().map(|k| format!("{k:?}")).collect();
            return refused(
                format!(
                    "several boot loaders are set up ({}), and the firmware does not tell which one starts",
                    names.join(", ")
                ),
                "remove what is left of the others, or set kernel parameters yourself",
            );
        }
    };
    match kind {
        BootloaderKind::Grub => grub(look, family),
        BootloaderKind::SystemdBoot => systemd_boot(look),
        BootloaderKind::Refind => refind(look),
        BootloaderKind::Limine => limine(look, variables),
        BootloaderKind::ProxmoxBootTool => proxmox(look, variables, told),
        BootloaderKind::Syslinux => refused(
            "Syslinux's configuration is not understood",
            "set kernel parameters in syslinux.cfg yourself",
        ),
    }
}

/// proxmox-boot-tool keeps either systemd-boot (UEFI without Secure Boot) or GRUB on its partitions.
fn proxmox(
    look: &Look<'_>,
    variables: &Variables<'_>,
    told: Option<BootloaderKind>,
) -> Finding<CommandLinePlace> {
    let tool = BootTool::ProxmoxBootTool;
    if which(look.root(), "proxmox-boot-tool").is_none() {
        return refused(
            "/etc/kernel/proxmox-boot-uuids is there, and proxmox-boot-tool is not",
            "install the package proxmox-kernel-helper (pve-kernel-helper on Proxmox VE 7)",
        );
    }
    let systemd_boot = match (told, variables.state()) {
        (Some(BootloaderKind::SystemdBoot), _) => true,
        (Some(BootloaderKind::Grub), _) | (_, Finding::Seen(false)) => false,
        // systemd-boot always names itself; GRUB does only since 2.12.
        (_, Finding::Seen(true)) => false,
        (_, Finding::CouldNotLook { why }) => {
            return Finding::unseen(format!(
                "which of its two boot loaders proxmox-boot-tool uses is told by the firmware: {why}"
            ));
        }
    };
    if !systemd_boot {
        return Finding::Seen(grub_place(look, tool, None));
    }
    if !look.exists(CMDLINE) {
        return refused(
            format!("proxmox-boot-tool starts systemd-boot, and {CMDLINE} is missing"),
            format!("write the present command line (`cat /proc/cmdline`, without initrd=) into {CMDLINE}"),
        );
    }
    Finding::Seen(CommandLinePlace::KernelCmdline { file: CMDLINE.to_owned(), entries: Vec::new(), tool })
}

/// openSUSE says which boot loader it looks after in a file of its own.
fn suse(look: &Look<'_>) -> Option<Finding<CommandLinePlace>> {
    let text = look.text("/etc/sysconfig/bootloader").ok()?;
    let loader = shell_assignments(&text).remove("LOADER_TYPE")?;
    match loader.as_str() {
        "grub2" | "grub2-efi" => {
            which(look.root(), "update-bootloader")?;
            Some(with_config(look, BootTool::UpdateBootloader))
        }
        "systemd-boot" | "grub2-bls" => {
            if which(look.root(), "sdbootutil").is_none() {
                return Some(refused(
                    format!("/etc/sysconfig/bootloader says {loader}, and sdbootutil is not there"),
                    "install the package sdbootutil",
                ));
            }
            if !look.exists(CMDLINE) {
                return Some(refused(
                    format!("{CMDLINE}, from which sdbootutil makes the entries, is missing"),
                    "write the present command line into it (without initrd= and BOOT_IMAGE=)",
                ));
            }
            Some(all_entries(look).map(|found| CommandLinePlace::KernelCmdline {
                file: CMDLINE.to_owned(),
                entries: found.usual,
                tool: BootTool::Sdbootutil,
            }))
        }
        _ => None,
    }
}

fn grub_place(look: &Look<'_>, tool: BootTool, config: Option<String>) -> CommandLinePlace {
    let reads_drop_ins = ["grub-mkconfig", "grub2-mkconfig"].iter().any(|name| {
        let script = which(look.root(), name).and_then(|path| look.text(&path).ok());
        script.is_some_and(|text| text.contains("default/grub.d"))
    });
    let folder = format!("{DEFAULTS}.d");
    let drop_in_files = if reads_drop_ins {
        let names = look.list(&folder).into_iter().map(|e| e.name);
        // As the shell's `*.cfg` has them: no hidden ones.
        names
            .filter(|n| n.ends_with(".cfg") && !n.starts_with('.'))
            .map(|n| format!("{folder}/{n}"))
            .collect()
    } else {
        Vec::new()
    };
    CommandLinePlace::Grub {
        defaults: DEFAULTS.to_owned(),
        drop_ins: reads_drop_ins.then_some(folder),
        drop_in_files,
        config,
        tool,
    }
}

fn grub_config(look: &Look<'_>) -> Option<String> {
    GRUB_DIRS.iter().map(|dir| format!("{dir}/grub.cfg")).find(|path| look.exists(path))
}

fn with_config(look: &Look<'_>, tool: BootTool) -> Finding<CommandLinePlace> {
    match grub_config(look) {
        Some(config) => Finding::Seen(grub_place(look, tool, Some(config))),
        None => refused(
            "grub.cfg was not found under /boot",
            "mount /boot, or make grub.cfg with the distribution's own tool first",
        ),
    }
}

fn grub(look: &Look<'_>, family: Family) -> Finding<CommandLinePlace> {
    let Some(config) = grub_config(look) else { return with_config(look, BootTool::GrubMkconfig) };
    let text = match look.text(&config) {
        Ok(text) => text,
        Err(e) => return Finding::unseen(format!("{config} could not be read ({e})")),
    };
    if parse_grub_cfg(&text).uses_bls {
        return bls(look);
    }
    let there = |name: &str| which(look.root(), name).is_some();
    let debian = matches!(family, Family::Debian | Family::Ubuntu | Family::Proxmox);
    let tool = if debian && there("update-grub") {
        BootTool::UpdateGrub
    } else if there("grub-mkconfig") {
        BootTool::GrubMkconfig
    } else if there("grub2-mkconfig") {
        BootTool::Grub2Mkconfig
    } else if there("update-grub") {
        BootTool::UpdateGrub
    } else {
        return refused(
            format!(
                "{config} is there, and no tool that makes it (update-grub, grub-mkconfig, grub2-mkconfig)"
            ),
            "install the distribution's GRUB package",
        );
    };
    with_config(look, tool)
}

/// GRUB that reads entry files (Fedora, Red Hat).
fn bls(look: &Look<'_>) -> Finding<CommandLinePlace> {
    entries_in(look, &["/boot"]).and_then(|found| {
        if found.usual.is_empty() {
            return refused(
                "grub.cfg takes its entries from /boot/loader/entries, and none there starts Linux",
                "look at how this machine boots",
            );
        }
        Finding::Seen(CommandLinePlace::Entries {
            entries: found.usual,
            ways_out: found.ways_out,
            templates: templates(look),
            defaults: look.exists(DEFAULTS).then(|| DEFAULTS.to_owned()),
        })
    })
}

fn templates(look: &Look<'_>) -> Vec<String> {
    if look.exists(CMDLINE) { vec![CMDLINE.to_owned()] } else { Vec::new() }
}

#[derive(Default)]
struct EntryFiles {
    usual: Vec<String>,
    ways_out: Vec<String>,
}

fn all_entries(look: &Look<'_>) -> Finding<EntryFiles> {
    entries_in(look, BOOT_DIRS)
}

fn entries_in(look: &Look<'_>, boots: &[&str]) -> Finding<EntryFiles> {
    let mut found = EntryFiles::default();
    for boot in boots {
        let dir = format!("{boot}/loader/entries");
        let files = match look.root().list(&dir) {
            Ok(files) => files,
            Err(e) if e.is_not_found() => continue,
            Err(e) => return Finding::unseen(format!("{dir} could not be read ({e}); look as root")),
        };
        for file in files.into_iter().filter(|f| f.name.ends_with(".conf")) {
            let path = format!("{dir}/{}", file.name);
            let text = match look.text(&path) {
                Ok(text) => text,
                Err(e) => return Finding::unseen(format!("{path} could not be read ({e}); look as root")),
            };
            if entries::parse_entry(&file.name, &text).linux.is_none() {
                continue;
            }
            let name = file.name.to_lowercase();
            let is_way_out = name.contains("rescue") || name.contains("fallback");
            if is_way_out { found.ways_out.push(path) } else { found.usual.push(path) }
        }
    }
    Finding::Seen(found)
}

fn systemd_boot(look: &Look<'_>) -> Finding<CommandLinePlace> {
    let unified = BOOT_DIRS.iter().any(|boot| {
        look.list(&format!("{boot}/EFI/Linux")).iter().any(|f| f.name.to_lowercase().ends_with(".efi"))
    });
    if unified {
        return refused(
            "unified kernel images are started here; their command line is inside the image, and signed with it",
            "set kernel parameters where the images are made (/etc/kernel/cmdline, then mkinitcpio -P, dracut or ukify)",
        );
    }
    all_entries(look).and_then(|found| {
        if found.usual.is_empty() {
            return refused(
                "no boot loader entry under /boot or /efi starts Linux",
                "mount the EFI system partition where systemd-boot's tools expect it (/boot, /efi or /boot/efi)",
            );
        }
        Finding::Seen(CommandLinePlace::Entries {
            entries: found.usual,
            ways_out: found.ways_out,
            templates: templates(look),
            defaults: None,
        })
    })
}

fn refind(look: &Look<'_>) -> Finding<CommandLinePlace> {
    for boot in BOOT_DIRS {
        let path = format!("{boot}/EFI/refind/refind.conf");
        match look.text(&path) {
            Ok(text) if has_stanzas(&text) => {
                return refused(
                    format!("{path} starts systems from menu entries of its own, which are not understood"),
                    "set kernel parameters in those entries yourself, or disable them",
                );
            }
            Ok(_) => {}
            Err(e) if e.is_not_found() => {}
            Err(e) => return Finding::unseen(format!("{path} could not be read ({e}); look as root")),
        }
    }
    let file = "/boot/refind_linux.conf";
    if look.exists(file) {
        return Finding::Seen(CommandLinePlace::Refind { file: file.to_owned() });
    }
    refused(format!("rEFInd starts this machine, and {file} is missing"), "run `mkrlconf`, which writes it")
}

/// Whether `refind.conf` has menu entries that are not disabled.
fn has_stanzas(text: &str) -> bool {
    let (mut inside, mut disabled) = (false, false);
    for line in text.lines().map(str::trim) {
        if line.split_whitespace().next() == Some("menuentry") {
            (inside, disabled) = (true, false);
        } else if inside && line == "disabled" {
            disabled = true;
        } else if inside && line == "}" {
            if !disabled {
                return true;
            }
            inside = false;
        }
    }
    inside && !disabled
}

fn limine(look: &Look<'_>, variables: &Variables<'_>) -> Finding<CommandLinePlace> {
    if look.exists("/etc/default/limine") {
        return refused(
            "limine.conf is made by a tool from /etc/default/limine, which is not understood yet",
            "add the words to KERNEL_CMDLINE[default] there and run `limine-update`",
        );
    }
    if matches!(variables.get("SecureBoot", efi::GLOBAL), Finding::Seen(Some(bytes)) if bytes.last() == Some(&1))
    {
        return refused(
            "with Secure Boot, Limine starts only with the configuration whose checksum is enrolled in it",
            "change limine.conf yourself and enrol its checksum anew (`limine enroll-config`)",
        );
    }
    let places = BOOT_DIRS.iter().flat_map(|boot| {
        ["limine.conf", "limine/limine.conf", "EFI/limine/limine.conf", "EFI/BOOT/limine.conf"]
            .map(|name| format!("{boot}/{name}"))
    });
    let found: Vec<String> = places.filter(|path| look.exists(path)).collect();
    match found.as_slice() {
        [file] => Finding::Seen(CommandLinePlace::Limine { file: file.clone() }),
        [] => refused("limine.conf was not found under /boot or /efi", "mount the partition that holds it"),
        several => refused(
            format!("there are several limine.conf: {}", several.join(", ")),
            "keep the one that Limine reads, and remove the others",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_stanzas_that_are_not_disabled_count() {
        assert!(!has_stanzas("# menuentry\nmenuentry Linux {\n  loader x\n  disabled\n}\n"));
        assert!(has_stanzas("menuentry Linux {\n  loader x\n}\n"));
        assert!(has_stanzas("menuentry A {\ndisabled\n}\nmenuentry B {\n"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(?s).*") {
            has_stanzas(&text);
        }
    }
}
