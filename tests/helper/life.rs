// SPDX-License-Identifier: GPL-3.0-or-later
//! Cases of coming and going: activation, idle exit, crashes, an end from outside, no helper at all.

use crate::Case;
use crate::world::{Client, World, assert_error, calls, end_state, one, read, root, wait_for, wish};
use nix::sys::signal::Signal;
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

pub const CASES: &[Case] = &[
    ("the_program_itself_serves_this_machine", the_program_itself_serves_this_machine),
    ("it_leaves_when_idle_and_comes_back_when_called", it_leaves_when_idle_and_comes_back),
    ("no_call_is_lost_while_it_leaves", no_call_is_lost_while_it_leaves),
    ("no_call_is_lost_when_it_always_leaves", no_call_is_lost_when_it_always_leaves),
    ("an_interrupted_run_is_found_and_taken_back", an_interrupted_run_is_found_and_taken_back),
    ("an_end_from_outside_takes_the_run_back", an_end_from_outside_takes_the_run_back),
    ("a_second_helper_leaves_the_first_alone", a_second_helper_leaves_the_first_alone),
    ("a_helper_that_is_not_installed_is_said_to_be_so", a_helper_that_is_not_installed),
    ("a_helper_that_does_not_start_is_said_to_be_so", a_helper_that_does_not_start),
];

fn the_program_itself_serves_this_machine(world: &World) {
    world.install(&format!("{} --idle-exit 0.5", env!("CARGO_BIN_EXE_hostwright-helper")));
    let facts = one("may", json!({ "op": "gather" }));
    assert_eq!(facts["ok"]["schema"], hostwright::detect::FACTS_VERSION, "{facts}");
    assert!(facts["ok"]["os"].is_object(), "{facts}");
    assert_eq!(one("may", json!({ "op": "runs" })), json!({ "ok": [] }));
    // Whether VMware is here or not: a plan or a refusal with its reason, and nothing else.
    let plan = one("may", json!({ "op": "plan", "flow": "vmware", "choices": {} }));
    assert!(plan["ok"]["digest"].is_string() || plan["error"]["kind"] == "Refused", "{plan}");
    let misspelt = one("may", json!({ "op": "plan", "flow": "vmware", "choices": { "kernel": "all" } }));
    assert_error(&misspelt, "BadArgument", "kernel");
    wait_for("its leaving", || world.helper().is_none());
}

fn it_leaves_when_idle_and_comes_back(world: &World) {
    std::fs::write(wish("idle"), "0.5").unwrap();
    assert_eq!(world.helper(), None);
    one("may", json!({ "op": "gather" }));
    let first = world.helper().unwrap();
    wait_for("its leaving", || world.helper().is_none());
    wait_for("its end", || !Path::new(&format!("/proc/{first}")).exists());
    one("may", json!({ "op": "gather" }));
    assert_ne!(world.helper().unwrap(), first);
}

fn no_call_is_lost_while_it_leaves(world: &World) {
    // It leaves after every pause of 30 ms; the calls come after pauses around that.
    std::fs::write(wish("idle"), "0.03").unwrap();
    let call = json!({ "op": "execute", "choices": { "files": { "/etc/new": "text" } } });
    let (mut helpers, began) = (std::collections::BTreeSet::new(), Instant::now());
    let mut round = 0;
    while began.elapsed() < Duration::from_secs(8) {
        std::thread::sleep(Duration::from_millis(round * 7 % 200));
        round += 1;
        let answers = calls("may", json!([{ "op": "gather" }, call]));
        assert_eq!(answers[0]["ok"]["input"], "first\n", "{answers:?}");
        assert_eq!(end_state(&answers), "done");
        helpers.extend(world.helper());
    }
    assert!(helpers.len() > 1, "it never left: nothing was tried in {round} rounds");
}

fn an_interrupted_run_is_found_and_taken_back(world: &World) {
    std::fs::write(root("etc/b"), "mine").unwrap();
    std::fs::write(wish("die-at"), "applied").unwrap();
    let call = json!({ "op": "execute", "choices": { "files": { "/etc/b": "text", "/etc/c": "text" } } });
    let answers = calls("may", json!([call]));
    assert_error(answers.last().unwrap(), "Gone", "hostwright runs");
    std::fs::remove_file(wish("die-at")).unwrap();
    assert_eq!(read("etc/b"), "text");
    let runs = one("may", json!({ "op": "runs" }));
    assert_eq!(runs["ok"][0]["state"], "interrupted", "{runs}");
    assert!(std::fs::read_to_string(wish("log")).unwrap().contains("interrupted; it can be taken back"));
    assert_eq!(one("may", json!({ "op": "state", "run": 1 }))["ok"]["state"], "interrupted");
    // Nothing else before it is taken back.
    assert_error(&one("may", call), "Refused", "hostwright undo 1");
    assert_eq!(end_state(&calls("may", json!([{ "op": "undo", "run": 1 }]))), "undone");
    assert_eq!(read("etc/b"), "mine");
    assert!(!Path::new(&root("etc/c")).exists());
    assert!(world.helper().is_some());
}

fn an_end_from_outside_takes_the_run_back(world: &World) {
    std::fs::write(wish("hold"), "").unwrap();
    let files = json!({ "/etc/a-first": "text", "/etc/b": "text" });
    let client = Client::start("may", &json!([{ "op": "execute", "choices": { "files": files } }]));
    assert_eq!(client.next(), json!({ "run": 1 }));
    wait_for("the first file", || Path::new(&root("etc/a-first")).exists());
    let helper = world.helper().unwrap();
    world.signal(helper, Signal::SIGTERM);
    std::thread::sleep(Duration::from_millis(300));
    let late = one("may", json!({ "op": "runs" }));
    assert_error(&late, "Leaving", "call again");
    std::fs::remove_file(wish("hold")).unwrap();
    assert_eq!(end_state(&client.all()), "rolled_back");
    wait_for("its end", || !Path::new(&format!("/proc/{helper}")).exists());
    assert!(!Path::new(&root("etc/a-first")).exists());
    let runs = one("may", json!({ "op": "runs" }));
    assert_eq!(runs["ok"][0]["state"], "rolled_back", "{runs}");
}

fn a_second_helper_leaves_the_first_alone(world: &World) {
    let first = world.start_helper();
    let status = std::process::Command::new(wish("helper-test")).arg("serve").status().unwrap();
    assert!(status.success());
    assert_eq!(world.helper(), Some(first));
}

fn no_call_is_lost_when_it_always_leaves(_: &World) {
    // It gives its name up as soon as there is nothing to do for a moment, so that calls keep coming just then.
    std::fs::write(wish("idle"), "0").unwrap();
    let script = json!(vec![json!({ "op": "gather" }); 150]);
    // Whether a call comes just then is chance: on a quiet machine it takes a few rounds.
    for _ in 0..12 {
        let clients: Vec<_> = (0..3).map(|_| Client::start("may", &script)).collect();
        for client in clients {
            let answers = client.all();
            assert_eq!(answers.len(), 150);
            assert!(answers.iter().all(|a| a["ok"]["input"] == "first\n"), "{answers:?}");
        }
        if std::fs::read_to_string(wish("log")).unwrap().contains("called back while leaving") {
            return;
        }
    }
    panic!("no call came while it left, in 12 rounds");
}

fn a_helper_that_is_not_installed(world: &World) {
    world.uninstall();
    assert_error(&one("may", json!({ "op": "runs" })), "NotInstalled", "make install");
    let followed = calls("may", json!([{ "op": "follow", "run": 1 }]));
    assert_error(followed.last().unwrap(), "NotInstalled", "make install");
}

fn a_helper_that_does_not_start(world: &World) {
    world.install("/bin/false");
    assert_error(&one("may", json!({ "op": "runs" })), "NotStarted", "journalctl");
    world.install("/no/such/program");
    assert_error(&one("may", json!({ "op": "runs" })), "NotStarted", "journalctl");
}
