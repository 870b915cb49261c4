// SPDX-License-Identifier: GPL-3.0-or-later
//! What a person reads before saying yes, as snapshots.

use super::*;
use crate::engine::Drift;
use crate::engine::plan::PLAN_VERSION;
use crate::engine::plan::Permission;
use crate::engine::steps::{Depmod, LoadModules, WriteFile};
use crate::engine::{Step, UndoStep};
use crate::host::FileState;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

fn a_plan() -> (Plan, Vec<StepPreview>) {
    let kernel = "6.1.0-56-amd64".to_owned();
    let plan = Plan {
        version: PLAN_VERSION,
        flow: "vmware".into(),
        title: String::new(),
        choices: json!({}),
        facts: json!({}),
        steps: vec![
            Step::WriteFile(WriteFile {
                path: "/etc/modules-load.d/hostwright.conf".into(),
                content: "vmmon\nvmnet\n".into(),
                mode: 0o644,
                reason: "load at boot".into(),
            }),
            Step::Depmod(Depmod { kernel: kernel.clone() }),
            Step::LoadModules(LoadModules { kernel, modules: vec!["vmmon".into(), "vmnet".into()] }),
        ],
        permissions: BTreeSet::from([Permission::ModulesInstall, Permission::KeysEnroll]),
        details: BTreeMap::from([
            ("kernels".into(), "6.1.0-56-amd64".into()),
        ]),
        warnings: vec![Warning {
            message: "The compiler of this machine (gcc 12.2.0) is another than the one that built the kernel (gcc 12.3.0).".into(),
            remedy: Some("Nothing has to be done: versions of one series go together.".into()),
        }],
        left_out: Vec::new(),
        notes: vec![Note {
            topic: "timer-delete-sync".into(),
            text: "del_timer_sync() was renamed in 6.15; this kernel has the new name only.".into(),
            diff: Some("--- a/linux/hostif.c\n+++ b/linux/hostif.c\n@@ -1,1 +1,1 @@\n-del_timer_sync(&t);\n+timer_delete_sync(&t);\n".into()),
        }],
        needs_reboot: true,
    };
    let step = |title: &str, commands: &[&str], files: Vec<FileChange>, reversal| StepPreview {
        title: title.into(),
        commands: commands.iter().map(|c| (*c).to_owned()).collect(),
        files,
        reversal,
        permissions: BTreeSet::from([Permission::ModulesInstall]),
    };
    let file = |path: &str, diff: &str| FileChange { path: path.into(), diff: diff.into() };
    let steps = vec![
        step(
            "Write /etc/modules-load.d/hostwright.conf: load at boot",
            &[],
            vec![file(
                "/etc/modules-load.d/hostwright.conf",
                "new file, mode 0644\n--- /dev/null\n+++ /etc/modules-load.d/hostwright.conf\n@@ -0,0 +1,2 @@\n+vmmon\n+vmnet\n",
            )],
            Reversal::Full,
        ),
        step(
            "Make the module index of 6.1.0-56-amd64",
            &[
                "depmod -a -F '/boot/System map-6.1.0-56-amd64' -b /srv/machines/one/root 6.1.0-56-amd64 --verbose",
            ],
            vec![file("/lib/modules/6.1.0-56-amd64/modules.dep", "made anew")],
            Reversal::Partial { what: "the index as an older depmod wrote it".into() },
        ),
        step(
            "Load vmmon and vmnet",
            &["modprobe vmmon", "modprobe vmnet"],
            vec![],
            Reversal::None { why: "a module in use stays".into() },
        ),
    ];
    (plan, steps)
}

fn without_digest(text: &str) -> String {
    let (plan, _) = a_plan();
    text.replace(&plan.digest()[..12], "PLAN-DIGEST.")
}

#[test]
fn a_plan_reads_well_wide_and_narrow() {
    let (plan, steps) = a_plan();
    for width in [100, 44] {
        let text = without_digest(&super::plan(Look::plain(width), &plan, &steps, false));
        insta::assert_snapshot!(format!("plan_{width}"), text);
    }
}

#[test]
fn differences_of_sources_are_shown_when_asked_for() {
    let (plan, steps) = a_plan();
    let short = super::plan(Look::plain(80), &plan, &steps, false);
    assert!(!short.contains("+timer_delete_sync"), "{short}");
    let long = super::plan(Look::plain(80), &plan, &steps, true);
    assert!(long.contains("    +timer_delete_sync(&t);\n"), "{long}");
}

#[test]
fn a_long_difference_of_a_file_waits_for_diff() {
    let lines: String = (0..=SHORT_DIFF).map(|i| format!("+{i}\n")).collect();
    let change =
        FileChange { path: "/etc/x".into(), diff: format!("new file, mode 0644\n--- /dev/null\n{lines}") };
    let short = file_change(Look::plain(80), 2, &change, "Write it", false);
    assert_eq!(short, "  /etc/x: new file, mode 0644, 31 lines of differences; --diff shows them\n");
    assert!(file_change(Look::plain(80), 2, &change, "Write it", true).contains("+30"));
}

#[test]
fn a_reason_that_two_modules_share_is_told_once() {
    let note = |topic: &str, text: &str| Note { topic: topic.into(), text: text.into(), diff: None };
    let both = [note("a (vmmon, 6.1)", "x"), note("b (vmmon, 6.1)", "y"), note("a (vmnet, 6.1)", "x")];
    let text = notes(Look::plain(80), &both, false);
    assert!(text.contains("  a (vmmon, vmnet)\n    x\n  b (vmmon)\n    y\n"), "{text}");
    let kernels = ["vmmon, 6.1", "vmnet, 6.1", "vmmon, 6.12", "vmnet, 6.12", "vmmon, 5.10"];
    assert_eq!(applies_to(&kernels, false), "vmmon, vmnet for 6.1, 6.12; vmmon for 5.10");
}

#[test]
fn an_empty_plan_says_that_there_is_nothing_to_do() {
    let (mut plan, _) = a_plan();
    plan.steps.clear();
    plan.warnings.clear();
    let text = super::plan(Look::plain(80), &plan, &[], false);
    assert!(text.contains("Nothing to do"), "{text}");
    assert!(!text.contains("Permission"), "{text}");
}

#[test]
fn the_undo_of_a_run_reads_well() {
    let file = |byte: &str| FileState::File {
        sha256: byte.repeat(64),
        size: 3,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: 0,
        mtime_nsec: 0,
        xattrs: BTreeMap::new(),
    };
    let step = |step, title: &str, restores: &[&str], drift| UndoStep {
        step,
        title: title.into(),
        restores: restores.iter().map(|r| (*r).to_owned()).collect(),
        drift,
        reversal: Reversal::Full,
    };
    let preview = UndoPreview {
        run: 7,
        title: "VMware modules for 6.1.0-56-amd64".into(),
        steps: vec![
            step(
                1,
                "Make the module index of 6.1.0-56-amd64",
                &["/lib/modules/6.1.0-56-amd64/modules.dep comes back"],
                vec![],
            ),
            step(
                0,
                "Write /etc/modules-load.d/hostwright.conf",
                &["/etc/modules-load.d/hostwright.conf goes away"],
                vec![Drift {
                    path: "/etc/modules-load.d/hostwright.conf".into(),
                    left: Some(file("a")),
                    now: file("b"),
                    before: FileState::Absent,
                    copy: None,
                }],
            ),
        ],
        refused: None,
    };
    insta::assert_snapshot!("undo_72", undo(Look::plain(72), &preview));
}

#[test]
fn files_of_one_folder_that_come_back_share_a_line() {
    let lines = ["put back /m/a", "put back /m/b", "put back /m/c", "remove /m/d", "stop it", "remove /x"];
    let lines: Vec<String> = lines.map(str::to_owned).to_vec();
    assert_eq!(shorter(&lines), ["put back in /m: a, b, c", "remove /m/d", "stop it", "remove /x"]);
    assert!(shorter(&[]).is_empty());
}
