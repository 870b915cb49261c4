// SPDX-License-Identifier: GPL-3.0-or-later
//! Runs the command: its words, its three streams and its end are exact.

use super::Failure;
use super::port::Port;
use super::protocol::Told;
use super::sys::{self, ERR, Ended, HUP, IN, OUT, Watch};
use super::voice::Voice;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What is read or written at once: as much as a pipe holds.
const CHUNK: usize = 64 << 10;

/// How long what the command started may take to go, once it was killed.
const GONE: Duration = Duration::from_secs(10);

/// The command's streams.
#[derive(Debug)]
pub struct Wires {
    /// Standard input; none: `/dev/null`.
    pub stdin: Option<Port>,
    /// Standard output.
    pub stdout: Port,
    /// Standard error.
    pub stderr: Port,
}

/// Runs `argv` and everything that it starts to the end.
///
/// The command has a process group of its own, which gets the signals that the host sends. When it ends, what it
/// left running is killed, and what all of them wrote until then still goes to the host.
///
/// # Errors
/// When it cannot be started.
pub fn run(
    voice: &mut Voice,
    wires: Wires,
    argv: &[Vec<u8>],
    env: &[(Vec<u8>, Vec<u8>)],
    cwd: Option<&[u8]>,
) -> Result<Ended, Failure> {
    let Some((program, words)) = argv.split_first() else { return Ok(Ended::Exited(0)) };
    let fail = |e: io::Error| Failure {
        stage: "command",
        reason: format!("could not run {}: {e}", String::from_utf8_lossy(program)),
    };
    let news = sys::signal_file(&[sys::SIGCHLD]).map_err(fail)?;
    let mut command = Command::new(OsStr::from_bytes(program));
    command.args(words.iter().map(|w| OsStr::from_bytes(w))).env_clear().process_group(0);
    command.envs([("PATH", PATH), ("HOME", "/root"), ("TERM", "dumb")]);
    command.envs(env.iter().map(|(n, v)| (OsStr::from_bytes(n), OsStr::from_bytes(v))));
    let cwd = OsStr::from_bytes(cwd.unwrap_or(b"/"));
    // The standard library says of a missing folder what it says of a missing program.
    std::env::set_current_dir(cwd).map_err(|e| Failure {
        stage: "command",
        reason: format!("could not go to the folder {}: {e}", cwd.display()),
    })?;
    command.stdin(if wires.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(fail)?;
    let pid = i32::try_from(child.id()).unwrap_or(-1);
    let pipe = |end: Option<OwnedFd>| -> io::Result<Option<File>> {
        let Some(end) = end else { return Ok(None) };
        sys::never_wait(end.as_fd())?;
        Ok(Some(File::from(end)))
    };
    let mut pumps = Pumps {
        stdin: Pump::new(wires.stdin, pipe(child.stdin.take().map(OwnedFd::from)).map_err(fail)?),
        stdout: Pump::new(pipe(child.stdout.take().map(OwnedFd::from)).map_err(fail)?, Some(wires.stdout)),
        stderr: Pump::new(pipe(child.stderr.take().map(OwnedFd::from)).map_err(fail)?, Some(wires.stderr)),
    };
    drop(command);
    let ended = pumps.carry(voice, &news, pid).map_err(fail)?;
    voice.sent.stdout = pumps.stdout.carried;
    voice.sent.stderr = pumps.stderr.carried;
    Ok(ended)
}

/// Where programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Carries bytes from one file to another, neither of which is ever waited for alone.
#[derive(Debug)]
struct Pump<R, W> {
    from: Option<R>,
    to: Option<W>,
    buffer: Vec<u8>,
    start: usize,
    carried: u64,
}

impl<R: Read + AsFd, W: Write + AsFd> Pump<R, W> {
    fn new(from: Option<R>, to: Option<W>) -> Self {
        let to = if from.is_some() { to } else { None };
        Self { from, to, buffer: Vec::new(), start: 0, carried: 0 }
    }

    fn is_done(&self) -> bool {
        self.to.is_none() || (self.from.is_none() && self.start == self.buffer.len())
    }

    /// What it waits for: room when it has something, else something. The second tells whether the reader of a
    /// pipe is gone.
    fn watches(&self, list: &mut Vec<Watch>, places: &mut Vec<Place>, which: Which) {
        let Some(to) = &self.to else { return };
        if self.start < self.buffer.len() {
            list.push(Watch::new(to.as_fd(), OUT));
            places.push(Place(which, Side::To));
        } else if let Some(from) = &self.from {
            list.push(Watch::new(from.as_fd(), IN));
            places.push(Place(which, Side::From));
            if which == Which::Stdin {
                list.push(Watch::new(to.as_fd(), 0));
                places.push(Place(which, Side::To));
            }
        }
    }

    /// Carries what can be carried now.
    fn carry(&mut self) {
        while let Some(to) = &mut self.to {
            if self.start == self.buffer.len() {
                let Some(from) = &mut self.from else {
                    // All is written: the other side sees the end.
                    self.to = None;
                    return;
                };
                self.buffer.resize(CHUNK, 0);
                self.start = 0;
                match from.read(&mut self.buffer) {
                    Ok(0) => {
                        self.buffer.clear();
                        self.from = None;
                        continue;
                    }
                    Ok(count) => self.buffer.truncate(count),
                    Err(e) if e.kind() == ErrorKind::Interrupted => {
                        self.buffer.clear();
                        continue;
                    }
                    Err(e) => {
                        self.buffer.clear();
                        if e.kind() != ErrorKind::WouldBlock {
                            self.from = None;
                            continue;
                        }
                        return;
                    }
                }
            }
            match to.write(&self.buffer[self.start..]) {
                Ok(count) => {
                    self.start += count;
                    self.carried += count as u64;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    // Nobody reads it any more: the writer learns so as it would from any pipe.
                    self.to = None;
                    self.from = None;
                    self.buffer.clear();
                    self.start = 0;
                }
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Stdin,
    Stdout,
    Stderr,
    Host,
    Child,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    From,
    To,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place(Which, Side);

#[derive(Debug)]
struct Pumps {
    stdin: Pump<Port, File>,
    stdout: Pump<File, Port>,
    stderr: Pump<File, Port>,
}

impl Pumps {
    /// Until the command and all that it started are gone and all that they wrote is carried.
    fn carry(&mut self, voice: &mut Voice, news: &File, pid: i32) -> io::Result<Ended> {
        let mut ended: Option<(Ended, Instant)> = None;
        let mut alone = false;
        let mut deaf = false;
        loop {
            self.stdin.carry();
            self.stdout.carry();
            self.stderr.carry();
            if let Some((how, since)) = ended {
                let is_late = since.elapsed() > GONE;
                if alone && self.stdout.is_done() && self.stderr.is_done() {
                    return Ok(how);
                }
                if is_late && !alone {
                    super::voice::console("command: something it started cannot be killed");
                    alone = true;
                    // Its ends of the pipes stay open: what is there is all there is.
                    self.stdout.from = None;
                    self.stderr.from = None;
                    continue;
                }
            }
            let (mut watches, mut places) = (Vec::with_capacity(6), Vec::with_capacity(6));
            watches.push(Watch::new(news.as_fd(), IN));
            places.push(Place(Which::Child, Side::From));
            if let (Some(port), false) = (voice.port(), deaf) {
                watches.push(Watch::new(port.as_fd(), IN));
                places.push(Place(Which::Host, Side::From));
            }
            if ended.is_none() {
                self.stdin.watches(&mut watches, &mut places, Which::Stdin);
            }
            self.stdout.watches(&mut watches, &mut places, Which::Stdout);
            self.stderr.watches(&mut watches, &mut places, Which::Stderr);
            sys::wait_for(&mut watches, ended.map(|_| Duration::from_millis(100)))?;
            for (watch, place) in watches.iter().zip(places) {
                match place {
                    Place(Which::Child, _) if watch.seen != 0 => {
                        let _ = (&*news).read(&mut [0; 1024]);
                        loop {
                            match sys::reap() {
                                Ok(Some((dead, how))) if dead == pid => {
                                    ended = Some((how, Instant::now()));
                                    // Orphans end with the command, as they would with a container.
                                    let _ = sys::send_signal(-1, sys::SIGKILL);
                                }
                                Ok(Some(_)) => {}
                                Ok(None) => break,
                                Err(_) => {
                                    alone = true;
                                    break;
                                }
                            }
                        }
                    }
                    Place(Which::Host, _) if watch.seen != 0 => {
                        for told in voice.hear() {
                            if let (Told::Signal(number), None) = (told, &ended) {
                                let _ = sys::send_signal(-pid, number);
                            }
                        }
                        deaf = watch.seen & HUP != 0;
                    }
                    Place(Which::Stdin, Side::To) if watch.seen & ERR != 0 => {
                        // The command closed its standard input.
                        self.stdin.to = None;
                        self.stdin.from = None;
                    }
                    // A host that is not connected makes poll(2) return at once, for ever.
                    Place(Which::Stdout | Which::Stderr, Side::To) if watch.seen == HUP => {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    _ => {}
                }
            }
        }
    }
}
