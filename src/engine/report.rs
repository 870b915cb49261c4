// SPDX-License-Identifier: GPL-3.0-or-later
//! What comes with a run, and what is told about it afterwards.

use super::diagnose::Diagnostic;
use super::drift::Drift;
use super::event::Check;
use super::journal::RunState;
use super::plan::Permission;
use crate::host::Host;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::Arc;

/// A password or the like: never printed, never written to a journal, wiped when dropped.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes, for the standard input of a tool only: never for an argument or a message.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.fill(0);
        // Keeps the compiler from leaving the line above out as a dead store.
        std::hint::black_box(&self.0);
    }
}

/// Says in one sentence what a compiler's error may have to do with what a flow knows. Whoever starts a
/// run gives it: the engine knows no flow.
#[derive(Clone, Default)]
pub struct Explain(Option<Arc<ExplainFn>>);

type ExplainFn = dyn Fn(&Host, &Diagnostic) -> Option<String> + Send + Sync;

impl Explain {
    /// Explains by this function.
    pub fn by(explain: impl Fn(&Host, &Diagnostic) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(explain)))
    }

    /// What it says of an error.
    pub fn of(&self, host: &Host, error: &Diagnostic) -> Option<String> {
        self.0.as_ref().and_then(|explain| explain(host, error))
    }
}

impl std::fmt::Debug for Explain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Explain(…)" } else { "Explain(nothing)" })
    }
}

/// What comes with a run but never stands in a plan or a journal.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// Archives that the caller handed over as sealed files, by the SHA-256 (hexadecimal) of their bytes.
    pub sealed: BTreeMap<String, Vec<u8>>,
    /// Files too large for memory (a driver), by the SHA-256 (hexadecimal) of their bytes. Whoever puts one in has
    /// seen to it that nobody can change it any more.
    pub large: BTreeMap<String, Arc<std::fs::File>>,
    /// Images that the caller handed over as open files, by the SHA-256 (hexadecimal) that their bytes must have.
    /// They are too large to be sealed: who uses one compares.
    pub images: BTreeMap<String, Arc<File>>,
    /// The one-time password for enrolling a Machine Owner Key.
    pub mok_password: Option<Secret>,
    /// Explains compiler errors.
    pub explain: Explain,
}

/// Who asked for a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Login name, for people.
    pub name: String,
}

/// What came of one kernel in a run for several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KernelResult {
    /// Its release.
    pub kernel: String,
    /// Whether all that was planned for it was done.
    pub good: bool,
    /// In words: what was done, or why not.
    pub text: String,
}

/// How a run (or the undo of one) ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunReport {
    /// Number of the run.
    pub run: u32,
    /// How it ended.
    pub state: RunState,
    /// A sentence or two for people: what happened, what remains, what to do.
    pub message: String,
    /// Every check of the steps and of the run, in order.
    pub checks: Vec<Check>,
    /// Where the log of the work is, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// What came of each kernel, when the run was for several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernels: Vec<KernelResult>,
}

impl RunReport {
    /// Whether it was done for every kernel that it was for.
    pub fn is_complete(&self) -> bool {
        self.kernels.iter().all(|k| k.good)
    }

    /// Whether the run is done for every kernel and every check could look and was good: what may be called success.
    pub fn is_verified(&self) -> bool {
        self.state == RunState::Done
            && self.is_complete()
            && self.checks.iter().all(|c| c.outcome.is_acceptable())
    }
}

/// Where one step of a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Not begun.
    Pending,
    /// Begun, and no word of its end.
    Begun,
    /// Carried out.
    Done,
    /// Found all as it should be and changed nothing.
    Unchanged,
    /// Failed.
    Failed,
    /// Taken back.
    Undone,
}

/// One step of a run, for lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepSummary {
    /// Its number, from 0.
    pub step: usize,
    /// What it does, for people.
    pub title: String,
    /// Where it stands.
    pub state: StepState,
    /// Why it failed, or why it could not be taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One run, for lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunSummary {
    /// Its number.
    pub run: u32,
    /// The flow of its plan.
    pub flow: String,
    /// What it does, for people.
    pub title: String,
    /// Where it stands.
    pub state: RunState,
    /// Who asked for it.
    pub owner: Owner,
    /// When it began.
    #[schemars(with = "String")]
    pub started: Timestamp,
    /// When it (or its undo) ended.
    #[schemars(with = "Option<String>")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Digest of its plan.
    pub digest: String,
    /// The choices that its plan was made from.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub choices: serde_json::Value,
    /// Its steps.
    pub steps: Vec<StepSummary>,
    /// What was said at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Where the log of the work is, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// Whether something of it can be taken back.
    pub can_undo: bool,
    /// Words that the kernel must have been started with for the run to have its effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub awaits: Vec<String>,
    /// Why its records cannot be read, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Whether a step can be taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Reversal {
    /// Everything comes back as it was.
    Full,
    /// All but one thing.
    Partial {
        /// What does not come back.
        what: String,
    },
    /// It cannot be taken back.
    None {
        /// Why.
        why: String,
    },
}

/// How one file would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileChange {
    /// The file.
    pub path: String,
    /// A unified difference of its text, or one line that says what happens to it.
    pub diff: String,
}

/// What one step of a plan would do, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepPreview {
    /// What it does.
    pub title: String,
    /// The commands it runs, as one could paste them.
    pub commands: Vec<String>,
    /// The files it changes.
    pub files: Vec<FileChange>,
    /// Whether it can be taken back.
    pub reversal: Reversal,
    /// What must be granted for it.
    pub permissions: BTreeSet<Permission>,
}

/// What the undo of one step would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UndoStep {
    /// Number of the step.
    pub step: usize,
    /// What the step did.
    pub title: String,
    /// What comes back, one line each.
    pub restores: Vec<String>,
    /// What changed since; undo would stop here.
    pub drift: Vec<Drift>,
    /// Whether it can be taken back.
    pub reversal: Reversal,
}

/// What the undo of a run would do, last step first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UndoPreview {
    /// Number of the run.
    pub run: u32,
    /// What the run did.
    pub title: String,
    /// The steps that would be taken back, in the order in which that happens.
    pub steps: Vec<UndoStep>,
    /// Why it cannot be undone now, if so, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl UndoPreview {
    /// Whether undo would go through to the end, as things stand.
    pub fn is_clean(&self) -> bool {
        self.refused.is_none() && self.steps.iter().all(|s| s.drift.is_empty())
    }
}
