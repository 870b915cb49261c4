// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright runs`: what was done on this machine.

use super::confirm;
use super::errors::{Exit, Problem};
use super::look::{Look, Mark, count, table};
use super::session::Session;
use crate::engine::{RunState, RunSummary, prunable};
use crate::tell::run_state;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// List what was done on this machine, newest first
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Runs {
    /// At most so many
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<usize>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Prune(Prune),
}

/// Forget old runs, with the copies that were kept for their undo
///
/// The newest 100 runs that cannot be taken back any more are kept by themselves, and every run that can be. What is
/// forgotten with --lose-undo stays as it is for good.
#[derive(Debug, Args)]
struct Prune {
    /// Keep the newest so many
    #[arg(long, value_name = "N", default_value_t = 20)]
    keep: usize,
    /// Also those that could still be taken back
    #[arg(long)]
    lose_undo: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Runs `runs`.
pub(crate) fn run(session: &mut Session, args: &Runs) -> Result<Exit, Problem> {
    if let Some(Command::Prune(args)) = &args.command {
        return prune(session, args);
    }
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

fn prune(session: &mut Session, args: &Prune) -> Result<Exit, Problem> {
    confirm::need_consent(args.yes, session.json(), "forgotten")?;
    let machine = session.machine()?;
    let all = machine.runs()?;
    let numbers = prunable(&all, args.keep, args.lose_undo);
    if numbers.is_empty() {
        if session.json() {
            session.screen.document(&numbers)?;
        } else {
            session.screen.print("There is no run to forget.\n");
        }
        return Ok(Exit::Done);
    }
    if !session.json() {
        let chosen: Vec<RunSummary> = all.into_iter().filter(|r| numbers.contains(&r.run)).collect();
        let lost = chosen.iter().filter(|r| r.can_undo).count();
        let mut text = render(session.look(), &chosen, &TimeZone::system());
        if lost > 0 {
            let what = count(lost, "run", "runs");
            let words =
                format!("{what} of these could still be taken back: what they changed stays for good.");
            text.push_str(&session.look().item(0, Mark::Warning, &words));
        }
        session.screen.print(&text);
        if !args.yes && !confirm::ask(&session.voice, "Forget these runs?")? {
            return Err(Problem::cancelled());
        }
    }
    let gone = machine.prune(&numbers, args.lose_undo)?;
    if session.json() {
        session.screen.document(&gone)?;
    } else {
        session.screen.print(&format!("Forgotten: {}.\n", count(gone.len(), "run", "runs")));
    }
    Ok(if gone.len() == numbers.len() { Exit::Done } else { Exit::Failed })
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
