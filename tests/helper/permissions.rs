// SPDX-License-Identifier: GPL-3.0-or-later
//! Cases of who may do what, without anybody being asked.

use crate::Case;
use crate::world::{NAME, World, assert_error, calls, end_state, kind, one, read, root};
use serde_json::{Value, json};
use std::path::Path;

pub const CASES: &[Case] = &[
    ("root_may", root_may),
    ("a_user_whom_the_rules_allow_may", a_user_whom_the_rules_allow_may),
    ("a_user_whom_the_rules_deny_may_not", a_user_whom_the_rules_deny_may_not),
    ("without_an_agent_nobody_could_be_asked", without_an_agent_nobody_could_be_asked),
    ("without_polkit_the_answer_is_no_for_everybody", without_polkit_the_answer_is_no_for_everybody),
    ("an_action_that_polkit_does_not_know_is_no", an_action_that_polkit_does_not_know_is_no),
    ("the_rules_see_what_the_plan_is_about", the_rules_see_what_the_plan_is_about),
    ("looking_needs_its_own_permission", looking_needs_its_own_permission),
    ("all_permissions_are_needed_before_the_first_write", all_permissions_are_needed),
    ("a_member_that_is_not_listed_is_refused_by_the_bus", a_member_that_is_not_listed_is_refused),
    ("only_root_can_have_the_name", only_root_can_have_the_name),
    ("the_live_interface_is_the_published_one", the_live_interface_is_the_published_one),
];

fn write_new() -> Value {
    json!({ "op": "execute", "choices": { "files": { "/etc/new": "text" } } })
}

fn nothing_was_done() {
    assert!(!Path::new(&root("etc/new")).exists());
    assert_eq!(one("may", json!({ "op": "runs" })), json!({ "ok": [] }));
}

fn root_may(_: &World) {
    assert_eq!(end_state(&calls("root", json!([write_new()]))), "done");
    assert_eq!(read("etc/new"), "text");
}

fn a_user_whom_the_rules_allow_may(_: &World) {
    let facts = one("may", json!({ "op": "gather" }));
    assert_eq!(facts["ok"]["input"], "first\n");
    assert_eq!(end_state(&calls("may", json!([write_new()]))), "done");
    let runs = one("may", json!({ "op": "runs" }));
    assert_eq!(runs["ok"][0]["owner"]["name"], "may", "{runs}");
    assert_eq!(end_state(&calls("may", json!([{ "op": "undo", "run": 1 }]))), "undone");
    assert!(!Path::new(&root("etc/new")).exists());
}

fn a_user_whom_the_rules_deny_may_not(_: &World) {
    assert_error(&one("maynot", write_new()), "NotAuthorized", "org.hostwright.system.tune");
    nothing_was_done();
    calls("may", json!([write_new()]));
    assert_error(&one("maynot", json!({ "op": "undo", "run": 1 })), "NotAuthorized", "org.hostwright.undo");
    // Nor is it told whether a run exists.
    assert_error(&one("maynot", json!({ "op": "undo", "run": 99 })), "NotAuthorized", "org.hostwright.undo");
    assert_eq!(read("etc/new"), "text");
}

fn without_an_agent_nobody_could_be_asked(_: &World) {
    assert_error(&one("looker", write_new()), "CouldNotAsk", "no authentication agent");
    let quiet = calls("looker", json!([{ "op": "quiet" }, write_new()]));
    assert_error(&quiet[0], "CouldNotAsk", "nobody may be asked");
    nothing_was_done();
}

fn without_polkit_the_answer_is_no_for_everybody(world: &World) {
    let without = world.without_polkit();
    for user in ["may", "root"] {
        assert_error(&one(user, write_new()), "CouldNotAsk", "polkit is not there");
        assert_error(&one(user, json!({ "op": "gather" })), "CouldNotAsk", "polkit is not there");
    }
    drop(without);
    nothing_was_done();
}

fn an_action_that_polkit_does_not_know_is_no(world: &World) {
    let policy = "/usr/share/polkit-1/actions/org.hostwright.policy";
    let text = std::fs::read_to_string(policy).unwrap();
    std::fs::write(policy, text.replace("org.hostwright.system.tune", "org.hostwright.other")).unwrap();
    world.end_polkit();
    let answer = one("root", write_new());
    std::fs::write(policy, text).unwrap();
    world.end_polkit();
    assert_error(&answer, "CouldNotAsk", "does not know the action org.hostwright.system.tune");
    nothing_was_done();
}

fn the_rules_see_what_the_plan_is_about(_: &World) {
    let on = |kernels: &str| json!({ "op": "execute", "choices": { "files": { "/etc/new": kernels }, "kernels": kernels } });
    assert_error(&one("picky", on("6.12-other")), "NotAuthorized", "org.hostwright.system.tune");
    nothing_was_done();
    assert_eq!(end_state(&calls("picky", json!([on("6.1-test")]))), "done");
}

fn looking_needs_its_own_permission(_: &World) {
    calls("may", json!([write_new()]));
    for call in [
        json!({ "op": "gather" }),
        json!({ "op": "runs" }),
        json!({ "op": "plan", "choices": {} }),
        json!({ "op": "undo-preview", "run": 1 }),
        json!({ "op": "log", "run": 1 }),
        json!({ "op": "execute", "choices": {}, "digest": "0".repeat(64) }),
    ] {
        assert_eq!(kind(&one("stranger", call.clone())), "CouldNotAsk", "{call}");
    }
    // Somebody who may look may also read another's log; an owner may always.
    assert_eq!(one("looker", json!({ "op": "log", "run": 1 }))["ok"]["ended"], true);
}

fn all_permissions_are_needed(_: &World) {
    // `picky` may change what is of the kernel 6.1-test; `maynot` nothing; the plan needs three permissions.
    let call = json!({ "op": "execute", "choices": { "files": {
        "/etc/new": "", "/etc/modules-load.d/x.conf": "", "/boot/x": "",
    } } });
    let plan = one("may", json!({ "op": "plan", "choices": call["choices"] }));
    assert_eq!(plan["ok"]["plan"]["permissions"].as_array().unwrap().len(), 3, "{plan}");
    assert_eq!(kind(&one("maynot", call.clone())), "NotAuthorized");
    assert_eq!(kind(&one("looker", call.clone())), "CouldNotAsk");
    nothing_was_done();
    assert_eq!(end_state(&calls("may", json!([call]))), "done");
}

fn a_member_that_is_not_listed_is_refused(world: &World) {
    world.start_helper();
    for user in ["may", "root"] {
        for (path, interface, member) in [
            ("/org/hostwright/Helper1", NAME, "Frobnicate"),
            ("/org/hostwright/Helper1", "org.freedesktop.DBus.Properties", "Set"),
            ("/org/hostwright/Helper1", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"),
            ("/org/hostwright/Helper1/runs/1", "org.hostwright.Helper1.Run", "Resume"),
            ("/", "org.freedesktop.systemd1.Manager", "Reboot"),
        ] {
            let call = json!({ "op": "raw", "path": path, "interface": interface, "member": member });
            assert_eq!(
                one(user, call)["ok"],
                "org.freedesktop.DBus.Error.AccessDenied",
                "{user} {interface}.{member}"
            );
        }
    }
}

fn only_root_can_have_the_name(_: &World) {
    let answer = one("may", json!({ "op": "own" }));
    assert_eq!(answer["ok"], "org.freedesktop.DBus.Error.AccessDenied", "{answer}");
}

/// The interface `name` of a document, without comments and space.
fn interface(xml: &str, name: &str) -> String {
    let mut plain = String::new();
    let mut rest = xml;
    while let Some((before, after)) = rest.split_once("<!--") {
        plain.push_str(before);
        rest = after.split_once("-->").map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    let from =
        plain.find(&format!("<interface name=\"{name}\"")).unwrap_or_else(|| panic!("no {name}: {xml}"));
    let to = from + plain[from..].find("</interface>").unwrap();
    plain[from..to].lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("\n")
}

fn the_live_interface_is_the_published_one(_: &World) {
    calls("may", json!([write_new()]));
    let published = include_str!("../../data/dbus/org.hostwright.Helper1.xml");
    for (path, name) in [
        ("/org/hostwright/Helper1", NAME),
        ("/org/hostwright/Helper1/runs/1", hostwright::ipc::RUN_INTERFACE),
    ] {
        let live = one("stranger", json!({ "op": "introspect", "path": path }));
        assert_eq!(interface(live["ok"].as_str().unwrap(), name), interface(published, name));
    }
}
