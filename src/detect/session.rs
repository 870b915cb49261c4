// SPDX-License-Identifier: GPL-3.0-or-later
//! The desktop session.

use super::Finding;
use super::look::{Look, shell_assignments};
use crate::host::FileKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What draws the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionType {
    /// Wayland.
    Wayland,
    /// X11.
    X11,
    /// A text console or a connection from elsewhere.
    Tty,
}

/// A session of logind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Session {
    /// What draws it.
    pub kind: SessionType,
    /// The desktop ("GNOME"), when told.
    pub desktop: Option<String>,
    /// User id.
    pub uid: u32,
    /// User name.
    pub user: Option<String>,
    /// Whether it is the one in front.
    pub active: bool,
}

/// The sessions of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sessions {
    /// What systemd boots into, when it is the graphical target.
    pub graphical_target: bool,
    /// Sessions, the active ones first.
    pub sessions: Vec<Session>,
}

/// A session file of logind (`/run/systemd/sessions/ID`); libsystemd reads the same (sd-login(3)). `None`
/// for a session that is no person's (a greeter, a background task).
fn parse_session(text: &str, users: &BTreeMap<u32, String>) -> Option<Session> {
    let mut fields = shell_assignments(text);
    if fields.get("CLASS").is_some_and(|class| !matches!(class.as_str(), "user" | "user-early")) {
        return None;
    }
    let uid = fields.get("UID")?.parse().ok()?;
    let kind = match fields.get("TYPE").map(String::as_str) {
        Some("wayland") => SessionType::Wayland,
        Some("x11" | "mir") => SessionType::X11,
        _ => SessionType::Tty,
    };
    Some(Session {
        kind,
        desktop: fields.remove("DESKTOP").filter(|d| !d.is_empty()),
        uid,
        user: fields.remove("USER").filter(|u| !u.is_empty()).or_else(|| users.get(&uid).cloned()),
        active: fields.get("ACTIVE").is_some_and(|a| a == "1"),
    })
}

/// Names by user id, from `/etc/passwd`.
pub(super) fn users(look: &Look<'_>) -> BTreeMap<u32, String> {
    parse_passwd(&look.text("/etc/passwd").unwrap_or_default())
}

fn parse_passwd(text: &str) -> BTreeMap<u32, String> {
    let mut users = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(uid)) = (fields.next(), fields.nth(1).and_then(|u| u.parse().ok())) {
            // The first name of an id is the one that is shown (getpwuid(3)).
            users.entry(uid).or_insert_with(|| name.to_owned());
        }
    }
    users
}

/// Reads the sessions.
pub(super) fn read(look: &Look<'_>) -> Finding<Sessions> {
    look.if_running(|| {
        let dir = "/run/systemd/sessions";
        let entries = match look.root().list(dir) {
            Ok(entries) => entries,
            Err(e) if e.is_not_found() => return Finding::unseen("systemd-logind does not run here"),
            Err(e) => return Finding::unseen(e.to_string()),
        };
        let users = users(look);
        let mut sessions: Vec<Session> = entries
            .iter()
            .filter(|e| e.kind == FileKind::File && !e.name.ends_with(".ref"))
            .filter_map(|e| parse_session(&look.text(&format!("{dir}/{}", e.name)).ok()?, &users))
            .collect();
        sessions.sort_by_key(|s| (!s.active, s.kind == SessionType::Tty, s.uid));
        let targets = ["/etc/systemd/system/default.target", "/usr/lib/systemd/system/default.target"];
        let target = targets.iter().find_map(|t| look.link_name(t));
        Finding::Seen(Sessions { graphical_target: target.as_deref() == Some("graphical.target"), sessions })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_wayland_session_is_told_from_a_greeter() {
        let users =
            parse_passwd("root:x:0:0:root:/root:/bin/bash\nmona:x:1000:1000::/home/mona:/bin/zsh\nbroken\n");
        let text = "# This is private data. Do not parse.\nUID=1000\nUSER=mona\nACTIVE=1\nSTATE=active\nREMOTE=0\nTYPE=wayland\nCLASS=user\nDESKTOP=gnome\n";
        let session = parse_session(text, &users).unwrap();
        assert_eq!((session.kind, session.active, session.uid), (SessionType::Wayland, true, 1000));
        assert_eq!(session.user.as_deref(), Some("mona"));
        assert_eq!(parse_session(&text.replace("CLASS=user", "CLASS=greeter"), &users), None);
        assert_eq!(parse_session("", &users), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_these_parsers_panic(text in "(?s).*") {
            parse_session(&text, &parse_passwd(&text));
        }
    }
}
