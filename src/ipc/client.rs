// SPDX-License-Identifier: GPL-3.0-or-later
//! The helper as its clients see it.

use super::follow::{Follow, Incoming, Story};
use super::proxy::RunProxy;
use super::remote::{Asking, Link, Place};
use super::{Error, NAME, PATH, PlanPreview, RUNS_PATH, Sealed, run_number, run_path};
use crate::engine::{Plan, RunState, RunSummary, UndoPreview};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use zbus::Connection;
use zbus::proxy::{CacheProperties, MethodFlags};
use zbus::zvariant::{Fd, OwnedObjectPath};

/// How often a call is made again when the helper was just going away.
const ATTEMPTS: u32 = 3;

/// A connection to the helper of one machine. Cheap to clone. For use without async see
/// [`blocking::Client`](super::blocking::Client).
#[derive(Debug, Clone)]
pub struct Client {
    connection: Connection,
    interactive: bool,
    /// The way to another machine.
    link: Option<Arc<Link>>,
}

impl Client {
    /// Connects to the system bus. The helper itself is started by the first call.
    ///
    /// # Errors
    /// [`Error::NoBus`].
    pub async fn connect() -> Result<Self, Error> {
        let connection = Connection::system().await.map_err(|e| Error::NoBus(e.to_string()))?;
        Ok(Self::over(connection))
    }

    /// Uses a connection that exists, for instance to the bus of another machine.
    pub fn over(connection: Connection) -> Self {
        Self { connection, interactive: true, link: None }
    }

    /// Connects to the system bus of another machine, over ssh. See [`remote`](super::remote).
    ///
    /// # Errors
    /// [`Error::Unreachable`] with what ssh says.
    pub async fn connect_to(place: &Place, asking: &Asking) -> Result<Self, Error> {
        let (connection, link) = Link::connect(place, asking).await?;
        Ok(Self { connection, interactive: true, link: Some(Arc::new(link)) })
    }

    /// The way to another machine, if it is one.
    pub fn link(&self) -> Option<&Arc<Link>> {
        self.link.as_ref()
    }

    /// Asks logind to restart the machine; a person may be asked for a password.
    ///
    /// # Errors
    /// [`Error::Failed`] with what logind says.
    pub async fn restart(&self) -> Result<(), Error> {
        super::power::restart(&self.connection).await
    }

    /// Whether a person may be asked for a password (yes, if nothing else is said). Without it, a call
    /// that would need one ends with [`Error::CouldNotAsk`].
    #[must_use]
    pub fn interactive(mut self, yes: bool) -> Self {
        self.interactive = yes;
        self
    }

    /// The facts of the machine, also those that only root can read.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn gather(&self) -> Result<Value, Error> {
        document(&self.call::<_, String>("Gather", &()).await?)
    }

    /// What would be done, here and now. `files` are the archives that the choices name.
    ///
    /// # Errors
    /// [`Error::Refused`] with the flow's reason, or another [`Error`].
    pub async fn plan(&self, flow: &str, choices: &Value, files: &[Sealed]) -> Result<Plan, Error> {
        self.can_take(files)?;
        document(&self.call::<_, String>("Plan", &(flow, choices.to_string(), fds(files))).await?)
    }

    /// The plan, and what each of its steps would do, as the machine itself sees it.
    ///
    /// # Errors
    /// As [`Client::plan`]; [`Error::Protocol`] from a helper that is too old for it.
    pub async fn preview(&self, flow: &str, choices: &Value, files: &[Sealed]) -> Result<PlanPreview, Error> {
        self.can_take(files)?;
        document(&self.call::<_, String>("Preview", &(flow, choices.to_string(), fds(files))).await?)
    }

    /// Open files do not go through ssh.
    fn can_take(&self, files: &[Sealed]) -> Result<(), Error> {
        match &self.link {
            Some(link) if !files.is_empty() => Err(Error::NotThroughSsh(link.place().to_string())),
            _ => Ok(()),
        }
    }

    /// Carries out the plan that was shown: the helper makes it anew and compares it with `digest`
    /// ([`Plan::digest`]). Returns when the run has begun.
    ///
    /// # Errors
    /// [`Error::MachineChanged`] when it would be another plan now; nothing was changed then, nor with any
    /// other [`Error`].
    pub async fn execute(
        &self,
        flow: &str,
        choices: &Value,
        digest: &str,
        files: &[Sealed],
    ) -> Result<Run, Error> {
        self.can_take(files)?;
        self.begin("Execute", &(flow, choices.to_string(), digest, fds(files)), Story::Run).await
    }

    /// What the undo of a run would do, and what stands in its way.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn undo_preview(&self, run: u32) -> Result<UndoPreview, Error> {
        document(&self.call::<_, String>("UndoPreview", &(run,)).await?)
    }

    /// Takes a run back. Returns when that has begun.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn undo(&self, run: u32) -> Result<Run, Error> {
        self.begin("Undo", &(run,), Story::Undo).await
    }

    /// Forgets runs; of those that can still be taken back only with `lose_undo`. Returns those that are gone.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn prune(&self, numbers: &[u32], lose_undo: bool) -> Result<Vec<u32>, Error> {
        self.call("Prune", &(numbers, lose_undo)).await
    }

    /// All runs of the machine, newest first.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn runs(&self) -> Result<Vec<RunSummary>, Error> {
        document(&self.call::<_, String>("Runs", &()).await?)
    }

    /// A run that somebody else began, or that is over. Whether it exists shows at the first use.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn run(&self, number: u32) -> Result<Run, Error> {
        let incoming = match Incoming::subscribe(&self.connection).await {
            Ok(incoming) => incoming,
            Err(error) => return Err(self.lost(error).await),
        };
        let proxy = self.run_proxy(number).await?;
        Ok(Run { number, proxy, incoming, story: Story::Whole, link: self.link.clone() })
    }

    /// Begins a run: listens first, so that not even its first event is lost.
    async fn begin<B>(&self, member: &str, body: &B, story: Story) -> Result<Run, Error>
    where
        B: serde::Serialize + zbus::zvariant::DynamicType,
    {
        let incoming = Incoming::subscribe(&self.connection).await?;
        let path: OwnedObjectPath = self.call(member, body).await?;
        let number = run_number(path.as_str())
            .ok_or_else(|| Error::Protocol(format!("{path} is not below {RUNS_PATH}")))?;
        let proxy = self.run_proxy(number).await?;
        Ok(Run { number, proxy, incoming, story, link: self.link.clone() })
    }

    async fn run_proxy(&self, number: u32) -> Result<RunProxy<'static>, Error> {
        Ok(RunProxy::builder(&self.connection)
            .path(run_path(number))?
            .cache_properties(CacheProperties::No)
            .build()
            .await?)
    }

    async fn call<B, R>(&self, member: &str, body: &B) -> Result<R, Error>
    where
        B: serde::Serialize + zbus::zvariant::DynamicType,
        R: for<'d> zbus::zvariant::DynamicDeserialize<'d>,
    {
        let proxy = zbus::proxy::Builder::<zbus::Proxy<'_>>::new(&self.connection)
            .destination(NAME)?
            .path(PATH)?
            .interface(NAME)?
            .cache_properties(CacheProperties::No)
            .build()
            .await?;
        let flags =
            if self.interactive { MethodFlags::AllowInteractiveAuth.into() } else { Default::default() };
        let mut left = ATTEMPTS;
        loop {
            left -= 1;
            match proxy.call_with_flags(member, flags, body).await.map_err(Error::from) {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => return Err(Error::Protocol("no answer".to_owned())),
                // It says so only where it has not begun.
                Err(Error::Leaving) if left > 0 => {}
                Err(error) => return Err(self.lost(error).await),
            }
        }
    }

    /// What an error means when the machine is another one.
    async fn lost(&self, error: Error) -> Error {
        match &self.link {
            Some(link) => link.explain(error).await,
            None => error,
        }
    }
}

fn fds(files: &[Sealed]) -> HashMap<&str, Fd<'_>> {
    files.iter().map(|f| (f.name(), Fd::from(f.fd()))).collect()
}

fn document<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, Error> {
    serde_json::from_str(json).map_err(|e| Error::Protocol(e.to_string()))
}

/// A run of the helper: begun by this client, or found.
#[derive(Debug)]
pub struct Run {
    number: u32,
    proxy: RunProxy<'static>,
    incoming: Incoming,
    story: Story,
    link: Option<Arc<Link>>,
}

impl Run {
    /// Its number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// What can be asked of the run beside following it; usable from another thread.
    pub fn control(&self) -> RunProxy<'static> {
        self.proxy.clone()
    }

    /// Asks it to stop and to take back what it did. Returns at once; the events tell how it ends.
    ///
    /// # Errors
    /// [`Error::NotAuthorized`] when it is somebody else's.
    pub async fn cancel(&self) -> Result<(), Error> {
        Ok(self.proxy.cancel().await?)
    }

    /// Where it stands.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn state(&self) -> Result<RunState, Error> {
        document(&Value::from(self.proxy.state().await?).to_string())
    }

    /// The step it is at (from 1; 0 before the first), how many there are, and its title.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn step(&self) -> Result<(u32, u32, String), Error> {
        Ok(self.proxy.step().await?)
    }

    /// How far it is, from 0 to 1.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn progress(&self) -> Result<f64, Error> {
        Ok(self.proxy.progress().await?)
    }

    /// Its events as JSON documents from number `from` on (not all at once), the number to ask for next,
    /// and whether no more will come.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn log(&self, from: u64) -> Result<(Vec<String>, u64, bool), Error> {
        Ok(self.proxy.log(from).await?)
    }

    /// All its events in order, none left out, to its end. Of a run that was begun by
    /// [`Client::undo`], those of the undo only.
    pub fn follow(self) -> Follow {
        Follow::new(self.number, self.proxy, self.incoming, self.story, self.link)
    }
}
