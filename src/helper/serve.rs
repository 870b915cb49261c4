// SPDX-License-Identifier: GPL-3.0-or-later
//! From start to leaving.

use super::service::Service;
use super::shared::Shared;
use super::{Flows, Options};
use crate::engine::{self, RunState};
use crate::host::{Host, HostError};
use crate::ipc::{NAME, PATH};
use async_io::{Timer, block_on};
use async_signal::{Signal, Signals};
use futures_lite::{StreamExt, future};
use std::sync::Arc;
use std::time::Duration;
use zbus::fdo::RequestNameFlags;
use zbus::{Connection, MessageStream, connection};

/// How long the bus may take to answer. Answers can be lost where we are called: see [`Caller::asking`].
///
/// [`Caller::asking`]: super::caller::Caller::asking
const PROMPT: Duration = Duration::from_secs(20);
/// How often it is looked at least whether there is nothing to do.
const LOOK: Duration = Duration::from_millis(5);
/// How often the end of a run is looked for when the helper is asked to leave.
const DRAIN: Duration = Duration::from_millis(100);
/// How long last answers may take to go out, once no run goes on. When the bus is gone, as it may be before us when the
/// machine shuts down, the connection's executor has ended with it, and what is given to it is never done.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why the helper did not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// The machine's root or the scratch root cannot be opened.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The bus cannot be reached, or does not let us have the name.
    #[error(
        "the system bus: {0}. The helper is started by the bus itself, as root; is {NAME}.conf installed in /usr/share/dbus-1/system.d?"
    )]
    Bus(#[from] zbus::Error),
    /// Signals cannot be received.
    #[error("signals cannot be received: {0}")]
    Signals(std::io::Error),
}

/// Serves the machine (or the scratch root of the options) until there has been nothing to do for a while,
/// or somebody ends it.
///
/// # Errors
/// See [`HelperError`].
pub fn serve(options: &Options, flows: Box<dyn Flows>) -> Result<(), HelperError> {
    let host = match &options.root {
        None => Host::machine()?,
        Some(dir) => Host::scratch(dir)?,
    };
    serve_host(host, options, flows)
}

/// Serves a given host: for tests whose host is not quite a machine.
///
/// # Errors
/// See [`HelperError`].
pub fn serve_host(host: Host, options: &Options, flows: Box<dyn Flows>) -> Result<(), HelperError> {
    block_on(async {
        let asking = Connection::system().await?;
        let shared = Arc::new(Shared::new(host, flows, Some(asking)));
        let mut signals = Signals::new([Signal::Term, Signal::Int]).map_err(HelperError::Signals)?;
        let connection = connection::Builder::system()?
            .serve_at(PATH, Service(shared.clone()))?
            .method_timeout(PROMPT)
            .build()
            .await?;
        find_runs(&shared, &connection).await?;
        match take_name(&connection).await {
            Ok(()) => tracing::info!(name = NAME, "here"),
            Err(zbus::Error::NameTaken) => {
                // Two were started at once; the other one does the work.
                tracing::info!("another helper is here already");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        let ended = async {
            signals.next().await;
            "asked to end"
        };
        let alone = async {
            let mut messages = MessageStream::from(&connection);
            while let Some(Ok(_)) = messages.next().await {}
            "the bus is gone"
        };
        let idle = async {
            stay_while_needed(&shared, &connection, options.idle_exit).await;
            "nothing to do"
        };
        let why = future::or(ended, future::or(alone, idle)).await;
        tracing::info!(why, "leaving");
        finish(&shared, &connection).await;
        Ok(())
    })
}

/// Puts the runs of this machine on the bus, so that their logs can be read; says in the log which were
/// interrupted. They are not touched: undoing one is a person's decision.
async fn find_runs(shared: &Arc<Shared>, connection: &Connection) -> Result<(), HelperError> {
    let there = shared.clone();
    let runs = super::work::in_thread("runs", move || engine::runs(&there.host)).await;
    let runs = match runs.map_err(|e| e.to_string()).and_then(|r| r.map_err(|e| e.to_string())) {
        Ok(runs) => runs,
        Err(error) => {
            // The same error meets whoever asks for the runs; all else can still be done.
            tracing::warn!(error, "the runs could not be read");
            return Ok(());
        }
    };
    for summary in runs {
        if summary.state == RunState::Interrupted {
            tracing::warn!(run = summary.run, title = summary.title, "interrupted; it can be taken back");
        }
        shared.publish(connection, summary.run, summary.owner).await?;
    }
    Ok(())
}

async fn take_name(connection: &Connection) -> zbus::Result<()> {
    connection.request_name_with_flags(NAME, RequestNameFlags::DoNotQueue.into()).await.map(|_| ())
}

/// Comes back when there has been nothing to do for `limit` and the name is given up.
async fn stay_while_needed(shared: &Arc<Shared>, connection: &Connection, limit: Duration) {
    loop {
        let left = limit.saturating_sub(shared.work.idle_for());
        if !left.is_zero() || !shared.work.start_leaving() {
            Timer::after(left.max(LOOK)).await;
            continue;
        }
        if connection.release_name(NAME).await.is_err() {
            return;
        }
        // Should the bus go just now, `alone` in `serve_host` sees it.
        take_up(connection).await;
        if !shared.work.is_awaited() || take_name(connection).await.is_err() {
            return;
        }
        tracing::debug!("called back while leaving");
        shared.work.stay();
    }
}

/// Lets the executor take up what has come in. The bus delivered everything that was sent to the name before
/// it answered that the name is given up; the executor does its tasks in turn: the first round has the
/// messages taken off the queue, the second has each call begin.
async fn take_up(connection: &Connection) {
    for _ in 0..4 {
        connection.executor().spawn(async {}, "turn").await.ok();
    }
}

/// Takes nothing new, stops a run that goes on (it takes back what it did) and lets it end.
async fn finish(shared: &Arc<Shared>, connection: &Connection) {
    shared.work.close();
    if let Some(live) = shared.current() {
        tracing::info!("stopping the run that goes on");
        live.cancel.cancel();
        while shared.current().is_some() {
            Timer::after(DRAIN).await;
        }
    }
    // Answers and last events still go out; somebody who thinks about a password is not waited for.
    let patience = async {
        Timer::after(LAST_WORDS).await;
    };
    future::or(last_words(shared, connection), patience).await;
}

async fn last_words(shared: &Arc<Shared>, connection: &Connection) {
    for _ in 0..10 {
        take_up(connection).await;
        if !shared.work.idle_for().is_zero() {
            break;
        }
        Timer::after(DRAIN).await;
    }
    take_up(connection).await;
}
