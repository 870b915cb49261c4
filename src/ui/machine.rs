// SPDX-License-Identifier: GPL-3.0-or-later
//! The machine that the window is about: looking at it, asking its helper. Everything here is a future, and none
//! of them keeps the main loop waiting.

use super::{machines, window::Window};
use crate::detect::{self, Facts, Topic};
use crate::engine::{self, Plan, RunSummary, StepPreview, UndoPreview};
use crate::flows::vmware::updates::{Outcome, outcomes};
use crate::host::Host;
use crate::ipc::remote::{Agent, Asking, Place};
use crate::ipc::{Client, Error, Follow, Run, Sealed};
use crate::tell::Problem;
use gtk::prelude::*;
use gtk::{gio, glib};
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// One machine, this or another; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Machine(Rc<Inner>);

/// What wants to know that it is another machine.
type Tell = Box<dyn Fn(Option<&Place>)>;

#[derive(Default)]
struct Inner {
    place: RefCell<Option<Place>>,
    client: RefCell<Option<Client>>,
    /// Whether somebody answers for polkit over there.
    asked_for: Cell<bool>,
    changed: RefCell<Vec<Tell>>,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Machine").field(&self.0.place).finish()
    }
}

/// For how long a lost machine is looked for; a reboot of it takes about as long.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// Does what would keep the main loop waiting on a thread of its own.
pub(super) async fn elsewhere<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    gio::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(Problem::internal("look", &"it ended unexpectedly")))
}

impl Machine {
    /// Which other machine it is.
    pub(super) fn place(&self) -> Option<Place> {
        self.0.place.borrow().clone()
    }

    /// Calls this now, and whenever it is another machine.
    pub(super) fn connect_changed(&self, tell: impl Fn(Option<&Place>) + 'static) {
        tell(self.place().as_ref());
        self.0.changed.borrow_mut().push(Box::new(tell));
    }

    /// Makes it another machine, or this one again (`None`), when that can be reached and has the helper.
    pub(super) async fn go_to(&self, place: Option<Place>) -> Result<(), Problem> {
        let client = match &place {
            None => None,
            Some(place) => {
                let client = Client::connect_to(place, &asking()).await?;
                // Whether the helper is there shows at the first call; which runs there are is not worth a password.
                match client.clone().interactive(false).runs().await {
                    Err(error @ Error::NotInstalledThere { .. }) => return Err(error.into()),
                    Err(Error::Lost { machine, why }) => return Err(Error::Lost { machine, why }.into()),
                    _ => Some(client),
                }
            }
        };
        self.0.client.replace(client);
        self.0.asked_for.set(false);
        self.0.place.replace(place);
        let place = self.place();
        for tell in self.0.changed.borrow().iter() {
            tell(place.as_ref());
        }
        Ok(())
    }

    async fn client(&self) -> Result<Client, Problem> {
        let there = self.0.client.borrow().clone();
        if let Some(client) = there.filter(|c| c.link().is_none_or(|l| !l.is_over())) {
            return Ok(client);
        }
        let client = match self.place() {
            None => Client::connect().await?,
            Some(place) => Client::connect_to(&place, &asking()).await?,
        };
        self.0.asked_for.set(false);
        self.0.client.replace(Some(client.clone()));
        Ok(client)
    }

    /// The client for what may be worth a password: somebody is there to be asked.
    async fn client_to_ask(&self) -> Result<Client, Problem> {
        let client = self.client().await?;
        if let Some(link) = client.link().filter(|_| !self.0.asked_for.get()) {
            let agent = Agent::start(link).await?;
            self.0.asked_for.set(true);
            let (machine, place) = (self.clone(), link.place().clone());
            glib::spawn_future_local(async move {
                answer_all(agent, &place).await;
                machine.0.asked_for.set(false);
            });
        }
        Ok(client)
    }

    /// A run once more from event `next` on, after the connection to its machine was lost.
    pub(super) async fn follow_again(&self, run: u32, next: u64) -> Result<Follow, Problem> {
        let (began, mut pause) = (Instant::now(), Duration::from_millis(500));
        loop {
            glib::timeout_future(pause).await;
            let tried = match self.client().await {
                Ok(client) => client.run(run).await.map_err(Problem::from),
                Err(problem) => Err(problem),
            };
            match tried {
                Ok(run) => return Ok(run.follow().from(next)),
                Err(problem) if began.elapsed() > PATIENCE => return Err(problem),
                Err(_) => pause = (pause * 2).min(Duration::from_secs(15)),
            }
        }
    }

    /// Looks at the machine; `None`: at all of it.
    pub(super) async fn facts(&self, only: Option<&'static [Topic]>) -> Result<Facts, Problem> {
        if self.place().is_none() {
            return elsewhere(move || Ok(detect::gather(&Host::machine()?, only))).await;
        }
        let facts = self.client_to_ask().await?.gather().await?;
        Ok(serde_json::from_value(facts).map_err(|e| Error::Protocol(e.to_string()))?)
    }

    /// The runs, newest first. `ask`: whether that is worth a question for a password.
    pub(super) async fn runs(&self, ask: bool) -> Result<Vec<RunSummary>, Problem> {
        let client = if ask { self.client_to_ask().await? } else { self.client().await? };
        Ok(client.interactive(ask).runs().await?)
    }

    /// How the builds for new kernels ended that nobody watched.
    pub(super) async fn updates(&self) -> Result<Vec<Outcome>, Problem> {
        // They stand in files that the helper of another machine does not tell of.
        if self.place().is_some() {
            return Ok(Vec::new());
        }
        elsewhere(|| Ok(outcomes(Host::machine()?.root()))).await
    }

    /// The plan for these choices, and what each step would do.
    pub(super) async fn plan(
        &self,
        flow: &str,
        choices: &Value,
        files: &[Sealed],
    ) -> Result<(Plan, Vec<StepPreview>), Problem> {
        if self.place().is_some() {
            let told = self.client_to_ask().await?.preview(flow, choices, files).await?;
            return Ok((told.plan, told.steps));
        }
        let plan = self.client().await?.plan(flow, choices, files).await?;
        elsewhere(move || {
            let steps = engine::preview(&plan, &Host::machine()?);
            Ok((plan, steps))
        })
        .await
    }

    /// Carries out the plan that was shown.
    pub(super) async fn execute(
        &self,
        flow: &str,
        choices: &Value,
        digest: &str,
        files: &[Sealed],
    ) -> Result<Run, Problem> {
        Ok(self.client_to_ask().await?.execute(flow, choices, digest, files).await?)
    }

    /// A run that is there.
    pub(super) async fn run(&self, number: u32) -> Result<Run, Problem> {
        Ok(self.client_to_ask().await?.run(number).await?)
    }

    /// What the undo of a run would do.
    pub(super) async fn undo_preview(&self, run: u32) -> Result<UndoPreview, Problem> {
        Ok(self.client_to_ask().await?.undo_preview(run).await?)
    }

    /// Takes a run back.
    pub(super) async fn undo(&self, run: u32) -> Result<Run, Problem> {
        Ok(self.client_to_ask().await?.undo(run).await?)
    }

    /// Asks logind to restart the machine, as a person's own wish.
    pub(super) async fn restart(&self) -> Result<(), Problem> {
        Ok(self.client_to_ask().await?.restart().await?)
    }
}

/// ssh asks by this program itself, in a window of its own.
fn asking() -> Asking {
    std::env::current_exe().map_or(Asking::Nobody, Asking::Program)
}

/// Answers polkit over there until it has no questions any more, or somebody thought better of it.
async fn answer_all(mut agent: Agent, place: &Place) {
    while let Some(prompt) = agent.next().await {
        let window = gio::Application::default()
            .and_downcast::<gtk::Application>()
            .and_then(|app| app.active_window())
            .and_downcast::<Window>();
        let Some(window) = window else { break };
        match machines::answer(&window, place, &prompt).await {
            Some(answer) if agent.answer(&answer).is_ok() => {}
            _ => break,
        }
    }
    // Its end tells polkit that nobody answers; that waits for ssh.
    let _ = gio::spawn_blocking(move || drop(agent)).await;
}
