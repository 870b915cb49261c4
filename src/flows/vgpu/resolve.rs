// SPDX-License-Identifier: GPL-3.0-or-later
//! One branch for some cards: works, works if, or no.

use super::catalogue::{Branch, DriverEntry, GpuEntry, Support};
use super::decision::{
    CardVerdict, Checksum, Condition, ConditionKind, ExpectedInterface, KernelChoice, Reason, Row, Verdict,
};
use super::facts::VgpuFacts;
use super::kernel::{self, Limit};
use super::rules::{Generation, ProxmoxRelease, Rules, Series};
use crate::detect::Finding;
use crate::detect::nvidia::{Interface, NvidiaGpu};

/// A card with all that is known of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) gpu: &'a NvidiaGpu,
    pub(super) entry: Option<&'a GpuEntry>,
    pub(super) generation: Option<&'a Generation>,
}

impl<'a> Known<'a> {
    /// How it comes to virtual GPUs, with the rules over the catalogue; why not, or what else is known.
    pub(super) fn support(&self) -> (Option<Support>, Option<String>) {
        let Some(entry) = self.entry else {
            let text = format!(
                "10de:{} is not in the catalogue: nothing is known of it; a row of your own makes it known (see \
                 `hostwright vgpu gpus --help`)",
                self.gpu.device_id
            );
            return (None, Some(text));
        };
        match entry.support {
            Support::Native => (Some(Support::Native), None),
            Support::Unlock => match self.generation.and_then(|g| g.no_unlock.clone()) {
                Some(why) => (Some(Support::None), Some(why)),
                None => (Some(Support::Unlock), None),
            },
            Support::None => {
                let rule = self.generation.and_then(|g| g.no_unlock.clone());
                let own = rule.unwrap_or_else(|| "this model has no support for vGPU".to_owned());
                let claim = entry.unconfirmed_support.filter(|s| *s != Support::None).map(|claimed| {
                    format!(
                        "; one installer lists it as {} without a test, which is not relied upon",
                        claimed.word()
                    )
                });
                (Some(Support::None), Some(own + &claim.unwrap_or_default()))
            }
        }
    }

    fn is_sriov(&self) -> bool {
        self.generation.is_some_and(|g| g.sriov)
    }

    /// Whether this driver is loaded and this card offers virtual GPUs through it: better than any record.
    fn serves_with(&self, facts: &VgpuFacts, driver: &DriverEntry) -> bool {
        let loaded = facts.driver.seen().and_then(|d| d.as_ref()).and_then(|d| d.loaded.as_deref());
        loaded == Some(&driver.host_driver) && self.gpu.interface != Interface::None
    }

    fn name(&self) -> &str {
        self.entry.map_or(self.gpu.device_id.as_str(), |e| e.name.as_str())
    }
}

/// What decisions are made from.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) facts: &'a VgpuFacts,
    pub(super) rules: &'a Rules,
    pub(super) release: &'a ProxmoxRelease,
}

/// Collects what speaks against a branch, and what must be met.
#[derive(Default)]
struct Weighed {
    reasons: Vec<Reason>,
    conditions: Vec<Condition>,
    limit: Option<Limit>,
    unlock: bool,
    sriov: bool,
}

impl Weighed {
    fn no(&mut self, code: &str, text: String) {
        let reason = Reason { code: code.to_owned(), text };
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    fn only_if(&mut self, kind: ConditionKind, text: String) {
        let condition = Condition { kind, text };
        if !self.conditions.contains(&condition) {
            self.conditions.push(condition);
        }
    }
}

/// The row of one branch for `cards` together.
pub(super) fn row(ground: Ground<'_>, cards: &[Known<'_>], all: &[Known<'_>], driver: &DriverEntry) -> Row {
    let (verdict, kernel, weighed) = weigh(ground, cards, driver);
    let each = if all.len() > 1 {
        let alone = |k: &Known<'_>| CardVerdict {
            address: k.gpu.address.clone(),
            verdict: weigh(ground, &[*k], driver).0,
        };
        all.iter().map(alone).collect()
    } else {
        Vec::new()
    };
    let interface = interface(ground.rules, driver, kernel.as_ref(), weighed.sriov);
    Row {
        branch: driver.branch,
        host_driver: driver.host_driver.clone(),
        installer: installer(ground.rules, driver.branch, weighed.unlock),
        proxmox_helper: ground.release.vgpu_helper
            && driver.branch >= ground.rules.interface.helper_branch
            && weighed.sriov,
        unlock_patch: driver.unlock_patch.clone().filter(|_| weighed.unlock),
        checksum: match (&driver.sha256, &driver.md5) {
            (Some(_), _) => Checksum::Sha256,
            (None, Some(_)) => Checksum::Md5,
            (None, None) => Checksum::Unknown,
        },
        verdict,
        kernel,
        interface,
        cards: each,
    }
}

fn weigh(
    ground: Ground<'_>,
    cards: &[Known<'_>],
    driver: &DriverEntry,
) -> (Verdict, Option<KernelChoice>, Weighed) {
    let mut weighed = Weighed::default();
    if cards.is_empty() {
        weighed.no("no-card", "no card here is for vGPU".to_owned());
    }
    for card in cards {
        weigh_card(ground, card, driver, &mut weighed);
    }
    if weighed.unlock && weighed.reasons.is_empty() {
        match &driver.unlock_patch {
            Some(_) => weighed.only_if(
                ConditionKind::Unlock,
                "the driver is patched for this build and vgpu_unlock-rs is preloaded by its services"
                    .to_owned(),
            ),
            None => weighed.no(
                "no-unlock-patch",
                format!("no unlock patch exists for {} ({})", driver.branch, driver.host_driver),
            ),
        }
    }
    let mut choice = None;
    if weighed.reasons.is_empty() {
        match kernel::choose(ground.facts, ground.rules, ground.release, weighed.limit.as_ref()) {
            Ok(chosen) => {
                choice = chosen.kernel;
                for condition in chosen.conditions {
                    weighed.only_if(condition.kind, condition.text);
                }
                secure_boot(ground, choice.as_ref(), &mut weighed);
            }
            Err(reason) => weighed.no(&reason.code, reason.text),
        }
    }
    let verdict = if !weighed.reasons.is_empty() {
        choice = None;
        Verdict::No { reasons: weighed.reasons.clone() }
    } else if weighed.conditions.is_empty() {
        Verdict::Works
    } else {
        weighed.conditions.sort_by_key(|c| std::cmp::Reverse(c.kind));
        Verdict::WorksIf { conditions: weighed.conditions.clone() }
    };
    (verdict, choice, weighed)
}

fn weigh_card(ground: Ground<'_>, card: &Known<'_>, driver: &DriverEntry, to: &mut Weighed) {
    let (support, remark) = card.support();
    let (mode, entry) = match (support, card.entry) {
        (Some(mode @ (Support::Native | Support::Unlock)), Some(entry)) => (mode, entry),
        (Some(_), _) => {
            return to.no("no-support", format!("{}: {}", card.name(), remark.unwrap_or_default()));
        }
        (None, _) => return to.no("unknown-card", remark.unwrap_or_default()),
    };
    let generation = card.generation.map_or("", |g| g.name.as_str());
    let branch = driver.branch;
    let proven = card.serves_with(ground.facts, driver);
    match mode {
        Support::Native => native(card, entry, branch, proven, to),
        _ => {
            to.unlock = true;
            if let Some(rule) = card.generation.and_then(|g| g.unlock.as_ref())
                && branch > rule.newest
            {
                to.no("branch-too-new", rule.reason.clone());
            }
        }
    }
    to.sriov |= mode == Support::Native && card.is_sriov();
    if mode == Support::Native && card.is_sriov() && card.gpu.sriov.is_none() {
        to.only_if(
            ConditionKind::DisplayMode,
            format!(
                "{} ({}) shows virtual functions: it has no SR-IOV now. Workstation cards need their displays switched \
                 off with NVIDIA's display mode selector; otherwise switch SR-IOV on in the firmware",
                card.name(),
                card.gpu.address
            ),
        );
    }
    for rule in &ground.rules.kernels {
        let concerned = rule.mode == mode
            && (rule.branches.from..=rule.branches.to).contains(&branch)
            && rule.generations.as_ref().is_none_or(|g| g.iter().any(|g| g == generation));
        if concerned && to.limit.as_ref().is_none_or(|l| rule.newest < l.newest) {
            to.limit = Some(Limit { newest: rule.newest, reason: rule.reason.clone() });
        }
    }
    if !proven && to.reasons.is_empty() && !ground.rules.is_tried(mode, generation, ground.release.major) {
        let on = ground.release.major;
        let text = if mode == Support::Unlock {
            format!(
                "it turns out so: nobody is known to have tried unlocked {generation} cards on Proxmox VE {on}"
            )
        } else {
            format!(
                "it turns out so: nobody is known to have tried native {generation} cards on Proxmox VE {on}"
            )
        };
        to.only_if(ConditionKind::Unconfirmed, text);
    }
}

/// The branches of a card made for vGPU: its own row, then the rule of its generation.
fn native(card: &Known<'_>, entry: &GpuEntry, branch: Branch, proven: bool, to: &mut Weighed) {
    if proven {
        return;
    }
    let rule = card.generation.and_then(|g| g.native.as_ref());
    if let Some(rule) = rule
        && branch.major > rule.newest
    {
        return to.no("branch-too-new", rule.reason.clone());
    }
    if entry.branches.contains(&branch.major) || rule.is_some_and(|r| r.confirmed) {
        return;
    }
    let oldest = entry.branches.last().copied();
    if oldest.is_some_and(|oldest| branch.major < oldest) {
        let text = format!("branch {} is the first that knows {}", oldest.unwrap_or_default(), entry.name);
        return to.no("branch-too-old", text);
    }
    to.only_if(
        ConditionKind::Unconfirmed,
        format!(
            "NVIDIA's list of supported products for branch {} names {}: the catalogue does not say so",
            branch.major, entry.name
        ),
    );
}

fn secure_boot(ground: Ground<'_>, kernel: Option<&KernelChoice>, to: &mut Weighed) {
    match &ground.facts.secure_boot {
        Finding::Seen(false) => {}
        Finding::CouldNotLook { why } => to.only_if(
            ConditionKind::Look,
            format!("Secure Boot is off, or its modules are signed: that could not be looked at ({why})"),
        ),
        Finding::Seen(true) if !ground.release.signed_kernels => to.no(
            "no-signed-kernel",
            format!("Secure Boot is on, and Proxmox VE {} has no signed kernels", ground.release.major),
        ),
        Finding::Seen(true) => {
            if !ground.facts.key_trusted.is_true() {
                to.only_if(
                    ConditionKind::SignModules,
                    "its modules are signed by a key that is enrolled as a machine owner key (MOK) at the next start"
                        .to_owned(),
                );
            }
            let Some(kernel) = kernel else { return };
            let signed = kernel::installed(ground.facts, &kernel.release).and_then(|k| k.signed);
            if signed == Some(false) {
                to.only_if(
                    ConditionKind::SignedKernel,
                    format!(
                        "proxmox-kernel-{}-signed is installed in place of the unsigned one",
                        kernel.release
                    ),
                );
            }
        }
    }
}

fn installer(rules: &Rules, branch: Branch, unlock: bool) -> Vec<String> {
    let mut arguments = rules.installer.arguments.clone();
    if unlock || branch.major < rules.installer.chooses_module_from {
        arguments.insert(1.min(arguments.len()), rules.installer.proprietary.clone());
    }
    arguments
}

fn interface(
    rules: &Rules,
    driver: &DriverEntry,
    kernel: Option<&KernelChoice>,
    sriov: bool,
) -> ExpectedInterface {
    let number = driver.host_driver.split('.').next().and_then(|n| n.parse::<u32>().ok()).unwrap_or(0);
    let series = kernel.and_then(|k| Series::of(&k.release));
    let vendor = number >= rules.interface.vendor_vfio_driver
        && series.is_some_and(|s| s >= rules.interface.vendor_vfio_kernel);
    match (sriov, vendor) {
        (true, true) => ExpectedInterface::VendorVfio,
        (true, false) => ExpectedInterface::SriovMdev,
        (false, _) => ExpectedInterface::Mdev,
    }
}
