// SPDX-License-Identifier: GPL-3.0-or-later
//! What a step found and what it left: plain data for the journal.

use crate::host::FileState;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What a step found, so that it can be put back. Written to the journal, synced, before the change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// The state of each path that the step may change; the bytes of files are in the run's store.
    pub files: BTreeMap<String, FileState>,
    /// Directories that are missing and that the step may create, topmost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dirs: Vec<String>,
    /// Whether the files can be made anew by a tool at any time (module index, initramfs). When such a
    /// file changed since, undo does not stop: it is made anew at the end (`Action::settle`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub derived: bool,
    /// Of the files those that somebody else removes in the course of things (a boot loader entry goes with its
    /// kernel): when one is gone there is nothing to put back.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub may_be_gone: BTreeSet<String>,
    /// Whether the change cannot be taken back: once it is done, nothing of it is left to undo.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub irreversible: bool,
    /// What else the step must know to be taken back (modules that were loaded…).
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
}

/// How a step left the machine. Recorded by the engine after `Action::apply`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct After {
    /// The state of each path of [`Before`], and of those in [`Applied::also`].
    pub files: BTreeMap<String, FileState>,
    /// Directories that the step created, topmost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dirs: Vec<String>,
    /// What else the step did ([`Applied::data`]).
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
}

/// What a step says about its work. The engine records the states of files by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Whether it found all as it should be and changed nothing.
    pub unchanged: bool,
    /// Files that it made beside those of [`Before`] and that were not there before.
    pub also: Vec<String>,
    /// What else it did, for undo.
    pub data: Value,
}
