// SPDX-License-Identifier: GPL-3.0-or-later
//! Sealed memory files (memfd_create(2), fcntl(2) `F_ADD_SEALS`): bytes that nobody can change any more,
//! not even who made them. So what the helper checked is what it uses.

use super::{IMAGE_PREFIX, LARGE_PREFIX, MOK_PASSWORD, SOURCE_PREFIX};
use rustix::fs::{MemfdFlags, SealFlags};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// The seals a file must have: its bytes and its size are fixed, and so are the seals.
fn all_seals() -> SealFlags {
    SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL
}

/// Why bytes could not be sealed, or a handed-over file is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SealedError {
    /// The kernel made no memory file.
    #[error("could not make a sealed memory file: {0}")]
    Make(#[source] std::io::Error),
    /// It is no memory file, or one that could still be changed.
    #[error(
        "it is not a sealed memory file; make it with memfd_create(2) and add the seals WRITE, SHRINK, GROW and SEAL"
    )]
    NotSealed,
    /// It is larger than allowed.
    #[error("it holds {size} bytes; at most {limit} are accepted")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// What is allowed, in bytes.
        limit: u64,
    },
    /// It could not be read.
    #[error("it could not be read: {0}")]
    Read(#[source] std::io::Error),
}

/// One file and its name in the call: sealed, but for an image ([`Sealed::image`]).
#[derive(Debug)]
pub struct Sealed {
    name: String,
    fd: OwnedFd,
}

impl Sealed {
    /// Seals a source archive. Its name carries its SHA-256, as the choices do.
    ///
    /// # Errors
    /// When the kernel makes no memory file.
    pub fn source(bytes: &[u8]) -> Result<Self, SealedError> {
        let sha256 = hex::encode(Sha256::digest(bytes));
        Self::new(&format!("{SOURCE_PREFIX}{sha256}"), bytes)
    }

    /// Seals the one-time password for enrolling a key.
    ///
    /// # Errors
    /// When the kernel makes no memory file.
    pub fn mok_password(password: &[u8]) -> Result<Self, SealedError> {
        Self::new(MOK_PASSWORD, password)
    }

    /// Hands over a file that [`seal_file`] made.
    ///
    /// # Errors
    /// When it cannot be handed over twice.
    pub fn large(sha256: &str, file: &File) -> Result<Self, SealedError> {
        let fd = file.as_fd().try_clone_to_owned().map_err(SealedError::Make)?;
        Ok(Self { name: format!("{LARGE_PREFIX}{sha256}"), fd })
    }

    /// An open image. It is handed over as it is: no memory holds it, and the helper compares its bytes with the
    /// SHA-256 before it uses any, and while it does.
    ///
    /// # Errors
    /// When there are no more file descriptors.
    pub fn image(sha256: &str, file: &File) -> Result<Self, SealedError> {
        let fd = file.as_fd().try_clone_to_owned().map_err(SealedError::Read)?;
        Ok(Self { name: format!("{IMAGE_PREFIX}{sha256}"), fd })
    }

    fn new(name: &str, bytes: &[u8]) -> Result<Self, SealedError> {
        // The label is seen in /proc/PID/fd only; it must not tell anything.
        let fd = rustix::fs::memfd_create("hostwright", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
            .map_err(|e| SealedError::Make(e.into()))?;
        let mut file = File::from(fd);
        file.write_all(bytes).map_err(SealedError::Make)?;
        rustix::fs::fcntl_add_seals(&file, all_seals()).map_err(|e| SealedError::Make(e.into()))?;
        Ok(Self { name: name.to_owned(), fd: file.into() })
    }

    /// Its name in the call: `source:SHA256`, `image:SHA256` or `mok-password`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }
}

/// Copies a file into a sealed memory file, in one pass that hashes. Returns it, its SHA-256 (hexadecimal) and its
/// size in bytes.
///
/// # Errors
/// When it cannot be read, or the kernel makes no memory file.
pub fn seal_file(from: &mut dyn Read) -> Result<(File, String, u64), SealedError> {
    let fd = rustix::fs::memfd_create("hostwright", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
        .map_err(|e| SealedError::Make(e.into()))?;
    let mut file = File::from(fd);
    let (mut hash, mut size) = (Sha256::new(), 0u64);
    let mut buffer = vec![0u8; 1 << 20];
    loop {
        let read = from.read(&mut buffer).map_err(SealedError::Read)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        file.write_all(&buffer[..read]).map_err(SealedError::Make)?;
        size += read as u64;
    }
    rustix::fs::fcntl_add_seals(&file, all_seals()).map_err(|e| SealedError::Make(e.into()))?;
    Ok((file, hex::encode(hash.finalize()), size))
}

/// Takes a large file that somebody handed over, if it is a sealed memory file of at most `limit` bytes. Returns it
/// with its SHA-256 (hexadecimal) and its size; its bytes are not kept in memory.
///
/// # Errors
/// See [`SealedError`]. The seals are looked at before the first byte is.
pub fn take_sealed(fd: impl AsFd, limit: u64) -> Result<(File, String, u64), SealedError> {
    let seals = rustix::fs::fcntl_get_seals(fd.as_fd()).map_err(|_| SealedError::NotSealed)?;
    if !seals.contains(all_seals()) {
        return Err(SealedError::NotSealed);
    }
    // A description of our own: its position is nobody else's.
    let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd.as_fd()));
    let mut file = File::open(link).map_err(SealedError::Read)?;
    let size = file.metadata().map_err(SealedError::Read)?.len();
    if size > limit {
        return Err(SealedError::TooLarge { size, limit });
    }
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash).map_err(SealedError::Read)?;
    Ok((file, hex::encode(hash.finalize()), size))
}

/// Reads a file that somebody handed over, if it is a sealed memory file of at most `limit` bytes.
///
/// # Errors
/// See [`SealedError`]. The seals are looked at before the first byte is.
pub fn read_sealed(fd: impl AsFd, limit: u64) -> Result<Vec<u8>, SealedError> {
    // F_GET_SEALS fails with EINVAL on everything that is no memory file.
    let seals = rustix::fs::fcntl_get_seals(fd.as_fd()).map_err(|_| SealedError::NotSealed)?;
    if !seals.contains(all_seals()) {
        return Err(SealedError::NotSealed);
    }
    let stat = rustix::fs::fstat(fd.as_fd()).map_err(|e| SealedError::Read(e.into()))?;
    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    if size > limit {
        return Err(SealedError::TooLarge { size, limit });
    }
    let mut bytes = vec![0; usize::try_from(size).map_err(|_| SealedError::TooLarge { size, limit })?];
    // The file position belongs to whoever made the file; it is neither used nor moved.
    let file = File::from(fd.as_fd().try_clone_to_owned().map_err(SealedError::Read)?);
    file.read_exact_at(&mut bytes, 0).map_err(SealedError::Read)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_bytes_are_read_and_cannot_be_written() {
        let sealed = Sealed::source(b"archive").unwrap();
        assert_eq!(sealed.name(), format!("source:{}", hex::encode(Sha256::digest(b"archive"))));
        assert_eq!(read_sealed(sealed.fd(), 7).unwrap(), b"archive");
        let mut writer = File::from(sealed.fd().try_clone().unwrap());
        assert!(writer.write_all(b"x").is_err());
        assert!(writer.set_len(0).is_err());
    }

    #[test]
    fn more_than_the_limit_is_not_read() {
        let sealed = Sealed::mok_password(&[7; 100]).unwrap();
        assert!(matches!(read_sealed(sealed.fd(), 99), Err(SealedError::TooLarge { size: 100, limit: 99 })));
    }

    #[test]
    fn a_plain_file_and_a_half_sealed_one_are_not_accepted() {
        let plain = tempfile::tempfile().unwrap();
        assert!(matches!(read_sealed(&plain, 10), Err(SealedError::NotSealed)));
        let (pipe, _writer) = std::io::pipe().unwrap();
        assert!(matches!(read_sealed(&pipe, 10), Err(SealedError::NotSealed)));
        for missing in [SealFlags::WRITE, SealFlags::SHRINK, SealFlags::GROW, SealFlags::SEAL] {
            let fd = rustix::fs::memfd_create("t", MemfdFlags::ALLOW_SEALING).unwrap();
            rustix::fs::fcntl_add_seals(&fd, all_seals() - missing).unwrap();
            assert!(matches!(read_sealed(&fd, 10), Err(SealedError::NotSealed)), "{missing:?}");
        }
    }
}
