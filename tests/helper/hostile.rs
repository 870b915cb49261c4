// SPDX-License-Identifier: GPL-3.0-or-later
//! Cases of calls that no client of ours makes.

use crate::Case;
use crate::world::{World, assert_error, calls, end_state, one, wait_for, wish};
use hostwright::ipc::{Error, NAME, PATH, RUN_INTERFACE};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::time::Duration;
use zbus::blocking::{Connection, MessageIterator};
use zbus::message::Type;
use zbus::zvariant::Fd;

pub const CASES: &[Case] = &[
    ("documents_that_are_too_large_or_too_deep_are_refused", documents_that_are_too_large_or_too_deep),
    ("files_that_are_not_sealed_or_not_what_they_say_are_refused", files_that_are_not_sealed),
    ("nonsense_for_names_and_digests_is_refused", nonsense_for_names_and_digests),
    ("a_thousand_calls_at_once_are_answered", a_thousand_calls_at_once),
    ("a_thousand_calls_with_files_at_once_do_no_harm", a_thousand_calls_with_files),
    ("forged_events_are_not_believed", forged_events_are_not_believed),
    ("a_caller_that_goes_away_ends_its_planning", a_caller_that_goes_away_ends_its_planning),
];

/// A call without our client. The answer, or the name of the error.
fn raw<B: serde::Serialize + zbus::zvariant::DynamicType>(
    path: &str,
    interface: &str,
    member: &str,
    body: &B,
) -> Result<Value, Error> {
    let bus = Connection::system().unwrap();
    match bus.call_method(Some(NAME), path, Some(interface), member, body) {
        Ok(_) => Ok(json!("answered")),
        Err(zbus::Error::MethodError(name, _, _)) if !name.contains("org.hostwright") => {
            Ok(json!(name.as_str()))
        }
        Err(error) => Err(error.into()),
    }
}

fn plan_with(files: &HashMap<&str, OwnedFd>) -> Result<Value, Error> {
    let files: HashMap<&str, Fd<'_>> = files.iter().map(|(k, v)| (*k, Fd::from(v))).collect();
    raw(PATH, NAME, "Plan", &("test", "{}", files))
}

fn no_files() -> HashMap<&'static str, Fd<'static>> {
    HashMap::new()
}

static LISTENER: Mutex<Option<std::sync::mpsc::Receiver<&'static str>>> = Mutex::new(None);

/// What the cases of this file have a client do.
pub fn call(op: &str, call: &Value) -> Result<Value, Error> {
    let text = |key: &str| call[key].as_str().unwrap_or_default().to_owned();
    match op {
        "raw" => raw(&text("path"), &text("interface"), &text("member"), &()),
        "own" => {
            let bus = Connection::system().unwrap();
            match bus.request_name(NAME) {
                Err(zbus::Error::MethodError(name, _, _)) => Ok(json!(name.as_str())),
                Err(zbus::Error::FDO(error)) => Ok(json!(zbus::DBusError::name(&*error).as_str())),
                other => Ok(json!(format!("{other:?}"))),
            }
        }
        "introspect" => {
            let bus = Connection::system().unwrap();
            let interface = Some("org.freedesktop.DBus.Introspectable");
            let reply = bus.call_method(Some(NAME), text("path").as_str(), interface, "Introspect", &())?;
            Ok(json!(reply.body().deserialize::<String>()?))
        }
        "plan-size" => {
            let size = usize::try_from(call["size"].as_u64().unwrap()).unwrap();
            let choices = format!("{{\"files\":{{\"/x\":\"{}\"}}}}", "x".repeat(size));
            raw(PATH, NAME, "Plan", &("test", choices, no_files()))
        }
        "plan-depth" => {
            let depth = usize::try_from(call["depth"].as_u64().unwrap()).unwrap();
            let choices = format!("{{\"files\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
            raw(PATH, NAME, "Plan", &("test", choices, no_files()))
        }
        "plan-flow" => raw(PATH, NAME, "Plan", &(text("flow"), "{}", no_files())),
        "execute-digest" => raw(PATH, NAME, "Execute", &("test", "{}", text("digest"), no_files())),
        "wrong-signature" => raw(PATH, NAME, "Plan", &(1u32, 2u32)),
        "file" => plan_with(&HashMap::from([(text("name").as_str(), a_file(&text("what")))])),
        "files" => {
            let names: Vec<String> =
                (0..call["count"].as_u64().unwrap()).map(|n| format!("source:{n:064}")).collect();
            plan_with(&names.iter().map(|n| (n.as_str(), a_file("empty"))).collect())
        }
        "flood" => Ok(flood(call["count"].as_u64().unwrap(), call["files"].as_u64().unwrap_or(0))),
        "forge" => {
            let bus = Connection::system().unwrap();
            let event = json!({ "event": "finished", "state": "done", "message": "forged" }).to_string();
            let path = hostwright::ipc::run_path(1);
            for number in 0..20u64 {
                for to in [None, Some(text("to"))] {
                    let to = to.as_deref().map(|t| zbus::names::BusName::try_from(t).unwrap());
                    bus.emit_signal(to, path.as_str(), RUN_INTERFACE, "Event", &(number, &event))?;
                }
            }
            Ok(json!("forged"))
        }
        "listen" => {
            let (sender, receiver) = std::sync::mpsc::channel();
            for (interface, what) in
                [(RUN_INTERFACE, "event"), ("org.freedesktop.DBus.Properties", "property")]
            {
                let sender = sender.clone();
                let rule = zbus::MatchRule::builder()
                    .msg_type(Type::Signal)
                    .interface(interface)?
                    .path_namespace(PATH)?
                    .build();
                let bus = Connection::system().unwrap();
                let messages = MessageIterator::for_match_rule(rule, &bus, None)?;
                std::thread::spawn(move || {
                    messages.flatten().for_each(|_| sender.send(what).unwrap_or_default());
                });
            }
            *LISTENER.lock().unwrap() = Some(receiver);
            Ok(json!("listening"))
        }
        "heard" => {
            let receiver = LISTENER.lock().unwrap().take().unwrap();
            let mut heard = HashMap::from([("event", 0), ("property", 0)]);
            while let Ok(what) = receiver.recv_timeout(Duration::from_millis(500)) {
                *heard.get_mut(what).unwrap() += 1;
            }
            Ok(json!({ "events": heard["event"], "properties": heard["property"] }))
        }
        other => panic!("no such call: {other}"),
    }
}

fn a_file(what: &str) -> OwnedFd {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    let memory = || memfd_create("test", MemfdFlags::ALLOW_SEALING).unwrap();
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    match what {
        "unsealed" => memory(),
        "growing" => {
            let file = memory();
            fcntl_add_seals(&file, seals - SealFlags::GROW).unwrap();
            file
        }
        "disk" => std::fs::File::open("/etc/passwd").unwrap().into(),
        "endless" => std::fs::File::open("/dev/zero").unwrap().into(),
        "pipe" => std::io::pipe().unwrap().0.into(),
        "huge" => {
            // Holes only: it costs the caller nothing.
            let file = memory();
            rustix::fs::ftruncate(&file, 1 << 40).unwrap();
            fcntl_add_seals(&file, seals).unwrap();
            file
        }
        _ => {
            let file = memory();
            fcntl_add_seals(&file, seals).unwrap();
            file
        }
    }
}

/// Many calls at once: how many were answered, how many put off. On several connections: the bus itself
/// lets each have 128 calls in progress.
fn flood(count: u64, files: u64) -> Value {
    let file = a_file("empty");
    let names: Vec<String> = (0..files).map(|n| n.to_string()).collect();
    let (mut answered, mut busy, mut other) = (0, 0, Vec::new());
    async_io::block_on(async {
        let mut tasks = Vec::new();
        let mut buses = Vec::new();
        for number in 0..count {
            if number % 100 == 0 {
                buses.push(zbus::Connection::system().await.unwrap());
            }
            let bus = buses.last().unwrap();
            let there = bus.clone();
            let with: Vec<(String, OwnedFd)> =
                names.iter().map(|n| (n.clone(), file.try_clone().unwrap())).collect();
            let call = async move {
                if with.is_empty() {
                    return there.call_method(Some(NAME), PATH, Some(NAME), "Runs", &()).await;
                }
                let files: HashMap<&str, Fd<'_>> =
                    with.iter().map(|(n, f)| (n.as_str(), Fd::from(f))).collect();
                there.call_method(Some(NAME), PATH, Some(NAME), "Plan", &("test", "{}", files)).await
            };
            tasks.push(bus.executor().spawn(call, "call"));
        }
        for task in tasks {
            match task.await.unwrap().map_err(Error::from) {
                Ok(_) => answered += 1,
                Err(Error::Busy(_)) => busy += 1,
                Err(Error::BadArgument(_)) if files > 0 => answered += 1,
                Err(error) => other.push(error.to_string()),
            }
        }
    });
    other.truncate(3);
    json!({ "answered": answered, "busy": busy, "other": other })
}

/// What a process has open.
fn open_files(pid: u32) -> Vec<String> {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    files.filter_map(|f| Some(std::fs::read_link(f.path()).ok()?.display().to_string())).collect()
}

/// Resident memory of a process, in kilobytes.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn documents_that_are_too_large_or_too_deep(world: &World) {
    let helper = world.start_helper();
    for size in [70_000, 1 << 20, 16 << 20] {
        assert_error(&one("may", json!({ "op": "plan-size", "size": size })), "BadArgument", "bytes");
    }
    for depth in [16, 100, 10_000, 30_000] {
        let words = if depth > 100 { "recursion limit" } else { "deeper than" };
        assert_error(&one("may", json!({ "op": "plan-depth", "depth": depth })), "BadArgument", words);
    }
    assert_eq!(world.helper(), Some(helper));
}

fn files_that_are_not_sealed(world: &World) {
    let helper = world.start_helper();
    let zeros = format!("source:{}", "0".repeat(64));
    for what in ["unsealed", "growing", "disk", "endless", "pipe"] {
        let answer = one("may", json!({ "op": "file", "name": zeros, "what": what }));
        assert_error(&answer, "BadArgument", "not a sealed memory file");
    }
    let huge = one("may", json!({ "op": "file", "name": zeros, "what": "huge" }));
    assert_error(&huge, "BadArgument", "at most");
    let wrong = one("may", json!({ "op": "file", "name": zeros, "what": "empty" }));
    assert_error(&wrong, "BadArgument", "SHA-256 of its bytes");
    for name in ["", "source:", "../../etc/shadow", "mok-password\0"] {
        let answer =
            one("may", json!({ "op": "file", "name": name.trim_end_matches('\0'), "what": "empty" }));
        if name.starts_with("mok") {
            assert_eq!(answer, json!({ "ok": "answered" }));
        } else {
            assert_error(&answer, "BadArgument", "no file is called");
        }
    }
    assert_error(&one("may", json!({ "op": "files", "count": 9 })), "BadArgument", "9 files");
    assert_eq!(world.helper(), Some(helper));
    // What was handed over and refused is not held on to.
    let theirs = |to: &String| ["/memfd:", "pipe:", "/etc/", "/dev/zero"].iter().any(|t| to.starts_with(t));
    wait_for("the end of what was handed over", || !open_files(helper).iter().any(theirs));
}

fn nonsense_for_names_and_digests(_: &World) {
    for flow in ["", "../vmware", "VMWARE", &"a".repeat(5000)] {
        assert_error(
            &one("may", json!({ "op": "plan-flow", "flow": flow })),
            "BadArgument",
            "name of a flow",
        );
    }
    for digest in ["", "latest", &"A".repeat(64)] {
        let answer = one("may", json!({ "op": "execute-digest", "digest": digest }));
        assert_error(&answer, "BadArgument", "64 hexadecimal");
    }
    let wrong = one("may", json!({ "op": "wrong-signature" }));
    assert!(wrong["ok"].as_str().unwrap().starts_with("org.freedesktop."), "{wrong}");
}

fn a_thousand_calls_at_once(world: &World) {
    let helper = world.start_helper();
    one("may", json!({ "op": "runs" }));
    let before = resident(helper);
    let answer = one("may", json!({ "op": "flood", "count": 1000 }));
    let (answered, busy) =
        (answer["ok"]["answered"].as_u64().unwrap(), answer["ok"]["busy"].as_u64().unwrap());
    assert_eq!(answer["ok"]["other"], json!([]), "{answer}");
    assert_eq!(answered + busy, 1000);
    assert!(answered > 0);
    assert_eq!(world.helper(), Some(helper));
    let after = resident(helper);
    assert!(after < before + 20_000, "{before} kB before, {after} kB after");
    // One after the other, none is put off.
    let many = vec![json!({ "op": "runs" }); 200];
    assert!(calls("may", json!(many)).iter().all(|a| a["ok"].is_array()));
}

fn a_thousand_calls_with_files(world: &World) {
    let helper = world.start_helper();
    // More files than the bus lets wait for a connection: it drops what else comes for that one.
    let flood = json!([{ "op": "flood", "count": 1000, "files": 16 }]);
    let floods: Vec<_> = (0..2).map(|_| crate::world::Client::start("stranger", &flood)).collect();
    for _ in 0..10 {
        let answer = one("may", json!({ "op": "runs" }));
        assert!(answer["ok"].is_array() || answer["error"]["kind"] == "Busy", "{answer}");
    }
    for client in floods {
        let answer = &client.all()[0];
        assert_eq!(answer["ok"]["other"], json!([]), "{answer}");
    }
    assert_eq!(world.helper(), Some(helper));
    assert!(one("may", json!({ "op": "runs" }))["ok"].is_array());
    wait_for("the end of what was handed over", || {
        !open_files(helper).iter().any(|f| f.starts_with("/memfd:"))
    });
}

fn forged_events_are_not_believed(_: &World) {
    std::fs::write(wish("hold"), "").unwrap();
    let choices = json!({ "files": { "/etc/a-first": "text", "/etc/b": "text" } });
    let client = crate::world::Client::start("may", &json!([{ "op": "execute", "choices": choices }]));
    assert_eq!(client.next(), json!({ "run": 1 }));
    // To everybody, and to each connection on the bus.
    let bus = zbus::blocking::Connection::system().unwrap();
    let names = zbus::blocking::fdo::DBusProxy::new(&bus).unwrap().list_names().unwrap();
    for name in names.iter().filter(|n| n.starts_with(':')) {
        one("may", json!({ "op": "forge", "to": name.as_str() }));
    }
    std::fs::remove_file(wish("hold")).unwrap();
    let answers = client.all();
    assert_eq!(end_state(&answers), "done");
    assert!(answers.iter().all(|a| a["event"]["message"] != "forged"), "{answers:#?}");
}

fn a_caller_that_goes_away_ends_its_planning(world: &World) {
    std::fs::write(wish("idle"), "1").unwrap();
    let call = json!([{ "op": "plan", "choices": { "dawdle": true } }]);
    let mut client = crate::world::Client::start("may", &call);
    wait_for("the plan's beginning", || std::path::Path::new(&wish("planning")).exists());
    let helper = world.helper();
    client.kill();
    wait_for("the plan's end", || std::path::Path::new(&wish("planning-cancelled")).exists());
    wait_for("the helper's leaving", || world.helper() != helper);
}
