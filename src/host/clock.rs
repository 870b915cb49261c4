// SPDX-License-Identifier: GPL-3.0-or-later
//! The only source of time, so that tests can hold it still.

use jiff::Timestamp;

/// Tells the time of a [`Host`](super::Host).
pub trait Clock: Send + Sync {
    /// Now, in UTC.
    fn now(&self) -> Timestamp;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
