// SPDX-License-Identifier: GPL-3.0-or-later
//! Commands in guests: all that goes in and comes out, exactly.

use crate::scene::{Scene, kernel, text};
use std::io::Write;
use std::process::Stdio;

#[test]
fn only_the_command_speaks() {
    let scene = Scene::new();
    let out = scene.boot(["--root", "none", "--", "uname", "-r"]);
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    assert_eq!(text(&out.stdout), format!("{}\n", kernel()));
    assert_eq!(text(&out.stderr), "");
    scene.nothing_is_left();
    let report = scene.report();
    let stages: Vec<&str> =
        report["report"]["stages"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(stages.first(), Some(&"qemu"));
    assert_eq!(stages.last(), Some(&"end"));
    assert!(stages.contains(&"kernel") && stages.contains(&"command"), "{stages:?}");
    let at: Vec<u64> =
        report["report"]["stages"].as_array().unwrap().iter().map(|s| s["at_ms"].as_u64().unwrap()).collect();
    assert!(at.is_sorted(), "{at:?}");
}

#[test]
fn any_bytes_go_in_and_come_out_and_the_status_is_the_commands_own() {
    let scene = Scene::new();
    let kernel = kernel();
    let bytes: Vec<u8> =
        (0..1_500_000u32).flat_map(|n| (n.wrapping_mul(2_654_435_761)).to_le_bytes()).collect();
    let script = "cat; printf 'to stderr\\n\\0' >&2; exit 42";
    let args = ["boot", "--kernel", &kernel, "--timeout", "120", "--", "sh", "-c", script];
    let mut child =
        scene.lab(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let sent = bytes.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&sent).unwrap());
    let out = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert_eq!(out.status.code(), Some(42), "{}", text(&out.stderr));
    assert_eq!(out.stderr, b"to stderr\n\0");
    assert!(out.stdout == bytes, "{} bytes came back of {}", out.stdout.len(), bytes.len());
}

#[test]
fn arguments_and_variables_are_not_looked_into() {
    let scene = Scene::new();
    let script = "printf '%s|' \"$@\" \"$V\"; pwd";
    let out = scene.boot([
        "--env",
        "V=a, b = c",
        "--cwd",
        "/usr",
        "--",
        "sh",
        "-c",
        script,
        "sh",
        "",
        "a b",
        "$HOME",
        "x,y",
        "%0A",
        "é",
    ]);
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    assert_eq!(text(&out.stdout), "|a b|$HOME|x,y|%0A|é|a, b = c|/usr\n");
}

#[test]
fn a_command_ended_by_a_signal_is_told_as_a_shell_does() {
    let scene = Scene::new();
    let out = scene.boot(["--root", "none", "--", "sh", "-c", "kill -SEGV $$"]);
    assert_eq!(out.status.code(), Some(128 + 11), "{out:?}");
    assert!(text(&out.stderr).contains("Signal 11"), "{out:?}");
}

#[test]
fn a_panic_is_named_with_the_kernels_lines() {
    let scene = Scene::new();
    let out = scene.boot(["--root", "none", "--", "sh", "-c", "echo before; echo c > /proc/sysrq-trigger"]);
    assert_eq!(out.status.code(), Some(255), "{out:?}");
    assert_eq!(text(&out.stdout), "before\n");
    let said = text(&out.stderr);
    assert!(said.contains("Kernel panic - not syncing: sysrq triggered crash"), "{said}");
    assert!(said.contains("sysrq_handle_crash") && said.contains("lab report 1"), "{said}");
    assert_eq!(scene.report()["report"]["outcome"]["kind"], "panic");
    let shown = text(&scene.run(["report"]).stdout);
    assert!(shown.contains("Timeline") && shown.contains("It stopped in the stage “command”"), "{shown}");
}

#[test]
fn memory_that_runs_out_is_named() {
    let scene = Scene::new();
    let out = scene.boot(["-m", "160M", "--root", "none", "--", "tail", "/dev/zero"]);
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(255), "{said}");
    assert!(
        said.contains("Memory ran out: Out of memory: Killed process") && said.contains("(tail)"),
        "{said}"
    );
}

#[test]
fn json_is_one_document_with_all_of_it() {
    let scene = Scene::new();
    let out = scene.boot(["--json", "--root", "none", "--", "sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!(out.status.code(), Some(3), "{out:?}");
    let document: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((document["stdout"].as_str(), document["stderr"].as_str()), (Some("out\n"), Some("err\n")));
    assert_eq!(document["report"]["outcome"], serde_json::json!({"kind": "exited", "status": 3}));
    assert_eq!(document["report"]["kernel"].as_str(), Some(kernel().as_str()));
}

#[test]
fn a_dry_run_shows_a_command_that_works_when_it_is_pasted() {
    let scene = Scene::new();
    let out = scene.boot(["--dry-run", "--root", "none", "--", "uname", "-r"]);
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let pasted =
        std::process::Command::new("timeout").args(["60", "sh", "-c", &text(&out.stdout)]).output().unwrap();
    assert!(text(&pasted.stdout).contains(&kernel()), "{pasted:?}");
    scene.nothing_is_left();
}
