// SPDX-License-Identifier: GPL-3.0-or-later
//! Modules in a real virtual machine: sound ones pass, and ones that are broken on purpose fail with the lines
//! that show why. Emulated, a few seconds each.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail the test")]

use hostwright::engine::{Event, Inputs, Wanted, rehearse, try_all};
use hostwright::flows::vmware;
use hostwright::guest::rehearsal::Verdict;
use hostwright::host::{Cancel, Host};
use sha2::Digest;
use std::path::Path;
use std::process::Command;

/// A kernel of this machine with headers and a boot image; `make deps` installs one.
fn kernel() -> String {
    let all = std::fs::read_dir("/lib/modules").expect("no /lib/modules; run `make deps`");
    all.map(|e| e.unwrap().file_name().into_string().unwrap())
        .find(|k| {
            Path::new(&format!("/lib/modules/{k}/build/Module.symvers")).exists()
                && Path::new(&format!("/boot/vmlinuz-{k}")).exists()
        })
        .expect("no kernel with headers and a boot image is installed; run `make deps`")
}

/// `broken.c`, broken in this way (see there), as a module of this name.
fn module(kernel: &str, name: &str, way: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rehearsal/broken.c");
    std::fs::copy(source, dir.path().join(format!("{name}.c"))).unwrap();
    std::fs::write(dir.path().join("Kbuild"), format!("obj-m := {name}.o\nccflags-y := -DBREAK={way}\n"))
        .unwrap();
    let output = Command::new("make")
        .arg("-C")
        .arg(format!("/lib/modules/{kernel}/build"))
        .arg(format!("M={}", dir.path().display()))
        // A symbol that nobody has is a mistake for modpost too; here it is wanted.
        .args(["KBUILD_MODPOST_WARN=1", "modules"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(dir.path().join(format!("{name}.ko"))).unwrap()
}

fn tried(kernel: &str, modules: &[(String, Vec<u8>)], cancel: &Cancel) -> Result<Verdict, String> {
    let host = Host::machine().unwrap();
    let (scratch, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let image = format!("/boot/vmlinuz-{kernel}");
    let wanted = Wanted { kernel, image: &image, modules };
    rehearse(&host, &wanted, scratch.path(), cache.path(), cancel, &mut |_| {}).map_err(|e| e.to_string())
}

fn failed(way: &str) -> (String, String) {
    let kernel = kernel();
    let modules = [("broken".to_owned(), module(&kernel, "broken", way))];
    match tried(&kernel, &modules, &Cancel::new()).unwrap() {
        Verdict::Failed { why, lines } => (why, lines.join("\n")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_sound_module_passes() {
    let kernel = kernel();
    let modules = [("sound".to_owned(), module(&kernel, "sound", "NOTHING"))];
    match tried(&kernel, &modules, &Cancel::new()).unwrap() {
        Verdict::Passed { tried, .. } => {
            assert!(tried.iter().any(|t| t.starts_with("insert sound: ")), "{tried:?}");
            assert!(tried.contains(&"remove sound".to_owned()), "{tried:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_oops_at_the_start_fails_with_the_kernels_lines() {
    let (why, lines) = failed("OOPS");
    assert!(why.contains("insert broken") && why.contains("NULL pointer dereference"), "{why}");
    assert!(lines.contains("RIP: 0010:broken_init"), "{lines}");
}

#[test]
fn a_symbol_that_no_kernel_has_fails_with_its_name() {
    let (why, _) = failed("UNKNOWN");
    assert!(why.contains("Unknown symbol hostwright_no_such_function"), "{why}");
}

#[test]
fn a_warning_fails_although_the_module_works() {
    let (why, lines) = failed("WARNING");
    assert!(why.starts_with("the kernel complained: WARNING:"), "{why}");
    assert!(lines.contains("[ cut here ]") && lines.contains("broken on purpose"), "{lines}");
}

#[test]
fn an_oops_at_the_end_fails_too() {
    let (why, lines) = failed("LATE");
    assert!(why.contains("remove broken") && why.contains("NULL pointer dereference"), "{why}");
    assert!(lines.contains("RIP: 0010:broken_exit"), "{lines}");
}

#[test]
fn a_panic_fails_with_the_console() {
    let (why, lines) = failed("PANICS");
    assert!(
        why.contains("insert broken") && why.contains("Kernel panic - not syncing: broken on purpose"),
        "{why}"
    );
    assert!(lines.contains("Kernel panic"), "{lines}");
}

#[test]
fn a_wish_to_stop_ends_the_machine() {
    let kernel = kernel();
    let modules = [("broken".to_owned(), module(&kernel, "broken", "HANGS"))];
    let cancel = Cancel::new();
    let soon = cancel.clone();
    let waiting = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_secs(4));
        soon.cancel();
    });
    let began = std::time::Instant::now();
    let said = tried(&kernel, &modules, &cancel).unwrap_err();
    waiting.join().unwrap();
    assert!(said.contains("cancelled"), "{said}");
    assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
}

#[test]
fn kernels_are_built_for_together_and_one_that_cannot_be_does_not_stop_the_others() {
    let kernel = kernel();
    let practice = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/practice");
    let packed = Command::new("tar").arg("-C").arg(practice).args(["-c", "."]).output().unwrap();
    assert!(packed.status.success());
    let sha256 = hex::encode(sha2::Sha256::digest(&packed.stdout));
    let choices = vmware::Choices::from_json(&serde_json::json!({
        "kernels": { "releases": [kernel] },
        "source": { "sealed": { "sha256": sha256, "name": "practice.tar" } },
    }))
    .unwrap();
    let mut inputs = Inputs::default();
    inputs.sealed.insert(sha256, packed.stdout);
    let (host, cancel) = (Host::machine().unwrap(), Cancel::new());
    let wanted = vmware::rehearsals(&host, &choices, &inputs, &cancel, &mut |_: Event| {}).unwrap();
    let [good] = wanted.as_slice() else { panic!("{wanted:?}") };
    let mut broken = good.clone();
    broken.0.build_dir = "/lib/modules/none/build".to_owned();
    let (scratch, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut told = Vec::new();
    let mut sink = |event: Event| match event {
        Event::Step { step, .. } => told.push((step, "begins")),
        Event::StepDone { step, .. } => told.push((step, "done")),
        Event::StepFailed { step, .. } => told.push((step, "failed")),
        _ => {}
    };
    let pairs = [broken, good.clone()];
    let tried = try_all(&host, &pairs, &inputs, scratch.path(), cache.path(), &cancel, &mut sink);
    assert!(tried[0].is_err(), "{tried:?}");
    assert!(tried[1].as_ref().is_ok_and(Verdict::passed), "{tried:?}");
    // The trial of the first one is left out; the builds are told before any trial.
    assert_eq!(told.iter().filter(|(step, _)| *step == 2).count(), 0, "{told:?}");
    assert!(told.contains(&(0, "failed")) && told.contains(&(1, "done")), "{told:?}");
    assert_eq!(told[told.len() - 2..], [(3, "begins"), (3, "done")], "{told:?}");

    cancel.cancel();
    let tried = try_all(&host, &pairs, &inputs, scratch.path(), cache.path(), &cancel, &mut |_: Event| {});
    assert!(tried.iter().all(Result::is_err), "{tried:?}");
}
