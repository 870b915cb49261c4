// SPDX-License-Identifier: GPL-3.0-or-later
//! Measures modules in a guest: how long loading takes, and what goes from port to port of a vmnet hub.
//!
//! ```text
//!   first process ── starts ──► the same program: measure MILLISECONDS MODULE…
//!        │  "measured load 1234.5"  "left-out vmnet why"           │ insert, pass frames, remove
//!        ▼                                                         ▼
//!   control port                                               the modules
//! ```

use super::exercise::{Fault, OURS, insert, name_of, remove};
use super::vmnet;
use crate::init::sys;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The first argument that makes the program the one that measures.
pub const ARGUMENT: &str = "measure";

/// The hub that is used; no product of VMware's sets it up.
const HUB: u32 = 77;
/// The largest Ethernet frame without its checksum.
const LARGE: usize = 1514;
/// The smallest.
const SMALL: usize = 60;
/// How often modules are loaded: often enough that a coarse clock does not matter.
const LOADS: u32 = 30;
/// A clock with steps below this can time one frame.
const FINE: Duration = Duration::from_micros(5);
/// How long a frame may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// A line of the measurement.
#[derive(Debug, Clone, PartialEq)]
pub enum Measured {
    /// A figure: its name and value.
    Figure(String, f64),
    /// What could not be measured, and why.
    LeftOut(String, String),
}

impl Measured {
    /// Reads a line; `None` when it is about something else. Pure.
    pub fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ')?;
        let (name, value) = rest.split_once(' ')?;
        match word {
            "measured" => {
                Some(Self::Figure(name.to_owned(), value.parse().ok().filter(|v: &f64| v.is_finite())?))
            }
            "left-out" => Some(Self::LeftOut(name.to_owned(), value.to_owned())),
            _ => None,
        }
    }

    /// The line.
    pub fn line(&self) -> String {
        match self {
            Self::Figure(name, value) => format!("measured {name} {value}"),
            Self::LeftOut(name, why) => format!("left-out {name} {}", why.replace('\n', " ")),
        }
    }
}

/// Starts the measurement in the guest and passes on what it says. Returns whether it came to its end.
pub fn attend(program: &str, milliseconds: u32, modules: &[String], say: &mut dyn FnMut(&str)) -> bool {
    let mut command = Command::new(program);
    command.arg(ARGUMENT).arg(milliseconds.to_string()).args(modules);
    let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let (mut child, pipe) = match started.map(|mut c| (c.stdout.take(), c)) {
        Ok((Some(pipe), child)) => (child, pipe),
        other => {
            let why = other.err().map_or_else(|| "it has no output".to_owned(), |e| e.to_string());
            say(&Measured::LeftOut("all".into(), format!("{program} could not be started: {why}")).line());
            return false;
        }
    };
    for line in BufReader::new(pipe).lines().map_while(Result::ok) {
        say(&line);
    }
    child.wait().is_ok_and(|status| status.success())
}

/// The program that measures: for how long, and the module files.
pub fn main(milliseconds: &str, files: &[&str]) -> i32 {
    let time = Duration::from_millis(milliseconds.parse().unwrap_or(500));
    let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
    let mut out = io::stdout();
    let mut say = |measured: Measured| {
        let _ = writeln!(out, "{}", measured.line()).and_then(|()| out.flush());
    };
    let figure = |name: &str, value: f64| Measured::Figure(name.to_owned(), value);
    match load(&files) {
        Ok(ms) => say(figure("load", ms)),
        Err(why) => {
            say(Measured::LeftOut("load".into(), why));
            return 1;
        }
    }
    match throughput(time) {
        Ok(mbit) => say(figure("throughput", mbit)),
        Err(why) => say(Measured::LeftOut("throughput".into(), why)),
    }
    match latency(time) {
        Ok((mean, tail)) => {
            say(figure("latency", mean));
            say(match tail {
                Some(tail) => figure("latency_p99", tail),
                None => Measured::LeftOut(
                    "latency_p99".into(),
                    "the guest's clock is too coarse for one frame".into(),
                ),
            });
        }
        Err(why) => say(Measured::LeftOut("latency".into(), why)),
    }
    0
}

/// Milliseconds that both modules together take to be inserted: the mean of many times, for each of them may be shorter
/// than a step of the guest's clock. They stay inserted.
fn load(files: &[PathBuf]) -> Result<f64, Fault> {
    let (ours, needed): (Vec<&PathBuf>, Vec<&PathBuf>) =
        files.iter().partition(|f| OURS.contains(&name_of(f).as_str()));
    if ours.is_empty() {
        return Err("there are no modules to measure".into());
    }
    for file in needed {
        insert(file, &name_of(file))?;
    }
    let mut took = Duration::ZERO;
    for n in 0..LOADS {
        for file in &ours {
            let opened = File::open(file).map_err(|e| format!("{}: {e}", file.display()))?;
            let began = Instant::now();
            sys::insert_module(&opened, "").map_err(|e| format!("{}: {e}", file.display()))?;
            took += began.elapsed();
        }
        if n + 1 < LOADS {
            for file in ours.iter().rev() {
                remove(&name_of(file))?;
            }
        }
    }
    Ok(took.as_secs_f64() * 1000.0 / f64::from(LOADS))
}

/// A frame for everybody, of this length.
fn frame(length: usize) -> Vec<u8> {
    let mut frame = vec![0x5a; length];
    let head = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x88, 0xb5];
    frame[..head.len()].copy_from_slice(&head);
    frame
}

/// Megabits each second that arrive at the second port while the first writes as fast as it can: what a hub drops
/// because a queue is full does not count.
fn throughput(time: Duration) -> Result<f64, Fault> {
    let (from, to) = (vmnet::port(HUB)?, vmnet::port(HUB)?);
    let sent_all = AtomicBool::new(false);
    let bytes = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut buffer = [0; 2048];
            let mut bytes = 0usize;
            while !sent_all.load(Ordering::Relaxed) {
                match (&to).read(&mut buffer) {
                    Ok(n) => bytes += n,
                    Err(e) if e.kind() == ErrorKind::WouldBlock => {
                        let _ = sys::wait_for_one(to.as_fd(), sys::IN, Duration::from_millis(20));
                    }
                    Err(e) => return Err(e.to_string()),
                }
            }
            Ok(bytes)
        });
        let frame = frame(LARGE);
        let began = Instant::now();
        let mut fault = None;
        while began.elapsed() < time {
            // A few at a time between looks at the clock.
            for _ in 0..16 {
                match (&from).write(&frame) {
                    Ok(_) => {}
                    Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                    Err(e) => fault = Some(e.to_string()),
                }
            }
            if fault.is_some() {
                break;
            }
        }
        let took = began.elapsed();
        sent_all.store(true, Ordering::Relaxed);
        let bytes = reader.join().unwrap_or_else(|_| Err("the reader broke off".into()))?;
        match fault {
            Some(fault) => Err(fault),
            None => Ok(bytes as f64 * 8.0 / 1e6 / took.as_secs_f64()),
        }
    })?;
    if bytes > 0.0 { Ok(bytes) } else { Err("no frame arrived".into()) }
}

/// The smallest step of the guest's clock, where it shows one within a moment: an emulated guest without a counter
/// has ticks of some milliseconds.
fn tick() -> Duration {
    let began = Instant::now();
    let mut smallest = Duration::from_millis(50);
    while began.elapsed() < Duration::from_millis(50) {
        let one = Instant::now();
        let step = loop {
            let step = one.elapsed();
            if !step.is_zero() {
                break step;
            }
        };
        smallest = smallest.min(step);
    }
    smallest
}

/// Microseconds for a frame to the other port and one back: over all of them together, since a guest's clock may be too
/// coarse for one; and what one in a hundred exceeds, where it is not.
fn latency(time: Duration) -> Result<(f64, Option<f64>), Fault> {
    let (a, b) = (vmnet::port(HUB)?, vmnet::port(HUB)?);
    let frame = frame(SMALL);
    let pass = |from: &File, to: &File| -> Result<(), Fault> {
        let mut buffer = [0; 2048];
        (&mut &*from).write_all(&frame).map_err(|e| e.to_string())?;
        let end = Instant::now() + PATIENCE;
        loop {
            match (&mut &*to).read(&mut buffer) {
                Ok(_) => return Ok(()),
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => return Err(e.to_string()),
            }
            if Instant::now() > end {
                return Err("a frame did not arrive".into());
            }
            sys::wait_for_one(to.as_fd(), sys::IN, Duration::from_millis(200)).map_err(|e| e.to_string())?;
        }
    };
    let fine = tick() < FINE;
    let began = Instant::now();
    let mut times = Vec::new();
    while began.elapsed() < time || times.len() < 200 {
        let start = Instant::now();
        pass(&a, &b)?;
        pass(&b, &a)?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    let mean = began.elapsed().as_secs_f64() * 1e6 / times.len() as f64;
    times.sort_by(f64::total_cmp);
    let tail = times[(times.len() * 99 / 100).min(times.len() - 1)];
    Ok((mean, fine.then_some(tail)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read_back_and_anything_else_is_not() {
        for said in [
            Measured::Figure("latency_p99".into(), 12.5),
            Measured::LeftOut("throughput".into(), "no frame arrived".into()),
        ] {
            assert_eq!(Measured::parse(&said.line()), Some(said));
        }
        for other in ["", "measured", "measured load", "measured load fast", "measured load NaN", "news a b"]
        {
            assert_eq!(Measured::parse(other), None, "{other}");
        }
        let lines = Measured::LeftOut("x".into(), "a\nmeasured load 1".into()).line();
        assert_eq!(lines.lines().count(), 1);
    }
}
