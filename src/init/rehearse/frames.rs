// SPDX-License-Identifier: GPL-3.0-or-later
//! Ethernet frames with a text in them, written to and read from files that do not block.

use super::exercise::Fault;
use crate::init::sys;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Length of an Ethernet header.
const HEADER: usize = 14;
/// The shortest frame on a wire, without its checksum.
const FRAME: usize = 60;
/// How long a frame may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A broadcast frame with this text; its type is the one for local experiments (IEEE 802, 88B5).
fn frame(text: &str) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    let head = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x88, 0xb5];
    for (to, from) in frame.iter_mut().zip(head.iter().chain(text.as_bytes())) {
        *to = *from;
    }
    frame
}

/// Whether these bytes are a frame with this text.
fn holds(frame: &[u8], text: &str) -> bool {
    frame.get(HEADER..).is_some_and(|payload| payload.starts_with(text.as_bytes()))
}

/// Sends a frame with this text.
pub(super) fn put(mut to: &File, text: &str) -> Result<(), Fault> {
    match to.write(&frame(text)) {
        Ok(FRAME) => Ok(()),
        Ok(n) => Err(format!("of the frame “{text}” {n} of {FRAME} bytes were taken")),
        Err(e) => Err(format!("the frame “{text}” was not taken: {e}")),
    }
}

/// Waits for a frame with this text, passing over what the kernel sends by itself.
pub(super) fn expect(mut from: &File, text: &str, where_: &str) -> Result<(), Fault> {
    let end = Instant::now() + PATIENCE;
    let mut frame = [0; 2048];
    while Instant::now() < end {
        let seen = sys::wait_for_one(from.as_fd(), sys::IN, Duration::from_millis(200));
        if seen.map_err(|e| e.to_string())? == 0 {
            continue;
        }
        match from.read(&mut frame) {
            Ok(n) if holds(frame.get(..n).unwrap_or_default(), text) => return Ok(()),
            Ok(_) => {}
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(e) => return Err(format!("{where_} cannot be read: {e}")),
        }
    }
    Err(format!("the frame “{text}” did not come to {where_}"))
}

/// Makes sure that no frame with this text has come.
pub(super) fn expect_not(mut from: &File, text: &str, where_: &str) -> Result<(), Fault> {
    let mut frame = [0; 2048];
    loop {
        match from.read(&mut frame) {
            Ok(n) if holds(frame.get(..n).unwrap_or_default(), text) => {
                return Err(format!("the frame “{text}” came to {where_}, which it is not for"));
            }
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(format!("{where_} cannot be read: {e}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    fn pair() -> (File, File) {
        let (a, b) = UnixDatagram::pair().unwrap();
        a.set_nonblocking(true).unwrap();
        b.set_nonblocking(true).unwrap();
        (File::from(std::os::fd::OwnedFd::from(a)), File::from(std::os::fd::OwnedFd::from(b)))
    }

    #[test]
    fn a_frame_is_known_by_its_text_among_others() {
        let (a, b) = pair();
        put(&a, "another").unwrap();
        put(&a, "the one").unwrap();
        expect(&b, "the one", "the other end").unwrap();
        expect_not(&b, "the one", "the other end").unwrap();
        put(&a, "the one").unwrap();
        let fault = expect_not(&b, "the one", "the other end").unwrap_err();
        assert!(fault.contains("which it is not for"), "{fault}");
    }
}
