// SPDX-License-Identifier: GPL-3.0-or-later
//! Compiles modules: a private folder, the sandbox, one job budget, and the gate at the end.
//!
//! ```text
//!   sources + edits ─► work folder ─► sandbox: make vmmon ┐            ┌► cache
//!                                     sandbox: make vmnet ┴► gate ─────┴► installed by later steps
//!   the same for the next kernel …    (one job server for all kernels and modules)
//! ```

mod bundle;
mod cache;
mod jobs;
mod log;
mod pool;
mod run;
mod said;

pub(super) use bundle::write as write_bundle;
pub use cache::{CACHE, clean as clean_cache};
pub(super) use cache::{Cache, key};
pub(super) use log::{BuildLog, LOGS};
pub(super) use pool::{Order, build_all};
pub(super) use run::{BuildError, Built, Progressed, gate};
pub(super) use said::Said;

#[cfg(test)]
pub(super) mod testkit;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod together_tests;
