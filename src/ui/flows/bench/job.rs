// SPDX-License-Identifier: GPL-3.0-or-later
//! One call of the benchmarks on a thread of its own, and what it tells the main loop.

use crate::flows::bench::{Results, Told, Workload};
use crate::host::Cancel;
use crate::measure::{self, Wish};
use crate::tell::Problem;
use async_channel::Receiver;

/// What is heard of it.
#[derive(Debug)]
pub(super) enum Heard {
    /// A workload is made ready.
    Prepares(Workload),
    /// A workload is run, in this round, from 1.
    Runs(Workload, usize),
    /// Something is not measured: what, and why.
    LeftOut(String, String),
    /// It is over.
    Ended(Box<Result<Results, Problem>>),
}

/// Benchmarks under way.
#[derive(Debug, Clone)]
pub(super) struct Job {
    cancel: Cancel,
}

impl Job {
    /// Begins. Guests die with the thread.
    pub(super) fn begin(wish: Wish) -> Result<(Self, Receiver<Heard>), Problem> {
        let (to, from) = async_channel::unbounded();
        let cancel = Cancel::new();
        let job = Self { cancel: cancel.clone() };
        let work = move || {
            // Nobody listens any more when the window is gone.
            let measured = measure::run(&wish, &cancel, &mut |told| {
                let _ = to.try_send(match told {
                    Told::Prepares(workload) => Heard::Prepares(workload),
                    Told::Runs { workload, round } => Heard::Runs(workload, round),
                    Told::LeftOut { what, why } => Heard::LeftOut(what.to_owned(), why.to_owned()),
                });
            });
            let _ = to.try_send(Heard::Ended(Box::new(measured.map(|(results, _)| results))));
        };
        std::thread::Builder::new()
            .name("bench".to_owned())
            .spawn(work)
            .map_err(|e| Problem::internal("begin a thread", &e))?;
        Ok((job, from))
    }

    /// Asks it to stop; it says when it has.
    pub(super) fn cancel(&self) {
        self.cancel.cancel();
    }
}
