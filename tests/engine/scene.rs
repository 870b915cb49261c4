// SPDX-License-Identifier: GPL-3.0-or-later
//! A scratch machine for tests from outside the library.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

use hostwright::engine::plan::PLAN_VERSION;
use hostwright::engine::steps::{RemoveFile, WriteFile};
use hostwright::engine::{
    Check, CheckOutcome, Event, Inputs, Owner, Plan, RunError, RunReport, RunState, Step, execute, undo,
};
use hostwright::host::{Cancel, FileState, Host};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Paths and all that must come back.
pub type Tree = BTreeMap<String, FileState>;

pub fn owner() -> Owner {
    Owner { uid: 1000, name: "tester".into() }
}

pub fn plan(steps: Vec<Step>) -> Plan {
    Plan {
        version: PLAN_VERSION,
        flow: "test".into(),
        title: String::new(),
        choices: serde_json::json!({}),
        facts: serde_json::json!({}),
        permissions: steps.iter().flat_map(Step::permissions).collect(),
        steps,
        details: BTreeMap::new(),
        warnings: Vec::new(),
        left_out: Vec::new(),
        notes: Vec::new(),
        needs_reboot: false,
    }
}

pub fn write(path: &str, content: &str) -> Step {
    Step::WriteFile(WriteFile {
        path: path.into(),
        content: content.into(),
        mode: 0o644,
        reason: "test".into(),
    })
}

pub fn remove(path: &str) -> Step {
    Step::RemoveFile(RemoveFile { path: path.into(), reason: "test".into() })
}

/// A check of the whole that looks at nothing.
pub fn no_check(_: &Host, _: &Plan) -> Vec<Check> {
    Vec::new()
}

pub fn check(outcome: CheckOutcome) -> impl Fn(&Host, &Plan) -> Vec<Check> {
    move |_, _| vec![Check { what: "the whole".into(), outcome: outcome.clone() }]
}

/// Carries steps out and returns what was said.
pub fn run(host: &Host, steps: Vec<Step>) -> (Result<RunReport, RunError>, Vec<Event>) {
    run_checked(host, steps, &no_check, &Cancel::new())
}

pub fn run_checked(
    host: &Host,
    steps: Vec<Step>,
    check: &dyn Fn(&Host, &Plan) -> Vec<Check>,
    cancel: &Cancel,
) -> (Result<RunReport, RunError>, Vec<Event>) {
    let mut events = Vec::new();
    let mut sink = |e: Event| events.push(e);
    let report = execute(host, &plan(steps), &Inputs::default(), &owner(), check, cancel, &mut sink);
    (report, events)
}

/// Carries steps out, which must succeed; returns the number of the run.
#[track_caller]
pub fn done(host: &Host, steps: Vec<Step>) -> u32 {
    let report = run(host, steps).0.unwrap();
    assert_eq!(report.state, RunState::Done, "{report:?}");
    report.run
}

pub fn take_back(host: &Host, run: u32) -> Result<RunReport, RunError> {
    undo(host, run, &owner(), &Cancel::new(), &mut |_: Event| {})
}

/// Takes a run back, which must go through to its end.
#[track_caller]
pub fn undone(host: &Host, run: u32) {
    let report = take_back(host, run).unwrap();
    assert_eq!(report.state, RunState::Undone, "{report:?}");
}

pub fn put(dir: &Path, path: &str, content: &str) {
    let path = dir.join(&path[1..]);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// The whole tree but for what Hostwright keeps for itself.
pub fn tree(host: &Host) -> Tree {
    fn walk(host: &Host, dir: &str, into: &mut Tree) {
        for entry in host.root().list(dir).unwrap() {
            let path = format!("{}/{}", dir.trim_end_matches('/'), entry.name);
            if ["/var/lib/hostwright", "/run/hostwright"].contains(&path.as_str()) {
                continue;
            }
            let state = host.root().state(&path).unwrap();
            if matches!(state, FileState::Directory { .. }) {
                walk(host, &path, into);
            }
            into.insert(path, state);
        }
    }
    let mut found = Tree::new();
    walk(host, "/", &mut found);
    // Made for what Hostwright keeps, when nothing else is in them.
    for dir in ["/var/lib", "/var", "/run"] {
        if !found.keys().any(|p| p.starts_with(&format!("{dir}/"))) {
            found.remove(dir);
        }
    }
    found
}

/// Asserts that two trees are the same, and shows only what differs.
#[track_caller]
pub fn same(now: &Tree, before: &Tree) {
    let paths: BTreeSet<_> = now.keys().chain(before.keys()).collect();
    let differ: Vec<_> = paths
        .into_iter()
        .filter(|p| now.get(*p) != before.get(*p))
        .map(|p| format!("{p}\n  before {:?}\n  now    {:?}", before.get(p), now.get(p)))
        .collect();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}
