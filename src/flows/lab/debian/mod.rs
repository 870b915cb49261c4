// SPDX-License-Identifier: GPL-3.0-or-later
//! A live system of Debian's own packages.
//!
//! ```text
//!   packages ─► mmdebstrap ─► tar ─► base.squashfs + kernel + initramfs   (kept: bases/KEY)
//!   layer ────────────────────────► project.squashfs                      (made each time, small)
//!                         both ───► ISO (grub-mkrescue) or disk (GPT, GRUB, ext4)
//! ```
//!
//! live-boot lays the squashfs images over each other in the order of `live/filesystem.module`, the first one
//! lowest (live-boot(7)); so a change in the project repacks the project alone.

mod apt;
mod bootstrap;
mod disk;
mod medium;
mod signed;

use super::build::Builder;
use super::folders::Folders;
use super::job::Job;
use super::layer::Layer;
use super::spec::{DebianSpec, Form};
use super::tools::{self, Tool};
use super::{LabError, namespace};
use crate::host::Host;
use apt::Sources;
use bootstrap::Base;
use signed::Signed;
use std::cell::OnceCell;
use std::path::PathBuf;

/// Packages of every image: what boots and runs a live system, and lets a person look at it.
const NEEDED: [&str; 9] =
    ["live-boot", "systemd-sysv", "dbus", "udev", "kmod", "iproute2", "zstd", "less", "initramfs-tools"];

/// The builder of Debian images.
#[derive(Debug)]
pub(super) struct Debian<'a> {
    spec: &'a DebianSpec,
    name: &'a str,
    refresh: bool,
    base: OnceCell<Base>,
}

impl<'a> Debian<'a> {
    /// For this image.
    pub fn new(spec: &'a DebianSpec, name: &'a str, refresh: bool) -> Self {
        Self { spec, name, refresh, base: OnceCell::new() }
    }

    fn packages(&self) -> Vec<String> {
        let mut all: Vec<String> = NEEDED.iter().map(|p| (*p).to_owned()).collect();
        all.push(self.spec.kernel.clone());
        all.extend(self.spec.packages.iter().cloned());
        all.sort();
        all.dedup();
        all
    }

    /// The system below; apt is asked for its archives once.
    fn base(&self, host: &Host, folders: &Folders) -> &Base {
        self.base.get_or_init(|| {
            let sources = Sources::of(host, &self.spec.suite, self.spec.mirror.as_deref());
            Base::new(folders, &self.spec.suite, sources, self.packages())
        })
    }
}

impl Builder for Debian<'_> {
    fn tools(&self) -> Vec<Tool> {
        let mut all = vec![tools::MMDEBSTRAP, tools::APT, tools::KEYS, tools::MKSQUASHFS];
        all.extend([tools::GRUB_BIOS, tools::GRUB_EFI, tools::MTOOLS]);
        match self.spec.form {
            Form::Iso => all.extend([tools::MKRESCUE, tools::XORRISO]),
            Form::Disk => all.extend([tools::MKIMAGE, tools::SFDISK, tools::MKFS_VFAT, tools::MKE2FS]),
        }
        if !namespace::is_root() {
            all.push(tools::NEWUIDMAP);
        }
        all
    }

    fn key(&self, host: &Host, folders: &Folders) -> Result<String, LabError> {
        let base = self.base(host, folders);
        let signed = if Signed::find(host).is_some() { " signed" } else { "" };
        Ok(format!("{}{signed} {} {}", medium::RECIPE, base.key(), base.made().unwrap_or_default()))
    }

    fn validate(&self, job: &mut Job<'_>) -> Result<(), LabError> {
        if !namespace::is_root() && !namespace::has_range(job.host) {
            return Err(LabError::refused(
                "no-subuid",
                "this account has no range of users of its own in /etc/subuid and /etc/subgid",
                "give it one: sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 \"$USER\"",
            ));
        }
        let base = self.base(job.host, job.folders);
        // A kept system proves that its packages are there.
        if base.made().is_none() || self.refresh { base.look(job) } else { Ok(()) }
    }

    fn space(&self, host: &Host, folders: &Folders, layer: u64) -> Result<u64, LabError> {
        let base = self.base(host, folders);
        // The layer as an archive and packed, and the image with all of it.
        let image = layer * 3 + (64 << 20);
        Ok(match base.size() {
            Some(size) if !self.refresh => image + size,
            // The tree, its archive, and both packed: once kept, once in the image.
            _ => image + base.expected() * 7 / 2,
        })
    }

    fn build(&self, job: &mut Job<'_>, layer: &Layer) -> Result<PathBuf, LabError> {
        let base = self.base(job.host, job.folders);
        base.make(job, self.refresh)?;
        let parts = base.parts()?;
        let packed = job.step("Pack the project", |job| {
            let tar = job.work.join("layer.tar");
            bootstrap::write_tar(layer, &tar, &parts.modes)?;
            let packed = job.work.join("project.squashfs");
            bootstrap::squash(job, &tar, &packed)?;
            Ok((packed, false))
        })?;
        let medium =
            medium::Medium { name: self.name, append: &self.spec.append, parts: &parts, layer: &packed };
        let signed = Signed::find(job.host);
        let signed = signed.as_ref();
        match self.spec.form {
            Form::Iso => job.step("Write the ISO image", |job| Ok((medium.iso(job, signed)?, false))),
            Form::Disk => {
                job.step("Write the disk image", |job| Ok((disk::write(job, &medium, signed)?, false)))
            }
        }
    }
}
