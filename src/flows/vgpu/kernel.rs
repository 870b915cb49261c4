// SPDX-License-Identifier: GPL-3.0-or-later
//! Which kernel: the one that would run anyway, unless a rule needs another; never one that could not read
//! the root pool.

use super::decision::{Condition, ConditionKind, KernelAction, KernelChoice, Reason};
use super::facts::{KernelFact, VgpuFacts};
use super::rules::{ProxmoxRelease, Rules, Series};
use crate::detect::Finding;

/// The newest kernel that a branch allows, and why.
#[derive(Debug, Clone)]
pub(super) struct Limit {
    pub(super) newest: Series,
    pub(super) reason: String,
}

/// What was chosen, and what must be met for it.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    pub(super) kernel: Option<KernelChoice>,
    pub(super) conditions: Vec<Condition>,
}

/// The kernel that will run after the next start as things are: the pinned one, what the boot loader says,
/// or the newest.
pub(super) fn will_run(facts: &VgpuFacts) -> Option<&str> {
    if let Finding::Seen(Some(pin)) = &facts.pin {
        return Some(&pin.release);
    }
    if let Finding::Seen(next) = &facts.next {
        return Some(next);
    }
    let newest = facts.kernels.seen().and_then(|k| k.first()).map(|k| k.release.as_str());
    newest.or(facts.running.as_deref())
}

/// Chooses the kernel for a branch whose kernels end at `limit`.
pub(super) fn choose(
    facts: &VgpuFacts,
    rules: &Rules,
    release: &ProxmoxRelease,
    limit: Option<&Limit>,
) -> Result<Chosen, Reason> {
    let Some(now) = will_run(facts) else {
        let text = "which kernel will run could not be looked at".to_owned();
        return Ok(Chosen { kernel: None, conditions: vec![Condition { kind: ConditionKind::Look, text }] });
    };
    let fits = |release: &str| match (limit, Series::of(release)) {
        (None, _) => true,
        (Some(limit), Some(series)) => series <= limit.newest,
        (Some(_), None) => false,
    };
    if fits(now) {
        let kernel = KernelChoice { release: now.to_owned(), action: KernelAction::Keep, reason: None };
        return Ok(Chosen { kernel: Some(kernel), conditions: Vec::new() });
    }
    let Some(limit) = limit else { return Ok(Chosen::default()) };
    if limit.newest < release.oldest_kernel {
        return Err(Reason {
            code: "kernel-too-new".to_owned(),
            text: format!(
                "{}; Proxmox VE {} has kernels from {} on",
                limit.reason, release.major, release.oldest_kernel
            ),
        });
    }
    let mut candidates = Vec::new();
    for kernel in facts.kernels.seen().into_iter().flatten().filter(|k| fits(&k.release)) {
        candidates.push((kernel.release.clone(), KernelAction::Pin, kernel.zfs.clone()));
    }
    for offered in facts.available.seen().into_iter().flatten().rev().filter(|r| fits(r)) {
        if !candidates.iter().any(|(r, ..)| r == offered) {
            candidates.push((offered.clone(), KernelAction::InstallAndPin, None));
        }
    }
    if candidates.is_empty() {
        return none_found(facts, limit);
    }
    let mut refused = None;
    for (candidate, action, zfs) in candidates {
        if let Some(why) = unreadable(facts, rules, &candidate, zfs.as_deref()) {
            refused.get_or_insert(why);
            continue;
        }
        return Ok(pinned(candidate, action, now, limit));
    }
    Err(refused.map_or_else(
        || Reason { code: "kernel-too-new".to_owned(), text: limit.reason.clone() },
        |text| Reason { code: "root-pool".to_owned(), text: format!("{}, and {text}", limit.reason) },
    ))
}

fn none_found(facts: &VgpuFacts, limit: &Limit) -> Result<Chosen, Reason> {
    match &facts.available {
        Finding::CouldNotLook { why } => Ok(Chosen {
            kernel: None,
            conditions: vec![Condition {
                kind: ConditionKind::InstallKernel,
                text: format!(
                    "a kernel up to {} can be installed and pinned ({}); what APT offers could not be looked at: {why}",
                    limit.newest, limit.reason
                ),
            }],
        }),
        Finding::Seen(_) => Err(Reason {
            code: "no-kernel".to_owned(),
            text: format!("{}; none is installed, and APT's sources offer none", limit.reason),
        }),
    }
}

fn pinned(release: String, action: KernelAction, now: &str, limit: &Limit) -> Chosen {
    let why = &limit.reason;
    let (kind, text) = match action {
        KernelAction::InstallAndPin => (
            ConditionKind::InstallKernel,
            format!("kernel {release} is installed and pinned in place of {now}: {why}"),
        ),
        _ => (ConditionKind::PinKernel, format!("kernel {release} is pinned in place of {now}: {why}")),
    };
    Chosen {
        conditions: vec![Condition { kind, text }],
        kernel: Some(KernelChoice { release, action, reason: Some(limit.reason.clone()) }),
    }
}

/// Why a kernel could not be trusted to import the root pool; `None` when it can. An enabled feature counts
/// as an active one: anything may use it the next minute.
pub(super) fn unreadable(
    facts: &VgpuFacts,
    rules: &Rules,
    candidate: &str,
    zfs: Option<&str>,
) -> Option<String> {
    let pool = match &facts.root_pool {
        Finding::Seen(None) => return None,
        Finding::Seen(Some(pool)) => pool,
        Finding::CouldNotLook { why } => {
            return Some(format!(
                "whether {candidate} could read the root file system could not be looked at: {why}"
            ));
        }
    };
    let features = match &pool.features {
        Finding::Seen(features) => features,
        Finding::CouldNotLook { why } => {
            return Some(format!(
                "the features of the root pool {} could not be looked at ({why}), so {candidate} might not be able to \
                 import it",
                pool.name
            ));
        }
    };
    let own = zfs.and_then(Series::of);
    for feature in features {
        let Some(known) = rules.zfs.iter().find(|z| z.features.contains(&feature.name)) else {
            return Some(format!(
                "nothing is known of the feature {} of the root pool {}, so {candidate} might not be able to import it",
                feature.name, pool.name
            ));
        };
        let readable = match (own, known.kernel, Series::of(candidate)) {
            (Some(own), _, _) => own >= known.since,
            // Not installed: all kernels of these releases have at least OpenZFS 2.1.
            (None, _, _) if known.since <= (Series { major: 2, minor: 1 }) => true,
            (None, Some(first), Some(series)) => series >= first,
            (None, _, _) => false,
        };
        if !readable {
            let has = match own {
                Some(own) => format!("{candidate} has OpenZFS {own}"),
                None => format!("whether {candidate} has it is not known before it is installed"),
            };
            return Some(format!(
                "the root pool {} uses {}, which needs OpenZFS {}: {has}, and the machine might not start",
                pool.name, feature.name, known.since
            ));
        }
    }
    None
}

/// The installed kernel of this release.
pub(super) fn installed<'f>(facts: &'f VgpuFacts, release: &str) -> Option<&'f KernelFact> {
    facts.kernels.seen()?.iter().find(|k| k.release == release)
}
