// SPDX-License-Identifier: GPL-3.0-or-later
//! The machine that the window is about: looking at it, asking its helper. Everything here is a future, and none
//! of them keeps the main loop waiting.

use crate::detect::{self, Facts, Topic};
use crate::engine::{self, Plan, RunSummary, StepPreview, UndoPreview};
use crate::flows::vmware::updates::{Outcome, outcomes};
use crate::host::Host;
use crate::ipc::{Client, Run, Sealed};
use crate::tell::Problem;
use gtk::gio;
use serde_json::Value;
use std::cell::RefCell;
use std::rc::Rc;

/// One machine; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Machine {
    client: Rc<RefCell<Option<Client>>>,
}

/// Does what would keep the main loop waiting on a thread of its own.
pub(super) async fn elsewhere<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    gio::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(Problem::internal("look", &"it ended unexpectedly")))
}

impl Machine {
    async fn client(&self) -> Result<Client, Problem> {
        if let Some(client) = self.client.borrow().as_ref() {
            return Ok(client.clone());
        }
        let client = Client::connect().await?;
        self.client.replace(Some(client.clone()));
        Ok(client)
    }

    /// Looks at the machine; `None`: at all of it.
    pub(super) async fn facts(&self, only: Option<&'static [Topic]>) -> Result<Facts, Problem> {
        elsewhere(move || Ok(detect::gather(&Host::machine()?, only))).await
    }

    /// The runs, newest first. `ask`: whether that is worth a question for a password.
    pub(super) async fn runs(&self, ask: bool) -> Result<Vec<RunSummary>, Problem> {
        Ok(self.client().await?.interactive(ask).runs().await?)
    }

    /// How the builds for new kernels ended that nobody watched.
    pub(super) async fn updates(&self) -> Result<Vec<Outcome>, Problem> {
        elsewhere(|| Ok(outcomes(Host::machine()?.root()))).await
    }

    /// The plan for these choices, and what each step would do.
    pub(super) async fn plan(
        &self,
        flow: &str,
        choices: &Value,
        files: &[Sealed],
    ) -> Result<(Plan, Vec<StepPreview>), Problem> {
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
        Ok(self.client().await?.execute(flow, choices, digest, files).await?)
    }

    /// A run that is there.
    pub(super) async fn run(&self, number: u32) -> Result<Run, Problem> {
        Ok(self.client().await?.run(number).await?)
    }

    /// What the undo of a run would do.
    pub(super) async fn undo_preview(&self, run: u32) -> Result<UndoPreview, Problem> {
        Ok(self.client().await?.undo_preview(run).await?)
    }

    /// Takes a run back.
    pub(super) async fn undo(&self, run: u32) -> Result<Run, Problem> {
        Ok(self.client().await?.undo(run).await?)
    }

    /// Asks logind to restart the machine, as a person's own wish.
    pub(super) async fn restart(&self) -> Result<(), Problem> {
        Ok(crate::ipc::restart().await?)
    }
}
