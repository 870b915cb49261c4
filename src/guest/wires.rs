// SPDX-License-Identifier: GPL-3.0-or-later
//! The wires between us and QEMU: pairs of connected sockets, one end of which QEMU inherits. Nothing in the
//! file system, nothing that another process could open.

use super::argv::{Wire, Wires};
use super::error::GuestError;
use crate::host::Inherited;
use crate::init::protocol;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

/// Our ends.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) console: UnixStream,
    pub(super) firmware: Option<UnixStream>,
    pub(super) qmp: UnixStream,
    pub(super) control: UnixStream,
    pub(super) stdin: UnixStream,
    pub(super) stdout: UnixStream,
    pub(super) stderr: UnixStream,
    pub(super) files: UnixStream,
}

/// Makes all wires of a guest: our ends, QEMU's, and how they are named in its arguments.
pub(super) fn make(
    firmware: bool,
    listener: Option<UnixListener>,
) -> Result<(Ends, Vec<Inherited>, Wires), GuestError> {
    let mut theirs = Vec::new();
    let mut pair = || -> Result<(UnixStream, Wire), GuestError> {
        let (ours, other) = UnixStream::pair().map_err(system("make a pair of sockets"))?;
        let other = Inherited::new(other.into());
        let wire = Wire::Socket(other.number());
        theirs.push(other);
        ours.set_nonblocking(true).map_err(system("prepare a socket"))?;
        Ok((ours, wire))
    };
    let (console, console_wire) = pair()?;
    let (firmware, firmware_wire) =
        if firmware { pair().map(|(a, b)| (Some(a), Some(b)))? } else { (None, None) };
    let (qmp, qmp_wire) = pair()?;
    let (control, control_wire) = pair()?;
    let (stdin, stdin_wire) = pair()?;
    let (stdout, stdout_wire) = pair()?;
    let (stderr, stderr_wire) = pair()?;
    let (files, files_wire) = pair()?;
    let qmp_listener = listener.map(|l| {
        let l = Inherited::new(l.into());
        let wire = Wire::Listener(l.number());
        theirs.push(l);
        wire
    });
    let wires = Wires {
        console: console_wire,
        firmware: firmware_wire,
        qmp: Some(qmp_wire),
        qmp_listener,
        ports: vec![
            (protocol::CONTROL, control_wire),
            (protocol::STDIN, stdin_wire),
            (protocol::STDOUT, stdout_wire),
            (protocol::STDERR, stderr_wire),
            (protocol::FILES, files_wire),
        ],
    };
    Ok((Ends { console, firmware, qmp, control, stdin, stdout, stderr, files }, theirs, wires))
}

pub(super) fn system(what: &'static str) -> impl Fn(std::io::Error) -> GuestError {
    move |source| GuestError::System { what, source }
}

/// A listening socket called `name` in `folder`. The name of a socket may have 107 bytes only (unix(7)), so it
/// goes through a handle of the folder.
pub(super) fn listen(folder: &Path, name: &str) -> Result<UnixListener, GuestError> {
    let dir = open_folder(folder)?;
    UnixListener::bind(short(&dir, name))
        .map_err(|e| GuestError::file("make the socket", folder.join(name), e))
}

/// A connection to the socket `name` in `folder`.
pub(super) fn connect(folder: &Path, name: &str) -> Result<UnixStream, GuestError> {
    let dir = open_folder(folder)?;
    UnixStream::connect(short(&dir, name)).map_err(|e| GuestError::file("connect to", folder.join(name), e))
}

fn open_folder(folder: &Path) -> Result<std::fs::File, GuestError> {
    std::fs::File::open(folder).map_err(|e| GuestError::file("open", folder, e))
}

fn short(dir: &std::fs::File, name: &str) -> std::path::PathBuf {
    use std::os::fd::AsRawFd;
    Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name)
}

/// Waits until `fd` can be read, at most so long.
pub(super) fn wait_readable(fd: BorrowedFd<'_>, patience: Duration) -> Result<(), GuestError> {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    match poll(&mut fds, Some(&timespec(patience))) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(e) => Err(system("wait for a socket")(e.into())),
    }
}

pub(super) fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}

/// Something to read from until its end.
#[derive(Debug)]
pub(super) struct Source<T>(Option<T>);

/// How much is read of one source before the others get their turn.
const TURN: usize = 1 << 20;

impl<T: Read + AsFd> Source<T> {
    pub(super) fn new(from: T) -> Self {
        Self(Some(from))
    }
    pub(super) fn none() -> Self {
        Self(None)
    }
    /// The descriptor, as long as something can come.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(AsFd::as_fd)
    }
    /// Hands over what is there.
    pub(super) fn read(&mut self, to: &mut dyn FnMut(&[u8])) {
        let Some(from) = &mut self.0 else { return };
        let mut chunk = vec![0; 65536];
        let mut read = 0;
        while read < TURN {
            match from.read(&mut chunk) {
                Ok(0) => {
                    self.0 = None;
                    return;
                }
                Ok(n) => {
                    read += n;
                    to(&chunk[..n]);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                // QEMU ended with something of ours unread: its end all the same.
                Err(_) => {
                    self.0 = None;
                    return;
                }
            }
        }
    }
}

impl Source<UnixStream> {
    /// Tells the other side a line; one that does not take it waits in vain, and not for ever.
    pub(super) fn say(&mut self, line: impl std::fmt::Display) {
        if let Some(to) = &mut self.0 {
            let _ = to.write_all(format!("{line}\n").as_bytes());
        }
    }
}

/// Makes a descriptor one that does not block.
pub(super) fn nonblocking(fd: &OwnedFd) -> Result<(), GuestError> {
    let flags = rustix::fs::fcntl_getfl(fd).map_err(|e| system("prepare a pipe")(e.into()))?;
    rustix::fs::fcntl_setfl(fd, flags | rustix::fs::OFlags::NONBLOCK)
        .map_err(|e| system("prepare a pipe")(e.into()))
}

/// Cuts bytes into lines.
#[derive(Debug, Default)]
pub(super) struct Lines(Vec<u8>);

/// A line longer than this is handed over in parts.
const LONGEST: usize = 65536;

impl Lines {
    pub(super) fn feed(&mut self, bytes: &[u8], line: &mut dyn FnMut(&str)) {
        for &byte in bytes {
            if byte == b'\n' || self.0.len() >= LONGEST {
                self.flush(line);
            }
            if byte != b'\n' {
                self.0.push(byte);
            }
        }
    }
    pub(super) fn flush(&mut self, line: &mut dyn FnMut(&str)) {
        let text = String::from_utf8_lossy(&self.0);
        // A bare carriage return rewrites the line; what was written last counts.
        let text = text.trim_end_matches('\r');
        line(text.rsplit('\r').next().unwrap_or(text));
        self.0.clear();
    }
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// What has come of a line that has no end yet.
    pub(super) fn rest(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| String::from_utf8_lossy(&self.0).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_lines_however_they_come() {
        let mut lines = Lines::default();
        let mut got = Vec::new();
        for part in [&b"one\r\ntw"[..], b"o\n", b"\n50%\r100%\nrest"] {
            lines.feed(part, &mut |l| got.push(l.to_owned()));
        }
        assert_eq!(got, ["one", "two", "", "100%"]);
        assert!(!lines.is_empty());
        lines.flush(&mut |l| got.push(l.to_owned()));
        assert_eq!(got.last().map(String::as_str), Some("rest"));
    }

    #[test]
    fn a_socket_can_stand_in_a_folder_with_a_long_name() {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("a".repeat(200));
        std::fs::create_dir(&folder).unwrap();
        let listener = listen(&folder, "qmp").unwrap();
        let _there = connect(&folder, "qmp").unwrap();
        listener.accept().unwrap();
    }
}
