// SPDX-License-Identifier: GPL-3.0-or-later
//! Roots of guests.

use crate::scene::{Scene, text, tree};

#[test]
fn the_machine_itself_can_be_the_root_and_does_not_change() {
    let scene = Scene::new();
    let mark = scene.home.path().join("made by a guest");
    let script =
        format!("cat /etc/os-release && echo x > '{}' && rm /etc/os-release && echo done", mark.display());
    let out = scene.boot(["--", "sh", "-c", &script]);
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let own = std::fs::read_to_string("/etc/os-release").unwrap();
    assert_eq!(text(&out.stdout), format!("{own}done\n"));
    assert!(!mark.exists());
    scene.nothing_is_left();
}

#[test]
fn a_tree_is_written_to_only_when_it_was_asked_for() {
    let scene = Scene::new();
    let dir = scene.home.path().join("a tree, to write in");
    for folder in ["bin", "proc", "sys", "dev", "tmp", "run"] {
        std::fs::create_dir_all(dir.join(folder)).unwrap();
    }
    copy_program("/bin/sh", &dir);
    copy_program("/bin/touch", &dir);
    let root = dir.to_str().unwrap();
    let out = scene.boot(["--root", root, "--", "sh", "-c", "touch /tmp/one && [ -e /tmp/one ]"]);
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    assert!(!dir.join("tmp/one").exists());
    let out = scene.boot(["--root", root, "--writable", "--", "sh", "-c", "touch /tmp/two"]);
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    assert!(dir.join("tmp/two").exists());
}

/// A program and its libraries, as ldd(1) names them.
fn copy_program(program: &str, tree: &std::path::Path) {
    let out = std::process::Command::new("ldd").arg(program).output().unwrap();
    let text = text(&out.stdout);
    let libraries = text.split_whitespace().filter(|w| w.starts_with('/'));
    for path in libraries.chain([program]) {
        let to = tree.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(path, to).unwrap();
    }
}

#[test]
fn systemd_of_a_tree_reaches_its_target() {
    let scene = Scene::new();
    let tree = tree();
    let root = tree.to_str().unwrap();
    let until = "^multi-user$";
    let out = scene.boot(["--root", root, "--init", "/sbin/init", "--until", until, "-m", "512M"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(text(&out.stderr).contains("hat was waited for came: multi-user"), "{}", text(&out.stderr));
    let report = scene.report();
    let stages = report["report"]["stages"].as_array().unwrap();
    assert!(stages.iter().any(|s| s["name"] == "multi-user"), "{stages:?}");
    scene.nothing_is_left();
}

#[test]
fn files_of_a_guest_come_back_into_the_runs_folder() {
    let scene = Scene::new();
    let script =
        "mkdir -p /tmp/log && echo one > /tmp/log/a.log && echo '{\"a\": 1,}' > /tmp/log/conf.json; exit 1";
    let out = scene.boot(["--collect", "/tmp/log/*", "--", "sh", "-c", script]);
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    let report = scene.report();
    let collected = ["collected/tmp/log/a.log", "collected/tmp/log/conf.json"];
    let missed = std::fs::read_to_string(scene.runs().join("1/collected/could-not-collect"));
    assert_eq!(report["report"]["collected"], serde_json::json!(collected), "{missed:?} {out:?} {report}");
    let folder = scene.runs().join("1/collected/tmp/log");
    assert_eq!(std::fs::read_to_string(folder.join("a.log")).unwrap(), "one\n");
    let shown = text(&scene.run(["report"]).stdout);
    assert!(shown.contains("conf.json:1:9: no valid JSON: trailing comma"), "{shown}");
}

#[test]
fn the_field_that_an_installer_rejected_is_named_with_its_place() {
    let scene = Scene::new();
    let script = r#"mkdir -p /tmp/log && echo '{"disk_config": {"layout": "odd"}}' > /tmp/log/user_configuration.json && \
        printf 'start\nTraceback (most recent call last):\n  File "a.py", line 1\nKeyError: '"'layout'"'\n' > /tmp/log/install.log; exit 1"#;
    let out = scene.boot(["--collect", "/tmp/log/*", "--", "sh", "-c", script]);
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    let shown = text(&scene.run(["report"]).stdout);
    assert!(shown.contains("user_configuration.json: valid JSON"), "{shown}");
    assert!(shown.contains("the field `layout`, which is at /disk_config/layout, was rejected"), "{shown}");
    assert!(shown.contains("KeyError: 'layout'"), "{shown}");
}
