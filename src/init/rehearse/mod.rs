// SPDX-License-Identifier: GPL-3.0-or-later
//! Tries built modules in a guest: inserts them, uses what they are for, takes them out again, and tells what
//! the kernel said meanwhile.
//!
//! ```text
//!   first process: watch ── starts ──► the same program: exercise   (an oops ends only this one)
//!        │  lines of the exercise, records of /dev/kmsg from now on      │ insert, open, ask, remove
//!        ▼                                                               ▼
//!   control port                                                     the modules
//! ```
//!
//! What is tried is told before it is done, and done only when the host has heard it: it may end the machine at once.

mod exercise;
mod frames;
pub mod measure;
mod vmmon;
mod vmnet;
mod words;

pub use exercise::main as exercise;
pub use words::{MARK, Said, WORD, kmsg};

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// The first argument that makes the program the one that exercises.
pub const ARGUMENT: &str = "exercise";

/// How long one thing may take before the kernel is said to hang in it. Emulated machines are slow.
const PATIENCE: Duration = Duration::from_secs(45);
/// What the kernel says a little later (timers, RCU callbacks of removed modules) belongs to it too.
const AFTERWARDS: Duration = Duration::from_millis(300);
/// `open(2)`.
const O_NONBLOCK: i32 = 0o4000;

/// Rehearses these module files, in this order, and says each line. Returns whether all went well as far as
/// the exercise can tell; what the kernel's log means is for the host to judge.
pub fn watch(program: &str, modules: &[String], only_load: bool, say: &mut dyn FnMut(&str)) -> bool {
    let mut say = |said: Said| say(&said.line());
    let mut log = match KernelLog::from_now() {
        Ok(log) => Some(log),
        Err(error) => {
            say(Said::Skipped { what: "read the kernel's log".into(), why: error.to_string() });
            None
        }
    };
    // Our marks in the kernel's log are not to be thinned out (Documentation/admin-guide/sysctl/kernel.rst).
    let _ = std::fs::write("/proc/sys/kernel/printk_devkmsg", "on\n");
    let before = taint();
    let good = attend(program, modules, only_load, &mut log, &mut say);
    std::thread::sleep(AFTERWARDS);
    tell(&mut log, &mut say);
    match (before, taint()) {
        (Ok(before), Ok(after)) => say(Said::Taint { before, after }),
        (Err(error), _) | (_, Err(error)) => {
            say(Said::Skipped { what: "read the kernel's taint".into(), why: error.to_string() });
        }
    }
    say(Said::End);
    good
}

/// Starts the exercise and passes on what it says, until it ends or nothing comes any more.
fn attend(
    program: &str,
    modules: &[String],
    only_load: bool,
    log: &mut Option<KernelLog>,
    say: &mut dyn FnMut(Said),
) -> bool {
    let mut doing = "begin".to_owned();
    let mut command = Command::new(program);
    command.arg(ARGUMENT).arg(if only_load { "load" } else { "use" }).args(modules);
    let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let (mut child, mut go, pipe) = match started.map(|mut c| (c.stdin.take(), c.stdout.take(), c)) {
        Ok((Some(go), Some(pipe), child)) => (child, go, pipe),
        Ok(_) => return false,
        Err(error) => {
            say(Said::Bad { what: doing, why: format!("{program} could not be started: {error}") });
            return false;
        }
    };
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let mut last = Instant::now();
    let mut good = true;
    loop {
        match lines.recv_timeout(Duration::from_millis(20)) {
            Ok(line) => {
                last = Instant::now();
                // What the kernel said until now came before this line.
                tell(log, say);
                let Some(said) = Said::parse(&line) else { continue };
                let tries = matches!(said, Said::Trying { .. });
                match &said {
                    Said::Trying { what } => doing.clone_from(what),
                    Said::Bad { .. } => good = false,
                    _ => {}
                }
                say(said);
                // Only now is it done: it may be the last thing that this machine does. Whoever ended meanwhile is
                // noticed below.
                if tries {
                    let _ = go.write_all(b"\n");
                }
            }
            Err(RecvTimeoutError::Timeout) if last.elapsed() > PATIENCE => {
                tell(log, say);
                let why = format!("it came to no end in {} seconds", PATIENCE.as_secs());
                say(Said::Bad { what: doing, why });
                // Whoever hangs in the kernel cannot be ended, and is not waited for.
                let _ = child.kill();
                return false;
            }
            Err(RecvTimeoutError::Timeout) => tell(log, say),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    match child.wait() {
        Ok(status) if status.success() => good,
        Ok(status) => {
            // A failure that it told of is its exit status too.
            if good || status.signal().is_some() {
                say(Said::Bad { what: doing, why: ended(status) });
            }
            false
        }
        Err(error) => {
            say(Said::Bad { what: doing, why: error.to_string() });
            false
        }
    }
}

fn ended(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("the kernel ended the program that did it (signal {signal})"),
        (_, Some(code)) => format!("the program that did it ended with status {code}"),
        _ => "the program that did it ended".to_owned(),
    }
}

fn tell(log: &mut Option<KernelLog>, say: &mut dyn FnMut(Said)) {
    if let Some(log) = log {
        log.read(&mut |level, text| say(Said::Kernel { level, text }));
    }
}

/// The kernel's taint flags, as a number.
fn taint() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/sys/kernel/tainted")?;
    text.trim().parse().map_err(io::Error::other)
}

/// The kernel's log from a moment on.
struct KernelLog {
    file: File,
}

impl KernelLog {
    fn from_now() -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open("/dev/kmsg")?;
        // After the last record that is there.
        file.seek(SeekFrom::End(0))?;
        Ok(Self { file })
    }

    fn read(&mut self, each: &mut dyn FnMut(u8, String)) {
        let mut record = [0; 8192];
        loop {
            match self.file.read(&mut record) {
                Ok(0) => return,
                Ok(n) => {
                    let text = String::from_utf8_lossy(record.get(..n).unwrap_or_default());
                    if let Some((level, text)) = kmsg(&text) {
                        each(level, text);
                    }
                }
                // Records were overwritten before they were read; the next read goes on behind the gap.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    each(4, "hostwright: records of the kernel's log were lost".to_owned());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }
}
