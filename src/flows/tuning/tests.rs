// SPDX-License-Identifier: GPL-3.0-or-later
//! What is proposed, preselected, refused and planned, from facts of machines.

use super::evaluate::{all, limit_kib};
use super::facts::{DiskFacts, THP};
use super::plan::plan;
use super::*;
use crate::detect::settings::{PowerManager, PowerProfiles};
use crate::detect::storage::DiskKind;
use crate::detect::{BootTool, CommandLinePlace, Finding};
use crate::engine::packages::{PackageChange, PackageManager};
use crate::engine::plan::{Permission, Refusal};
use crate::engine::steps::{SetKernelParameters, SetPowerProfile, SetRunningValues, WriteFile};
use crate::flows::boot::{BootFacts, BootFile};
use crate::flows::packages::PackageFacts;

const GIB: u64 = 1 << 20;

/// A desktop with 64 GiB, Intel, NVMe, VMware Workstation, GRUB with drop-ins.
fn desktop() -> TuningFacts {
    let text = "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n".to_owned();
    let values = [
        ("/proc/sys/vm/swappiness", "60"),
        ("/proc/sys/vm/dirty_ratio", "20"),
        ("/proc/sys/vm/dirty_bytes", "0"),
        ("/proc/sys/vm/dirty_background_bytes", "0"),
        ("/proc/sys/vm/max_map_count", "65530"),
        ("/proc/sys/vm/compaction_proactiveness", "20"),
        ("/proc/sys/kernel/nmi_watchdog", "1"),
        (THP, "[always] madvise never"),
    ];
    let place = CommandLinePlace::Grub {
        defaults: "/etc/default/grub".into(),
        drop_ins: Some("/etc/default/grub.d".into()),
        drop_in_files: vec![],
        config: Some("/boot/grub/grub.cfg".into()),
        tool: BootTool::UpdateGrub,
    };
    let disk = DiskFacts { kind: DiskKind::Nvme, scheduler: "none [mq-deadline]".into() };
    TuningFacts {
        system: "Debian".into(),
        machine: true,
        boot: BootFacts {
            place: Finding::Seen(place),
            files: [("/etc/default/grub".into(), Finding::Seen(BootFile { text, mode: 0o644 }))].into(),
            tools_run: true,
        },
        running: Some(vec!["quiet".into()]),
        vendor: Some("GenuineIntel".into()),
        huge_1g: Some(true),
        memory_kib: Some(64 * GIB),
        swap: Some(true),
        pools: [(2048, 0), (GIB, 0)].into(),
        iommu_active: Some(false),
        vmware: true,
        values: values.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        disks: [("nvme0n1".to_owned(), disk)].into(),
        ..TuningFacts::default()
    }
}

fn choose(set: &[(&str, Option<&str>)]) -> Choices {
    let set = set.iter().map(|(id, value)| ((*id).to_owned(), value.map(str::to_owned))).collect();
    Choices { set, recommended: false }
}

fn refusal(facts: &TuningFacts, set: &[(&str, Option<&str>)]) -> Refusal {
    plan(&choose(set), facts).unwrap_err()
}

fn preselected(facts: &TuningFacts) -> Vec<String> {
    all(facts).into_iter().filter(|e| e.preselected).map(|e| e.id).collect()
}

#[test]
fn only_what_evidence_of_the_machine_speaks_for_is_preselected() {
    let mut facts = desktop();
    assert_eq!(preselected(&facts), ["compaction", "dirty-limits"]);
    facts.passthrough = Some("the module vfio_pci is loaded".into());
    assert_eq!(preselected(&facts), ["intel-iommu", "iommu-passthrough", "compaction", "dirty-limits"]);
    facts.vmware = false;
    facts.passthrough = None;
    assert_eq!(preselected(&facts), Vec::<String>::new());
    assert!(plan(&Choices::default(), &facts).unwrap().is_empty());
}

#[test]
fn nothing_is_preselected_where_nothing_could_be_seen() {
    let facts = TuningFacts { machine: true, ..TuningFacts::default() };
    for evaluated in all(&facts) {
        assert!(!evaluated.preselected, "{}", evaluated.id);
        assert!(!evaluated.reason.is_empty(), "{}", evaluated.id);
    }
}

#[test]
fn the_whole_choice_becomes_files_running_values_and_the_command_line() {
    let set = [
        ("swappiness", None),
        ("transparent-huge-pages", Some("always")),
        ("io-scheduler-nvme", None),
        ("intel-iommu", None),
        ("iommu-passthrough", None),
        ("hugepages-1g", Some("8G")),
    ];
    let plan = plan(&choose(&set), &desktop()).unwrap();
    let files: Vec<&WriteFile> =
        plan.steps.iter().filter_map(|s| if let Step::WriteFile(f) = s { Some(f) } else { None }).collect();
    let paths: Vec<&str> = files.iter().map(|f| f.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "/etc/tmpfiles.d/hostwright-transparent-huge-pages.conf",
            "/etc/sysctl.d/90-hostwright-swappiness.conf",
            "/etc/udev/rules.d/60-hostwright-io-scheduler-nvme.rules"
        ]
    );
    assert!(files[1].content.ends_with("vm.swappiness = 10\n"));
    assert!(files[2].content.ends_with("ATTR{queue/scheduler}=\"none\"\n"));
    let Step::SetRunningValues(SetRunningValues { values }) = &plan.steps[3] else {
        panic!("{:?}", plan.steps)
    };
    assert_eq!(values.len(), 3);
    let Step::SetKernelParameters(SetKernelParameters { parameters, .. }) = &plan.steps[4] else { panic!() };
    let words: Vec<&str> = parameters.iter().map(|p| p.as_str()).collect();
    assert_eq!(words, ["intel_iommu=on", "iommu=pt", "hugepagesz=1G", "hugepages=8"]);
    assert!(plan.needs_reboot);
    assert_eq!(plan.permissions, [Permission::SystemTune, Permission::BootConfigure].into());
    assert!(plan.notes.iter().any(|n| n.text.starts_with("60 → vm.swappiness = 10.")), "{:?}", plan.notes);
    assert!(plan.warnings.iter().any(|w| w.message.contains("run out of memory")), "risk is told");
}

#[test]
fn contradictions_and_unknown_names_are_refused() {
    let facts = desktop();
    let both = refusal(&facts, &[("hugepages-1g", None), ("hugepages-2m", None)]);
    assert_eq!(both.code, "contradictory");
    let both =
        refusal(&facts, &[("transparent-huge-pages", Some("always")), ("transparent-huge-pages-boot", None)]);
    assert_eq!(both.code, "contradictory");
    assert_eq!(refusal(&facts, &[("mitigations", None)]).code, "no-such-tunable");
    assert_eq!(refusal(&facts, &[("amd-iommu", None)]).code, "not-here");
}

#[test]
fn huge_pages_never_take_what_the_host_needs() {
    let facts = desktop();
    for (value, code) in [
        ("33G", "beyond-memory"),
        ("100000000G", "beyond-memory"),
        ("99999999999999999999G", "bad-value"),
        ("0G", "bad-value"),
        ("1500M", "bad-value"),
        ("4", "bad-value"),
        ("-1G", "bad-value"),
        ("", "bad-value"),
        ("é", "bad-value"),
    ] {
        assert_eq!(refusal(&facts, &[("hugepages-1g", Some(value))]).code, code, "{value}");
    }
    assert!(plan(&choose(&[("hugepages-1g", Some("32G"))]), &facts).is_ok());
    let remedy = refusal(&facts, &[("hugepages-2m", Some("33G"))]).remedy.unwrap();
    assert_eq!(remedy, "Choose at most 32G.");
    for memory in [0, GIB, 4 * GIB, 6 * GIB, 8 * GIB, 1024 * GIB] {
        let limit = limit_kib(memory);
        assert!(limit <= memory / 2 && (limit == 0 || memory - limit >= 4 * GIB), "{memory}");
    }
    let small = TuningFacts { memory_kib: Some(4 * GIB), ..desktop() };
    assert_eq!(refusal(&small, &[("hugepages-2m", None)]).code, "not-here");
}

#[test]
fn values_are_checked_against_their_range() {
    let facts = desktop();
    for (id, value) in [
        ("swappiness", "201"),
        ("swappiness", "-1"),
        ("swappiness", "10; reboot"),
        ("swappiness", "10\n"),
        ("transparent-huge-pages", "sometimes"),
        ("transparent-huge-pages-boot", "always quiet"),
        ("io-scheduler-nvme", "bfq"),
        ("iommu-passthrough", "1"),
        ("dirty-limits", "1"),
    ] {
        let refusal = refusal(&facts, &[(id, Some(value))]);
        assert_eq!(refusal.code, "bad-value", "{id}={value}: {refusal}");
        assert!(refusal.remedy.is_some());
    }
    let plan = plan(&choose(&[("dirty-limits", Some("536870912"))]), &facts).unwrap();
    let Step::WriteFile(file) = &plan.steps[0] else { panic!() };
    assert!(
        file.content.ends_with("vm.dirty_bytes = 536870912\nvm.dirty_background_bytes = 134217728\n"),
        "{}",
        file.content
    );
}

#[test]
fn what_a_person_set_is_left_alone_and_named() {
    let mut facts = desktop();
    facts.set_in.insert("vm.swappiness".into(), "/etc/sysctl.conf".into());
    let refusal = refusal(&facts, &[("swappiness", None)]);
    assert!(refusal.reason.contains("/etc/sysctl.conf sets vm.swappiness"), "{refusal}");
    let mut facts = desktop();
    let text = "GRUB_CMDLINE_LINUX=\"hugepages=16 iommu=soft\"\n".to_owned();
    facts.boot.files.insert("/etc/default/grub".into(), Finding::Seen(BootFile { text, mode: 0o644 }));
    assert!(self::refusal(&facts, &[("hugepages-2m", Some("1G"))]).reason.contains("`hugepages=16`"));
    assert!(self::refusal(&facts, &[("iommu-passthrough", None)]).reason.contains("`iommu=soft`"));
}

#[test]
fn a_boot_loader_that_is_not_understood_stops_only_what_needs_it() {
    let mut facts = desktop();
    facts.boot.place =
        Finding::Seen(CommandLinePlace::NotUnderstood { reason: "odd".into(), remedy: "look".into() });
    assert_eq!(refusal(&facts, &[("iommu-passthrough", None)]).code, "boot-loader-not-understood");
    assert_eq!(plan(&choose(&[("swappiness", None)]), &facts).unwrap().steps.len(), 2);
}

#[test]
fn a_broken_grub_file_is_named_with_its_line() {
    let mut facts = desktop();
    let text = "A=1\nGRUB_CMDLINE_LINUX=\"quiet\n".to_owned();
    facts.boot.files.insert("/etc/default/grub".into(), Finding::Seen(BootFile { text, mode: 0o644 }));
    let refusal = refusal(&facts, &[("intel-iommu", None)]);
    assert!(refusal.reason.starts_with("/etc/default/grub, line 2: a quote"), "{refusal}");
}

#[test]
fn what_is_so_already_is_not_done_again() {
    let mut facts = desktop();
    facts.values.insert("/proc/sys/vm/swappiness".into(), "10".into());
    let text = "# Written by Hostwright: Swap less readily.\nvm.swappiness = 10\n".to_owned();
    let path = "/etc/sysctl.d/90-hostwright-swappiness.conf".to_owned();
    facts.files.insert(path, Some(BootFile { text, mode: 0o644 }));
    assert!(plan(&choose(&[("swappiness", None)]), &facts).unwrap().is_empty());
    let text = "GRUB_CMDLINE_LINUX=\"hugepagesz=2M hugepages=256 iommu=pt\"\n".to_owned();
    facts.boot.files.insert("/etc/default/grub".into(), Finding::Seen(BootFile { text, mode: 0o644 }));
    let again = [("hugepages-2m", Some("512M")), ("iommu-passthrough", None)];
    assert!(plan(&choose(&again), &facts).unwrap().is_empty());
    assert!(plan(&choose(&[("hugepages-2m", None)]), &facts).unwrap().is_empty());
    assert_eq!(refusal(&facts, &[("hugepages-2m", Some("1G"))]).code, "not-here");
    assert_eq!(refusal(&facts, &[("hugepages-1g", Some("1G"))]).code, "not-here");
}

#[test]
fn on_a_root_that_does_not_run_only_files_are_written() {
    let facts = TuningFacts { machine: false, values: BTreeMap::new(), ..desktop() };
    let plan = plan(&choose(&[("swappiness", None)]), &facts).unwrap();
    assert!(matches!(plan.steps.as_slice(), [Step::WriteFile(_)]), "{:?}", plan.steps);
}

#[test]
fn the_governor_is_left_to_what_looks_after_it() {
    let mut facts = desktop();
    facts.governors = vec!["/sys/devices/system/cpu/cpufreq/policy0/scaling_governor".into()];
    facts.values.insert(facts.governors[0].clone(), "powersave".into());
    let available = facts.governors[0].replace("_governor", "_available_governors");
    facts.values.insert(available, "performance powersave".into());
    assert_eq!(plan(&choose(&[("governor", None)]), &facts).unwrap().steps.len(), 2);
    assert_eq!(refusal(&facts, &[("governor", Some("warp"))]).code, "bad-value");
    facts.governed_by = Some("tuned".into());
    assert!(refusal(&facts, &[("governor", None)]).reason.contains("tuned looks after it"));
}

#[test]
fn choices_with_an_unknown_field_are_refused() {
    assert!(serde_json::from_value::<Choices>(serde_json::json!({"sett": {}})).is_err());
    let read: Choices = serde_json::from_value(serde_json::json!({"set": {"swappiness": null}})).unwrap();
    assert!(read.recommended && read.set.contains_key("swappiness"));
}

fn with_vmware_config(text: &str) -> TuningFacts {
    let file = BootFile { text: text.to_owned(), mode: 0o644 };
    TuningFacts { vmware_config: Some(Finding::Seen(file)), ..desktop() }
}

#[test]
fn a_setting_of_vmware_changes_its_own_line_and_nothing_else() {
    let facts = with_vmware_config("# mine\nlibdir = \"/usr/lib/vmware\"\nMemTrimRate = \"30\"\nodd\n");
    let plan = plan(&choose(&[("vmware-trim", None), ("vmware-locked-memory", None)]), &facts).unwrap();
    let [Step::WriteFile(file)] = plan.steps.as_slice() else { panic!("{:?}", plan.steps) };
    assert_eq!(
        file.content,
        "# mine\nlibdir = \"/usr/lib/vmware\"\nMemTrimRate = \"0\"\nodd\n\
         prefvmx.useRecommendedLockedMemSize = \"TRUE\"\nprefvmx.minVmMemPct = \"100\"\n"
    );
    assert_eq!(plan.permissions, [Permission::ApplicationsPatch].into());
    assert!(!plan.needs_reboot);
    let so = with_vmware_config("memTrimRate = 0\n");
    assert!(self::plan::plan(&choose(&[("vmware-trim", None)]), &so).unwrap().is_empty());
}

#[test]
fn a_configuration_of_vmware_that_is_not_understood_is_left_alone() {
    let twice = with_vmware_config("MemTrimRate = \"30\"\nmemtrimrate = \"0\"\n");
    assert!(refusal(&twice, &[("vmware-trim", None)]).reason.contains("line 1 and in line 2"));
    assert_eq!(refusal(&with_vmware_config(""), &[("vmware-trim", Some("99"))]).code, "bad-value");
    let none = TuningFacts { vmware: false, ..with_vmware_config("") };
    assert!(refusal(&none, &[("vmware-trim", None)]).reason.contains("not installed"));
    let unread = TuningFacts { vmware_config: Some(Finding::unseen("denied")), ..desktop() };
    assert!(refusal(&unread, &[("vmware-trim", None)]).reason.contains("denied"));
}

fn with_power(manager: PowerManager, active: Option<&str>) -> TuningFacts {
    let available = ["balanced", "performance", "virtual-host"].map(str::to_owned).into();
    let power = PowerProfiles { manager, active: active.map(str::to_owned), available };
    TuningFacts { power: Some(power), governed_by: Some(manager.name().to_owned()), ..desktop() }
}

#[test]
fn the_power_profile_is_that_of_who_looks_after_power() {
    for (manager, profile) in
        [(PowerManager::Tuned, "virtual-host"), (PowerManager::PowerProfilesDaemon, "performance")]
    {
        let facts = with_power(manager, Some("balanced"));
        let plan = plan(&choose(&[("power-profile", None)]), &facts).unwrap();
        let wanted = SetPowerProfile { manager, profile: profile.to_owned() };
        assert_eq!(plan.steps, [Step::SetPowerProfile(wanted)]);
        assert_eq!(plan.permissions, [Permission::SystemTune].into());
        let so = with_power(manager, Some(profile));
        assert!(self::plan::plan(&choose(&[("power-profile", None)]), &so).unwrap().is_empty());
        assert!(
            self::plan::plan(&choose(&[("power-profile", Some("balanced"))]), &facts).unwrap().is_empty()
        );
        assert_eq!(refusal(&facts, &[("power-profile", Some("warp; x"))]).code, "bad-value");
        assert_eq!(refusal(&facts, &[("power-profile", None), ("swappiness", None)]).code, "contradictory");
        assert_eq!(refusal(&facts, &[("energy-preference", None)]).code, "not-here");
    }
}

#[test]
fn where_nobody_looks_after_power_tuned_is_installed_first() {
    let change = PackageChange { name: "tuned".into(), version: "2.20".into(), from: None };
    let packages = PackageFacts {
        manager: Some(PackageManager::Apt),
        wanted: vec!["tuned".into()],
        missing: Finding::Seen(vec!["tuned".into()]),
        changes: Finding::Seen(Some(vec![change])),
        removed: vec![],
    };
    let facts = TuningFacts { tuned: Some(packages.clone()), ..desktop() };
    let plan = plan(&choose(&[("power-profile", None)]), &facts).unwrap();
    let [Step::InstallPackages(install), Step::SetPowerProfile(set)] = plan.steps.as_slice() else {
        panic!("{:?}", plan.steps)
    };
    assert_eq!(
        (install.packages.as_slice(), set.profile.as_str()),
        (["tuned".to_owned()].as_slice(), "virtual-host")
    );
    assert!(plan.permissions.contains(&Permission::PackagesInstall));
    let missing = PackageFacts { changes: Finding::unseen("no such package"), ..packages };
    let facts = TuningFacts { tuned: Some(missing), ..desktop() };
    assert!(refusal(&facts, &[("power-profile", None)]).reason.contains("no such package"));
    assert_eq!(refusal(&desktop(), &[("power-profile", None)]).code, "not-here");
}

#[test]
fn an_energy_preference_is_set_now_and_at_every_start() {
    let mut facts = desktop();
    let file = "/sys/devices/system/cpu/cpufreq/policy0/energy_performance_preference".to_owned();
    facts.values.insert(file.clone(), "balance_performance".into());
    let available = file.replace("_preference", "_available_preferences");
    facts.values.insert(available, "default performance balance_performance power".into());
    facts.energy_preferences = vec![file];
    let steps = plan(&choose(&[("energy-preference", None)]), &facts).unwrap().steps;
    assert!(matches!(steps.as_slice(), [Step::WriteFile(_), Step::SetRunningValues(_)]), "{steps:?}");
    assert_eq!(refusal(&facts, &[("energy-preference", Some("ludicrous"))]).code, "bad-value");
}
