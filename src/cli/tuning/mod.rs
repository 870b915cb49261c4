// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright tuning`: what can be tuned for virtual machines, each with its reason.

use super::errors::{Exit, Problem};
use super::look::{Look, Mark};
use super::session::Session;
use super::work::{self, ApplyOptions, Request, ShowOptions};
use super::{confirm, look};
use crate::engine::Inputs;
use crate::flows::tuning;
use crate::flows::tuning::catalogue::Risk;
use crate::flows::tuning::{Choices, Evaluated, FLOW, Standing, evaluate};
use clap::{Args, Subcommand};

/// Tune this machine for virtual machines: list what can be set and why, plan, apply
#[derive(Debug, Args)]
pub(crate) struct Tuning {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what can be tuned: how it is now, what is proposed, and why
    ///
    /// Marked are those that something on this machine speaks for; only these are chosen when nothing is named.
    List(List),
    /// Show what would be done
    ///
    /// Nothing is changed. Without a name: what this machine itself speaks for.
    Plan(Plan),
    /// Tune, after showing the plan and asking
    ///
    /// Without a name: what this machine itself speaks for. `hostwright undo` takes it back byte for byte.
    Apply(Apply),
}

#[derive(Debug, Args)]
struct List {
    /// Tell everything about just these
    #[arg(value_name = "NAME")]
    only: Vec<String>,
    /// Also those that make no sense on this machine
    #[arg(short, long)]
    all: bool,
}

#[derive(Debug, Args)]
struct Plan {
    #[command(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    show: ShowOptions,
}

#[derive(Debug, Args)]
struct Apply {
    #[command(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    apply: ApplyOptions,
}

#[derive(Debug, Default, Args)]
struct Chosen {
    /// What is set, with another value than the proposed one where you want: swappiness=20 hugepages-2m=4G
    #[arg(value_name = "NAME[=VALUE]")]
    set: Vec<String>,
    /// Beside what is named, also what this machine speaks for
    #[arg(long)]
    recommended: bool,
}

impl Chosen {
    fn request(&self) -> Result<Request, Problem> {
        let choices = self.choices()?;
        let choices =
            serde_json::to_value(choices).map_err(|e| Problem::internal("write the choices", &e))?;
        Ok(Request { flow: FLOW.to_owned(), choices, inputs: Inputs::default() })
    }

    /// Pure.
    fn choices(&self) -> Result<Choices, Problem> {
        let mut choices =
            Choices { recommended: self.recommended || self.set.is_empty(), ..Choices::default() };
        for text in &self.set {
            let (id, value) = match text.split_once('=') {
                Some((id, value)) => (id, Some(value.to_owned())),
                None => (text.as_str(), None),
            };
            if choices.set.insert(id.to_owned(), value).is_some() {
                return Err(Problem::usage(format!("`{id}` is named twice.")).remedy("Name it once."));
            }
        }
        Ok(choices)
    }
}

/// Runs `tuning`.
pub(crate) fn run(session: &mut Session, args: &Tuning) -> Result<Exit, Problem> {
    match &args.command {
        Command::List(args) => list(session, args),
        Command::Plan(args) => work::plan(session, &args.chosen.request()?, &args.show),
        Command::Apply(args) => {
            if !args.apply.check {
                confirm::need_consent(args.apply.yes, session.json(), "changed")?;
            }
            work::apply(session, args.chosen.request()?, &args.apply)
        }
    }
}

fn list(session: &mut Session, args: &List) -> Result<Exit, Problem> {
    let mut all = evaluate::all(&tuning::look(&session.host()?));
    if let Some(unknown) = args.only.iter().find(|id| !all.iter().any(|e| e.id == **id)) {
        return Err(Problem::usage(format!("There is no tunable `{unknown}`."))
            .remedy(format!("{} shows all of them.", session.command("tuning list --all"))));
    }
    if !args.only.is_empty() {
        all.retain(|e| args.only.contains(&e.id));
    }
    if session.json() {
        session.screen.document(&all)?;
        return Ok(Exit::Done);
    }
    let look = session.look();
    let text = if args.only.is_empty() {
        render(look, &all, args.all, &session.command("tuning list"))
    } else {
        all.iter().map(|e| in_full(look, e)).collect::<Vec<_>>().join("\n")
    };
    session.screen.print(&text);
    Ok(Exit::Done)
}

fn mark(evaluated: &Evaluated) -> Mark {
    match evaluated.standing {
        Standing::AlreadySo => Mark::Good,
        Standing::CouldNotLook => Mark::Unknown,
        Standing::CanBeSet if evaluated.preselected => Mark::Warning,
        Standing::CanBeSet | Standing::NotApplicable => Mark::Neutral,
    }
}

/// `60 → 10`.
fn change(look: Look, evaluated: &Evaluated) -> String {
    let now = evaluated.now.clone().unwrap_or_else(|| "not known here".to_owned());
    match (&evaluated.proposed, evaluated.standing) {
        (Some(proposed), Standing::CanBeSet) => format!("{now} {} {proposed}", look.arrow()),
        _ if evaluated.now.is_none() => String::new(),
        _ => now,
    }
}

fn render(look: Look, all: &[Evaluated], with_all: bool, command: &str) -> String {
    let mut out = String::new();
    let mut group = |title: &str, which: &dyn Fn(&Evaluated) -> bool| {
        let rows: Vec<&Evaluated> = all.iter().filter(|e| which(e)).collect();
        if rows.is_empty() {
            return;
        }
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&format!("{}\n", look.bold(title)));
        for e in rows {
            let change = change(look, e);
            let gap = if change.is_empty() { "" } else { ": " };
            out.push_str(&look.item(2, mark(e), &format!("{}{gap}{change}", e.id)));
            let reboot =
                if e.needs_reboot && e.standing == Standing::CanBeSet { ", needs a restart" } else { "" };
            let told = format!("{} ({}){reboot}", e.title, e.reason);
            out.push_str(&look.wrap(&told, "    ", "    "));
        }
    };
    group("This machine speaks for", &|e| e.preselected);
    group("Can be set", &|e| e.standing == Standing::CanBeSet && !e.preselected);
    group("So already", &|e| e.standing == Standing::AlreadySo);
    group("Could not look", &|e| e.standing == Standing::CouldNotLook);
    if with_all {
        group("Not here", &|e| e.standing == Standing::NotApplicable);
    }
    let hint = format!("`{command} NAME` tells what one does, when it helps and when it harms.");
    out.push('\n');
    out.push_str(&look.wrap(&hint, "", ""));
    out
}

fn in_full(look: Look, e: &Evaluated) -> String {
    let risk = match e.risk {
        Risk::Low => "low",
        Risk::Medium => "medium",
        Risk::High => "high",
    };
    let mut out = format!("{} {}\n", look.mark(mark(e)), look.bold(&format!("{}: {}", e.id, e.title)));
    let rows = [
        ("What", e.what.clone()),
        ("Helps", e.helps.clone()),
        ("Harms", e.harms.clone()),
        ("Here", change(look, e)),
        ("Reason", e.reason.clone()),
        ("Restart", if e.needs_reboot { "needed".to_owned() } else { "not needed".to_owned() }),
        ("Risk", risk.to_owned()),
        ("Source", e.source.clone()),
    ];
    for (label, text) in rows.iter().filter(|(_, text)| !text.is_empty()) {
        let first = format!("  {}", look.dim(&look::pad(label, 9)));
        out.push_str(&look.wrap(text, &first, &" ".repeat(11)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_name_the_recommended_ones_are_meant_and_with_one_only_that() {
        assert_eq!(Chosen::default().choices().unwrap(), Choices::default());
        let chosen = Chosen { set: vec!["swappiness=20".into(), "intel-iommu".into()], recommended: false };
        let choices = chosen.choices().unwrap();
        assert!(!choices.recommended);
        assert_eq!(choices.set["swappiness"].as_deref(), Some("20"));
        assert_eq!(choices.set["intel-iommu"], None);
        let twice = Chosen { set: vec!["a".into(), "a=1".into()], recommended: true };
        assert!(twice.choices().is_err());
    }
}
