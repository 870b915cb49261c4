// SPDX-License-Identifier: GPL-3.0-or-later
//! A machine of a test's own: a directory tree, scripted commands, a clock that stands still.

use super::command::{Cancel, Command, CommandError, Line, Output, Runner, Stream};
use super::{Clock, Host, HostError, HostKind, Root};
use jiff::Timestamp;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Answers a command, or leaves it to the next answerer.
pub type Answer = Box<dyn Fn(&Command) -> Option<Output> + Send + Sync>;

/// A runner that starts nothing: answers come from the test, and every call is kept.
#[derive(Default)]
pub struct FakeRunner {
    answers: Vec<Answer>,
    calls: Mutex<Vec<Command>>,
}

impl FakeRunner {
    /// A runner that knows no command.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers every command for which `answer` returns something.
    #[must_use]
    pub fn answer(mut self, answer: impl Fn(&Command) -> Option<Output> + Send + Sync + 'static) -> Self {
        self.answers.push(Box::new(answer));
        self
    }

    /// Answers a program with success and this standard output, whatever its arguments.
    #[must_use]
    pub fn ok(self, program: &str, stdout: &str) -> Self {
        let (program, stdout) = (program.to_owned(), stdout.to_owned());
        self.answer(move |c| {
            (c.program == program).then(|| Output {
                code: Some(0),
                stdout: stdout.clone(),
                ..Output::default()
            })
        })
    }

    /// Answers a program with a failure.
    #[must_use]
    pub fn fails(self, program: &str, code: i32, stderr: &str) -> Self {
        let (program, stderr) = (program.to_owned(), stderr.to_owned());
        self.answer(move |c| {
            (c.program == program).then(|| Output {
                code: Some(code),
                stderr: stderr.clone(),
                ..Output::default()
            })
        })
    }

    /// The commands asked for so far, as one could paste them.
    pub fn calls(&self) -> Vec<String> {
        self.calls.lock().map(|c| c.iter().map(Command::display).collect()).unwrap_or_default()
    }
}

impl Runner for FakeRunner {
    fn run_lines(
        &self,
        command: &Command,
        cancel: &Cancel,
        on_line: &mut dyn FnMut(&Line),
    ) -> Result<Output, CommandError> {
        if let Ok(mut calls) = self.calls.lock() {
            calls.push(command.clone());
        }
        if cancel.is_cancelled() {
            return Err(CommandError::Cancelled { command: command.display() });
        }
        let Some(output) = self.answers.iter().find_map(|a| a(command)) else {
            return Err(CommandError::Start {
                command: command.display(),
                source: std::io::Error::new(std::io::ErrorKind::NotFound, "not on this fake machine"),
            });
        };
        for text in output.stdout.lines() {
            on_line(&Line { stream: Stream::Out, text: text.to_owned() });
        }
        for text in output.stderr.lines() {
            on_line(&Line { stream: Stream::Err, text: text.to_owned() });
        }
        Ok(output)
    }
}

/// A clock that stands still.
#[derive(Debug, Clone, Copy)]
pub struct StillClock(pub Timestamp);

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// A host on `dir` with this runner, at 2026-01-02 03:04:05 UTC. `kind` says what it pretends to be.
///
/// # Errors
/// When the directory cannot be opened.
pub fn host(dir: &Path, runner: Arc<FakeRunner>, kind: HostKind) -> Result<Host, HostError> {
    let clock = StillClock(Timestamp::from_second(1_767_323_045).unwrap_or(Timestamp::UNIX_EPOCH));
    Ok(Host::from_parts(Root::open(dir)?, runner, Arc::new(clock), kind))
}
