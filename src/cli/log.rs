// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright log`: what a run said while it went on.

use super::errors::{Exit, Problem};
use super::look::{Look, Mark, clean, count};
use super::progress::outcome;
use super::session::Session;
use crate::engine::event::{Event, Level};
use clap::Args;

/// Show what a run said while it went on
#[derive(Debug, Args)]
pub(crate) struct Log {
    /// Number of the run; without it the last one
    #[arg(value_name = "RUN")]
    run: Option<u32>,
}

/// Runs `log`.
pub(crate) fn run(session: &mut Session, args: &Log) -> Result<Exit, Problem> {
    let machine = session.machine()?;
    let run = match args.run {
        Some(run) => run,
        None => match machine.runs()?.first() {
            Some(newest) => newest.run,
            None => {
                return Err(Problem::new(
                    Exit::Refused,
                    "no-such-run",
                    "There is no log",
                    "Nothing was done yet.",
                ));
            }
        },
    };
    for event in machine.events(run)? {
        if session.json() {
            session.screen.document(&event)?;
        } else {
            let text = line(session.look(), &event);
            session.screen.print(&text);
        }
    }
    Ok(Exit::Done)
}

/// An event as lines of a log.
fn line(look: Look, event: &Event) -> String {
    match event {
        Event::Started { run, steps, undo } => {
            let what = if *undo { "taken back" } else { "begun" };
            format!("{}\n", look.bold(&format!("Run {run} {what}, {}", count(*steps, "step", "steps"))))
        }
        Event::Step { step, title } => {
            look.wrap(title, &format!("{} ", look.bold(&format!("[{}]", step + 1))), "    ")
        }
        // Only of interest while it goes on.
        Event::Progress { .. } => String::new(),
        Event::Log { line, .. } => format!("    {}\n", look.dim(&clean(line))),
        Event::Diagnostic { level, file, line, message, .. } => {
            let mark = match level {
                Level::Note => Mark::Neutral,
                Level::Warning => Mark::Warning,
                Level::Error => Mark::Bad,
            };
            let place = match (file, line) {
                (Some(file), Some(line)) => format!("{file}:{line}: "),
                (Some(file), None) => format!("{file}: "),
                _ => String::new(),
            };
            look.item(4, mark, &format!("{place}{message}"))
        }
        Event::StepDone { unchanged, .. } => {
            let text = if *unchanged { "already as it should be" } else { "done" };
            look.item(4, if *unchanged { Mark::Neutral } else { Mark::Good }, text)
        }
        Event::StepFailed { reason, .. } => look.item(4, Mark::Bad, reason),
        Event::Checked { check } => {
            let (mark, reason) = outcome(&check.outcome);
            let reason = reason.map(|r| format!(": {r}")).unwrap_or_default();
            look.item(0, mark, &format!("{}{reason}", check.what))
        }
        Event::Kernel { result } => {
            let mark = if result.good { Mark::Good } else { Mark::Bad };
            look.item(0, mark, &format!("{}: {}", result.kernel, result.text))
        }
        Event::Finished { state, message } => {
            let (mark, word) = crate::tell::run_state(*state);
            look.item(0, mark, &format!("{word}: {message}"))
        }
    }
}
