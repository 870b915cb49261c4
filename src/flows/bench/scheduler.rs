// SPDX-License-Identifier: GPL-3.0-or-later
//! How soon a thread runs that should: waking up from a sleep (as cyclictest measures it, without real-time priority, as
//! the threads of a desktop's virtual machines run), and a change from thread to thread and back through pipes.

use super::document::{Place, Recorder};
use super::metrics::{SWITCH, WAKE, WAKE_TAIL};
use super::run::{Setup, Step, Trouble};
use super::stats::quantile;
use std::hint::black_box;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a thread sleeps.
const SLEEP: Duration = Duration::from_millis(1);

/// The workload.
pub(super) struct Scheduler;

/// How late it wakes up, in µs, sorted.
fn lateness(time: Duration) -> Vec<f64> {
    // Long enough for one in a hundred to be seen.
    let times = (time.as_micros() / SLEEP.as_micros()).max(400) as usize;
    let mut late: Vec<f64> = (0..times)
        .map(|_| {
            let began = Instant::now();
            std::thread::sleep(SLEEP);
            began.elapsed().saturating_sub(SLEEP).as_secs_f64() * 1e6
        })
        .collect();
    late.sort_by(f64::total_cmp);
    late
}

/// The same while every processor has something to do.
fn lateness_when_busy(time: Duration) -> Vec<f64> {
    let stop = AtomicBool::new(false);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut n = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    n = black_box(n.wrapping_mul(31).wrapping_add(1));
                }
            });
        }
        let late = lateness(time);
        stop.store(true, Ordering::Relaxed);
        late
    })
}

/// µs for a byte to another thread and back.
fn switch(time: Duration) -> std::io::Result<f64> {
    let (mut here_in, mut there_out) = std::io::pipe()?;
    let (mut there_in, mut here_out) = std::io::pipe()?;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut byte = [0];
            // Until the other end is closed.
            while there_in.read_exact(&mut byte).is_ok() && there_out.write_all(&byte).is_ok() {}
        });
        let mut byte = [0];
        let mut times = 0u32;
        let began = Instant::now();
        let result = loop {
            for _ in 0..100 {
                here_out.write_all(&byte).and_then(|()| here_in.read_exact(&mut byte))?;
            }
            times += 100;
            let took = began.elapsed();
            if took >= time {
                break took.as_secs_f64() * 1e6 / f64::from(times);
            }
        };
        drop(here_out);
        Ok(result)
    })
}

impl Step for Scheduler {
    fn round(&mut self, setup: &Setup<'_>, to: &mut Recorder) -> Result<(), Trouble> {
        for (way, late) in [("idle", lateness(setup.time)), ("busy", lateness_when_busy(setup.time))] {
            setup.stop_if_cancelled()?;
            to.add(WAKE, Some(way), &Place::Host, quantile(&late, 0.5));
            to.add(WAKE_TAIL, Some(way), &Place::Host, quantile(&late, 0.99));
        }
        let took = switch(setup.time).map_err(|e| Trouble::left_out(format!("pipes: {e}")))?;
        to.add(SWITCH, None, &Place::Host, took);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_to_another_thread_and_back_and_sleepers_wake_up() {
        assert!(switch(Duration::from_millis(1)).unwrap() > 0.0);
        let late = lateness(Duration::ZERO);
        assert_eq!(late.len(), 400);
        assert!(late.is_sorted());
    }
}
