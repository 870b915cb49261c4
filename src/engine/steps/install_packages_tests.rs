// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;
use crate::engine::RunState;
use crate::engine::steps::Step;
use crate::engine::testing::Scene;
use crate::host::fake::FakeRunner;
use crate::host::{HostKind, Output};
use std::sync::{Arc, Mutex};

/// A dpkg of a test's own: name → (version, automatic).
#[derive(Clone, Default)]
struct FakeApt(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    there: BTreeMap<String, (String, bool)>,
    /// What comes with a package.
    needs: BTreeMap<String, Vec<String>>,
    /// What removing a package takes along.
    needed_by: BTreeMap<String, String>,
    also_removes: Option<String>,
    fails: bool,
}

fn ok(stdout: String) -> Output {
    Output { code: Some(0), stdout, ..Output::default() }
}

impl FakeApt {
    fn scene(there: &[&str]) -> (Scene, Self) {
        let apt = Self::default();
        for name in there {
            apt.0.lock().unwrap().there.insert((*name).into(), ("1".into(), true));
        }
        let of = apt.clone();
        let runner = FakeRunner::new().answer(move |c| of.answer(c));
        let scene = Scene::new(HostKind::Machine, runner);
        scene.put("/proc/sys/kernel/osrelease", "6.1.0-test\n", 0o644);
        scene.put("/usr/bin/dpkg", "", 0o755);
        (scene, apt)
    }

    fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().there.keys().cloned().collect()
    }

    fn answer(&self, c: &Command) -> Option<Output> {
        let mut state = self.0.lock().unwrap();
        let after: Vec<String> = c
            .args
            .iter()
            .skip_while(|a| *a != "--")
            .skip(1)
            .map(|p| p.split('=').next().unwrap().to_owned())
            .collect();
        match (c.program.as_str(), c.args[0].as_str()) {
            ("dpkg-query", "-S") if state.there.contains_key("kernel") => {
                Some(ok("kernel: /boot/vmlinuz-6.1.0-test\n".into()))
            }
            ("dpkg-query", "-S") => Some(Output { code: Some(1), ..Output::default() }),
            ("dpkg-query", _) if c.args[1].contains("Depends") => Some(ok("kernel\tfirmware, \n".into())),
            ("dpkg-query", _) => {
                Some(ok(state.there.iter().map(|(n, (v, _))| format!("ii \t{n}\t{v}\n")).collect()))
            }
            ("apt-mark", "showauto") => {
                let auto = state.there.iter().filter(|(_, (_, auto))| *auto);
                Some(ok(auto.map(|(n, _)| format!("{n}\n")).collect()))
            }
            ("apt-mark", "auto") => {
                for name in &c.args[1..] {
                    state.there.get_mut(name).unwrap().1 = true;
                }
                Some(ok(String::new()))
            }
            ("apt-get", _) => {
                let simulated = c.args.iter().any(|a| a == "-s");
                let remove = c.args.iter().any(|a| a == "purge" || a == "remove");
                let mut said = String::new();
                if remove {
                    let mut gone = after.clone();
                    gone.extend(after.iter().filter_map(|p| state.needed_by.get(p).cloned()));
                    for name in gone {
                        said.push_str(&format!("Purg {name} [1]\n"));
                        if !simulated {
                            state.there.remove(&name);
                        }
                    }
                    return Some(ok(said));
                }
                if let Some(other) = &state.also_removes {
                    said.push_str(&format!("Remv {other} [1]\n"));
                }
                let needed: Vec<String> =
                    after.iter().filter_map(|p| state.needs.get(p)).flatten().cloned().collect();
                for (name, auto) in
                    after.into_iter().map(|n| (n, false)).chain(needed.into_iter().map(|n| (n, true)))
                {
                    if state.there.contains_key(&name) {
                        if !simulated && !auto {
                            state.there.get_mut(&name).unwrap().1 = false;
                        }
                        continue;
                    }
                    said.push_str(&format!("Inst {name} (1 Debian:12/stable [amd64])\n"));
                    if !simulated {
                        state.there.insert(name, ("1".into(), auto));
                        if state.fails {
                            return Some(Output {
                                code: Some(100),
                                stderr: "E: broke".into(),
                                ..Output::default()
                            });
                        }
                    }
                }
                Some(ok(said))
            }
            _ => None,
        }
    }
}

fn install(names: &[&str], expected: Option<&[&str]>) -> Step {
    let change = |n: &&str| PackageChange { name: (*n).into(), version: "1".into(), from: None };
    Step::InstallPackages(InstallPackages {
        manager: PackageManager::Apt,
        packages: names.iter().map(|n| (*n).to_owned()).collect(),
        expected: expected.map(|e| e.iter().map(change).collect()),
        reason: String::new(),
    })
}

fn dkms(apt: &FakeApt) {
    apt.0.lock().unwrap().needs.insert("dkms".into(), vec!["make".into(), "gcc".into()]);
}

#[test]
fn what_is_new_goes_and_what_was_there_stays_with_its_mark() {
    let (scene, apt) = FakeApt::scene(&["gcc", "mdevctl"]);
    dkms(&apt);
    let report = scene.execute(vec![install(&["dkms", "mdevctl"], Some(&["dkms", "make"]))]).unwrap();
    assert!(report.is_verified(), "{report:?}");
    assert_eq!(apt.names(), ["dkms", "gcc", "make", "mdevctl"]);
    assert!(!apt.0.lock().unwrap().there["mdevctl"].1);
    assert_eq!(scene.undo(report.run).unwrap().state, RunState::Undone);
    assert_eq!(apt.names(), ["gcc", "mdevctl"]);
    assert!(apt.0.lock().unwrap().there["mdevctl"].1, "marked as automatic again");
}

#[test]
fn another_simulation_than_the_plans_is_refused() {
    let (scene, apt) = FakeApt::scene(&[]);
    dkms(&apt);
    let report = scene.execute(vec![install(&["dkms"], Some(&["dkms", "make"]))]).unwrap();
    assert_eq!(report.state, RunState::RolledBack);
    assert!(
        report.message.contains("no longer those of the plan (now: dkms 1, gcc 1, make 1)"),
        "{report:?}"
    );
    assert!(apt.names().is_empty());
}

#[test]
fn nothing_is_removed_to_install_something() {
    let (scene, apt) = FakeApt::scene(&["proxmox-ve"]);
    apt.0.lock().unwrap().also_removes = Some("proxmox-ve".into());
    let report = scene.execute(vec![install(&["dkms"], None)]).unwrap();
    assert!(report.message.contains("would remove proxmox-ve"), "{report:?}");
    assert_eq!(apt.names(), ["proxmox-ve"]);
}

#[test]
fn an_installation_that_breaks_half_way_is_taken_back() {
    let (scene, apt) = FakeApt::scene(&["gcc"]);
    dkms(&apt);
    apt.0.lock().unwrap().fails = true;
    let report = scene.execute(vec![install(&["dkms"], Some(&["dkms", "make"]))]).unwrap();
    assert_eq!(report.state, RunState::RolledBack, "{report:?}");
    assert_eq!(apt.names(), ["gcc"]);
}

#[test]
fn what_another_package_needs_by_now_stops_undo() {
    let (scene, apt) = FakeApt::scene(&[]);
    let run = scene.execute(vec![install(&["dkms"], Some(&["dkms"]))]).unwrap().run;
    apt.0.lock().unwrap().there.insert("zfs-dkms".into(), ("1".into(), false));
    apt.0.lock().unwrap().needed_by.insert("dkms".into(), "zfs-dkms".into());
    let undone = scene.undo(run).unwrap();
    assert_eq!(undone.state, RunState::UndoStopped);
    assert!(undone.message.contains("zfs-dkms need what this run installed"), "{}", undone.message);
    assert_eq!(apt.names(), ["dkms", "zfs-dkms"]);
}

#[test]
fn the_running_kernel_and_what_it_needs_stay() {
    let (scene, apt) = FakeApt::scene(&[]);
    apt.0.lock().unwrap().needs.insert("kernel".into(), vec!["firmware".into()]);
    let run =
        scene.execute(vec![install(&["kernel", "dkms"], Some(&["dkms", "firmware", "kernel"]))]).unwrap().run;
    let undone = scene.undo(run).unwrap();
    assert_eq!(undone.state, RunState::Undone, "{undone:?}");
    assert!(undone.message.contains("the running kernel 6.1.0-test needs them"), "{}", undone.message);
    assert_eq!(apt.names(), ["firmware", "kernel"]);
}

#[test]
fn a_second_run_finds_all_as_it_should_be() {
    let (scene, _) = FakeApt::scene(&["dkms"]);
    let report = scene.execute(vec![install(&["dkms"], Some(&[]))]).unwrap();
    assert!(report.message.contains("as it should be already"), "{report:?}");
}

#[test]
fn a_name_that_is_none_is_refused() {
    let (scene, _) = FakeApt::scene(&[]);
    for odd in ["--reinstall", "./evil.deb", "a b"] {
        let report = scene.execute(vec![install(&[odd], None)]).unwrap();
        assert!(report.message.contains("is no name of a package"), "{report:?}");
    }
}

#[test]
fn kernels_ask_for_the_boot_permission_too() {
    let step = install(&["proxmox-kernel-6.8"], None);
    assert_eq!(step.permissions(), [Permission::PackagesInstall, Permission::BootConfigure].into());
    assert_eq!(install(&["dkms"], None).permissions(), [Permission::PackagesInstall].into());
}

#[test]
fn what_dkms_leaves_behind_goes_with_it_and_a_key_of_before_stays() {
    let (scene, _) = FakeApt::scene(&[]);
    let leave = || {
        scene.put("/var/lib/dkms/mok.key", "key", 0o600);
        scene.put("/var/lib/dkms/mok.pub", "pub", 0o644);
    };
    let root = scene.host.root();
    let run = scene.execute(vec![install(&["dkms"], None)]).unwrap().run;
    leave();
    assert_eq!(scene.undo(run).unwrap().state, RunState::Undone);
    assert!(!root.exists("/var/lib/dkms"), "the folder stays");
    // A module of somebody's own lies there too.
    let run = scene.execute(vec![install(&["dkms"], None)]).unwrap().run;
    leave();
    scene.put("/var/lib/dkms/zfs/source", "", 0o644);
    assert_eq!(scene.undo(run).unwrap().state, RunState::Undone);
    assert!(root.exists("/var/lib/dkms/mok.key"), "another's key is gone");
    // It was there before.
    root.remove_file("/var/lib/dkms/zfs/source").unwrap();
    root.remove_dir("/var/lib/dkms/zfs").unwrap();
    let run = scene.execute(vec![install(&["dkms"], None)]).unwrap().run;
    assert_eq!(scene.undo(run).unwrap().state, RunState::Undone);
    assert!(root.exists("/var/lib/dkms/mok.key"), "a key of before is gone");
}
