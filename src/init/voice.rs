// SPDX-License-Identifier: GPL-3.0-or-later
//! What the guest says: on the control port, and of failures on the console too.

use super::port::Port;
use super::protocol::{PATIENCE, Said, Told, VERSION};
use super::{Failure, sys};
use std::io::{Read, Write};
use std::time::Instant;

/// Bytes that went into the ports.
#[derive(Debug, Default, Clone, Copy)]
pub struct Sent {
    /// Into standard output.
    pub stdout: u64,
    /// Into standard error.
    pub stderr: u64,
    /// Into the files.
    pub files: u64,
}

/// The guest's way to speak to the host. Until the port is open, what is said waits.
#[derive(Debug, Default)]
pub struct Voice {
    control: Option<Port>,
    waiting: Vec<Said>,
    heard: Vec<u8>,
    /// Bytes that went into the ports.
    pub sent: Sent,
}

impl Voice {
    /// Says `hello` on the port, and then all that waited.
    ///
    /// # Errors
    /// When the host does not take it.
    pub fn connect(&mut self, control: Port) -> Result<(), Failure> {
        self.control = Some(control);
        let waiting = std::mem::take(&mut self.waiting);
        let lines: String = std::iter::once(&Said::Hello { version: VERSION })
            .chain(&waiting)
            .map(|said| format!("{said}\n"))
            .collect();
        self.write(&lines).map_err(Failure::at("ports", "could not speak on the control port"))
    }

    /// Says one line. A host that does not listen is no reason to stop: the console has it too, where it counts.
    pub fn say(&mut self, said: &Said) {
        match &mut self.control {
            Some(port) => drop(port.write_all(format!("{said}\n").as_bytes())),
            None => self.waiting.push(said.clone()),
        }
    }

    /// Says one line and waits (not for ever) until the host has heard it. A write to a port ends when the line is in a
    /// queue of this machine's memory, and is lost with it (`port_fops_write` of the kernel's
    /// `drivers/char/virtio_console.c`: "not to spin for generic ports").
    pub fn say_and_be_heard(&mut self, said: &Said) {
        self.say(said);
        self.say(&Said::Ask);
        self.wait_for(&Told::Heard);
    }

    /// Says that it got to `name`.
    pub fn stage(&mut self, name: &'static str) {
        super::watchdog::at(name);
        self.say(&Said::Stage { name: name.to_owned(), ms: sys::uptime(), note: None });
    }

    /// Closes the port, for whoever comes after.
    pub fn let_go(&mut self) {
        self.control = None;
    }

    /// The control port, to wait for the host's lines.
    pub fn port(&self) -> Option<&Port> {
        self.control.as_ref()
    }

    /// What the host said meanwhile.
    pub fn hear(&mut self) -> Vec<Told> {
        let mut told = Vec::new();
        let Some(port) = &mut self.control else { return told };
        let mut buffer = [0; 512];
        while let Ok(count @ 1..) = port.read(&mut buffer) {
            self.heard.extend_from_slice(&buffer[..count]);
        }
        while let Some(end) = self.heard.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.heard.drain(..=end).collect();
            told.extend(Told::parse(&String::from_utf8_lossy(&line[..end])));
        }
        // A line without an end is not kept for ever.
        self.heard.truncate(4096);
        told
    }

    /// Says how much was sent and that nothing follows, and waits (not for ever) until the host has it all.
    pub fn say_goodbye(&mut self) {
        let Sent { stdout, stderr, files } = self.sent;
        self.say(&Said::Sent { stdout, stderr, files });
        self.say(&Said::End);
        self.wait_for(&Told::Off);
    }

    /// Waits until the host has told this, [`PATIENCE`] at most; what else it tells meanwhile is not for here.
    fn wait_for(&mut self, told: &Told) {
        let deadline = Instant::now() + PATIENCE;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            if self.hear().contains(told) {
                break;
            }
            match &self.control {
                Some(port) if port.wait(sys::IN, left).is_ok_and(|seen| seen & sys::HUP == 0) => {}
                _ => break,
            }
        }
    }

    fn write(&mut self, lines: &str) -> std::io::Result<()> {
        self.control.as_mut().map_or(Ok(()), |port| port.write_all(lines.as_bytes()))
    }
}

/// Says a line on the console.
pub fn console(line: &str) {
    // Standard error is the console; without one nobody could read it.
    let _ = writeln!(std::io::stderr(), "hostwright-init: {line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn what_must_be_heard_is_read_by_the_host_before_the_guest_goes_on() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut voice = Voice::default();
        voice.connect(Port::from_file(OwnedFd::from(ours).into()).unwrap()).unwrap();
        let has_read = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut lines = BufReader::new(&theirs).lines().map_while(Result::ok);
                assert!(lines.any(|line| line == "rehearse trying x"));
                assert_eq!(lines.next().as_deref(), Some("ask"));
                has_read.store(true, Ordering::SeqCst);
                (&theirs).write_all(b"signal 2\nheard\n").unwrap();
            });
            let began = Instant::now();
            voice.say_and_be_heard(&Said::News("rehearse trying x".into()));
            assert!(has_read.load(Ordering::SeqCst));
            assert!(began.elapsed() < PATIENCE, "it waited until it gave up");
        });
    }
}
