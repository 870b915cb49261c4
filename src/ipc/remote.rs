// SPDX-License-Identifier: GPL-3.0-or-later
//! Another machine: its system bus over ssh.
//!
//! ```text
//!   Client ── socket ── ssh (the person's own: configuration, keys, agent) ── sshd ── systemd-stdio-bridge ── system bus
//! ```
//!
//! It is what D-Bus calls a `unixexec:` address, but with ssh started here: what ssh says when it fails is the reason
//! that a person needs. ssh itself asks for passwords and about unknown host keys: on the terminal, or through an askpass
//! program (ssh(1), `SSH_ASKPASS`).
//!
//! Who asks for a password over there is polkit's `pkttyagent`, for which see [`Agent`].

mod agent;
mod link;
mod place;

pub use agent::{Agent, Prompt};
pub use link::Link;
pub use place::{Place, PlaceError};

use std::path::PathBuf;

/// Who answers ssh's questions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asking {
    /// Nobody: a key that an agent holds, or no.
    Nobody,
    /// The person at the terminal of this process.
    Terminal,
    /// A program that shows a question and prints the answer; a `SSH_ASKPASS` in the environment goes before it.
    Program(PathBuf),
}
