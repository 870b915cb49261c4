// SPDX-License-Identifier: GPL-3.0-or-later
//! Runs beside and after each other.

use crate::scene::{done, no_check, owner, plan, put, run, same, take_back, tree, undone, write};
use hostwright::engine::{Event, Inputs, RunError, RunState, execute, runs, undo_preview};
use hostwright::host::{Cancel, Host};
use std::sync::mpsc::channel;

fn scratch() -> (tempfile::TempDir, Host) {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::scratch(dir.path()).unwrap();
    (dir, host)
}

#[test]
fn a_later_run_that_changed_the_same_file_is_undone_first() {
    let (dir, host) = scratch();
    put(dir.path(), "/etc/a", "old");
    let before = tree(&host);
    let first = done(&host, vec![write("/etc/a", "1")]);
    let second = done(&host, vec![write("/etc/a", "2"), write("/etc/b", "2")]);
    let third = done(&host, vec![write("/etc/c", "3")]);
    let error = take_back(&host, first).unwrap_err();
    assert!(matches!(&error, RunError::LaterRun { run: 1, later: 2, path } if path == "/etc/a"), "{error}");
    assert!(error.to_string().contains("`hostwright undo 2`"), "{error}");
    assert!(undo_preview(&host, first).unwrap().refused.unwrap().contains("undo 2"));
    undone(&host, second);
    undone(&host, first);
    undone(&host, third);
    same(&tree(&host), &before);
}

#[test]
fn the_same_file_by_another_way_is_recognised() {
    let (dir, host) = scratch();
    std::fs::create_dir_all(dir.path().join("usr/lib")).unwrap();
    std::os::unix::fs::symlink("usr/lib", dir.path().join("lib")).unwrap();
    let first = done(&host, vec![write("/lib/a", "1")]);
    let second = done(&host, vec![write("/usr/lib/a", "2")]);
    assert!(matches!(take_back(&host, first), Err(RunError::LaterRun { later: 2, .. })));
    undone(&host, second);
    undone(&host, first);
}

#[test]
fn of_two_runs_at_once_one_is_told_who_is_first() {
    let (_dir, host) = scratch();
    let (entered, is_in) = channel();
    let (leave, may_leave) = channel::<()>();
    std::thread::scope(|scope| {
        let first = host.clone();
        let worker = scope.spawn(move || {
            let mut sink = move |e: Event| {
                if matches!(e, Event::Step { .. }) {
                    entered.send(()).unwrap();
                    may_leave.recv().unwrap();
                }
            };
            let plan = plan(vec![write("/etc/a", "1")]);
            execute(&first, &plan, &Inputs::default(), &owner(), &no_check, &Cancel::new(), &mut sink)
        });
        is_in.recv().unwrap();
        assert_eq!(runs(&host).unwrap()[0].state, RunState::Running);
        assert!(!runs(&host).unwrap()[0].can_undo);
        assert!(undo_preview(&host, 1).unwrap().refused.unwrap().contains("under way"));
        for error in [run(&host, vec![write("/etc/b", "2")]).0.unwrap_err(), take_back(&host, 1).unwrap_err()]
        {
            let said = error.to_string();
            assert!(matches!(error, RunError::Lock(_)), "{said}");
            assert!(said.contains("asked for by tester, process"), "{said}");
        }
        leave.send(()).unwrap();
        assert_eq!(worker.join().unwrap().unwrap().state, RunState::Done);
    });
    assert_eq!(runs(&host).unwrap().len(), 1);
    done(&host, vec![write("/etc/b", "2")]);
}

#[test]
fn an_undo_that_was_cancelled_goes_on_later() {
    let (dir, host) = scratch();
    put(dir.path(), "/etc/a", "old");
    let before = tree(&host);
    let run = done(&host, vec![write("/etc/a", "1"), write("/etc/b", "2"), write("/etc/c", "3")]);
    let cancel = Cancel::new();
    let asked = cancel.clone();
    let mut sink = move |e: Event| {
        if matches!(e, Event::StepDone { .. }) {
            asked.cancel();
        }
    };
    let report = hostwright::engine::undo(&host, run, &owner(), &cancel, &mut sink).unwrap();
    assert_eq!(report.state, RunState::UndoStopped);
    assert!(!dir.path().join("etc/c").exists() && dir.path().join("etc/b").exists());
    undone(&host, run);
    same(&tree(&host), &before);
}

#[test]
fn a_run_that_is_not_there_is_said_so() {
    let (_dir, host) = scratch();
    let said = take_back(&host, 7).unwrap_err().to_string();
    assert_eq!(said, "there is no run 7; `hostwright runs` lists them");
    assert!(matches!(undo_preview(&host, 7), Err(RunError::NoSuchRun { run: 7 })));
    assert!(runs(&host).unwrap().is_empty());
}

#[test]
fn numbers_are_never_used_twice() {
    let (_dir, host) = scratch();
    assert_eq!(done(&host, vec![write("/etc/a", "1")]), 1);
    undone(&host, 1);
    assert_eq!(done(&host, vec![write("/etc/a", "1")]), 2);
    let listed: Vec<u32> = runs(&host).unwrap().iter().map(|r| r.run).collect();
    assert_eq!(listed, [2, 1]);
}
