// SPDX-License-Identifier: GPL-3.0-or-later
//! What the objects of the helper share: the machine, the flows, the runs, and the one run that goes on.

use super::caller::Caller;
use super::job::{self, Live, Task};
use super::polkit::authorize;
use super::run::{Entry, RunObject};
use super::work::{self, Piece, Work, lock};
use super::{Flows, admit};
use crate::engine::{Inputs, Owner, Permission, Plan};
use crate::flows::PlanError;
use crate::host::{Cancel, Host};
use crate::ipc::{Error, run_path};
use async_channel::bounded;
use futures_lite::future;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use zbus::Connection;
use zbus::zvariant::{OwnedFd, OwnedObjectPath};

/// What all objects of the helper share.
pub(super) struct Shared {
    pub(super) host: Host,
    pub(super) flows: Box<dyn Flows>,
    pub(super) work: Work,
    runs: Mutex<BTreeMap<u32, Arc<Entry>>>,
    /// The run that changes the machine now. One at a time.
    current: Mutex<Option<Arc<Live>>>,
    /// See [`Caller::asking`].
    asking: Option<Connection>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("host", &self.host).finish_non_exhaustive()
    }
}

/// What is to be planned.
pub(super) struct Request {
    pub(super) flow: String,
    pub(super) choices: Value,
    pub(super) inputs: Arc<Inputs>,
}

impl Shared {
    pub(super) fn new(host: Host, flows: Box<dyn Flows>, asking: Option<Connection>) -> Self {
        let (runs, current) = (Mutex::default(), Mutex::default());
        Self { host, flows, work: Work::new(), runs, current, asking }
    }

    /// The connection over which the bus and polkit are asked.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn asking(&self) -> Result<&Connection, Error> {
        self.asking
            .as_ref()
            .ok_or_else(|| Error::CouldNotAsk("there is no bus to ask; start it and call again".to_owned()))
    }

    /// The run that changes the machine now.
    pub(super) fn current(&self) -> Option<Arc<Live>> {
        lock(&self.current).clone()
    }

    /// Puts a run on the bus, if it is not there yet.
    pub(super) async fn publish(
        self: &Arc<Self>,
        connection: &Connection,
        number: u32,
        owner: Owner,
    ) -> zbus::Result<Arc<Entry>> {
        let entry =
            lock(&self.runs).entry(number).or_insert_with(|| Arc::new(Entry::new(number, owner))).clone();
        let object = RunObject { shared: self.clone(), entry: entry.clone() };
        // False when it is there already.
        connection.object_server().at(run_path(number), object).await?;
        Ok(entry)
    }

    pub(super) fn is_free(&self) -> Result<(), Error> {
        match *lock(&self.current) {
            None => Ok(()),
            Some(ref live) => Err(busy(live)),
        }
    }

    /// Plans on a thread of its own. A caller that goes away cancels it.
    pub(super) async fn plan(
        self: &Arc<Self>,
        call: &Call<'_>,
        request: &Arc<Request>,
    ) -> Result<Plan, Error> {
        let (shared, request, cancel) = (self.clone(), request.clone(), Cancel::new());
        let (wish, piece) = (cancel.clone(), call.piece.clone());
        let plan = work::in_thread("plan", move || {
            let _piece = piece;
            let Request { flow, choices, inputs } = &*request;
            shared.flows.plan(&shared.host, flow, choices, inputs, &cancel, &mut |_| {})
        });
        let gone = async {
            call.caller.gone().await;
            wish.cancel();
            Err(Error::Cancelled)
        };
        future::or(plan, gone).await?.map_err(|error| match error {
            PlanError::Refused(refusal) => Error::Refused(refusal),
            PlanError::UnknownFlow(_) | PlanError::BadChoices(_) => Error::BadArgument(error.to_string()),
            PlanError::Cancelled => Error::Cancelled,
            PlanError::Failed(text) => Error::Failed(text),
        })
    }

    /// Begins a run; back when it is on record.
    pub(super) async fn start(
        self: &Arc<Self>,
        call: Call<'_>,
        task: Task,
    ) -> Result<OwnedObjectPath, Error> {
        let owner = call.caller.owner().await?;
        let live = Arc::new(Live::new(owner.clone(), &task));
        {
            let mut current = lock(&self.current);
            if let Some(other) = &*current {
                return Err(busy(other));
            }
            *current = Some(live.clone());
        }
        let (started, begun) = bounded(1);
        let thread = {
            let (shared, live) = (self.clone(), live.clone());
            std::thread::Builder::new().name("run".to_owned()).spawn(move || {
                let release = || *lock(&shared.current) = None;
                job::work(&shared.host, shared.flows.as_ref(), &task, &live, &started, release);
            })
        };
        if let Err(error) = thread {
            *lock(&self.current) = None;
            return Err(Error::Failed(format!("no thread could be made ({error}); try again later")));
        }
        let number = begun.recv().await.unwrap_or_else(|_| Err(ended_early()))?;
        let connection = call.connection.clone();
        let entry = self.publish(&connection, number, owner).await?;
        entry.set_live(live.clone());
        entry.watch(call.caller.name.clone());
        let piece = call.piece.clone();
        let task = async move {
            let _piece = piece;
            if let Err(error) = entry.tell(&connection, &live).await {
                tracing::warn!(%error, run = entry.number, "the run's events could not be told");
            }
        };
        call.connection.executor().spawn(task, "tell").detach();
        OwnedObjectPath::try_from(run_path(number)).map_err(|e| Error::Failed(e.to_string()))
    }
}

fn busy(live: &Live) -> Error {
    let standing = live.standing();
    let what = if standing.title.is_empty() { "it is just beginning" } else { &standing.title };
    Error::Busy(format!(
        "{} is changing this machine right now ({what}); wait for that run to end, `hostwright runs` shows it",
        live.owner.name
    ))
}

fn ended_early() -> Error {
    Error::Failed("the run's thread ended without a word; `journalctl -u hostwright-helper` says more, please report it".to_owned())
}

/// A call that was let in.
pub(super) struct Call<'a> {
    pub(super) connection: &'a Connection,
    pub(super) caller: Caller,
    pub(super) piece: Arc<Piece>,
}

impl Call<'_> {
    pub(super) async fn may(
        &self,
        permissions: &BTreeSet<Permission>,
        about: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        authorize(&self.caller, permissions, about).await
    }

    pub(super) async fn may_inspect(&self) -> Result<(), Error> {
        self.may(&BTreeSet::from([Permission::Inspect]), &BTreeMap::new()).await
    }

    pub(super) async fn request(
        &self,
        flow: &str,
        choices: &str,
        files: HashMap<String, OwnedFd>,
    ) -> Result<Arc<Request>, Error> {
        let (flow, choices) = (admit::flow(flow)?.to_owned(), admit::choices(choices)?);
        let inputs = work::in_thread("read-sealed", move || admit::inputs(&files)).await??;
        Ok(Arc::new(Request { flow, choices, inputs: Arc::new(inputs) }))
    }
}
