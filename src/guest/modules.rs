// SPDX-License-Identifier: GPL-3.0-or-later
//! What a kernel has built in, what it has as modules, and in which order those are inserted.

use super::error::GuestError;
use super::index::Index;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

/// Something that a guest needs of its kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// An initramfs at all.
    Initramfs,
    /// Virtio devices on PCI.
    VirtioPci,
    /// Virtio devices of a microvm.
    VirtioMmio,
    /// Ports between host and guest.
    Ports,
    /// Directories over 9p.
    Ninep,
    /// Directories over virtiofs.
    Virtiofs,
    /// A layer in memory over a read-only root.
    Overlay,
    /// Virtio disks.
    Disk,
    /// Virtio network cards.
    Net,
    /// Sockets between host and guest.
    Vsock,
    /// A file system on a disk.
    Ext4,
    /// The same.
    Squashfs,
    /// The same.
    Erofs,
    /// The same.
    Xfs,
    /// The same.
    Btrfs,
    /// The same.
    Iso9660,
    /// The same.
    Vfat,
}

impl Need {
    /// File systems that a disk may hold.
    pub const FILE_SYSTEMS: [Self; 7] =
        [Self::Ext4, Self::Squashfs, Self::Erofs, Self::Xfs, Self::Btrfs, Self::Iso9660, Self::Vfat];

    /// Options of the kernel's configuration, each with the module that it makes (empty: it makes none).
    pub fn options(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Initramfs => &[("CONFIG_BLK_DEV_INITRD", "")],
            Self::VirtioPci => &[("CONFIG_VIRTIO_PCI", "virtio_pci")],
            Self::VirtioMmio => &[("CONFIG_VIRTIO_MMIO", "virtio_mmio")],
            Self::Ports => &[("CONFIG_VIRTIO_CONSOLE", "virtio_console")],
            Self::Ninep => &[("CONFIG_NET_9P_VIRTIO", "9pnet_virtio"), ("CONFIG_9P_FS", "9p")],
            Self::Virtiofs => &[("CONFIG_VIRTIO_FS", "virtiofs")],
            Self::Overlay => &[("CONFIG_OVERLAY_FS", "overlay")],
            Self::Disk => &[("CONFIG_VIRTIO_BLK", "virtio_blk")],
            Self::Net => &[("CONFIG_VIRTIO_NET", "virtio_net")],
            Self::Vsock => &[("CONFIG_VIRTIO_VSOCKETS", "vmw_vsock_virtio_transport")],
            Self::Ext4 => &[("CONFIG_EXT4_FS", "ext4")],
            Self::Squashfs => &[("CONFIG_SQUASHFS", "squashfs")],
            Self::Erofs => &[("CONFIG_EROFS_FS", "erofs")],
            Self::Xfs => &[("CONFIG_XFS_FS", "xfs")],
            Self::Btrfs => &[("CONFIG_BTRFS_FS", "btrfs")],
            Self::Iso9660 => &[("CONFIG_ISO9660_FS", "isofs")],
            Self::Vfat => &[("CONFIG_VFAT_FS", "vfat")],
        }
    }

    /// The name of the file system, as `mount(2)` takes it: its modules are inserted only when a disk holds one.
    pub fn file_system(self) -> Option<&'static str> {
        Some(match self {
            Self::Ext4 => "ext4",
            Self::Squashfs => "squashfs",
            Self::Erofs => "erofs",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::Iso9660 => "iso9660",
            Self::Vfat => "vfat",
            _ => return None,
        })
    }
}

/// How a kernel has something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Have {
    /// Built in.
    BuiltIn,
    /// As modules that are there.
    Module,
    /// Not: its option (`CONFIG_9P_FS`) and why ("is not set", "is a module, and its modules are not there").
    Missing {
        /// The option's name.
        option: &'static str,
        /// Why.
        why: String,
    },
    /// Neither its configuration nor its modules are known: it may work.
    Unknown,
}

/// A module that is put into an initramfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its name, as `/proc/modules` has it.
    pub name: String,
    /// Its file.
    pub file: PathBuf,
    /// The file system that it is for; none: it is inserted in every boot.
    pub only_for: Option<&'static str>,
    /// Whether the kernel may refuse it (an alternative that this processor may lack).
    pub optional: bool,
}

/// What a kernel can do.
#[derive(Debug, Clone, Default)]
pub struct Abilities {
    /// Options that are set (`y` or `m`), of those that [`Need::options`] names; none: not known.
    pub config: Option<HashMap<String, String>>,
    /// Its modules and what it has built in.
    pub index: Option<Index>,
}

impl Abilities {
    /// How it has `need`: the worst of its parts.
    pub fn has(&self, need: Need) -> Have {
        let mut all = Have::BuiltIn;
        for (option, module) in need.options() {
            match (self.part(option, module), &all) {
                (missing @ Have::Missing { .. }, _) => return missing,
                (Have::Unknown, _) => all = Have::Unknown,
                (Have::Module, Have::BuiltIn) => all = Have::Module,
                _ => {}
            }
        }
        all
    }

    fn part(&self, option: &'static str, module: &str) -> Have {
        let missing = |why: &str| Have::Missing { option, why: why.to_owned() };
        let is_there = !module.is_empty() && self.index.as_ref().is_some_and(|i| i.contains(module));
        if self.index.as_ref().is_some_and(|i| i.is_built_in(module)) {
            return Have::BuiltIn;
        }
        match self.config.as_ref().map(|c| c.get(option).map(String::as_str)) {
            Some(Some("y")) => Have::BuiltIn,
            _ if is_there => Have::Module,
            Some(Some(_)) => match &self.index {
                Some(index) => {
                    missing(&format!("is a module, and {module} is not in {}", index.folder().display()))
                }
                None => missing("is a module, and the folder of its modules is not known"),
            },
            Some(None) => missing("is not set"),
            None if module.is_empty() => Have::Unknown,
            None if self.index.as_ref().is_some_and(Index::knows_built_in) => {
                missing("is neither built in nor a module")
            }
            None => Have::Unknown,
        }
    }

    /// Refuses, before a boot, with the first option that is missing.
    ///
    /// # Errors
    /// When one of `needs` is missing for certain.
    pub fn require<'a>(&self, needs: impl IntoIterator<Item = &'a Need>) -> Result<(), GuestError> {
        for need in needs {
            if let Have::Missing { option, why } = self.has(*need) {
                return Err(GuestError::refused(
                    "kernel-lacks-option",
                    format!("this kernel cannot run such a guest: {option} {why}"),
                    remedy(*need),
                ));
            }
        }
        Ok(())
    }

    /// The modules that `needs` take, each after those it depends on. What is built in, and what is not known,
    /// takes none.
    ///
    /// # Errors
    /// When a module's file cannot be read.
    pub fn modules(&self, needs: &BTreeSet<Need>) -> Result<Vec<Module>, GuestError> {
        let mut modules = Vec::new();
        let Some(index) = &self.index else { return Ok(modules) };
        let (always, on_demand): (Vec<Need>, Vec<Need>) =
            needs.iter().partition(|need| need.file_system().is_none());
        for need in always.into_iter().chain(on_demand) {
            for (_, module) in need.options() {
                if !index.is_built_in(module) && index.contains(module) {
                    index.resolve(module, need.file_system(), &mut modules)?;
                }
            }
        }
        Ok(modules)
    }
}

fn remedy(need: Need) -> &'static str {
    match need {
        Need::Ninep | Need::Virtiofs => {
            "take a kernel that has it (distributions' cloud kernels often lack it), name the folder of its modules with --modules, or use an image as root"
        }
        Need::Overlay => "take a kernel that has it, or allow writing with --writable",
        Need::Initramfs => "take a kernel that has it",
        _ => "take a kernel that has it, or name the folder of its modules with --modules",
    }
}

/// Options of a configuration that some [`Need`] names.
pub fn parse_config(text: &str) -> HashMap<String, String> {
    let wanted: BTreeSet<&str> =
        ALL.iter().flat_map(|need| need.options()).map(|(option, _)| *option).collect();
    text.lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(option, value)| wanted.contains(option) && *value != "n")
        .map(|(option, value)| (option.to_owned(), value.trim_end().to_owned()))
        .collect()
}

const ALL: [Need; 17] = [
    Need::Initramfs,
    Need::VirtioPci,
    Need::VirtioMmio,
    Need::Ports,
    Need::Ninep,
    Need::Virtiofs,
    Need::Overlay,
    Need::Disk,
    Need::Net,
    Need::Vsock,
    Need::Ext4,
    Need::Squashfs,
    Need::Erofs,
    Need::Xfs,
    Need::Btrfs,
    Need::Iso9660,
    Need::Vfat,
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config(text: &str) -> Abilities {
        Abilities { config: Some(parse_config(text)), index: None }
    }

    #[test]
    fn a_missing_option_is_named_with_what_to_do() {
        let cloud = config(
            "CONFIG_BLK_DEV_INITRD=y\n# CONFIG_NET_9P is not set\nCONFIG_VIRTIO_FS=m\nCONFIG_VIRTIO_PCI=y\n",
        );
        assert_eq!(cloud.has(Need::VirtioPci), Have::BuiltIn);
        assert!(matches!(cloud.has(Need::Ninep), Have::Missing { option: "CONFIG_NET_9P_VIRTIO", .. }));
        let error = cloud.require(&[Need::Initramfs, Need::Ninep]).unwrap_err().to_string();
        assert!(error.contains("CONFIG_NET_9P_VIRTIO is not set; take a kernel that has it"), "{error}");
        let error = cloud.require(&[Need::Virtiofs]).unwrap_err().to_string();
        assert!(
            error.contains("CONFIG_VIRTIO_FS is a module, and the folder of its modules is not known"),
            "{error}"
        );
    }

    #[test]
    fn what_nobody_knows_is_not_refused() {
        assert_eq!(Abilities::default().has(Need::Ninep), Have::Unknown);
        Abilities::default().require(&ALL).unwrap();
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(?s).*") {
            parse_config(&text);
        }
    }
}
