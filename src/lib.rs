// SPDX-License-Identifier: GPL-3.0-or-later
//! Hostwright gets a Linux machine ready to run virtual machines, and keeps it ready.
//!
//! # The words
//!
//! | word | meaning |
//! |---|---|
//! | [`Host`](host::Host) | the one door to a machine: a root directory handle, a command runner, a clock |
//! | [`Finding`](detect::Finding) | one thing looked at; *could not look* is not *looked, and it is bad* |
//! | [`Facts`](detect::Facts) | all findings of a machine |
//! | Choices | what a person picked in one flow; a named, saved one is a Profile |
//! | [`Plan`](engine::Plan) | flow + choices + the facts it read + ordered steps + permissions + warnings |
//! | [`Step`](engine::Step) | one reversible change |
//! | [`Permission`](engine::Permission) | a polkit action id that a plan needs |
//! | Run | a plan being carried out: state, events, journal |
//! | [`Event`](engine::Event) | one typed stream that the window, the command line, D-Bus and tests all read |
//!
//! # The verbs
//!
//! ```text
//!   gather ──► choose ──► plan ──► authorize ──► execute ──► verify ──► undo
//!   detect     flows      flows    helper        engine      engine     engine
//!   (reads)    (a person) (pure)   (polkit)      (journal)   (checks)   (reverse)
//! ```
//!
//! # The modules
//!
//! *reading a machine* → [`detect`]; *deciding* → `flows`; *changing a machine* → [`engine::steps`];
//! *crossing the privilege boundary* → `ipc` and `helper`; *showing* → `cli` and `ui`.
//! *a large file from elsewhere* → [`fetch`];
//! *a virtual machine* → [`guest`], and [`init`] inside it.
//! Arrows go one way: `cli, ui → ipc → helper → engine → guest → host`, and `flows → engine, detect, guest`.

// The recorded hosts of tests/ name the library from outside; tests inside share them.
#[cfg(test)]
extern crate self as hostwright;

pub mod cli;
pub mod detect;
pub mod engine;
pub mod fetch;
pub mod flows;
pub mod guest;
pub mod helper;
pub mod host;
pub mod init;
pub mod ipc;
mod measure;
mod pack;
mod profile;
mod tell;
#[cfg(feature = "gui")]
pub mod ui;

#[cfg(test)]
#[path = "../tests/detect/recorded.rs"]
#[allow(dead_code, missing_docs, reason = "shared with the tests of detect")]
mod recorded;
