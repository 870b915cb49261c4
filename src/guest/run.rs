// SPDX-License-Identifier: GPL-3.0-or-later
//! Runs one guest from its preparation to its end.

use super::error::GuestError;
use super::report::Report;
use super::setup::{GuestEvent, Setup};
use super::spec::Guest;
use crate::host::Cancel;

/// Runs `guest` to its end, writes `report.json` into the run's folder and returns the same.
///
/// Whatever happens, no process of it is left: QEMU and its helpers are in process groups of their own, die
/// with this thread, and are ended and reaped before this returns. A guest that panics, hangs or fails is no
/// error here: its [`Report::outcome`] says so.
///
/// # Errors
/// When the guest cannot be started, with what to do.
pub fn run(
    _guest: &Guest,
    _setup: Setup<'_>,
    _cancel: &Cancel,
    _events: &mut dyn FnMut(GuestEvent<'_>),
) -> Result<Report, GuestError> {
    Err(GuestError::refused("unfinished", "guests cannot be run yet", "wait for the runner"))
}
