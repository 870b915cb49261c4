// SPDX-License-Identifier: GPL-3.0-or-later
//! VMware in a Wayland session: its launchers go through XWayland.
//!
//! ```text
//!   NAME (script)   ─► NAME.original (copy)   NAME: the same with our part behind the interpreter line
//!   NAME (program)  ─► NAME.original (copy)   NAME: a launcher of ours, which starts NAME.original
//! ```
//!
//! `NAME.original` is never overwritten: after a product update that replaced NAME, the next one is `NAME.original.2`.

mod launcher;
mod plan;

use crate::detect::vmware::parse_config;
use crate::engine::event::{Check, CheckOutcome};
use crate::engine::plan::Plan;
use crate::flows::PlanError;
use crate::host::{FileKind, FileState, Host, Root};
use launcher::{Kind, LIMIT, classify};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The name of this flow.
pub const FLOW: &str = "wayland";

/// Launchers of the product that a person starts.
const NAMES: [&str; 5] = ["vmware", "vmplayer", "vmware-modconfig", "vmware-netcfg", "vmware-fuseUI"];

/// What is wished for the launchers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// They go through XWayland in a Wayland session.
    #[default]
    Fix,
    /// They are as the product has them.
    Remove,
}

/// What a person picks in this flow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Choices {
    /// Fix or remove.
    pub wish: Wish,
    /// Just these launchers ("vmware"); all that are there when empty.
    pub only: Vec<String>,
}

/// How a launcher stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// As the product has it.
    Plain,
    /// Goes through XWayland by our doing.
    Fixed {
        /// Whether that is what this version would write.
        current: bool,
    },
    /// Goes through XWayland by somebody else's doing.
    FixedByOthers,
    /// Left alone.
    Unknown {
        /// Why.
        why: String,
    },
}

/// A launcher that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Launcher {
    /// Its name ("vmware").
    pub name: String,
    /// Where it is.
    pub path: String,
    /// Its permission bits.
    pub mode: u32,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// How it stands.
    #[serde(flatten)]
    pub state: State,
    /// The text of a script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The program that a launcher of ours starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<String>,
    /// Copies of what it was: path → SHA-256.
    pub originals: BTreeMap<String, String>,
}

/// What the plan reads of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LauncherFacts {
    /// The launchers that are there.
    pub launchers: Vec<Launcher>,
    /// Where they were looked for.
    pub bindir: String,
}

/// The launchers that went through XWayland by our doing and were replaced since, as an update of the product does.
/// Nothing where they cannot be read.
pub fn replaced(host: &Host) -> Vec<String> {
    let launchers = look(host).map(|f| f.launchers).unwrap_or_default();
    let plain = launchers.into_iter().filter(|l| l.state == State::Plain && !l.originals.is_empty());
    plain.map(|l| l.name).collect()
}

/// Looks at the launchers of this machine.
///
/// # Errors
/// When VMware's configuration or a launcher cannot be read.
pub fn look(host: &Host) -> Result<LauncherFacts, crate::host::HostError> {
    let root = host.root();
    let config = match root.read_text("/etc/vmware/config") {
        Ok(text) => parse_config(&text),
        Err(e) if e.is_not_found() => BTreeMap::new(),
        Err(e) => return Err(e),
    };
    let plain = |dir: &&String| dir.starts_with('/') && !dir.split('/').any(|part| part == "..");
    let bindir =
        config.get("bindir").filter(plain).map_or("/usr/bin", |d| d.trim_end_matches('/')).to_owned();
    let mut launchers = Vec::new();
    for name in NAMES {
        let path = format!("{bindir}/{name}");
        launchers.extend(launcher(root, name, path)?);
    }
    Ok(LauncherFacts { launchers, bindir })
}

fn launcher(root: &Root, name: &str, path: String) -> Result<Option<Launcher>, crate::host::HostError> {
    let (sha256, mode, uid) = match root.state(&path)? {
        FileState::Absent => return Ok(None),
        FileState::File { sha256, mode, uid, .. } => (sha256, mode, uid),
        FileState::Symlink { target, .. } => {
            let why = format!("it is a link to {target}: what it leads to belongs to somebody else");
            return Ok(Some(unknown(name, path, why)));
        }
        _ => return Ok(Some(unknown(name, path, "it is no file".to_owned()))),
    };
    let mut found = Launcher {
        name: name.to_owned(),
        mode,
        sha256,
        state: State::Plain,
        text: None,
        starts: None,
        originals: originals(root, &path)?,
        path,
    };
    // A copy with these bits would not be what it was; and another owner may change it behind our back.
    if mode & 0o7000 != 0 || uid != nix::unistd::geteuid().as_raw() && uid != 0 {
        found.state = State::Unknown { why: "it belongs to another user, or runs as one".to_owned() };
        return Ok(Some(found));
    }
    match classify(&root.read_at_most(&found.path, LIMIT)?) {
        Kind::Script(text) => found.text = Some(text),
        Kind::Program => {}
        Kind::Fixed(text) => {
            found.state = State::Fixed { current: launcher::is_current(&text) };
            found.text = Some(text);
        }
        Kind::Ours { starts } => {
            let current = root.read_text(&found.path)? == launcher::wrapper(&starts);
            found.state = State::Fixed { current };
            found.starts = Some(starts);
        }
        Kind::FixedByOthers => found.state = State::FixedByOthers,
        Kind::Unknown { why } => found.state = State::Unknown { why },
    }
    Ok(Some(found))
}

fn unknown(name: &str, path: String, why: String) -> Launcher {
    Launcher {
        name: name.to_owned(),
        path,
        mode: 0,
        sha256: String::new(),
        state: State::Unknown { why },
        text: None,
        starts: None,
        originals: BTreeMap::new(),
    }
}

/// Copies that were kept: `NAME.original`, `NAME.original.2`, …
fn originals(root: &Root, path: &str) -> Result<BTreeMap<String, String>, crate::host::HostError> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let prefix = format!("{name}.original");
    let mut found = BTreeMap::new();
    for entry in root.list(if folder.is_empty() { "/" } else { folder })? {
        let number = entry.name.strip_prefix(&prefix);
        let ours = number
            .is_some_and(|n| n.is_empty() || n.strip_prefix('.').is_some_and(|n| n.parse::<u32>().is_ok()));
        if !ours || entry.kind != FileKind::File {
            continue;
        }
        let path = format!("{folder}/{}", entry.name);
        if let FileState::File { sha256, .. } = root.state(&path)? {
            found.insert(path, sha256);
        }
    }
    Ok(found)
}

/// Gathers what the plan reads and makes it.
///
/// # Errors
/// See [`PlanError`].
pub(super) fn plan_here(host: &Host, choices: &serde_json::Value) -> Result<Plan, PlanError> {
    let choices: Choices =
        serde_json::from_value(choices.clone()).map_err(|e| PlanError::BadChoices(e.to_string()))?;
    let facts = look(host).map_err(|e| PlanError::Failed(e.to_string()))?;
    Ok(plan::plan(&choices, &facts)?)
}

/// Looks whether the launchers stand as the plan promised.
pub(super) fn check(host: &Host, plan: &Plan) -> Vec<Check> {
    let wish = serde_json::from_value::<Choices>(plan.choices.clone()).unwrap_or_default().wish;
    let touched = |path: &str| {
        plan.steps.iter().any(|s| {
            matches!(s, crate::engine::Step::WriteFile(w) if w.path == path)
                || matches!(s, crate::engine::Step::CopyFile(c) if c.to == path)
        })
    };
    let facts = match look(host) {
        Ok(facts) => facts,
        Err(e) => {
            let outcome = CheckOutcome::CouldNotLook { reason: e.to_string() };
            return vec![Check { what: "the launchers".to_owned(), outcome }];
        }
    };
    facts
        .launchers
        .iter()
        .filter(|l| touched(&l.path))
        .map(|l| {
            let (what, good) = match wish {
                Wish::Fix => ("goes through XWayland", l.state == State::Fixed { current: true }),
                Wish::Remove => ("is as the product has it", l.state == State::Plain),
            };
            let starts = l.starts.as_ref().filter(|s| !host.root().exists(s));
            let outcome = match (good, starts) {
                (true, None) => CheckOutcome::Good,
                (true, Some(gone)) => {
                    CheckOutcome::Bad { reason: format!("{gone}, which it starts, is not there") }
                }
                (false, _) => CheckOutcome::Bad { reason: "another program changed it meanwhile".to_owned() },
            };
            Check { what: format!("{} {what}", l.path), outcome }
        })
        .collect()
}
