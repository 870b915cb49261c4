// SPDX-License-Identifier: GPL-3.0-or-later
//! The one door for commands: argv only, no shell, cleared environment, no standard input unless
//! given, its own process group, dies with its parent, output captured line by line.
//!
//! This is the only module with `unsafe`: `prctl(PR_SET_PDEATHSIG)` must run between fork and exec.
#![allow(unsafe_code)]

use super::limits::{Inherited, Limits, apply_limits};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// The search path of every command; a caller's own `PATH` is never used.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How much captured output is kept in memory for each stream, in bytes; the newest is dropped beyond
/// it (a caller that wants all of it takes the lines).
const KEEP: usize = 32 << 20;

/// A wish to stop, shared between the one who wishes and the one who works.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A wish not yet made.
    pub fn new() -> Self {
        Self::default()
    }
    /// Asks to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
    /// Whether somebody asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// One line of output, without its newline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where it came from.
    pub stream: Stream,
    /// The text; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// A command to be run: program and arguments, nothing that a shell would interpret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Program name (looked up in [`PATH`]) or absolute path.
    pub program: String,
    /// Arguments, without the program.
    pub args: Vec<String>,
    /// The whole environment beside `PATH` and `LC_ALL=C.UTF-8`.
    pub env: Vec<(String, String)>,
    /// Working directory; `/` when none is given.
    pub cwd: Option<PathBuf>,
    /// Bytes for standard input; nothing (`/dev/null`) when none are given.
    pub stdin: Option<Vec<u8>>,
    /// An open file as standard input, read from where it stands; for more than fits into memory.
    pub stdin_file: Option<Inherited>,
    /// Ended after this long.
    pub timeout: Option<Duration>,
    /// User and group to run as; the own ones when none are given.
    pub identity: Option<(u32, u32)>,
    /// What it may use at most.
    pub limits: Limits,
    /// Open files beside the standard three.
    pub inherit: Vec<Inherited>,
}

impl Command {
    /// A command without arguments.
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
            stdin: None,
            stdin_file: None,
            timeout: None,
            identity: None,
            limits: Limits::default(),
            inherit: Vec::new(),
        }
    }
    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }
    /// Adds several arguments.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }
    /// Sets one variable of the otherwise empty environment.
    #[must_use]
    pub fn env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }
    /// Sets the working directory.
    #[must_use]
    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cwd = Some(dir.into());
        self
    }
    /// Gives bytes for standard input (for instance a password, which must never be an argument).
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }
    /// Gives an open file for standard input.
    #[must_use]
    pub fn stdin_file(mut self, file: Inherited) -> Self {
        self.stdin_file = Some(file);
        self
    }
    /// Ends the command after `timeout`.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
    /// Runs as this user and group, without supplementary groups (only root can).
    #[must_use]
    pub fn identity(mut self, uid: u32, gid: u32) -> Self {
        self.identity = Some((uid, gid));
        self
    }

    /// Sets what it may use at most.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
    /// Lets it inherit one more open file.
    #[must_use]
    pub fn inherit(mut self, file: Inherited) -> Self {
        self.inherit.push(file);
        self
    }

    /// The command as a person could paste it into a shell.
    pub fn display(&self) -> String {
        std::iter::once(&self.program).chain(&self.args).map(|a| quote(a)).collect::<Vec<_>>().join(" ")
    }
}

/// Quotes one word for a POSIX shell, only where needed.
pub(crate) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%^".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// What a finished command left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// Exit status; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Whether it exited with 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }
}

/// A command that did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The program is not there or cannot be executed.
    #[error("could not start `{command}`: {source}")]
    Start {
        /// The command as one could paste it.
        command: String,
        /// Why.
        source: std::io::Error,
    },
    /// It ended with a status other than 0.
    #[error("`{command}` failed with {status}{}", tail(.stderr))]
    Failed {
        /// The command as one could paste it.
        command: String,
        /// `exit status 2` or `signal 9`.
        status: String,
        /// The end of its standard error.
        stderr: String,
    },
    /// It took longer than it may.
    #[error("`{command}` was ended after {seconds} s without finishing")]
    TimedOut {
        /// The command as one could paste it.
        command: String,
        /// How long it had.
        seconds: u64,
    },
    /// It was ended because somebody asked to stop.
    #[error("`{command}` was cancelled")]
    Cancelled {
        /// The command as one could paste it.
        command: String,
    },
}

fn tail(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().filter(|l| !l.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(12);
    if lines.is_empty() { String::new() } else { format!(":\n{}", lines[from..].join("\n")) }
}

/// Runs commands; real or fake.
pub trait Runner: Send + Sync {
    /// Runs `command` to its end and hands over each line as it comes.
    ///
    /// # Errors
    /// When it cannot start, takes too long or is cancelled. An exit status other than 0 is *not* an
    /// error here: see [`Runner::run_ok`].
    fn run_lines(
        &self,
        command: &Command,
        cancel: &Cancel,
        on_line: &mut dyn FnMut(&Line),
    ) -> Result<Output, CommandError>;

    /// Runs `command` and takes any exit status.
    ///
    /// # Errors
    /// As [`Runner::run_lines`].
    fn run(&self, command: &Command) -> Result<Output, CommandError> {
        self.run_lines(command, &Cancel::new(), &mut |_| {})
    }

    /// Runs `command`; every exit status but 0 is an error that shows the command and the end of its
    /// standard error.
    ///
    /// # Errors
    /// As [`Runner::run_lines`], and [`CommandError::Failed`].
    fn run_ok(&self, command: &Command) -> Result<Output, CommandError> {
        let output = self.run(command)?;
        check(command, output)
    }
}

/// Turns an exit status other than 0 into an error.
///
/// # Errors
/// [`CommandError::Failed`].
pub fn check(command: &Command, output: Output) -> Result<Output, CommandError> {
    if output.success() {
        return Ok(output);
    }
    let status = match (output.code, output.signal) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".to_owned(),
    };
    // Some tools (make, mokutil) speak about their failure on standard output.
    let said = if output.stderr.trim().is_empty() { output.stdout } else { output.stderr };
    Err(CommandError::Failed { command: command.display(), status, stderr: said })
}

/// Lets `fd` survive exec. Called between fork and exec.
fn keep_open(fd: i32) -> std::io::Result<()> {
    // SAFETY: the descriptor belongs to an `Inherited` that the parent holds while it starts the command.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty()).map_err(Into::into)
}

/// The command as the standard library starts it, all but its standard streams: cleared environment, own
/// process group, dies with the thread that starts it.
pub(super) fn prepared(command: &Command) -> std::process::Command {
    let mut std_command = std::process::Command::new(&command.program);
    std_command
        .args(&command.args)
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C.UTF-8")
        .envs(command.env.iter().map(|(k, v)| (k, v)))
        .current_dir(command.cwd.as_deref().unwrap_or_else(|| std::path::Path::new("/")))
        .process_group(0);
    if let Some((uid, gid)) = command.identity {
        std_command.uid(uid).gid(gid);
    }
    let parent = nix::unistd::getpid();
    let limits = command.limits;
    let inherited: Vec<i32> = command.inherit.iter().map(Inherited::number).collect();
    // SAFETY: between fork and exec only async-signal-safe calls are made (prctl, getppid, setrlimit,
    // setpriority, open, write, close, fcntl), and nothing is allocated.
    unsafe {
        std_command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
            apply_limits(&limits)?;
            for fd in &inherited {
                keep_open(*fd)?;
            }
            // The parent may have died before the line above.
            if nix::unistd::getppid() != parent {
                return Err(std::io::Error::other("the parent process is gone"));
            }
            Ok(())
        });
    }
    std_command
}

/// The machine's own processes.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealRunner;

enum Message {
    Line(Line),
    End,
}

fn read_lines(stream: Stream, from: impl std::io::Read, to: &Sender<Message>) {
    let mut reader = BufReader::new(from);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        // A line longer than a mebibyte is handed over in parts rather than kept growing.
        match std::io::Read::take(&mut reader, 1 << 20).read_until(b'\n', &mut bytes) {
            Ok(0) | Err(_) => break,
            Ok(_) => {
                let text = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned();
                if to.send(Message::Line(Line { stream, text })).is_err() {
                    break;
                }
            }
        }
    }
    let _ = to.send(Message::End);
}

/// Standard input: given bytes, a given file, or nothing.
fn stdin_of(command: &Command) -> std::io::Result<Stdio> {
    match &command.stdin_file {
        Some(file) => Ok(Stdio::from(file.as_fd().try_clone_to_owned()?)),
        None if command.stdin.is_some() => Ok(Stdio::piped()),
        None => Ok(Stdio::null()),
    }
}

impl Runner for RealRunner {
    fn run_lines(
        &self,
        command: &Command,
        cancel: &Cancel,
        on_line: &mut dyn FnMut(&Line),
    ) -> Result<Output, CommandError> {
        tracing::debug!(command = %command.display(), "run");
        let start_error = |source| CommandError::Start { command: command.display(), source };
        let mut std_command = prepared(command);
        std_command
            .stdin(stdin_of(command).map_err(start_error)?)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = std_command.spawn().map_err(start_error)?;
        let group = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
        let (sender, lines) = channel();
        let mut readers = Vec::new();
        if let Some(out) = child.stdout.take() {
            let sender = sender.clone();
            readers.push(std::thread::spawn(move || read_lines(Stream::Out, out, &sender)));
        }
        if let Some(err) = child.stderr.take() {
            let sender = sender.clone();
            readers.push(std::thread::spawn(move || read_lines(Stream::Err, err, &sender)));
        }
        drop(sender);
        if let (Some(mut stdin), Some(bytes)) = (child.stdin.take(), command.stdin.clone()) {
            std::thread::spawn(move || {
                let _ = stdin.write_all(&bytes);
            });
        }

        let began = Instant::now();
        let mut output = Output::default();
        let mut open = readers.len();
        let mut stopped: Option<CommandError> = None;
        let mut stop_sent: Option<Instant> = None;
        let mut exited = None;
        let mut drained_since: Option<Instant> = None;
        while open > 0 {
            match lines.recv_timeout(Duration::from_millis(50)) {
                Ok(Message::Line(line)) => {
                    let kept = match line.stream {
                        Stream::Out => &mut output.stdout,
                        Stream::Err => &mut output.stderr,
                    };
                    if kept.len() + line.text.len() < KEEP {
                        kept.push_str(&line.text);
                        kept.push('\n');
                    }
                    on_line(&line);
                }
                Ok(Message::End) => open -= 1,
                Err(RecvTimeoutError::Timeout) => {
                    // A grandchild may hold the pipes open after the command itself has ended.
                    if exited.is_none() {
                        exited = child.try_wait().ok().flatten();
                    }
                    if exited.is_some() {
                        let since = drained_since.get_or_insert_with(Instant::now);
                        if since.elapsed() > Duration::from_secs(1) {
                            break;
                        }
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if stopped.is_none() {
                if cancel.is_cancelled() {
                    stopped = Some(CommandError::Cancelled { command: command.display() });
                } else if command.timeout.is_some_and(|t| began.elapsed() > t) {
                    let seconds = command.timeout.map_or(0, |t| t.as_secs());
                    stopped = Some(CommandError::TimedOut { command: command.display(), seconds });
                }
                if stopped.is_some() {
                    let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGTERM);
                    stop_sent = Some(Instant::now());
                }
            } else if stop_sent.is_some_and(|t| t.elapsed() > Duration::from_secs(2)) {
                let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
                stop_sent = None;
            }
        }
        let status = match exited {
            Some(status) => status,
            None => child.wait().map_err(start_error)?,
        };
        if let Some(error) = stopped {
            return Err(error);
        }
        output.code = status.code();
        output.signal = status.signal();
        Ok(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_status_come_back_apart() {
        let cmd = Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]);
        let output = RealRunner.run(&cmd).unwrap();
        assert_eq!(
            output,
            Output { code: Some(3), signal: None, stdout: "out\n".into(), stderr: "err\n".into() }
        );
        let error = RealRunner.run_ok(&cmd).unwrap_err().to_string();
        assert_eq!(error, "`sh -c 'echo out; echo err >&2; exit 3'` failed with exit status 3:\nerr");
    }

    #[test]
    fn the_environment_is_empty_but_for_what_is_given() {
        let output = RealRunner.run(&Command::new("env").env("A", "b c")).unwrap();
        let mut lines: Vec<&str> = output.stdout.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["A=b c", "LC_ALL=C.UTF-8", &format!("PATH={PATH}")]);
    }

    #[test]
    fn standard_input_is_empty_unless_given() {
        assert_eq!(RealRunner.run(&Command::new("cat")).unwrap().stdout, "");
        assert_eq!(RealRunner.run(&Command::new("cat").stdin("secret")).unwrap().stdout, "secret\n");
    }

    #[test]
    fn an_open_file_is_read_from_where_it_stands() {
        use std::io::{Seek, SeekFrom};
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"not this, but this").unwrap();
        file.seek(SeekFrom::Start(10)).unwrap();
        let command = Command::new("cat").stdin_file(Inherited::new(file.into()));
        assert_eq!(RealRunner.run(&command).unwrap().stdout, "but this\n");
    }

    #[test]
    fn a_cancelled_command_ends_with_all_its_children() {
        let cancel = Cancel::new();
        let asked = cancel.clone();
        let mut pids = Vec::new();
        let cmd = Command::new("sh").args(["-c", "sleep 60 & echo $!; wait"]);
        let error = RealRunner
            .run_lines(&cmd, &cancel, &mut |line| {
                pids.push(line.text.parse::<i32>().unwrap());
                asked.cancel();
            })
            .unwrap_err();
        assert!(matches!(error, CommandError::Cancelled { .. }));
        std::thread::sleep(Duration::from_millis(100));
        let gone = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pids[0]), None);
        let zombie =
            std::fs::read_to_string(format!("/proc/{}/stat", pids[0])).is_ok_and(|s| s.contains(") Z"));
        assert!(gone.is_err() || zombie, "the child of the cancelled command still runs");
    }

    #[test]
    fn a_command_that_takes_too_long_is_ended() {
        let cmd = Command::new("sleep").arg("60").timeout(Duration::from_millis(100));
        assert!(matches!(RealRunner.run(&cmd), Err(CommandError::TimedOut { .. })));
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = RealRunner.run(&Command::new("no-such-program-here")).unwrap_err().to_string();
        assert!(error.starts_with("could not start `no-such-program-here`"), "{error}");
    }

    #[test]
    fn words_are_quoted_as_a_shell_reads_them() {
        assert_eq!(Command::new("a").args(["b c", "", "it's", "x=1"]).display(), r"a 'b c' '' 'it'\''s' x=1");
    }
}
