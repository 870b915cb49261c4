// SPDX-License-Identifier: GPL-3.0-or-later
//! A guest while it runs: one loop over all that can say something, and the clock.

use super::error::GuestError;
use super::feed::Feed;
use super::heard::{Heard, on_one_clock};
use super::outcome::{Seen, WeEnded};
use super::qmp::Qmp;
use super::report::{Stage, Trouble};
use super::setup::{GuestEvent, Input};
use super::spec::{Boot, Guest};
use super::wires::{self, Ends, Source};
use crate::host::{Cancel, Process};
use crate::init::protocol;
use regex::Regex;
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::json;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ChildStderr;
use std::time::{Duration, Instant};

/// How often the wish to stop is looked at.
const TICK: Duration = Duration::from_millis(50);

/// How long a machine has, after its kernel has panicked, to restart by itself.
const AFTER_PANIC: Duration = Duration::from_secs(5);

/// How long what was said to be sent may take to arrive.
const AFTER_END: Duration = Duration::from_secs(5);

/// Most of what QEMU says on standard error that is kept, bytes.
const QEMU_SAID: usize = 65536;

/// What is known at the end.
pub(super) struct End {
    pub(super) seen: Seen,
    pub(super) troubles: Vec<Trouble>,
    pub(super) stages: Vec<Stage>,
    pub(super) tail: Vec<String>,
    pub(super) files: Vec<u8>,
}

/// A running guest.
pub(super) struct Live {
    process: Process,
    began: Instant,
    deadline: Option<Instant>,
    direct: bool,
    until: Option<Regex>,
    console: Source<UnixStream>,
    firmware: Source<UnixStream>,
    control: Source<UnixStream>,
    stdout: Source<UnixStream>,
    stderr: Source<UnixStream>,
    files: Source<UnixStream>,
    said: Source<ChildStderr>,
    qmp: Option<Qmp>,
    input: Feed,
    heard: Heard,
}

impl Live {
    pub(super) fn new(
        guest: &Guest,
        mut process: Process,
        ends: Ends,
        input: Input,
        log: &Path,
        began: Instant,
    ) -> Result<Self, GuestError> {
        let said = match process.take_stderr() {
            Some(stderr) => {
                let fd: OwnedFd = stderr.into();
                wires::nonblocking(&fd)?;
                Source::new(ChildStderr::from(fd))
            }
            None => Source::none(),
        };
        let control = ends.control;
        let log = File::create(log).map_err(|e| GuestError::file("write", log, e))?;
        let heard = Heard::new(log);
        Ok(Self {
            process,
            began,
            deadline: (guest.timeout > 0).then(|| began + Duration::from_secs(guest.timeout.into())),
            direct: matches!(guest.boot, Boot::Kernel(_)),
            until: guest.until.as_deref().and_then(|u| Regex::new(u).ok()),
            console: Source::new(ends.console),
            firmware: ends.firmware.map_or_else(Source::none, Source::new),
            control: Source::new(control),
            stdout: Source::new(ends.stdout),
            stderr: Source::new(ends.stderr),
            files: Source::new(ends.files),
            said,
            qmp: Some(Qmp::new(ends.qmp)?),
            input: Feed::new(input, ends.stdin)?,
            heard,
        })
    }

    /// Watches until the machine has ended, or is to be ended.
    pub(super) fn watch(
        &mut self,
        cancel: &Cancel,
        events: &mut dyn FnMut(GuestEvent<'_>),
    ) -> Result<(), GuestError> {
        loop {
            if let Some(why) = self.should_end(cancel) {
                self.heard.seen.we_ended = Some(why);
                return Ok(());
            }
            self.wait()?;
            self.read(events);
            if let Some(ended) = self.process.ended() {
                // What is still in the sockets was said before the end.
                self.read(events);
                self.heard.seen.qemu = Some(ended);
                return Ok(());
            }
        }
    }

    fn should_end(&self, cancel: &Cancel) -> Option<WeEnded> {
        let heard = &self.heard;
        let since = |at: Option<Instant>, patience| at.is_some_and(|t| t.elapsed() > patience);
        if cancel.is_cancelled() {
            return Some(WeEnded::Cancelled);
        }
        if let Some(line) = &heard.reached {
            return Some(WeEnded::Reached(line.clone()));
        }
        if heard.ended.is_some() && (heard.all_is_here() || since(heard.ended, AFTER_END)) {
            return Some(WeEnded::Finished);
        }
        if since(heard.panicked, AFTER_PANIC) || heard.seen.nothing_bootable.is_some() {
            return Some(WeEnded::Hopeless);
        }
        if self.deadline.is_some_and(|d| Instant::now() >= d) {
            return Some(WeEnded::TimedOut);
        }
        None
    }

    fn wait(&mut self) -> Result<(), GuestError> {
        let mut fds = vec![PollFd::from_borrowed_fd(self.process.pidfd(), PollFlags::IN)];
        let sources = [
            self.console.fd(),
            self.firmware.fd(),
            self.control.fd(),
            self.stdout.fd(),
            self.stderr.fd(),
            self.files.fd(),
            self.said.fd(),
            self.qmp.as_ref().map(AsFd::as_fd),
        ];
        fds.extend(sources.into_iter().flatten().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        if let Some((fd, flags)) = self.input.waits_for() {
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        }
        let left = self.deadline.map_or(TICK, |d| d.saturating_duration_since(Instant::now()).min(TICK));
        match poll(&mut fds, Some(&wires::timespec(left))) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(wires::system("wait for the guest")(e.into())),
        }
    }

    fn read(&mut self, events: &mut dyn FnMut(GuestEvent<'_>)) {
        let (heard, at) = (&mut self.heard, ms(self.began.elapsed()));
        let until = self.until.as_ref();
        let stages = heard.stages.len();
        self.console.read(&mut |bytes| heard.console_bytes(bytes, at, until, events));
        self.firmware.read(&mut |bytes| heard.firmware_bytes(bytes, at, events));
        self.stdout.read(&mut |bytes| {
            heard.arrived[0] += bytes.len() as u64;
            events(GuestEvent::Stdout(bytes));
        });
        self.stderr.read(&mut |bytes| {
            heard.arrived[1] += bytes.len() as u64;
            events(GuestEvent::Stderr(bytes));
        });
        self.files.read(&mut |bytes| heard.files_bytes(bytes));
        self.control.read(&mut |bytes| heard.control_bytes(bytes, at, events));
        for _ in 0..std::mem::take(&mut heard.asked) {
            self.control.say(protocol::Told::Heard);
        }
        self.said.read(&mut |bytes| {
            if heard.seen.qemu_said.len() < QEMU_SAID {
                heard.seen.qemu_said.push_str(&String::from_utf8_lossy(bytes));
            }
        });
        if let (Some(until), None) = (until, &heard.reached) {
            let new = heard.stages.get(stages..).unwrap_or_default();
            heard.reached = new.iter().find(|s| until.is_match(&s.name)).map(|s| s.name.clone());
        }
        if heard.seen.hello {
            self.input.may_end();
        }
        self.input.step();
        if let Some(qmp) = &mut self.qmp {
            match qmp.pump() {
                Ok((messages, open)) => {
                    messages.into_iter().for_each(|m| heard.qmp(m));
                    if !open {
                        self.qmp = None;
                    }
                }
                Err(e) => {
                    tracing::debug!(error = %e, "QEMU's control is of no use any more");
                    self.qmp = None;
                }
            }
        }
    }

    /// Photographs the screen of a guest that is still there and did not do what was wanted.
    pub(super) fn screenshot_of_failure(&mut self, folder: &Path) -> Vec<String> {
        let failed = !matches!(
            self.heard.seen.we_ended,
            None | Some(WeEnded::Finished | WeEnded::Cancelled | WeEnded::Reached(_))
        );
        let Some(qmp) = self.qmp.as_mut().filter(|_| failed) else { return Vec::new() };
        match screenshot(qmp, &folder.join("screen.png")) {
            Ok(()) => vec!["screen.png".into()],
            Err(e) => {
                tracing::debug!(error = %e, "no picture of the screen");
                Vec::new()
            }
        }
    }

    /// Ends the machine, reaps it, and takes what is still in the sockets.
    pub(super) fn end(&mut self, patience: Duration, events: &mut dyn FnMut(GuestEvent<'_>)) {
        self.process.end(patience);
        self.read(events);
        let at = ms(self.began.elapsed());
        self.heard.flush(at, self.until.as_ref(), events);
        self.heard.stage(
            Stage { name: "end".into(), at_ms: at, guest_ms: None, note: None, console_lines: 0 },
            events,
        );
    }

    pub(super) fn finish(self) -> End {
        let mut heard = self.heard;
        let lost = heard.lost();
        if heard.ended.is_some() && !lost.is_empty() {
            // Whatever its command did: what it said is not whole.
            heard.seen.command = None;
            let reason = format!("not all that the guest sent has arrived ({})", lost.join(", "));
            heard.seen.failed.get_or_insert_with(|| ("end".to_owned(), reason));
        }
        if let Some(e) = heard.log_failed.take() {
            tracing::warn!(error = %e, "the console log could not be written");
        }
        End {
            seen: heard.seen,
            troubles: heard.console.into_troubles(),
            stages: on_one_clock(heard.stages, self.direct),
            tail: heard.tail.into(),
            files: heard.archive,
        }
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A picture of the screen at `path`, as PNG.
pub fn screenshot(qmp: &mut Qmp, path: &Path) -> Result<(), GuestError> {
    let path = std::path::absolute(path).map_err(|e| GuestError::file("find", path, e))?;
    let arguments = json!({ "filename": path, "format": "png" });
    qmp.execute("screendump", &arguments, Duration::from_secs(10)).map(|_| ())
}
