// SPDX-License-Identifier: GPL-3.0-or-later
//! What each tunable is now on this machine, what is proposed, and why. Pure.

use super::catalogue::{self, Change, Risk, Scope, Tunable, VmwareSetting};
use super::facts::{THP, TuningFacts};
use super::value::size_kib;
use super::vmware_file::ConfigFile;
use crate::detect::Finding;
use crate::detect::settings::PowerManager;
use crate::engine::kernel_params::{CommandLine, Parameter};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(super) const GIB: u64 = 1 << 20;

const NOT_KEPT: &str = "it is so now, and no file of ours keeps it so";

/// What is left to the host whatever is reserved, in KiB.
const KEPT_KIB: u64 = 4 * GIB;

/// How a tunable stands on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It can be set.
    CanBeSet,
    /// It is so already.
    AlreadySo,
    /// It makes no sense here.
    NotApplicable,
    /// One could not look.
    CouldNotLook,
}

/// A tunable on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evaluated {
    /// Its name.
    pub id: String,
    /// What it is, in a few words.
    pub title: String,
    /// What it does.
    pub what: String,
    /// When it helps.
    pub helps: String,
    /// When it harms.
    pub harms: String,
    /// Where that is known from.
    pub source: String,
    /// How much can go wrong.
    pub risk: Risk,
    /// Whether it takes a restart.
    pub needs_reboot: bool,
    /// How it stands.
    pub standing: Standing,
    /// What it is now, where that could be seen.
    pub now: Option<String>,
    /// What it would be, when nothing else is asked for.
    pub proposed: Option<String>,
    /// Why it stands so, or what speaks for or against it here.
    pub reason: String,
    /// Whether evidence of this machine speaks for it.
    pub preselected: bool,
}

/// How a tunable stands, before the rest is told.
struct Found {
    standing: Standing,
    now: Option<String>,
    proposed: Option<String>,
    reason: String,
}

fn found(
    standing: Standing,
    now: Option<String>,
    proposed: Option<String>,
    reason: impl Into<String>,
) -> Found {
    Found { standing, now, proposed, reason: reason.into() }
}

/// All tunables on this machine, in the order in which they are shown.
pub fn all(facts: &TuningFacts) -> Vec<Evaluated> {
    catalogue::all().iter().map(|tunable| evaluate(tunable, facts)).collect()
}

/// One tunable on this machine.
pub fn evaluate(tunable: &Tunable, facts: &TuningFacts) -> Evaluated {
    let found = not_here(tunable, facts).unwrap_or_else(|| look(tunable, facts));
    let evidence = (found.standing == Standing::CanBeSet).then(|| evidence(tunable, facts)).flatten();
    Evaluated {
        id: tunable.id.clone(),
        title: tunable.title.clone(),
        what: tunable.what.clone(),
        helps: tunable.helps.clone(),
        harms: tunable.harms.clone(),
        source: tunable.source.clone(),
        risk: tunable.risk,
        needs_reboot: tunable.change.needs_reboot(),
        standing: found.standing,
        now: found.now,
        proposed: found.proposed,
        preselected: evidence.is_some(),
        reason: evidence.unwrap_or(found.reason),
    }
}

/// What rules a tunable out.
fn not_here(tunable: &Tunable, facts: &TuningFacts) -> Option<Found> {
    let no = |reason: String| Some(found(Standing::NotApplicable, None, None, reason));
    let unseen =
        |what: &str| Some(found(Standing::CouldNotLook, None, None, format!("{what} could not be seen")));
    if let Some(vendor) = &tunable.applies.vendor {
        match &facts.vendor {
            None => return unseen("the processor"),
            Some(here) if here != vendor => return no(format!("the processor is none of {vendor}")),
            Some(_) => {}
        }
    }
    if tunable.applies.flag.is_some() {
        match facts.huge_1g {
            None => return unseen("the processor"),
            Some(false) => return no("the processor has no pages of this size".to_owned()),
            Some(true) => {}
        }
    }
    if tunable.applies.swap {
        match facts.swap {
            None => return unseen("memory"),
            Some(false) => return no("there is no swap".to_owned()),
            Some(true) => {}
        }
    }
    None
}

/// What of a value is chosen ("always \[madvise\] never").
fn chosen(text: &str) -> String {
    let chosen = text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(c, _)| c);
    chosen.unwrap_or(text).trim().to_owned()
}

fn look(tunable: &Tunable, facts: &TuningFacts) -> Found {
    match &tunable.change {
        Change::KernelParameter { parameter, values } => kernel_parameter(parameter, values, facts),
        Change::AmdIommu => match facts.iommu_active {
            Some(true) => found(
                Standing::AlreadySo,
                Some("in use".into()),
                None,
                "the kernel uses it without being told",
            ),
            Some(false) => found(
                Standing::NotApplicable,
                Some("not in use".into()),
                None,
                "no word switches it on: switch it on in the firmware (IOMMU, AMD-Vi), and take `amd_iommu=off` out if it is there",
            ),
            None => found(Standing::CouldNotLook, None, None, "the IOMMU could not be seen"),
        },
        Change::HugePages { page_kib } => huge_pages(*page_kib, facts),
        Change::Sysctl { settings } => {
            let mut now = Vec::new();
            for setting in settings {
                if let Some(file) = facts.set_in.get(&setting.key) {
                    let reason = format!("{file} sets {} already; change it there", setting.key);
                    let now = facts.values.get(&setting.path()).cloned();
                    return found(Standing::NotApplicable, now, None, reason);
                }
                match facts.values.get(&setting.path()) {
                    Some(value) => now.push(value.clone()),
                    None if facts.machine => {
                        let reason = format!("this kernel has no {}", setting.key);
                        return found(Standing::NotApplicable, None, None, reason);
                    }
                    None => {}
                }
            }
            let proposed: Vec<String> = settings.iter().map(|s| s.value.to_string()).collect();
            let so = now == proposed && has_drop_in(tunable, facts);
            let (standing, reason) = if so {
                (Standing::AlreadySo, "it is so, now and at every start")
            } else if now == proposed {
                (Standing::CanBeSet, NOT_KEPT)
            } else {
                (Standing::CanBeSet, "nothing here speaks for it by itself")
            };
            let text = |all: &[String]| (!all.is_empty()).then(|| all.join(", "));
            found(standing, text(&now), text(&proposed), reason)
        }
        Change::TransparentHugePages => {
            let Some(value) = facts.values.get(THP) else {
                let standing = if facts.machine { Standing::NotApplicable } else { Standing::CanBeSet };
                let reason = if facts.machine {
                    "this kernel has none"
                } else {
                    "what it is now is told by a kernel that runs"
                };
                return found(standing, None, Some("madvise".into()), reason);
            };
            let now = chosen(value);
            let so = now == "madvise" && has_drop_in(tunable, facts);
            let standing = if so { Standing::AlreadySo } else { Standing::CanBeSet };
            let reason = if now == "madvise" && !so {
                NOT_KEPT
            } else {
                "which value is best depends on the guests: measure before and after"
            };
            found(standing, Some(now), Some("madvise".into()), reason)
        }
        Change::IoScheduler { disks, value } => {
            let here: Vec<_> = facts.disks.values().filter(|d| d.kind == *disks).collect();
            if here.is_empty() {
                return found(Standing::NotApplicable, None, None, "there is no such disk");
            }
            let now: Vec<String> = here.iter().map(|d| chosen(&d.scheduler)).collect();
            let mut shown = now.clone();
            shown.dedup();
            let offered = here.iter().all(|d| offers(&d.scheduler, value));
            let proposed = if offered { value.as_str() } else { "mq-deadline" };
            let so = now.iter().all(|n| n == proposed);
            let (standing, reason) = if so {
                (Standing::AlreadySo, "it is so already")
            } else {
                (Standing::CanBeSet, "measure with your own guests before and after")
            };
            found(standing, Some(shown.join(", ")), Some(proposed.to_owned()), reason)
        }
        Change::VmwareConfig { settings, scopes } => vmware_config(settings, scopes, facts),
        Change::PowerProfile { tuned, daemon } => power_profile(tuned, daemon, facts),
        Change::EnergyPreference { value } => of_processors(value, &facts.energy_preferences, facts),
        Change::Governor { value } => {
            if let Some(by) = &facts.governed_by {
                return found(
                    Standing::NotApplicable,
                    None,
                    None,
                    format!("{by} looks after it; choose a profile there"),
                );
            }
            let Some(first) = facts.governors.first() else {
                return found(
                    Standing::NotApplicable,
                    None,
                    None,
                    "this kernel does not set frequencies here",
                );
            };
            let now = facts.values.get(first).cloned();
            let so = facts.governors.iter().all(|g| facts.values.get(g) == Some(value));
            let standing = if so { Standing::AlreadySo } else { Standing::CanBeSet };
            found(standing, now, Some(value.clone()), "for benchmarks rather than for every day")
        }
    }
}

/// A value of every processor that nobody else looks after.
fn of_processors(value: &str, files: &[String], facts: &TuningFacts) -> Found {
    let not_here = |reason: String| found(Standing::NotApplicable, None, None, reason);
    if let Some(by) = &facts.governed_by {
        return not_here(format!("{by} looks after it; choose a profile there (`power-profile`)"));
    }
    let Some(first) = files.first() else {
        return not_here("this processor or its driver has none".to_owned());
    };
    let so = files.iter().all(|f| facts.values.get(f).is_some_and(|v| v == value));
    let standing = if so { Standing::AlreadySo } else { Standing::CanBeSet };
    let now = facts.values.get(first).cloned();
    found(standing, now, Some(value.to_owned()), "for benchmarks rather than for every day")
}

/// The profile for who looks after power here.
pub(super) fn profile_of<'a>(tuned: &'a str, daemon: &'a str, manager: PowerManager) -> &'a str {
    match manager {
        PowerManager::Tuned => tuned,
        PowerManager::PowerProfilesDaemon => daemon,
    }
}

fn power_profile(tuned: &str, daemon: &str, facts: &TuningFacts) -> Found {
    let not_here = |reason: String| found(Standing::NotApplicable, None, None, reason);
    if let Some(power) = &facts.power {
        let proposed = profile_of(tuned, daemon, power.manager).to_owned();
        let by = power.manager.name();
        if power.active.as_ref() == Some(&proposed) {
            let reason = format!("{by} has it so");
            return found(Standing::AlreadySo, power.active.clone(), Some(proposed), reason);
        }
        if power.available.is_empty() {
            return not_here(format!("{by} offers no profiles here"));
        }
        let offered = power.available.contains(&proposed);
        let reason = format!("by {by}; measure with your own guests before and after");
        let now = power.active.clone().or_else(|| Some("none".to_owned()));
        return found(Standing::CanBeSet, now, offered.then_some(proposed), reason);
    }
    match (&facts.governed_by, &facts.tuned) {
        (Some(by), _) => not_here(format!("{by} looks after power, and is not asked by Hostwright")),
        (None, Some(packages)) if packages.manager.is_some() => match &packages.changes {
            Finding::Seen(_) => found(
                Standing::CanBeSet,
                Some("nobody looks after power".into()),
                Some(tuned.to_owned()),
                "tuned is installed for it",
            ),
            Finding::CouldNotLook { why } => not_here(format!("tuned cannot be installed here: {why}")),
        },
        (None, _) => {
            not_here("nobody looks after power here, and this kernel sets no frequencies".to_owned())
        }
    }
}

fn vmware_config(settings: &[VmwareSetting], scopes: &[Scope], facts: &TuningFacts) -> Found {
    let not_here = |reason: &str| found(Standing::NotApplicable, None, None, reason);
    if !scopes.contains(&Scope::Machine) {
        return not_here("it is a setting of one virtual machine (`hostwright vmware settings`)");
    }
    let file = match &facts.vmware_config {
        _ if !facts.vmware => return not_here("VMware is not installed"),
        None => return not_here("VMware has no /etc/vmware/config here"),
        Some(Finding::CouldNotLook { why }) => {
            return found(Standing::CouldNotLook, None, None, format!("/etc/vmware/config: {why}"));
        }
        Some(Finding::Seen(file)) => file,
    };
    let file = match ConfigFile::parse(file.text.as_bytes()) {
        Ok(file) => file,
        Err(e) => return not_here(&format!("/etc/vmware/config: {e}")),
    };
    let mut now = Vec::new();
    for setting in settings {
        match file.get(&setting.key) {
            Ok(value) => now.push(value.unwrap_or_else(|| "not set".to_owned())),
            Err(e) => return not_here(&format!("/etc/vmware/config: {e}")),
        }
    }
    let so = settings.iter().zip(&now).all(|(s, now)| s.value.eq_ignore_ascii_case(now));
    let standing = if so { Standing::AlreadySo } else { Standing::CanBeSet };
    let proposed = settings.iter().map(|s| s.value.clone()).collect::<Vec<_>>().join(", ");
    let reason = "counts for guests that are started from then on; measure with your own before and after";
    found(standing, Some(now.join(", ")), Some(proposed), reason)
}

fn has_drop_in(tunable: &Tunable, facts: &TuningFacts) -> bool {
    super::facts::drop_in(&tunable.id, &tunable.change)
        .is_some_and(|path| facts.files.get(&path).is_some_and(Option::is_some))
}

/// Whether a scheduler stands in what a disk offers.
pub(super) fn offers(text: &str, scheduler: &str) -> bool {
    text.split_whitespace().any(|word| word.trim_matches(['[', ']']) == scheduler)
}

fn kernel_parameter(parameter: &Parameter, values: &[String], facts: &TuningFacts) -> Found {
    let line = match facts.boot.command_line() {
        Ok(line) => line,
        Err(refusal) => {
            let standing =
                if facts.boot.place.is_seen() { Standing::NotApplicable } else { Standing::CouldNotLook };
            return found(standing, None, None, refusal.reason);
        }
    };
    let proposed = Some(parameter.to_string());
    let there = line.named(&parameter.name()).last().map(|w| (*w).to_owned());
    match there {
        Some(word) if word == parameter.as_str() => {
            let runs = facts.running.as_ref().is_none_or(|words| words.contains(&word));
            let reason = if runs {
                "it is on the command line"
            } else {
                "it is configured, and counts at the next start"
            };
            found(Standing::AlreadySo, Some(word), proposed, reason)
        }
        Some(word) => {
            let reason = format!("`{word}` is there already; that is somebody's own decision");
            found(Standing::NotApplicable, Some(word), None, reason)
        }
        None => {
            let reason = if values.is_empty() {
                "nothing here needs it"
            } else {
                "nothing here speaks for it by itself"
            };
            found(Standing::CanBeSet, Some("not set".into()), proposed, reason)
        }
    }
}

/// The most that may be reserved, in KiB: half of memory, and never what the host needs itself.
pub(super) fn limit_kib(memory_kib: u64) -> u64 {
    (memory_kib / 2).min(memory_kib.saturating_sub(KEPT_KIB))
}

fn huge_pages(page_kib: u64, facts: &TuningFacts) -> Found {
    let now = facts.pools.get(&page_kib).map(|pages| amount(pages * page_kib));
    let Some(memory) = facts.memory_kib else {
        return found(
            Standing::CouldNotLook,
            now,
            None,
            "memory could not be seen: only the machine itself tells it",
        );
    };
    match facts.boot.command_line() {
        Err(refusal) if facts.boot.place.is_seen() => {
            return found(Standing::NotApplicable, now, None, refusal.reason);
        }
        Err(refusal) => return found(Standing::CouldNotLook, now, None, refusal.reason),
        Ok(line) => {
            if let Some((word, kib)) = reserved(&line, page_kib) {
                let reason = format!("`{word}` is on the command line already");
                return match kib {
                    Some(kib) => found(Standing::AlreadySo, Some(amount(kib)), None, reason),
                    None => found(Standing::NotApplicable, now, None, reason),
                };
            }
        }
    }
    if let Some((_, pages)) = facts.pools.iter().find(|(_, pages)| **pages > 0) {
        let reason = format!("{pages} huge pages are reserved already, in another way");
        return found(Standing::NotApplicable, now, None, reason);
    }
    // An eighth, in whole GiB: a beginning that no host misses.
    let proposed = (memory / 8 / GIB).max(1) * GIB;
    if proposed > limit_kib(memory) {
        let reason = format!("{} of memory are too little to set some aside", amount(memory));
        return found(Standing::NotApplicable, now, None, reason);
    }
    let reason = format!("say how much your guests need, up to {}", amount(limit_kib(memory) / GIB * GIB));
    found(Standing::CanBeSet, now, Some(amount(proposed)), reason)
}

/// The word that reserves huge pages, and how much it reserves in KiB where it is of just this size.
fn reserved(line: &CommandLine, page_kib: u64) -> Option<(String, Option<u64>)> {
    let pages = line.value("hugepages")?;
    // Without a size before it the kernel means its own default, which is of 2 MiB on these machines.
    let size = line.value("hugepagesz").and_then(|size| size_kib(&size)).unwrap_or(2048);
    let kib = pages.parse::<u64>().ok().and_then(|n| n.checked_mul(size)).filter(|_| size == page_kib);
    Some((format!("hugepages={pages}"), kib))
}

/// KiB as people write them ("4G").
pub(super) fn amount(kib: u64) -> String {
    if kib >= GIB && kib.is_multiple_of(GIB) {
        format!("{}G", kib / GIB)
    } else if kib >= GIB {
        format!("{}.{}G", kib / GIB, kib % GIB * 10 / GIB)
    } else {
        format!("{}M", kib / 1024)
    }
}

/// What of this machine speaks for a tunable, in a sentence.
fn evidence(tunable: &Tunable, facts: &TuningFacts) -> Option<String> {
    match tunable.id.as_str() {
        "intel-iommu" if facts.iommu_active == Some(false) => {
            facts.passthrough.as_ref().map(|what| format!("{what}, and the IOMMU is not in use"))
        }
        "iommu-passthrough" => {
            facts.passthrough.as_ref().map(|what| format!("{what}: the IOMMU is for guests here"))
        }
        "compaction" if facts.vmware && facts.values.get("/proc/sys/vm/compaction_proactiveness")? != "0" => {
            Some("VMware is installed, and compaction ahead of need is on".to_owned())
        }
        "dirty-limits" => {
            // In KiB: what may wait by the share of memory that counts now.
            let ratio: u64 = facts.values.get("/proc/sys/vm/dirty_ratio")?.parse().ok()?;
            let waits = facts.memory_kib?.saturating_mul(ratio) / 100;
            let guests = facts.vmware || facts.passthrough.is_some();
            (guests && ratio > 0 && waits >= 4 * GIB)
                .then(|| format!("{ratio} % of memory, {}, may wait to be written", amount(waits)))
        }
        _ => None,
    }
}
