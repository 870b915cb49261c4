// SPDX-License-Identifier: GPL-3.0-or-later
//! One boot on a thread of its own, and what it tells the main loop.

use crate::engine::{Event, Level};
use crate::flows::lab::session::{self, Ended, Told, Wish};
use crate::guest::{GuestEvent, Stage};
use crate::host::{Cancel, Host};
use crate::tell::{self, Problem};
use crate::ui::widgets::Kind;
use async_channel::{Receiver, Sender};
use std::path::{Path, PathBuf};

/// What is heard of a boot.
#[derive(Debug)]
pub(super) enum Heard {
    /// A line for the log.
    Line(Kind, String),
    /// The image is there, or none was needed: the guest starts.
    Run {
        /// The number of its run.
        number: u32,
        /// What it is called.
        name: String,
        /// Where its run's things are.
        folder: PathBuf,
    },
    /// What runs it, and why that.
    Accelerator(String),
    /// It got somewhere.
    Stage(Stage),
    /// It is over, or never began.
    Ended(Box<Result<Ended, Problem>>),
}

/// A boot under way.
#[derive(Debug, Clone)]
pub(super) struct Job {
    cancel: Cancel,
}

impl Job {
    /// Begins. QEMU dies with the thread, so that nothing of it outlives this program.
    pub(super) fn begin(wish: Wish) -> Result<(Self, Receiver<Heard>), Problem> {
        let (to, from) = async_channel::unbounded();
        let cancel = Cancel::new();
        let job = Self { cancel: cancel.clone() };
        let work = move || {
            let ended = run(&wish, &cancel, &to);
            let _ = to.try_send(Heard::Ended(Box::new(ended)));
        };
        std::thread::Builder::new()
            .name("lab".to_owned())
            .spawn(work)
            .map_err(|e| Problem::internal("begin a thread", &e))?;
        Ok((job, from))
    }

    /// Asks it to stop; it says when it has.
    pub(super) fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Whether it was asked to.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}

fn run(wish: &Wish, cancel: &Cancel, to: &Sender<Heard>) -> Result<Ended, Problem> {
    let host = Host::machine()?;
    let mut out = Lines::default();
    let say = |heard: Heard| {
        // Nobody listens any more when the window is gone; the boot ends by its own wish to stop then.
        let _ = to.try_send(heard);
    };
    let ended = session::run(&host, wish, cancel, &mut |told| match told {
        Told::Building(event) => building(event, &say),
        Told::Built(built) => {
            let size = tell::bytes(built.size);
            say(Heard::Line(Kind::Note, format!("{} ({size})", built.image.display())));
        }
        Told::Run(number, name, folder) => {
            say(Heard::Run { number, name: name.to_owned(), folder: Path::to_owned(folder) });
        }
        Told::Guest(event) => guest(&event, &mut out, &say),
    });
    out.rest(&say);
    Ok(ended?)
}

fn building(event: Event, say: &impl Fn(Heard)) {
    match event {
        Event::Step { title, .. } => say(Heard::Line(Kind::Step, title)),
        Event::Log { line, .. } => say(Heard::Line(Kind::Output, line)),
        Event::Diagnostic { level, message, .. } => {
            let kind = match level {
                Level::Note => Kind::Note,
                Level::Warning => Kind::Warning,
                Level::Error => Kind::Error,
            };
            say(Heard::Line(kind, message));
        }
        Event::StepFailed { reason, .. } => say(Heard::Line(Kind::Error, reason)),
        _ => {}
    }
}

fn guest(event: &GuestEvent<'_>, out: &mut Lines, say: &impl Fn(Heard)) {
    match event {
        GuestEvent::Starting { accelerator, ssh, .. } => {
            let mut text = format!("{}: {}", accelerator.name, accelerator.reason);
            if let Some(port) = ssh {
                text.push_str(&format!("\nssh -p {port} root@127.0.0.1"));
            }
            say(Heard::Accelerator(text));
        }
        GuestEvent::Stage(stage) => say(Heard::Stage((*stage).clone())),
        GuestEvent::Stdout(bytes) | GuestEvent::Stderr(bytes) => out.add(bytes, say),
        GuestEvent::Console(line) => say(Heard::Line(Kind::Output, clean(line))),
        GuestEvent::Said(_) => {}
    }
}

/// Bytes that come in pieces, told line by line.
#[derive(Debug, Default)]
struct Lines {
    half: Vec<u8>,
}

impl Lines {
    /// Most bytes of a line that never ends.
    const LONGEST: usize = 8192;

    fn add(&mut self, bytes: &[u8], say: &impl Fn(Heard)) {
        for byte in bytes {
            if *byte == b'\n' || self.half.len() >= Self::LONGEST {
                self.rest(say);
            }
            if *byte != b'\n' {
                self.half.push(*byte);
            }
        }
    }

    fn rest(&mut self, say: &impl Fn(Heard)) {
        if !self.half.is_empty() {
            say(Heard::Line(Kind::Note, clean(&String::from_utf8_lossy(&self.half))));
            self.half.clear();
        }
    }
}

/// A line of a machine without what moves a terminal's cursor.
pub(super) fn clean(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            // A control sequence (ECMA-48 5.4): parameters, then one final character.
            if chars.next_if_eq(&'[').is_some() {
                while chars.next_if(|c| !('@'..='~').contains(c)).is_some() {}
                chars.next();
            }
        } else if c == '\t' || !c.is_control() {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn colours_and_bells_of_a_console_are_not_shown() {
        assert_eq!(clean("\u{1b}[1;31mRed\u{1b}[0m\u{7} and\tplain\r"), "Red and\tplain");
        assert_eq!(clean("\u{1b}[2J\u{1b}"), "");
    }

    #[test]
    fn what_comes_in_pieces_is_told_in_lines() {
        let told = RefCell::new(Vec::new());
        let say = |heard: Heard| {
            if let Heard::Line(_, text) = heard {
                told.borrow_mut().push(text);
            }
        };
        let mut lines = Lines::default();
        lines.add(b"6.1.0\nhalf", &say);
        lines.add(b" and half\nend", &say);
        lines.rest(&say);
        assert_eq!(*told.borrow(), ["6.1.0", "half and half", "end"]);
    }
}
