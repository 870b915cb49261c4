// SPDX-License-Identifier: GPL-3.0-or-later
use super::super::spec::{ArchisoSpec, Autorun, BuilderSpec, Project};
use super::*;
use crate::host::RealRunner;
use proptest::prelude::*;
use std::fs;

fn sh(dir: &Path, script: &str) {
    let out = std::process::Command::new("sh")
        .args(["-ec", script])
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_AUTHOR_NAME", "a")
        .env("GIT_AUTHOR_EMAIL", "a@b")
        .env("GIT_COMMITTER_NAME", "a")
        .env("GIT_COMMITTER_EMAIL", "a@b")
        .output()
        .unwrap();
    assert!(out.status.success(), "{out:?}");
}

fn listed(folder: &Path, without: &[PathBuf]) -> Vec<String> {
    let empty = tempfile::tempdir().unwrap();
    let listing = list(&RealRunner, folder, empty.path(), without, &Cancel::new()).unwrap();
    listing.files.iter().map(|p| p.to_string_lossy().into_owned()).collect()
}

#[test]
fn changes_that_are_not_committed_are_in_and_what_is_ignored_is_not() {
    let dir = tempfile::tempdir().unwrap();
    sh(
        dir.path(),
        "git init -q .; printf 'build/\\n*.log\\n' > .gitignore; mkdir -p src build
         echo 1 > src/a; echo 1 > src/gone; echo 1 > kept.log; git add -f . ; git commit -qm x
         echo 2 > src/a; rm src/gone; echo new > src/new; echo x > build/out; echo x > other.log
         ln -s src/a link; mkdir -p .git/info; echo private >> .git/info/exclude; echo x > private; mkfifo pipe",
    );
    // kept.log is tracked although a pattern ignores it.
    assert_eq!(listed(dir.path(), &[]), [".gitignore", "kept.log", "link", "src/a", "src/new"]);
    assert_eq!(
        listed(dir.path(), &[dir.path().join("src/new")]),
        [".gitignore", "kept.log", "link", "src/a"]
    );
    // A part of a repository is a project too.
    assert_eq!(listed(&dir.path().join("src"), &[]), ["a", "new"]);
}

#[test]
fn a_folder_without_git_obeys_its_gitignore_too_and_is_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("target/debug")).unwrap();
    fs::write(dir.path().join("target/debug/x"), "x").unwrap();
    fs::write(dir.path().join("main.rs"), "x").unwrap();
    fs::write(dir.path().join(".gitignore"), "/target\n").unwrap();
    assert_eq!(listed(dir.path(), &[]), [".gitignore", "main.rs"]);
    assert!(!dir.path().join(".git").exists());
}

#[test]
fn repositories_in_the_project_are_listed_in_their_turn() {
    let dir = tempfile::tempdir().unwrap();
    sh(
        dir.path(),
        "git init -q .; echo x > a; mkdir sub; cd sub; git init -q .; echo '*.o' > .gitignore; echo x > b; echo x > c.o
         git add b; git commit -qm x; cd ..; git -c advice.addEmbeddedRepo=false add . 2>/dev/null; git commit -qm x",
    );
    assert_eq!(listed(dir.path(), &[]), ["a", "sub/.gitignore", "sub/b"]);
}

#[test]
fn git_runs_no_program_that_the_repository_names() {
    let dir = tempfile::tempdir().unwrap();
    sh(
        dir.path(),
        "git init -q .; echo x > a; printf '#!/bin/sh\\ntouch %s/planted\\n' \"$PWD\" > hook.sh; chmod +x hook.sh
         git config core.fsmonitor \"$PWD/hook.sh\"",
    );
    assert_eq!(listed(dir.path(), &[]), ["a", "hook.sh"]);
    assert!(!dir.path().join("planted").exists());
}

#[test]
fn every_name_that_a_file_can_have_comes_through() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    let names: [&[u8]; 7] =
        [b"a b", b"-dash", b"new\nline", b"quo\"te", b"back\\slash", "gr\u{fc}n".as_bytes(), b"\xff\xfe"];
    for name in names {
        fs::write(dir.path().join(std::ffi::OsStr::from_bytes(name)), "x").unwrap();
    }
    let empty = tempfile::tempdir().unwrap();
    let listing = list(&RealRunner, dir.path(), empty.path(), &[], &Cancel::new()).unwrap();
    let mut wanted: Vec<PathBuf> =
        names.iter().map(|n| PathBuf::from(std::ffi::OsStr::from_bytes(n))).collect();
    wanted.sort();
    assert_eq!(listing.files, wanted);
}

#[test]
fn quoted_names_are_read_as_git_writes_them() {
    assert_eq!(unquote("a b"), Some("a b".into()));
    assert_eq!(unquote(r#""gr\303\274n\t\"\\""#), Some("gr\u{fc}n\t\"\\".into()));
    for bad in ["", "\"", r#""\x""#, r#""\77""#, r#""\400""#, "\"\""] {
        assert_eq!(unquote(bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_unquoting_panic(text in ".*") {
        unquote(&text);
        unquote(&format!("\"{text}\""));
    }
}

fn image(folder: &Path) -> Image {
    Image {
        name: "demo".into(),
        builder: BuilderSpec::Archiso(ArchisoSpec { profile: "/p".into(), pacman_conf: None }),
        project: Some(Project { folder: folder.into(), place: "/opt/the project".into() }),
        env: vec![("ODD".into(), "a \"b\" $c `d` \\e 100% 'f'".into())],
        autorun: Some(Autorun { command: "exec ./run.sh --quick".into(), power_off: true }),
        collect: vec!["/var/log/my app/*".into()],
    }
}

fn text_of(layer: &Layer, path: &str) -> String {
    match &layer.entries()[Path::new(path)] {
        Entry::Bytes { bytes, .. } => String::from_utf8(bytes.clone()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_layer_has_the_project_its_environment_and_what_starts_it() {
    let dir = tempfile::tempdir().unwrap();
    sh(dir.path(), "echo x > run.sh; chmod 700 run.sh; mkdir d; echo x > d/f; ln -s ../run.sh d/l");
    let listing = Listing { files: vec!["run.sh".into(), "d/f".into(), "d/l".into()], ..Listing::default() };
    let layer = layer(&image(dir.path()), &listing, b"\x7fELF").unwrap();
    let entry = |path: &str| &layer.entries()[Path::new(path)];
    assert_eq!(entry("opt/the project/run.sh"), &Entry::Copy { from: "run.sh".into(), mode: 0o755 });
    assert_eq!(entry("opt/the project/d/l"), &Entry::Link { target: "../run.sh".into() });
    assert!(
        text_of(&layer, "usr/lib/hostwright/autorun")
            .contains("cd '/opt/the project' || exit 125\nexec ./run.sh")
    );
    assert!(
        text_of(&layer, "etc/systemd/system/hostwright-autorun.service").contains("FailureAction=poweroff")
    );
    assert!(
        text_of(&layer, "etc/systemd/system/hostwright-agent.service")
            .contains("agent \"/var/log/my app/*\"\n")
    );
    assert_eq!(
        entry("etc/systemd/system/sysinit.target.wants/hostwright-agent.service"),
        &Entry::Link { target: "../hostwright-agent.service".into() }
    );
}

#[test]
fn a_shell_reads_the_environment_as_it_was_meant() {
    let dir = tempfile::tempdir().unwrap();
    let image = image(dir.path());
    let file = dir.path().join("env");
    fs::write(&file, environment(&image)).unwrap();
    let out = std::process::Command::new("sh")
        .args(["-c", ". \"$1\"; printf '%s|%s' \"$ODD\" \"$HOSTWRIGHT_PROJECT\"", "sh"])
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(out.stdout).unwrap(), format!("{}|/opt/the project", image.env[0].1));
    assert!(defaults(&image).contains("\"ODD=a \\\"b\\\" $c `d` \\\\e 100%% 'f'\""));
}

#[test]
fn a_whole_system_is_no_project() {
    assert!(check_project(Path::new("/")).is_err());
    assert!(check_project(Path::new("/nonexistent")).is_err());
    assert!(check_project(Path::new("/etc/passwd")).is_err());
}
