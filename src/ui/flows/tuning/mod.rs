// SPDX-License-Identifier: GPL-3.0-or-later
//! Tuning: what can be set, why, and what is picked. The plan and the run are shown by the assistant.

mod row;
mod view;

pub(in crate::ui) use view::{TuningView, request};
