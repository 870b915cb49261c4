// SPDX-License-Identifier: GPL-3.0-or-later
//! Profiles: the choices of several flows in one document that people read and machines share. It names no path of a
//! machine and holds no secret; the schema is published as `data/schemas/profile.json`.

use super::{tuning, vmware, wayland};
use crate::engine::plan::Warning;
use crate::engine::{FileChange, KernelResult};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of the document; raised when a reader of older ones would misread a new one.
///
/// | version | since |
/// |---|---|
/// | 1 | one flow: `flow` and `choices` |
/// | 2 | several: `flows` |
pub const VERSION: u32 = 2;

/// A profile is never longer, in bytes.
pub const LIMIT: u64 = 1 << 20;

/// Named, saved choices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// [`VERSION`].
    pub version: u32,
    /// Its name: 1 to 64 letters, digits, dots, dashes and underscores.
    pub name: String,
    /// What it is for, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// The choices, flow by flow; a flow that is not named is not touched.
    pub flows: Flows,
}

/// The choices of each flow.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Flows {
    /// VMware's kernel modules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vmware: Option<vmware::Choices>,
    /// VMware in a Wayland session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wayland: Option<wayland::Choices>,
    /// System tuning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuning: Option<tuning::Choices>,
}

/// Why a document is no profile that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// It is no JSON document.
    #[error("it is no valid JSON: {0}")]
    NotJson(String),
    /// It is too long.
    #[error("it is longer than {LIMIT} bytes, far too long for a profile")]
    TooLong,
    /// A later version of the program wrote it.
    #[error("it has version {0}, and this Hostwright reads versions 1 to {VERSION}")]
    Newer(u64),
    /// It has no version.
    #[error("it says no `version`")]
    NoVersion,
    /// Something in it is unknown or of the wrong kind.
    #[error("{0}")]
    Wrong(String),
}

/// A document of version 1.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Version1 {
    #[serde(rename = "version")]
    _version: u32,
    name: String,
    flow: String,
    choices: Value,
}

impl Profile {
    /// A profile with choices for VMware's modules alone.
    pub fn for_vmware(name: &str, choices: vmware::Choices) -> Self {
        let flows = Flows { vmware: Some(choices), ..Flows::default() };
        Self { version: VERSION, name: name.to_owned(), about: String::new(), flows }
    }

    /// Reads the bytes of a document of any version up to [`VERSION`].
    ///
    /// # Errors
    /// See [`ProfileError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProfileError> {
        if bytes.len() as u64 > LIMIT {
            return Err(ProfileError::TooLong);
        }
        // serde_json's own limit of depth keeps a deeply nested document off the stack.
        let value = serde_json::from_slice(bytes).map_err(|e| ProfileError::NotJson(e.to_string()))?;
        Self::from_json(value)
    }

    /// Reads a document of any version up to [`VERSION`].
    ///
    /// # Errors
    /// See [`ProfileError`].
    pub fn from_json(value: Value) -> Result<Self, ProfileError> {
        let wrong = |e: serde_json::Error| ProfileError::Wrong(e.to_string());
        if !value.is_object() {
            return Err(ProfileError::Wrong("it is no JSON object".to_owned()));
        }
        // Told first: a newer document may well have fields that are unknown here.
        let profile = match value.get("version").and_then(Value::as_u64) {
            None => return Err(ProfileError::NoVersion),
            Some(1) => serde_json::from_value::<Version1>(value).map_err(wrong).and_then(Self::upconvert)?,
            Some(v) if v == u64::from(VERSION) => serde_json::from_value::<Self>(value).map_err(wrong)?,
            Some(v) => return Err(ProfileError::Newer(v)),
        };
        profile.check()?;
        Ok(profile)
    }

    fn upconvert(old: Version1) -> Result<Self, ProfileError> {
        let flows = Value::Object([(old.flow, old.choices)].into_iter().collect());
        let flows = serde_json::from_value(flows).map_err(|e| ProfileError::Wrong(e.to_string()))?;
        Ok(Self { version: VERSION, name: old.name, about: String::new(), flows })
    }

    fn check(&self) -> Result<(), ProfileError> {
        check_name(&self.name).map_err(ProfileError::Wrong)?;
        if let Some(vmware) = &self.flows.vmware {
            vmware.check().map_err(ProfileError::Wrong)?;
            if let vmware::choices::SourceChoice::Sealed { name, .. } = &vmware.source {
                return Err(ProfileError::Wrong(format!(
                    "it names the archive `{}`, and a profile holds no archives",
                    name.escape_debug()
                )));
            }
        }
        Ok(())
    }

    /// The choices of each flow that is named, as plans take them, in the order in which they are carried out.
    pub fn requests(&self) -> Vec<(&'static str, Value)> {
        let Flows { vmware, wayland, tuning } = &self.flows;
        let json = |choices: Option<serde_json::Result<Value>>| choices.and_then(Result::ok);
        [
            (vmware::FLOW, json(vmware.as_ref().map(serde_json::to_value))),
            (wayland::FLOW, json(wayland.as_ref().map(serde_json::to_value))),
            (tuning::FLOW, json(tuning.as_ref().map(serde_json::to_value))),
        ]
        .into_iter()
        .filter_map(|(flow, choices)| Some((flow, choices?)))
        .collect()
    }

    /// The document as people read it.
    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

/// Whether a text can be the name of a profile, which is a file name too.
///
/// # Errors
/// A sentence.
pub fn check_name(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) || name.starts_with(['.', '-']) {
        let short: String = name.chars().take(80).collect();
        return Err(format!("`{}` cannot be the name of a profile", short.escape_debug()));
    }
    Ok(())
}

/// A setting in which two profiles differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Which ("flows.vmware.mode").
    pub setting: String,
    /// In the first one; nothing when it is not there.
    pub first: Option<Value>,
    /// In the second one.
    pub second: Option<Value>,
}

/// In what two profiles differ but for their names. What is left at its default counts as said.
pub fn differences(first: &Profile, second: &Profile) -> Vec<Difference> {
    let mut all = Vec::new();
    let json = |p: &Profile| {
        let mut value = serde_json::to_value(p).unwrap_or_default();
        if let Some(object) = value.as_object_mut() {
            object.remove("name");
        }
        value
    };
    compare("", Some(&json(first)), Some(&json(second)), &mut all);
    all
}

fn compare(at: &str, first: Option<&Value>, second: Option<&Value>, all: &mut Vec<Difference>) {
    if first == second {
        return;
    }
    let (Some(Value::Object(a)), Some(Value::Object(b))) = (first, second) else {
        all.push(Difference { setting: at.to_owned(), first: first.cloned(), second: second.cloned() });
        return;
    };
    let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for key in keys {
        let below = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        compare(&below, a.get(key), b.get(key), all);
    }
}

/// What came of something that was to be as a profile says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was so already.
    Ok,
    /// It was made so; with `check`: it would be.
    Changed,
    /// It could not be made so.
    Failed,
    /// It was not begun, because another one failed before.
    Skipped,
}

/// What came of a profile on a machine: what `apply --profile --json` writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Applied {
    /// The version of this document.
    pub version: u32,
    /// The profile.
    pub profile: String,
    /// Of all flows together: failed when one failed, changed when one changed.
    pub result: Outcome,
    /// Whether it was only looked at.
    pub check: bool,
    /// Whether the machine must be restarted for all of it to take effect.
    pub needs_reboot: bool,
    /// Flow by flow.
    pub flows: Vec<FlowApplied>,
}

/// What came of one flow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlowApplied {
    /// The flow.
    pub flow: String,
    /// What came of it.
    pub result: Outcome,
    /// In a sentence or two.
    pub message: String,
    /// The digest of its plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What is done, or would be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
    /// How files change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileChange>,
    /// What a person should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// Whether its effect needs a restart.
    pub needs_reboot: bool,
    /// The run, for `hostwright undo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<u32>,
    /// What came of each kernel of several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernels: Vec<KernelResult>,
    /// Why it failed: `code` is a stable word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
}

impl Applied {
    /// The outcome of all flows together.
    pub fn together(flows: &[FlowApplied]) -> Outcome {
        let any = |wanted: Outcome| flows.iter().any(|f| f.result == wanted);
        match () {
            () if any(Outcome::Failed) => Outcome::Failed,
            () if any(Outcome::Changed) => Outcome::Changed,
            () => Outcome::Ok,
        }
    }
}

#[cfg(test)]
#[path = "profile_tests.rs"]
mod tests;
