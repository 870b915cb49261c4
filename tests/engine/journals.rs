// SPDX-License-Identifier: GPL-3.0-or-later
//! Journals and plans of earlier versions keep parsing, and their runs can be taken back.
//!
//! A folder of `journals/` is a run's folder as it was written. Never change one: a new format is a new
//! folder.

use crate::scene::{done, put, same, take_back, tree, undone, write};
use hostwright::engine::{RunError, RunState, StepState, runs, undo_preview};
use hostwright::host::Host;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// A machine with this run in its history. Its files are those of whoever runs the test.
fn with_run(name: &str) -> (tempfile::TempDir, Host) {
    let dir = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engine/journals").join(name);
    let to = dir.path().join("var/lib/hostwright/runs/0001");
    std::fs::create_dir_all(to.join("blobs")).unwrap();
    let me = std::fs::metadata("/proc/self").unwrap();
    for file in ["plan.json", "journal.jsonl"] {
        let text = std::fs::read_to_string(from.join(file)).unwrap();
        let text = text.replace("\"uid\":0", &format!("\"uid\":{}", me.uid()));
        std::fs::write(to.join(file), text.replace("\"gid\":0", &format!("\"gid\":{}", me.gid()))).unwrap();
    }
    for blob in std::fs::read_dir(from.join("blobs")).into_iter().flatten() {
        let blob = blob.unwrap();
        std::fs::copy(blob.path(), to.join("blobs").join(blob.file_name())).unwrap();
    }
    let host = Host::scratch(dir.path()).unwrap();
    (dir, host)
}

fn mode(dir: &Path, path: &str, mode: u32) {
    std::fs::set_permissions(dir.join(&path[1..]), PermissionsExt::from_mode(mode)).unwrap();
}

#[test]
fn version_1_a_run_of_every_kind_of_step_is_listed_and_previewed() {
    let (_dir, host) = with_run("v1-every-kind");
    let list = runs(&host).unwrap();
    assert_eq!(list[0].problem, None);
    assert_eq!(list[0].state, RunState::UndoStopped);
    assert_eq!(list[0].steps.len(), 12, "every kind there was in version 1");
    assert_eq!(list[0].log.as_deref(), Some("/var/lib/hostwright/logs/vmware_build_20260102_030405.log"));
    let states: Vec<StepState> = list[0].steps.iter().map(|s| s.state).collect();
    use StepState::{Begun, Done, Failed, Pending, Unchanged, Undone};
    assert_eq!(
        states,
        [Unchanged, Done, Done, Done, Done, Done, Done, Undone, Undone, Failed, Begun, Pending]
    );
    let shown = undo_preview(&host, 1).unwrap();
    assert_eq!(shown.steps.len(), 8);
}

#[test]
fn version_1_an_interrupted_run_is_taken_back() {
    let (dir, host) = with_run("v1-interrupted");
    // As the run left it: one file exchanged, one about to be, with what it wrote lying beside.
    put(dir.path(), "/etc/a.conf", "new\n");
    mode(dir.path(), "/etc/a.conf", 0o644);
    put(dir.path(), "/etc/new/deep/.hostwright-00112233445566aa", "half");
    put(dir.path(), "/etc/keep", "kept");
    let list = runs(&host).unwrap();
    assert_eq!(list[0].state, RunState::Interrupted);
    assert!(matches!(
        crate::scene::run(&host, vec![write("/etc/b", "b")]).0,
        Err(RunError::Interrupted { run: 1, .. })
    ));
    undone(&host, 1);
    assert_eq!(host.root().read_text("/etc/a.conf").unwrap(), "old\n");
    assert_eq!(host.root().metadata("/etc/a.conf").unwrap().mode, 0o640);
    assert!(!host.root().exists("/etc/new"));
    assert_eq!(tree(&host).len(), 3, "{:?}", tree(&host).keys());
}

#[test]
fn a_journal_of_a_later_version_is_left_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::scratch(dir.path()).unwrap();
    let run = done(&host, vec![write("/etc/a", "a")]);
    let applied = tree(&host);
    let path = dir.path().join("var/lib/hostwright/runs/0001/journal.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    // Whatever else such a version has changed, its number is still there.
    let later = text.replace("{\"record\":\"begin\",\"version\":1,", "{\"record\":\"start\",\"version\":7,");
    assert_ne!(later, text);
    std::fs::write(&path, later).unwrap();
    let said = take_back(&host, run).unwrap_err().to_string();
    assert!(said.contains("written by a later version of Hostwright (format 7)"), "{said}");
    assert!(runs(&host).unwrap()[0].problem.as_ref().unwrap().contains("format 7"));
    same(&tree(&host), &applied);
}

#[test]
fn a_plan_of_a_later_version_is_left_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::scratch(dir.path()).unwrap();
    let run = done(&host, vec![write("/etc/a", "a")]);
    let path = dir.path().join("var/lib/hostwright/runs/0001/plan.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"version\": 1", "\"version\": 2")).unwrap();
    let said = take_back(&host, run).unwrap_err().to_string();
    assert!(said.contains("plan.json was written by a later version of Hostwright (format 2)"), "{said}");
    std::fs::write(&path, "{").unwrap();
    assert!(take_back(&host, run).unwrap_err().to_string().contains("it is no JSON document"));
}
