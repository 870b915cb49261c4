// SPDX-License-Identifier: GPL-3.0-or-later
//! Guests that run now: `hostwright lab list|stop|screenshot|suspend|resume|snapshot|restore`.

use super::boot;
use super::places::Places;
use crate::cli::errors::{Exit, Problem};
use crate::cli::look::table;
use crate::cli::session::Session;
use crate::guest::qmp::Qmp;
use crate::guest::{GuestError, remote, running};
use clap::Args;
use std::path::PathBuf;

/// List the guests that run now
#[derive(Debug, Args)]
pub(crate) struct List {}

/// Stop a guest that runs
///
/// Like pulling its plug, but for its disks, which are written out; `lab boot` then ends. With --ask its power
/// button is pressed, and its own system shuts down when it listens to that.
#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// The guest
    #[arg(value_name = "NAME", required_unless_present = "all")]
    name: Option<String>,
    /// All guests
    #[arg(long, conflicts_with = "name")]
    all: bool,
    /// Press the power button instead
    #[arg(long)]
    ask: bool,
}

/// Photograph the screen of a guest that runs
#[derive(Debug, Args)]
pub(crate) struct Screenshot {
    /// The guest
    #[arg(value_name = "NAME")]
    name: String,
    /// Write the picture (PNG) there; without: into the run's folder
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Let a guest's processors stand still
#[derive(Debug, Args)]
pub(crate) struct Suspend {
    /// The guest
    #[arg(value_name = "NAME")]
    name: String,
}

/// Let a suspended guest go on
#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// The guest
    #[arg(value_name = "NAME")]
    name: String,
}

/// Save the state of a guest that runs, memory and disks
///
/// It is kept in the guest's first writable qcow2 disk, and lives as long as that.
#[derive(Debug, Args)]
pub(crate) struct Snapshot {
    /// The guest
    #[arg(value_name = "NAME")]
    name: String,
    /// Name of the snapshot
    #[arg(value_name = "TAG", value_parser = boot::name)]
    tag: String,
}

/// Set a guest that runs back to a snapshot
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The guest
    #[arg(value_name = "NAME")]
    name: String,
    /// Name of the snapshot
    #[arg(value_name = "TAG", value_parser = boot::name)]
    tag: String,
}

/// Runs `lab list`.
pub(crate) fn list(session: &mut Session) -> Result<Exit, Problem> {
    let places = Places::find()?;
    let cards = running::list(&places.running)?;
    let mut rows = Vec::new();
    let mut documents = Vec::new();
    for card in &cards {
        let folder = places.running.join(&card.name);
        let state = running::connect(&folder).and_then(|mut q| remote::status(&mut q));
        // Somebody else may be talking to it.
        let state = state.unwrap_or_else(|_| "busy".into());
        let ssh = card.ssh.map(|p| format!("127.0.0.1:{p}")).unwrap_or_default();
        rows.push(vec![
            card.name.clone(),
            state.clone(),
            card.began.strftime("%H:%M:%S").to_string(),
            ssh,
            card.what.clone(),
        ]);
        documents.push(serde_json::json!({ "state": state, "guest": card }));
    }
    if session.json() {
        session.screen.document(&documents)?;
    } else if rows.is_empty() {
        session.screen.print("No guest runs.\n");
    } else {
        let text = table(session.look(), 0, &["Name", "State", "Since (UTC)", "ssh", "What"], &rows);
        session.screen.print(&text);
    }
    Ok(Exit::Done)
}

/// The control of the guest called `name`, and its run's folder.
fn reach(name: &str) -> Result<(Qmp, PathBuf), Problem> {
    let places = Places::find()?;
    let cards = running::list(&places.running)?;
    let Some(card) = cards.iter().find(|c| c.name == name) else {
        let names: Vec<&str> = cards.iter().map(|c| c.name.as_str()).collect();
        let there = if names.is_empty() {
            "no guest runs".into()
        } else {
            format!("these run: {}", names.join(", "))
        };
        let reason = format!("No guest called {name} runs; {there}.");
        return Err(Problem::new(Exit::Refused, "no-such-guest", "There is no such guest", reason)
            .remedy("`hostwright lab list` shows those that run."));
    };
    let qmp = running::connect(&places.running.join(name))?;
    Ok((qmp, card.folder.clone()))
}

/// Does one thing with a guest and says nothing more than that it is done.
fn with(
    session: &mut Session,
    name: &str,
    done: &str,
    work: impl FnOnce(&mut Qmp) -> Result<(), GuestError>,
) -> Result<Exit, Problem> {
    let (mut qmp, _) = reach(name)?;
    work(&mut qmp)?;
    if session.json() {
        session.screen.document(&serde_json::json!({ "guest": name, "done": done }))?;
    } else {
        session.screen.print(&format!("{name}: {done}\n"));
    }
    Ok(Exit::Done)
}

/// Runs `lab stop`.
pub(crate) fn stop(session: &mut Session, args: &Stop) -> Result<Exit, Problem> {
    let names = match &args.name {
        Some(name) => vec![name.clone()],
        None => running::list(&Places::find()?.running)?.into_iter().map(|c| c.name).collect(),
    };
    for name in &names {
        let (done, work): (_, fn(&mut Qmp) -> _) =
            if args.ask { ("asked to shut down", remote::power_button) } else { ("stopped", remote::stop) };
        with(session, name, done, work)?;
    }
    if names.is_empty() && !session.json() {
        session.screen.print("No guest runs.\n");
    }
    Ok(Exit::Done)
}

/// Runs `lab screenshot`.
pub(crate) fn screenshot(session: &mut Session, args: &Screenshot) -> Result<Exit, Problem> {
    let (mut qmp, folder) = reach(&args.name)?;
    let path = match &args.file {
        Some(path) => std::path::absolute(path).map_err(|e| Problem::file("write", path, &e))?,
        None => folder.join(format!("screen-{}.png", jiff::Timestamp::now().strftime("%H%M%S"))),
    };
    remote::screenshot(&mut qmp, &path)?;
    if session.json() {
        session.screen.document(&serde_json::json!({ "guest": args.name, "file": path }))?;
    } else {
        session.screen.print(&format!("{}\n", path.display()));
    }
    Ok(Exit::Done)
}

/// Runs `lab suspend`.
pub(crate) fn suspend(session: &mut Session, args: &Suspend) -> Result<Exit, Problem> {
    with(session, &args.name, "suspended", remote::suspend)
}

/// Runs `lab resume`.
pub(crate) fn resume(session: &mut Session, args: &Resume) -> Result<Exit, Problem> {
    with(session, &args.name, "goes on", remote::resume)
}

/// Runs `lab snapshot`.
pub(crate) fn snapshot(session: &mut Session, args: &Snapshot) -> Result<Exit, Problem> {
    with(session, &args.name, "saved", |q| remote::snapshot(q, &args.tag))
}

/// Runs `lab restore`.
pub(crate) fn restore(session: &mut Session, args: &Restore) -> Result<Exit, Problem> {
    with(session, &args.name, "set back", |q| remote::restore(q, &args.tag))
}
