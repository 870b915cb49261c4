// SPDX-License-Identifier: GPL-3.0-or-later
//! What is worth telling of a run that is over, beside its report: where it stopped, and what the files say that the
//! guest handed over.

use super::diagnose::{self, Configuration, Rejected};
use crate::guest::{CONSOLE, Outcome, Report};
use serde::Serialize;
use std::path::Path;

/// Most of a handed-over file that is read, bytes.
const READ: u64 = 8 << 20;

/// Lines of a stage that are told.
const LINES: usize = 20;

/// What a handed-over file tells.
#[derive(Debug, Clone, Serialize)]
pub struct Told {
    /// Its name, relative to the run's folder.
    pub file: String,
    /// Whether a configuration (JSON) can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration: Option<Configuration>,
    /// The field of it that a log says was not accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected: Option<Rejected>,
    /// The lines of a log that tell of a failure, with their numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<(usize, String)>,
}

/// The stage in which a run that did not end well stopped, and the console's lines from there on.
pub fn stopped(folder: &Path, report: &Report) -> Option<(String, Vec<String>)> {
    if report.success()
        || matches!(report.outcome, Outcome::Exited { .. } | Outcome::Cancelled | Outcome::Stopped)
    {
        return None;
    }
    let stage = report.stages.iter().rev().find(|s| s.name != "end")?;
    let console = std::fs::read(folder.join(CONSOLE)).unwrap_or_default();
    let console = String::from_utf8_lossy(&console);
    let from = stage.console_lines;
    let lines: Vec<String> =
        console.lines().skip(from).filter(|l| !l.trim().is_empty()).map(str::to_owned).collect();
    let skip = lines.len().saturating_sub(LINES);
    Some((stage.name.clone(), lines[skip..].to_vec()))
}

/// What the files that a guest handed over tell.
pub fn read_files(folder: &Path, report: &Report) -> Vec<Told> {
    use std::io::Read;
    let read = |name: &str| {
        let mut text = Vec::new();
        std::fs::File::open(folder.join(name)).ok()?.take(READ).read_to_end(&mut text).ok()?;
        Some(String::from_utf8_lossy(&text).into_owned())
    };
    let is_json = |name: &str| name.ends_with(".json");
    let logs: Vec<(String, String)> =
        report.collected.iter().filter(|n| !is_json(n)).filter_map(|n| Some((n.clone(), read(n)?))).collect();
    let mut told = Vec::new();
    for name in report.collected.iter().filter(|n| is_json(n)) {
        let Some(text) = read(name) else { continue };
        let rejected = logs.iter().find_map(|(_, log)| diagnose::rejected(log, &text));
        told.push(Told {
            file: name.clone(),
            configuration: Some(diagnose::configuration(&text)),
            rejected,
            failing: Vec::new(),
        });
    }
    for (file, log) in logs {
        let failing = diagnose::failing_lines(&log);
        told.push(Told { file, configuration: None, rejected: None, failing });
    }
    told
}

/// What an image's own command came to, as the guest's agent told it (`autorun:RESULT:STATUS`, the words of
/// systemd.exec(5)): nothing, or why it failed. `None`: nothing was heard of it.
pub fn autorun(report: &Report) -> Option<Result<(), String>> {
    let end = report.stages.iter().find_map(|s| s.name.strip_prefix("autorun:"))?;
    if end.starts_with("success:") {
        return Some(Ok(()));
    }
    Some(Err(match end.split_once(':') {
        Some(("exit-code", status)) => format!("It ended with status {status}."),
        Some(("signal" | "core-dump", signal)) => format!("Signal {signal} ended it."),
        _ => format!("systemd says: {end}."),
    }))
}
