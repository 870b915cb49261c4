// SPDX-License-Identifier: GPL-3.0-or-later
//! Launchers and wishes in, a plan or a refusal out. Pure.

use super::{Choices, FLOW, Launcher, LauncherFacts, State, Wish};
use crate::detect::launchers::NAMES;
use crate::detect::launchers::text::{fixed, unfixed, wrapper};
use crate::engine::Step;
use crate::engine::plan::{PLAN_VERSION, Permission, Plan, Refusal, Warning};
use crate::engine::steps::{CopyFile, RemoveFile, WriteFile};
use std::collections::{BTreeMap, BTreeSet};

/// Makes the plan.
///
/// # Errors
/// A refusal when there is no launcher that could be changed.
pub(super) fn plan(choices: &Choices, facts: &LauncherFacts) -> Result<Plan, Refusal> {
    for name in &choices.only {
        if !facts.launchers.iter().any(|l| l.name == *name) {
            return Err(Refusal::new(
                "no-launcher",
                format!("There is no launcher {name} in {}.", facts.bindir),
                format!("Known launchers are {}.", NAMES.join(", ")),
            ));
        }
    }
    if facts.launchers.is_empty() {
        return Err(Refusal::new(
            "no-launcher",
            format!("There are no launchers of VMware's in {}.", facts.bindir),
            "Install VMware Workstation or Player first.",
        ));
    }
    let mut steps = Vec::new();
    let mut warnings = Vec::new();
    let wanted = facts.launchers.iter().filter(|l| choices.only.is_empty() || choices.only.contains(&l.name));
    let mut names = Vec::new();
    for launcher in wanted {
        let before = steps.len();
        match choices.wish {
            Wish::Fix => fix(launcher, &mut steps, &mut warnings),
            Wish::Remove => remove(launcher, &mut steps, &mut warnings),
        }
        if steps.len() > before {
            names.push(launcher.name.clone());
        }
    }
    Ok(Plan {
        version: PLAN_VERSION,
        flow: FLOW.to_owned(),
        title: "VMware's programs on Wayland".to_owned(),
        choices: serde_json::to_value(choices).unwrap_or_default(),
        facts: serde_json::to_value(facts).unwrap_or_default(),
        permissions: if steps.is_empty() { BTreeSet::new() } else { [Permission::ApplicationsPatch].into() },
        details: BTreeMap::from([("launchers".to_owned(), names.join(", "))]),
        steps,
        warnings,
        left_out: Vec::new(),
        notes: Vec::new(),
        needs_reboot: false,
    })
}

fn leave(launcher: &Launcher, why: &str, warnings: &mut Vec<Warning>) {
    let message = format!("{} is left alone: {why}", launcher.path);
    warnings.push(Warning { message, remedy: None });
}

fn write(launcher: &Launcher, content: String, mode: u32, reason: &str) -> Step {
    Step::WriteFile(WriteFile { path: launcher.path.clone(), content, mode, reason: reason.to_owned() })
}

fn fix(launcher: &Launcher, steps: &mut Vec<Step>, warnings: &mut Vec<Warning>) {
    let through = "goes through XWayland in a Wayland session";
    match (&launcher.state, &launcher.text, &launcher.starts) {
        (State::Fixed { current: true }, ..) => {}
        (State::Fixed { .. }, Some(text), _) => {
            // An earlier version's part is taken out first.
            let bare = unfixed(text).unwrap_or_else(|| text.clone());
            steps.push(write(launcher, fixed(&bare), launcher.mode, through));
        }
        (State::Fixed { .. }, None, Some(starts)) => {
            steps.push(write(launcher, wrapper(starts), launcher.mode, through));
        }
        (State::Plain, text, _) => {
            let original = keep(launcher, steps);
            let content = text.as_ref().map_or_else(|| wrapper(&original), |t| fixed(t));
            steps.push(write(launcher, content, launcher.mode, through));
        }
        (State::FixedByOthers, ..) => {
            leave(launcher, "something else makes it go through XWayland already", warnings);
        }
        (State::Unknown { why }, ..) => leave(launcher, why, warnings),
        (State::Fixed { .. }, None, None) => leave(launcher, "what it starts is not known", warnings),
    }
}

/// Sees to it that a copy of the launcher is kept, and says where. A copy that is there is never overwritten.
fn keep(launcher: &Launcher, steps: &mut Vec<Step>) -> String {
    if let Some((path, _)) = launcher.originals.iter().find(|(_, sha256)| **sha256 == launcher.sha256) {
        return path.clone();
    }
    let first = format!("{}.original", launcher.path);
    let numbered = (2..).map(|n: u32| format!("{first}.{n}"));
    let free = std::iter::once(first.clone()).chain(numbered).find(|p| !launcher.originals.contains_key(p));
    let to = free.unwrap_or(first);
    steps.push(Step::CopyFile(CopyFile {
        from: launcher.path.clone(),
        sha256: launcher.sha256.clone(),
        to: to.clone(),
        mode: launcher.mode,
        reason: "the launcher as the product has it".to_owned(),
    }));
    to
}

fn remove(launcher: &Launcher, steps: &mut Vec<Step>, warnings: &mut Vec<Warning>) {
    let back = "as the product has it";
    match (&launcher.state, &launcher.text, &launcher.starts) {
        (State::Fixed { .. }, Some(text), _) => match unfixed(text) {
            Some(bare) => {
                let copy =
                    launcher.originals.iter().find(|(_, sha)| **sha == sha256(&bare)).map(|(path, _)| path);
                steps.push(write(launcher, bare, launcher.mode, back));
                steps.extend(copy.map(|path| drop_copy(path)));
            }
            None => leave(launcher, "the part to remove is not whole", warnings),
        },
        (State::Fixed { .. }, None, Some(starts)) => match launcher.originals.get(starts) {
            Some(sha256) => {
                steps.push(Step::CopyFile(CopyFile {
                    from: starts.clone(),
                    sha256: sha256.clone(),
                    to: launcher.path.clone(),
                    mode: launcher.mode,
                    reason: back.to_owned(),
                }));
                steps.push(drop_copy(starts));
            }
            None => leave(launcher, &format!("{starts}, the program it starts, is not there"), warnings),
        },
        (State::Unknown { why }, ..) => leave(launcher, why, warnings),
        _ => {}
    }
}

fn drop_copy(path: &str) -> Step {
    Step::RemoveFile(RemoveFile {
        path: path.to_owned(),
        reason: "the launcher itself is this again".to_owned(),
    })
}

fn sha256(text: &str) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
