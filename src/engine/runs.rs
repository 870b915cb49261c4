// SPDX-License-Identifier: GPL-3.0-or-later
//! The runs of a machine.

use super::error::RunError;
use super::event::Event;
use super::report::RunSummary;
use crate::host::Host;

/// All runs, newest first.
///
/// # Errors
/// When the folder of the runs cannot be read.
pub fn runs(_host: &Host) -> Result<Vec<RunSummary>, RunError> {
    todo!()
}

/// The events of a run, as they came.
///
/// # Errors
/// When there is no such run or they cannot be read.
pub fn events(_host: &Host, _run: u32) -> Result<Vec<Event>, RunError> {
    todo!()
}
