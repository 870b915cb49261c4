// SPDX-License-Identifier: GPL-3.0-or-later
//! The sandbox's argv as a pure function, and what holds inside when it really runs.

use super::*;
use crate::host::fake::{self, FakeRunner};
use crate::host::{Output, RealRunner, Runner, WorkFolder};
use std::sync::Arc;

fn failure(stderr: &str) -> Output {
    Output { code: Some(1), stderr: stderr.to_owned(), ..Output::default() }
}

/// A complete root, and a runner that lets bubblewrap make the forms for which `works` says so.
fn with_forms(
    version: &'static str,
    user: BuildUser,
    works: fn(&Command) -> bool,
) -> (tempfile::TempDir, Result<Sandbox, SandboxError>, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("usr/bin")).unwrap();
    std::os::unix::fs::symlink("usr/bin", dir.path().join("bin")).unwrap();
    let runner = Arc::new(FakeRunner::new().answer(move |c| {
        assert_eq!(c.program, "bwrap");
        if c.args == ["--version"] {
            return Some(Output { code: Some(0), stdout: version.to_owned(), ..Output::default() });
        }
        Some(if works(c) {
            Output { code: Some(0), ..Output::default() }
        } else {
            failure("bwrap: No permissions to create new namespace")
        })
    }));
    let host = fake::host(dir.path(), runner.clone(), HostKind::CompleteRoot).unwrap();
    let sandbox = Sandbox::new(&host, Path::new("/var/cache/work"), user);
    (dir, sandbox, runner.calls())
}

const OTHER: BuildUser = BuildUser::Other { uid: 990, gid: 991 };

#[test]
fn a_user_namespace_is_preferred_and_shut_tight() {
    let (dir, sandbox, _) = with_forms("bubblewrap 0.8.0\n", OTHER, |_| true);
    let sandbox = sandbox.unwrap();
    let wrapped = sandbox.wrap(&Command::new("make").arg("-j2").env("K", "v").cwd("/build/vmmon-only"));
    assert_eq!(wrapped.identity, Some((990, 991)));
    assert_eq!(wrapped.limits.processes, Some(PROCESSES));
    assert_eq!(wrapped.timeout, Some(WALL_TIME));
    let root = dir.path().canonicalize().unwrap();
    let expected = format!(
        "--unshare-ipc --unshare-pid --unshare-net --unshare-uts --unshare-cgroup-try --die-with-parent \
         --new-session --hostname build --cap-drop ALL --unshare-user --disable-userns --proc /proc \
         --dev /dev --perms 1777 --size 1073741824 --tmpfs /tmp --dir /etc --ro-bind {}/usr /usr \
         --symlink usr/bin /bin --bind /var/cache/work /build --remount-ro /dev --remount-ro / --chdir /build/vmmon-only --clearenv \
         --setenv PATH {} --setenv LC_ALL C.UTF-8 --setenv HOME /build --setenv TMPDIR /tmp --setenv K v \
         -- make -j2",
        root.display(),
        crate::host::command::PATH
    );
    assert_eq!(wrapped.args.join(" "), expected);
}

#[test]
fn where_user_namespaces_are_forbidden_root_uses_setpriv() {
    let (_dir, sandbox, calls) =
        with_forms("bubblewrap 0.8.0\n", OTHER, |c| !c.args.contains(&"--unshare-user".to_owned()));
    let sandbox = sandbox.unwrap();
    assert_eq!(sandbox.form(), Form::Dropped);
    assert_eq!(calls.len(), 4, "version, sealed, plain, dropped: {calls:#?}");
    let wrapped = sandbox.wrap(&Command::new("make"));
    assert_eq!(wrapped.identity, None, "bubblewrap itself is root here");
    let line = wrapped.args.join(" ");
    assert!(line.contains(
        "--cap-drop ALL --cap-add CAP_DAC_READ_SEARCH --cap-add CAP_SETUID --cap-add CAP_SETGID \
         --cap-add CAP_SETPCAP --proc"
    ));
    assert!(line.ends_with(
        "-- setpriv --reuid 990 --regid 991 --clear-groups --no-new-privs --bounding-set=-all \
         --inh-caps=-all --ambient-caps=-all -- make"
    ));
}

#[test]
fn where_nothing_works_a_user_is_told_what_to_allow() {
    let (_dir, sandbox, _) = with_forms("bubblewrap 0.8.0\n", BuildUser::Caller, |c| {
        !c.args.contains(&"--unshare-user".to_owned())
    });
    let error = sandbox.unwrap_err().to_string();
    assert!(error.contains("No permissions to create new namespace"), "{error}");
    assert!(error.contains("unprivileged_userns_clone"), "{error}");
}

#[test]
fn an_old_bubblewrap_gets_only_options_that_it_knows() {
    let (_dir, sandbox, _) = with_forms("bubblewrap 0.4.1\n", BuildUser::Caller, |_| true);
    let wrapped = sandbox.unwrap().wrap(&Command::new("make"));
    let line = wrapped.args.join(" ");
    for newer in ["--perms", "--size", "--disable-userns"] {
        assert!(!line.contains(newer), "{newer} in {line}");
    }
    assert!(line.contains("--setenv TMPDIR /build"), "{line}");
    assert_eq!(wrapped.limits.processes, None, "a caller's other programs count too");
}

#[test]
fn a_missing_bubblewrap_is_named_with_its_package() {
    let dir = tempfile::tempdir().unwrap();
    let host = fake::host(dir.path(), Arc::new(FakeRunner::new()), HostKind::CompleteRoot).unwrap();
    let error = Sandbox::new(&host, Path::new("/w"), BuildUser::Caller).unwrap_err();
    assert!(matches!(error, SandboxError::Missing));
    assert!(error.to_string().contains("install the package `bubblewrap`"));
}

#[test]
fn versions_are_read() {
    assert_eq!(parse_version("bubblewrap 0.8.0\n"), (0, 8));
    assert_eq!(parse_version("bubblewrap 0.11"), (0, 11));
    assert_eq!(parse_version("something else"), (0, 0));
}

fn real(form: Option<Form>) -> (tempfile::TempDir, WorkFolder, Sandbox) {
    let dir = tempfile::tempdir().unwrap();
    // Everybody may pass through, so that the build user reaches its folder.
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    let scratch = Host::scratch(dir.path()).unwrap();
    let work = WorkFolder::create(&scratch, &BuildUser::find()).unwrap();
    work.hand_over().unwrap();
    let mut sandbox = Sandbox::new(&Host::machine().unwrap(), work.path(), BuildUser::find()).unwrap();
    if let Some(form) = form {
        sandbox.form = form;
    }
    (dir, work, sandbox)
}

fn sh(sandbox: &Sandbox, script: &str) -> Output {
    RealRunner.run(&sandbox.wrap(&Command::new("sh").args(["-c", script]))).unwrap()
}

/// Both forms where we are root, else the one that a user has.
fn forms() -> Vec<Option<Form>> {
    if BuildUser::find() == BuildUser::Caller { vec![None] } else { vec![None, Some(Form::Dropped)] }
}

#[test]
fn only_the_work_folder_and_tmp_can_be_written() {
    for form in forms() {
        let (_dir, work, sandbox) = real(form);
        let out = sh(
            &sandbox,
            "echo ok > /build/made && echo ok > /tmp/made; for d in / /usr /etc /lib /bin /dev /proc/sys/kernel; \
             do touch $d/x 2>/dev/null && echo wrote $d; done; true",
        );
        assert!(out.success() && out.stdout.is_empty(), "{form:?} {out:?}");
        assert_eq!(work.take("made", 10).unwrap(), b"ok\n");
        assert!(
            !Path::new("/usr/x").exists() && !Path::new("/x").exists() && !Path::new("/tmp/made").exists()
        );
    }
}

#[test]
fn nobody_inside_is_root_nor_can_become_it() {
    for form in forms() {
        let (_dir, _work, sandbox) = real(form);
        let out = sh(&sandbox, "id -u; id -G; grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status");
        assert_ne!(out.stdout.lines().next(), Some("0"), "{form:?} {out:?}");
        for line in ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"] {
            assert!(out.stdout.contains(line), "{form:?} {out:?}");
        }
    }
}
