// SPDX-License-Identifier: GPL-3.0-or-later
//! The first process of lab guests, in real guests: each test boots an installed kernel in QEMU (TCG), with ports
//! of the test's own, so that what is said on them is seen byte by byte.
//!
//! `LAB_KERNEL` names another kernel image than the newest in `/boot`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers fail the test")]

mod machine;

use hostwright::guest::spec::{GuestRoot, Task};
use hostwright::init::config::Root;
use hostwright::init::protocol::Said;
use machine::{Machine, command};
use std::path::Path;

#[test]
fn a_command_gets_its_words_its_input_and_its_status_through() {
    let script = "cat; for a in \"$@\"; do printf '[%s]' \"$a\"; done; echo no >&2; exit 37";
    let mut machine = Machine::new(command(&["dash", "-c", script, "x", "", "a\nb", " %41 ", "ü,="]));
    // dash and cat: a root that has both.
    machine.share("/");
    machine.stdin(b"in\0put");
    let seen = machine.run();
    assert_eq!(seen.ended(), Said::Exit(37), "{seen}");
    assert_eq!(seen.stdout, "in\0put[][a\nb][ %41 ][ü,=]".as_bytes(), "{seen}");
    assert_eq!(seen.stderr, b"no\n", "{seen}");
}

#[test]
fn a_signal_that_ends_the_command_is_told_and_large_binary_output_is_whole() {
    // 20 MB of a known pattern, while an orphan keeps the output open.
    let script = "sleep 1000 & i=0; while [ $i -lt 20 ]; do head -c 1000000 /dev/zero | tr '\\0' '\\377'; i=$((i+1)); done; kill -9 $$";
    let mut machine = Machine::new(command(&["sh", "-c", script]));
    machine.share("/");
    let seen = machine.run();
    assert_eq!(seen.ended(), Said::Killed(9), "{seen}");
    assert_eq!(seen.stdout.len(), 20_000_000, "{seen}");
    assert!(seen.stdout.iter().all(|b| *b == 0xff));
}

#[test]
fn without_a_root_the_program_of_this_machine_runs_with_its_libraries() {
    for microvm in [false, true] {
        let mut machine = Machine::new(command(&["uname", "-r"]));
        machine.microvm = microvm;
        let seen = machine.run();
        assert_eq!(seen.ended(), Said::Exit(0), "{seen}");
        assert_eq!(String::from_utf8_lossy(&seen.stdout).trim(), seen.release, "{seen}");
        assert!(seen.stages().starts_with(&["init", "modules", "ports"].map(String::from)), "{seen}");
    }
}

#[test]
fn a_command_that_closes_its_streams_is_waited_for() {
    let script = "exec <&- >&- 2>&-; sleep 0.3; exit 4";
    let mut machine = Machine::new(command(&["sh", "-c", script]));
    machine.share("/");
    machine.stdin(&[7; 300_000]);
    let seen = machine.run();
    assert_eq!(seen.ended(), Said::Exit(4), "{seen}");
    assert_eq!((seen.stdout.len(), seen.stderr.len()), (0, 0));
}

#[test]
fn what_cannot_be_done_is_said_on_the_port_and_on_the_console() {
    let mut machine = Machine::new(command(&["/no/such/program"]));
    machine.share("/");
    let seen = machine.run();
    let Said::Fail { stage, reason } = seen.ended() else { panic!("{seen}") };
    assert_eq!(stage, "command");
    assert!(reason.contains("/no/such/program: No such file"), "{reason}");
    assert!(seen.console.contains("hostwright-init: command: could not run /no/such/program"), "{seen}");
}

#[test]
fn a_folder_that_is_no_root_is_named_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Machine::new(command(&["true"]));
    machine.share(dir.path().to_str().unwrap());
    let seen = machine.run();
    let Said::Fail { stage, reason } = seen.ended() else { panic!("{seen}") };
    assert!(stage == "root" && reason.contains("is no root"), "{reason}");
}

#[test]
fn a_shared_folder_is_not_written_to_unless_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let files = [("bin/sh", "/bin/sh"), ("bin/touch", "/usr/bin/touch")];
    machine::tree(dir.path(), &["sh", "touch"]);
    assert!(
        files.iter().all(|(f, _)| dir.path().join(f).exists() || dir.path().join("usr").join(f).exists())
    );
    for writable in [false, true] {
        let mut machine = Machine::new(command(&["sh", "-c", "touch /made && [ -e /made ]"]));
        machine.share(dir.path().to_str().unwrap());
        machine.boot.writable = writable;
        let seen = machine.run();
        assert_eq!(seen.ended(), Said::Exit(0), "{seen}");
        assert_eq!(dir.path().join("made").exists(), writable);
    }
}

#[test]
fn a_disk_image_is_a_root_and_files_come_back_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    machine::tree(&tree, &["sh"]);
    std::fs::create_dir_all(tree.join("var/log")).unwrap();
    std::fs::write(tree.join("var/log/old.log"), "old").unwrap();
    let image = dir.path().join("disk, with spaces.img");
    machine::ext4(&tree, &image);
    let script = "echo new >/var/log/new.log; read x </proc/version; echo \"$x\"";
    let mut machine = Machine::new(command(&["/bin/sh", "-c", script]));
    machine.disk(&image);
    machine.boot.collect = vec!["/var/log/*.log".into(), "/etc/passwd".into()];
    let seen = machine.run();
    assert_eq!(seen.ended(), Said::Exit(0), "{seen}");
    assert!(seen.stdout.starts_with(b"Linux version"), "{seen}");
    let names = machine::names(&seen.files);
    let wanted = ["var", "var/log", "var/log/new.log", "var/log/old.log", "could-not-collect"];
    assert_eq!(names, wanted, "{seen}");
    let text = String::from_utf8_lossy(&seen.files);
    assert!(text.contains("/etc/passwd: /etc/passwd: No such file or directory"), "{text}");
}

#[test]
fn the_partition_that_holds_a_root_is_found_on_a_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, empty) = (dir.path().join("tree"), dir.path().join("empty"));
    machine::tree(&tree, &["sh"]);
    std::fs::create_dir(&empty).unwrap();
    let image = dir.path().join("disk.img");
    // The larger one is no root.
    machine::partitioned(&image, &[(&empty, 60), (&tree, 40)]);
    let mut machine = Machine::new(command(&["/bin/sh", "-c", "exit 5"]));
    machine.disk(&image);
    let seen = machine.run();
    assert_eq!(seen.ended(), Said::Exit(5), "{seen}");
}

#[test]
fn the_init_of_a_tree_takes_over_and_its_agent_hands_files_over() {
    let dir = tempfile::tempdir().unwrap();
    machine::tree(dir.path(), &["sh", "sleep"]);
    // As systemd would: the agent as a unit, then a stage, then the end.
    let script = "#!/bin/sh\n/run/hostwright/init agent /etc/of-mine & a=$!\n\
        while ! /run/hostwright/init stage 'half way' 2>/dev/null; do sleep 0.1; done\n\
        echo collected >/etc/of-mine; sleep 0.2; kill $a; wait $a\n\
        echo b >/proc/sysrq-trigger\n";
    std::fs::create_dir_all(dir.path().join("etc")).unwrap();
    machine::program(&dir.path().join("sbin/init"), script);
    let mut machine =
        Machine::new(Task::Init { path: "/sbin/init".into(), args: vec!["one".into(), "".into()] });
    machine.share(dir.path().to_str().unwrap());
    let seen = machine.run();
    let stages = seen.stages();
    for stage in ["root", "switch", "agent", "half way", "collect"] {
        assert!(stages.iter().any(|s| s == stage), "{stage}: {seen}");
    }
    assert_eq!(machine::names(&seen.files)[..2], ["etc", "etc/of-mine"], "{seen}");
    assert!(!Path::new(&dir.path().join("etc/of-mine")).exists());
}

#[test]
fn a_device_that_never_comes_ends_the_guest_with_its_name() {
    let mut machine = Machine::new(command(&["true"]));
    machine.boot.root = GuestRoot::Directory { path: "/".into() };
    machine.config.root = Root::Disk { serial: "nobody".into() };
    let seen = machine.run();
    let Said::Fail { stage, reason } = seen.ended() else { panic!("{seen}") };
    assert!(stage == "root" && reason.contains("no disk with the serial number nobody"), "{reason}");
}
