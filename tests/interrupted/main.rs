// SPDX-License-Identifier: GPL-3.0-or-later
//! Runs that are killed, disks that are full, places that cannot be written: nothing is lost.
//!
//! A process really dies here: the test binary starts itself again, and that child stops dead
//! (`abort(3)`, or a SIGKILL from here) at the place a test names. Then the journal is read back.
#![cfg(debug_assertions)]
#![allow(clippy::unwrap_used, clippy::panic)]

mod child;
mod disk;
mod killed;
#[path = "../engine/scene.rs"]
mod scene;
