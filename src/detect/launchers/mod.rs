// SPDX-License-Identifier: GPL-3.0-or-later
//! VMware's launchers: which are there, what each is, whether it goes through XWayland, and the desktop files that
//! start it.

pub mod desktop;
pub mod text;

use super::vmware::parse_config;
use crate::host::{FileKind, FileState, Host, HostError, Root};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use text::{Kind, LIMIT, classify};

/// Launchers of the product that a person starts.
pub const NAMES: [&str; 5] = ["vmware", "vmplayer", "vmware-modconfig", "vmware-netcfg", "vmware-fuseUI"];

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

impl LauncherFacts {
    /// The names of launchers that were fixed once and that an update of the product replaced since.
    pub fn replaced(&self) -> Vec<&str> {
        let replaced = |l: &&Launcher| l.state == State::Plain && !l.originals.is_empty();
        self.launchers.iter().filter(replaced).map(|l| l.name.as_str()).collect()
    }
}

/// Looks at the launchers of this machine.
///
/// # Errors
/// When VMware's configuration or a launcher cannot be read.
pub fn look(host: &Host) -> Result<LauncherFacts, HostError> {
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

fn launcher(root: &Root, name: &str, path: String) -> Result<Option<Launcher>, HostError> {
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
            found.state = State::Fixed { current: text::is_current(&text) };
            found.text = Some(text);
        }
        Kind::Ours { starts } => {
            let current = root.read_text(&found.path)? == text::wrapper(&starts);
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
fn originals(root: &Root, path: &str) -> Result<BTreeMap<String, String>, HostError> {
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
