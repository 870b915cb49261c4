// SPDX-License-Identifier: GPL-3.0-or-later
//! Cases of runs: what is told, who may stop them, two at once, the machine that changed.

use crate::Case;
use crate::world::{Client, World, assert_error, calls, end_state, kind, one, read, root, wait_for, wish};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

pub const CASES: &[Case] = &[
    ("every_event_comes_once_and_in_order", every_event_comes_once_and_in_order),
    ("a_run_that_is_over_can_be_followed_from_its_records", a_run_that_is_over_can_be_followed),
    ("an_old_digest_does_nothing_after_the_machine_changed", an_old_digest_does_nothing),
    ("a_digest_of_other_choices_does_nothing", a_digest_of_other_choices_does_nothing),
    ("a_refusal_comes_with_its_reason_and_remedy", a_refusal_comes_with_its_reason_and_remedy),
    ("a_failed_check_takes_the_run_back", a_failed_check_takes_the_run_back),
    ("two_at_once_are_one_and_a_refusal", two_at_once_are_one_and_a_refusal),
    ("two_clients_at_the_same_moment_never_run_both", two_clients_at_the_same_moment),
    ("a_stranger_cannot_cancel_and_the_owner_can", a_stranger_cannot_cancel_and_the_owner_can),
    ("root_can_cancel_anothers_run", root_can_cancel_anothers_run),
    ("a_run_goes_on_when_its_caller_is_gone", a_run_goes_on_when_its_caller_is_gone),
    ("events_are_told_to_those_only_who_asked", events_are_told_to_those_only_who_asked),
    ("properties_change_as_the_run_goes_on", properties_change_as_the_run_goes_on),
    ("undo_shows_first_and_stops_at_drift", undo_shows_first_and_stops_at_drift),
    ("sealed_archives_and_passwords_arrive", sealed_archives_and_passwords_arrive),
];

fn files(names: &[&str]) -> Value {
    let files: serde_json::Map<_, _> = names.iter().map(|n| (format!("/etc/{n}"), json!("text"))).collect();
    json!({ "files": files })
}

fn execute(names: &[&str]) -> Value {
    json!({ "op": "execute", "choices": files(names) })
}

/// A run of `user` that is held after its first file.
fn held(user: &str) -> Client {
    std::fs::write(wish("hold"), "").unwrap();
    let client = Client::start(user, &json!([execute(&["a-first", "b-second", "c-third"])]));
    assert!(client.next()["run"].is_u64());
    wait_for("the first file", || Path::new(&root("etc/a-first")).exists());
    client
}

fn release() {
    std::fs::remove_file(wish("hold")).unwrap();
}

fn every_event_comes_once_and_in_order(_: &World) {
    let names: Vec<String> = (0..300).map(|n| format!("f{n:03}")).collect();
    let answers = calls("may", json!([execute(&names.iter().map(String::as_str).collect::<Vec<_>>())]));
    assert_eq!(answers[0], json!({ "run": 1 }));
    let numbers: Vec<u64> = answers[1..].iter().filter_map(|a| a["number"].as_u64()).collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
    let of = |kind: &str| answers.iter().filter(|a| a["event"]["event"] == kind).count();
    assert_eq!((of("started"), of("step"), of("step_done"), of("finished")), (1, 300, 300, 1));
    assert_eq!(end_state(&answers), "done");
}

fn a_run_that_is_over_can_be_followed(world: &World) {
    let told = calls("may", json!([execute(&["x", "y"])]));
    calls("may", json!([{ "op": "undo", "run": 1 }]));
    // By another helper, from disk.
    world.end_helper();
    let again = calls("may", json!([{ "op": "follow", "run": 1 }]));
    let kept: Vec<_> = told.iter().filter(|a| a["number"].is_u64()).collect();
    assert_eq!(again[1..=kept.len()].iter().collect::<Vec<_>>(), kept);
    assert_eq!(end_state(&again), "undone");
    let state = one("may", json!({ "op": "state", "run": 1 }));
    assert_eq!((&state["ok"]["state"], &state["ok"]["progress"]), (&json!("undone"), &json!(1.0)));
    let missing = one("may", json!({ "op": "log", "run": 77 }));
    assert!(missing["error"]["text"].as_str().unwrap().contains("77"), "{missing}");
}

fn an_old_digest_does_nothing(_: &World) {
    let plan = one("may", json!({ "op": "plan", "choices": files(&["new"]) }));
    let digest = &plan["ok"]["digest"];
    std::fs::write(root("etc/input"), "second\n").unwrap();
    let mut call = execute(&["new"]);
    call["digest"] = digest.clone();
    assert_error(
        &one("may", call.clone()),
        "MachineChanged",
        "the machine changed since you looked; look again",
    );
    assert!(!Path::new(&root("etc/new")).exists());
    // As it was before, the old plan is the plan again.
    std::fs::write(root("etc/input"), "first\n").unwrap();
    assert_eq!(end_state(&calls("may", json!([call]))), "done");
}

fn a_digest_of_other_choices_does_nothing(_: &World) {
    let plan = one("may", json!({ "op": "plan", "choices": files(&["harmless"]) }));
    let mut call = execute(&["harmful"]);
    call["digest"] = plan["ok"]["digest"].clone();
    assert_eq!(kind(&one("may", call)), "MachineChanged");
    assert!(!Path::new(&root("etc/harmful")).exists());
}

fn a_refusal_comes_with_its_reason_and_remedy(_: &World) {
    let answer = one("may", json!({ "op": "plan", "choices": { "refuse": true } }));
    assert_error(&answer, "Refused", "the case asked for it\nDo not ask for it.");
    let unknown = one("may", json!({ "op": "plan", "flow": "nonsense", "choices": {} }));
    assert_error(&unknown, "BadArgument", "no flow called `nonsense`");
    let misspelt = one("may", json!({ "op": "plan", "choices": { "fils": {} } }));
    assert_error(&misspelt, "BadArgument", "fils");
    let stumbled = one("may", json!({ "op": "plan", "choices": { "stumble": true } }));
    assert_error(&stumbled, "Failed", "journalctl");
}

fn a_failed_check_takes_the_run_back(_: &World) {
    std::fs::write(root("etc/spoil-the-check"), "").unwrap();
    let answers = calls("may", json!([execute(&["x", "y"])]));
    assert_eq!(end_state(&answers), "rolled_back", "{answers:#?}");
    assert!(!Path::new(&root("etc/x")).exists());
}

fn two_at_once_are_one_and_a_refusal(_: &World) {
    let first = held("may");
    let second = one("root", execute(&["new"]));
    assert_error(&second, "Busy", "may is changing this machine right now (Write /etc/a-first)");
    assert_eq!(kind(&one("root", json!({ "op": "undo", "run": 1 }))), "Busy");
    // Looking goes on beside it.
    let runs = one("looker", json!({ "op": "runs" }));
    assert_eq!(runs["ok"][0]["state"], "running", "{runs}");
    release();
    assert_eq!(end_state(&first.all()), "done");
    assert_eq!(end_state(&calls("root", json!([execute(&["new"])]))), "done");
}

fn two_clients_at_the_same_moment(_: &World) {
    for round in 0..10 {
        let name = format!("r{round}");
        let script = json!([{ "op": "wait" }, execute(&[&name, "second", "third"])]);
        let mut clients: Vec<_> = (0..4).map(|_| Client::start("may", &script)).collect();
        for client in &mut clients {
            client.go();
        }
        let ends: Vec<_> = clients.into_iter().map(Client::all).collect();
        let refused = ends.iter().filter(|e| e[0]["error"].is_object()).count();
        for end in ends {
            if end[0]["error"].is_object() {
                // The first one's work may also have changed what the others had planned.
                assert!(["Busy", "MachineChanged"].contains(&kind(&end[0])), "{end:?}");
            } else {
                assert_eq!(end_state(&end), "done");
            }
        }
        assert!(refused < 4);
    }
}

fn a_stranger_cannot_cancel_and_the_owner_can(_: &World) {
    let client = held("may");
    assert_eq!(kind(&one("looker", json!({ "op": "cancel", "run": 1 }))), "CouldNotAsk");
    assert_eq!(kind(&one("maynot", json!({ "op": "cancel", "run": 1 }))), "NotAuthorized");
    assert_eq!(one("may", json!({ "op": "state", "run": 1 }))["ok"]["state"], "running");
    assert_eq!(one("may", json!({ "op": "cancel", "run": 1 })), json!({ "ok": "ok" }));
    release();
    let answers = client.all();
    assert_eq!(end_state(&answers), "rolled_back");
    assert!(!Path::new(&root("etc/a-first")).exists() && !Path::new(&root("etc/b-second")).exists());
    let late = one("may", json!({ "op": "cancel", "run": 1 }));
    assert_error(&late, "BadArgument", "not going on");
}

fn root_can_cancel_anothers_run(_: &World) {
    let client = held("may");
    assert_eq!(one("root", json!({ "op": "cancel", "run": 1 })), json!({ "ok": "ok" }));
    release();
    assert_eq!(end_state(&client.all()), "rolled_back");
}

fn a_run_goes_on_when_its_caller_is_gone(world: &World) {
    std::fs::write(wish("idle"), "0.5").unwrap();
    let mut client = held("may");
    let helper = world.helper();
    client.kill();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(world.helper(), helper, "the helper left in the middle of a run");
    release();
    wait_for("the end of the run", || read("etc/c-third") == "text");
    wait_for("the helper's leaving", || world.helper() != helper);
    let runs = one("may", json!({ "op": "runs" }));
    assert_eq!(runs["ok"][0]["state"], "done", "{runs}");
}

fn events_are_told_to_those_only_who_asked(_: &World) {
    let mut curious =
        Client::start("stranger", &json!([{ "op": "listen" }, { "op": "wait" }, { "op": "heard" }]));
    assert_eq!(curious.next()["ok"], "listening");
    let owner = held("may");
    let follower = Client::start("looker", &json!([{ "op": "follow", "run": 1 }]));
    assert_eq!(follower.next(), json!({ "run": 1 }));
    assert_eq!(follower.next()["event"]["event"], "started");
    release();
    let told = owner.all();
    assert_eq!(end_state(&told), "done");
    let also = follower.all();
    assert_eq!(also.last(), told.last());
    curious.go();
    let heard = curious.next();
    assert_eq!(heard["ok"]["events"], 0, "{heard}");
    // That it works at all: changes of properties are for everybody.
    assert!(heard["ok"]["properties"].as_u64().unwrap() > 0, "{heard}");
}

fn properties_change_as_the_run_goes_on(_: &World) {
    let client = held("may");
    let state = &one("may", json!({ "op": "state", "run": 1 }))["ok"];
    assert_eq!(state["state"], "running");
    assert_eq!(state["step"], json!([1, 3, "Write /etc/a-first"]));
    assert!(state["progress"].as_f64().unwrap() < 0.5, "{state}");
    release();
    client.all();
    let state = &one("may", json!({ "op": "state", "run": 1 }))["ok"];
    assert_eq!((&state["state"], &state["progress"]), (&json!("done"), &json!(1.0)));
    assert_eq!(state["step"], json!([3, 3, "Write /etc/c-third"]));
}

fn undo_shows_first_and_stops_at_drift(_: &World) {
    std::fs::write(root("etc/x"), "mine").unwrap();
    calls("may", json!([execute(&["x", "y"])]));
    let preview = &one("may", json!({ "op": "undo-preview", "run": 1 }))["ok"];
    assert_eq!(preview["steps"].as_array().unwrap().len(), 2, "{preview}");
    std::fs::write(root("etc/x"), "edited since").unwrap();
    let answers = calls("may", json!([{ "op": "undo", "run": 1 }]));
    assert_eq!(end_state(&answers), "undo_stopped", "{answers:#?}");
    assert_eq!(read("etc/x"), "edited since");
    std::fs::write(root("etc/x"), "text").unwrap();
    let answers = calls("may", json!([{ "op": "undo", "run": 1 }]));
    assert_eq!(answers[1]["event"]["event"], "started", "{answers:#?}");
    assert_eq!(end_state(&answers), "undone");
    assert_eq!(read("etc/x"), "mine");
    let again = one("may", json!({ "op": "undo", "run": 1 }));
    assert_error(&again, "Refused", "nothing to take back");
    assert_eq!(kind(&one("may", json!({ "op": "undo", "run": 99 }))), "NoSuchRun");
    assert_eq!(kind(&one("may", json!({ "op": "undo-preview", "run": 99 }))), "NoSuchRun");
}

fn sealed_archives_and_passwords_arrive(_: &World) {
    use sha2::{Digest, Sha256};
    let archive = "an archive".repeat(100_000);
    let sha256 = hex::encode(Sha256::digest(&archive));
    // The client makes it itself: an argument cannot be that long.
    let call = |op: &str| json!({ "op": op, "choices": { "source": sha256 }, "source-times": 100_000, "mok_password": "secret" });
    let plan = one("may", call("plan"));
    assert_eq!(plan["ok"]["plan"]["facts"]["has_password"], true, "{plan}");
    assert_eq!(end_state(&calls("may", json!([call("execute")]))), "done");
    assert_eq!(read("etc/size"), archive.len().to_string());
    let records = std::process::Command::new("grep").args(["-r", "secret", &root("")]).output().unwrap();
    assert!(records.stdout.is_empty(), "{}", String::from_utf8_lossy(&records.stdout));
}
