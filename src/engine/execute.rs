// SPDX-License-Identifier: GPL-3.0-or-later
//! Carries out a plan.

use super::error::RunError;
use super::event::{Check, Sink};
use super::plan::Plan;
use super::report::{Inputs, Owner, RunReport};
use crate::host::{Cancel, Host};

/// Carries out a plan.
///
/// # Errors
/// When the run was not begun; nothing was changed then.
pub fn execute(
    _host: &Host,
    _plan: &Plan,
    _inputs: &Inputs,
    _owner: &Owner,
    _check: &dyn Fn(&Host, &Plan) -> Vec<Check>,
    _cancel: &Cancel,
    _sink: &mut dyn Sink,
) -> Result<RunReport, RunError> {
    todo!()
}
