// SPDX-License-Identifier: GPL-3.0-or-later
//! The decision on recorded hosts: each with each branch as a snapshot, and what matters in sentences.

use super::catalogue::Branch;
use super::decision::{
    ConditionKind, Decision, ExpectedInterface, KernelAction, PreparationState, Row, Verdict,
};
use super::{Catalogue, Choices, Role, Rules, VgpuFacts, decide, gather};
use crate::detect::Finding;
use crate::detect::nvidia::Interface;
use crate::host::HostKind;
use crate::recorded::{Recorded, unpack_text};
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vgpu")
}

/// The names of the recorded hosts.
pub(crate) fn names() -> Vec<String> {
    let entries = std::fs::read_dir(folder().join("hosts")).unwrap();
    let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter_map(|n| n.strip_suffix(".host").map(str::to_owned)).collect();
    names.sort();
    names
}

/// Unpacks a recorded host, with more in the same format.
pub(crate) fn unpack(name: &str, more: &str) -> Recorded {
    let text = std::fs::read_to_string(folder().join(format!("hosts/{name}.host"))).unwrap() + more;
    unpack_text(name, &text, HostKind::Machine)
}

fn facts(name: &str) -> VgpuFacts {
    gather(&unpack(name, "").host)
}

fn decided(choices: &Choices, facts: &VgpuFacts) -> Decision {
    decide(choices, facts, &Catalogue::built_in().unwrap(), &Rules::built_in().unwrap()).unwrap()
}

fn branch(text: &str) -> Branch {
    text.parse().unwrap()
}

fn row<'d>(decision: &'d Decision, of: &str) -> &'d Row {
    decision.rows.iter().find(|r| r.branch == branch(of)).unwrap()
}

fn kinds(row: &Row) -> Vec<ConditionKind> {
    match &row.verdict {
        Verdict::WorksIf { conditions } => conditions.iter().map(|c| c.kind).collect(),
        _ => Vec::new(),
    }
}

fn codes(row: &Row) -> Vec<&str> {
    match &row.verdict {
        Verdict::No { reasons } => reasons.iter().map(|r| r.code.as_str()).collect(),
        _ => Vec::new(),
    }
}

/// Every difference in what is found and decided is looked at by a person.
#[test]
fn each_recorded_host_with_each_branch_is_decided_as_it_was() {
    let names = names();
    assert!(names.len() >= 8, "{names:?}");
    for name in names {
        let facts = facts(&name);
        let decision = decided(&Choices::default(), &facts);
        assert_eq!(decision.rows.len(), Catalogue::built_in().unwrap().drivers().count());
        insta::with_settings!({ snapshot_path => folder().join("snapshots"), prepend_module_to_snapshot => false }, {
            insta::assert_json_snapshot!(format!("{name}.facts"), facts);
            insta::assert_json_snapshot!(format!("{name}.decision"), decision);
        });
        for (text, back) in [
            (serde_json::to_string(&facts).unwrap(), None),
            (serde_json::to_string(&decision).unwrap(), Some(&decision)),
        ] {
            match back {
                None => assert_eq!(serde_json::from_str::<VgpuFacts>(&text).unwrap(), facts),
                Some(decision) => assert_eq!(&serde_json::from_str::<Decision>(&text).unwrap(), decision),
            }
        }
    }
}

#[test]
fn pascal_cards_end_at_branch_16() {
    let decision = decided(&Choices::default(), &facts("pve7-tesla-p4"));
    for row in &decision.rows {
        assert_eq!(row.branch.major > 16, codes(row) == ["branch-too-new"], "{row:?}");
    }
    assert_eq!(row(&decision, "16.9").installer, ["--dkms", "-m=kernel", "-s"]);
}

#[test]
fn an_unlocked_pascal_card_gets_an_older_kernel_where_the_pool_can_be_read_by_it() {
    let facts = facts("pve8-gtx-1080");
    let decision = decided(&Choices::default(), &facts);
    let best = decision.row().unwrap();
    assert_eq!(best.branch, branch("16.9"), "the newest build that has a patch");
    let kernel = best.kernel.as_ref().unwrap();
    assert_eq!((kernel.release.as_str(), kernel.action), ("6.5.13-6-pve", KernelAction::Pin));
    assert_eq!(codes(row(&decision, "16.14")), ["no-unlock-patch"]);
    assert_eq!(best.installer, ["--dkms", "-m=kernel", "-s"]);
    assert!(decision.warnings.iter().any(|w| w.contains("0000:02:00.0") && !w.contains("0000:00:01.0")));

    // The same with a feature that only newer kernels know, or that nobody knows.
    for name in ["block_cloning_endian", "from_the_future"] {
        let newer = VgpuFacts { root_pool: newer_pool(&facts, name), ..facts.clone() };
        let decision = decided(&Choices::default(), &newer);
        assert_eq!(codes(row(&decision, "16.9")), ["root-pool"], "{name}");
        assert_eq!(decision.branch, None);
    }
}

fn newer_pool(facts: &VgpuFacts, feature: &str) -> Finding<Option<crate::detect::proxmox::RootPool>> {
    use crate::detect::proxmox::{FeatureState, PoolFeature};
    let mut pool = facts.root_pool.clone();
    if let Finding::Seen(Some(pool)) = &mut pool
        && let Finding::Seen(features) = &mut pool.features
    {
        features.push(PoolFeature { name: feature.to_owned(), state: FeatureState::Enabled });
    }
    pool
}

#[test]
fn a_pool_that_could_not_be_looked_at_forbids_an_older_kernel() {
    let facts = facts("pve8-gtx-1080");
    let unseen = VgpuFacts { root_pool: Finding::unseen("no permission"), ..facts };
    let decision = decided(&Choices::default(), &unseen);
    assert_eq!(codes(row(&decision, "16.9")), ["root-pool"]);
}

#[test]
fn no_kernel_is_pinned_where_no_rule_needs_it() {
    for name in ["pve7-tesla-p4", "pve9-a16-sriov", "pve9-rtx-6000-ada", "pve8-two-mixed"] {
        let decision = decided(&Choices::default(), &facts(name));
        let best = decision.row().unwrap();
        assert_eq!(best.kernel.as_ref().unwrap().action, KernelAction::Keep, "{name}");
    }
}

#[test]
fn an_unlocked_turing_card_goes_to_17_6_and_keeps_its_kernel_there() {
    let decision = decided(&Choices::default(), &facts("pve8-rtx-2080"));
    let best = decision.row().unwrap();
    assert_eq!(best.branch, branch("17.6"));
    assert_eq!(best.kernel.as_ref().unwrap().action, KernelAction::Keep);
    assert_eq!(best.unlock_patch.as_deref(), Some("550.163.02.patch"));
    assert!(kinds(row(&decision, "17.5")).contains(&ConditionKind::PinKernel));
    assert_eq!(codes(row(&decision, "18.0")), ["branch-too-new"]);
    // What another installer left preloads a library that is gone.
    let left = decision.preparation.iter().find(|p| p.code == "earlier").unwrap();
    assert_eq!(left.state, PreparationState::ToDo);
}

#[test]
fn consumer_pascal_and_proxmox_9_never_meet() {
    let mut facts = facts("pve9-no-card");
    facts.gpus = self::facts("pve8-gtx-1080").gpus;
    let decision = decided(&Choices::default(), &facts);
    assert_eq!(decision.branch, None);
    let reasons: Vec<&str> = decision.rows.iter().flat_map(codes).collect();
    assert!(
        reasons.iter().all(|c| ["branch-too-new", "no-unlock-patch", "kernel-too-new"].contains(c)),
        "{reasons:?}"
    );
    assert_eq!(codes(row(&decision, "16.9")), ["kernel-too-new"]);
}

#[test]
fn an_unlocked_turing_card_on_a_6_17_kernel_goes_back_to_6_14() {
    let mut facts = facts("pve9-rtx-6000-ada");
    facts.gpus = self::facts("pve8-rtx-2080").gpus;
    let decision = decided(&Choices::default(), &facts);
    let kernel = row(&decision, "17.6").kernel.clone().unwrap();
    assert_eq!((kernel.release.as_str(), kernel.action), ("6.14.11-4-pve", KernelAction::Pin));
    assert_eq!(codes(row(&decision, "17.5")), ["kernel-too-new"]);
}

#[test]
fn consumer_cards_from_ampere_on_are_never_unlocked_whatever_the_table_says() {
    let mut facts = facts("pve9-a16-sriov");
    // RTX 2050 (GA107) and RTX 2000 Ada (AD107) are marked "unlock" in the table, the RTX 4090 is not.
    for id in ["25a7", "28b0", "2684"] {
        let Finding::Seen(gpus) = &mut facts.gpus else { panic!() };
        gpus[0].device_id = id.to_owned();
        let decision = decided(&Choices::default(), &facts);
        assert!(decision.rows.iter().all(|r| matches!(r.verdict, Verdict::No { .. })), "{id}");
        assert_eq!(decision.cards[0].role, Role::Host);
    }
}

#[test]
fn sriov_cards_are_seen_with_their_functions_and_without_mdev_types() {
    let facts = facts("pve9-a16-sriov");
    let gpus = facts.gpus.seen().unwrap();
    assert_eq!(gpus.len(), 1, "virtual functions are no cards");
    let sriov = gpus[0].sriov.as_ref().unwrap();
    assert_eq!((sriov.total, sriov.enabled, sriov.functions.len()), (4, 4, 4));
    assert_eq!(sriov.functions[0].current_type, Some(701));
    let Interface::VendorVfio { types } = &gpus[0].interface else { panic!("{:?}", gpus[0].interface) };
    assert_eq!(types.len(), 2);
    let decision = decided(&Choices::default(), &facts);
    let installed = row(&decision, "19.2");
    assert_eq!(installed.interface, ExpectedInterface::VendorVfio);
    assert!(installed.proxmox_helper && !row(&decision, "17.6").proxmox_helper);
    assert_eq!(installed.installer, ["--dkms", "-s"]);
    assert_eq!(row(&decision, "16.9").interface, ExpectedInterface::SriovMdev);
}

#[test]
fn a_driver_that_serves_already_stays() {
    for (name, of) in [("pve9-a16-sriov", "19.2"), ("pve7-tesla-p4", "16.5")] {
        let decision = decided(&Choices::default(), &facts(name));
        let best = decision.row().unwrap();
        assert_eq!((best.branch, &best.verdict), (branch(of), &Verdict::Works), "{name}");
        let driver = decision.preparation.iter().find(|p| p.code == "driver").unwrap();
        assert_eq!(driver.state, PreparationState::Done, "{}", driver.text);
    }
    // Nobody's record is as good for the branch after it.
    let decision = decided(&Choices::default(), &facts("pve9-a16-sriov"));
    assert_eq!(kinds(row(&decision, "19.3")), [ConditionKind::Unconfirmed]);
}

#[test]
fn a_workstation_card_with_its_displays_on_is_told_so() {
    let decision = decided(&Choices::default(), &facts("pve9-rtx-6000-ada"));
    assert!(kinds(row(&decision, "17.6")).contains(&ConditionKind::DisplayMode));
}

#[test]
fn seven_x_kernels_need_branch_20_and_a_pool_of_2_4_keeps_them() {
    let decision = decided(&Choices::default(), &facts("pve9-secure-boot-zfs"));
    for row in &decision.rows {
        match (row.branch.major, row.branch.minor) {
            (20, _) | (16, 14) => assert_eq!(kinds(row), [ConditionKind::SignModules], "{}", row.branch),
            _ => assert_eq!(codes(row), ["root-pool"], "{}", row.branch),
        }
    }
    assert_eq!(decision.branch, Some(branch("20.1")));
}

#[test]
fn proxmox_7_has_no_signed_kernels_for_secure_boot() {
    let facts = VgpuFacts { secure_boot: Finding::Seen(true), ..facts("pve7-tesla-p4") };
    let decision = decided(&Choices::default(), &facts);
    assert_eq!(codes(row(&decision, "16.9")), ["no-signed-kernel"]);
}

#[test]
fn an_unsigned_kernel_under_secure_boot_is_to_be_replaced() {
    let mut facts = facts("pve9-secure-boot-zfs");
    let Finding::Seen(kernels) = &mut facts.kernels else { panic!() };
    kernels[0].signed = Some(false);
    facts.key_trusted = Finding::Seen(true);
    let decision = decided(&Choices::default(), &facts);
    assert_eq!(kinds(row(&decision, "20.1")), [ConditionKind::SignedKernel]);
}

#[test]
fn of_mixed_cards_the_native_one_serves_until_somebody_says_otherwise() {
    let facts = facts("pve8-two-mixed");
    let decision = decided(&Choices::default(), &facts);
    let roles: Vec<Role> = decision.cards.iter().map(|c| c.role).collect();
    assert_eq!(roles, [Role::Vgpu, Role::Host, Role::Host]);
    assert_eq!(decision.cards[2].support, None, "an unknown card is said to be unknown");
    assert!(decision.cards[2].remark.as_ref().unwrap().contains("not in the catalogue"));

    let mut choices = Choices::default();
    choices.roles.insert("0000:5e:00.0".to_owned(), Role::Vgpu);
    let both = decided(&choices, &facts);
    assert_eq!(both.row().unwrap().branch, branch("17.6"), "what both can have");
    assert_eq!(both.row().unwrap().installer, ["--dkms", "-m=kernel", "-s"]);
    assert_eq!(codes(row(&both, "19.3")), ["branch-too-new"]);
    assert_eq!(row(&both, "19.3").cards[0].verdict, Verdict::Works);
}

#[test]
fn nothing_is_decided_for_a_machine_that_is_no_proxmox() {
    let none = VgpuFacts { proxmox: Finding::Seen(None), ..facts("pve9-no-card") };
    let (catalogue, rules) = (Catalogue::built_in().unwrap(), Rules::built_in().unwrap());
    let code = |facts: &VgpuFacts, choices: &Choices| {
        decide(choices, facts, &catalogue, &rules).map(|_| ()).unwrap_err().code
    };
    assert_eq!(code(&none, &Choices::default()), "not-proxmox");
    let ten = VgpuFacts { proxmox: Finding::Seen(Some("10.0.1".to_owned())), ..none };
    assert_eq!(code(&ten, &Choices::default()), "proxmox-release");
    let here = facts("pve9-no-card");
    assert_eq!(
        code(&here, &Choices { branch: Some(branch("99.1")), ..Choices::default() }),
        "unknown-branch"
    );
    let roles = [("0000:ff:00.0".to_owned(), Role::Vgpu)].into();
    assert_eq!(code(&here, &Choices { roles, ..Choices::default() }), "no-such-card");
}

#[test]
fn looking_runs_only_commands_that_read() {
    let host = unpack("pve8-gtx-1080", "");
    gather(&host.host);
    let mut calls = host.runner.calls();
    calls.sort();
    let programs: std::collections::BTreeSet<&str> =
        calls.iter().map(|c| c.split(' ').next().unwrap()).collect();
    let allowed = ["/usr/bin/apt-cache", "/usr/sbin/zpool", "/usr/bin/gcc", "/usr/bin/ld", "/usr/bin/make"];
    assert!(programs.iter().all(|p| allowed.contains(p)), "{calls:?}");
}
