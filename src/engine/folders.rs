// SPDX-License-Identifier: GPL-3.0-or-later
//! Where the runs of a machine are, below its root.

use super::error::RunError;
use super::journal::{self, History, JournalError};
use super::plan::{PLAN_VERSION, Plan};
use super::store::Store;
use crate::host::{FileKind, Host, HostError, Root};
use std::io;

/// What Hostwright keeps on a machine.
pub(super) const STATE: &str = "/var/lib/hostwright";
/// The runs, one folder each, for root only.
pub(super) const RUNS: &str = "/var/lib/hostwright/runs";
/// Held by whoever changes the machine.
pub const LOCK: &str = "/run/hostwright/lock";

/// The largest plan that is read.
const PLAN_LIMIT: u64 = 256 << 20;

/// Kept free for the records of taking back, should the disk be full by then; in bytes.
const RESERVE: usize = 256 << 10;

/// The folder of one run.
#[derive(Debug, Clone)]
pub(super) struct RunFolder {
    /// Number of the run.
    pub run: u32,
    dir: String,
}

impl RunFolder {
    pub fn of(run: u32) -> Self {
        Self { run, dir: format!("{RUNS}/{run:04}") }
    }

    /// Makes the folder of the next run. The machine's lock must be held.
    pub fn next(root: &Root) -> Result<Self, HostError> {
        root.create_dirs(STATE, 0o755)?;
        root.create_dirs(RUNS, 0o700)?;
        let folder = Self::of(numbers(root)?.first().map_or(1, |n| n + 1));
        root.create_dirs(&folder.dir, 0o700)?;
        Ok(folder)
    }

    pub fn plan(&self) -> String {
        format!("{}/plan.json", self.dir)
    }

    pub fn journal(&self) -> String {
        format!("{}/journal.jsonl", self.dir)
    }

    pub fn events(&self) -> String {
        format!("{}/events.jsonl", self.dir)
    }

    pub fn work(&self) -> String {
        format!("{}/work", self.dir)
    }

    pub fn store(&self) -> Store {
        Store::new(format!("{}/blobs", self.dir))
    }

    /// Sets space aside for the records of taking back.
    pub fn reserve(&self, root: &Root) -> Result<(), HostError> {
        // Written, not only extended: a hole is no space.
        root.write(&format!("{}/reserve", self.dir), &vec![0xff; RESERVE], 0o600, None)
    }

    /// Frees what was set aside, and the private folder of the steps. Nothing depends on either.
    pub fn tidy(&self, root: &Root) {
        let reserve = root.remove_file(&format!("{}/reserve", self.dir));
        if let Err(error) = reserve.or_else(|e| if e.is_not_found() { Ok(()) } else { Err(e) }) {
            tracing::warn!(%error, "left behind");
        }
        self.remove_all(root, "work");
    }

    /// Frees the old bytes of files, once every one of them is where it was.
    pub fn forget_copies(&self, root: &Root) {
        self.remove_all(root, "blobs");
    }

    fn remove_all(&self, root: &Root, name: &str) {
        let removed = root.dir(&self.dir).map(|dir| dir.remove_dir_all(name));
        match removed {
            Ok(Err(error)) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, dir = self.dir, name, "left behind");
            }
            Err(error) => tracing::warn!(%error, "left behind"),
            Ok(_) => {}
        }
    }

    /// Removes the folder of a run that could not be begun, or is forgotten; false when it stays.
    pub fn discard(&self, root: &Root) -> bool {
        let name = format!("{:04}", self.run);
        let removed = root.dir(RUNS).map(|runs| {
            // What is removed half only is no run any more: the journal goes first.
            let journal = runs.remove_file(format!("{name}/journal.jsonl"));
            match journal {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => runs.remove_dir_all(&name),
            }
        });
        let gone = matches!(removed, Ok(Ok(())));
        if !gone {
            tracing::warn!(dir = self.dir, "the folder of a run stays");
        }
        gone
    }

    /// Writes the plan, synced.
    pub fn write_plan(&self, root: &Root, plan: &Plan) -> Result<(), HostError> {
        let path = self.plan();
        let bytes = serde_json::to_vec_pretty(plan).map_err(|e| HostError {
            path: path.clone(),
            what: "could not write",
            source: io::Error::other(e),
        })?;
        root.write(&path, &bytes, 0o600, None)
    }

    /// Reads the plan of a run that is to be taken back.
    pub fn read_plan(&self, root: &Root) -> Result<Plan, RunError> {
        let path = self.plan();
        let bytes = root.read_at_most(&path, PLAN_LIMIT)?;
        let damaged =
            |what: String| RunError::Journal(JournalError::Damaged { path: path.clone(), line: 1, what });
        let version = serde_json::from_slice::<serde_json::Value>(&bytes)
            .map_err(|e| damaged(format!("it is no JSON document ({e})")))?;
        let version = version.get("version").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if version > u64::from(PLAN_VERSION) {
            let version = u32::try_from(version).unwrap_or(u32::MAX);
            return Err(JournalError::Newer { path, version }.into());
        }
        serde_json::from_slice(&bytes).map_err(|e| damaged(format!("it is no plan ({e})")))
    }

    /// What the journal adds up to; `None` when the run was never begun.
    pub fn history(&self, root: &Root) -> Result<Option<History>, JournalError> {
        match journal::read(root, &self.journal()) {
            Err(JournalError::Host(e)) if e.is_not_found() => Ok(None),
            other => other,
        }
    }

    /// Whether a process is at it now.
    pub fn is_live(&self, root: &Root) -> Result<bool, JournalError> {
        journal::is_live(root, &self.journal())
    }
}

/// The numbers of the runs that have a folder, newest first.
pub(super) fn numbers(root: &Root) -> Result<Vec<u32>, HostError> {
    let entries = match root.list(RUNS) {
        Err(e) if e.is_not_found() => return Ok(Vec::new()),
        other => other?,
    };
    let mut numbers: Vec<u32> = entries
        .iter()
        .filter(|e| e.kind == FileKind::Directory)
        .filter(|e| e.name.len() >= 4 && e.name.bytes().all(|b| b.is_ascii_digit()))
        .filter_map(|e| e.name.parse().ok())
        .collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    Ok(numbers)
}

/// The first run, newest first, that was interrupted. Runs of which nothing was begun do not count.
///
/// # Errors
/// When the records of a run cannot be read: it may be one that was interrupted.
pub(super) fn interrupted(host: &Host) -> Result<Option<History>, RunError> {
    let root = host.root();
    for run in numbers(root)? {
        let folder = RunFolder::of(run);
        // Asked under the machine's lock: a run without an end has no process.
        match folder.history(root)? {
            Some(history) if history.end.is_none() => return Ok(Some(history)),
            _ => {}
        }
    }
    Ok(None)
}
