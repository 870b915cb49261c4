// SPDX-License-Identifier: GPL-3.0-or-later
//! Writing an image to a USB stick: the only thing of the lab that needs root, and a flow of its own.
//!
//! ```text
//!   image (open file) ─ look ─► Choices { device, image } ─┐
//!   /sys, /proc ───────────────► Medium ───────────────────┴─ plan (pure) ─► WriteImage, which cannot be undone
//! ```
//!
//! Refused before anybody is asked: what is used by this machine or another process, what is built in, what is too
//! small, what cannot be written to.

pub mod look;

pub use look::{Content, Looked, look};

use crate::detect::media::{self, Medium};
use crate::engine::Step;
use crate::engine::plan::{PLAN_VERSION, Plan, Refusal, Warning};
use crate::engine::steps::WriteImage;
use crate::flows::PlanError;
use crate::host::Host;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The name of this flow.
pub const FLOW: &str = "lab-write";

/// A medium larger than this is more likely somebody's disk than a stick: 256 GB.
const LARGE: u64 = 256_000_000_000;

/// What a person picks: an image, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Choices {
    /// The device file of a whole medium ("/dev/sdb").
    pub device: String,
    /// The image; its bytes come as an open file.
    pub image: ImageChoice,
}

/// Which image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageChoice {
    /// Its file name, for people.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// What it was seen to be.
    pub content: Content,
}

/// A size as it is printed on sticks and cards: in powers of ten.
pub fn capacity(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{bytes} bytes"),
        1_000_000..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{}.{} GB", bytes / 1_000_000_000, bytes / 100_000_000 % 10),
    }
}

/// Gathers what the plan reads and makes it.
///
/// # Errors
/// See [`PlanError`].
pub(in crate::flows) fn plan_here(host: &Host, choices: &serde_json::Value) -> Result<Plan, PlanError> {
    let choices: Choices =
        serde_json::from_value(choices.clone()).map_err(|e| PlanError::BadChoices(e.to_string()))?;
    let media = media::read(host.root()).map_err(|e| PlanError::Failed(e.to_string()))?;
    Ok(plan(&choices, &media)?)
}

/// Makes the plan. Pure.
///
/// # Errors
/// A refusal with its reason and what to do.
pub fn plan(choices: &Choices, media: &[Medium]) -> Result<Plan, Refusal> {
    let image = &choices.image;
    well_formed(choices)?;
    let medium = fitting(choices, media)?;
    let unknown = || "not told".to_owned();
    let details = BTreeMap::from([
        ("device".to_owned(), medium.device.clone()),
        ("image".to_owned(), image.name.clone()),
        ("model".to_owned(), medium.model.clone().unwrap_or_else(unknown)),
        ("serial".to_owned(), medium.serial.clone().unwrap_or_else(unknown)),
        ("size".to_owned(), capacity(medium.size)),
    ]);
    let step = Step::WriteImage(WriteImage {
        device: medium.device.clone(),
        number: medium.number.clone(),
        instance: medium.instance,
        capacity: medium.size,
        holds: medium.partitions.iter().map(|(name, size)| format!("{name} ({})", capacity(*size))).collect(),
        image: image.name.clone(),
        size: image.size,
        sha256: image.sha256.clone(),
    });
    Ok(Plan {
        version: PLAN_VERSION,
        flow: FLOW.to_owned(),
        title: format!("{} onto {}", image.name, medium.device),
        choices: serde_json::to_value(choices).unwrap_or_default(),
        facts: serde_json::to_value(medium).unwrap_or_default(),
        permissions: step.permissions(),
        steps: vec![step],
        details,
        warnings: warnings(image, medium),
        left_out: Vec::new(),
        notes: Vec::new(),
        needs_reboot: false,
    })
}

/// What comes from outside goes into messages and file names of people: it must be harmless.
fn well_formed(choices: &Choices) -> Result<(), Refusal> {
    let image = &choices.image;
    let hex =
        image.sha256.len() == 64 && image.sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let bad =
        |what: String| Err(Refusal::new("bad-image", what, "Name an image with `hostwright lab write`."));
    if !hex {
        return bad("The SHA-256 of the image is not 64 hexadecimal digits.".to_owned());
    }
    if image.size == 0 {
        return bad(format!("The image {} is empty.", image.name.escape_debug()));
    }
    let plain = |c: char| !c.is_control() && c != '/';
    if image.name.is_empty() || image.name.len() > 255 || !image.name.chars().all(plain) {
        return bad(format!("“{}” is no file name.", image.name.escape_debug()));
    }
    Ok(())
}

/// The medium, if it may be written to.
fn fitting<'a>(choices: &Choices, media: &'a [Medium]) -> Result<&'a Medium, Refusal> {
    let device = &choices.device;
    let shown = device.escape_debug();
    let list = "`hostwright lab devices` shows what can be written to.";
    let part_of = |m: &&Medium| m.partitions.iter().any(|(name, _)| *device == format!("/dev/{name}"));
    if let Some(whole) = media.iter().find(part_of) {
        let why = format!("{shown} is a partition; an image goes onto the whole medium.");
        return Err(Refusal::new("partition", why, format!("Name {}.", whole.device)));
    }
    let Some(medium) = media.iter().find(|m| m.device == *device) else {
        let why = format!("There is no disk {shown} here.");
        return Err(Refusal::new("no-such-device", why, list));
    };
    if !medium.used.is_empty() {
        let why = format!("{shown} is in use: {}.", medium.used.join("; "));
        let remedy = "If it is the one that you mean, unmount what is on it and try again.";
        return Err(Refusal::new("in-use", why, remedy));
    }
    if !medium.is_portable() {
        let why = format!(
            "{shown} ({}, {}) is built into this machine, as far as one can tell: it is neither removable nor \
             connected by USB.",
            medium.model.as_deref().unwrap_or("no model told"),
            capacity(medium.size)
        );
        return Err(Refusal::new("not-removable", why, list));
    }
    if medium.size == 0 {
        return Err(Refusal::new("no-medium", format!("There is nothing in {shown}."), "Put the medium in."));
    }
    if medium.read_only {
        let why = format!("{shown} cannot be written to.");
        return Err(Refusal::new("read-only", why, "Look whether it has a switch against writing."));
    }
    if choices.image.size > medium.size {
        let why = format!(
            "The image {} has {}, and {shown} has room for {}.",
            choices.image.name,
            capacity(choices.image.size),
            capacity(medium.size)
        );
        return Err(Refusal::new("too-small", why, "Use a larger medium."));
    }
    Ok(medium)
}

fn warnings(image: &ImageChoice, medium: &Medium) -> Vec<Warning> {
    let mut all = Vec::new();
    let mut warn = |message: String, remedy: Option<&str>| {
        all.push(Warning { message, remedy: remedy.map(str::to_owned) });
    };
    warn(format!("All that {} holds now is lost. This cannot be undone.", medium.device), None);
    if !medium.removable || medium.size > LARGE {
        let why =
            if medium.removable { "It is large for a stick" } else { "It says that it is a fixed disk" };
        let (model, size) = (medium.model.as_deref().unwrap_or("no model told"), capacity(medium.size));
        warn(format!("{why} ({model}, {size}): look whether it is the one that you mean."), None);
    }
    match image.content {
        Content::Hybrid | Content::Partitioned => {}
        Content::Iso => warn(
            format!("{} is an ISO image for discs: few machines boot it from a stick.", image.name),
            Some("Use an image that is made for both (an isohybrid)."),
        ),
        Content::Unknown => warn(
            format!(
                "{} has neither a partition table nor an ISO 9660 file system: it will not boot.",
                image.name
            ),
            Some("Look whether it is the file that you mean."),
        ),
    }
    all
}

#[cfg(test)]
mod tests;
