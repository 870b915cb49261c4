// SPDX-License-Identifier: GPL-3.0-or-later
//! How runs end, and what is said and kept of them.

use crate::scene::{
    check, done, no_check, owner, plan, put, remove, run, run_checked, same, take_back, tree, undone, write,
};
use hostwright::engine::{
    CheckOutcome, Event, Inputs, RunState, StepState, events, execute, preview, runs, undo_preview,
};
use hostwright::host::{Cancel, Host};
use std::os::unix::fs::PermissionsExt;

fn scratch() -> (tempfile::TempDir, Host) {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::scratch(dir.path()).unwrap();
    (dir, host)
}

#[test]
fn a_run_tells_what_it_does_and_keeps_it() {
    let (dir, host) = scratch();
    put(dir.path(), "/etc/b", "b");
    let (report, told) = run(&host, vec![write("/etc/a", "a"), write("/etc/b", "b")]);
    let report = report.unwrap();
    assert_eq!((report.run, report.state), (1, RunState::Done));
    assert_eq!(report.message, "All 2 steps are done.");
    assert!(report.is_verified());
    assert_eq!(report.checks.len(), 2);
    let kinds: Vec<String> =
        told.iter().map(|e| serde_json::to_value(e).unwrap()["event"].as_str().unwrap().to_owned()).collect();
    assert_eq!(
        kinds,
        ["started", "step", "checked", "step_done", "step", "checked", "step_done", "finished"]
    );
    assert!(matches!(told[6], Event::StepDone { step: 1, unchanged: true }));
    assert_eq!(events(&host, 1).unwrap(), told);

    let list = runs(&host).unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].state, RunState::Done);
    assert_eq!(list[0].owner, owner());
    assert!(list[0].can_undo && list[0].ended.is_some() && list[0].problem.is_none());
    assert_eq!(list[0].steps[0].state, StepState::Done);
    assert_eq!(list[0].steps[1].state, StepState::Unchanged);
}

#[test]
fn what_is_kept_is_for_root_only() {
    let (dir, host) = scratch();
    put(dir.path(), "/etc/secret", "old");
    let run = done(&host, vec![write("/etc/secret", "new")]);
    let mode = |p: &str| std::fs::metadata(dir.path().join(p)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("var/lib/hostwright/runs"), 0o700);
    assert_eq!(mode("var/lib/hostwright/runs/0001"), 0o700);
    for file in ["plan.json", "journal.jsonl", "events.jsonl"] {
        assert_eq!(mode(&format!("var/lib/hostwright/runs/0001/{file}")), 0o600, "{file}");
    }
    let names = || -> Vec<String> {
        host.root().list("/var/lib/hostwright/runs/0001").unwrap().into_iter().map(|e| e.name).collect()
    };
    assert_eq!(names(), ["blobs", "events.jsonl", "journal.jsonl", "plan.json"]);
    undone(&host, run);
    assert_eq!(names(), ["events.jsonl", "journal.jsonl", "plan.json"], "what is back needs no copy");
}

#[test]
fn a_failed_step_takes_the_others_back_and_says_why() {
    let (dir, host) = scratch();
    put(dir.path(), "/etc/a", "old");
    put(dir.path(), "/etc/dir/x", "x");
    let before = tree(&host);
    let (report, told) =
        run(&host, vec![write("/etc/a", "new"), remove("/etc/dir/x"), write("/etc/dir", "no")]);
    let report = report.unwrap();
    assert_eq!(report.state, RunState::RolledBack);
    assert_eq!(
        report.message,
        "“Write /etc/dir” failed: /etc/dir is a directory, where a file should go; look at it and move it away. \
         Everything that this run had changed was taken back."
    );
    same(&tree(&host), &before);
    assert!(told.iter().any(|e| matches!(e, Event::StepFailed { step: 2, .. })));
    assert!(told.iter().any(|e| matches!(e, Event::Started { undo: true, steps: 2, .. })));
    let list = runs(&host).unwrap();
    assert_eq!(list[0].state, RunState::RolledBack);
    assert!(!list[0].can_undo);
    let error = take_back(&host, 1).unwrap_err().to_string();
    assert!(error.contains("nothing to take back"), "{error}");
}

#[test]
fn a_bad_check_of_the_whole_takes_everything_back() {
    let (_dir, host) = scratch();
    let bad = check(CheckOutcome::Bad { reason: "the module is not loaded; look at the log".into() });
    let report = run_checked(&host, vec![write("/etc/a", "a")], &bad, &Cancel::new()).0.unwrap();
    assert_eq!(report.state, RunState::RolledBack);
    assert!(report.message.contains("the whole: the module is not loaded; look at the log"), "{report:?}");
    assert!(tree(&host).is_empty());
}

#[test]
fn a_check_that_could_not_look_is_done_but_no_success() {
    let (_dir, host) = scratch();
    let blind = check(CheckOutcome::CouldNotLook { reason: "/proc is not mounted".into() });
    let report = run_checked(&host, vec![write("/etc/a", "a")], &blind, &Cancel::new()).0.unwrap();
    assert_eq!(report.state, RunState::Done);
    assert!(!report.is_verified());
    assert!(report.message.contains("Not verified: the whole (/proc is not mounted)"), "{report:?}");
}

#[test]
fn a_check_that_does_not_apply_is_a_success() {
    let (_dir, host) = scratch();
    let other = check(CheckOutcome::NotApplicable { reason: "this kernel does not run".into() });
    let report = run_checked(&host, vec![write("/etc/a", "a")], &other, &Cancel::new()).0.unwrap();
    assert!(report.is_verified());
}

#[test]
fn a_cancelled_run_leaves_the_machine_as_before() {
    let (dir, host) = scratch();
    put(dir.path(), "/etc/a", "old");
    let before = tree(&host);
    // Somebody presses Ctrl+C as each of the steps begins.
    for at in 0..3 {
        let cancel = Cancel::new();
        let asked = cancel.clone();
        let mut sink = move |e: Event| {
            if matches!(e, Event::Step { step, .. } if step == at) {
                asked.cancel();
            }
        };
        let steps = vec![write("/etc/a", "1"), write("/etc/new/b", "2"), remove("/etc/a")];
        let report =
            execute(&host, &plan(steps), &Inputs::default(), &owner(), &no_check, &cancel, &mut sink)
                .unwrap();
        assert_eq!(report.state, RunState::RolledBack);
        assert!(report.message.starts_with("Cancelled at “"), "{}", report.message);
        same(&tree(&host), &before);
    }
}

#[test]
fn a_wish_to_stop_after_the_last_step_still_counts() {
    let (_dir, host) = scratch();
    let cancel = Cancel::new();
    let asked = cancel.clone();
    let mut sink = move |e: Event| {
        if matches!(e, Event::StepDone { .. }) {
            asked.cancel();
        }
    };
    let plan = plan(vec![write("/etc/a", "a")]);
    let report = execute(&host, &plan, &Inputs::default(), &owner(), &no_check, &cancel, &mut sink).unwrap();
    assert_eq!(report.state, RunState::RolledBack);
    assert!(tree(&host).is_empty());
}

#[test]
fn an_empty_plan_is_nothing_to_do() {
    let (_dir, host) = scratch();
    let report = run(&host, vec![]).0.unwrap();
    assert_eq!((report.state, report.message.as_str()), (RunState::Done, "There was nothing to do."));
    assert!(!runs(&host).unwrap()[0].can_undo);
}

#[test]
fn a_plan_that_does_not_ask_for_what_it_needs_is_not_begun() {
    let (_dir, host) = scratch();
    let mut plan = plan(vec![write("/etc/a", "a")]);
    plan.permissions.clear();
    let begin = |plan: &_| {
        execute(&host, plan, &Inputs::default(), &owner(), &no_check, &Cancel::new(), &mut |_: Event| {})
            .unwrap_err()
            .to_string()
    };
    let error = begin(&plan);
    assert!(error.contains("needs org.hostwright.system.tune"), "{error}");
    plan.version = 99;
    assert!(begin(&plan).contains("the plan has format 99"));
    assert!(tree(&host).is_empty() && runs(&host).unwrap().is_empty());
}

#[test]
fn the_preview_of_undo_is_what_undo_does() {
    let (dir, host) = scratch();
    put(dir.path(), "/etc/a", "old");
    put(dir.path(), "/etc/c", "gone");
    let run =
        done(&host, vec![write("/etc/a", "1"), write("/etc/b", "2"), remove("/etc/c"), write("/etc/a", "3")]);
    let shown = undo_preview(&host, run).unwrap();
    assert!(shown.is_clean());
    let lines: Vec<String> = shown.steps.iter().flat_map(|s| s.restores.clone()).collect();
    assert_eq!(lines, ["put back /etc/a", "put back /etc/c", "remove /etc/b", "put back /etc/a"]);
    undone(&host, run);
    let after = undo_preview(&host, run).unwrap();
    assert!(after.refused.unwrap().contains("nothing to take back"));
}

#[test]
fn a_plan_is_previewed_step_by_step() {
    let (_dir, host) = scratch();
    let shown = preview(&plan(vec![write("/etc/a", "1\n"), remove("/etc/b")]), &host);
    assert_eq!(shown[0].title, "Write /etc/a");
    assert!(shown[0].files[0].diff.contains("+1"));
    assert_eq!(shown[1].files[0].diff, "it is not there");
    assert!(tree(&host).is_empty());
}
