// SPDX-License-Identifier: GPL-3.0-or-later
//! The programs that a builder needs, and which package has them.

use super::LabError;
use crate::detect::{self, Family, Topic};
use crate::host::{Host, PATH};

/// A program or file that is needed, with the packages that have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// Names of the program, the first that is there is taken; an absolute path is a file or folder.
    pub names: &'static [&'static str],
    /// Debian's package.
    pub debian: &'static str,
    /// Arch's package.
    pub arch: &'static str,
    /// Fedora's package.
    pub fedora: &'static str,
}

const fn tool(
    names: &'static [&'static str],
    debian: &'static str,
    arch: &'static str,
    fedora: &'static str,
) -> Tool {
    Tool { names, debian, arch, fedora }
}

/// Lists a project's files.
pub const GIT: Tool = tool(&["git"], "git", "git", "git-core");
/// Namespaces.
pub const UNSHARE: Tool = tool(&["unshare"], "util-linux", "util-linux", "util-linux");
/// Maps users into a namespace.
pub const NEWUIDMAP: Tool = tool(&["newuidmap"], "uidmap", "shadow", "shadow-utils");
/// Makes a Debian root.
pub const MMDEBSTRAP: Tool = tool(&["mmdebstrap"], "mmdebstrap", "mmdebstrap", "mmdebstrap");
/// Looks into Debian's archives.
pub const APT: Tool = tool(&["apt-get"], "apt", "apt", "apt");
/// The keys of Debian's archives.
pub const KEYS: Tool = tool(
    &["/usr/share/keyrings/debian-archive-keyring.gpg"],
    "debian-archive-keyring",
    "debian-archive-keyring",
    "debian-keyring",
);
/// Packs file systems.
pub const MKSQUASHFS: Tool = tool(&["mksquashfs"], "squashfs-tools", "squashfs-tools", "squashfs-tools");
/// Makes an ISO image that GRUB boots.
pub const MKRESCUE: Tool =
    tool(&["grub-mkrescue", "grub2-mkrescue"], "grub-common", "grub", "grub2-tools-extra");
/// Makes GRUB's images.
pub const MKIMAGE: Tool = tool(&["grub-mkimage", "grub2-mkimage"], "grub-common", "grub", "grub2-tools");
/// Makes GRUB's images with all they need inside.
pub const MKSTANDALONE: Tool = tool(&["grub-mkstandalone"], "grub-common", "grub", "grub2-tools-extra");
/// Writes ISO 9660.
pub const XORRISO: Tool = tool(&["xorriso"], "xorriso", "libisoburn", "xorriso");
/// Writes FAT without mounting it.
pub const MTOOLS: Tool = tool(&["mcopy"], "mtools", "mtools", "mtools");
/// Makes FAT file systems.
pub const MKFS_VFAT: Tool = tool(&["mkfs.vfat"], "dosfstools", "dosfstools", "dosfstools");
/// Makes ext4 file systems.
pub const MKE2FS: Tool = tool(&["mke2fs"], "e2fsprogs", "e2fsprogs", "e2fsprogs");
/// Writes partition tables.
pub const SFDISK: Tool = tool(&["sfdisk"], "fdisk", "util-linux", "util-linux");
/// GRUB for BIOS.
pub const GRUB_BIOS: Tool =
    tool(&["/usr/lib/grub/i386-pc/boot.img"], "grub-pc-bin", "grub", "grub2-pc-modules");
/// GRUB for UEFI.
pub const GRUB_EFI: Tool =
    tool(&["/usr/lib/grub/x86_64-efi/moddep.lst"], "grub-efi-amd64-bin", "grub", "grub2-efi-x64-modules");
/// GRUB for 32-bit UEFI.
pub const GRUB_EFI_32: Tool =
    tool(&["/usr/lib/grub/i386-efi/moddep.lst"], "grub-efi-ia32-bin", "grub", "grub2-efi-ia32-modules");
/// What shim must know of GRUB; Debian's package has none.
pub const GRUB_SBAT: Tool = tool(&["/usr/share/grub/sbat.csv"], "", "grub", "");
/// The first boot loader, signed by Microsoft; not needed.
pub const SHIM: Tool = tool(&["/usr/lib/shim/shimx64.efi.signed"], "shim-signed", "", "");
/// GRUB for removable media, signed by the distribution; not needed.
pub const GRUB_SIGNED: Tool =
    tool(&["/usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed"], "grub-efi-amd64-signed", "", "");
/// Builds Arch images. Debian has no package of it.
pub const MKARCHISO: Tool = tool(&["mkarchiso"], "", "archiso", "");
/// Arch's packages.
pub const PACMAN: Tool = tool(&["pacman"], "pacman-package-manager", "pacman", "pacman");
/// Installs a root of Arch's packages.
pub const PACSTRAP: Tool =
    tool(&["pacstrap"], "arch-install-scripts", "arch-install-scripts", "arch-install-scripts");

impl Tool {
    /// Which of its names is here.
    pub fn find(&self, host: &Host) -> Option<&'static str> {
        self.names.iter().copied().find(|name| {
            if name.starts_with('/') {
                host.root().exists(name)
            } else {
                PATH.split(':').any(|dir| {
                    host.root()
                        .metadata(&format!("{dir}/{name}"))
                        .is_ok_and(|m| m.kind == crate::host::FileKind::File && m.mode & 0o111 != 0)
                })
            }
        })
    }

    /// The name to run it by: the one that is here, else the usual one.
    pub fn name(&self, host: &Host) -> &'static str {
        self.find(host).unwrap_or(self.names[0])
    }

    fn package(&self, family: Family) -> Option<&'static str> {
        let package = match family {
            Family::Debian | Family::Ubuntu | Family::Proxmox => self.debian,
            Family::Arch => self.arch,
            Family::Fedora | Family::Rhel => self.fedora,
            _ => "",
        };
        (!package.is_empty()).then_some(package)
    }
}

/// Refuses with all that is missing and the one command that installs it.
///
/// # Errors
/// When something is missing.
pub fn need(host: &Host, tools: &[Tool]) -> Result<(), LabError> {
    let missing: Vec<&Tool> = tools.iter().filter(|t| t.find(host).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let os = detect::gather(host, Some(&[Topic::Os])).os;
    let family = os.seen().map_or(Family::Unknown, |os| os.family);
    Err(refusal(&missing, family))
}

/// The refusal for what is missing. Pure.
fn refusal(missing: &[&Tool], family: Family) -> LabError {
    let names: Vec<&str> = missing.iter().map(|t| t.names[0]).collect();
    let reason = format!("{} {} missing", names.join(", "), if names.len() == 1 { "is" } else { "are" });
    let mut packages: Vec<&str> = missing.iter().filter_map(|t| t.package(family)).collect();
    packages.sort_unstable();
    packages.dedup();
    let install = match family {
        Family::Debian | Family::Ubuntu | Family::Proxmox => "sudo apt-get install",
        Family::Arch => "sudo pacman -S --needed",
        Family::Fedora | Family::Rhel => "sudo dnf install",
        _ => "",
    };
    let without: Vec<&str> =
        missing.iter().filter(|t| t.package(family).is_none()).map(|t| t.names[0]).collect();
    let mut remedy = Vec::new();
    if !packages.is_empty() {
        let them = if names.len() == 1 { "it" } else { "them" };
        remedy.push(format!("install what has {them}: {install} {}", packages.join(" ")));
    }
    if without.contains(&"mkarchiso") {
        remedy.push(
            "mkarchiso comes with Arch's package archiso: build on an Arch machine, or install it from \
             https://gitlab.archlinux.org/archlinux/archiso"
                .to_owned(),
        );
    } else if !without.is_empty() {
        remedy.push(format!("install what has {} by your distribution's means", without.join(", ")));
    }
    LabError::refused("missing-tools", reason, remedy.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_missing_is_named_with_one_command() {
        let text = refusal(&[&MMDEBSTRAP, &MKSQUASHFS, &XORRISO], Family::Debian).to_string();
        assert_eq!(
            text,
            "mmdebstrap, mksquashfs, xorriso are missing; install what has them: sudo apt-get install \
             mmdebstrap squashfs-tools xorriso"
        );
        assert!(
            refusal(&[&GRUB_EFI, &MKRESCUE], Family::Arch).to_string().ends_with("pacman -S --needed grub")
        );
        let text = refusal(&[&MKARCHISO, &PACMAN], Family::Debian).to_string();
        assert!(text.contains("pacman-package-manager") && text.contains("archlinux/archiso"), "{text}");
        assert!(refusal(&[&GIT], Family::Gentoo).to_string().contains("git by your distribution"));
    }
}
