// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright lab report`.

use super::places::Places;
use crate::cli::errors::{Exit, Problem, sentence};
use crate::cli::look::{Look, Mark, clean, count, seconds, table};
use crate::cli::session::Session;
use crate::flows::lab::account::{Told, read_files, stopped};
use crate::flows::lab::diagnose::Configuration;
use crate::flows::lab::runs;
use crate::guest::{Report as Document, TroubleKind};
use crate::tell::lab::{trouble, words};
use clap::Args;
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

/// Lines of a stage that are shown.
const LINES: usize = 20;

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
        out.extend(lines.iter().map(|l| format!("  {}\n", look.dim(&clean(l)))));
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
