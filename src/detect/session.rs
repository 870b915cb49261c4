// SPDX-License-Identifier: GPL-3.0-or-later
//! The desktop session.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
