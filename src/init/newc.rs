// SPDX-License-Identifier: GPL-3.0-or-later
//! Writes cpio archives in the form `newc`: what the kernel unpacks as an initramfs, and what a guest hands its
//! files over in.
//!
//! Source of facts: the kernel's `Documentation/driver-api/early-userspace/buffer-format.rst`.

use std::io::{self, Write};

/// File type bits of `st_mode`.
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const DEVICE: u32 = 0o020_000;

/// Writes one archive.
#[derive(Debug)]
pub struct Archive<W> {
    out: W,
    number: u32,
    written: u64,
}

impl<W: Write> Archive<W> {
    /// An archive that is written to `out`.
    pub fn new(out: W) -> Self {
        Self { out, number: 0, written: 0 }
    }

    /// A directory.
    ///
    /// # Errors
    /// As `out` does.
    pub fn folder(&mut self, name: &[u8], mode: u32) -> io::Result<()> {
        self.header(name, FOLDER | mode, 0, 0, (0, 0))
    }

    /// A file.
    ///
    /// # Errors
    /// As `out` does; when it is 4 GiB or more.
    pub fn file(&mut self, name: &[u8], mode: u32, content: &[u8]) -> io::Result<()> {
        self.file_head(name, mode, 0, content.len() as u64)?;
        self.bytes(content)?;
        self.pad()
    }

    /// The beginning of a file of `size` bytes; [`Archive::bytes`] and [`Archive::pad`] follow.
    ///
    /// # Errors
    /// As `out` does; when it is 4 GiB or more.
    pub fn file_head(&mut self, name: &[u8], mode: u32, mtime: u32, size: u64) -> io::Result<()> {
        let size = u32::try_from(size).map_err(|_| io::Error::other("too large for a cpio archive"))?;
        self.header(name, FILE | mode, mtime, size, (0, 0))
    }

    /// A symbolic link.
    ///
    /// # Errors
    /// As `out` does.
    pub fn link(&mut self, name: &[u8], target: &[u8]) -> io::Result<()> {
        let size = u32::try_from(target.len()).map_err(|_| io::Error::other("too long a link"))?;
        self.header(name, LINK | 0o777, 0, size, (0, 0))?;
        self.bytes(target)?;
        self.pad()
    }

    /// A character device.
    ///
    /// # Errors
    /// As `out` does.
    pub fn device(&mut self, name: &[u8], mode: u32, major: u32, minor: u32) -> io::Result<()> {
        self.header(name, DEVICE | mode, 0, 0, (major, minor))
    }

    /// The end of the archive.
    ///
    /// # Errors
    /// As `out` does.
    pub fn finish(mut self) -> io::Result<W> {
        self.number = 0;
        self.header(b"TRAILER!!!", 0, 0, 0, (0, 0))?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// Bytes of a file.
    ///
    /// # Errors
    /// As `out` does.
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Fills up to the next entry: after a file's bytes.
    ///
    /// # Errors
    /// As `out` does.
    pub fn pad(&mut self) -> io::Result<()> {
        let missing = self.written.next_multiple_of(4) - self.written;
        self.bytes(&[0; 4][..usize::try_from(missing).unwrap_or(0)])
    }

    fn header(&mut self, name: &[u8], mode: u32, mtime: u32, size: u32, node: (u32, u32)) -> io::Result<()> {
        self.number += 1;
        let length = u32::try_from(name.len() + 1).map_err(|_| io::Error::other("too long a name"))?;
        let links = if mode & 0o170_000 == FOLDER { 2 } else { 1 };
        let fields = [self.number, mode, 0, 0, links, mtime, size, 0, 0, node.0, node.1, length, 0];
        let mut head = String::with_capacity(110);
        head.push_str("070701");
        for field in fields {
            for shift in (0..8).rev() {
                let digit = (field >> (shift * 4)) & 15;
                head.push(char::from_digit(digit, 16).unwrap_or('0'));
            }
        }
        self.bytes(head.as_bytes())?;
        self.bytes(name)?;
        self.bytes(&[0])?;
        self.pad()
    }
}
