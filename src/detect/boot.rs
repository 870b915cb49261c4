// SPDX-License-Identifier: GPL-3.0-or-later
//! The boot loader, its next choice, and the tool that makes the initramfs.

mod entries;
mod grub;
mod next;
mod place;

pub use place::{BootTool, CommandLinePlace};

use super::Finding;
use super::efi::{self, Variables};
use super::kernel::NextBoot;
use super::look::Look;
use super::os::Family;
use super::toolchain::which;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which boot loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BootloaderKind {
    /// GRUB 2.
    Grub,
    /// systemd-boot.
    SystemdBoot,
    /// rEFInd.
    Refind,
    /// Limine.
    Limine,
    /// Proxmox's `proxmox-boot-tool`, which keeps several system partitions.
    ProxmoxBootTool,
    /// Syslinux or extlinux.
    Syslinux,
}

/// The boot loader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bootloader {
    /// Those whose configuration was found, the one in charge first.
    pub kinds: Vec<BootloaderKind>,
    /// The file that told so.
    pub evidence: Vec<String>,
    /// What is booted next.
    pub next_boot: Finding<NextBoot>,
    /// Where the kernel command line is decided.
    #[serde(default = "not_looked_then")]
    pub command_line: Finding<CommandLinePlace>,
}

/// For facts of a version that did not look.
fn not_looked_then() -> Finding<CommandLinePlace> {
    Finding::unseen("these facts are of a version that did not look")
}

/// The tool that makes the initramfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InitramfsTool {
    /// `update-initramfs` (initramfs-tools).
    InitramfsTools,
    /// `dracut`.
    Dracut,
    /// `mkinitcpio`.
    Mkinitcpio,
    /// `booster`.
    Booster,
    /// `genkernel`.
    Genkernel,
}

/// The initramfs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Initramfs {
    /// The tool that is in charge; `None` when the system has none.
    pub tool: Option<InitramfsTool>,
    /// All that are installed.
    pub installed: Vec<InitramfsTool>,
    /// Configuration files that name VMware's modules: only then do these belong into the initramfs.
    pub names_vmware_modules: Vec<String>,
}

/// Where `grub.cfg` and `grubenv` lie.
const GRUB_DIRS: &[&str] = &["/boot/grub", "/boot/grub2"];
/// Where the partition with boot loader entries is mounted.
const BOOT_DIRS: &[&str] = &["/boot", "/efi", "/boot/efi"];

/// The loader that an EFI variable names (systemd's boot loader interface, `LoaderInfo`).
fn kind_of_loader_info(info: &str) -> Option<BootloaderKind> {
    let name = info.to_lowercase();
    Some(match name.split_whitespace().next()? {
        "systemd-boot" => BootloaderKind::SystemdBoot,
        "grub" | "grub2" => BootloaderKind::Grub,
        "refind" => BootloaderKind::Refind,
        "limine" => BootloaderKind::Limine,
        _ => return None,
    })
}

fn kinds(look: &Look<'_>, variables: &Variables<'_>) -> Vec<(BootloaderKind, String)> {
    use BootloaderKind::{Grub, Limine, ProxmoxBootTool, Refind, Syslinux, SystemdBoot};
    let mut found: Vec<(BootloaderKind, String)> = Vec::new();
    let mut add = |kind, path: String| {
        if !found.iter().any(|(k, _)| *k == kind) {
            found.push((kind, path));
        }
    };
    if look.exists("/etc/kernel/proxmox-boot-uuids") {
        add(ProxmoxBootTool, "/etc/kernel/proxmox-boot-uuids".to_owned());
    }
    if let Finding::Seen(Some(info)) = variables.text("LoaderInfo", efi::LOADER)
        && let Some(kind) = kind_of_loader_info(&info)
    {
        add(kind, format!("EFI variable LoaderInfo ({info})"));
    }
    let mut places: Vec<(BootloaderKind, String)> = Vec::new();
    for dir in GRUB_DIRS {
        places.push((Grub, format!("{dir}/grub.cfg")));
        places.push((Grub, format!("{dir}/grubenv")));
    }
    for dir in BOOT_DIRS {
        places.push((SystemdBoot, format!("{dir}/EFI/systemd/systemd-bootx64.efi")));
        places.push((SystemdBoot, format!("{dir}/loader/loader.conf")));
        places.push((Refind, format!("{dir}/EFI/refind/refind.conf")));
        places.push((Limine, format!("{dir}/limine.conf")));
        places.push((Limine, format!("{dir}/limine/limine.conf")));
        places.push((Syslinux, format!("{dir}/syslinux/syslinux.cfg")));
        places.push((Syslinux, format!("{dir}/extlinux/extlinux.conf")));
    }
    places.push((Refind, "/boot/refind_linux.conf".to_owned()));
    for (kind, path) in places {
        if look.exists(&path) {
            add(kind, path);
        }
    }
    found
}

/// Reads the boot loader.
pub(super) fn read_bootloader(
    look: &Look<'_>,
    variables: &Variables<'_>,
    family: Family,
) -> Finding<Bootloader> {
    let found = kinds(look, variables);
    let next_boot = next::read(look, variables, found.first().map(|(kind, _)| *kind));
    let (kinds, evidence): (Vec<_>, _) = found.into_iter().unzip();
    let told = match variables.text("LoaderInfo", efi::LOADER) {
        Finding::Seen(Some(info)) => kind_of_loader_info(&info),
        _ => None,
    };
    let command_line = place::read(look, variables, family, &kinds, told);
    Finding::Seen(Bootloader { kinds, evidence, next_boot, command_line })
}

/// Configuration that says which modules go into the initramfs.
const INITRAMFS_CONFIG: &[(&str, &str)] = &[
    ("/etc/initramfs-tools/modules", "/etc/initramfs-tools/conf.d"),
    ("/etc/mkinitcpio.conf", "/etc/mkinitcpio.conf.d"),
    ("/etc/dracut.conf", "/etc/dracut.conf.d"),
    ("/etc/booster.yaml", "/etc/booster.d"),
];

/// Whether a configuration names one of VMware's modules as a word, comments left out.
fn names_vmware_modules(text: &str) -> bool {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or(""));
    let mut words = lines.flat_map(|line| line.split(|c: char| !(c.is_alphanumeric() || c == '_')));
    words.any(|word| word == "vmmon" || word == "vmnet")
}

/// Reads which tool makes the initramfs.
pub(super) fn read_initramfs(look: &Look<'_>, family: Family) -> Finding<Initramfs> {
    use InitramfsTool::{Booster, Dracut, Genkernel, InitramfsTools, Mkinitcpio};
    let there = |command: &str| which(look.root(), command).is_some();
    let all = [
        (InitramfsTools, "update-initramfs"),
        (Mkinitcpio, "mkinitcpio"),
        (Dracut, "dracut"),
        (Booster, "booster"),
        (Genkernel, "genkernel"),
    ];
    let installed: Vec<InitramfsTool> =
        all.iter().filter(|(_, command)| there(command)).map(|(tool, _)| *tool).collect();
    let preferred: &[InitramfsTool] = match family {
        Family::Debian | Family::Ubuntu | Family::Proxmox => &[InitramfsTools, Dracut],
        Family::Arch => &[Mkinitcpio, Dracut, Booster],
        Family::Gentoo => &[Dracut, Genkernel],
        _ => &[Dracut, InitramfsTools, Mkinitcpio],
    };
    let tool = preferred.iter().find(|tool| installed.contains(tool)).or(installed.first()).copied();
    let texts = INITRAMFS_CONFIG.iter().flat_map(|(file, dir)| look.with_drop_ins(file, dir));
    let named = texts.filter(|(_, text)| names_vmware_modules(text)).map(|(path, _)| path).collect();
    Finding::Seen(Initramfs { tool, installed, names_vmware_modules: named })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_words_name_a_module() {
        assert!(names_vmware_modules("MODULES=(btrfs vmmon)"));
        assert!(names_vmware_modules("add_drivers+=\" vmnet \""));
        assert!(!names_vmware_modules("# vmmon\nforce_drivers+=\" vmmonitor vmw_vmci \""));
    }

    #[test]
    fn loaders_are_known_by_what_they_call_themselves() {
        assert_eq!(kind_of_loader_info("systemd-boot 254.5-1-arch"), Some(BootloaderKind::SystemdBoot));
        assert_eq!(kind_of_loader_info("GRUB 2.12"), Some(BootloaderKind::Grub));
        assert_eq!(kind_of_loader_info("rEFInd 0.14.2"), Some(BootloaderKind::Refind));
        assert_eq!(kind_of_loader_info(""), None);
    }
}
