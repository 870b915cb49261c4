// SPDX-License-Identifier: GPL-3.0-or-later
//! The views beside the assistants.

mod headline;
mod history;
mod home;
mod profiles;
pub(super) mod undo;

pub(super) use history::HistoryPage;
pub(super) use home::HomePage;
pub(super) use profiles::ProfilesPage;
