// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright runs`: what was done on this machine.

use super::errors::{Exit, Problem};
use super::look::{Look, table};
use super::session::Session;
use crate::engine::{RunState, RunSummary};
use crate::tell::run_state;
use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// List what was done on this machine, newest first
#[derive(Debug, Args)]
pub(crate) struct Runs {
    /// At most so many
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<usize>,
}

/// Runs `runs`.
pub(crate) fn run(session: &mut Session, args: &Runs) -> Result<Exit, Problem> {
    let mut runs = session.machine()?.runs()?;
    runs.truncate(args.limit.unwrap_or(usize::MAX));
    if session.json() {
        session.screen.document(&runs)?;
        return Ok(Exit::Done);
    }
    if runs.is_empty() {
        session.screen.print("Nothing was done yet.\n");
        return Ok(Exit::Done);
    }
    let zone = TimeZone::system();
    let text = render(session.look(), &runs, &zone);
    session.screen.print(&text);
    if let Some(run) = runs.iter().find(|r| r.state == RunState::Interrupted) {
        let command = session.command(&format!("undo {}", run.run));
        let text = session.look().remedy(0, &format!("Take the interrupted run back: {command}"));
        session.screen.print(&format!("\n{text}"));
    }
    Ok(Exit::Done)
}

/// A time as people here read it.
pub(crate) fn time(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string()
}

fn render(look: Look, runs: &[RunSummary], zone: &TimeZone) -> String {
    let row = |r: &RunSummary| {
        let (mark, word) = run_state(r.state);
        let mut what = super::look::clean(&r.title);
        if let Some(problem) = &r.problem {
            what = format!("{what} (its records cannot be read: {})", super::look::clean(problem));
        }
        vec![
            format!("{} {}", look.mark(mark), r.run),
            time(r.started, zone),
            super::look::clean(&r.owner.name),
            word.to_owned(),
            what,
        ]
    };
    let rows: Vec<Vec<String>> = runs.iter().map(row).collect();
    table(look, 0, &["  Run", "Began", "By", "State", "What"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Owner;

    #[test]
    fn runs_stand_in_columns_and_below_each_other_when_narrow() {
        let run = |run, state, title: &str| RunSummary {
            run,
            flow: "vmware".into(),
            title: title.into(),
            state,
            owner: Owner { uid: 1000, name: "ada".into() },
            started: "2026-01-02T03:04:05Z".parse().unwrap(),
            ended: None,
            digest: String::new(),
            choices: serde_json::Value::Null,
            steps: vec![],
            message: None,
            log: None,
            can_undo: true,
            awaits: vec![],
            problem: None,
        };
        let runs = [
            run(12, RunState::Interrupted, "VMware modules for 6.1.0-56-amd64"),
            run(3, RunState::Done, "VMware modules for 6.1.0-55-amd64\u{1b}[2J"),
        ];
        insta::assert_snapshot!("runs_wide", render(Look::plain(100), &runs, &TimeZone::UTC));
        insta::assert_snapshot!("runs_narrow", render(Look::plain(40), &runs, &TimeZone::UTC));
    }
}
