// SPDX-License-Identifier: GPL-3.0-or-later
//! The window shows and hands on; it decides nothing. So it may use only what is listed here.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What `ui` may name of this crate: everything that begins with one of these.
const ALLOWED: &[&str] = &[
    // Types of plans, runs and events; how a plan would change files; the rules for the one-time password.
    "engine",
    // What was found, and finding it.
    "detect",
    // What a person picks, and which kernels that means.
    "flows::vmware::Choices",
    "flows::vmware::choices",
    "flows::vmware::select",
    "flows::vmware::FLOW",
    // What became of builds that nobody watched.
    "flows::vmware::updates",
    // What can be tuned here, and how launchers stand; what a person picks of it.
    "flows::tuning",
    "flows::wayland",
    // What a host can do with vGPU.
    "flows::vgpu",
    // Boots of a person's own session, and their reports: no privilege, nothing of the machine changes.
    "flows::lab",
    "guest",
    // Measuring as a person asks for it, and what is shown of it: nothing of the machine changes.
    "flows::bench",
    "measure",
    // The way to the helper.
    "ipc",
    // Sentences for people.
    "tell",
    // Saved choices and sources of a person's own: files of theirs, as the command line reads them.
    "profile",
    "pack",
    // The machine, to look at.
    "host::Host",
    // The wish that a boot stops.
    "host::Cancel",
    "ui",
];

/// What would change or decide something.
const NEVER: &[&str] = &[
    "engine::execute",
    "engine::undo",
    "engine::runs",
    "flows::plan",
    "flows::check",
    "flows::tuning::plan",
    "helper",
    "cli",
];

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

/// All paths of this crate that a source names: `crate::a::b`, and each of `crate::a::{b, c}`.
fn named(text: &str) -> BTreeSet<String> {
    let text: String =
        text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        if text[..at].ends_with('$') {
            continue;
        }
        let rest = &text[at + "crate::".len()..];
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
        let (path, after) = rest.split_at(end);
        match after.strip_prefix('{') {
            Some(group) => {
                let group = group.split('}').next().unwrap_or_default();
                found.extend(group.split(',').map(|name| format!("{path}{}", name.trim())));
            }
            None => {
                found.insert(path.to_owned());
            }
        }
    }
    found.retain(|path| !path.ends_with("::"));
    found
}

fn begins(path: &str, with: &str) -> bool {
    path.strip_prefix(with).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[test]
fn the_window_uses_only_what_it_may() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ui");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 20, "where are the sources?");
    let mut wrong = Vec::new();
    for file in files {
        for path in named(&std::fs::read_to_string(&file).unwrap()) {
            let allowed = ALLOWED.iter().any(|a| begins(&path, a));
            if !allowed || NEVER.iter().any(|n| begins(&path, n)) {
                wrong.push(format!("{}: crate::{path}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "not for the window:\n{}", wrong.join("\n"));
}

#[test]
fn a_group_of_names_is_read_name_by_name() {
    let names = named("use crate::engine::{Plan, undo};\n// crate::cli\nlet x = crate::tell::sentence(y);");
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["engine::Plan", "engine::undo", "tell::sentence"]);
}
