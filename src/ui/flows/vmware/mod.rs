// SPDX-License-Identifier: GPL-3.0-or-later
//! The assistant for VMware's modules: nine pages on one stack.

mod assistant;
mod checks;
mod extras;
mod hardware;
mod kernels;
mod mode;
mod progress;
mod result;
mod review;
mod state;
mod welcome;

pub(in crate::ui) use assistant::Assistant;
pub(in crate::ui) use state::{Request, Start, Then};
