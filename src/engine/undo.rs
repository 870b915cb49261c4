// SPDX-License-Identifier: GPL-3.0-or-later
//! Takes a run back, last step first.

use super::error::RunError;
use super::event::Sink;
use super::report::{Owner, RunReport, UndoPreview};
use crate::host::{Cancel, Host};

/// Takes a run back, last step first; stops at what changed since.
///
/// # Errors
/// When the undo was not begun; nothing was changed then.
pub fn undo(
    _host: &Host,
    _run: u32,
    _owner: &Owner,
    _cancel: &Cancel,
    _sink: &mut dyn Sink,
) -> Result<RunReport, RunError> {
    todo!()
}

/// What [`undo`] would do, and what stands in its way. Reads only.
///
/// # Errors
/// When there is no such run or its records cannot be read.
pub fn undo_preview(_host: &Host, _run: u32) -> Result<UndoPreview, RunError> {
    todo!()
}
