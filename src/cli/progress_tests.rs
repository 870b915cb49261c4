// SPDX-License-Identifier: GPL-3.0-or-later
//! A run as it is shown while it goes on.

use super::*;
use crate::engine::RunState;
use crate::engine::event::Check;
use crate::host::Stream;
use std::sync::{Arc, Mutex};

fn heard(verbose: u8, events: Vec<Event>) -> (String, Standing) {
    let heard = Arc::new(Mutex::new(String::new()));
    let mut voice = voice(false, Look::plain(60), false);
    voice.heard = Some(heard.clone());
    let watch = Watch::deaf(voice.clone());
    watch.set(Standing::Running {
        run: None,
        done: 0,
        steps: 0,
        title: String::new(),
        undo: false,
        elsewhere: false,
    });
    let mut progress = Progress::new(&voice, &watch, verbose);
    events.into_iter().for_each(|e| progress.event(e));
    (heard.lock().unwrap().clone(), watch.standing())
}

fn a_run() -> Vec<Event> {
    let check = |what: &str, outcome| Event::Checked { check: Check { what: what.into(), outcome } };
    vec![
        Event::Started { run: 3, steps: 2, undo: false },
        Event::Step {
            step: 0,
            title: "Build vmmon and vmnet for 6.1.0-56-amd64 with gcc-12 in the sandbox".into(),
        },
        Event::Progress { step: 0, done: 5, total: 80, unit: "object files".into() },
        Event::Log { step: 0, stream: Stream::Out, line: "  CC [M] \u{1b}[31mhostif.o".into() },
        Event::Diagnostic {
            step: 0,
            level: Level::Warning,
            file: Some("linux/hostif.c".into()),
            line: Some(12),
            message: "unused variable".into(),
        },
        Event::StepDone { step: 0, unchanged: false },
        Event::Step { step: 1, title: "Make the module index".into() },
        Event::StepFailed { step: 1, reason: "depmod failed; look at the log".into() },
        check("vmmon is loaded", CheckOutcome::CouldNotLook { reason: "no /proc".into() }),
        check("vmnet is loaded", CheckOutcome::NotApplicable { reason: "another kernel runs".into() }),
        Event::Finished { state: RunState::RolledBack, message: "taken back".into() },
    ]
}

#[test]
fn a_run_without_a_terminal_is_told_in_plain_lines() {
    insta::assert_snapshot!("plain_run", heard(0, a_run()).0);
}

#[test]
fn steps_that_go_on_at_once_are_told_apart_by_their_numbers() {
    let step = |step, title: &str| Event::Step { step, title: title.into() };
    let events = vec![
        Event::Started { run: 3, steps: 2, undo: false },
        step(0, "Compile vmmon for 6.12.1"),
        step(1, "Compile vmmon for 6.1.0"),
        Event::StepFailed { step: 0, reason: "no such thing".into() },
        Event::StepDone { step: 1, unchanged: false },
    ];
    let text = heard(0, events).0;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[2].starts_with("[1/2] ") && lines[2].ends_with("no such thing"), "{text}");
    assert!(lines[3].starts_with("[2/2] ") && lines[3].ends_with("done"), "{text}");
}

#[test]
fn what_tools_say_is_shown_when_asked_for_and_commands_no_terminal() {
    let (text, _) = heard(1, a_run());
    assert!(text.contains("CC [M] \\u{1b}[31mhostif.o"), "{text}");
    assert!(text.contains("another kernel runs"), "{text}");
}

#[test]
fn an_interruption_knows_how_far_the_run_is() {
    let (_, standing) = heard(0, a_run().into_iter().take(7).collect());
    let Standing::Running { run, done, steps, title, .. } = standing else { unreachable!() };
    assert_eq!((run, done, steps, title.as_str()), (Some(3), 1, 2, "Make the module index"));
}

#[test]
fn many_findings_of_one_step_do_not_bury_the_rest() {
    let finding = |i: u32| Event::Diagnostic {
        step: 0,
        level: Level::Error,
        file: Some("a.c".into()),
        line: Some(i),
        message: "wrong".into(),
    };
    let mut events = vec![
        Event::Started { run: 1, steps: 1, undo: false },
        Event::Step { step: 0, title: "Compile".into() },
    ];
    events.extend((1..=10).map(finding));
    events.push(Event::StepFailed { step: 0, reason: "it failed".into() });
    let (text, _) = heard(0, events.clone());
    assert!(text.contains("a.c:8: wrong") && !text.contains("a.c:9"), "{text}");
    assert!(text.contains("2 findings more in the log"), "{text}");
    assert!(heard(1, events).0.contains("a.c:10"));
}
