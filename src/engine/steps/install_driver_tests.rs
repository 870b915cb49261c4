// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;
use crate::engine::RunState;
use crate::engine::steps::Step;
use crate::engine::testing::{Scene, same};
use crate::fetch::test::run_file;
use crate::host::fake::FakeRunner;
use crate::host::{HostKind, Output};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

const K: &str = "6.8.12-4-pve";
const V: &str = "535.230.02";
const FILE: &str = "/var/lib/hostwright/vgpu/driver.run";

/// A machine whose installer and uninstaller do this much.
fn scene(builds: bool) -> Scene {
    let dir: Arc<Mutex<PathBuf>> = Arc::default();
    let of = dir.clone();
    let runner = FakeRunner::new().answer(move |c| {
        let dir = of.lock().unwrap().clone();
        let put = |path: &str| {
            let path = dir.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        };
        match c.program.as_str() {
            "sh" => {
                assert!(c.args[0].contains("/var/lib/hostwright/runs/"), "{c:?}");
                put("usr/bin/nvidia-uninstall");
                put("var/log/nvidia-installer.log");
                put(&format!("usr/src/nvidia-{V}/nvidia.c"));
                put(&format!("var/lib/dkms/nvidia/{V}/{K}/log/make.log"));
                if builds {
                    put(&format!("lib/modules/{K}/updates/dkms/nvidia.ko"));
                }
            }
            "/usr/bin/nvidia-uninstall" => {
                std::fs::remove_file(dir.join("usr/bin/nvidia-uninstall")).unwrap();
            }
            "dkms" => {
                assert_eq!(c.args, ["remove", &format!("nvidia/{V}"), "--all"]);
                std::fs::remove_dir_all(dir.join("var/lib/dkms/nvidia")).unwrap();
                let _ = std::fs::remove_file(dir.join(format!("lib/modules/{K}/updates/dkms/nvidia.ko")));
            }
            "rmmod" => {}
            _ => return None,
        }
        Some(Output { code: Some(0), ..Output::default() })
    });
    let scene = Scene::new(HostKind::Machine, runner);
    *dir.lock().unwrap() = scene.path().to_owned();
    scene
        .put("/proc/sys/kernel/osrelease", format!("{K}\n"), 0o644)
        .put("/proc/modules", "", 0o444)
        .put("/usr/sbin/dkms", "", 0o755)
        .put("/usr/bin/x", "", 0o755)
        .put("/var/log/x", "", 0o644)
        .put("/var/lib/dkms/x", "", 0o644)
        .put("/lib/modules/x", "", 0o644)
        .put(&format!("/lib/modules/{K}/updates/dkms/other.ko"), "", 0o644)
        .put(FILE, run_file(V, "-vgpu-kvm"), 0o600);
    scene
}

fn step(version: &str) -> Step {
    Step::InstallDriver(InstallDriver {
        file: FILE.into(),
        sha256: hex::encode(Sha256::digest(run_file(V, "-vgpu-kvm"))),
        version: version.into(),
        arguments: vec!["--dkms".into(), "-m=kernel".into(), "-s".into()],
        patch: None,
        kernel: K.into(),
    })
}

/// All but sources, which [`Scene::tree`] leaves out.
fn sources(scene: &Scene) -> bool {
    scene.host.root().exists(&format!("/usr/src/nvidia-{V}"))
}

#[test]
fn a_driver_and_all_that_its_uninstaller_leaves_are_gone_after_undo() {
    let scene = scene(true);
    // The run makes these folders for its own.
    scene.put("/usr/src/keep", "", 0o644);
    let before = scene.tree();
    let report = scene.execute(vec![step(V)]).unwrap();
    assert!(report.is_verified(), "{report:?}");
    assert!(sources(&scene));
    assert_eq!(scene.undo(report.run).unwrap().state, RunState::Undone);
    same(&scene.tree(), &before);
    assert!(!sources(&scene));
}

#[test]
fn an_installer_that_succeeds_without_a_module_is_no_success() {
    let scene = scene(false);
    scene.put("/usr/src/keep", "", 0o644);
    let before = scene.tree();
    let report = scene.execute(vec![step(V)]).unwrap();
    assert_eq!(report.state, RunState::RolledBack, "{report:?}");
    assert!(report.message.contains("has the module nvidia"), "{}", report.message);
    same(&scene.tree(), &before);
}

#[test]
fn another_file_another_kernel_and_another_driver_are_refused_before_anything_runs() {
    let scene = scene(true);
    let said = |step: Step| scene.execute(vec![step]).unwrap().message;
    assert!(said(step("550.90.05")).contains("not the vGPU host driver 550.90.05"));
    scene.put(FILE, run_file(V, "-grid"), 0o600);
    assert!(said(step(V)).contains("is not the file of the plan"));
    scene.put(FILE, run_file(V, "-vgpu-kvm"), 0o600);
    scene.put("/proc/sys/kernel/osrelease", "6.5.13-6-pve\n", 0o644);
    assert!(said(step(V)).contains("start 6.8.12-4-pve first"));
    scene.put("/proc/sys/kernel/osrelease", format!("{K}\n"), 0o644);
    scene.put(UNINSTALLER, "", 0o755);
    assert!(said(step(V)).contains("another driver of NVIDIA's is installed"));
    assert!(scene.runner.calls().is_empty(), "{:?}", scene.runner.calls());
}

#[test]
fn a_driver_in_use_stops_undo() {
    let scene = scene(true);
    let run = scene.execute(vec![step(V)]).unwrap().run;
    scene.put("/proc/modules", "nvidia 16384 3 - Live 0x0\n", 0o444);
    let undone = scene.undo(run).unwrap();
    assert_eq!(undone.state, RunState::UndoStopped);
    assert!(undone.message.contains("the module nvidia is in use"), "{}", undone.message);
    assert!(scene.host.root().exists(UNINSTALLER));
}
