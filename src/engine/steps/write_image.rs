// SPDX-License-Identifier: GPL-3.0-or-later
//! Write an image onto a whole medium (a USB stick). What it held is lost: this is the one kind of step that cannot
//! be taken back, and says so.
//!
//! The image is an open file that came with the run, never a path: root reads just what the caller could read. It
//! is compared with the SHA-256 of the plan before the first byte is written, while it is written, and read back
//! from the medium past the page cache.

use super::Action;
use super::preview::preview;
use crate::engine::context::{After, Applied, Before, Context};
use crate::engine::error::StepError;
use crate::engine::event::{Check, CheckOutcome, Level};
use crate::engine::plan::Permission;
use crate::engine::report::{FileChange, Reversal, StepPreview};
use crate::host::{Command, Host, HostError};
use rustix::fs::Advice;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, FileTypeExt};

/// Bytes moved at once.
const CHUNK: usize = 4 << 20;
/// After so many bytes the medium has to have them: progress is then real, and a wish to stop is heard.
const FLUSH: u64 = 32 << 20;
/// What memory and places on the disk are aligned to for reading past the page cache (open(2), `O_DIRECT`).
const ALIGN: usize = 4096;
/// What progress is counted in.
const UNIT: &str = "MB";
const MB: u64 = 1_000_000;

/// Write an image onto a whole medium, and read it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteImage {
    /// The device file of the medium ("/dev/sdb").
    pub device: String,
    /// Its major and minor number ("8:16"), when the plan was made: the one that is there must be the same.
    pub number: String,
    /// The kernel's number for the medium that was in it then (`diskseq`); older kernels have none.
    #[serde(default)]
    pub instance: Option<u64>,
    /// The medium's size in bytes.
    pub capacity: u64,
    /// What it holds now, for people ("sdb1 (15000 MB)").
    #[serde(default)]
    pub holds: Vec<String>,
    /// The image's file name, for people.
    pub image: String,
    /// Size of the image in bytes.
    pub size: u64,
    /// SHA-256 of the image, hexadecimal.
    pub sha256: String,
}

/// Takes a piece of the image and the place that it has in it.
type Each<'a> = dyn FnMut(u64, &[u8]) -> Result<(), StepError> + 'a;

impl WriteImage {
    fn image<'a>(&self, ctx: &Context<'a>) -> Result<&'a File, StepError> {
        let file = ctx.inputs().images.get(&self.sha256).ok_or_else(|| {
            StepError::refused(
                format!("the image {} did not come with the run", self.image),
                "write it with `hostwright lab write`, which hands it over",
            )
        })?;
        let size =
            file.metadata().map_err(|e| StepError::Host(failed(&self.image, "could not look at", e)))?.len();
        if size != self.size {
            let what = format!("the image {} has {size} bytes, and had {} before", self.image, self.size);
            return Err(StepError::refused(what, "wait until it is whole, and try again"));
        }
        Ok(file)
    }

    /// The medium is still the one that was shown. That nobody uses it is for the kernel to say, see [`Self::open`].
    fn same_medium(&self, host: &Host) -> Result<(), StepError> {
        let name = self.device.trim_start_matches("/dev/");
        let read = |file: &str| {
            let text = host.root().read_text(&format!("/sys/block/{name}/{file}")).ok()?;
            Some(text.trim().to_owned())
        };
        let number = read("dev");
        if number.is_none() {
            let what = format!("{} is gone", self.device);
            return Err(StepError::refused(what, "put the medium in and try again"));
        }
        // Sectors of 512 bytes, whatever the disk's own are.
        let capacity = read("size").and_then(|s| s.parse::<u64>().ok()).map(|s| s.saturating_mul(512));
        let instance = read("diskseq").and_then(|s| s.parse().ok());
        if number.as_ref() != Some(&self.number)
            || capacity != Some(self.capacity)
            || instance != self.instance
        {
            let what = format!("{} is another medium than the one that was shown", self.device);
            return Err(StepError::refused(what, "look at `hostwright lab devices` and try again"));
        }
        Ok(())
    }

    /// Opens the medium for this program alone: the kernel refuses when it or a part of it is mounted, swapped to
    /// or held, in whatever namespace (open(2), `O_EXCL` on block devices).
    fn open(&self, host: &Host) -> Result<File, StepError> {
        let file = host.root().open_device(&self.device, true).map_err(|error| {
            match error.source.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
                Some(rustix::io::Errno::BUSY) => StepError::refused(
                    format!("{} is in use", self.device),
                    "unmount what is on it (`lsblk` shows it) and try again",
                ),
                Some(rustix::io::Errno::ROFS | rustix::io::Errno::ACCESS) => StepError::refused(
                    format!("{} cannot be written to: {}", self.device, error.source),
                    "look whether it has a switch against writing",
                ),
                _ => StepError::Host(error),
            }
        })?;
        self.check_kind(host, &file)?;
        Ok(file)
    }

    /// On a machine a block device with the numbers that were seen; on a scratch root never a device, which would be
    /// one of the machine around it.
    fn check_kind(&self, host: &Host, file: &File) -> Result<(), StepError> {
        let meta =
            rustix::fs::fstat(file).map_err(|e| failed(&self.device, "could not look at", e.into()))?;
        let kind = file.metadata().map_err(|e| failed(&self.device, "could not look at", e))?.file_type();
        if !host.is_machine() {
            return if kind.is_file() {
                Ok(())
            } else {
                Err(StepError::refused(
                    format!("{} of a scratch root is no plain file", self.device),
                    "put a file there that stands for the medium",
                ))
            };
        }
        let (major, minor) = (rustix::fs::major(meta.st_rdev), rustix::fs::minor(meta.st_rdev));
        if !kind.is_block_device() || format!("{major}:{minor}") != self.number {
            let what = format!("{} is not the block device {}", self.device, self.number);
            return Err(StepError::refused(what, "look at `hostwright lab devices` and try again"));
        }
        Ok(())
    }

    /// The medium is large enough; afterwards it stands at its beginning.
    fn check_room(&self, device: &mut File) -> Result<(), StepError> {
        let look = |e| failed(&self.device, "could not look at", e);
        let room = device.seek(SeekFrom::End(0)).map_err(look)?;
        device.seek(SeekFrom::Start(0)).map_err(look)?;
        if room >= self.size {
            return Ok(());
        }
        let what = format!("{} holds {room} bytes, and the image has {}", self.device, self.size);
        Err(StepError::refused(what, "use a larger medium"))
    }

    /// Reads the image from its beginning in pieces. The place in the file belongs to the caller and is not used.
    fn pieces(&self, ctx: &Context<'_>, file: &File, each: &mut Each<'_>) -> Result<String, StepError> {
        let mut hash = Sha256::new();
        let mut buffer = vec![0; CHUNK];
        let mut at = 0;
        while at < self.size {
            ctx.stop_if_cancelled()?;
            let want = usize::try_from(self.size - at).unwrap_or(CHUNK).min(CHUNK);
            let piece = &mut buffer[..want];
            file.read_exact_at(piece, at).map_err(|e| failed(&self.image, "could not read", e))?;
            hash.update(&*piece);
            each(at, piece)?;
            at += want as u64;
        }
        Ok(hex::encode(hash.finalize()))
    }

    /// Reads back what the medium holds, past the page cache where that can be done.
    fn read_back(&self, ctx: &Context<'_>) -> Result<String, StepError> {
        let root = ctx.host().root();
        let shown = &self.device;
        let (mut file, direct) = match root.open_device_direct(shown) {
            Ok(file) => (file, true),
            // A plain file on a file system that cannot; a disk always can.
            Err(e) if !ctx.host().is_machine() && e.source.kind() == io::ErrorKind::InvalidInput => {
                (root.open_file(shown)?, false)
            }
            Err(e) => return Err(e.into()),
        };
        self.check_kind(ctx.host(), &file)?;
        if !direct {
            let _ = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed);
        }
        let mut memory = vec![0_u8; CHUNK + ALIGN];
        let start = memory.as_ptr().align_offset(ALIGN);
        let mut hash = Sha256::new();
        let mut left = self.size;
        file.seek(SeekFrom::Start(0)).map_err(|e| failed(shown, "could not read", e))?;
        while left > 0 {
            ctx.stop_if_cancelled()?;
            let got = file
                .read(&mut memory[start..start + CHUNK])
                .map_err(|e| failed(shown, "could not read", e))?;
            if got == 0 {
                return Err(failed(shown, "could not read", io::ErrorKind::UnexpectedEof.into()).into());
            }
            let counts = usize::try_from(left).unwrap_or(got).min(got);
            hash.update(&memory[start..start + counts]);
            left -= counts as u64;
            ctx.progress((self.size - left) / MB, self.size / MB, "MB read back");
        }
        Ok(hex::encode(hash.finalize()))
    }

    fn lost(&self) -> String {
        format!("what {} held before is lost", self.device)
    }
}

fn failed(path: &str, what: &'static str, source: io::Error) -> HostError {
    HostError { what, path: path.to_owned(), source }
}

impl Action for WriteImage {
    fn title(&self) -> String {
        format!("Erase {} and write {} onto it", self.device, self.image)
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [Permission::MediaWrite].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::None { why: self.lost() }
    }

    fn weight(&self) -> u32 {
        // A second for each 30 MB, as slow sticks write; a small file is 1.
        u32::try_from(self.size / (3 * MB)).unwrap_or(u32::MAX).max(10)
    }

    fn preview(&self, _host: &Host) -> StepPreview {
        let held = if self.holds.is_empty() { "no partitions".to_owned() } else { self.holds.join(", ") };
        let diff = format!("all of it is overwritten; now it holds: {held}");
        preview(self, &[], vec![FileChange { path: self.device.clone(), diff }])
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        self.same_medium(ctx.host())?;
        let image = self.image(ctx)?;
        let mut device = self.open(ctx.host())?;
        self.check_room(&mut device)?;
        drop(device);
        // As long as nothing is written, a wrong image costs nothing.
        let is = self.pieces(ctx, image, &mut |at, _| {
            ctx.progress(at / MB, self.size / MB, "MB of the image checked");
            Ok(())
        })?;
        if is != self.sha256 {
            let what = format!("the image {} is not the one that was shown", self.image);
            return Err(StepError::refused(what, "wait until nothing writes to it, and try again"));
        }
        Ok(Before { irreversible: true, ..Before::default() })
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        let image = self.image(ctx)?;
        let mut device = self.open(ctx.host())?;
        let shown = &self.device;
        // Reading the image took its time, and a stick is quickly changed.
        self.same_medium(ctx.host())?;
        self.check_room(&mut device)?;
        let mut flushed = 0;
        let wrote = self.pieces(ctx, image, &mut |at, piece| {
            device.write_all(piece).map_err(|e| failed(shown, "could not write", e))?;
            let done = at + piece.len() as u64;
            if done - flushed >= FLUSH {
                device.sync_data().map_err(|e| failed(shown, "could not write", e))?;
                flushed = done;
            }
            ctx.progress(done / MB, self.size / MB, UNIT);
            Ok(())
        })?;
        device.sync_all().map_err(|e| failed(shown, "could not write", e))?;
        drop(device);
        if wrote != self.sha256 {
            let what = format!("the image {} changed while it was written", self.image);
            return Err(StepError::refused(what, "wait until nothing writes to it, and write it again"));
        }
        Ok(Applied::default())
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        let outcome = match self.read_back(ctx) {
            Ok(is) if is == self.sha256 => {
                let size = self.size.div_ceil(MB);
                let said =
                    format!("{size} MB read back from {}: it is the image, byte for byte", self.device);
                ctx.say(Level::Note, said);
                CheckOutcome::Good
            }
            Ok(is) => CheckOutcome::Bad {
                reason: format!(
                    "read back it has SHA-256 {is}, and the image {}: the medium is broken or not as large as it \
                     says; use another one",
                    self.sha256
                ),
            },
            Err(error) => CheckOutcome::CouldNotLook { reason: error.to_string() },
        };
        if ctx.host().is_machine() {
            // The kernel and the desktop then see what is on it now; that they do not is no harm to the image.
            let reread = Command::new("blockdev").args(["--rereadpt", self.device.as_str()]);
            if let Err(error) = ctx.command(&reread) {
                ctx.say(Level::Note, format!("the kernel did not read the new partitions: {error}"));
            }
        }
        vec![Check { what: format!("{} holds the image, read back from it", self.device), outcome }]
    }

    /// There is nothing to put back; that is said.
    fn undo(&self, ctx: &mut Context<'_>, _: &Before, after: Option<&After>) -> Result<(), StepError> {
        if after.is_none() {
            ctx.note(format!("{}, and it may hold a part of the image", self.lost()));
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "write_image_tests.rs"]
mod tests;
