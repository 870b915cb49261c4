// SPDX-License-Identifier: GPL-3.0-or-later
//! A guest while it runs: one loop over all that can say something, and the clock.

use super::console::{Console, Told};
use super::error::GuestError;
use super::outcome::{CommandEnd, Seen, WeEnded};
use super::qmp::{Message, Qmp};
use super::report::{Stage, Trouble, TroubleKind};
use super::setup::{GuestEvent, Input};
use super::spec::{Boot, Guest};
use super::wires::{self, Ends, Lines, Source};
use crate::host::{Cancel, Process};
use crate::init::protocol::{self, Said};
use regex::Regex;
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::json;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ChildStderr;
use std::time::{Duration, Instant};

/// How often the wish to stop is looked at.
const TICK: Duration = Duration::from_millis(50);

/// Lines of the console that the report has.
const TAIL: usize = 40;

/// How long a machine has, after its kernel has panicked, to restart by itself.
const AFTER_PANIC: Duration = Duration::from_secs(5);

/// How long what was said to be sent may take to arrive.
const AFTER_END: Duration = Duration::from_secs(5);

/// Most bytes of files that are taken from a guest.
const FILES: usize = 1 << 30;

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

/// What was heard so far.
struct Heard {
    log: File,
    log_failed: Option<std::io::Error>,
    console: Console,
    console_lines: Lines,
    firmware_lines: Lines,
    control_lines: Lines,
    tail: VecDeque<String>,
    /// Lines of the console so far.
    lines: usize,
    stages: Vec<Stage>,
    seen: Seen,
    /// Bytes that came of standard output, standard error and files.
    arrived: [u64; 3],
    /// Bytes that were sent there, once that is known.
    sent: Option<[u64; 3]>,
    /// How often the guest waits to be told that it was heard.
    asked: usize,
    ended: Option<Instant>,
    panicked: Option<Instant>,
    archive: Vec<u8>,
    reached: Option<String>,
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
        let mut heard = Heard {
            log,
            log_failed: None,
            console: Console::default(),
            console_lines: Lines::default(),
            firmware_lines: Lines::default(),
            control_lines: Lines::default(),
            tail: VecDeque::new(),
            lines: 0,
            stages: Vec::new(),
            seen: Seen::default(),
            arrived: [0; 3],
            sent: None,
            asked: 0,
            ended: None,
            panicked: None,
            archive: Vec::new(),
            reached: None,
        };
        heard.stages.push(Stage {
            name: "qemu".into(),
            at_ms: 0,
            guest_ms: None,
            note: None,
            console_lines: 0,
        });
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
        self.files.read(&mut |bytes| {
            heard.arrived[2] += bytes.len() as u64;
            if heard.archive.len() + bytes.len() <= FILES {
                heard.archive.extend_from_slice(bytes);
            }
        });
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

impl Heard {
    /// Whether all that was sent has arrived, of each stream.
    fn all_is_here(&self) -> bool {
        let pairs = |sent: [u64; 3]| self.arrived.into_iter().zip(sent);
        self.sent.is_none_or(|sent| pairs(sent).all(|(here, sent)| here >= sent))
    }

    /// Which streams are not whole.
    fn lost(&self) -> Vec<String> {
        let Some(sent) = self.sent else { return Vec::new() };
        let names = ["standard output", "standard error", "the collected files"];
        let all = names.into_iter().zip(self.arrived.into_iter().zip(sent));
        all.filter(|(_, (here, sent))| here < sent)
            .map(|(name, (here, sent))| format!("{name}: {here} of {sent} bytes"))
            .collect()
    }

    fn stage(&mut self, mut stage: Stage, events: &mut dyn FnMut(GuestEvent<'_>)) {
        // SeaBIOS says twice who it is.
        if self.stages.last().is_some_and(|s| s.name == stage.name && s.note == stage.note) {
            return;
        }
        stage.console_lines = self.lines;
        events(GuestEvent::Stage(&stage));
        self.stages.push(stage);
    }

    fn console_bytes(
        &mut self,
        bytes: &[u8],
        at: u64,
        until: Option<&Regex>,
        events: &mut dyn FnMut(GuestEvent<'_>),
    ) {
        if let (Err(e), None) = (self.log.write_all(bytes), &self.log_failed) {
            self.log_failed = Some(e);
        }
        let mut lines = std::mem::take(&mut self.console_lines);
        lines.feed(bytes, &mut |line| self.console_line(line, at, until, events));
        // A prompt has no end of its line, and is worth waiting for all the same.
        if let Some(until) = until
            && self.reached.is_none()
            && let Some(rest) = lines.rest().map(|r| super::console::plain(&r))
            && until.is_match(&rest)
        {
            self.reached = Some(rest);
        }
        self.console_lines = lines;
    }

    fn console_line(
        &mut self,
        line: &str,
        at: u64,
        until: Option<&Regex>,
        events: &mut dyn FnMut(GuestEvent<'_>),
    ) {
        events(GuestEvent::Console(line));
        self.lines += 1;
        let plain = super::console::plain(line);
        if until.is_some_and(|u| u.is_match(&plain)) && self.reached.is_none() {
            self.reached = Some(plain.clone());
        }
        if !plain.trim().is_empty() {
            if self.tail.len() == TAIL {
                self.tail.pop_front();
            }
            self.tail.push_back(plain);
        }
        match self.console.line(line) {
            Some(Told::Stage(name, note)) => {
                let note = (!note.is_empty()).then_some(note);
                self.stage(
                    Stage { name: name.into(), at_ms: at, guest_ms: None, note, console_lines: 0 },
                    events,
                );
            }
            Some(Told::NothingBootable(line)) => self.seen.nothing_bootable = Some(line),
            None => {}
        }
        if self.panicked.is_none() {
            let fatal = |t: &Trouble| {
                matches!(t.kind, TroubleKind::Panic | TroubleKind::NoRoot | TroubleKind::NoInit)
            };
            let panics =
                self.console.troubles().iter().any(|t| fatal(t) && t.message.contains("Kernel panic"));
            self.panicked = panics.then(Instant::now);
        }
    }

    fn firmware_bytes(&mut self, bytes: &[u8], at: u64, events: &mut dyn FnMut(GuestEvent<'_>)) {
        let mut lines = std::mem::take(&mut self.firmware_lines);
        lines.feed(bytes, &mut |line| match self.console.line(line) {
            Some(Told::Stage(name, note)) => {
                let note = (!note.is_empty()).then_some(note);
                self.stage(
                    Stage { name: name.into(), at_ms: at, guest_ms: None, note, console_lines: 0 },
                    events,
                );
            }
            Some(Told::NothingBootable(line)) => self.seen.nothing_bootable = Some(line),
            None => {}
        });
        self.firmware_lines = lines;
    }

    fn control_bytes(&mut self, bytes: &[u8], at: u64, events: &mut dyn FnMut(GuestEvent<'_>)) {
        let mut lines = std::mem::take(&mut self.control_lines);
        lines.feed(bytes, &mut |line| self.control_line(line, at, events));
        self.control_lines = lines;
    }

    fn control_line(&mut self, line: &str, at: u64, events: &mut dyn FnMut(GuestEvent<'_>)) {
        match Said::parse(line) {
            Said::Hello { version } => {
                self.seen.hello = true;
                if version != protocol::VERSION {
                    let reason = format!("it speaks version {version}, and this is {}", protocol::VERSION);
                    self.seen.failed = Some(("hello".into(), reason));
                    self.ended = Some(Instant::now());
                }
            }
            Said::Stage { name, ms, note } => {
                self.stage(Stage { name, at_ms: at, guest_ms: Some(ms), note, console_lines: 0 }, events);
            }
            Said::Fail { stage, reason } => self.seen.failed = Some((stage, reason)),
            Said::Exit(status) => self.seen.command = Some(CommandEnd::Exit(status)),
            Said::Killed(signal) => self.seen.command = Some(CommandEnd::Killed(signal)),
            Said::Sent { stdout, stderr, files } => self.sent = Some([stdout, stderr, files]),
            Said::Ask => self.asked += 1,
            Said::End => self.ended = Some(Instant::now()),
            Said::News(line) => events(GuestEvent::Said(&line)),
        }
    }

    fn qmp(&mut self, message: Message) {
        if let Message::Event { name, data } = message
            && name == "SHUTDOWN"
        {
            self.seen.shutdown = data.get("reason").and_then(|r| r.as_str()).map(str::to_owned);
        }
    }

    /// What has no end of its line.
    fn flush(&mut self, at: u64, until: Option<&Regex>, events: &mut dyn FnMut(GuestEvent<'_>)) {
        let mut lines = std::mem::take(&mut self.console_lines);
        if !lines.is_empty() {
            lines.flush(&mut |line| self.console_line(line, at, until, events));
        }
    }
}

/// The guest's own times on our clock. The one that came quickest tells when the guest's clock began: that is when
/// its kernel started, and the others (which were said all at once, when the ports opened) follow from it.
fn on_one_clock(mut stages: Vec<Stage>, direct: bool) -> Vec<Stage> {
    let start = stages.iter().filter_map(|s| s.at_ms.checked_sub(s.guest_ms?)).min();
    if let Some(start) = start {
        for stage in &mut stages {
            if let Some(guest) = stage.guest_ms {
                stage.at_ms = start + guest;
            }
        }
        if direct && !stages.iter().any(|s| s.name == "kernel") {
            stages.push(Stage {
                name: "kernel".into(),
                at_ms: start,
                guest_ms: Some(0),
                note: None,
                console_lines: 0,
            });
        }
    }
    stages.sort_by_key(|s| s.at_ms);
    stages
}

/// Standard input on its way into the guest.
struct Feed {
    from: Option<OwnedFd>,
    to: Option<UnixStream>,
    pending: Vec<u8>,
    /// The guest has seen its port: an end can be told from a beginning.
    may_end: bool,
    ended: bool,
}

impl Feed {
    fn new(input: Input, to: UnixStream) -> Result<Self, GuestError> {
        let from = match input {
            Input::Nothing => None,
            Input::From(fd) => Some(fd),
        };
        Ok(Self { from, to: Some(to), pending: Vec::new(), may_end: false, ended: false })
    }

    fn may_end(&mut self) {
        self.may_end = true;
    }

    /// What must happen before [`Feed::step`] can do something.
    fn waits_for(&self) -> Option<(std::os::fd::BorrowedFd<'_>, PollFlags)> {
        let to = self.to.as_ref()?;
        if !self.pending.is_empty() {
            return Some((to.as_fd(), PollFlags::OUT));
        }
        // Not before the guest is there: what is typed too early is the shell's.
        self.from.as_ref().filter(|_| self.may_end).map(|from| (from.as_fd(), PollFlags::IN))
    }

    fn step(&mut self) {
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
