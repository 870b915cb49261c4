// SPDX-License-Identifier: GPL-3.0-or-later
//! Several guests: at once, by name, and as a matrix.

use crate::scene::{Scene, kernel, text};
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

fn start(scene: &Scene, name: &str, more: &[&str]) -> Child {
    let kernel = kernel();
    let mut args = vec!["boot", "--kernel", &kernel, "--root", "none", "--name", name, "-m", "256M"];
    args.extend(more);
    args.extend(["--", "sh", "-c", "echo up; while :; do :; done"]);
    let mut child = scene.lab(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    if line != "up\n" {
        panic!("{name}: {line:?} {}", text(&child.wait_with_output().unwrap().stderr));
    }
    child
}

#[test]
fn two_guests_run_at_once_and_each_is_reached_by_its_name() {
    let scene = Scene::new();
    let first = start(&scene, "first", &["--disk", "64M"]);
    let second = start(&scene, "second", &[]);
    let listed = text(&scene.run(["list"]).stdout);
    assert!(listed.contains("first") && listed.contains("second") && listed.contains("running"), "{listed}");
    let taken = scene.boot(["--root", "none", "--name", "first", "--", "true"]);
    assert_eq!(taken.status.code(), Some(3), "{taken:?}");
    assert!(text(&taken.stderr).contains("runs already"), "{taken:?}");

    assert_eq!(scene.run(["suspend", "first"]).status.code(), Some(0));
    assert!(text(&scene.run(["list"]).stdout).contains("paused"));
    assert_eq!(scene.run(["resume", "first"]).status.code(), Some(0));
    let saved = scene.run(["snapshot", "first", "one"]);
    assert_eq!(saved.status.code(), Some(0), "{saved:?}");
    let back = scene.run(["restore", "first", "one"]);
    assert_eq!(back.status.code(), Some(0), "{back:?}");
    let missing = scene.run(["restore", "first", "two"]);
    assert_eq!(missing.status.code(), Some(1), "{missing:?}");
    let none = scene.run(["snapshot", "second", "one"]);
    assert!(none.status.code() == Some(3) && text(&none.stderr).contains("--disk"), "{none:?}");
    let dark = scene.run(["screenshot", "second"]);
    assert!(dark.status.code() == Some(3) && text(&dark.stderr).contains("graphics"), "{dark:?}");

    assert_eq!(scene.run(["stop", "first"]).status.code(), Some(0));
    let out = first.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(255), "{out:?}");
    assert!(text(&out.stderr).contains("stopped from outside"), "{out:?}");
    assert_eq!(scene.run(["stop", "--all"]).status.code(), Some(0));
    second.wait_with_output().unwrap();
    let gone = scene.run(["stop", "first"]);
    assert_eq!(gone.status.code(), Some(3), "{gone:?}");
    scene.nothing_is_left();
    let report = scene.run(["report", "first", "--json"]);
    assert!(text(&report.stdout).contains("\"kind\":\"stopped\""), "{report:?}");
}

#[test]
fn a_matrix_shows_side_by_side_what_came_of_each() {
    let scene = Scene::new();
    let kernel = kernel();
    let file = scene.home.path().join("m, 1.toml");
    let rows = format!(
        "command = ['uname', '-r']\nroot = 'none'\ntimeout = '2m'\nkernels = ['{kernel}']\n\
         [[guest]]\nname = 'fails'\nkernel = '{kernel}'\ncommand = ['sh', '-c', 'echo no; exit 5']\n\
         [[guest]]\nname = 'cannot'\nkernel = '{kernel}'\ncommand = ['no-such-program']\n"
    );
    std::fs::write(&file, rows).unwrap();
    let junit = scene.home.path().join("junit.xml");
    let out = scene.run(["matrix", file.to_str().unwrap(), "--junit", junit.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    let shown = text(&out.stdout);
    let row = |name: &str| {
        shown.lines().find(|l| l.starts_with(name)).unwrap_or_else(|| panic!("{shown}")).to_owned()
    };
    assert!(row(&kernel).contains("good") && row("fails").contains("exit status 5"), "{shown}");
    assert!(row("cannot").contains("no-such-program"), "{shown}");
    let xml = std::fs::read_to_string(&junit).unwrap();
    assert!(xml.contains("tests=\"3\" failures=\"1\" errors=\"1\""), "{xml}");
    scene.nothing_is_left();
}
