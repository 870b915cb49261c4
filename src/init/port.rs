// SPDX-License-Identifier: GPL-3.0-or-later
//! One virtio-serial port.
//!
//! Source of facts: `port_fops_*` of the kernel's `drivers/char/virtio_console.c`.

use super::sys;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

/// How long a host may take no byte at all before it is given up.
const STUCK: Duration = Duration::from_secs(60);

/// An open port. Reading never waits; writing all of something does.
#[derive(Debug)]
pub struct Port(File);

impl Port {
    /// Opens a port's device.
    ///
    /// # Errors
    /// As open(2): it is not there, or somebody else has it open.
    pub fn open(path: &str) -> io::Result<Self> {
        const O_NONBLOCK: i32 = 0o4000;
        let file = OpenOptions::new().read(true).write(true).custom_flags(O_NONBLOCK).open(path)?;
        Ok(Self(file))
    }

    /// A port that is any file, for tests.
    ///
    /// # Errors
    /// As fcntl(2).
    pub fn from_file(file: File) -> io::Result<Self> {
        sys::never_wait(file.as_fd())?;
        Ok(Self(file))
    }

    /// Waits until `events` happen, and says which did.
    ///
    /// # Errors
    /// As poll(2).
    pub fn wait(&self, events: i16, longest: Duration) -> io::Result<i16> {
        sys::wait_for_one(self.0.as_fd(), events, longest)
    }

    /// Waits until QEMU told that the host is connected. Before that, the end of what the host sends cannot be
    /// told from its beginning.
    ///
    /// # Errors
    /// When it is not in time.
    pub fn wait_connected(&self, longest: Duration) -> io::Result<()> {
        let deadline = Instant::now() + longest;
        // The driver wakes nobody when this comes, so it is looked at every millisecond.
        while self.wait(sys::OUT, Duration::ZERO)? & sys::HUP != 0 {
            if Instant::now() > deadline {
                return Err(io::Error::new(ErrorKind::TimedOut, "the host is not connected"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Read for Port {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Port {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Waits for room as long as the host takes something at all.
    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let mut last = Instant::now();
        while !bytes.is_empty() {
            match self.0.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    bytes = &bytes[count..];
                    last = Instant::now();
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    if last.elapsed() > STUCK {
                        return Err(io::Error::new(ErrorKind::TimedOut, "the host takes nothing"));
                    }
                    if self.wait(sys::OUT, Duration::from_secs(1))? & sys::HUP != 0 {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}
