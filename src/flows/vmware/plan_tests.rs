// SPDX-License-Identifier: GPL-3.0-or-later
use super::choices::{Choices, KernelChoice, LoadChoice, RehearseChoice, SignChoice, SourceChoice};
use super::facts::*;
use super::plan::{Adapted, plan, rehearsals};
use crate::detect::CompilerFit;
use crate::engine::Step;
use crate::engine::plan::{Permission, Plan, Refusal};
use crate::engine::steps::{Compression, InitramfsTool, Mode, SourceRef};
use std::collections::BTreeMap;

fn kernel(release: &str, running: bool) -> KernelFacts {
    KernelFacts {
        release: release.into(),
        running,
        build_dir: format!("/usr/src/linux-headers-{release}"),
        build_id: "b1".into(),
        vermagic: format!("{release} SMP preempt mod_unload modversions "),
        cc: "gcc-12".into(),
        cc_version: "12.2.0".into(),
        llvm: false,
        compiler_fit: CompilerFit::Same,
        compiler_note: "gcc 12.2.0 built this kernel".into(),
        checks_signatures: true,
        forces_signatures: false,
        signature_hash: "sha256".into(),
        sign_file: Some("/usr/lib/linux-kbuild-6.1/scripts/sign-file".into()),
        compression: Compression::None,
        install_dir: format!("/lib/modules/{release}/updates/dkms"),
        present: vec![],
        image: Some(format!("/boot/vmlinuz-{release}")),
        initramfs: None,
        probes: BTreeMap::new(),
    }
}

fn facts() -> VmwareFacts {
    VmwareFacts {
        system: "Debian GNU/Linux 12".into(),
        machine: true,
        tools_run: true,
        product: Some("Workstation 17.5.1".into()),
        kernels: vec![kernel("6.1.0-56-amd64", true)],
        secure_boot: Some(false),
        has_openssl: true,
        sources: ["vmmon", "vmnet"]
            .map(|m| SourceFacts {
                module: m.into(),
                from: SourceRef::Installed { path: format!("/usr/lib/vmware/modules/source/{m}.tar") },
                sha256: format!("{m}-sha"),
                version: Some("17.5.1".into()),
                kind: "stock".into(),
            })
            .into(),
        files: BTreeMap::new(),
        ..VmwareFacts::default()
    }
}

fn resolved(_: &KernelFacts, _: &SourceFacts, _: Mode, record: &str) -> Result<Adapted, Refusal> {
    Ok(Adapted { make_vars: vec![format!("RECORD={record}")], ..Adapted::default() })
}

fn names(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|s| serde_json::to_value(s).unwrap()["step"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_unsigned_machine_gets_built_installed_and_loaded() {
    let plan = plan(&Choices::default(), &facts(), &resolved).unwrap();
    assert_eq!(
        names(&plan),
        [
            "build_modules",
            "rehearse",
            "install_module",
            "install_module",
            "write_file",
            "write_file",
            "depmod",
            "load_modules"
        ]
    );
    assert_eq!(plan.permissions.into_iter().collect::<Vec<_>>(), [Permission::ModulesInstall]);
    assert!(!plan.needs_reboot);
}

#[test]
fn the_same_facts_and_choices_have_the_same_digest_and_others_have_not() {
    let one = plan(&Choices::default(), &facts(), &resolved).unwrap().digest();
    assert_eq!(one, plan(&Choices::default(), &facts(), &resolved).unwrap().digest());
    let mut changed = facts();
    changed.sources[0].sha256 = "other".into();
    assert_ne!(one, plan(&Choices::default(), &changed, &resolved).unwrap().digest());
    let optimized = Choices { mode: Mode::Optimized, ..Choices::default() };
    assert_eq!(plan(&optimized, &facts(), &resolved).unwrap_err().code, "processor-unknown");
    let mut known = facts();
    known.cpu = Some(CpuFacts {
        model: "AMD EPYC".into(),
        march: "x86-64-v3".into(),
        nested_paging: true,
        avx512: false,
        nvme: false,
    });
    assert_ne!(one, plan(&optimized, &known, &resolved).unwrap().digest());
}

#[test]
fn modules_that_are_there_as_wanted_are_not_built_again() {
    let first = plan(&Choices::default(), &facts(), &resolved).unwrap();
    let Step::BuildModules(build) = &first.steps[0] else { panic!("no build first") };
    let mut there = facts();
    there.loaded = vec!["vmmon".into(), "vmnet".into()];
    for module in &build.modules {
        there.kernels[0].present.push(PresentModule {
            module: module.module.clone(),
            path: format!("/lib/modules/6.1.0-56-amd64/updates/dkms/{}.ko", module.module),
            record: module.make_vars[0].strip_prefix("RECORD=").map(Into::into),
            signer: None,
            fits: true,
        });
    }
    for step in &first.steps {
        if let Step::WriteFile(w) = step {
            there.files.insert(w.path.clone(), Some(w.content.clone()));
        }
    }
    assert!(plan(&Choices::default(), &there, &resolved).unwrap().is_empty());
    // A copy elsewhere that could be found first is displaced, and then both are put in place anew.
    let mut twice = there.clone();
    let mut copy = twice.kernels[0].present[0].clone();
    copy.path = "/lib/modules/6.1.0-56-amd64/misc/vmmon.ko".into();
    twice.kernels[0].present.push(copy);
    assert!(
        names(&plan(&Choices::default(), &twice, &resolved).unwrap()).contains(&"remove_file".to_owned())
    );
}

#[test]
fn a_running_virtual_machine_stops_the_plan_unless_nothing_is_loaded() {
    let mut facts = facts();
    facts.in_the_way = vec!["vmware-vmx (alice)".into()];
    let refusal = plan(&Choices::default(), &facts, &resolved).unwrap_err();
    assert_eq!(refusal.code, "vmware-running");
    assert!(refusal.to_string().contains("vmware-vmx (alice)"), "{refusal}");
    let later = Choices { load: LoadChoice::Never, ..Choices::default() };
    assert!(!names(&plan(&later, &facts, &resolved).unwrap()).contains(&"load_modules".to_owned()));
}

#[test]
fn secure_boot_makes_a_key_and_loads_only_after_the_restart() {
    let mut facts = facts();
    facts.secure_boot = Some(true);
    facts.has_shim = true;
    facts.has_mokutil = true;
    let choices = Choices { enroll: true, ..Choices::default() };
    let plan1 = plan(&choices, &facts, &resolved).unwrap();
    assert_eq!(names(&plan1)[2], "create_signing_key");
    assert!(names(&plan1).contains(&"enroll_key".to_owned()));
    assert!(!names(&plan1).contains(&"load_modules".to_owned()));
    assert!(plan1.needs_reboot && plan1.permissions.contains(&Permission::KeysEnroll));
    let without = plan(&Choices::default(), &facts, &resolved).unwrap();
    assert!(without.warnings.iter().any(|w| w.message.contains("not trusted yet")), "{:?}", without.warnings);
    let never = Choices { sign: SignChoice::Never, ..Choices::default() };
    assert_eq!(plan(&never, &facts, &resolved).unwrap_err().code, "signature-required");
}

#[test]
fn a_trusted_distribution_key_signs_and_is_never_replaced() {
    let mut facts = facts();
    facts.secure_boot = Some(true);
    facts.keys = vec![KeyFacts {
        own: false,
        owner: "shim-signed".into(),
        key: "/var/lib/shim-signed/mok/MOK.priv".into(),
        certificate: "/var/lib/shim-signed/mok/MOK.der".into(),
        trusted: Some(true),
        pending: false,
    }];
    let plan = plan(&Choices::default(), &facts, &resolved).unwrap();
    assert!(!names(&plan).contains(&"create_signing_key".to_owned()));
    assert!(names(&plan).contains(&"load_modules".to_owned()));
    let signed = plan.steps.iter().any(|s| matches!(s, Step::InstallModule(i) if i.sign.as_ref().is_some_and(|k| k.key.ends_with("MOK.priv"))));
    assert!(signed);
}

#[test]
fn a_kernel_without_headers_is_left_out_and_the_others_go_on() {
    let mut facts = facts();
    facts.unusable = vec![UnusableKernel {
        release: "6.12.1".into(),
        reason: "its headers are not installed".into(),
        remedy: "apt-get install linux-headers-6.12.1".into(),
    }];
    let named = Choices {
        kernels: KernelChoice::Releases(vec!["6.12.1".into(), "6.1.0-56-amd64".into()]),
        ..Choices::default()
    };
    let made = plan(&named, &facts, &resolved).unwrap();
    assert_eq!(names(&made)[0], "build_modules");
    let not_done: Vec<(String, String)> = made.not_done().into_iter().map(|k| (k.kernel, k.text)).collect();
    let why = "its headers are not installed; apt-get install linux-headers-6.12.1";
    assert_eq!(not_done, [("6.12.1".to_owned(), why.to_owned())]);
    // What has no word for a part refuses.
    let refusal = rehearsals(&named, &facts, &resolved).unwrap_err();
    assert!(refusal.to_string().ends_with("apt-get install linux-headers-6.12.1"), "{refusal}");
    let all = Choices { kernels: KernelChoice::All, ..Choices::default() };
    let made = plan(&all, &facts, &resolved).unwrap();
    assert!(made.warnings.iter().any(|w| w.message.contains("6.12.1 is left out")));
    assert!(made.not_done().is_empty() && made.left_out.len() == 1, "nobody asked for it by name");
    // With nothing else to do it is still not done.
    facts.kernels.clear();
    assert_eq!(plan(&named, &facts, &resolved).unwrap_err().code, "headers-missing");
}

#[test]
fn a_kernel_that_the_sources_do_not_fit_is_left_out_and_the_others_go_on() {
    let mut machine = facts();
    machine.kernels.push(kernel("7.9.1", false));
    let resolve = |kernel: &KernelFacts, source: &SourceFacts, mode: Mode, record: &str| {
        if kernel.release == "7.9.1" {
            return Err(Refusal::new("sources-do-not-fit", "timers are not what they were", "Report it."));
        }
        resolved(kernel, source, mode, record)
    };
    let releases = vec!["6.1.0-56-amd64".into(), "7.9.1".into()];
    let named = Choices { kernels: KernelChoice::Releases(releases), ..Choices::default() };
    let made = plan(&named, &machine, &resolve).unwrap();
    assert_eq!(made.not_done().len(), 1);
    assert_eq!(made.left_out[0].reason, "timers are not what they were");
    assert!(made.steps.iter().all(|s| s.kernel() != Some("7.9.1")));
}

#[test]
fn immutable_systems_and_missing_sources_are_refused_with_guidance() {
    let mut nixos = facts();
    nixos.immutable = Some("Set `virtualisation.vmware.host.enable = true;`.".into());
    assert_eq!(plan(&Choices::default(), &nixos, &resolved).unwrap_err().code, "immutable-system");
    let mut bare = facts();
    bare.sources.clear();
    assert_eq!(plan(&Choices::default(), &bare, &resolved).unwrap_err().code, "sources-missing");
    let sealed = Choices {
        source: SourceChoice::Sealed { sha256: "0".into(), name: "x.tar".into() },
        ..Choices::default()
    };
    assert!(plan(&sealed, &bare, &resolved).unwrap_err().to_string().contains("x.tar"));
}

#[test]
fn an_initramfs_is_made_anew_only_where_it_holds_the_modules() {
    let mut facts = facts();
    facts.kernels[0].initramfs = Some(InitramfsFacts {
        tool: InitramfsTool::UpdateInitramfs,
        images: vec!["/boot/initrd.img-6.1.0-56-amd64".into()],
    });
    let plan = plan(&Choices::default(), &facts, &resolved).unwrap();
    assert!(names(&plan).contains(&"rebuild_initramfs".to_owned()));
    assert!(plan.permissions.contains(&Permission::BootConfigure));
}

#[test]
fn a_scratch_root_is_never_loaded_from() {
    let mut facts = facts();
    facts.machine = false;
    assert!(
        !names(&plan(&Choices::default(), &facts, &resolved).unwrap()).contains(&"load_modules".to_owned())
    );
}

#[test]
fn loaded_modules_are_renewed_between_stopping_and_restarting_their_services() {
    let mut facts = facts();
    facts.loaded = vec!["vmmon".into(), "vmnet".into()];
    facts.services = vec!["vmware-networks.service".into()];
    let plan = plan(&Choices::default(), &facts, &resolved).unwrap();
    let names = names(&plan);
    assert_eq!(
        names[names.len() - 4..],
        ["stop_services", "unload_modules", "load_modules", "restart_services"]
    );
    let Some(Step::UnloadModules(unload)) = plan.steps.iter().rev().nth(2) else { panic!("{names:?}") };
    assert_eq!(unload.modules, ["vmnet", "vmmon"], "vmnet goes first");
}

#[test]
fn everything_is_built_and_tried_before_the_first_change() {
    let mut machine = facts();
    machine.kernels.push(kernel("6.12.1", false));
    machine.secure_boot = Some(true);
    let plan = plan(&Choices::default(), &machine, &resolved).unwrap();
    let names = names(&plan);
    assert_eq!(names[..4], ["build_modules", "build_modules", "rehearse", "rehearse"]);
    assert_eq!(names[4], "create_signing_key");
    assert!(plan.warnings.iter().all(|w| !w.message.contains("not tried")), "{:?}", plan.warnings);
}

#[test]
fn a_rehearsal_that_cannot_be_is_a_warning_unless_it_was_asked_for() {
    let mut no_qemu = facts();
    no_qemu.no_rehearsal = Some("QEMU (apt-get install qemu-system-x86)".into());
    let mut no_image = facts();
    no_image.kernels[0].image = None;
    for (machine, says) in
        [(no_qemu, "apt-get install qemu-system-x86"), (no_image, "boot image is not there")]
    {
        let plan = plan(&Choices::default(), &machine, &resolved).unwrap();
        assert!(!names(&plan).contains(&"rehearse".to_owned()));
        assert!(plan.warnings.iter().any(|w| w.message.contains(says)), "{:?}", plan.warnings);
        let always = Choices { rehearse: RehearseChoice::Always, ..Choices::default() };
        let refusal = super::plan::plan(&always, &machine, &resolved).unwrap_err();
        assert_eq!(refusal.code, "rehearsal-impossible");
        assert!(refusal.reason.contains(says), "{refusal}");
        let never = Choices { rehearse: RehearseChoice::Never, ..Choices::default() };
        let plan = super::plan::plan(&never, &machine, &resolved).unwrap();
        assert!(plan.warnings.is_empty() && !names(&plan).contains(&"rehearse".to_owned()));
    }
}

#[test]
fn a_rehearsal_alone_builds_for_each_kernel_whatever_is_installed() {
    let mut machine = facts();
    machine.kernels.push(kernel("6.12.1", false));
    // VMware runs: nothing is loaded, so that it is not in the way.
    machine.in_the_way = vec!["vmware-vmx (alice)".into()];
    let all = rehearsals(&Choices::default(), &machine, &resolved).unwrap();
    let kernels: Vec<_> = all.iter().map(|(build, rehearsal)| (&*build.kernel, &*rehearsal.image)).collect();
    assert_eq!(
        kernels,
        [("6.1.0-56-amd64", "/boot/vmlinuz-6.1.0-56-amd64"), ("6.12.1", "/boot/vmlinuz-6.12.1")]
    );
    assert!(all.iter().all(|(_, r)| r.required && r.modules == ["vmmon", "vmnet"]));
}
