// SPDX-License-Identifier: GPL-3.0-or-later
//! The frequency of this processor's time stamp counter, which the kernel knows and does not tell.
//!
//! The second place with `unsafe`: the counter is read with an intrinsic.
#![allow(unsafe_code)]

use std::time::{Duration, Instant};

/// How long is measured; the error is that of two readings (below 1 µs), one part in ten thousand.
const MEASURE: Duration = Duration::from_millis(10);

/// How often a reading is taken again to find one that was not interrupted.
const TRIES: usize = 8;

/// The frequency in kHz; `None` on other processors than x86-64.
pub fn tsc_khz() -> Option<u64> {
    let (began, from) = reading()?;
    std::thread::sleep(MEASURE);
    let (ended, to) = reading()?;
    let micros = ended.duration_since(began).as_micros();
    let khz = u128::from(to.checked_sub(from)?) * 1000 / micros.max(1);
    // Nothing that counts has ever been slower or faster than this.
    u64::try_from(khz).ok().filter(|khz| (100_000..20_000_000).contains(khz))
}

/// A time and the counter at it: of several readings the one that took least.
#[cfg(target_arch = "x86_64")]
fn reading() -> Option<(Instant, u64)> {
    let one = || {
        let before = Instant::now();
        // SAFETY: reading the counter has no effect; Linux lets every process do it unless it asked for the
        // opposite (PR_SET_TSC), and we never do.
        let counter = unsafe { std::arch::x86_64::_rdtsc() };
        let took = before.elapsed();
        (took, before + took / 2, counter)
    };
    (0..TRIES).map(|_| one()).min_by_key(|r| r.0).map(|(_, at, counter)| (at, counter))
}

#[cfg(not(target_arch = "x86_64"))]
fn reading() -> Option<(Instant, u64)> {
    None
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn two_measurements_agree() {
        let all: Vec<u64> = (0..3).map(|_| tsc_khz().unwrap()).collect();
        let (low, high) = (all.iter().min().unwrap(), all.iter().max().unwrap());
        assert!((high - low) * 200 < *high, "{all:?}");
    }
}
