// SPDX-License-Identifier: GPL-3.0-or-later
//! Hostile Makefiles against the sandbox: none gets out, leaves anything behind, or hands over anything
//! but a plain file. Each case runs in both forms of sandbox where the test runs as root.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail the test")]

use hostwright::host::{
    BuildUser, Cancel, Command, CommandError, Form, Host, Output, RealRunner, Runner, Sandbox, WorkFolder,
};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

struct Place {
    _dir: tempfile::TempDir,
    host: Host,
    work: WorkFolder,
    sandbox: Sandbox,
}

/// A sandbox whose work folder holds `makefile`. In a folder that only root can enter, root's form without
/// a user namespace is what remains.
fn place(reachable: bool, makefile: &str) -> Place {
    let dir = tempfile::tempdir().unwrap();
    let mode = if reachable { 0o711 } else { 0o700 };
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(mode)).unwrap();
    let user = BuildUser::find();
    let host = Host::machine().unwrap();
    let work = WorkFolder::create(&Host::scratch(dir.path()).unwrap(), &user).unwrap();
    work.write("Makefile", makefile.as_bytes()).unwrap();
    work.hand_over().unwrap();
    let sandbox = Sandbox::new(&host, work.path(), user.clone()).unwrap();
    if user != BuildUser::Caller {
        assert_eq!(matches!(sandbox.form(), Form::Dropped), !reachable, "the form is not the expected one");
    }
    Place { _dir: dir, host, work, sandbox }
}

impl Place {
    fn make(&self) -> Output {
        let command = Command::new("make").args(["-k", "all"]).timeout(Duration::from_secs(60));
        RealRunner.run(&self.sandbox.wrap(&command)).unwrap()
    }
}

fn each_form(makefile: &str, check: impl Fn(&Place, &Output)) {
    for reachable in [true, false] {
        let place = place(reachable, makefile);
        let output = place.make();
        check(&place, &output);
    }
}

/// Processes whose command line holds `word`.
fn processes_with(word: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(word) {
            found.push(line);
        }
    }
    found
}

/// Waits until no such process is left, for at most two seconds.
fn assert_gone(word: &str) {
    let until = Instant::now() + Duration::from_secs(2);
    while !processes_with(word).is_empty() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(processes_with(word), [""; 0]);
}

#[test]
fn a_makefile_cannot_write_outside_its_folder() {
    let canary = tempfile::tempdir().unwrap();
    std::fs::set_permissions(canary.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let precious = canary.path().join("precious");
    std::fs::write(&precious, "mine").unwrap();
    std::fs::set_permissions(&precious, PermissionsExt::from_mode(0o666)).unwrap();
    let there = precious.display();
    let makefile = format!(
        ".PHONY: all w1 w2 w3 w4 w5 w6\nall: w1 w2 w3 w4 w5 w6\n\
         w1:\n\techo pwned > {there}\n\
         w2:\n\techo pwned > /usr/hostwright-pwned\n\
         w3:\n\techo pwned > ../hostwright-pwned\n\
         w4:\n\tln -s {there} link; echo pwned > link\n\
         w5:\n\tln -s / top; echo pwned > top/etc/hostwright-pwned\n\
         w6:\n\trm -f {there}\n"
    );
    each_form(&makefile, |_, output| {
        for target in ["w1", "w2", "w3", "w4", "w5"] {
            assert!(output.stderr.contains(&format!("{target}] Error")), "{target} went well: {output:?}");
        }
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "mine");
        for path in ["/usr/hostwright-pwned", "/hostwright-pwned", "/etc/hostwright-pwned"] {
            assert!(!Path::new(path).exists(), "{path} was written");
        }
    });
}

#[test]
fn a_makefile_cannot_reach_a_service_of_this_machine() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let makefile = format!("all:\n\t@bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port} && echo connected'\n");
    each_form(&makefile, |_, output| {
        assert!(!output.success() && !output.stdout.contains("connected"), "{output:?}");
        assert!(output.stderr.contains("/dev/tcp/127.0.0.1"), "it was not even tried: {output:?}");
        assert!(listener.accept().is_err(), "somebody connected");
    });
}

#[test]
fn a_makefile_sees_no_secret_and_no_home() {
    let makefile = "all: a b c d\n\
         a:\n\tcat /etc/shadow\n\
         b:\n\tls -A /root /home\n\
         c:\n\tls -A /var /run /srv /mnt /sys\n\
         d:\n\tcat /etc/passwd\n";
    each_form(makefile, |_, output| {
        assert!(!output.stdout.contains("root:"), "{output:?}");
        for path in ["/etc/shadow", "/root", "/home", "/var", "/run", "/sys", "/etc/passwd"] {
            assert!(
                output.stderr.contains(&format!("{path}: No such file"))
                    || output.stderr.contains(&format!("'{path}': No such file")),
                "{path} is there: {output:?}"
            );
        }
    });
}

#[test]
fn a_daemon_does_not_outlive_the_build() {
    let makefile = "all:\n\tsetsid -f sh -c 'trap \"\" TERM HUP; sleep 98761' </dev/null >/dev/null 2>&1\n\
         \tsetsid -f sleep 98761 </dev/null >/dev/null 2>&1\n\techo started\n";
    each_form(makefile, |_, output| {
        assert!(output.success() && output.stdout.contains("started"), "{output:?}");
        assert_gone("sleep 98761");
    });
}

#[test]
fn a_cancelled_build_is_gone_at_once() {
    for reachable in [true, false] {
        let makefile = "all:\n\t@echo begun\n\tsh -c 'trap \"\" TERM INT HUP; sleep 98763; sleep 98763'\n";
        let place = place(reachable, makefile);
        let cancel = Cancel::new();
        let command = place.sandbox.wrap(&Command::new("make").arg("all"));
        let mut asked = None;
        let error = RealRunner
            .run_lines(&command, &cancel, &mut |line| {
                if line.text == "begun" {
                    cancel.cancel();
                    asked = Some(Instant::now());
                }
            })
            .unwrap_err();
        let took = asked.unwrap().elapsed();
        assert!(matches!(error, CommandError::Cancelled { .. }), "{error}");
        assert!(took < Duration::from_secs(1), "it took {took:?} to end");
        assert_gone("sleep 98763");
    }
}

#[test]
fn a_makefile_sees_and_ends_no_process_of_this_machine() {
    let mut victim = std::process::Command::new("sleep").arg("98764").spawn().unwrap();
    let makefile = format!("all:\n\tkill -9 {}\n", victim.id());
    each_form(&makefile, |place, output| {
        assert!(!output.success(), "{output:?}");
        let list = Command::new("sh").args(["-c", "ls /proc | grep -c '^[0-9]'"]);
        let seen = RealRunner.run(&place.sandbox.wrap(&list)).unwrap().stdout;
        assert!(seen.trim().parse::<u32>().unwrap() < 8, "{seen}");
    });
    assert!(victim.try_wait().unwrap().is_none(), "the process was ended");
    victim.kill().unwrap();
    victim.wait().unwrap();
}

#[test]
fn one_file_cannot_fill_the_disk_nor_can_tmp_fill_the_memory() {
    // Sparse, so that the test itself writes little.
    let makefile = "all: disk tmp\n\
         disk:\n\tdd if=/dev/zero of=big bs=1M seek=510 count=8\n\
         tmp:\n\t@df -B1 --output=size /tmp | tail -n 1; ulimit -c\n";
    each_form(makefile, |place, output| {
        assert!(!output.success() && output.stderr.contains("disk] "), "{output:?}");
        assert_eq!(std::fs::metadata(place.work.path().join("big")).unwrap().len(), 512 << 20);
        let lines: Vec<&str> = output.stdout.lines().map(str::trim).collect();
        let help = RealRunner.run(&Command::new("bwrap").arg("--help")).unwrap().stdout;
        if help.contains("--size") {
            assert!(lines.contains(&"1073741824"), "{output:?}");
        }
        assert_eq!(lines.last(), Some(&"0"), "core files are written");
    });
}

#[test]
fn a_fork_bomb_of_the_build_user_has_an_end() {
    if BuildUser::find() == BuildUser::Caller {
        // A caller's other programs count too: its own limits hold (see `Limits::processes`).
        return;
    }
    each_form("all:\n\t@bash -c 'ulimit -u'\n", |_, output| {
        assert_eq!(output.stdout, "4096\n", "{output:?}");
    });
}

#[test]
fn alternatives_and_libraries_are_found() {
    // Debian's `awk` and Fedora's `ld` are links over /etc/alternatives.
    each_form("all:\n\t@ls /etc/alternatives >/dev/null && cc --version && ld --version\n", |_, output| {
        assert!(output.success(), "{output:?}");
    });
}

#[test]
fn nothing_but_a_plain_file_is_taken_for_a_module() {
    let makefile = "all: link pipe device folder hard up\n\
         link:\n\tln -s /etc/shadow link.ko\n\
         pipe:\n\tmkfifo pipe.ko\n\
         device:\n\tmknod device.ko b 8 0\n\
         folder:\n\tmkdir folder.ko\n\
         hard:\n\techo x > first.ko; ln first.ko hard.ko\n\
         up:\n\tln -s ../../../../../../../.. up\n";
    each_form(makefile, |place, output| {
        assert!(output.stderr.contains("device] Error"), "a device was made: {output:?}");
        for (name, what) in [
            ("link.ko", "reached over a symbolic link"),
            ("up/etc/shadow", "reached over a symbolic link"),
            ("pipe.ko", "a pipe"),
            ("folder.ko", "a folder"),
            ("hard.ko", "a file with several names"),
            ("device.ko", "was not made"),
        ] {
            let error = place.work.take(name, 1 << 20).unwrap_err().to_string();
            assert!(error.contains(what), "{name}: {error}");
        }
    });
}

#[test]
fn set_user_id_programs_give_nothing() {
    each_form("all: a b\na:\n\t@su -c 'id -u' root\nb:\n\t@mount -t tmpfs none /build\n", |_, output| {
        assert!(output.stderr.contains("a] Error") && output.stderr.contains("b] Error"), "{output:?}");
        assert!(!output.stdout.lines().any(|l| l == "0"), "{output:?}");
    });
}

#[test]
fn a_kernel_tree_in_a_private_folder_can_be_built_against() {
    // Made under a folder that only its owner can enter, as a home folder is.
    let home = tempfile::tempdir().unwrap();
    let tree = home.path().join("linux");
    for dir in ["scripts", "include"] {
        std::fs::create_dir_all(tree.join(dir)).unwrap();
    }
    std::fs::write(tree.join("Makefile"), "seen:\n\t@echo the tree is seen\n").unwrap();
    std::fs::write(home.path().join("diary"), "private").unwrap();
    let Place { _dir, host, work: _work, sandbox } = place(true, "all:\n\ttrue\n");
    let tree = tree.display().to_string();
    let sandbox = sandbox.with_kernel(&host, &tree).unwrap();
    let run = |command: Command| RealRunner.run(&sandbox.wrap(&command)).unwrap();
    let output = run(Command::new("make").args(["-C", &tree, "seen"]));
    assert!(output.stdout.contains("the tree is seen"), "{:?} {output:?}", sandbox.form());
    let output = run(Command::new("ls").args(["-A".to_owned(), home.path().display().to_string()]));
    assert_eq!(output.stdout, "linux\n", "{output:?}");
    assert!(!run(Command::new("touch").arg(format!("{tree}/x"))).success(), "the tree can be written");
}
