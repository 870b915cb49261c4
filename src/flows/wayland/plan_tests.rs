// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;
use crate::engine::testing::Scene;
use crate::engine::{Inputs, Owner, RunState, execute};
use crate::host::Host;

const SCRIPT: &str = "#!/usr/bin/env bash\nset -e\nexec /usr/lib/vmware/bin/vmware \"$@\"\n";
const PROGRAM: &[u8] = b"\x7fELF\x02\x01\x01 the program";

fn scene() -> Scene {
    let scene = Scene::real();
    scene.put("/usr/bin/vmware", SCRIPT, 0o755).put("/usr/bin/vmplayer", PROGRAM, 0o755);
    scene
}

fn plan_of(host: &Host, wish: Wish) -> Plan {
    let choices = serde_json::to_value(Choices { wish, only: vec![] }).unwrap();
    super::super::plan_here(host, &choices).unwrap()
}

fn carry_out(host: &Host, wish: Wish) -> crate::engine::RunReport {
    let plan = plan_of(host, wish);
    let owner = Owner { uid: 0, name: "root".into() };
    let cancel = crate::host::Cancel::new();
    execute(host, &plan, &Inputs::default(), &owner, &super::super::check, &cancel, &mut |_| {}).unwrap()
}

#[test]
fn a_fix_keeps_the_original_and_is_made_once_only() {
    let scene = scene();
    let host = &scene.host;
    let report = carry_out(host, Wish::Fix);
    assert!(report.is_verified(), "{report:?}");
    let root = host.root();
    assert_eq!(root.read_text("/usr/bin/vmware.original").unwrap(), SCRIPT);
    assert_eq!(root.read("/usr/bin/vmplayer.original").unwrap(), PROGRAM);
    assert!(
        root.read_text("/usr/bin/vmplayer").unwrap().contains("exec -a \"$0\" /usr/bin/vmplayer.original")
    );
    assert!(plan_of(host, Wish::Fix).is_empty(), "it is there already");
}

#[test]
fn removing_leaves_the_launchers_and_nothing_else() {
    let scene = scene();
    let before = scene.tree();
    carry_out(&scene.host, Wish::Fix);
    let report = carry_out(&scene.host, Wish::Remove);
    assert_eq!(report.state, RunState::Done, "{report:?}");
    let root = scene.host.root();
    assert_eq!(root.read_text("/usr/bin/vmware").unwrap(), SCRIPT);
    assert_eq!(root.read("/usr/bin/vmplayer").unwrap(), PROGRAM);
    assert!(!root.exists("/usr/bin/vmware.original") && !root.exists("/usr/bin/vmplayer.original"));
    assert!(!before.is_empty());
    assert!(plan_of(&scene.host, Wish::Remove).is_empty());
}

#[test]
fn undo_brings_back_every_byte() {
    let scene = scene();
    let steps = plan_of(&scene.host, Wish::Fix).steps;
    scene.there_and_back(steps);
}

#[test]
fn a_product_update_is_fixed_again_and_the_first_original_stays() {
    let scene = scene();
    carry_out(&scene.host, Wish::Fix);
    let newer = SCRIPT.replace("set -e", "set -eu");
    scene.put("/usr/bin/vmware", newer.as_str(), 0o755).put(
        "/usr/bin/vmplayer",
        b"\x7fELF newer".as_slice(),
        0o755,
    );
    carry_out(&scene.host, Wish::Fix);
    let root = scene.host.root();
    assert_eq!(root.read_text("/usr/bin/vmware.original").unwrap(), SCRIPT);
    assert_eq!(root.read_text("/usr/bin/vmware.original.2").unwrap(), newer);
    assert!(root.read_text("/usr/bin/vmplayer").unwrap().contains("vmplayer.original.2"));
}

#[test]
fn what_is_not_understood_is_left_alone_and_named() {
    let scene = Scene::real();
    scene.put("/usr/bin/vmware", "#!/usr/bin/python3\n", 0o755);
    scene.put("/usr/bin/vmplayer", "#!/bin/sh\nexport GDK_BACKEND=x11\n", 0o755);
    let plan = plan_of(&scene.host, Wish::Fix);
    assert!(plan.is_empty());
    let told: Vec<&str> = plan.warnings.iter().map(|w| w.message.as_str()).collect();
    assert!(told[0].contains("python3") && told[1].contains("already"), "{told:?}");
}

#[test]
fn without_a_launcher_there_is_no_plan() {
    let choices = Choices { wish: Wish::Fix, only: vec!["vmware".into()] };
    let refusal =
        plan(&choices, &LauncherFacts { launchers: vec![], bindir: "/usr/bin".into() }).unwrap_err();
    assert_eq!(refusal.code, "no-launcher");
}
