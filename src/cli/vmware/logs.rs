// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright vmware logs`: the whole output of builds.

use super::clean::LOGS;
use crate::cli::errors::{Exit, Problem};
use crate::cli::look::{bytes, clean, table};
use crate::cli::session::Session;
use crate::host::Root;
use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

/// List the logs of builds, or show one
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// The log to show, a name from the list
    #[arg(value_name = "LOG", conflicts_with = "last")]
    log: Option<String>,
    /// Show the newest log
    #[arg(long)]
    last: bool,
}

/// A log in its folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Listed {
    name: String,
    bytes: u64,
    /// Seconds since the epoch.
    modified: i64,
}

/// Runs `vmware logs`.
pub(super) fn run(session: &mut Session, args: &Logs) -> Result<Exit, Problem> {
    let host = session.host()?;
    let logs = list(host.root())?;
    let wanted = match &args.log {
        Some(name) => Some(
            logs.iter().find(|l| l.name == *name || l.name == format!("{name}.log")).ok_or_else(|| {
                Problem::new(Exit::Refused, "no-such-log", &format!("There is no log `{}`", clean(name)), "")
                    .remedy("`hostwright vmware logs` lists them.")
            })?,
        ),
        None if args.last => Some(logs.iter().find(|l| l.name.ends_with(".log")).ok_or_else(|| {
            Problem::new(Exit::Refused, "no-such-log", "There is no log", "Nothing was built yet.")
        })?),
        None => None,
    };
    if let Some(log) = wanted {
        let text = host.root().read_text(&format!("{LOGS}/{}", log.name))?;
        if session.json() {
            session.screen.document(&serde_json::json!({ "name": log.name, "text": text }))?;
        } else {
            let lines: String = text.lines().map(|l| format!("{}\n", clean(l))).collect();
            session.screen.print(&lines);
        }
        return Ok(Exit::Done);
    }
    if session.json() {
        session.screen.document(&logs)?;
    } else if logs.is_empty() {
        session.screen.print("Nothing was built yet.\n");
    } else {
        let zone = TimeZone::system();
        let row = |l: &Listed| {
            let time = Timestamp::from_second(l.modified).unwrap_or(Timestamp::UNIX_EPOCH);
            vec![crate::cli::runs::time(time, &zone), bytes(l.bytes), clean(&l.name)]
        };
        let rows: Vec<Vec<String>> = logs.iter().map(row).collect();
        let mut text = table(session.look(), 0, &["Written", "Size", "Log"], &rows);
        text.push_str(
            &session
                .look()
                .dim(&format!("\nIn {LOGS}; show one with: {}\n", session.command("vmware logs LOG"))),
        );
        session.screen.print(&text);
    }
    Ok(Exit::Done)
}

/// The logs, newest first.
fn list(root: &Root) -> Result<Vec<Listed>, Problem> {
    let entries = match root.list(LOGS) {
        Ok(entries) => entries,
        Err(e) if e.is_not_found() => return Ok(Vec::new()),
        Err(e) => {
            return Err(Problem::from(e)
                .remedy("The logs belong to root: run the same command as root, or use `hostwright log`."));
        }
    };
    let mut logs = Vec::new();
    for entry in entries {
        let meta = root.symlink_metadata(&format!("{LOGS}/{}", entry.name))?;
        logs.push(Listed {
            name: entry.name,
            bytes: meta.size,
            modified: i64::try_from(meta.mtime_ns / 1_000_000_000).unwrap_or(0),
        });
    }
    // The names hold the time; the log of all comes before those of its modules.
    let key =
        |l: &Listed| (l.name.split('.').next().unwrap_or_default().to_owned(), l.name.ends_with(".log"));
    logs.sort_by_key(|l| std::cmp::Reverse(key(l)));
    Ok(logs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_log_comes_first_and_before_its_parts() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert!(list(&root).unwrap().is_empty());
        root.create_dirs(LOGS, 0o755).unwrap();
        for name in [
            "vmware_build_20260101_000000.log",
            "vmware_build_20260102_000000.vmmon",
            "vmware_build_20260102_000000.log",
        ] {
            root.write(&format!("{LOGS}/{name}"), b"x", 0o644, None).unwrap();
        }
        let names: Vec<String> = list(&root).unwrap().into_iter().map(|l| l.name).collect();
        assert_eq!(names[0], "vmware_build_20260102_000000.log");
        assert_eq!(names[2], "vmware_build_20260101_000000.log");
    }
}
