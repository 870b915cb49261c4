// SPDX-License-Identifier: GPL-3.0-or-later
//! What the pages of the assistant have in common: what was seen, what was picked.

use crate::detect::Facts;
use crate::engine::Secret;
use crate::flows::vmware::FLOW;
use crate::flows::vmware::choices::{Choices, KernelChoice, SourceChoice};
use crate::flows::wayland;
use crate::ipc::Sealed;
use crate::pack::Packed;
use crate::tell::Problem;
use crate::ui::context::Context;
use std::rc::Rc;

/// How the assistant begins.
#[derive(Debug)]
pub(in crate::ui) enum Start {
    /// With nothing picked.
    Afresh,
    /// With what was picked earlier: a profile.
    With {
        /// The choices.
        choices: Box<Choices>,
        /// What is wished for after it.
        then: Vec<Then>,
    },
    /// At the plan of choices that were made elsewhere.
    Review {
        /// The choices.
        request: Box<Request>,
        /// What is wished for after it.
        then: Vec<Then>,
    },
    /// With a run that goes on.
    Attach {
        /// Its number.
        run: u32,
    },
    /// With taking a run back.
    Undo {
        /// Its number.
        run: u32,
        /// What is wished for after it.
        then: Vec<Then>,
    },
}

/// Choices of a flow that has pages of its own, or none: this assistant shows their plan, the run and its end.
#[derive(Debug, Clone)]
pub(in crate::ui) struct Request {
    /// The flow.
    pub(in crate::ui) flow: String,
    /// What it is called, for people.
    pub(in crate::ui) title: String,
    /// The choices.
    pub(in crate::ui) choices: serde_json::Value,
    /// The same as a command.
    pub(in crate::ui) command: String,
}

/// What a person wanted to do after this.
#[derive(Debug, Clone)]
pub(in crate::ui) enum Then {
    /// The plan of other choices.
    Review(Request),
    /// Choosing what is tuned.
    Tuning,
}

impl Then {
    /// Whether it is about VMware's launchers.
    pub(super) fn is_wayland(&self) -> bool {
        matches!(self, Self::Review(request) if request.flow == wayland::FLOW)
    }
}

/// What was seen and picked so far.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The machine.
    pub(super) context: Context,
    /// What was picked.
    pub(super) choices: Choices,
    /// Whether kernels were picked by a person or a profile; until then the recommended ones are.
    pub(super) kernels_picked: bool,
    /// The same for the mode.
    pub(super) mode_picked: bool,
    /// Choices that were made elsewhere; then those above are of no use.
    pub(super) request: Option<Request>,
    /// What is wished for after this.
    pub(super) then: Vec<Then>,
    /// Sources of a person's own.
    pub(super) sources: Option<Rc<Packed>>,
    /// The one-time password for enrolling the key.
    pub(super) mok_password: Option<Secret>,
}

impl State {
    /// What was seen of the machine.
    pub(super) fn facts(&self) -> Option<Rc<Facts>> {
        self.context.facts()
    }

    /// The flow that is planned.
    pub(super) fn flow(&self) -> String {
        self.request.as_ref().map_or_else(|| FLOW.to_owned(), |r| r.flow.clone())
    }

    /// The choices as a document.
    pub(super) fn document(&self) -> serde_json::Value {
        match &self.request {
            Some(request) => request.choices.clone(),
            None => serde_json::to_value(&self.choices).unwrap_or_default(),
        }
    }

    /// The same as a command.
    pub(super) fn command(&self) -> String {
        if let Some(request) = &self.request {
            return request.command.clone();
        }
        let kernels = match &self.choices.kernels {
            KernelChoice::Releases(all) => all.iter().map(|k| format!(" --kernel {k}")).collect(),
            _ => String::new(),
        };
        format!("hostwright vmware apply{kernels}")
    }

    /// Sources of a person's own, or those of the product again.
    pub(super) fn set_sources(&mut self, packed: Option<Rc<Packed>>) {
        self.choices.source = packed.as_ref().map_or(SourceChoice::Installed, |p| SourceChoice::Sealed {
            sha256: p.sha256.clone(),
            name: p.name.clone(),
        });
        self.sources = packed;
    }

    /// What goes with a request as sealed files. `run`: the password goes with a run only.
    pub(super) fn files(&self, run: bool) -> Result<Vec<Sealed>, Problem> {
        let mut files = Vec::new();
        let seal = |e: crate::ipc::SealedError| Problem::internal("seal what goes to the helper", &e);
        if let Some(packed) = &self.sources {
            files.push(Sealed::source(&packed.bytes).map_err(seal)?);
        }
        if let Some(password) = self.mok_password.as_ref().filter(|_| run && self.choices.enroll) {
            files.push(Sealed::mok_password(password.expose()).map_err(seal)?);
        }
        Ok(files)
    }
}

/// One page of the assistant.
pub(super) trait FlowPage {
    /// What it is about, in a word or two.
    fn name(&self) -> String;

    /// Shows what is known and picked. Called each time the page is entered.
    fn show(&self, state: &State);

    /// Takes what was picked over. Called each time the page is left.
    fn take(&self, state: &mut State) {
        let _ = state;
    }

    /// Whether what was picked suffices to go on.
    fn can_go_on(&self) -> bool {
        true
    }
}
