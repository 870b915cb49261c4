// SPDX-License-Identifier: GPL-3.0-or-later
//! The runs of a machine.

use super::error::RunError;
use super::event::Event;
use super::folders::{RunFolder, numbers};
use super::journal::{JournalError, RunState};
use super::report::{Owner, RunSummary};
use crate::host::Host;
use jiff::Timestamp;

/// All runs, newest first. One whose records cannot be read is listed with the reason; one that was
/// stopped before its first record changed nothing and is left out.
///
/// # Errors
/// When the folder of the runs cannot be read.
pub fn runs(host: &Host) -> Result<Vec<RunSummary>, RunError> {
    let mut runs = Vec::new();
    for run in numbers(host.root())? {
        match one(host, run) {
            Ok(summary) => runs.extend(summary),
            Err(error) => runs.push(unreadable(run, &error)),
        }
    }
    Ok(runs)
}

fn one(host: &Host, run: u32) -> Result<Option<RunSummary>, JournalError> {
    let folder = RunFolder::of(run);
    let Some(history) = folder.history(host.root())? else { return Ok(None) };
    if history.end.is_some() {
        return Ok(Some(history.summary(false)));
    }
    if folder.is_live(host.root())? {
        return Ok(Some(history.summary(true)));
    }
    // It may have ended between the two looks.
    Ok(folder.history(host.root())?.map(|h| h.summary(false)))
}

fn unreadable(run: u32, error: &JournalError) -> RunSummary {
    RunSummary {
        run,
        flow: String::new(),
        title: "its records cannot be read".to_owned(),
        state: RunState::Failed,
        owner: Owner { uid: 0, name: String::new() },
        started: Timestamp::UNIX_EPOCH,
        ended: None,
        digest: String::new(),
        choices: serde_json::Value::Null,
        steps: Vec::new(),
        message: None,
        log: None,
        can_undo: false,
        awaits: Vec::new(),
        problem: Some(error.to_string()),
    }
}

/// The events of a run, as they came; without progress, and with long logs cut short.
///
/// # Errors
/// When there is no such run or they cannot be read.
pub fn events(host: &Host, run: u32) -> Result<Vec<Event>, RunError> {
    let folder = RunFolder::of(run);
    if folder.history(host.root())?.is_none() {
        return Err(RunError::NoSuchRun { run });
    }
    let text = match host.root().read_text(&folder.events()) {
        Err(e) if e.is_not_found() => return Ok(Vec::new()),
        other => other?,
    };
    // A last line may be half written; events of a later version are passed over.
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}
