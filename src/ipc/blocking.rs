// SPDX-License-Identifier: GPL-3.0-or-later
//! The client for callers without async: the command line. Each call waits for its answer.

use super::remote::{Asking, Link, Place};
use super::{Error, PlanPreview, RunEvent, RunProxy, Sealed};
use crate::engine::{Plan, RunState, RunSummary, UndoPreview};
use async_io::block_on;
use serde_json::Value;
use std::sync::Arc;

/// See [`ipc::Client`](super::Client).
#[derive(Debug, Clone)]
pub struct Client(super::Client);

impl Client {
    /// Connects to the system bus. The helper itself is started by the first call.
    ///
    /// # Errors
    /// [`Error::NoBus`].
    pub fn connect() -> Result<Self, Error> {
        block_on(super::Client::connect()).map(Self)
    }

    /// See [`ipc::Client::connect_to`](super::Client::connect_to).
    ///
    /// # Errors
    /// [`Error::Unreachable`] with what ssh says.
    pub fn connect_to(place: &Place, asking: &Asking) -> Result<Self, Error> {
        block_on(super::Client::connect_to(place, asking)).map(Self)
    }

    /// The way to another machine, if it is one.
    pub fn link(&self) -> Option<&Arc<Link>> {
        self.0.link()
    }

    /// Whether a person may be asked for a password (yes, if nothing else is said).
    #[must_use]
    pub fn interactive(self, yes: bool) -> Self {
        Self(self.0.interactive(yes))
    }

    /// See [`ipc::Client::gather`](super::Client::gather).
    ///
    /// # Errors
    /// See [`Error`].
    pub fn gather(&self) -> Result<Value, Error> {
        block_on(self.0.gather())
    }

    /// See [`ipc::Client::plan`](super::Client::plan).
    ///
    /// # Errors
    /// See [`Error`].
    pub fn plan(&self, flow: &str, choices: &Value, files: &[Sealed]) -> Result<Plan, Error> {
        block_on(self.0.plan(flow, choices, files))
    }

    /// See [`ipc::Client::preview`](super::Client::preview).
    ///
    /// # Errors
    /// See [`Error`].
    pub fn preview(&self, flow: &str, choices: &Value, files: &[Sealed]) -> Result<PlanPreview, Error> {
        block_on(self.0.preview(flow, choices, files))
    }

    /// See [`ipc::Client::execute`](super::Client::execute).
    ///
    /// # Errors
    /// See [`Error`].
    pub fn execute(&self, flow: &str, choices: &Value, digest: &str, files: &[Sealed]) -> Result<Run, Error> {
        block_on(self.0.execute(flow, choices, digest, files)).map(Run)
    }

    /// See [`ipc::Client::undo_preview`](super::Client::undo_preview).
    ///
    /// # Errors
    /// See [`Error`].
    pub fn undo_preview(&self, run: u32) -> Result<UndoPreview, Error> {
        block_on(self.0.undo_preview(run))
    }

    /// See [`ipc::Client::undo`](super::Client::undo).
    ///
    /// # Errors
    /// See [`Error`].
    pub fn undo(&self, run: u32) -> Result<Run, Error> {
        block_on(self.0.undo(run)).map(Run)
    }

    /// See [`ipc::Client::prune`](super::Client::prune).
    ///
    /// # Errors
    /// See [`Error`].
    pub fn prune(&self, numbers: &[u32], lose_undo: bool) -> Result<Vec<u32>, Error> {
        block_on(self.0.prune(numbers, lose_undo))
    }

    /// See [`ipc::Client::runs`](super::Client::runs).
    ///
    /// # Errors
    /// See [`Error`].
    pub fn runs(&self) -> Result<Vec<RunSummary>, Error> {
        block_on(self.0.runs())
    }

    /// See [`ipc::Client::run`](super::Client::run).
    ///
    /// # Errors
    /// See [`Error`].
    pub fn run(&self, number: u32) -> Result<Run, Error> {
        block_on(self.0.run(number)).map(Run)
    }
}

/// See [`ipc::Run`](super::Run).
#[derive(Debug)]
pub struct Run(super::Run);

impl Run {
    /// Its number.
    pub fn number(&self) -> u32 {
        self.0.number()
    }

    /// A handle for another thread: a signal handler cancels with it while this one follows the events.
    pub fn control(&self) -> Control {
        Control(self.0.control())
    }

    /// Where it stands.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn state(&self) -> Result<RunState, Error> {
        block_on(self.0.state())
    }

    /// The step it is at (from 1; 0 before the first), how many there are, and its title.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn step(&self) -> Result<(u32, u32, String), Error> {
        block_on(self.0.step())
    }

    /// How far it is, from 0 to 1.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn progress(&self) -> Result<f64, Error> {
        block_on(self.0.progress())
    }

    /// See [`ipc::Run::log`](super::Run::log).
    ///
    /// # Errors
    /// See [`Error`].
    pub fn log(&self, from: u64) -> Result<(Vec<String>, u64, bool), Error> {
        block_on(self.0.log(from))
    }

    /// All its events in order, to its end; waits for each.
    pub fn follow(self) -> impl Iterator<Item = Result<RunEvent, Error>> + Send {
        self.follow_from(0)
    }

    /// The same without those before number `from`, which are known already.
    pub fn follow_from(self, from: u64) -> impl Iterator<Item = Result<RunEvent, Error>> + Send {
        let mut follow = self.0.follow().from(from);
        std::iter::from_fn(move || block_on(follow.next()))
    }
}

/// A handle on a run for another thread.
#[derive(Debug, Clone)]
pub struct Control(RunProxy<'static>);

impl Control {
    /// Asks the run to stop and to take back what it did. Returns at once.
    ///
    /// # Errors
    /// [`Error::NotAuthorized`] when it is somebody else's.
    pub fn cancel(&self) -> Result<(), Error> {
        Ok(block_on(self.0.cancel())?)
    }
}
