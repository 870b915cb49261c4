// SPDX-License-Identifier: GPL-3.0-or-later
//! What several pages show.

mod bit_by_bit;
mod chart_view;
mod choice;
mod diff;
mod findings;
mod log_model;
mod log_view;
mod page_head;
mod problem_view;
mod rows;
mod side_by_side;

pub(super) use bit_by_bit::{BitByBit, Deed};
pub(super) use chart_view::ChartView;
pub(super) use choice::whole_entries;
pub(super) use diff::{code, diff};
pub(super) use findings::Findings;
pub(super) use log_model::Kind;
pub(super) use log_view::LogView;
pub(super) use page_head::PageHead;
pub(super) use problem_view::ProblemView;
pub(super) use rows::{
    badge, clear, copied, copy_button, expander, finding, mark_icon, named, named_menu, text_row,
};
pub(super) use side_by_side::SideBySide;
