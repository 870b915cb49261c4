// SPDX-License-Identifier: GPL-3.0-or-later
//! Runs and their undo, from outside the library.
#![allow(clippy::unwrap_used, clippy::panic)]

mod drift;
mod ends;
mod journals;
mod order;
mod properties;
mod scene;
