// SPDX-License-Identifier: GPL-3.0-or-later
//! Death at every boundary, and anywhere between.

use crate::child::{Task, died, plant, recovers, start, steps};
use crate::scene::{done, same, take_back, tree};
use hostwright::engine::{RunError, RunState, runs};
use hostwright::host::Host;
use std::time::{Duration, Instant};

struct Machine {
    dir: tempfile::TempDir,
    host: Host,
    before: crate::scene::Tree,
}

fn machine() -> Machine {
    let dir = tempfile::tempdir().unwrap();
    plant(dir.path());
    let host = Host::scratch(dir.path()).unwrap();
    let before = tree(&host);
    Machine { dir, host, before }
}

/// Lets a child die at `place` the first time it comes there, the second time… until it never comes
/// there so often. Returns how often it died.
fn every_time(task: Task, place: &str, prepare: impl Fn(&Machine)) -> u32 {
    for nth in 1.. {
        let machine = machine();
        prepare(&machine);
        let status = start(machine.dir.path(), task, Some((place, nth))).wait().unwrap();
        if !died(status) {
            return nth - 1;
        }
        recovers(&machine.host, &machine.before, &format!("{task:?} {place} {nth}"));
    }
    unreachable!()
}

fn in_a_run(place: &str) -> u32 {
    every_time(Task::Execute, place, |_| {})
}

fn in_an_undo(place: &str) -> u32 {
    every_time(Task::Undo, place, |m| {
        done(&m.host, steps());
    })
}

fn while_taking_itself_back(place: &str) -> u32 {
    every_time(Task::Fail, place, |_| {})
}

#[test]
fn killed_before_the_first_record() {
    assert_eq!(in_a_run("before-begin"), 1);
}

#[test]
fn killed_before_the_first_step() {
    assert_eq!(in_a_run("begun"), 1);
}

#[test]
fn killed_before_each_intent() {
    assert_eq!(in_a_run("before-intent"), 8);
}

#[test]
fn killed_between_intent_and_change() {
    assert_eq!(in_a_run("intent"), 8);
}

#[test]
fn killed_when_a_change_is_announced() {
    assert_eq!(in_a_run("touched"), 8);
}

#[test]
fn killed_with_new_folders_and_nothing_in_them() {
    assert_eq!(in_a_run("dirs-made"), 7);
}

#[test]
fn killed_with_an_empty_file_beside() {
    // The reserve, the plan and copies of old files are written another way.
    assert_eq!(in_a_run("staged-empty"), 7);
}

#[test]
fn killed_with_a_whole_file_beside() {
    assert_eq!(in_a_run("staged"), 7);
}

#[test]
fn killed_right_after_the_exchange() {
    assert_eq!(in_a_run("written"), 8);
}

#[test]
fn killed_between_change_and_done() {
    assert_eq!(in_a_run("applied"), 8);
}

#[test]
fn killed_after_each_done() {
    assert_eq!(in_a_run("done"), 8);
}

#[test]
fn killed_before_the_end() {
    assert_eq!(in_a_run("before-end"), 1);
}

#[test]
fn killed_with_half_a_record_written() {
    // Beginning, 8 × (intent, done), 9 checks, 8 touches, end.
    assert_eq!(in_a_run("torn-record"), 1 + 16 + 9 + 8 + 1);
}

#[test]
fn killed_in_the_middle_of_depmod() {
    let machine = machine();
    let status = start(machine.dir.path(), Task::HalfDepmod, None).wait().unwrap();
    assert!(died(status));
    recovers(&machine.host, &machine.before, "half a depmod");
}

#[test]
fn killed_at_the_beginning_of_an_undo() {
    assert_eq!(in_an_undo("before-undo"), 1);
    assert_eq!(in_an_undo("undo-begun"), 1);
}

#[test]
fn killed_before_each_step_is_taken_back() {
    assert_eq!(in_an_undo("undo-intent"), 8);
}

#[test]
fn killed_while_a_file_is_put_back() {
    let times = in_an_undo("undo-touched");
    assert!(times > 7, "{times}");
    assert_eq!(in_an_undo("undo-written"), times);
}

#[test]
fn killed_with_the_old_file_beside() {
    let times = in_an_undo("staged-empty");
    assert!(times > 3, "{times}");
    assert_eq!(in_an_undo("staged"), times);
}

#[test]
fn killed_with_the_old_link_beside() {
    assert_eq!(in_an_undo("link-staged"), 1);
}

#[test]
fn killed_while_folders_are_removed() {
    assert_eq!(in_an_undo("dir-removed"), 5);
}

#[test]
fn killed_after_a_step_was_taken_back() {
    assert_eq!(in_an_undo("undo-applied"), 8);
    assert_eq!(in_an_undo("undo-done"), 8);
}

#[test]
fn killed_while_the_rest_is_settled() {
    assert_eq!(in_an_undo("settle"), 8);
    assert_eq!(in_an_undo("before-end"), 1);
}

#[test]
fn killed_with_half_a_record_of_an_undo_written() {
    let times = in_an_undo("torn-record");
    // Beginning, 8 × (intent, done), a touch for each file, end.
    assert!(times > 1 + 16 + 9, "{times}");
}

#[test]
fn killed_while_a_failed_run_takes_itself_back() {
    assert_eq!(while_taking_itself_back("rollback"), 1);
    assert_eq!(while_taking_itself_back("undo-intent"), 8);
    assert_eq!(while_taking_itself_back("undo-done"), 8);
}

#[test]
fn an_undo_that_dies_again_and_again_still_ends_with_the_old_tree() {
    let machine = machine();
    done(&machine.host, steps());
    // Each child takes one more step back than the one before, and dies.
    for _ in 0..7 {
        let status = start(machine.dir.path(), Task::Undo, Some(("undo-done", 1))).wait().unwrap();
        assert!(died(status));
        assert_eq!(runs(&machine.host).unwrap()[0].state, RunState::Interrupted);
    }
    recovers(&machine.host, &machine.before, "again and again");
}

#[test]
fn killed_at_any_moment() {
    // How long it takes when nobody dies.
    let whole = machine();
    let began = Instant::now();
    assert!(!died(start(whole.dir.path(), Task::Execute, None).wait().unwrap()));
    let takes = began.elapsed();

    let mut deaths = 0;
    for i in 0..40u32 {
        let machine = machine();
        let mut child = start(machine.dir.path(), Task::Execute, None);
        std::thread::sleep(takes * i / 36);
        let _ = child.kill();
        deaths += u32::from(died(child.wait().unwrap()));
        // A tool that was just being started holds on to the locks for a moment.
        let waits = Instant::now();
        while runs(&machine.host).unwrap().iter().any(|r| r.state == RunState::Running)
            && waits.elapsed() < Duration::from_secs(5)
        {
            std::thread::sleep(Duration::from_millis(10));
        }
        recovers(&machine.host, &machine.before, &format!("after {:?}", takes * i / 36));
    }
    assert!(deaths > 20, "only {deaths} of 40 died");
}

#[test]
fn nothing_is_taken_back_while_a_tool_of_the_dead_run_is_still_at_work() {
    let machine = machine();
    let at_work = machine.dir.path().join("var/lib/hostwright/at-work");
    let mut child = start(machine.dir.path(), Task::Orphan, None);
    let began = Instant::now();
    while !std::fs::read_to_string(&at_work).is_ok_and(|pid| pid.ends_with('\n')) {
        assert!(began.elapsed() < Duration::from_secs(30), "the tool never began");
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    assert!(died(child.wait().unwrap()));
    assert_eq!(runs(&machine.host).unwrap()[0].state, RunState::Interrupted);
    let said = take_back(&machine.host, 1).unwrap_err().to_string();
    assert!(said.contains("another run is changing this machine"), "{said}");
    while matches!(crate::scene::run(&machine.host, steps()).0, Err(RunError::Lock(_))) {
        assert!(began.elapsed() < Duration::from_secs(30), "the tool never ends");
        std::thread::sleep(Duration::from_millis(50));
    }
    recovers(&machine.host, &machine.before, "once the tool has ended");
}

#[test]
fn what_was_edited_after_a_crash_is_left_alone() {
    let machine = machine();
    let status = start(machine.dir.path(), Task::Execute, Some(("written", 1))).wait().unwrap();
    assert!(died(status));
    crate::scene::put(machine.dir.path(), "/etc/edited.conf", "edited after the crash\n");
    let edited = tree(&machine.host);
    let report = take_back(&machine.host, 1).unwrap();
    assert_eq!(report.state, RunState::UndoStopped);
    assert!(report.message.contains("/etc/edited.conf was changed since"), "{}", report.message);
    same(&tree(&machine.host), &edited);
    // Put back by hand, undo goes through.
    crate::scene::put(machine.dir.path(), "/etc/edited.conf", "new text\n");
    std::fs::set_permissions(
        machine.dir.path().join("etc/edited.conf"),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .unwrap();
    let root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
    let _ = std::os::unix::fs::chown(machine.dir.path().join("etc/edited.conf"), Some(root), Some(root));
    assert_eq!(take_back(&machine.host, 1).unwrap().state, RunState::Undone);
    same(&tree(&machine.host), &machine.before);
}

#[test]
fn a_journal_that_is_damaged_in_the_middle_is_said_so_and_nothing_is_touched() {
    let machine = machine();
    done(&machine.host, steps());
    let path = machine.dir.path().join("var/lib/hostwright/runs/0001/journal.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines[3] = "{\"record\":\"done\",";
    std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    let applied = tree(&machine.host);
    let error = take_back(&machine.host, 1).unwrap_err();
    assert!(matches!(error, RunError::Journal(_)));
    let said = error.to_string();
    assert!(said.contains("journal.jsonl, line 4") && said.contains("move the folder away"), "{said}");
    same(&tree(&machine.host), &applied);
    let listed = runs(&machine.host).unwrap();
    assert!(listed[0].problem.as_ref().unwrap().contains("line 4"));
    assert!(crate::scene::run(&machine.host, steps()).0.unwrap_err().to_string().contains("is damaged"));
}
