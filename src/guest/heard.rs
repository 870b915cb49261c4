// SPDX-License-Identifier: GPL-3.0-or-later
//! What was heard of a guest so far: its console, its first process, QEMU.

use super::console::{Console, Told};
use super::outcome::{CommandEnd, Seen};
use super::qmp::Message;
use super::report::{Stage, Trouble, TroubleKind};
use super::setup::GuestEvent;
use super::wires::Lines;
use crate::init::protocol::{self, Said};
use regex::Regex;
use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::time::Instant;

/// Lines of the console that the report has.
const TAIL: usize = 40;

/// Most bytes of files that are taken from a guest.
const FILES: usize = 1 << 30;

/// What was heard so far.
pub(super) struct Heard {
    pub(super) log: File,
    pub(super) log_failed: Option<std::io::Error>,
    pub(super) console: Console,
    pub(super) console_lines: Lines,
    pub(super) firmware_lines: Lines,
    pub(super) control_lines: Lines,
    pub(super) tail: VecDeque<String>,
    /// Lines of the console so far.
    pub(super) lines: usize,
    pub(super) stages: Vec<Stage>,
    pub(super) seen: Seen,
    /// Bytes that came of standard output, standard error and files.
    pub(super) arrived: [u64; 3],
    /// Bytes that were sent there, once that is known.
    pub(super) sent: Option<[u64; 3]>,
    /// How often the guest waits to be told that it was heard.
    pub(super) asked: usize,
    pub(super) ended: Option<Instant>,
    pub(super) panicked: Option<Instant>,
    pub(super) archive: Vec<u8>,
    most_of_files: usize,
    pub(super) reached: Option<String>,
}

impl Heard {
    /// Nothing yet but that QEMU was started; `log` gets the console.
    pub(super) fn new(log: File) -> Self {
        let qemu = Stage { name: "qemu".into(), at_ms: 0, guest_ms: None, note: None, console_lines: 0 };
        Self {
            log,
            log_failed: None,
            console: Console::default(),
            console_lines: Lines::default(),
            firmware_lines: Lines::default(),
            control_lines: Lines::default(),
            tail: VecDeque::new(),
            lines: 0,
            stages: vec![qemu],
            seen: Seen::default(),
            arrived: [0; 3],
            sent: None,
            asked: 0,
            ended: None,
            panicked: None,
            archive: Vec::new(),
            most_of_files: FILES,
            reached: None,
        }
    }

    /// Whether all that was sent has arrived, of each stream.
    pub(super) fn all_is_here(&self) -> bool {
        let pairs = |sent: [u64; 3]| self.arrived.into_iter().zip(sent);
        self.sent.is_none_or(|sent| pairs(sent).all(|(here, sent)| here >= sent))
    }

    /// Which streams are not whole: what did not come, and what was too much to be taken.
    pub(super) fn lost(&self) -> Vec<String> {
        let Some(sent) = self.sent else { return Vec::new() };
        let names = ["standard output", "standard error", "the collected files"];
        let [stdout, stderr, _] = self.arrived;
        let here = [stdout, stderr, self.archive.len() as u64];
        let all = names.into_iter().zip(here.into_iter().zip(sent));
        all.filter(|(_, (here, sent))| here < sent)
            .map(|(name, (here, sent))| format!("{name}: {here} of {sent} bytes"))
            .collect()
    }

    pub(super) fn stage(&mut self, mut stage: Stage, events: &mut dyn FnMut(GuestEvent<'_>)) {
        // SeaBIOS says twice who it is.
        if self.stages.last().is_some_and(|s| s.name == stage.name && s.note == stage.note) {
            return;
        }
        stage.console_lines = self.lines;
        events(GuestEvent::Stage(&stage));
        self.stages.push(stage);
    }

    pub(super) fn console_bytes(
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

    pub(super) fn console_line(
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
        self.tells(line, at, events);
        if self.panicked.is_none() {
            let fatal = |t: &Trouble| {
                matches!(t.kind, TroubleKind::Panic | TroubleKind::NoRoot | TroubleKind::NoInit)
            };
            let panics =
                self.console.troubles().iter().any(|t| fatal(t) && t.message.contains("Kernel panic"));
            self.panicked = panics.then(Instant::now);
        }
    }

    /// What a line of a console tells of how far the guest is.
    fn tells(&mut self, line: &str, at: u64, events: &mut dyn FnMut(GuestEvent<'_>)) {
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
    }

    pub(super) fn firmware_bytes(&mut self, bytes: &[u8], at: u64, events: &mut dyn FnMut(GuestEvent<'_>)) {
        let mut lines = std::mem::take(&mut self.firmware_lines);
        lines.feed(bytes, &mut |line| self.tells(line, at, events));
        self.firmware_lines = lines;
    }

    pub(super) fn files_bytes(&mut self, bytes: &[u8]) {
        // Nothing is left out in the middle.
        let room = self.most_of_files.saturating_sub(self.archive.len());
        self.archive.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.arrived[2] += bytes.len() as u64;
    }

    pub(super) fn control_bytes(&mut self, bytes: &[u8], at: u64, events: &mut dyn FnMut(GuestEvent<'_>)) {
        let mut lines = std::mem::take(&mut self.control_lines);
        lines.feed(bytes, &mut |line| self.control_line(line, at, events));
        self.control_lines = lines;
    }

    pub(super) fn control_line(&mut self, line: &str, at: u64, events: &mut dyn FnMut(GuestEvent<'_>)) {
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

    pub(super) fn qmp(&mut self, message: Message) {
        if let Message::Event { name, data } = message
            && name == "SHUTDOWN"
        {
            self.seen.shutdown = data.get("reason").and_then(|r| r.as_str()).map(str::to_owned);
        }
    }

    /// What has no end of its line.
    pub(super) fn flush(&mut self, at: u64, until: Option<&Regex>, events: &mut dyn FnMut(GuestEvent<'_>)) {
        let mut lines = std::mem::take(&mut self.console_lines);
        if !lines.is_empty() {
            lines.flush(&mut |line| self.console_line(line, at, until, events));
        }
    }
}

/// The guest's own times on our clock. The one that came quickest tells when the guest's clock began: that is when
/// its kernel started, and the others (which were said all at once, when the ports opened) follow from it.
pub(super) fn on_one_clock(mut stages: Vec<Stage>, direct: bool) -> Vec<Stage> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stream_must_be_whole() {
        let mut heard = Heard::new(tempfile::tempfile().unwrap());
        assert!(heard.all_is_here() && heard.lost().is_empty(), "nothing was said to be sent");
        heard.sent = Some([1, 0, 9]);
        heard.arrived = [2, 0, 0];
        assert!(!heard.all_is_here());
        assert_eq!(heard.lost(), ["the collected files: 0 of 9 bytes"]);
        heard.files_bytes(b"123456789");
        assert!(heard.all_is_here() && heard.lost().is_empty());
    }

    #[test]
    fn more_files_than_are_taken_are_not_told_as_whole() {
        let mut heard = Heard::new(tempfile::tempfile().unwrap());
        heard.most_of_files = 4;
        heard.sent = Some([0, 0, 9]);
        heard.files_bytes(b"123456");
        heard.files_bytes(b"789");
        assert!(heard.all_is_here(), "nothing more comes");
        assert_eq!(heard.archive, b"1234");
        assert_eq!(heard.lost(), ["the collected files: 4 of 9 bytes"]);
    }
}
