// SPDX-License-Identifier: GPL-3.0-or-later
//! Who carries out what is asked for: this process on a scratch root, the helper on the machine itself.
//! Both come to the same plans, because both use the same flows.

use super::errors::Problem;
use crate::detect::{self, Facts};
use crate::engine::event::{Event, Sink};
use crate::engine::{Inputs, Owner, Plan, RunReport, RunSummary, StepPreview, UndoPreview};
use crate::host::{Cancel, Host};
use crate::{engine, flows};
use serde_json::Value;

/// A machine that can be asked for plans, runs and undo.
pub(crate) trait Machine {
    /// Makes the plan of a flow.
    fn plan(
        &self,
        flow: &str,
        choices: &Value,
        inputs: &Inputs,
        cancel: &Cancel,
        sink: &mut dyn Sink,
    ) -> Result<Plan, Problem>;

    /// All facts, as the machine itself sees them.
    fn facts(&self) -> Result<Facts, Problem>;

    /// What each step of a plan that was just made would do.
    fn preview(&self, plan: &Plan) -> Result<Vec<StepPreview>, Problem>;

    /// Carries out a plan that was shown.
    fn execute(
        &self,
        plan: &Plan,
        inputs: &Inputs,
        cancel: &Cancel,
        sink: &mut dyn Sink,
    ) -> Result<RunReport, Problem>;

    /// All runs, newest first.
    fn runs(&self) -> Result<Vec<RunSummary>, Problem>;

    /// The events of a run.
    fn events(&self, run: u32) -> Result<Vec<Event>, Problem>;

    /// What the undo of a run would do.
    fn undo_preview(&self, run: u32) -> Result<UndoPreview, Problem>;

    /// Takes a run back.
    fn undo(&self, run: u32, cancel: &Cancel, sink: &mut dyn Sink) -> Result<RunReport, Problem>;

    /// Forgets runs; of those that can still be taken back only with `lose_undo`. Returns those that are gone.
    fn prune(&self, numbers: &[u32], lose_undo: bool) -> Result<Vec<u32>, Problem>;

    /// Whether runs go on without this process.
    fn runs_elsewhere(&self) -> bool;
}

/// A scratch root, worked on by this process.
pub(crate) struct Scratch {
    host: Host,
}

impl Scratch {
    /// A scratch root.
    pub(crate) fn new(host: Host) -> Self {
        Self { host }
    }
}

/// Who sits here.
fn owner() -> Owner {
    let uid = nix::unistd::getuid();
    let name = nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |u| u.name);
    Owner { uid: uid.as_raw(), name }
}

impl Machine for Scratch {
    fn plan(
        &self,
        flow: &str,
        choices: &Value,
        inputs: &Inputs,
        cancel: &Cancel,
        sink: &mut dyn Sink,
    ) -> Result<Plan, Problem> {
        Ok(flows::plan(&self.host, flow, choices, inputs, cancel, sink)?)
    }

    fn execute(
        &self,
        plan: &Plan,
        inputs: &Inputs,
        cancel: &Cancel,
        sink: &mut dyn Sink,
    ) -> Result<RunReport, Problem> {
        // As the helper does it: between showing and saying yes the machine may have changed.
        let anew = flows::plan(&self.host, &plan.flow, &plan.choices, inputs, cancel, &mut |_: Event| {})?;
        if anew.digest() != plan.digest() {
            return Err(super::errors::machine_changed());
        }
        let inputs = Inputs { explain: flows::explain(), ..inputs.clone() };
        Ok(engine::execute(&self.host, &anew, &inputs, &owner(), &flows::check, cancel, sink)?)
    }

    fn facts(&self) -> Result<Facts, Problem> {
        Ok(detect::gather(&self.host, None))
    }

    fn preview(&self, plan: &Plan) -> Result<Vec<StepPreview>, Problem> {
        Ok(engine::preview(plan, &self.host))
    }

    fn runs(&self) -> Result<Vec<RunSummary>, Problem> {
        Ok(engine::runs(&self.host)?)
    }

    fn events(&self, run: u32) -> Result<Vec<Event>, Problem> {
        Ok(engine::events(&self.host, run)?)
    }

    fn undo_preview(&self, run: u32) -> Result<UndoPreview, Problem> {
        Ok(engine::undo_preview(&self.host, run)?)
    }

    fn undo(&self, run: u32, cancel: &Cancel, sink: &mut dyn Sink) -> Result<RunReport, Problem> {
        Ok(engine::undo(&self.host, run, &owner(), cancel, sink)?)
    }

    fn prune(&self, numbers: &[u32], lose_undo: bool) -> Result<Vec<u32>, Problem> {
        Ok(engine::prune(&self.host, numbers, lose_undo, &owner())?)
    }

    fn runs_elsewhere(&self) -> bool {
        false
    }
}
