// SPDX-License-Identifier: GPL-3.0-or-later
//! A kernel image: what it is, how QEMU starts it fastest, and what it can do.

use super::error::GuestError;
use super::spec::KernelBoot;
use std::path::{Path, PathBuf};

/// How QEMU starts a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// An ELF file with a PVH note: started in 32-bit mode directly, on microvm too.
    Pvh,
    /// A bzImage: through the firmware and the kernel's own setup and decompression code.
    BzImage,
}

/// A kernel that can be booted.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// The release (`6.1.0-56-amd64`), as the image says.
    pub release: String,
    /// The file for QEMU's `-kernel`: the ELF file taken out of the image (in the cache), else the image itself.
    pub boot: PathBuf,
    /// What [`Self::boot`] is.
    pub entry: Entry,
    /// Why it is no PVH entry, when it is none.
    pub slow_because: Option<String>,
    /// What it can do.
    pub abilities: super::modules::Abilities,
}

/// Opens the kernel of `boot`. What is taken out of the image is kept below `cache`.
///
/// # Errors
/// When the image cannot be read, is truncated or is no x86 kernel.
pub fn open(boot: &KernelBoot, cache: &Path) -> Result<Kernel, GuestError> {
    let _ = (boot, cache);
    Err(GuestError::refused("unfinished", "kernel images cannot be read yet", "wait for it"))
}
