// SPDX-License-Identifier: GPL-3.0-or-later
//! What a step has at hand while it is carried out or taken back.

use super::error::StepError;
use super::event::{Event, Level};
use super::report::Inputs;
use crate::host::{Cancel, Command, FileState, Host, Output};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What a step found, so that it can be put back. Written to the journal, synced, before the change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// The state of each path that the step may change; the bytes of files are in the run's store.
    pub files: BTreeMap<String, FileState>,
    /// Directories that are missing and that the step may create, topmost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dirs: Vec<String>,
    /// Whether the files can be made anew by a tool at any time (module index, initramfs). When such a
    /// file changed since, undo does not stop: it is made anew at the end ([`Action::settle`]).
    ///
    /// [`Action::settle`]: super::steps::Action::settle
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub derived: bool,
    /// What else the step must know to be taken back (modules that were loaded…).
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
}

/// How a step left the machine. Recorded by the engine after [`Action::apply`](super::steps::Action::apply).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct After {
    /// The state of each path of [`Before`], and of those in [`Applied::also`].
    pub files: BTreeMap<String, FileState>,
    /// Directories that the step created, topmost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dirs: Vec<String>,
    /// What else the step did ([`Applied::data`]).
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
}

/// What a step says about its work. The engine records the states of files by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Whether it found all as it should be and changed nothing.
    pub unchanged: bool,
    /// Files that it made beside those of [`Before`] and that were not there before.
    pub also: Vec<String>,
    /// What else it did, for undo.
    pub data: Value,
}

/// What a step has at hand: the machine, the inputs of the run, its private folder and its voice.
pub struct Context<'a> {
    host: &'a Host,
    run: u32,
    step: usize,
    inputs: &'a Inputs,
    artifacts: &'a mut BTreeMap<(String, String), String>,
    cancel: &'a Cancel,
}

impl<'a> Context<'a> {
    /// The machine.
    pub fn host(&self) -> &'a Host {
        self.host
    }

    /// Number of the run.
    pub fn run_number(&self) -> u32 {
        self.run
    }

    /// Number of the step, from 0.
    pub fn step(&self) -> usize {
        self.step
    }

    /// What came with the run. Empty while a run is undone.
    pub fn inputs(&self) -> &'a Inputs {
        self.inputs
    }

    /// The wish to stop; [`Context::command`] obeys it by itself.
    pub fn cancel(&self) -> &'a Cancel {
        self.cancel
    }

    /// An error when somebody asked to stop; call it between parts of long work.
    ///
    /// # Errors
    /// [`StepError::Cancelled`].
    pub fn stop_if_cancelled(&self) -> Result<(), StepError> {
        if self.cancel.is_cancelled() { Err(StepError::Cancelled) } else { Ok(()) }
    }

    /// A private folder (mode 0700) of this run inside the root, removed when the run ends.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn work_dir(&self) -> Result<String, StepError> {
        todo!()
    }

    /// Says where a built and checked module is (a path inside the root), for the step that installs it.
    pub fn set_artifact(&mut self, kernel: &str, module: &str, path: &str) {
        self.artifacts.insert((kernel.to_owned(), module.to_owned()), path.to_owned());
    }

    /// Where this run's module for that kernel is, if it was built.
    pub fn artifact(&self, kernel: &str, module: &str) -> Option<&str> {
        self.artifacts.get(&(kernel.to_owned(), module.to_owned())).map(String::as_str)
    }

    /// Says where the log of the work is (a path inside the root), for the report of the run.
    pub fn set_log(&mut self, _path: &str) {
        todo!()
    }

    /// Tells an event.
    pub fn emit(&self, _event: Event) {
        todo!()
    }

    /// Tells progress inside the step.
    pub fn progress(&self, done: u64, total: u64, unit: &str) {
        self.emit(Event::Progress { step: self.step, done, total, unit: unit.to_owned() });
    }

    /// Tells a finding of the step.
    pub fn say(&self, level: Level, message: impl Into<String>) {
        let message = message.into();
        self.emit(Event::Diagnostic { step: self.step, level, file: None, line: None, message });
    }

    /// Runs a command as it is given, its lines as [`Event::Log`], obeying the wish to stop; every exit
    /// status but 0 is an error.
    ///
    /// # Errors
    /// [`StepError::Command`].
    pub fn command(&self, _command: &Command) -> Result<Output, StepError> {
        todo!()
    }

    /// Runs a tool of this machine: as it is on the running machine, inside the tree of a complete
    /// scratch root.
    ///
    /// # Errors
    /// As [`Context::command`], and [`StepError::Refused`] on a partial root, which has no tools.
    pub fn tool(&self, command: Command) -> Result<Output, StepError> {
        let shown = command.display();
        let Some(command) = self.host.tool(command) else {
            return Err(StepError::refused(
                format!("`{shown}` cannot be run: this root has no tools of its own"),
                "use a root with a whole system in it, or leave this step out",
            ));
        };
        self.command(&command)
    }

    /// Records the state of these paths, keeps the bytes of files in the run's store, and names the
    /// directories above them that are missing.
    ///
    /// # Errors
    /// When one is a directory or device where a file should go, or cannot be read, or the store cannot
    /// be written.
    pub fn remember(&self, _paths: &[&str]) -> Result<Before, StepError> {
        todo!()
    }

    /// Writes a file and creates the directories above it (mode 0755). What is about to be placed is
    /// recorded in the journal first, so that an interrupted run knows its own files again.
    ///
    /// # Errors
    /// When the journal or the file cannot be written; the old file is then untouched.
    pub fn write(&self, _path: &str, _bytes: &[u8], _mode: u32) -> Result<(), StepError> {
        todo!()
    }

    /// Removes a file or link, recorded in the journal first.
    ///
    /// # Errors
    /// When the journal cannot be written or the file cannot be removed.
    pub fn remove(&self, _path: &str) -> Result<(), StepError> {
        todo!()
    }

    /// Puts the files of `before` back: bytes, mode, owner, times and attributes. Looks at all of them
    /// first: where one is neither as it was before nor as this step left it (or was about to), nothing
    /// is touched. Directories that the step created are removed when they are empty.
    ///
    /// # Errors
    /// [`StepError::Drift`] for the first path that changed since.
    pub fn restore(&mut self, _before: &Before, _after: Option<&After>) -> Result<(), StepError> {
        todo!()
    }
}
