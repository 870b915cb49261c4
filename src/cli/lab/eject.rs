// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright lab eject`.

use super::image::refuse_root;
use crate::cli::errors::{Exit, Problem};
use crate::cli::look::{Mark, bytes, count};
use crate::cli::session::Session;
use crate::flows::lab::{self, Action, EjectOptions, Ejected, Folders};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// Clean up what builds that did not end well left behind
///
/// Only work folders of the lab are touched, known by a marker that says whose they are: mounts in them are
/// unmounted, deepest first; devices on their files are taken down; then they are removed. Removing never
/// follows a link and never enters a mount; while something is mounted below, nothing is removed.
#[derive(Debug, Args)]
pub(crate) struct Eject {
    /// Drop what is kept too: systems, packages, lists, and images that were not given another place
    #[arg(long)]
    all: bool,
    /// Detach mounts that are in use; the kernel unmounts them when nobody uses them any more
    #[arg(long)]
    lazy: bool,
    /// Only look: exit status 0 when there is nothing to do, 10 when something would be removed
    #[arg(long, conflicts_with = "lazy")]
    check: bool,
    /// Remove one thing of a work folder; used by the lab itself inside a user namespace
    #[arg(long, hide = true, value_name = "PATH", conflicts_with_all = ["all", "lazy", "check"])]
    inside: Option<PathBuf>,
}

/// Runs `lab eject`.
pub(crate) fn run(session: &mut Session, args: &Eject) -> Result<Exit, Problem> {
    refuse_root(session)?;
    let host = session.host()?;
    if let Some(path) = &args.inside {
        lab::remove_inside(&host, path)?;
        return Ok(Exit::Done);
    }
    let folders = Folders::of_session()?;
    let options = EjectOptions { all: args.all, lazy: args.lazy };
    if args.check {
        let (actions, kept) = lab::plan(&lab::look(&host, &folders)?, options);
        if session.json() {
            session.screen.document(&json!({ "would": actions, "kept": kept }))?;
        } else {
            let would = Ejected { done: actions.clone(), kept, ..Ejected::default() };
            say(session, &would, true);
        }
        return Ok(if actions.is_empty() { Exit::Done } else { Exit::WouldChange });
    }
    let ejected = lab::eject(&host, &folders, options, &session.watch.cancel)?;
    if session.json() {
        session.screen.document(&json!({ "ejected": ejected }))?;
    } else {
        say(session, &ejected, false);
    }
    let stuck = ejected.kept.iter().any(|k| !k.expected);
    Ok(if stuck { Exit::Failed } else { Exit::Done })
}

fn say(session: &mut Session, ejected: &Ejected, only_look: bool) {
    let look = session.look();
    let mut text = String::new();
    let mark = if only_look { Mark::Neutral } else { Mark::Good };
    for action in &ejected.done {
        let line = match action {
            Action::Unmount { point } => format!("unmount {}", point.display()),
            Action::Unmap { mapping } => format!("take down the mapping {mapping}"),
            Action::Detach { device } => format!("detach {}", device.display()),
            Action::Remove { folder } => format!("remove {}", folder.display()),
            Action::Unlock { file } => format!("remove the lock {}", file.display()),
            Action::Drop { folder } => format!("drop {}", folder.display()),
        };
        text.push_str(&look.item(0, mark, &line));
    }
    for kept in &ejected.kept {
        let mark = if kept.expected { Mark::Neutral } else { Mark::Bad };
        text.push_str(&look.item(0, mark, &format!("{} stays: {}", kept.path.display(), kept.reason)));
    }
    if ejected.done.is_empty() && ejected.kept.is_empty() {
        text.push_str("There is nothing to clean up.\n");
    } else if !only_look && ejected.entries > 0 {
        let entries = count(usize::try_from(ejected.entries).unwrap_or(usize::MAX), "entry", "entries");
        text.push_str(&look.dim(&format!("{} free again ({entries})", bytes(ejected.bytes))));
        text.push('\n');
    }
    session.screen.print(&text);
}
