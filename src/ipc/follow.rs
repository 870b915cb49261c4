// SPDX-License-Identifier: GPL-3.0-or-later
//! The events of a run, none lost and none twice (but those of the moment, like progress: a slow reader
//! may miss some).
//!
//! Signals bring them at once, the run's log has them all. What a signal skipped, or what happened before
//! anybody listened, is read from the log; so a slow reader or a full queue costs time and no event.

use super::proxy::RunProxy;
use super::remote::Link;
use super::{Error, NAME, RUN_INTERFACE, RUNS_PATH, run_path};
use crate::engine::Event;
use async_channel::{Receiver, Sender, bounded};
use async_io::Timer;
use futures_lite::{StreamExt, future, stream};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use zbus::message::Type;
use zbus::names::{BusName, WellKnownName};
use zbus::{Connection, MatchRule, Message, MessageStream};

/// How many signals wait for a slow reader before the oldest are dropped (and later read from the log).
const QUEUE: usize = 4096;

/// How long a run may be silent before its log is looked at. Nothing should be missing then; but a client that
/// waits for ever for a signal that was lost is worse than one question in ten seconds.
const SILENCE: Duration = Duration::from_secs(10);

/// What a run told.
#[derive(Debug, Clone, PartialEq)]
pub struct RunEvent {
    /// Its number in the run's log, from 0; none for an event of the moment, which the log does not keep.
    pub number: Option<u64>,
    /// The event.
    pub event: Event,
    /// The event as the document it came as.
    pub json: String,
}

/// What the bus brought.
#[derive(Debug)]
enum Arrived {
    Event {
        sender: String,
        path: String,
        number: Option<u64>,
        json: String,
    },
    /// A helper went away.
    OwnerGone,
}

/// Which part of a run's story is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Story {
    /// The run that this client began: from its first event to its end.
    Run,
    /// The undo that this client began: from the last start to the end.
    Undo,
    /// A run that was found: everything there is, an undo of it too.
    Whole,
}

/// Signals of all runs, taken off the connection as they come: a stream that nobody reads would stop
/// everything else on the connection, answers to calls too.
#[derive(Debug)]
pub(super) struct Incoming {
    queue: Receiver<Arrived>,
    overflow: Arc<AtomicBool>,
    _pump: zbus::Task<()>,
}

impl Incoming {
    pub(super) async fn subscribe(connection: &Connection) -> Result<Self, Error> {
        let events = MatchRule::builder()
            .msg_type(Type::Signal)
            .interface(RUN_INTERFACE)?
            .path_namespace(RUNS_PATH)?
            .build();
        let owners = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender("org.freedesktop.DBus")?
            .interface("org.freedesktop.DBus")?
            .member("NameOwnerChanged")?
            .arg(0, NAME)?
            .build();
        let events = MessageStream::for_match_rule(events, connection, None).await?;
        let owners = MessageStream::for_match_rule(owners, connection, None).await?;
        let (sender, queue) = bounded(QUEUE);
        let overflow = Arc::new(AtomicBool::new(false));
        let pump = pump(stream::race(events, owners), sender, overflow.clone());
        let task = connection.executor().spawn(pump, "events of runs");
        Ok(Self { queue, overflow, _pump: task })
    }
}

async fn pump(
    mut messages: impl stream::Stream<Item = zbus::Result<Message>> + Unpin,
    to: Sender<Arrived>,
    overflow: Arc<AtomicBool>,
) {
    while let Some(message) = messages.next().await {
        let Some(arrived) = message.ok().as_ref().and_then(arrived) else { continue };
        match to.force_send(arrived) {
            Ok(None) => {}
            Ok(Some(_)) => overflow.store(true, Ordering::SeqCst),
            Err(_) => return,
        }
    }
    // The connection is gone; closing the queue says so.
    to.close();
}

fn arrived(message: &Message) -> Option<Arrived> {
    let header = message.header();
    let (sender, body) = (header.sender()?.to_string(), message.body());
    match header.member()?.as_str() {
        "Event" => {
            let (number, json) = body.deserialize::<(u64, String)>().ok()?;
            Some(Arrived::Event { sender, path: header.path()?.to_string(), number: Some(number), json })
        }
        "Moment" => {
            let (json,) = body.deserialize::<(String,)>().ok()?;
            Some(Arrived::Event { sender, path: header.path()?.to_string(), number: None, json })
        }
        // Only the bus itself may say who is gone.
        "NameOwnerChanged" if sender == "org.freedesktop.DBus" => {
            let (_, old, _) = body.deserialize::<(String, String, String)>().ok()?;
            (!old.is_empty()).then_some(Arrived::OwnerGone)
        }
        _ => None,
    }
}

fn told(number: Option<u64>, json: String) -> Result<RunEvent, Error> {
    let event = serde_json::from_str(&json).map_err(|e| Error::Protocol(e.to_string()))?;
    Ok(RunEvent { number, event, json })
}

/// Reads the events of one run to its end. See [`Run::follow`](super::Run::follow).
#[derive(Debug)]
pub struct Follow {
    path: String,
    proxy: RunProxy<'static>,
    /// Who may tell events, and who may not: connections that were asked about.
    helpers: HashMap<String, bool>,
    incoming: Incoming,
    /// Documents from number `next` on, ready to be handed out.
    backlog: VecDeque<String>,
    next: u64,
    /// Whether the log has been read once; before that nobody knows where we are.
    began: bool,
    /// Whether the log says that nothing follows what is in the backlog.
    ended: bool,
    story: Story,
    over: bool,
    /// Kept open, when the run is on another machine.
    link: Option<Arc<Link>>,
}

impl Follow {
    pub(super) fn new(
        run: u32,
        proxy: RunProxy<'static>,
        incoming: Incoming,
        story: Story,
        link: Option<Arc<Link>>,
    ) -> Self {
        Self {
            path: run_path(run),
            proxy,
            helpers: HashMap::new(),
            incoming,
            backlog: VecDeque::new(),
            next: 0,
            began: false,
            ended: false,
            story,
            over: false,
            link,
        }
    }

    /// What can be asked of the run beside following it; usable from another thread.
    pub fn control(&self) -> RunProxy<'static> {
        self.proxy.clone()
    }

    /// Leaves out what was told already, over a connection that is lost by now: events before number `from`.
    #[must_use]
    pub fn from(mut self, from: u64) -> Self {
        self.next = from;
        self
    }

    /// The next event; `None` after the last.
    ///
    /// # Errors
    /// [`Error::Gone`] when the helper went away before the run was over; the last item then. [`Error::Lost`] when
    /// the connection to another machine broke: the run goes on there, and can be followed from where this ended.
    pub async fn next(&mut self) -> Option<Result<RunEvent, Error>> {
        if self.over {
            return None;
        }
        let item = self.advance().await;
        let item = match (item, &self.link) {
            (Err(error), Some(link)) => Err(link.explain(error).await),
            (item, _) => item,
        };
        self.over = match &item {
            Ok(Some(told)) => self.is_last(&told.event).await,
            Ok(None) | Err(_) => true,
        };
        item.transpose()
    }

    async fn advance(&mut self) -> Result<Option<RunEvent>, Error> {
        if !self.began {
            self.read_log().await?;
            self.began = true;
            if self.story == Story::Undo {
                self.skip_to_last_start();
            }
        }
        loop {
            if let Some(json) = self.backlog.pop_front() {
                let number = self.next;
                self.next += 1;
                return told(Some(number), json).map(Some);
            }
            if self.ended {
                // Without its last event: interrupted. Who began it must hear of that.
                return if self.story == Story::Whole { Ok(None) } else { Err(Error::Gone) };
            }
            if self.incoming.overflow.swap(false, Ordering::SeqCst) {
                self.read_log().await?;
                continue;
            }
            let arrived = future::or(async { Some(self.incoming.queue.recv().await) }, async {
                Timer::after(SILENCE).await;
                None
            });
            let Some(arrived) = arrived.await else {
                self.read_log().await?;
                continue;
            };
            match arrived {
                Err(_) => return Err(Error::Gone),
                // The log, read from disk by a new helper, knows how far it came.
                Ok(Arrived::OwnerGone) => self.read_log().await.map_err(|_| Error::Gone)?,
                Ok(Arrived::Event { sender, path, number, json }) => {
                    if path != self.path || !self.is_helper(sender).await {
                        continue;
                    }
                    match number {
                        None => return told(None, json).map(Some),
                        Some(number) if number < self.next => {}
                        Some(number) if number == self.next => self.backlog.push_back(json),
                        Some(_) => self.read_log().await?,
                    }
                }
            }
        }
    }

    /// Whether a connection is the helper's. Anybody may send us a signal that looks like an event; the
    /// bus lets only root have the helper's name, and says who has it.
    async fn is_helper(&mut self, sender: String) -> bool {
        if let Some(known) = self.helpers.get(&sender) {
            return *known;
        }
        // A helper that left in between: its going is told too, and then the log is read.
        let owner = match zbus::fdo::DBusProxy::new(self.proxy.inner().connection()).await {
            Ok(bus) => {
                bus.get_name_owner(BusName::from(WellKnownName::from_static_str_unchecked(NAME))).await
            }
            Err(error) => Err(error.into()),
        };
        let known = owner.is_ok_and(|owner| owner.as_str() == sender);
        self.helpers.insert(sender, known);
        known
    }

    /// Reads everything from `next` on into the backlog.
    async fn read_log(&mut self) -> Result<(), Error> {
        self.backlog.clear();
        let mut from = self.next;
        loop {
            let (documents, next, ended) = self.proxy.log(from).await?;
            let none = documents.is_empty();
            self.backlog.extend(documents);
            from = next;
            if none || ended {
                self.ended = ended;
                return Ok(());
            }
        }
    }

    fn skip_to_last_start(&mut self) {
        let is_start =
            |json: &String| matches!(serde_json::from_str(json), Ok(Event::Started { undo: true, .. }));
        if let Some(at) = self.backlog.iter().rposition(is_start) {
            self.backlog.drain(..at);
            self.next += at as u64;
        }
    }

    /// Whether the story ends with this event.
    async fn is_last(&mut self, event: &Event) -> bool {
        if !matches!(event, Event::Finished { .. }) || !self.backlog.is_empty() {
            return false;
        }
        // What was found may go on: a finished run, and then its undo.
        self.story != Story::Whole
            || self.ended
            || match self.proxy.log(self.next).await {
                Ok((documents, _, ended)) => ended && documents.is_empty(),
                Err(_) => true,
            }
    }
}
