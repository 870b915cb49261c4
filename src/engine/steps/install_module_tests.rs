// SPDX-License-Identifier: GPL-3.0-or-later
//! Modules that are really built, signed by the kernel's own sign-file, installed and taken back.

use super::*;
use crate::engine::RunState;
use crate::engine::build;
use crate::engine::build::testkit::{install, kernel, scene, step};
use crate::engine::steps::{CreateSigningKey, Step};
use crate::engine::testing::Scene;
use crate::host::{Command, RealRunner, Runner};
use std::sync::LazyLock;

const KEY: &str = "/var/lib/hostwright/keys/hostwright.key";
const CERTIFICATE: &str = "/var/lib/hostwright/keys/hostwright.der";
const SIGN_FILE: &str = "/usr/lib/hostwright-test/sign-file";

fn create_key() -> Step {
    Step::CreateSigningKey(CreateSigningKey {
        key: KEY.to_owned(),
        certificate: CERTIFICATE.to_owned(),
        common_name: "Hostwright test key".to_owned(),
    })
}

fn installs(compression: Compression, signed: bool) -> InstallModule {
    let (kernel, _) = kernel();
    InstallModule {
        to: format!("/lib/modules/{kernel}/updates/dkms/vmmon{}", compression.suffix()),
        kernel,
        module: "vmmon".to_owned(),
        compression,
        sign: signed.then(|| SignWith {
            key: KEY.to_owned(),
            certificate: CERTIFICATE.to_owned(),
            hash: "sha256".to_owned(),
            sign_file: SIGN_FILE.to_owned(),
        }),
    }
}

/// The files of one real build in the cache, so that not every test compiles the same again.
static BUILT: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| {
    let scene = scene();
    install(&scene, "vmmon", &[]);
    let step = step(&scene, &["vmmon"]);
    let folder = format!("{}/{}", build::CACHE, build::key(&step));
    assert_eq!(scene.execute(vec![Step::BuildModules(step)]).unwrap().state, RunState::Done);
    let entries = scene.host.root().list(&folder).unwrap();
    let paths = entries.into_iter().map(|e| format!("{folder}/{}", e.name));
    paths.map(|p| (p.clone(), scene.host.root().read(&p).unwrap())).collect()
});

/// A scratch machine with sources of vmmon and the real sign-file of this machine's kernel.
fn ready() -> Scene {
    let scene = scene();
    install(&scene, "vmmon", &[]);
    for (path, bytes) in BUILT.iter() {
        scene.put(path, bytes, 0o644);
    }
    let (release, _) = kernel();
    let real = std::fs::read(format!("/lib/modules/{release}/build/scripts/sign-file"));
    scene.put(SIGN_FILE, real.expect("no sign-file: run `make deps`"), 0o755);
    scene
}

fn steps(scene: &Scene, module: &InstallModule) -> Vec<Step> {
    vec![create_key(), Step::BuildModules(step(scene, &["vmmon"])), Step::InstallModule(module.clone())]
}

/// Unpacks by the program that goes with the compression: what we make is what others read.
fn unpacked(path: &std::path::Path, compression: Compression) -> tempfile::NamedTempFile {
    let program = match compression {
        Compression::None => "cat",
        Compression::Gzip => "zcat",
        Compression::Xz => "xzcat",
        Compression::Zstd => "zstdcat",
    };
    let file = tempfile::Builder::new().suffix(".ko").tempfile().unwrap();
    let to = file.reopen().unwrap();
    assert!(
        std::process::Command::new(program).arg(path).stdout(to).status().unwrap().success(),
        "{program}"
    );
    file
}

fn modinfo_tool(path: &std::path::Path, field: &str) -> String {
    let output = RealRunner
        .run(&Command::new("modinfo").args(["-F".to_owned(), field.to_owned(), path.display().to_string()]))
        .unwrap();
    output.stdout.trim().to_owned()
}

#[test]
fn a_signed_module_is_installed_in_each_compression_and_the_old_one_comes_back() {
    let scene = ready();
    for compression in [Compression::None, Compression::Gzip, Compression::Xz, Compression::Zstd] {
        let module = installs(compression, true);
        scene.put(&module.to, "the module that was there", 0o640);
        let before = scene.tree();
        let report = scene.execute(steps(&scene, &module)).unwrap();
        assert_eq!(report.state, RunState::Done, "{report:?}");
        assert!(report.is_verified(), "{report:?}");
        let root = scene.host.root();
        let FileState::File { mode, uid, .. } = root.state(&module.to).unwrap() else { panic!("no file") };
        assert_eq!((mode, uid), (0o644, nix::unistd::geteuid().as_raw()));
        // The distribution's own reader agrees.
        let file = unpacked(&root.outside(&module.to), compression);
        let path = file.path().to_owned();
        assert_eq!(modinfo_tool(&path, "signer"), "Hostwright test key", "{compression:?}");
        assert_eq!(modinfo_tool(&path, "sig_hashalgo"), "sha256");
        assert_eq!(modinfo_tool(&path, "name"), "vmmon");
        scene.undo(report.run).unwrap();
        crate::engine::testing::same(&scene.tree(), &before);
    }
}

#[test]
fn an_unsigned_module_goes_into_a_new_folder_that_is_gone_after_undo() {
    let scene = ready();
    let module = installs(Compression::None, false);
    let steps = vec![Step::BuildModules(step(&scene, &["vmmon"])), Step::InstallModule(module.clone())];
    let report = scene.there_and_back(steps);
    assert_eq!(report.checks.len(), 2, "{report:?}");
    assert!(!scene.host.root().exists("/var/lib/hostwright/keys"));
}

#[test]
fn installing_the_same_again_changes_nothing() {
    let scene = ready();
    let module = installs(Compression::Xz, true);
    let first = scene.execute(steps(&scene, &module)).unwrap();
    assert_eq!(first.state, RunState::Done, "{first:?}");
    let before = scene.tree();
    let second = scene.execute(steps(&scene, &module)).unwrap();
    assert_eq!(second.state, RunState::Done, "{second:?}");
    crate::engine::testing::same(&scene.tree(), &before);
    let unchanged = scene.events.lock().unwrap().iter().rev().find_map(|e| match e {
        crate::engine::Event::StepDone { step: 2, unchanged } => Some(*unchanged),
        _ => None,
    });
    assert_eq!(unchanged, Some(true));
}

#[test]
fn a_signing_program_that_does_not_do_its_work_installs_nothing() {
    let scene = ready();
    let module = installs(Compression::None, true);
    for (script, said) in [
        ("#!/bin/sh\nexit 0\n", "it has none"),
        ("#!/bin/sh\nexit 3\n", "failed with exit status 3"),
        ("#!/bin/sh\nprintf x >> \"$4\"\nexit 0\n", "it has none"),
    ] {
        scene.put(SIGN_FILE, script, 0o755);
        let report = scene.execute(steps(&scene, &module)).unwrap();
        assert_eq!(report.state, RunState::RolledBack, "{report:?}");
        assert!(report.message.contains(said), "{said}: {}", report.message);
        assert!(!scene.host.root().exists(&module.to));
    }
}

#[test]
fn a_module_signed_by_another_key_is_not_taken_for_ours() {
    let scene = ready();
    let module = installs(Compression::None, true);
    // Signs with a key of its own, whatever key it is given.
    let (release, _) = kernel();
    let real = format!("/lib/modules/{release}/build/scripts/sign-file");
    let path = |name: &str| scene.path().join(name).display().to_string();
    let make = Command::new("openssl")
        .args(["req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-batch", "-subj", "/CN=other"])
        .args(["-keyout", &path("other.key"), "-out", &path("other.pem")]);
    RealRunner.run_ok(&make).unwrap();
    let script =
        format!("#!/bin/sh\nexec {real} \"$1\" {} {} \"$4\"\n", path("other.key"), path("other.pem"));
    scene.put(SIGN_FILE, script, 0o755);
    let report = scene.execute(steps(&scene, &module)).unwrap();
    assert_eq!(report.state, RunState::RolledBack, "{report:?}");
    assert!(report.message.contains("its signature does not hold"), "{}", report.message);
}

#[test]
fn a_place_outside_of_the_kernel_s_module_folder_is_refused() {
    let scene = ready();
    let good = installs(Compression::None, false);
    for to in [
        "/etc/vmmon.ko".to_owned(),
        "/lib/modules/9.9.9/updates/vmmon.ko".to_owned(),
        good.to.replace("vmmon.ko", "vmnet.ko"),
        good.to.replace(".ko", ".ko.xz"),
    ] {
        let module = InstallModule { to: to.clone(), ..good.clone() };
        assert!(module.require_place().is_err(), "{to}");
    }
    assert!(good.require_place().is_ok());
    let report = scene.execute(vec![Step::InstallModule(good)]).unwrap();
    assert!(report.message.contains("was not built"), "{}", report.message);
}

#[test]
fn a_folder_in_the_place_of_the_module_is_left_alone() {
    let scene = ready();
    let module = installs(Compression::None, false);
    scene.put(&format!("{}/inside", module.to), "x", 0o644);
    let before = scene.tree();
    let steps = vec![Step::BuildModules(step(&scene, &["vmmon"])), Step::InstallModule(module)];
    let report = scene.execute(steps).unwrap();
    assert_eq!(report.state, RunState::RolledBack, "{report:?}");
    assert!(report.message.contains("is a directory, where a file should go"), "{}", report.message);
    crate::engine::testing::same(&scene.tree(), &before);
}
