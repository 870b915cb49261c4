// SPDX-License-Identifier: GPL-3.0-or-later
//! A command that runs beside us (a virtual machine, a file server): started through the same door as all
//! others, watched by its pidfd, and never left behind.

use super::command::prepared;
use super::{Command, CommandError};
use nix::sys::signal::Signal;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With this exit status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Ended {
    fn of(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or_default()),
        }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// A running command in a process group of its own, without standard input and output; its standard error
/// is a pipe. Ended with its whole group, and reaped, when dropped; the kernel ends it when the thread that
/// started it dies (`PR_SET_PDEATHSIG`).
#[derive(Debug)]
pub struct Process {
    child: Child,
    pidfd: OwnedFd,
    stderr: Option<ChildStderr>,
    ended: Option<Ended>,
    command: String,
}

impl Process {
    /// Starts `command`. Its `timeout` and `stdin` are not looked at.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(command: &Command) -> Result<Self, CommandError> {
        tracing::debug!(command = %command.display(), "start");
        let failed = |source| CommandError::Start { command: command.display(), source };
        let mut child = prepared(command)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pidfd = pid
            .ok_or_else(|| std::io::Error::other("the process has no number"))
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).map_err(Into::into));
        match pidfd {
            Ok(pidfd) => {
                let stderr = child.stderr.take();
                Ok(Self { child, pidfd, stderr, ended: None, command: command.display() })
            }
            Err(source) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(failed(source))
            }
        }
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The command as one could paste it.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// Readable (`poll(2)`) once the process has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Its standard error; the first caller gets it.
    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.stderr.take()
    }

    /// How it ended, when it has; the rest of its group is ended then too.
    pub fn ended(&mut self) -> Option<Ended> {
        if self.ended.is_none() {
            let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            let gone = waitid(WaitId::PidFd(self.pidfd.as_fd()), look).is_ok_and(|s| s.is_some());
            if gone {
                // Not reaped yet: its number, which is the group's too, can be nobody else's.
                self.signal(Signal::SIGKILL);
                self.ended = self.child.wait().ok().map(Ended::of);
            }
        }
        self.ended
    }

    /// Ends it and all of its group: asks (SIGTERM), waits as long as `patience`, then does not ask any more.
    pub fn end(&mut self, patience: Duration) -> Ended {
        if self.ended().is_none() && !patience.is_zero() {
            self.signal(Signal::SIGTERM);
            let began = Instant::now();
            while self.ended().is_none() && began.elapsed() < patience {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        if self.ended.is_none() {
            self.signal(Signal::SIGKILL);
            self.ended = self.child.wait().ok().map(Ended::of);
        }
        self.ended.unwrap_or(Ended::Signal(0))
    }

    fn signal(&self, signal: Signal) {
        if let Ok(group) = i32::try_from(self.child.id()) {
            let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(group), signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.end(Duration::ZERO);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_process_that_is_dropped_is_gone_with_its_children() {
        let mut process =
            Process::start(&Command::new("sh").args(["-c", "sleep 60 & echo $! >&2; wait"])).unwrap();
        let mut said = [0; 16];
        let n = process.take_stderr().unwrap().read(&mut said).unwrap();
        let child: i32 = std::str::from_utf8(&said[..n]).unwrap().trim().parse().unwrap();
        let itself = process.id();
        drop(process);
        std::thread::sleep(Duration::from_millis(100));
        for pid in [child, i32::try_from(itself).unwrap()] {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            assert!(stat.is_empty() || stat.contains(") Z"), "{pid} still runs: {stat}");
        }
    }

    #[test]
    fn the_pidfd_tells_of_the_end_and_the_status_is_kept() {
        use rustix::event::{PollFd, PollFlags, poll};
        let mut process = Process::start(&Command::new("sh").args(["-c", "exit 7"])).unwrap();
        let mut fds = [PollFd::from_borrowed_fd(process.pidfd(), PollFlags::IN)];
        let long = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
        assert_eq!(poll(&mut fds, Some(&long)).unwrap(), 1);
        assert_eq!(process.ended(), Some(Ended::Code(7)));
        assert_eq!(process.end(Duration::from_secs(1)), Ended::Code(7));
    }

    #[test]
    fn a_process_that_does_not_listen_is_ended_all_the_same() {
        let script = "trap '' TERM; echo ready >&2; while :; do sleep 60; done";
        let mut process = Process::start(&Command::new("sh").args(["-c", script])).unwrap();
        let mut said = [0; 6];
        process.take_stderr().unwrap().read_exact(&mut said).unwrap();
        assert_eq!(process.end(Duration::from_millis(50)), Ended::Signal(9));
    }
}
