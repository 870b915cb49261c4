// SPDX-License-Identifier: GPL-3.0-or-later
//! Facts, choices, catalogue and rules in; a decision or a refusal out. Pure.

use super::catalogue::{Branch, Catalogue, Support};
use super::choices::{Choices, Role};
use super::decision::{Card, ConditionKind, DECISION_VERSION, Decision, Row, Verdict};
use super::facts::VgpuFacts;
use super::kernel;
use super::prepare;
use super::resolve::{self, Ground, Known};
use super::rules::Rules;
use crate::detect::Finding;
use crate::detect::nvidia::NvidiaGpu;
use crate::engine::plan::Refusal;

/// Decides.
///
/// # Errors
/// A refusal with its reason: no Proxmox VE, an unknown release of it, cards that could not be looked at, or
/// choices that name what is not there.
pub fn decide(
    choices: &Choices,
    facts: &VgpuFacts,
    catalogue: &Catalogue,
    rules: &Rules,
) -> Result<Decision, Refusal> {
    let version = match &facts.proxmox {
        Finding::Seen(Some(version)) => version,
        Finding::Seen(None) => {
            return Err(Refusal::new(
                "not-proxmox",
                "This is no Proxmox VE: there is no PVE/pvecfg.pm that tells its version.",
                "Run this on the Proxmox host itself.",
            ));
        }
        Finding::CouldNotLook { why } => {
            let reason = format!("Whether this is Proxmox VE could not be looked at: {why}.");
            return Err(Refusal::new("not-proxmox", reason, "Run this on the Proxmox host itself."));
        }
    };
    let Some(release) = rules.proxmox(version) else {
        let known: Vec<String> = rules.proxmox.iter().map(|p| p.major.to_string()).collect();
        return Err(Refusal::new(
            "proxmox-release",
            format!("Nothing is known of Proxmox VE {version}."),
            format!("Known are the releases {}.", known.join(", ")),
        ));
    };
    let gpus = match &facts.gpus {
        Finding::Seen(gpus) => gpus,
        Finding::CouldNotLook { why } => {
            let reason = format!("The graphics cards could not be looked at: {why}.");
            return Err(Refusal::new("no-look", reason, "Run this on the running Proxmox host."));
        }
    };
    refuse_unknown_choices(choices, gpus, catalogue)?;

    let all: Vec<Known<'_>> = gpus
        .iter()
        .map(|gpu| {
            let entry = catalogue.gpu(&gpu.device_id);
            Known { gpu, entry, generation: entry.and_then(|e| rules.generation(&e.chip)) }
        })
        .collect();
    let cards = cards(choices, &all);
    let serving: Vec<Known<'_>> =
        all.iter().zip(&cards).filter(|(_, c)| c.role == Role::Vgpu).map(|(k, _)| *k).collect();
    let ground = Ground { facts, rules, release };
    let rows: Vec<Row> =
        catalogue.drivers().map(|driver| resolve::row(ground, &serving, &all, driver)).collect();
    let branch = choices.branch.or_else(|| best(facts, &rows));
    let row = rows.iter().find(|r| Some(r.branch) == branch);
    let preparation = prepare::list(facts, release, row.filter(|r| !matches!(r.verdict, Verdict::No { .. })));
    let warnings = warnings(facts, &all, &cards);
    Ok(Decision {
        schema: DECISION_VERSION,
        proxmox: version.clone(),
        kernel: kernel::will_run(facts).map(str::to_owned),
        branch,
        chosen: choices.branch.is_some(),
        cards,
        rows,
        preparation,
        warnings,
    })
}

fn refuse_unknown_choices(
    choices: &Choices,
    gpus: &[NvidiaGpu],
    catalogue: &Catalogue,
) -> Result<(), Refusal> {
    for address in choices.roles.keys() {
        if !gpus.iter().any(|g| &g.address == address) {
            let there: Vec<&str> = gpus.iter().map(|g| g.address.as_str()).collect();
            let remedy = match there.as_slice() {
                [] => "There is no NVIDIA card here.".to_owned(),
                there => format!("NVIDIA cards are at {}.", there.join(", ")),
            };
            return Err(Refusal::new(
                "no-such-card",
                format!("There is no NVIDIA card at {address}."),
                remedy,
            ));
        }
    }
    if let Some(branch) = choices.branch
        && catalogue.driver(branch).is_none()
    {
        let known: Vec<String> = catalogue.drivers().map(|d| d.branch.to_string()).collect();
        return Err(Refusal::new(
            "unknown-branch",
            format!("Branch {branch} is not in the catalogue."),
            format!(
                "Known are {}. A row of your own in ~/.config/hostwright/vgpu/drivers.csv makes another known.",
                known.join(", ")
            ),
        ));
    }
    Ok(())
}

/// What each card is for. Native cards serve; cards to unlock serve only where no native one does, because
/// the patched driver would be everybody's.
fn cards(choices: &Choices, all: &[Known<'_>]) -> Vec<Card> {
    let native_chosen = |k: &Known<'_>| {
        k.support().0 == Some(Support::Native)
            && choices.roles.get(&k.gpu.address).is_none_or(|role| *role == Role::Vgpu)
    };
    let any_native = all.iter().any(native_chosen);
    let card = |k: &Known<'_>| {
        let (support, remark) = k.support();
        let (role, role_reason) = match (choices.roles.get(&k.gpu.address), support) {
            (Some(role), _) => (*role, None),
            (None, Some(Support::Native)) => (Role::Vgpu, None),
            (None, Some(Support::Unlock)) if !any_native => (Role::Vgpu, None),
            (None, Some(Support::Unlock)) => (
                Role::Host,
                Some(
                    "a native card serves; unlocking this one too would force the patched driver upon both, and the \
                     branches that both can have"
                        .to_owned(),
                ),
            ),
            (None, _) => (Role::Host, Some("it cannot serve virtual GPUs".to_owned())),
        };
        Card {
            address: k.gpu.address.clone(),
            device_id: k.gpu.device_id.clone(),
            name: k.entry.map(|e| e.name.clone()),
            chip: k.entry.map(|e| e.chip.clone()),
            generation: k.generation.map(|g| g.name.clone()),
            support,
            remark,
            role,
            role_reason,
        }
    };
    all.iter().map(card).collect()
}

/// The best row: what is installed and can stay; else what works as things are before what has conditions, light conditions before heavy ones,
/// newer before older.
fn best(facts: &VgpuFacts, rows: &[Row]) -> Option<Branch> {
    let installed = facts.driver.seen().and_then(|d| d.as_ref()).filter(|d| d.is_vgpu);
    let stays = |row: &&Row| {
        !matches!(row.verdict, Verdict::No { .. })
            && installed.and_then(|d| d.loaded.as_deref()) == Some(&row.host_driver)
    };
    if let Some(row) = rows.iter().find(stays) {
        return Some(row.branch);
    }
    let weight = |row: &&Row| -> Option<(ConditionKind, usize)> {
        match &row.verdict {
            Verdict::Works => Some((ConditionKind::SignModules, 0)),
            Verdict::WorksIf { conditions } => {
                Some((conditions.iter().map(|c| c.kind).max()?, conditions.len()))
            }
            Verdict::No { .. } => None,
        }
    };
    // `min_by_key` takes the first of equals, and the newest stand first.
    let possible = rows.iter().filter_map(|row| Some((weight(&row)?, row.branch)));
    possible.min_by_key(|(weight, _)| *weight).map(|(_, branch)| branch)
}

fn warnings(facts: &VgpuFacts, all: &[Known<'_>], cards: &[Card]) -> Vec<String> {
    let mut found = Vec::new();
    for (known, card) in all.iter().zip(cards) {
        let gpu = known.gpu;
        let name = card.name.as_deref().unwrap_or(&card.device_id);
        if card.role != Role::Host && !gpu.group_shared_with.is_empty() {
            found.push(format!(
                "{name} ({}) shares IOMMU group {} with {}: they can only be handed on together.",
                gpu.address,
                gpu.iommu_group.unwrap_or_default(),
                gpu.group_shared_with.join(", ")
            ));
        }
        if card.role != Role::Host && gpu.boot_vga {
            found.push(format!(
                "The console of the firmware is on {name} ({}): the host will have no picture.",
                gpu.address
            ));
        }
        if card.role == Role::Vgpu && gpu.driver.as_deref() == Some("vfio-pci") {
            found.push(format!(
                "{name} ({}) is held by vfio-pci for passthrough: that binding must go before it serves virtual GPUs.",
                gpu.address
            ));
        }
        if let Some(sriov) = &gpu.sriov
            && usize::try_from(sriov.enabled).unwrap_or(usize::MAX) != sriov.functions.len()
        {
            found.push(format!(
                "{name} ({}) says it has {} virtual functions, and {} are there.",
                gpu.address,
                sriov.enabled,
                sriov.functions.len()
            ));
        }
    }
    let twins = |k: &Known<'_>| all.iter().filter(|o| o.gpu.device_id == k.gpu.device_id).count() > 1;
    if cards.iter().any(|c| c.role == Role::Passthrough) && all.iter().any(twins) {
        found.push(
            "Cards of the same model must be told apart by their slot: binding vfio-pci by device id would take all \
             of them."
                .to_owned(),
        );
    }
    if let Finding::CouldNotLook { why } = &facts.pin {
        found.push(format!("Whether a kernel is pinned could not be looked at: {why}."));
    }
    if let Finding::Seen(earlier) = &facts.earlier {
        for left in earlier.iter().filter(|e| !e.in_the_way) {
            found.push(format!("An earlier installation left {}: {}.", left.path, left.what));
        }
    }
    found
}
