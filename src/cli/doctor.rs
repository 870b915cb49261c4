// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright doctor`: what is missing on this machine for the job, each with what to do.

use super::detect::{Row, render_rows};
use super::errors::{Exit, Problem};
use super::look::{Mark, bytes};
use super::session::Session;
use crate::detect::{Facts, Finding, Headers, gather};
use crate::host::{BuildUser, Command, Host, HostKind, Sandbox};
use clap::Args;
use serde_json::json;
use std::time::Duration;

/// Free space below which a build may fail, in bytes: sources, objects, two modules, old initramfs images.
const SPACE: u64 = 300 << 20;

/// Say what is missing on this machine for the job, each with what to do
///
/// Ends with 0 when nothing is missing and with 1 otherwise.
#[derive(Debug, Args)]
pub(crate) struct Doctor {}

/// Runs `doctor`.
pub(crate) fn run(session: &mut Session, _args: &Doctor) -> Result<Exit, Problem> {
    let host = session.host()?;
    let facts = gather(&host, None);
    let mut sections = vec![
        ("Tools", tools(&facts)),
        ("Kernels", kernels(&facts)),
        ("Sandbox", vec![sandbox(&host)]),
        ("Space", space(&host)),
    ];
    if session.root().is_none() {
        sections.push(("Privileges", super::helper::doctor()));
    }
    let attention =
        sections.iter().flat_map(|(_, rows)| rows).any(|r| matches!(r.mark, Mark::Warning | Mark::Bad));
    if session.json() {
        let rows: Vec<_> = sections
            .iter()
            .flat_map(|(topic, rows)| rows.iter().map(move |r| (topic, r)))
            .map(|(topic, r)| {
                let state = match r.mark {
                    Mark::Good => "good",
                    Mark::Warning => "warning",
                    Mark::Bad => "bad",
                    Mark::Unknown => "could_not_look",
                    Mark::Neutral => "note",
                };
                json!({ "topic": topic, "what": r.label, "state": state, "text": r.text, "remedy": r.remedy })
            })
            .collect();
        session.screen.document(&json!({ "attention": attention, "findings": rows }))?;
    } else {
        let text = render_rows(session.look(), &sections);
        session.screen.print(&text);
    }
    Ok(if attention { Exit::Failed } else { Exit::Done })
}

fn tools(facts: &Facts) -> Vec<Row> {
    let tools = match &facts.toolchain {
        Finding::Seen(tools) => tools,
        Finding::CouldNotLook { why } => return vec![Row::new(Mark::Unknown, "Tools", why.clone())],
    };
    let mut rows: Vec<Row> = tools
        .missing
        .iter()
        .map(|m| {
            let row = Row::new(Mark::Bad, &m.tool, "missing");
            match (&m.command, &m.package) {
                (Some(command), _) => row.remedy(command),
                (None, Some(package)) => row.remedy(format!("Install the package {package}.")),
                (None, None) => row.remedy("Install the package of your distribution that has it."),
            }
        })
        .collect();
    if tools.compilers.is_empty() && !tools.missing.iter().any(|m| m.tool == "gcc") {
        rows.push(Row::new(Mark::Bad, "compiler", "neither gcc nor clang is there").remedy("Install gcc."));
    }
    if rows.is_empty() {
        rows.push(Row::new(Mark::Good, "Tools", "everything that builds need is there"));
    }
    rows
}

fn kernels(facts: &Facts) -> Vec<Row> {
    let kernels = match &facts.kernels {
        Finding::Seen(kernels) => kernels,
        Finding::CouldNotLook { why } => return vec![Row::new(Mark::Unknown, "Kernels", why.clone())],
    };
    if kernels.is_empty() {
        return vec![
            Row::new(Mark::Bad, "Kernels", "none under /lib/modules")
                .remedy("Install a kernel and its headers."),
        ];
    }
    let no_headers_anywhere = kernels.iter().all(|k| !k.headers.is_usable());
    kernels
        .iter()
        .map(|k| {
            // A kernel that neither runs nor starts next may well go without headers.
            let bad = if k.runs() || k.is_next_boot.is_true() || no_headers_anywhere {
                Mark::Bad
            } else {
                Mark::Neutral
            };
            match (&k.headers, &k.build_compiler) {
                (Headers::Missing { command, .. }, _) => {
                    Row::new(bad, &k.release, "its headers are not installed").remedy(command)
                }
                (Headers::Broken { missing, command, .. }, _) => {
                    Row::new(bad, &k.release, format!("its headers are incomplete: {}", missing.join(", ")))
                        .remedy(command)
                }
                (Headers::Usable { .. }, Finding::CouldNotLook { why }) => {
                    Row::new(Mark::Unknown, &k.release, format!("no compiler for it: {why}"))
                }
                (Headers::Usable { .. }, Finding::Seen(_)) => {
                    Row::new(Mark::Good, &k.release, "modules can be built for it")
                }
            }
        })
        .collect()
}

/// Really runs `true` in the sandbox: user namespaces may be switched off, and only trying tells.
fn sandbox(host: &Host) -> Row {
    let label = "bubblewrap";
    let tried = || -> Result<(), String> {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let user = BuildUser::find();
        if let BuildUser::Other { uid, gid } = user {
            std::os::unix::fs::chown(dir.path(), Some(uid), Some(gid)).map_err(|e| e.to_string())?;
        }
        let sandbox = Sandbox::new(host, dir.path(), user).map_err(|e| e.to_string())?;
        let command = sandbox.wrap(&Command::new("true")).timeout(Duration::from_secs(20));
        host.runner().run_ok(&command).map(|_| ()).map_err(|e| e.to_string())
    };
    match tried() {
        Ok(()) => Row::new(Mark::Good, label, "a program ran in the sandbox"),
        Err(why) => Row::new(Mark::Bad, label, format!("no program runs in the sandbox: {why}")).remedy(
            "Install bubblewrap; where user namespaces are switched off, allow them for it (kernel.unprivileged_userns_clone, or an AppArmor profile).",
        ),
    }
}

fn space(host: &Host) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for folder in ["/var/lib", "/var/cache", "/lib/modules"] {
        let place = if host.root().exists(folder) { folder } else { "/" };
        rows.push(match host.root().space(place) {
            Ok((free, _)) if free < SPACE => Row::new(Mark::Bad, folder, format!("{} free", bytes(free)))
                .remedy(format!("Free {} there.", bytes(SPACE - free))),
            Ok((free, _)) => Row::new(Mark::Good, folder, format!("{} free", bytes(free))),
            Err(e) => Row::new(Mark::Unknown, folder, format!("could not look: {}", e.source)),
        });
    }
    if host.kind() == HostKind::PartialRoot {
        rows.push(Row::new(
            Mark::Neutral,
            "Note",
            "this tree has no tools of its own; this machine's tools work on it",
        ));
    }
    rows
}
