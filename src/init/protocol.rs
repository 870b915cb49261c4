// SPDX-License-Identifier: GPL-3.0-or-later
//! What the host tells the first process of a guest, and what that tells the host. Lines of words, so that
//! neither side needs a parser library; bytes that could be misread travel as `%XX`.
//!
//! ```text
//!   host ── /hostwright/config (a second cpio behind the initramfs) ──► guest
//!   host ◄── org.hostwright.control: "stage root 812", "exit 3" ─────── guest
//!   host ──► org.hostwright.control: "signal 2", "off" ───────────────► guest
//!   host ──► org.hostwright.stdin     stdout, stderr, files ◄────────── guest      (virtio-serial ports)
//! ```
//!
//! # The guest says, on [`CONTROL`], one line each, in this order
//!
//! | line | meaning |
//! |---|---|
//! | `hello VERSION` | the first line; all ports are open |
//! | `stage NAME MS [NOTE]` | it got there MS milliseconds after its kernel's start; stages from before `hello` follow it |
//! | `fail STAGE REASON` | it could not do its work; `sent` and `end` follow |
//! | `exit STATUS`, `killed SIGNAL` | how the command ended; everything it started is gone |
//! | `sent STDOUT STDERR FILES` | how many bytes went into each of the three ports |
//! | `end` | nothing follows, file systems are written out: the host may end the machine once the bytes of `sent` are there |
//!
//! Between them, `ask` wants an answer (`heard`) once all that was said before has been read. Other lines (`rehearse …`) are news of the task for whoever asked for it.
//!
//! # The host says, on [`CONTROL`]
//!
//! | line | meaning |
//! |---|---|
//! | `signal N` | send this signal to the command's process group |
//! | `collect` | (to an agent) hand the files over now |
//! | `heard` | the answer to `ask`; without it the guest goes on [`PATIENCE`] later |
//! | `off` | all that was sent is here: power off. Without it the guest powers off [`PATIENCE`] after `end` |
//!
//! Standard input ends when the host ends the sending half of its socket (`shutdown(SHUT_WR)`; a full close
//! may lose bytes that QEMU has not read yet), and not before `hello`: until a port has been seen connected, the
//! guest cannot tell its end from its beginning.

use std::time::Duration;

/// How long the guest waits, after `end`, for the host to say `off`, and after `ask` for `heard`.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The version of all that is said here; the guest says it first.
pub const VERSION: u32 = 1;

/// Where the configuration is in the initramfs.
pub const CONFIG: &str = "/hostwright/config";

/// Where the list of modules is in the initramfs: lines of file system or `always`, `must` or `may`, path.
pub const MODULES: &str = "/hostwright/modules";

/// Names of the virtio-serial ports, as in `/sys/class/virtio-ports/*/name`.
pub const CONTROL: &str = "org.hostwright.control";
/// Standard input of the guest's command; its end is the end of the connection.
pub const STDIN: &str = "org.hostwright.stdin";
/// Standard output of the guest's command.
pub const STDOUT: &str = "org.hostwright.stdout";
/// Standard error of the guest's command.
pub const STDERR: &str = "org.hostwright.stderr";
/// Files that the guest hands over at its end: one cpio archive (newc).
pub const FILES: &str = "org.hostwright.files";

/// Escapes one word: everything but printable ASCII, and space and `%` themselves, becomes `%XX`. An empty word is `%`.
pub fn escape(word: &[u8]) -> String {
    if word.is_empty() {
        return "%".to_owned();
    }
    let mut text = String::with_capacity(word.len());
    for &byte in word {
        if byte.is_ascii_graphic() && byte != b'%' {
            text.push(char::from(byte));
        } else {
            text.push('%');
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
            }
        }
    }
    text
}

/// The word that [`escape`] wrote; `None` when it is none of its.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    if text == "%" {
        return Some(Vec::new());
    }
    let mut word = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                word.push(u8::try_from(high * 16 + low).ok()?);
            }
            b if b.is_ascii_graphic() => word.push(b),
            _ => return None,
        }
    }
    Some(word)
}

/// A line that the guest says on [`CONTROL`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// `hello`: all ports are open.
    Hello {
        /// Its [`VERSION`].
        version: u32,
    },
    /// `stage`: it got somewhere.
    Stage {
        /// Where.
        name: String,
        /// Milliseconds since its kernel's start.
        ms: u64,
        /// What is to be said of it.
        note: Option<String>,
    },
    /// `fail`: it could not do its work.
    Fail {
        /// In which stage.
        stage: String,
        /// Why.
        reason: String,
    },
    /// `exit`: the command's exit status.
    Exit(i32),
    /// `killed`: the signal that ended the command.
    Killed(i32),
    /// `sent`: bytes that went into the ports.
    Sent {
        /// Into [`STDOUT`].
        stdout: u64,
        /// Into [`STDERR`].
        stderr: u64,
        /// Into [`FILES`].
        files: u64,
    },
    /// `ask`: answer once all before it has been read.
    Ask,
    /// `end`: nothing follows.
    End,
    /// News of the task, as it came.
    News(String),
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Hello { version } => write!(f, "hello {version}"),
            Self::Stage { name, ms, note: None } => write!(f, "stage {} {ms}", escape(name.as_bytes())),
            Self::Stage { name, ms, note: Some(note) } => {
                write!(f, "stage {} {ms} {}", escape(name.as_bytes()), escape(note.as_bytes()))
            }
            Self::Fail { stage, reason } => {
                write!(f, "fail {} {}", escape(stage.as_bytes()), escape(reason.as_bytes()))
            }
            Self::Exit(status) => write!(f, "exit {status}"),
            Self::Killed(signal) => write!(f, "killed {signal}"),
            Self::Sent { stdout, stderr, files } => write!(f, "sent {stdout} {stderr} {files}"),
            Self::Ask => f.write_str("ask"),
            Self::End => f.write_str("end"),
            Self::News(line) => f.write_str(line),
        }
    }
}

impl Said {
    /// Reads one line (without its end). What is none of the known lines is [`Said::News`].
    pub fn parse(line: &str) -> Self {
        Self::known(line).unwrap_or_else(|| Self::News(line.to_owned()))
    }

    fn known(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let key = words.next()?;
        let words: Vec<&str> = words.collect();
        let text = |word: &str| Some(String::from_utf8_lossy(&unescape(word)?).into_owned());
        Some(match (key, words.as_slice()) {
            ("hello", [version]) => Self::Hello { version: version.parse().ok()? },
            ("stage", [name, ms]) => Self::Stage { name: text(name)?, ms: ms.parse().ok()?, note: None },
            ("stage", [name, ms, note]) => {
                Self::Stage { name: text(name)?, ms: ms.parse().ok()?, note: Some(text(note)?) }
            }
            ("fail", [stage, reason]) => Self::Fail { stage: text(stage)?, reason: text(reason)? },
            ("exit", [status]) => Self::Exit(status.parse().ok()?),
            ("killed", [signal]) => Self::Killed(signal.parse().ok()?),
            ("sent", [stdout, stderr, files]) => Self::Sent {
                stdout: stdout.parse().ok()?,
                stderr: stderr.parse().ok()?,
                files: files.parse().ok()?,
            },
            ("ask", []) => Self::Ask,
            ("end", []) => Self::End,
            _ => return None,
        })
    }
}

/// A line that the host says on [`CONTROL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// `signal`: send it to the command's process group.
    Signal(i32),
    /// `collect`: hand the files over now.
    Collect,
    /// `heard`: all until `ask` has been read.
    Heard,
    /// `off`: power off.
    Off,
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Signal(number) => write!(f, "signal {number}"),
            Self::Collect => f.write_str("collect"),
            Self::Heard => f.write_str("heard"),
            Self::Off => f.write_str("off"),
        }
    }
}

impl Told {
    /// Reads one line (without its end); `None` for what is not known.
    pub fn parse(line: &str) -> Option<Self> {
        match line.split_once(' ') {
            Some(("signal", number)) => {
                number.parse().ok().filter(|n| (1..=64).contains(n)).map(Self::Signal)
            }
            None if line == "collect" => Some(Self::Collect),
            None if line == "heard" => Some(Self::Heard),
            None if line == "off" => Some(Self::Off),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_come_back(word in proptest::collection::vec(any::<u8>(), 0..40)) {
            let text = escape(&word);
            prop_assert!(!text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()));
            prop_assert_eq!(unescape(&text), Some(word));
        }

        #[test]
        fn no_line_makes_the_parsers_panic(line in ".*") {
            unescape(&line);
            Said::parse(&line);
            Told::parse(&line);
        }

        #[test]
        fn a_stage_comes_back(name in ".*", ms: u64, note in proptest::option::of(".*")) {
            let stage = Said::Stage { name, ms, note };
            prop_assert_eq!(Said::parse(&stage.to_string()), stage);
        }

        #[test]
        fn a_failure_comes_back(stage in ".*", reason in ".*") {
            let fail = Said::Fail { stage, reason };
            prop_assert_eq!(Said::parse(&fail.to_string()), fail);
        }
    }

    #[test]
    fn all_other_lines_come_back() {
        let sent = Said::Sent { stdout: 1, stderr: 0, files: u64::MAX };
        for said in [Said::Hello { version: 1 }, Said::Exit(3), Said::Killed(9), sent, Said::End] {
            assert_eq!(Said::parse(&said.to_string()), said);
        }
        assert_eq!(Said::parse("rehearse vmmon ok"), Said::News("rehearse vmmon ok".to_owned()));
        for told in [Told::Signal(2), Told::Collect, Told::Off] {
            assert_eq!(Told::parse(&told.to_string()), Some(told));
        }
        assert_eq!(Told::parse("signal 0"), None);
    }
}
