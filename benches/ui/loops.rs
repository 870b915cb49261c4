// SPDX-License-Identifier: GPL-3.0-or-later
//! How long the main loop was kept from its next round.

use gtk::glib;
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

const BEAT: Duration = Duration::from_millis(2);

/// What the main thread has computed so far: unlike a clock, it does not run while others have the processor.
pub(crate) fn computed() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// A source of the main loop that comes back every two milliseconds, before all others, and sees how late it is.
pub(crate) struct Heartbeat {
    longest: Rc<Cell<Duration>>,
    longest_computed: Rc<Cell<Duration>>,
    source: Option<glib::SourceId>,
}

impl Heartbeat {
    pub(crate) fn new() -> Self {
        let (longest, longest_computed) = (Rc::<Cell<Duration>>::default(), Rc::<Cell<Duration>>::default());
        let mut last = Instant::now();
        let mut before = computed();
        let source = glib::timeout_add_local_full(BEAT, glib::Priority::HIGH, {
            let (longest, longest_computed) = (longest.clone(), longest_computed.clone());
            move || {
                let (now, after) = (Instant::now(), computed());
                longest.set(longest.get().max((now - last).saturating_sub(BEAT)));
                longest_computed.set(longest_computed.get().max(after - before));
                (last, before) = (now, after);
                glib::ControlFlow::Continue
            }
        });
        Self { longest, longest_computed, source: Some(source) }
    }

    /// The longest stall by the clock, and the longest time computed in one go, in milliseconds.
    pub(crate) fn longest(&self) -> (f64, f64) {
        (self.longest.get().as_secs_f64() * 1000.0, self.longest_computed.get().as_secs_f64() * 1000.0)
    }

    /// Forgets what was so far.
    pub(crate) fn reset(&self) {
        self.longest.set(Duration::ZERO);
        self.longest_computed.set(Duration::ZERO);
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        if let Some(source) = self.source.take() {
            source.remove();
        }
    }
}
