// SPDX-License-Identifier: GPL-3.0-or-later
//! The one run that changes the machine: its thread, and what it has told so far.

use super::Flows;
use super::work::lock;
use crate::engine::{self, Event, Inputs, Owner, Plan, RunError, RunReport, RunState, Sink};
use crate::host::{Cancel, Host, LockError};
use crate::ipc::Error;
use async_channel::{Receiver, Sender, bounded};
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

/// How many events of the moment wait to be told; the oldest are dropped beyond.
const MOMENTS: usize = 256;
/// How many bytes of events a run keeps in memory; older ones are read from its folder.
const KEEP: usize = 4 << 20;

/// What a run's thread does.
#[derive(Debug)]
pub(super) enum Task {
    /// Carries out a plan.
    Execute { plan: Box<Plan>, inputs: Arc<Inputs> },
    /// Takes a run back.
    Undo { run: u32 },
}

/// Where a run stands, as its object shows it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Standing {
    pub(super) state: RunState,
    /// From 1; 0 before the first.
    pub(super) step: u32,
    pub(super) steps: u32,
    pub(super) title: String,
    /// From 0 to 1.
    pub(super) progress: f64,
    /// The share of each step in the whole, in the order of the plan; empty when all count alike.
    weights: Vec<u32>,
    /// How much of each step is done, from 0 to 1; builds for several kernels go on at once.
    parts: BTreeMap<usize, f64>,
    undoing: bool,
}

impl Standing {
    pub(super) fn new(state: RunState, weights: Vec<u32>) -> Self {
        let steps = u32::try_from(weights.len()).unwrap_or(u32::MAX);
        Self {
            state,
            step: 0,
            steps,
            title: String::new(),
            progress: 0.0,
            weights,
            parts: BTreeMap::new(),
            undoing: false,
        }
    }

    /// What an event changes.
    pub(super) fn take(&mut self, event: &Event) {
        match event {
            Event::Started { steps, undo, .. } => {
                self.state = if *undo { RunState::Undoing } else { RunState::Running };
                self.steps = u32::try_from(*steps).unwrap_or(u32::MAX);
                self.undoing = *undo;
                if *undo {
                    // Taking back, also after a failure in the middle: another story with other steps.
                    (self.step, self.progress) = (0, 0.0);
                    self.weights.clear();
                    self.parts.clear();
                }
            }
            Event::Step { step, title } => {
                // Steps are taken back from the last to the first; they are counted as they come.
                let number = u32::try_from(*step).unwrap_or(u32::MAX).saturating_add(1);
                self.step = if self.undoing { self.step.saturating_add(1) } else { number };
                self.title.clone_from(title);
            }
            Event::Progress { step, done, total, .. } if *total > 0 => {
                self.progressed(*step, (*done as f64 / *total as f64).clamp(0.0, 1.0));
            }
            Event::StepDone { step, .. } => self.progressed(*step, 1.0),
            Event::Finished { state, .. } => {
                self.state = *state;
                self.progress = 1.0;
            }
            _ => {}
        }
    }
}

impl Standing {
    /// So much of a step is done now.
    fn progressed(&mut self, step: usize, part: f64) {
        self.parts.insert(step, part);
        let all = self.weights.iter().map(|w| f64::from(*w)).sum::<f64>().max(1.0);
        let share = |step: &usize| match self.weights.get(*step) {
            Some(weight) => f64::from(*weight) / all,
            None => 1.0 / f64::from(self.steps.max(1)),
        };
        self.progress = self.parts.iter().map(|(step, part)| part * share(step)).sum::<f64>().clamp(0.0, 1.0);
    }
}

#[derive(Debug)]
struct Told {
    /// Number of the first event that is kept.
    first: u64,
    events: VecDeque<String>,
    bytes: usize,
    /// Events that are told and not kept, each with the number of the kept one that comes after it.
    moments: VecDeque<(u64, String)>,
    /// The last event, told only when the thread is through: whoever reads it may begin the next run.
    last: Option<String>,
    standing: Standing,
    ended: bool,
}

/// A run that is being carried out.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) owner: Owner,
    pub(super) cancel: Cancel,
    told: Mutex<Told>,
    wake: (Sender<()>, Receiver<()>),
}

impl Live {
    pub(super) fn new(owner: Owner, task: &Task) -> Self {
        let standing = match task {
            Task::Execute { plan, .. } => {
                Standing::new(RunState::Running, plan.steps.iter().map(|s| s.action().weight()).collect())
            }
            Task::Undo { .. } => Standing::new(RunState::Undoing, Vec::new()),
        };
        let told = Told {
            first: 0,
            events: VecDeque::new(),
            bytes: 0,
            moments: VecDeque::new(),
            last: None,
            standing,
            ended: false,
        };
        Self { owner, cancel: Cancel::new(), told: Mutex::new(told), wake: bounded(1) }
    }

    fn push(&self, event: &Event) {
        let Ok(json) = serde_json::to_string(event) else { return };
        let mut told = lock(&self.told);
        if matches!(event, Event::Finished { .. }) {
            told.last = Some(json);
            return;
        }
        told.standing.take(event);
        told.keep(json);
        drop(told);
        let _ = self.wake.0.try_send(());
    }

    fn push_passing(&self, event: &Event) {
        let Ok(json) = serde_json::to_string(event) else { return };
        let mut told = lock(&self.told);
        told.standing.take(event);
        if told.moments.len() >= MOMENTS {
            told.moments.pop_front();
        }
        let next = told.first + told.events.len() as u64;
        told.moments.push_back((next, json));
        drop(told);
        let _ = self.wake.0.try_send(());
    }

    /// Takes the events of the moment that come before the kept event with this number.
    pub(super) fn take_moments(&self, before: u64) -> Vec<String> {
        let mut told = lock(&self.told);
        let end = told.moments.iter().take_while(|(next, _)| *next <= before).count();
        told.moments.drain(..end).map(|(_, json)| json).collect()
    }

    fn end(&self) {
        let mut told = lock(&self.told);
        if let Some(json) = told.last.take() {
            if let Ok(event) = serde_json::from_str::<Event>(&json) {
                told.standing.take(&event);
            }
            told.keep(json);
        } else {
            // It ended without a word: its records say the same.
            told.standing.state = RunState::Interrupted;
        }
        told.ended = true;
        drop(told);
        let _ = self.wake.0.try_send(());
    }

    /// Comes back when there is something new to tell.
    pub(super) async fn news(&self) {
        let _ = self.wake.1.recv().await;
    }

    pub(super) fn standing(&self) -> Standing {
        lock(&self.told).standing.clone()
    }

    /// At most `count` events from number `from` on, the number after them, and whether none will follow.
    /// `None` when the first of them are no longer kept.
    pub(super) fn log(&self, from: u64, count: usize) -> Option<(Vec<String>, u64, bool)> {
        let told = lock(&self.told);
        let skip = usize::try_from(from.checked_sub(told.first)?).unwrap_or(usize::MAX);
        let events: Vec<String> = told.events.iter().skip(skip).take(count).cloned().collect();
        let end = told.first + told.events.len() as u64;
        let next = from.saturating_add(events.len() as u64).min(end.max(from));
        Some((events, next, told.ended && next >= end))
    }

    /// Number of the first event that is kept.
    pub(super) fn first(&self) -> u64 {
        lock(&self.told).first
    }
}

impl Told {
    fn keep(&mut self, json: String) {
        self.bytes += json.len();
        self.events.push_back(json);
        while self.bytes > KEEP
            && let Some(old) = self.events.pop_front()
        {
            self.bytes -= old.len();
            self.first += 1;
        }
    }
}

/// Hands events on, and the run's number as soon as the run is on record.
struct Teller {
    live: Arc<Live>,
    started: Sender<Result<u32, Error>>,
}

impl Sink for Teller {
    fn event(&mut self, event: Event) {
        self.live.push(&event);
        if let Event::Started { run, .. } = event {
            let _ = self.started.try_send(Ok(run));
        }
    }

    fn passing(&mut self, event: Event) {
        self.live.push_passing(&event);
    }
}

/// Does the work; to be called on a thread of its own. `started` gets the run's number when it has begun,
/// or why it did not begin. `release` is called before the last event is told.
pub(super) fn work(
    host: &Host,
    flows: &dyn Flows,
    task: &Task,
    live: &Arc<Live>,
    started: &Sender<Result<u32, Error>>,
    release: impl FnOnce(),
) {
    let mut teller = Teller { live: live.clone(), started: started.clone() };
    let result = catch_unwind(AssertUnwindSafe(|| match task {
        Task::Execute { plan, inputs } => {
            let check = |host: &Host, plan: &Plan| flows.check(host, plan);
            engine::execute(host, plan, inputs, &live.owner, &check, &live.cancel, &mut teller)
        }
        Task::Undo { run } => {
            // The events of the undo follow those of the run.
            lock(&live.told).first = engine::events(host, *run)?.len() as u64;
            engine::undo(host, *run, &live.owner, &live.cancel, &mut teller)
        }
    }));
    release();
    live.end();
    let error = match result {
        Ok(Ok(RunReport { run, state, .. })) => {
            tracing::info!(run, ?state, "run ended");
            Error::Failed(format!("run {run} ended without having begun; look at it with `hostwright runs`"))
        }
        Ok(Err(error)) => {
            tracing::info!(%error, "run not begun");
            run_error(&error)
        }
        Err(_) => {
            tracing::error!("the run's thread panicked");
            Error::Failed(
                "an error inside the helper ended the run; `hostwright runs` shows what became of it, and `journalctl -u hostwright-helper` why".to_owned(),
            )
        }
    };
    // Nobody reads this when the run had begun.
    let _ = started.try_send(Err(error));
}

/// Why a run was not begun, for the caller.
pub(super) fn run_error(error: &RunError) -> Error {
    let refused = |code: &str, error: &RunError| {
        Error::Refused(engine::plan::Refusal {
            code: code.to_owned(),
            reason: error.to_string(),
            remedy: None,
        })
    };
    match error {
        RunError::Lock(LockError::Held { .. }) => Error::Busy(error.to_string()),
        RunError::NoSuchRun { run } => Error::NoSuchRun(*run),
        RunError::Interrupted { .. } => refused("interrupted-run", error),
        RunError::NothingToUndo { .. } => refused("nothing-to-undo", error),
        RunError::LaterRun { .. } => refused("later-run", error),
        RunError::Plan { .. } => refused("bad-plan", error),
        RunError::Space { .. } => refused("no-space", error),
        _ => Error::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> Live {
        Live::new(Owner { uid: 0, name: "root".to_owned() }, &Task::Undo { run: 1 })
    }

    fn line(n: usize) -> Event {
        Event::Log { step: 0, stream: crate::host::Stream::Out, line: format!("{n} {}", "x".repeat(1000)) }
    }

    #[test]
    fn the_last_event_is_told_only_when_the_run_is_through() {
        let live = live();
        live.push(&Event::Started { run: 1, steps: 0, undo: true });
        live.push(&Event::Finished { state: RunState::Undone, message: String::new() });
        let (events, next, ended) = live.log(0, 10).unwrap();
        assert_eq!((events.len(), next, ended), (1, 1, false));
        live.end();
        let (events, next, ended) = live.log(1, 10).unwrap();
        assert_eq!((events.len(), next, ended), (1, 2, true));
        assert_eq!(live.standing().state, RunState::Undone);
    }

    #[test]
    fn an_event_of_the_moment_is_told_in_its_place_and_not_kept() {
        let live = live();
        let moment = Event::Progress { step: 0, done: 1, total: 2, unit: String::new() };
        live.push(&line(0));
        live.push_passing(&moment);
        live.push(&line(1));
        assert_eq!(live.log(0, 10).unwrap().0.len(), 2);
        assert_eq!(live.take_moments(0), Vec::<String>::new());
        assert_eq!(live.take_moments(1).len(), 1);
        assert_eq!(live.take_moments(2), Vec::<String>::new());
    }

    #[test]
    fn events_keep_their_numbers_when_old_ones_are_let_go() {
        let live = live();
        for n in 0..10_000 {
            live.push(&line(n));
        }
        assert_eq!(live.log(0, 10), None);
        let first = live.first();
        assert!(first > 0 && first < 10_000, "{first}");
        let (events, next, ended) = live.log(9_999, 10).unwrap();
        assert!(events[0].contains("9999 x"), "{events:?}");
        assert_eq!((next, ended), (10_000, false));
        assert_eq!(live.log(20_000, 10).unwrap(), (vec![], 20_000, false));
    }

    #[test]
    fn progress_goes_by_the_weight_of_the_steps() {
        let mut standing = Standing::new(RunState::Running, vec![9, 1]);
        standing.take(&Event::Started { run: 1, steps: 2, undo: false });
        standing.take(&Event::Step { step: 0, title: "build".to_owned() });
        standing.take(&Event::Progress { step: 0, done: 1, total: 2, unit: String::new() });
        assert!((standing.progress - 0.45).abs() < 1e-9, "{standing:?}");
        standing.take(&Event::StepDone { step: 0, unchanged: false });
        assert!((standing.progress - 0.9).abs() < 1e-9, "{standing:?}");
        assert_eq!((standing.step, standing.steps, standing.title.as_str()), (1, 2, "build"));
        standing.take(&Event::Finished { state: RunState::Done, message: String::new() });
        assert_eq!((standing.state, standing.progress), (RunState::Done, 1.0));
    }

    #[test]
    fn builds_that_go_on_at_once_count_together() {
        let mut standing = Standing::new(RunState::Running, vec![4, 4, 2]);
        let progress = |step, done| Event::Progress { step, done, total: 10, unit: String::new() };
        for (event, share) in [
            (progress(0, 5), 0.2),
            (progress(1, 5), 0.4),
            (progress(1, 10), 0.6),
            (Event::StepDone { step: 0, unchanged: false }, 0.8),
            (Event::StepDone { step: 1, unchanged: false }, 0.8),
            (Event::StepDone { step: 2, unchanged: false }, 1.0),
        ] {
            standing.take(&event);
            assert!((standing.progress - share).abs() < 1e-9, "{event:?}: {standing:?}");
        }
    }

    #[test]
    fn taking_back_counts_its_own_steps() {
        let mut standing = Standing::new(RunState::Running, vec![1; 5]);
        standing.take(&Event::Step { step: 3, title: "four".to_owned() });
        standing.take(&Event::Started { run: 1, steps: 2, undo: true });
        assert_eq!((standing.state, standing.step, standing.steps), (RunState::Undoing, 0, 2));
        standing.take(&Event::Step { step: 3, title: "Take back: four".to_owned() });
        standing.take(&Event::StepDone { step: 3, unchanged: false });
        assert_eq!((standing.step, standing.progress), (1, 0.5));
    }
}
