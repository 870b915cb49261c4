// SPDX-License-Identifier: GPL-3.0-or-later
//! What `status` says of machines that are in order and of those that are not.

use super::*;
use crate::detect::kernel::{Compression, Headers, KernelConfig};
use crate::detect::{LoadedModule, LoadedModules, gather};
use crate::engine::Owner;
use crate::host::Host;
use std::collections::BTreeMap;

const K: &str = "6.1.0-56-amd64";

/// Facts of an empty tree: nothing could be looked at that only a running machine has.
fn nothing() -> Facts {
    let dir = tempfile::tempdir().unwrap();
    gather(&Host::scratch(dir.path()).unwrap(), None)
}

fn file(name: &str) -> ModuleFile {
    ModuleFile {
        name: name.into(),
        path: format!("/lib/modules/{K}/updates/dkms/{name}.ko"),
        in_modules_dep: true,
        vermagic: Finding::Seen(format!("{K} SMP")),
        vermagic_fits: Finding::Seen(true),
        version: None,
        signature: Finding::Seen(None),
        hostwright: BTreeMap::new(),
        sha256: Finding::Seen(String::new()),
    }
}

fn installed(release: &str, runs: bool, modules: Vec<ModuleFile>) -> Kernel {
    Kernel {
        release: release.into(),
        modules_dir: format!("/lib/modules/{release}"),
        headers: Headers::Usable { build_dir: "/usr/src/linux".into() },
        vermagic: Finding::Seen(format!("{release} SMP")),
        compiler: Finding::unseen("x"),
        config: Finding::Seen(KernelConfig { source: "/boot/config".into(), values: BTreeMap::new() }),
        compression: Compression::None,
        image: None,
        is_running: Finding::Seen(runs),
        is_next_boot: Finding::Seen(runs),
        vmware_modules: modules,
        module_install_dir: "updates/dkms".into(),
        sign_file: None,
        build_compiler: Finding::unseen("x"),
    }
}

/// A machine on which kernel [`K`] runs with both modules installed and loaded.
fn in_order() -> Facts {
    let mut facts = nothing();
    if let Finding::Seen(vmware) = &mut facts.vmware {
        vmware.product = Some(crate::detect::VmwareProduct::Workstation);
    }
    facts.kernels = Finding::Seen(vec![
        installed(K, true, vec![file("vmmon"), file("vmnet")]),
        installed("5.10.0-46-amd64", false, vec![]),
    ]);
    let loaded = |name: &str| LoadedModule {
        name: name.into(),
        size: 1,
        references: 0,
        used_by: vec![],
        taint: "OE".into(),
    };
    facts.loaded_modules =
        Finding::Seen(LoadedModules { count: 2, modules: vec![loaded("vmmon"), loaded("vmnet")] });
    facts
}

fn change(facts: &mut Facts, change: impl FnOnce(&mut Kernel)) {
    let Finding::Seen(kernels) = &mut facts.kernels else { unreachable!() };
    change(&mut kernels[0]);
}

fn of(facts: &Facts) -> Assessment {
    assess(facts, Ok(&[]), &[], &|words| format!("hostwright {words}"))
}

fn run(state: RunState) -> RunSummary {
    RunSummary {
        run: 4,
        flow: FLOW.into(),
        title: "VMware modules".into(),
        state,
        owner: Owner { uid: 0, name: "root".into() },
        started: jiff::Timestamp::UNIX_EPOCH,
        ended: None,
        digest: String::new(),
        choices: serde_json::Value::Null,
        steps: vec![],
        message: None,
        log: None,
        can_undo: true,
        awaits: vec![],
        problem: None,
    }
}

#[test]
fn modules_that_fit_and_are_loaded_need_no_attention() {
    let assessment = of(&in_order());
    assert!(!assessment.attention, "{assessment:?}");
    insta::assert_json_snapshot!("in_order", assessment);
}

#[test]
fn each_fault_needs_attention_and_says_what_to_do() {
    type Fault = fn(&mut Facts);
    let faults: [(&str, Fault); 7] = [
        ("not installed", |f| change(f, |k| k.vmware_modules.clear())),
        ("built for another kernel", |f| {
            change(f, |k| k.vmware_modules[0].vermagic_fits = Finding::Seen(false));
        }),
        ("not in the module index", |f| change(f, |k| k.vmware_modules[1].in_modules_dep = false)),
        ("not signed", |f| {
            change(f, |k| {
                let config = KernelConfig {
                    source: "x".into(),
                    values: BTreeMap::from([("CONFIG_MODULE_SIG_FORCE".into(), "y".into())]),
                };
                k.config = Finding::Seen(config);
            });
        }),
        ("a key that is not trusted", |f| {
            change(f, |k| {
                let signature = crate::detect::ModuleSignature {
                    signer: Some("Somebody".into()),
                    key_id: Some("0badc0de".into()),
                    hash: Some("sha256".into()),
                };
                k.vmware_modules[0].signature = Finding::Seen(Some(signature));
                let config = KernelConfig {
                    source: "x".into(),
                    values: BTreeMap::from([("CONFIG_MODULE_SIG_FORCE".into(), "y".into())]),
                };
                k.config = Finding::Seen(config);
            });
            f.secure_boot = Finding::Seen(crate::detect::SecureBoot {
                firmware: crate::detect::secure_boot::Firmware::Uefi,
                enabled: Finding::Seen(false),
                setup_mode: Finding::Seen(false),
                shim_validation_disabled: Finding::Seen(false),
                trust: Finding::unseen("x"),
                kernel_keys: Finding::Seen(crate::detect::secure_boot::KernelKeys {
                    keyrings: vec![],
                    keys: vec![],
                }),
            });
        }),
        ("not loaded", |f| f.loaded_modules = Finding::Seen(LoadedModules { count: 0, modules: vec![] })),
        ("tuned for another processor", |f| {
            f.cpu = gather(&Host::machine().unwrap(), None).cpu;
            change(f, |k| {
                k.vmware_modules[0].hostwright.insert("cpu".into(), "Another One 9000".into());
            });
        }),
    ];
    for (words, fault) in faults {
        let mut facts = in_order();
        fault(&mut facts);
        let assessment = of(&facts);
        let modules = &assessment.kernels[0].modules;
        let module = modules.iter().find(|m| m.text.contains(words));
        let module = module.unwrap_or_else(|| panic!("{words}: {modules:?}"));
        assert!(is_attention(module.mark) && assessment.attention, "{words}: {module:?}");
        let remedy = module.remedy.as_deref().unwrap_or_default();
        let want =
            if words == "not loaded" { "modprobe vm" } else { "hostwright vmware apply --kernel 6.1.0-56" };
        assert!(remedy.starts_with(want), "{words}: {remedy}");
    }
}

#[test]
fn a_kernel_that_neither_runs_nor_starts_next_may_go_without() {
    let assessment = of(&in_order());
    let other = &assessment.kernels[1].modules[0];
    assert_eq!((other.text.as_str(), other.mark, &other.remedy), ("not installed", Mark::Neutral, &None));
}

#[test]
fn a_machine_without_vmware_needs_no_attention() {
    let mut facts = in_order();
    facts.vmware = nothing().vmware;
    facts.kernels = Finding::Seen(vec![installed(K, true, vec![])]);
    let assessment = of(&facts);
    assert!(!assessment.attention && assessment.kernels.is_empty(), "{assessment:?}");
}

#[test]
fn an_interrupted_run_is_named_with_the_way_back() {
    let runs = [run(RunState::Interrupted)];
    let assessment = assess(&in_order(), Ok(&runs), &[], &|words| format!("hostwright {words}"));
    assert!(assessment.attention);
    let row = assessment.notes.iter().find(|r| r.label == "Interrupted run").unwrap();
    assert_eq!(row.remedy.as_deref(), Some("hostwright undo 4"));
}

#[test]
fn what_could_not_be_looked_at_is_neither_good_nor_attention() {
    let mut facts = in_order();
    facts.loaded_modules = Finding::unseen("no /proc");
    let assessment = assess(&facts, Err("no bus"), &[], &|words| words.to_owned());
    assert!(!assessment.attention, "{assessment:?}");
    assert_eq!(assessment.kernels[0].modules[0].mark, Mark::Unknown);
    assert!(assessment.notes.iter().any(|r| r.mark == Mark::Unknown && r.text.contains("no bus")));
}

#[test]
fn a_kernel_update_that_failed_is_told_until_its_modules_are_there() {
    let facts = in_order();
    let release = facts.kernels.seen().unwrap()[0].release.clone();
    let outcome = |release: &str| Outcome {
        release: release.to_owned(),
        at: jiff::Timestamp::UNIX_EPOCH,
        good: false,
        message: "the headers are missing".into(),
        remedy: Some("apt-get install linux-headers-x".into()),
    };
    let told = |release: &str| assess(&facts, Ok(&[]), &[outcome(release)], &|words| words.to_owned());
    assert!(!told(&release).notes.iter().any(|n| n.label == "Kernel update"));
    let failed = told("9.9.9");
    assert!(failed.attention && failed.notes.iter().any(|n| n.label == "Kernel update"), "{failed:?}");
}

#[test]
fn kernel_parameters_wait_for_a_restart_and_are_looked_at_after_it() {
    let mut facts = nothing();
    let mut done = RunSummary { awaits: vec!["iommu=pt".into()], ..run(RunState::Done) };
    done.flow = "tuning".into();
    done.ended = Some(jiff::Timestamp::from_second(1000).unwrap());
    let mut told = |line: &str, started: i64, runs: &[RunSummary]| {
        facts.running_kernel = Finding::Seen(crate::detect::RunningKernel {
            release: "6.1.0-25-amd64".into(),
            version: String::new(),
            command_line: line.into(),
            started: Some(started),
            has_modules: true,
            enforces_signatures: Finding::Seen(false),
            lockdown: Finding::Seen("none".into()),
        });
        let notes = assess(&facts, Ok(runs), &[], &|words| format!("hostwright {words}")).notes;
        notes.into_iter().find(|n| n.text.contains("iommu")).map(|n| (n.mark, n.label, n.text))
    };
    let runs = [done.clone()];
    assert_eq!(told("quiet", 500, &runs).unwrap().1, "Reboot pending");
    let (mark, _, text) = told("quiet iommu=ptx", 2000, &runs).unwrap();
    assert!(mark == Mark::Bad && text.contains("was restarted since run 4"), "{text}");
    assert_eq!(told("quiet iommu=pt", 2000, &runs).unwrap().0, Mark::Good);
    // What was taken back waits for nothing.
    done.state = RunState::Undone;
    assert_eq!(told("quiet", 2000, &[done]), None);
}
