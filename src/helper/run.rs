// SPDX-License-Identifier: GPL-3.0-or-later
//! A run on the bus: `/org/hostwright/Helper1/runs/N`. A run that goes on answers from memory, one that
//! is over from its records.

use super::caller::Caller;
use super::job::{Live, Standing, run_error};
use super::polkit::authorize;
use super::shared::Shared;
use super::work::{self, lock};
use crate::engine::{self, Event, Owner, Permission, RunState, RunSummary, StepState};
use crate::ipc::{Error, RUN_INTERFACE, run_path};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use zbus::Connection;
use zbus::message::Header;
use zbus::names::OwnedUniqueName;
use zbus::object_server::SignalEmitter;

/// How many events one answer of `Log` holds.
const PAGE: usize = 1000;
/// How many bytes of events one answer of `Log` holds, about.
const PAGE_BYTES: usize = 1 << 20;
/// How many clients one run tells its events.
const WATCHERS: usize = 16;

/// What the helper knows about one run.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) number: u32,
    pub(super) owner: Owner,
    live: Mutex<Option<Arc<Live>>>,
    /// Who gets the events. They go to these alone: a build's log is not for everybody on the machine.
    watchers: Mutex<Vec<OwnedUniqueName>>,
}

impl Entry {
    pub(super) fn new(number: u32, owner: Owner) -> Self {
        Self { number, owner, live: Mutex::new(None), watchers: Mutex::new(Vec::new()) }
    }

    pub(super) fn live(&self) -> Option<Arc<Live>> {
        lock(&self.live).clone()
    }

    pub(super) fn set_live(&self, live: Arc<Live>) {
        *lock(&self.live) = Some(live);
    }

    pub(super) fn watch(&self, name: OwnedUniqueName) {
        let mut watchers = lock(&self.watchers);
        if !watchers.contains(&name) {
            if watchers.len() >= WATCHERS {
                // The first is who began it. Who is left out asks for the log after a while.
                watchers.remove(1);
            }
            watchers.push(name);
        }
    }

    /// Tells what happens, as it happens, to the end of `live`.
    pub(super) async fn tell(&self, connection: &Connection, live: &Arc<Live>) -> zbus::Result<()> {
        let path = run_path(self.number);
        let object = connection.object_server().interface::<_, RunObject>(path.as_str()).await?;
        let mut next = live.first();
        let mut shown: Option<Standing> = None;
        loop {
            live.news().await;
            let ended = loop {
                // What is no longer kept can be read from the log; numbers show that it is missing.
                next = next.max(live.first());
                let Some((events, after, ended)) = live.log(next, PAGE) else { continue };
                let watchers = lock(&self.watchers).clone();
                for (number, json) in (next..).zip(&events) {
                    self.tell_moments(connection, live, number, &watchers).await?;
                    for watcher in &watchers {
                        let body = (number, json);
                        connection
                            .emit_signal(Some(watcher), path.as_str(), RUN_INTERFACE, "Event", &body)
                            .await?;
                    }
                }
                self.tell_moments(connection, live, after, &watchers).await?;
                next = after;
                if events.is_empty() || ended {
                    break ended;
                }
            };
            let standing = live.standing();
            if ended {
                let mut current = lock(&self.live);
                if current.as_ref().is_some_and(|l| Arc::ptr_eq(l, live)) {
                    *current = None;
                }
            }
            let emitter = object.signal_emitter();
            let was = shown.as_ref();
            let run = object.get().await;
            if was.is_none_or(|w| w.state != standing.state) {
                run.state_changed(emitter).await?;
            }
            if was.is_none_or(|w| (w.step, &w.title) != (standing.step, &standing.title)) {
                run.step_changed(emitter).await?;
            }
            // Nobody sees less than a half percent.
            if ended || was.is_none_or(|w| (w.progress - standing.progress).abs() >= 0.005) {
                run.progress_changed(emitter).await?;
                shown = Some(standing);
            } else if let Some(was) = &mut shown {
                let progress = was.progress;
                *was = standing;
                was.progress = progress;
            }
            if ended {
                return Ok(());
            }
        }
    }

    async fn tell_moments(
        &self,
        connection: &Connection,
        live: &Live,
        before: u64,
        watchers: &[OwnedUniqueName],
    ) -> zbus::Result<()> {
        let path = run_path(self.number);
        for json in live.take_moments(before) {
            for watcher in watchers {
                let body = (&json,);
                connection.emit_signal(Some(watcher), path.as_str(), RUN_INTERFACE, "Moment", &body).await?;
            }
        }
        Ok(())
    }
}

/// Where a run stands by its records.
fn recorded(summary: &RunSummary) -> Standing {
    let reached = |s: &&engine::StepSummary| s.state != StepState::Pending;
    let mut standing = Standing::new(summary.state, vec![1; summary.steps.len()]);
    if let Some(step) = summary.steps.iter().rfind(reached) {
        standing.take(&Event::Step { step: step.step, title: step.title.clone() });
    }
    let done = summary.steps.iter().filter(reached).count() as f64;
    standing.progress = match summary.state {
        RunState::Running | RunState::Undoing | RunState::Interrupted => {
            done / (summary.steps.len().max(1) as f64)
        }
        _ => 1.0,
    };
    standing
}

/// The object on the bus.
#[derive(Debug)]
pub(super) struct RunObject {
    pub(super) shared: Arc<Shared>,
    pub(super) entry: Arc<Entry>,
}

impl RunObject {
    async fn standing(&self) -> zbus::fdo::Result<Standing> {
        let _arrived = self.shared.work.arrive();
        if let Some(live) = self.entry.live() {
            return Ok(live.standing());
        }
        let (shared, number) = (self.shared.clone(), self.entry.number);
        let runs = work::in_thread("runs", move || engine::runs(&shared.host)).await;
        let failed = |e: String| zbus::fdo::Error::Failed(e);
        let runs = runs.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))?;
        runs.iter()
            .find(|s| s.run == number)
            .map(recorded)
            .ok_or_else(|| failed(Error::NoSuchRun(number).to_string()))
    }

    fn belongs_to(&self, caller: &Caller) -> bool {
        caller.uid == 0
            || caller.uid == self.entry.owner.uid
            || self.entry.live().is_some_and(|l| l.owner.uid == caller.uid)
    }
}

#[zbus::interface(name = "org.hostwright.Helper1.Run", introspection_docs = false)]
impl RunObject {
    /// Asks the run to stop and to take back what it did.
    async fn cancel(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        let arrived = self.shared.work.arrive();
        let caller = Caller::of(self.shared.asking()?, &header).await?;
        let _piece = arrived.begin_at_run(caller.uid).await?;
        let not_running = || {
            let run = self.entry.number;
            Error::BadArgument(format!(
                "run {run} is not going on, so that there is nothing to cancel; to take it back use `hostwright undo {run}`"
            ))
        };
        let live = self.entry.live().ok_or_else(not_running)?;
        // Whoever began this one; not who began the run that is being undone.
        if caller.uid != 0 && caller.uid != live.owner.uid {
            let about = BTreeMap::from([
                ("run".to_owned(), self.entry.number.to_string()),
                ("title".to_owned(), live.standing().title),
            ]);
            authorize(&caller, &BTreeSet::from([Permission::Undo]), &about).await?;
        }
        tracing::info!(run = self.entry.number, uid = caller.uid, "cancelled");
        live.cancel.cancel();
        Ok(())
    }

    /// Events from number `from` on.
    #[zbus(out_args("events", "next", "ended"))]
    async fn log(
        &self,
        #[zbus(header)] header: Header<'_>,
        from: u64,
    ) -> Result<(Vec<String>, u64, bool), Error> {
        let arrived = self.shared.work.arrive();
        let caller = Caller::of(self.shared.asking()?, &header).await?;
        let _piece = arrived.begin_at_run(caller.uid).await?;
        if !self.belongs_to(&caller) {
            authorize(&caller, &BTreeSet::from([Permission::Inspect]), &BTreeMap::new()).await?;
        }
        // Before reading: what comes after the answer is told as a signal.
        self.entry.watch(caller.name);
        let live = self.entry.live();
        if let Some(answer) = live.as_ref().and_then(|l| l.log(from, PAGE)) {
            return Ok(answer);
        }
        let (shared, number) = (self.shared.clone(), self.entry.number);
        let events = work::in_thread("events", move || engine::events(&shared.host, number)).await?;
        Ok(page(&events.map_err(|e| run_error(&e))?, from, live.is_some()))
    }

    #[zbus(property)]
    async fn state(&self) -> zbus::fdo::Result<String> {
        let state = serde_json::to_value(self.standing().await?.state).ok();
        Ok(state.as_ref().and_then(serde_json::Value::as_str).unwrap_or("failed").to_owned())
    }

    #[zbus(property)]
    async fn step(&self) -> zbus::fdo::Result<(u32, u32, String)> {
        let standing = self.standing().await?;
        Ok((standing.step, standing.steps, standing.title))
    }

    #[zbus(property)]
    async fn progress(&self) -> zbus::fdo::Result<f64> {
        Ok(self.standing().await?.progress)
    }

    #[zbus(signal)]
    async fn moment(emitter: &SignalEmitter<'_>, event: &str) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn event(emitter: &SignalEmitter<'_>, number: u64, event: &str) -> zbus::Result<()>;
}

/// One answer of `Log` from a run's records. Pure.
fn page(events: &[Event], from: u64, goes_on: bool) -> (Vec<String>, u64, bool) {
    let skip = usize::try_from(from).unwrap_or(usize::MAX);
    let mut bytes = 0;
    let documents: Vec<String> = events
        .iter()
        .skip(skip)
        .take(PAGE)
        .filter_map(|e| serde_json::to_string(e).ok())
        .take_while(|json| {
            bytes += json.len();
            bytes <= PAGE_BYTES || bytes == json.len()
        })
        .collect();
    let next = from.saturating_add(documents.len() as u64);
    (documents, next, !goes_on && next >= events.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(n: usize, length: usize) -> Vec<Event> {
        let line = "x".repeat(length);
        (0..n).map(|step| Event::Log { step, stream: crate::host::Stream::Out, line: line.clone() }).collect()
    }

    #[test]
    fn a_long_log_comes_in_pages_without_loss() {
        for (n, length) in [(2500, 10), (50, 100_000), (3, 2 << 20), (0, 0)] {
            let events = lines(n, length);
            let (mut from, mut got) = (0, 0);
            loop {
                let (documents, next, ended) = page(&events, from, false);
                assert_eq!(next, from + documents.len() as u64);
                got += documents.len();
                from = next;
                if ended {
                    break;
                }
                assert!(!documents.is_empty(), "{n} lines of {length}");
            }
            assert_eq!(got, n);
        }
    }

    #[test]
    fn a_number_past_the_end_is_answered_with_nothing() {
        assert_eq!(page(&lines(3, 1), u64::MAX, false), (vec![], u64::MAX, true));
        assert_eq!(page(&lines(3, 1), 3, true), (vec![], 3, false));
    }

    #[test]
    fn the_interface_has_the_published_name() {
        use zbus::object_server::Interface;
        assert_eq!(RunObject::name().as_str(), RUN_INTERFACE);
    }
}
