// SPDX-License-Identifier: GPL-3.0-or-later
use super::super::catalogue::Branch;
use super::super::setup::{TextFile, gather};
use super::super::tests::{names, unpack};
use super::*;
use crate::engine::packages::{PackageChange, PackageManager};
use crate::flows::packages::PackageFacts;

fn ground() -> (Catalogue, Rules) {
    (Catalogue::built_in().unwrap(), Rules::built_in().unwrap())
}

/// What a recorded host has.
fn seen(name: &str) -> Result<SetupFacts, Refusal> {
    let (catalogue, rules) = ground();
    gather(&unpack(name, "").host, &Choices::default(), &catalogue, &rules)
}

/// The same with a package manager that could install all that is wanted, and the files that come with Proxmox and
/// with Hostwright.
fn equipped(mut facts: SetupFacts, choices: &Choices) -> Result<SetupFacts, Refusal> {
    let (catalogue, rules) = ground();
    let decision = super::super::decide(choices, &facts.vgpu, &catalogue, &rules)?;
    let release = rules.proxmox(&decision.proxmox).unwrap();
    let wanted = packages(&decision, choices, &facts.vgpu, release, false);
    let change = |n: &String| PackageChange { name: n.clone(), version: "1".into(), from: None };
    // The first stage has installed them.
    let missing = if choices.stage == Some(Stage::Install) { Vec::new() } else { wanted.clone() };
    facts.packages = PackageFacts {
        manager: Some(PackageManager::Apt),
        missing: Finding::Seen(missing),
        changes: Finding::Seen(Some(wanted.iter().map(change).collect())),
        wanted,
        removed: Vec::new(),
    };
    facts.keyrings = vec![sources::keyrings(&release.codename)[0].clone()];
    facts.program = Some("/usr/bin/hostwright".into());
    Ok(facts)
}

fn facts(name: &str, choices: &Choices) -> Result<SetupFacts, Refusal> {
    equipped(seen(name)?, choices)
}

fn given(name: &str) -> KeptFile {
    KeptFile { name: name.into(), sha256: "ab".repeat(32), size: 5 }
}

/// All that can be given for a branch.
fn choices(branch: Option<Branch>, stage: Option<Stage>) -> Choices {
    let (catalogue, _) = ground();
    let driver = branch.and_then(|b| catalogue.driver(b));
    Choices {
        branch,
        stage,
        driver: driver.map(|d| given(&d.file_name)),
        patch: driver.and_then(|d| d.unlock_patch.as_deref()).map(given),
        unlock_source: Some("cd".repeat(32)),
        ..Choices::default()
    }
}

fn planned(name: &str, choices: &Choices) -> Result<Plan, Refusal> {
    let (catalogue, rules) = ground();
    plan(choices, &facts(name, choices)?, &catalogue, &rules)
}

fn titles(planned: &Result<Plan, Refusal>) -> String {
    match planned {
        Err(refusal) => format!("  refused ({}): {}\n", refusal.code, refusal.reason),
        Ok(plan) if plan.steps.is_empty() => "  nothing to do\n".to_owned(),
        Ok(plan) => {
            let lines = plan.steps.iter().map(|s| format!("  - {}\n", s.title()));
            let reboot = if plan.needs_reboot { "  then a restart\n" } else { "" };
            lines.collect::<String>() + reboot
        }
    }
}

/// Every difference in what would be done is looked at by a person.
#[test]
fn each_recorded_host_with_each_branch_is_planned_as_it_was() {
    let (catalogue, rules) = ground();
    let branches: Vec<Branch> = catalogue.drivers().map(|d| d.branch).collect();
    for name in names() {
        let mut text = String::new();
        // A host is unpacked and looked at once; only what is chosen differs.
        let seen = seen(&name).unwrap();
        for branch in std::iter::once(None).chain(branches.iter().copied().map(Some)) {
            let shown = branch.map_or_else(|| "without a choice".to_owned(), |b| b.to_string());
            for (stage, word) in [(Stage::Prepare, "stage 1"), (Stage::Install, "stage 2")] {
                let choices = choices(branch, Some(stage));
                let planned = equipped(seen.clone(), &choices)
                    .and_then(|facts| plan(&choices, &facts, &catalogue, &rules));
                text.push_str(&format!("{shown}, {word}\n{}", titles(&planned)));
            }
        }
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vgpu/snapshots");
        insta::with_settings!({ snapshot_path => folder, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(format!("{name}.plan"), text);
        });
    }
}

#[test]
fn a_plan_that_was_shown_is_the_plan_that_runs() {
    let choices = choices(Some("17.6".parse().unwrap()), None);
    let first = planned("pve8-rtx-2080", &choices).unwrap();
    let again = planned("pve8-rtx-2080", &choices).unwrap();
    assert_eq!(first.digest(), again.digest());
    let text = serde_json::to_string(&first).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), first);
    // What the plan says of its choices makes the same plan.
    let said: Choices = serde_json::from_value(first.choices.clone()).unwrap();
    assert_eq!(planned("pve8-rtx-2080", &said).unwrap().digest(), first.digest());
}

fn source(path: &str, text: &str) -> TextFile {
    TextFile { path: path.into(), text: text.into(), mode: 0o644 }
}

fn edited(name: &str, files: Vec<TextFile>) -> Vec<(String, String)> {
    let mut facts = facts(name, &Choices::default()).unwrap();
    facts.sources = Finding::Seen(files);
    let (_, rules) = ground();
    let version = facts.vgpu.proxmox.seen().unwrap().clone().unwrap();
    let edits = sources::edits(&facts, rules.proxmox(&version).unwrap()).unwrap();
    edits.into_iter().map(|w| (w.path, w.content)).collect()
}

#[test]
fn enterprise_is_switched_off_and_no_subscription_added_in_the_format_of_the_release() {
    let list = "deb https://enterprise.proxmox.com/debian/pve bookworm pve-enterprise\n";
    let edits = edited("pve8-rtx-2080", vec![source("/etc/apt/sources.list.d/pve-enterprise.list", list)]);
    assert_eq!(edits.len(), 2);
    assert!(edits[0].1.starts_with('#'), "{}", edits[0].1);
    assert!(edits[1].0.ends_with("hostwright-pve-no-subscription.list"));
    assert!(edits[1].1.contains("deb [signed-by=/usr/share/keyrings/proxmox-archive-keyring.gpg] http://download.proxmox.com/debian/pve bookworm pve-no-subscription"));
    let stanza = "Types: deb\nURIs: https://enterprise.proxmox.com/debian/pve\nSuites: trixie\nComponents: pve-enterprise\n";
    let edits =
        edited("pve9-no-card", vec![source("/etc/apt/sources.list.d/pve-enterprise.sources", stanza)]);
    assert!(edits[0].1.contains("Enabled: false"), "{}", edits[0].1);
    assert!(edits[1].0.ends_with(".sources") && edits[1].1.contains("Signed-By: "), "{edits:?}");
}

#[test]
fn a_double_is_switched_off_and_what_is_there_stays_byte_for_byte() {
    let one = "# mine\ndeb   http://deb.debian.org/debian bookworm main\n";
    let two = "deb http://deb.debian.org/debian/ bookworm main # again\n\
               deb http://download.proxmox.com/debian/pve bookworm pve-no-subscription\n";
    let files = vec![source("/etc/apt/sources.list", one), source("/etc/apt/sources.list.d/x.list", two)];
    let edits = edited("pve8-rtx-2080", files);
    let [(path, text)] = edits.as_slice() else { panic!("{edits:?}") };
    assert_eq!(path, "/etc/apt/sources.list.d/x.list");
    assert!(text.starts_with('#') && text.contains("pve-no-subscription\n"), "{text}");
}

#[test]
fn a_host_with_a_subscription_keeps_its_repository() {
    let mut facts = facts("pve8-rtx-2080", &Choices::default()).unwrap();
    facts.subscription = true;
    let list = "deb https://enterprise.proxmox.com/debian/pve bookworm pve-enterprise\n";
    facts.sources = Finding::Seen(vec![source("/etc/apt/sources.list.d/pve-enterprise.list", list)]);
    let (_, rules) = ground();
    assert_eq!(sources::edits(&facts, rules.proxmox("8.2.4").unwrap()).unwrap(), []);
}

#[test]
fn vfio_virqfd_is_named_for_old_kernels_only() {
    assert!(modules_load(Some("5.15.158-2-pve")).contains("vfio_virqfd"));
    assert!(!modules_load(Some("6.8.12-4-pve")).contains("vfio_virqfd"));
}

#[test]
fn the_second_stage_is_refused_until_the_first_came_into_effect() {
    let choices = choices(Some("16.9".parse().unwrap()), Some(Stage::Install));
    // 6.5 is to be pinned and another kernel runs.
    assert_eq!(planned("pve8-gtx-1080", &choices).unwrap_err().code, "restart-first");
    let asked = self::choices(Some("20.1".parse().unwrap()), Some(Stage::Install));
    assert_eq!(planned("pve9-secure-boot-zfs", &asked).unwrap_err().code, "key-not-trusted");
}

#[test]
fn the_second_stage_is_refused_without_the_packages_of_the_first() {
    let choices = choices(Some("20.1".parse().unwrap()), Some(Stage::Install));
    let mut facts = facts("pve9-a16-sriov", &choices).unwrap();
    facts.vgpu.driver = Finding::Seen(None);
    let (catalogue, rules) = ground();
    assert!(plan(&choices, &facts, &catalogue, &rules).is_ok());
    facts.packages.missing = Finding::Seen(vec!["dkms".to_owned()]);
    let refused = plan(&choices, &facts, &catalogue, &rules).unwrap_err();
    assert_eq!(refused.code, "prepare-first");
    assert!(refused.reason.contains("dkms"), "{}", refused.reason);
}

#[test]
fn an_unanswered_blue_screen_is_asked_for_again() {
    let choices = choices(Some("20.1".parse().unwrap()), Some(Stage::Prepare));
    let plan = planned("pve9-secure-boot-zfs", &choices).unwrap();
    assert!(plan.steps.iter().any(|s| matches!(s, Step::EnrollKey(_))));
    assert!(plan.permissions.contains(&Permission::KeysEnroll));
}

#[test]
fn a_patch_that_no_card_needs_is_left_alone_and_said() {
    let given = choices(Some("17.6".parse().unwrap()), Some(Stage::Prepare));
    let native = planned("pve8-two-mixed", &given).unwrap();
    assert!(!native.steps.iter().any(|s| matches!(s, Step::KeepFile(k) if k.what == "the patch")));
    let said: Vec<&str> = native.warnings.iter().map(|w| w.message.as_str()).collect();
    assert!(said.iter().any(|m| m.contains("550.163.02.patch is not used")), "{said:?}");
    assert!(said.iter().any(|m| m.contains("vgpu_unlock-rs is not used")), "{said:?}");
    let unlocked = planned("pve8-rtx-2080", &given).unwrap();
    assert!(unlocked.steps.iter().any(|s| matches!(s, Step::KeepFile(k) if k.what == "the patch")));
    assert!(!unlocked.warnings.iter().any(|w| w.message.contains("is not used")));
}

#[test]
fn a_file_that_could_lead_elsewhere_is_no_name() {
    for name in ["../x.run", "a/b", ".hidden", ""] {
        let choices = Choices { driver: Some(given(name)), ..choices(Some("17.6".parse().unwrap()), None) };
        assert_eq!(planned("pve8-rtx-2080", &choices).unwrap_err().code, "bad-name", "{name}");
    }
}

#[test]
fn cards_for_passthrough_are_bound_by_their_slot() {
    let roles = [("0000:5e:00.0".to_owned(), Role::Passthrough)].into();
    let choices = Choices { roles, stage: Some(Stage::Passthrough), ..Choices::default() };
    let plan = planned("pve8-two-mixed", &choices).unwrap();
    let rule = plan.steps.iter().find_map(|s| match s {
        Step::WriteFile(w) if w.path == PASSTHROUGH => Some(w.content.clone()),
        _ => None,
    });
    assert!(rule.unwrap().contains("KERNEL==\"0000:5e:00.*\", ATTR{driver_override}=\"vfio-pci\""));
    let none = Choices { stage: Some(Stage::Passthrough), ..Choices::default() };
    assert_eq!(planned("pve8-two-mixed", &none).unwrap_err().code, "no-card");
}
