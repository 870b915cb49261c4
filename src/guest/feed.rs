// SPDX-License-Identifier: GPL-3.0-or-later
//! Standard input on its way into a guest.

use super::error::GuestError;
use super::setup::Input;
use super::wires;
use rustix::event::{PollFd, PollFlags, poll};
use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Standard input on its way into the guest.
pub(super) struct Feed {
    from: Option<OwnedFd>,
    to: Option<UnixStream>,
    pending: Vec<u8>,
    /// The guest has seen its port: an end can be told from a beginning.
    may_end: bool,
    ended: bool,
}

impl Feed {
    pub(super) fn new(input: Input, to: UnixStream) -> Result<Self, GuestError> {
        let from = match input {
            Input::Nothing => None,
            Input::From(fd) => Some(fd),
        };
        Ok(Self { from, to: Some(to), pending: Vec::new(), may_end: false, ended: false })
    }

    pub(super) fn may_end(&mut self) {
        self.may_end = true;
    }

    /// What must happen before [`Feed::step`] can do something.
    pub(super) fn waits_for(&self) -> Option<(std::os::fd::BorrowedFd<'_>, PollFlags)> {
        let to = self.to.as_ref()?;
        if !self.pending.is_empty() {
            return Some((to.as_fd(), PollFlags::OUT));
        }
        // Not before the guest is there: what is typed too early is the shell's.
        self.from.as_ref().filter(|_| self.may_end).map(|from| (from.as_fd(), PollFlags::IN))
    }

    pub(super) fn step(&mut self) {
        let Some(to) = &mut self.to else { return };
        if !self.may_end {
            return;
        }
        if self.pending.is_empty()
            && let Some(from) = &self.from
            && readable(from)
        {
            let mut chunk = vec![0; 65536];
            match rustix::io::read(from, &mut chunk) {
                Ok(0) => self.from = None,
                Ok(n) => self.pending.extend_from_slice(&chunk[..n]),
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                // A terminal that is gone, or whose reader we are not: no input.
                Err(_) => self.from = None,
            }
        }
        while !self.pending.is_empty() {
            match to.write(&self.pending) {
                Ok(n) => {
                    self.pending.drain(..n);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.to = None;
                    return;
                }
            }
        }
        if self.from.is_none() && !self.ended {
            // Not closed: QEMU would drop what it has not read yet.
            let _ = to.shutdown(Shutdown::Write);
            self.ended = true;
        }
    }
}

fn readable(fd: &OwnedFd) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)];
    matches!(poll(&mut fds, Some(&wires::timespec(Duration::ZERO))), Ok(1..))
}
