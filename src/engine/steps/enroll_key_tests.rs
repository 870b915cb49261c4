// SPDX-License-Identifier: GPL-3.0-or-later
//! Enrolling with the real mokutil on a folder of firmware variables, and with a scripted one where the
//! real one cannot go.

use super::*;
use crate::engine::RunState;
use crate::engine::report::Secret;
use crate::engine::steps::{CreateSigningKey, Step};
use crate::engine::testing::Scene;
use crate::host::fake::{FakeRunner, StillClock};
use crate::host::{Cancel, HostKind, Line, Output, RealRunner, Root, Runner};
use std::sync::{Arc, Mutex};

const CERTIFICATE: &str = "/var/lib/hostwright/keys/hostwright.der";

fn enroll() -> Step {
    Step::EnrollKey(EnrollKey { certificate: CERTIFICATE.to_owned() })
}

fn create() -> Step {
    Step::CreateSigningKey(CreateSigningKey {
        key: "/var/lib/hostwright/keys/hostwright.key".to_owned(),
        certificate: CERTIFICATE.to_owned(),
        common_name: "test".to_owned(),
    })
}

/// Starts real programs; mokutil with a folder in place of the firmware's variables (libefivar reads
/// where they are from `EFIVARFS_PATH`).
struct WithFirmware {
    efivars: String,
    seen: Mutex<Vec<String>>,
}

impl Runner for WithFirmware {
    fn run_lines(
        &self,
        command: &Command,
        cancel: &Cancel,
        on_line: &mut dyn FnMut(&Line),
    ) -> Result<Output, CommandError> {
        self.seen.lock().unwrap().push(command.display());
        let mut command = command.clone();
        if command.program == "mokutil" {
            command = command.env("EFIVARFS_PATH", &self.efivars);
        }
        RealRunner.run_lines(&command, cancel, on_line)
    }
}

/// A machine that was started by shim, and has the real mokutil (`make deps` installs it).
fn machine() -> (Scene, Arc<WithFirmware>) {
    let mut scene = Scene::new(HostKind::Machine, FakeRunner::new());
    // Attributes, then the value (Documentation/filesystems/efivarfs.rst).
    let variable = |value: u8| [6, 0, 0, 0, value];
    for (name, value) in [
        ("SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", 1),
        ("SetupMode-8be4df61-93ca-11d2-aa0d-00e098032b8c", 0),
        (SHIM[1], 0),
    ] {
        scene.put(&format!("{EFIVARS}/{name}"), variable(value), 0o644);
    }
    let runner = Arc::new(WithFirmware {
        efivars: format!("{}/", scene.host.root().outside(EFIVARS).display()),
        seen: Mutex::default(),
    });
    let root = Root::open(scene.path()).unwrap();
    let clock = Arc::new(StillClock(scene.host.clock().now()));
    scene.host = Host::from_parts(root, runner.clone(), clock, HostKind::Machine);
    scene.inputs.mok_password = Some(Secret::new("brief hello fox"));
    (scene, runner)
}

fn has_variable(scene: &Scene, name: &str) -> bool {
    scene.host.root().exists(&format!("{EFIVARS}/{name}-605dab50-e046-4300-abb6-3dd810dd8b23"))
}

#[test]
fn the_real_mokutil_takes_the_request_and_takes_it_back() {
    let (scene, runner) = machine();
    let report = scene.execute(vec![create(), enroll()]).unwrap();
    assert_eq!(report.state, RunState::Done, "{report:?}");
    assert!(report.is_verified(), "{report:?}");
    assert!(report.message.contains("blue screen"), "{}", report.message);
    assert!(has_variable(&scene, "MokNew") && has_variable(&scene, "MokAuth"));
    let said = format!("{:?}{:?}", scene.events.lock().unwrap(), runner.seen.lock().unwrap());
    assert!(!said.contains("brief hello"), "the password is in an event or an argument");
    let kept = RealRunner
        .run(&Command::new("grep").args(["-rl", "brief hello", &scene.path().display().to_string()]))
        .unwrap();
    assert_eq!(kept.stdout, "", "the password is in a file");

    let again = scene.execute(vec![enroll()]).unwrap();
    assert_eq!(again.state, RunState::Done, "{again:?}");
    assert!(again.message.contains("waits to be enrolled since an earlier time"), "{}", again.message);
    assert!(scene.undo(again.run).is_err(), "there is something to take back");

    let undone = scene.undo(report.run).unwrap();
    assert_eq!(undone.state, RunState::Undone, "{undone:?}");
    assert!(!has_variable(&scene, "MokNew") && !has_variable(&scene, "MokAuth"));
    assert!(
        !scene.host.root().exists("/var/lib/hostwright/keys"),
        "the key was not known to anybody any more"
    );
}

#[test]
fn keys_that_others_wait_to_enrol_are_not_taken_back_with_ours() {
    let (scene, runner) = machine();
    // Another program's key is queued already.
    let other = scene.path().join("other.der").display().to_string();
    let key = scene.path().join("other.key").display().to_string();
    let make = Command::new("openssl")
        .args(["req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-batch", "-subj", "/CN=other"])
        .args(["-keyout", &key, "-outform", "DER", "-out", &other]);
    RealRunner.run_ok(&make).unwrap();
    runner
        .run_ok(&Command::new("mokutil").args(["--import", &other]).stdin("long word\nlong word\n"))
        .unwrap();

    let report = scene.execute(vec![create(), enroll()]).unwrap();
    assert_eq!(report.state, RunState::Done, "{report:?}");
    let undone = scene.undo(report.run).unwrap();
    assert!(undone.message.contains("other keys wait in the same request"), "{}", undone.message);
    assert!(has_variable(&scene, "MokNew"), "the other key's request was lost");
    assert!(scene.host.root().exists(CERTIFICATE), "a key that is still queued was removed");
}

#[test]
fn a_password_is_needed_and_checked_before_anything_is_done() {
    let (mut scene, _) = machine();
    scene.execute(vec![create()]).unwrap();
    for (password, said) in [
        (None, "needs a one-time password"),
        (Some("short"), "has 5 characters"),
        (Some("pässwörter"), "cannot be typed"),
    ] {
        scene.inputs.mok_password = password.map(Secret::new);
        let report = scene.execute(vec![enroll()]).unwrap();
        assert_ne!(report.state, RunState::Done);
        assert!(report.message.contains(said), "{}", report.message);
        assert!(!has_variable(&scene, "MokNew"));
    }
}

#[test]
fn machines_without_efi_or_shim_are_refused_with_what_to_do_instead() {
    let (scene, _) = machine();
    scene.execute(vec![create()]).unwrap();
    let refused = |scene: &Scene, said: &str| {
        let report = scene.execute(vec![enroll()]).unwrap();
        assert_ne!(report.state, RunState::Done);
        assert!(report.message.contains(said), "{}", report.message);
    };
    scene.host.root().remove_file(&format!("{EFIVARS}/{}", SHIM[1])).unwrap();
    refused(&scene, "not started by shim");
    std::fs::remove_dir_all(scene.host.root().outside("/sys/firmware/efi")).unwrap();
    refused(&scene, "not started by EFI");
    let root = Scene::real();
    refused(&root, "this is a directory");
}

#[test]
fn a_mokutil_that_fails_or_says_something_new_is_no_success() {
    let answers = |test: &'static str, import: Option<i32>| {
        let runner = FakeRunner::new().answer(move |c| {
            let code = if c.args[0] == "--import" { import } else { Some(0) };
            Some(Output { code, stdout: test.to_owned(), ..Output::default() })
        });
        let mut scene = Scene::new(HostKind::Machine, runner);
        scene.put(&format!("{EFIVARS}/{}", SHIM[0]), "x", 0o644).put(CERTIFICATE, "der", 0o644);
        scene.inputs.mok_password = Some(Secret::new("brief hello fox"));
        scene.execute(vec![enroll()]).unwrap()
    };
    let failed = answers("hostwright.der is not enrolled", Some(255));
    assert_eq!(failed.state, RunState::RolledBack, "{failed:?}");
    assert!(failed.message.contains("mokutil --import"), "{}", failed.message);
    let odd = answers("something new", Some(0));
    assert_ne!(odd.state, RunState::Done);
    assert!(odd.message.contains("cannot say whether"), "{}", odd.message);
    let lost = answers("hostwright.der is not enrolled", Some(0));
    assert_ne!(lost.state, RunState::Done, "a request that mokutil did not keep counts as done: {lost:?}");
    let missing = {
        let scene = Scene::new(HostKind::Machine, FakeRunner::new());
        scene.put(&format!("{EFIVARS}/{}", SHIM[0]), "x", 0o644).put(CERTIFICATE, "der", 0o644);
        scene.execute(vec![enroll()]).unwrap()
    };
    assert!(missing.message.contains("install the package `mokutil`"), "{}", missing.message);
}

#[test]
fn what_mokutil_says_is_understood() {
    for (said, standing) in [
        ("/k.der is already enrolled", Some(Standing::Enrolled)),
        ("/k.der is already in the enrollment request", Some(Standing::Pending)),
        ("/k.der is not enrolled", Some(Standing::Unknown)),
        ("already in kernel trusted keyring. skip /k.der", Some(Standing::Enrolled)),
        ("EFI variables are not supported on this system", None),
        ("", None),
    ] {
        assert_eq!(parse_standing(said), standing, "{said}");
    }
    assert_eq!(count_pending("[key 1]\nSHA1 Fingerprint: x\n[key 2]\nSHA1\n"), 2);
}
