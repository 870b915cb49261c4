// SPDX-License-Identifier: GPL-3.0-or-later
//! Full disks and read-only places, for real: small file systems in a mount namespace of the test's own.

use crate::scene::{no_check, owner, plan, put, remove, run, same, take_back, tree, undone, write};
use hostwright::engine::{Event, Inputs, RunError, RunState, execute, runs};
use hostwright::host::{Cancel, Host};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs `test` (named as libtest names it) on a tmpfs with these options: starts this binary again in a
/// mount namespace where one is mounted, and lets it run just that test.
#[track_caller]
fn on_small_disk(name: &str, options: &str, test: impl FnOnce(&Path)) {
    if let Ok(dir) = std::env::var("SMALL_DISK") {
        test(Path::new(&dir));
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    // As root a mount namespace is enough; anybody else becomes root in a user namespace first.
    let is_root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0;
    command.arg(if is_root { "-m" } else { "-rm" });
    let script = "mount -t tmpfs -o \"$1\" tmpfs \"$2\" && exec \"$3\" --exact \"$4\" --nocapture";
    let output = command
        .args(["sh", "-c", script, "sh", options])
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .arg(name)
        .env("SMALL_DISK", dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Fills the disk to the last byte.
fn fill(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    let mut file = std::fs::File::create(&path).unwrap();
    for size in [64 << 10, 4096, 1] {
        while file.write(&vec![b'x'; size]).is_ok_and(|n| n > 0) {}
    }
    path
}

#[test]
fn a_plan_without_room_is_not_begun_and_says_how_much_is_missing() {
    let name = "disk::a_plan_without_room_is_not_begun_and_says_how_much_is_missing";
    on_small_disk(name, "size=4m", |dir| {
        put(dir, "/etc/a", "old");
        let host = Host::scratch(dir).unwrap();
        let before = tree(&host);
        let error = run(&host, vec![write("/etc/a", &"x".repeat(8 << 20))]).0.unwrap_err();
        assert!(matches!(&error, RunError::Space { needed, free, .. } if needed > free), "{error}");
        assert!(error.to_string().contains("bytes there and try again"), "{error}");
        same(&tree(&host), &before);
        assert!(runs(&host).unwrap().is_empty());
        assert!(!dir.join("var/lib/hostwright/runs/0001").exists());
    });
}

#[test]
fn files_of_several_steps_count_together() {
    let name = "disk::files_of_several_steps_count_together";
    on_small_disk(name, "size=4m", |dir| {
        let host = Host::scratch(dir).unwrap();
        let half = "x".repeat(2 << 20);
        let error = run(&host, vec![write("/a", &half), write("/b", &half)]).0.unwrap_err();
        assert!(matches!(error, RunError::Space { .. }), "{error}");
    });
}

#[test]
fn no_more_files_in_the_middle_of_a_run_takes_it_back() {
    let name = "disk::no_more_files_in_the_middle_of_a_run_takes_it_back";
    on_small_disk(name, "size=16m,nr_inodes=60", |dir| {
        put(dir, "/etc/a", "old");
        let host = Host::scratch(dir).unwrap();
        let before = tree(&host);
        let mut steps = vec![write("/etc/a", "new")];
        steps.extend((0..60).map(|i| write(&format!("/etc/new/{i}"), "x")));
        let report = run(&host, steps).0.unwrap();
        assert_eq!(report.state, RunState::RolledBack, "{report:?}");
        assert!(report.message.contains("free some space there and try again"), "{}", report.message);
        same(&tree(&host), &before);
    });
}

/// Carries out steps on a disk that is filled as step `at` begins, and once more as its undo begins when
/// `twice`.
fn filled_at(dir: &Path, at: usize, twice: bool) -> (Host, hostwright::engine::RunReport) {
    let host = Host::scratch(dir).unwrap();
    let place = dir.to_owned();
    let mut is_full = false;
    let mut sink = move |e: Event| match e {
        Event::Step { step, .. } if step == at && !is_full => {
            is_full = true;
            fill(&place, "filler");
        }
        Event::Started { undo: true, .. } if twice => drop(fill(&place, "filler2")),
        _ => {}
    };
    let steps =
        vec![write("/etc/a", "new"), write("/etc/new/b", "b"), remove("/etc/c"), write("/etc/d", "new")];
    let report =
        execute(&host, &plan(steps), &Inputs::default(), &owner(), &no_check, &Cancel::new(), &mut sink)
            .unwrap();
    (host, report)
}

fn three_files(dir: &Path) -> crate::scene::Tree {
    for name in ["a", "c", "d"] {
        put(dir, &format!("/etc/{name}"), "old");
    }
    tree(&Host::scratch(dir).unwrap())
}

#[test]
fn a_disk_that_fills_up_in_the_middle_takes_the_run_back_with_what_was_set_aside() {
    let name = "disk::a_disk_that_fills_up_in_the_middle_takes_the_run_back_with_what_was_set_aside";
    on_small_disk(name, "size=6m", |dir| {
        // Step 2 only removes a file, for which there is always room.
        for at in [0, 1, 3] {
            let before = three_files(dir);
            let (host, report) = filled_at(dir, at, false);
            assert_eq!(report.state, RunState::RolledBack, "step {at}: {report:?}");
            assert!(report.message.contains("free some space"), "{}", report.message);
            std::fs::remove_file(dir.join("filler")).unwrap();
            same(&tree(&host), &before);
            assert_eq!(runs(&host).unwrap()[0].state, RunState::RolledBack);
        }
    });
}

#[test]
fn when_even_taking_back_has_no_room_nothing_is_lost_and_undo_goes_on_later() {
    let name = "disk::when_even_taking_back_has_no_room_nothing_is_lost_and_undo_goes_on_later";
    on_small_disk(name, "size=6m", |dir| {
        let before = three_files(dir);
        let (host, report) = filled_at(dir, 3, true);
        assert_eq!(report.state, RunState::Failed, "{report:?}");
        assert!(report.message.contains("Still there: “Remove /etc/c”, “Write /etc/new/b”"), "{report:?}");
        assert!(report.message.contains("`hostwright undo 1` goes on with it"), "{}", report.message);
        std::fs::remove_file(dir.join("filler")).unwrap();
        std::fs::remove_file(dir.join("filler2")).unwrap();
        undone(&host, 1);
        same(&tree(&host), &before);
    });
}

fn make_read_only(dir: &Path) {
    use nix::mount::{MsFlags, mount};
    let none: Option<&str> = None;
    mount(Some(dir), dir, none, MsFlags::MS_BIND, none).unwrap();
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(none, dir, none, flags, none).unwrap();
}

fn make_writable(dir: &Path) {
    nix::mount::umount(dir).unwrap();
}

#[test]
fn read_only_modules_take_the_run_back_and_say_what_to_do() {
    let name = "disk::read_only_modules_take_the_run_back_and_say_what_to_do";
    on_small_disk(name, "size=16m", |dir| {
        put(dir, "/lib/modules/6.1/extra/vmmon.ko", "old");
        put(dir, "/etc/a", "old");
        let host = Host::scratch(dir).unwrap();
        let before = tree(&host);
        make_read_only(&dir.join("lib/modules"));
        for step in
            [remove("/lib/modules/6.1/extra/vmmon.ko"), write("/lib/modules/6.1/updates/vmmon.ko", "new")]
        {
            let report = run(&host, vec![write("/etc/a", "new"), step]).0.unwrap();
            assert_eq!(report.state, RunState::RolledBack, "{report:?}");
            assert!(report.message.contains("make that file system writable"), "{}", report.message);
            same(&tree(&host), &before);
        }
    });
}

#[test]
fn modules_that_became_read_only_stop_undo_and_it_goes_on_later() {
    let name = "disk::modules_that_became_read_only_stop_undo_and_it_goes_on_later";
    on_small_disk(name, "size=16m", |dir| {
        put(dir, "/lib/modules/6.1/extra/vmmon.ko", "old");
        let host = Host::scratch(dir).unwrap();
        let before = tree(&host);
        let run =
            crate::scene::done(&host, vec![remove("/lib/modules/6.1/extra/vmmon.ko"), write("/etc/a", "a")]);
        make_read_only(&dir.join("lib/modules"));
        let report = take_back(&host, run).unwrap();
        assert_eq!(report.state, RunState::UndoStopped);
        assert!(report.message.contains("make that file system writable"), "{}", report.message);
        make_writable(&dir.join("lib/modules"));
        undone(&host, run);
        same(&tree(&host), &before);
    });
}

#[test]
fn a_root_that_cannot_be_written_at_all_is_not_begun() {
    let name = "disk::a_root_that_cannot_be_written_at_all_is_not_begun";
    on_small_disk(name, "size=16m", |dir| {
        put(dir, "/etc/a", "old");
        make_read_only(dir);
        let host = Host::scratch(dir).unwrap();
        let error = run(&host, vec![write("/etc/a", "new")]).0.unwrap_err().to_string();
        assert!(error.contains("make that file system writable"), "{error}");
        assert!(runs(&host).unwrap().is_empty());
    });
}
