// SPDX-License-Identifier: GPL-3.0-or-later
//! Ends the machine when a stage does not end: a mount whose server never answers cannot be interrupted from
//! within.

use super::{sys, voice};
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// No stage before the command takes so long, however slow the machine.
const LONGEST: Duration = Duration::from_secs(180);

static STAGE: Mutex<&str> = Mutex::new("init");

/// Notes which stage it is.
pub fn at(stage: &'static str) {
    if let Ok(mut now) = STAGE.lock() {
        *now = stage;
    }
}

/// Watches until it is stopped or dropped.
#[derive(Debug)]
pub struct Guard(Sender<()>);

impl Guard {
    /// All is well.
    pub fn stop(self) {
        drop(self.0);
    }
}

/// Begins to watch.
pub fn start() -> Guard {
    let (stop, stopped) = channel();
    let watch = move || {
        if stopped.recv_timeout(LONGEST) == Err(RecvTimeoutError::Timeout) {
            let stage = STAGE.lock().map(|s| *s).unwrap_or("init");
            voice::console(&format!("{stage}: not done after {} seconds", LONGEST.as_secs()));
            sys::restart();
        }
    };
    // Without a thread there is no watchdog; the host has a timeout of its own.
    let _ = std::thread::Builder::new().stack_size(64 << 10).spawn(watch);
    Guard(stop)
}
