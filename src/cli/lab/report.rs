// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright lab report`.

use super::places::Places;
use super::tell::{trouble, words};
use crate::cli::errors::{Exit, Problem, sentence};
use crate::cli::look::{Look, Mark, clean, count, seconds, table};
use crate::cli::session::Session;
use crate::flows::lab::diagnose::{self, Configuration, Rejected};
use crate::flows::lab::runs;
use crate::guest::{CONSOLE, Outcome, Report as Document, TroubleKind};
use clap::Args;
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// Show what happened in a run of `hostwright lab boot`
///
/// Its timeline, how it ended, where it stopped with the lines of the log from there on, what the kernel complained
/// about, and of the files that the guest handed over: the lines of logs that show a failure, and whether JSON
/// configurations are valid and which of their fields a log says was rejected.
#[derive(Debug, Args)]
pub(crate) struct Report {
    /// The run: its number, its guest's name, or `last`
    #[arg(value_name = "RUN", default_value = "last")]
    run: String,
}

/// Most of a handed-over file that is read, bytes.
const READ: u64 = 8 << 20;

/// Lines of a stage that are shown.
const LINES: usize = 20;

/// What a handed-over file tells.
#[derive(Debug, Serialize)]
struct Told {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    configuration: Option<Configuration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<Rejected>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failing: Vec<(usize, String)>,
}

/// Runs `lab report`.
pub(crate) fn run(session: &mut Session, args: &Report) -> Result<Exit, Problem> {
    let places = Places::find()?;
    let (number, folder) = runs::find(&places.runs, &args.run)?;
    let report = runs::report(&folder)?;
    let told = read_files(&folder, &report);
    let stopped = stopped(&folder, &report);
    if session.json() {
        session.screen.document(&serde_json::json!({
            "run": number, "folder": folder, "report": report, "files": told,
            "stopped": stopped.as_ref().map(|(stage, lines)| serde_json::json!({ "stage": stage, "lines": lines })),
        }))?;
        return Ok(Exit::Done);
    }
    let text = render(session.look(), number, &folder, &report, stopped.as_ref(), &told);
    session.screen.print(&text);
    Ok(Exit::Done)
}

/// The stage in which a run that did not end well stopped, and the console's lines from there on.
fn stopped(folder: &Path, report: &Document) -> Option<(String, Vec<String>)> {
    if report.success()
        || matches!(report.outcome, Outcome::Exited { .. } | Outcome::Cancelled | Outcome::Stopped)
    {
        return None;
    }
    let stage = report.stages.iter().rev().find(|s| s.name != "end")?;
    let console = std::fs::read(folder.join(CONSOLE)).unwrap_or_default();
    let console = String::from_utf8_lossy(&console);
    let from = stage.console_lines;
    let lines: Vec<String> = console.lines().skip(from).filter(|l| !l.trim().is_empty()).map(clean).collect();
    let skip = lines.len().saturating_sub(LINES);
    Some((stage.name.clone(), lines[skip..].to_vec()))
}

fn read_files(folder: &Path, report: &Document) -> Vec<Told> {
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

fn render(
    look: Look,
    number: u32,
    folder: &Path,
    report: &Document,
    stopped: Option<&(String, Vec<String>)>,
    told: &[Told],
) -> String {
    let mark = if report.success() { Mark::Good } else { Mark::Bad };
    let mut out = format!("{}\n", look.bold(&format!("Run {number}: {}", clean(&report.name))));
    out.push_str(&look.item(0, mark, &sentence(&words(report))));
    let kernel = report.kernel.as_deref().map(|k| format!("kernel {}, ", clean(k))).unwrap_or_default();
    out.push_str(&look.wrap(
        &format!("{kernel}run by {} ({})", report.accelerator.name, report.accelerator.reason),
        "  ",
        "  ",
    ));
    out.push_str(&format!("\n{}\n", look.bold("Timeline")));
    let mut before = 0;
    let rows: Vec<Vec<String>> = report
        .stages
        .iter()
        .map(|s| {
            let took = seconds_of(s.at_ms.saturating_sub(before));
            before = s.at_ms;
            vec![
                seconds_of(s.at_ms),
                format!("+{took}"),
                clean(&s.name),
                clean(s.note.as_deref().unwrap_or("")),
            ]
        })
        .collect();
    out.push_str(&table(look, 2, &["", "", "", ""], &rows));
    if let Some((stage, lines)) = stopped {
        out.push_str(&format!("\n{}\n", look.bold(&format!("It stopped in the stage “{}”", clean(stage)))));
        out.extend(lines.iter().map(|l| format!("  {}\n", look.dim(l))));
        if lines.is_empty() {
            out.push_str("  The console says nothing more.\n");
        }
    }
    for trouble_of in &report.troubles {
        let warning = trouble_of.kind == TroubleKind::Warning;
        let mark = if warning { Mark::Warning } else { Mark::Bad };
        out.push_str(&format!("\n{}\n", look.bold(&format!("The kernel: {}", trouble(trouble_of.kind)))));
        out.push_str(&look.item(0, mark, &trouble_of.message));
        let lines = trouble_of.lines.iter().filter(|l| **l != trouble_of.message).take(LINES);
        out.extend(lines.map(|l| format!("    {}\n", look.dim(&clean(l)))));
    }
    if !told.is_empty() {
        out.push_str(&format!("\n{}\n", look.bold(&count(told.len(), "file", "files of the guest"))));
    }
    for file in told {
        files(look, file, &mut out);
    }
    out.push_str(&format!("\nAll of it: {}\n", folder.display()));
    out
}

fn files(look: Look, told: &Told, out: &mut String) {
    let name = clean(&told.file);
    match &told.configuration {
        Some(Configuration::Valid) => out.push_str(&look.item(0, Mark::Good, &format!("{name}: valid JSON"))),
        Some(Configuration::Invalid { line, column, reason, text }) => {
            let what = format!("{name}:{line}:{column}: no valid JSON: {reason}");
            out.push_str(&look.item(0, Mark::Bad, &what));
            out.push_str(&format!("    {}\n", look.dim(&clean(text))));
        }
        None if told.failing.is_empty() => out.push_str(&look.item(0, Mark::Neutral, &name)),
        None => {
            out.push_str(&look.item(0, Mark::Bad, &name));
            for (line, text) in &told.failing {
                out.push_str(&format!("    {}\n", look.dim(&format!("{line}: {}", clean(text)))));
            }
        }
    }
    if let Some(rejected) = &told.rejected {
        let at = rejected.at.as_deref().map_or("is not in it".to_owned(), |at| format!("is at {at}"));
        let text = format!(
            "the field `{}`, which {at}, was rejected: {}",
            clean(&rejected.field),
            clean(&rejected.said)
        );
        out.push_str(&look.item(2, Mark::Bad, &text));
    }
}

fn seconds_of(ms: u64) -> String {
    if ms < 1000 { format!("{ms} ms") } else { seconds(Duration::from_millis(ms)) }
}
