// SPDX-License-Identifier: GPL-3.0-or-later
//! What changed since a run is left alone by its undo.

use crate::scene::{Tree, done, put, remove, same, take_back, tree, undone, write};
use hostwright::engine::{RunState, runs, undo_preview};
use hostwright::host::Host;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn scratch() -> (tempfile::TempDir, Host) {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::scratch(dir.path()).unwrap();
    (dir, host)
}

/// Three files are changed, then `drift` happens to the second; undo must stop there and say `words`.
fn stops(drift: impl Fn(&Path), words: &str, mend: impl Fn(&Path)) {
    let (dir, host) = scratch();
    for name in ["a", "b", "c"] {
        put(dir.path(), &format!("/etc/{name}"), "old");
    }
    let before = tree(&host);
    let run = done(&host, vec![write("/etc/a", "new"), write("/etc/b", "new"), write("/etc/c", "new")]);
    let applied = tree(&host);
    drift(&dir.path().join("etc/b"));
    let drifted = tree(&host);

    let shown = undo_preview(&host, run).unwrap();
    assert!(!shown.is_clean());
    assert_eq!(shown.steps[1].drift.len(), 1, "{shown:?}");
    assert_eq!(shown.steps[1].drift[0].path, "/etc/b");

    let report = take_back(&host, run).unwrap();
    assert_eq!(report.state, RunState::UndoStopped);
    assert!(
        report.message.contains("“Write /etc/b”") && report.message.contains(words),
        "{}",
        report.message
    );
    assert!(report.message.contains(&format!("`hostwright undo {run}` goes on")), "{}", report.message);
    assert!(report.message.contains("Still there: “Write /etc/b”, “Write /etc/a”"), "{}", report.message);
    let now = tree(&host);
    let only = |t: &Tree, p: &str| t.get(p).cloned();
    assert_eq!(only(&now, "/etc/c"), only(&before, "/etc/c"), "the last step was taken back");
    assert_eq!(only(&now, "/etc/b"), only(&drifted, "/etc/b"), "what drifted was left alone");
    assert_eq!(only(&now, "/etc/a"), only(&applied, "/etc/a"), "nothing beyond it was touched");
    assert_eq!(runs(&host).unwrap()[0].state, RunState::UndoStopped);
    assert!(runs(&host).unwrap()[0].can_undo);

    mend(&dir.path().join("etc/b"));
    undone(&host, run);
    assert_eq!(only(&tree(&host), "/etc/a"), only(&before, "/etc/a"));
    assert_eq!(tree(&host).keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
}

#[test]
fn an_edited_file_is_left_alone_by_undo() {
    stops(
        |p| std::fs::write(p, "edited by hand").unwrap(),
        "its content is another, 14 bytes instead of 3",
        |p| std::fs::write(p, "new").unwrap(),
    );
}

#[test]
fn a_file_with_another_mode_is_left_alone_by_undo() {
    let mode = |p: &Path, m| std::fs::set_permissions(p, PermissionsExt::from_mode(m)).unwrap();
    stops(|p| mode(p, 0o600), "its mode is 0600 instead of 0644", |p| mode(p, 0o644));
}

#[test]
fn a_file_with_another_owner_is_left_alone_by_undo() {
    if !rustix_is_root() {
        // Only root can give files away.
        return;
    }
    let give = |p: &Path, uid| std::os::unix::fs::chown(p, Some(uid), Some(uid)).unwrap();
    stops(|p| give(p, 7), "its owner is 7:7 instead of 0:0", |p| give(p, 0));
}

fn rustix_is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

#[test]
fn a_file_that_somebody_removed_is_not_made_again_by_undo() {
    stops(
        |p| std::fs::remove_file(p).unwrap(),
        "it is no longer there",
        |p| std::fs::write(p, "new").unwrap(),
    );
}

#[test]
fn a_link_planted_in_place_of_the_file_is_neither_followed_nor_removed() {
    stops(
        |p| {
            std::fs::remove_file(p).unwrap();
            std::os::unix::fs::symlink("/etc/passwd", p).unwrap();
        },
        "a symbolic link stands there instead of a file",
        |p| {
            std::fs::remove_file(p).unwrap();
            std::fs::write(p, "new").unwrap();
        },
    );
}

#[test]
fn a_directory_in_place_of_the_file_is_left_alone() {
    stops(
        |p| {
            std::fs::remove_file(p).unwrap();
            std::fs::create_dir(p).unwrap();
        },
        "a directory stands there instead of a file",
        |p| {
            std::fs::remove_dir(p).unwrap();
            std::fs::write(p, "new").unwrap();
        },
    );
}

#[test]
fn a_file_that_was_put_back_by_hand_is_nothing_to_do() {
    let (dir, host) = scratch();
    put(dir.path(), "/etc/a", "old");
    let run = done(&host, vec![write("/etc/a", "new"), write("/etc/b", "b")]);
    put(dir.path(), "/etc/a", "old");
    std::fs::remove_file(dir.path().join("etc/b")).unwrap();
    let by_hand = tree(&host);
    undone(&host, run);
    same(&tree(&host), &by_hand);
}

#[test]
fn a_folder_that_the_run_made_stays_when_something_else_is_in_it() {
    let (dir, host) = scratch();
    let run = done(&host, vec![write("/etc/new/deep/a", "a")]);
    put(dir.path(), "/etc/new/theirs", "x");
    let report = take_back(&host, run).unwrap();
    assert_eq!(report.state, RunState::Undone);
    assert!(report.message.contains("/etc/new, which this run made, stays"), "{}", report.message);
    assert!(!dir.path().join("etc/new/deep").exists() && dir.path().join("etc/new/theirs").exists());
}

#[test]
fn a_folder_that_the_run_found_is_never_removed() {
    let (dir, host) = scratch();
    std::fs::create_dir_all(dir.path().join("etc/empty")).unwrap();
    let before = tree(&host);
    let run = done(&host, vec![write("/etc/empty/a", "a")]);
    undone(&host, run);
    same(&tree(&host), &before);
}

#[test]
fn a_damaged_copy_of_the_old_file_is_never_put_back() {
    let (dir, host) = scratch();
    put(dir.path(), "/etc/a", "old");
    let run = done(&host, vec![remove("/etc/a")]);
    let blobs = dir.path().join("var/lib/hostwright/runs/0001/blobs");
    for blob in std::fs::read_dir(blobs).unwrap() {
        std::fs::write(blob.unwrap().path(), "bad").unwrap();
    }
    let report = take_back(&host, run).unwrap();
    assert_eq!(report.state, RunState::UndoStopped);
    assert!(report.message.contains("is damaged"), "{}", report.message);
    assert!(!dir.path().join("etc/a").exists());
}
