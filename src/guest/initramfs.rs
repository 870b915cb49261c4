// SPDX-License-Identifier: GPL-3.0-or-later
//! The initramfs: our init and the modules that this guest needs (kept in the cache), and behind them what one
//! boot is to do.

use super::error::GuestError;
use super::kernel::Kernel;
use super::modules::Need;
use super::spec::KernelBoot;
use crate::init::config::Config;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

/// An initramfs for one boot.
#[derive(Debug)]
pub struct Initramfs {
    /// The part that other boots use again, in the cache.
    pub base: PathBuf,
    /// The part of this boot.
    pub tail: Vec<u8>,
}

impl Initramfs {
    /// Both parts in one file in memory, for `-initrd /proc/self/fd/N`: nothing is left of it.
    ///
    /// # Errors
    /// When memory or the cached part is not to be had.
    pub fn file(&self) -> Result<File, GuestError> {
        Err(GuestError::refused("unfinished", "an initramfs cannot be made yet", "wait for it"))
    }
}

/// Makes the initramfs of `boot`: what `needs` says as modules, the modules to insert, with `--root none` the
/// command's program with its libraries, and `config` (whose `insert` is filled in here). The task, `collect`
/// and `writable` of `config` are taken from `boot`; the caller chooses `root` and `stdin`.
///
/// # Errors
/// When the kernel lacks something (with the missing option's name), or a file cannot be read or written.
pub fn prepare(
    boot: &KernelBoot,
    kernel: &Kernel,
    needs: &BTreeSet<Need>,
    config: Config,
    cache: &Path,
) -> Result<Initramfs, GuestError> {
    let _ = (boot, kernel, needs, config, cache);
    Err(GuestError::refused("unfinished", "an initramfs cannot be made yet", "wait for it"))
}
