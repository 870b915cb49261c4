// SPDX-License-Identifier: GPL-3.0-or-later
//! Choices and facts in, a plan or a refusal out. Pure.

use super::catalogue::{self, Change, Tunable};
use super::evaluate::{self, Evaluated, Standing};
use super::facts::{THP, TuningFacts, VMWARE_CONFIG, drop_in};
use super::value::{self, Value};
use super::vmware_file::ConfigFile;
use super::{Choices, FLOW};
use crate::detect::Finding;
use crate::detect::settings::PowerManager;
use crate::detect::storage::DiskKind;
use crate::engine::Step;
use crate::engine::kernel_params::Parameter;
use crate::engine::plan::{Note, PLAN_VERSION, Plan, Refusal, Warning};
use crate::engine::steps::{RunningValue, SetPowerProfile, SetRunningValues, WriteFile};
use crate::flows::{boot, packages};
use std::collections::BTreeMap;

/// Makes the plan.
///
/// # Errors
/// A refusal with its reason and what to do.
pub fn plan(choices: &Choices, facts: &TuningFacts) -> Result<Plan, Refusal> {
    if let Some(guidance) = &facts.immutable {
        let reason = format!(
            "{} is set up by its own tools; files written into it are lost or refused.",
            facts.system
        );
        return Err(Refusal::new("immutable-system", reason, guidance.clone()));
    }
    let all = evaluate::all(facts);
    let chosen = chosen(choices, &all)?;
    let mut parameters: Vec<Parameter> = Vec::new();
    let (mut files, mut running, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    let mut warnings = Vec::new();
    let (mut vmware, mut power) = (Vec::new(), Vec::new());
    let mut done = Vec::new();
    for (tunable, evaluated, given) in chosen {
        let proposed =
            given.is_none_or(|g| evaluated.proposed.as_deref() == Some(g) || value::is_now(evaluated, g));
        // A profile is kept by who looks after power; nothing of ours has to keep it.
        let kept = matches!(tunable.change, Change::PowerProfile { .. })
            && given.is_some_and(|g| value::is_now(evaluated, g));
        if evaluated.standing == Standing::AlreadySo && proposed || kept {
            continue;
        }
        let value = value::value(tunable, evaluated, given, facts)?;
        done.push(tunable.id.clone());
        notes.push(note(evaluated, &value));
        if tunable.risk > catalogue::Risk::Low {
            warnings.push(Warning { message: format!("{}: {}", tunable.title, tunable.harms), remedy: None });
        }
        match value {
            Value::Words(words) => parameters.extend(words),
            Value::Settings(pairs) => vmware.extend(pairs),
            Value::Text(profile) if matches!(tunable.change, Change::PowerProfile { .. }) => {
                power = power_steps(profile, facts)?;
            }
            value => {
                files.extend(file(tunable, &value, facts));
                running.extend(now(tunable, &value, facts));
            }
        }
    }
    // Packages first: when they cannot be had, nothing else was done yet.
    let mut steps: Vec<Step> = power;
    steps.extend(files);
    steps.extend(vmware_step(&vmware, facts)?);
    if facts.machine && !running.is_empty() {
        steps.push(Step::SetRunningValues(SetRunningValues { values: running }));
    }
    let boot = if parameters.is_empty() { Vec::new() } else { boot::steps(&facts.boot, &parameters)? };
    let needs_reboot = !boot.is_empty();
    steps.extend(boot);
    if steps.is_empty() {
        notes.clear();
        warnings.clear();
    }
    Ok(Plan {
        version: PLAN_VERSION,
        flow: FLOW.to_owned(),
        title: "Tuning for virtual machines".to_owned(),
        choices: serde_json::to_value(choices).unwrap_or_default(),
        facts: serde_json::to_value(facts).unwrap_or_default(),
        permissions: steps.iter().flat_map(Step::permissions).collect(),
        steps,
        details: BTreeMap::from([("tunables".to_owned(), done.join(", "))]),
        warnings,
        left_out: Vec::new(),
        notes,
        needs_reboot,
    })
}

type Chosen<'a> = (&'static Tunable, &'a Evaluated, Option<&'a str>);

/// What was chosen, without contradictions.
fn chosen<'a>(choices: &'a Choices, all: &'a [Evaluated]) -> Result<Vec<Chosen<'a>>, Refusal> {
    for id in choices.set.keys() {
        if catalogue::by_id(id).is_none() {
            let reason = format!("There is no tunable `{}`.", id.escape_debug());
            return Err(Refusal::new(
                "no-such-tunable",
                reason,
                "`hostwright tuning list` shows all of them.",
            ));
        }
    }
    let mut chosen: Vec<Chosen<'a>> = Vec::new();
    for (tunable, evaluated) in catalogue::all().iter().zip(all) {
        match choices.set.get(&tunable.id) {
            Some(given) => chosen.push((tunable, evaluated, given.as_deref())),
            None if choices.recommended && evaluated.preselected => chosen.push((tunable, evaluated, None)),
            None => {}
        }
    }
    for (tunable, ..) in &chosen {
        if let Some((other, ..)) = chosen.iter().find(|(o, ..)| tunable.excludes.contains(&o.id)) {
            return Err(Refusal::new(
                "contradictory",
                format!("`{}` and `{}` contradict each other.", tunable.id, other.id),
                "Choose one of them.",
            ));
        }
    }
    Ok(chosen)
}

fn note(evaluated: &Evaluated, value: &Value) -> Note {
    let becomes = match value {
        Value::Words(words) => words.iter().map(Parameter::as_str).collect::<Vec<_>>().join(" "),
        Value::Numbers(numbers) => {
            numbers.iter().map(|(k, v)| format!("{k} = {v}")).collect::<Vec<_>>().join(", ")
        }
        Value::Settings(pairs) => {
            pairs.iter().map(|(k, v)| format!("{k} = {v}")).collect::<Vec<_>>().join(", ")
        }
        Value::Text(text) => text.clone(),
    };
    let now = evaluated.now.as_deref().unwrap_or("not known here");
    Note {
        topic: evaluated.id.clone(),
        text: format!("{now} → {becomes}. {} ({})", evaluated.helps, evaluated.reason),
        diff: None,
    }
}

fn head(tunable: &Tunable) -> String {
    format!("# Written by Hostwright: {}.\n", tunable.title)
}

/// The file that makes it so at every start.
fn file(tunable: &Tunable, value: &Value, facts: &TuningFacts) -> Option<Step> {
    let path = drop_in(&tunable.id, &tunable.change)?;
    let body = match (&tunable.change, value) {
        (Change::Sysctl { .. }, Value::Numbers(numbers)) => {
            numbers.iter().map(|(key, value)| format!("{key} = {value}\n")).collect()
        }
        (Change::TransparentHugePages, Value::Text(text)) => format!("w {THP} - - - - {text}\n"),
        (Change::EnergyPreference { .. }, Value::Text(text)) => {
            format!(
                "w /sys/devices/system/cpu/cpufreq/policy*/energy_performance_preference - - - - {text}\n"
            )
        }
        (Change::Governor { .. }, Value::Text(text)) => {
            format!("w /sys/devices/system/cpu/cpufreq/policy*/scaling_governor - - - - {text}\n")
        }
        (Change::IoScheduler { disks, .. }, Value::Text(text)) => {
            let which = match disks {
                DiskKind::Nvme => "KERNEL==\"nvme[0-9]*n[0-9]*\", ENV{DEVTYPE}==\"disk\"",
                DiskKind::Ssd => {
                    "KERNEL==\"sd[a-z]*\", ENV{DEVTYPE}==\"disk\", ATTR{queue/rotational}==\"0\""
                }
                DiskKind::Rotating => {
                    "KERNEL==\"sd[a-z]*\", ENV{DEVTYPE}==\"disk\", ATTR{queue/rotational}==\"1\""
                }
                DiskKind::Virtual => "KERNEL==\"vd[a-z]*\", ENV{DEVTYPE}==\"disk\"",
            };
            format!(
                "ACTION==\"add|change\", SUBSYSTEM==\"block\", {which}, ATTR{{queue/scheduler}}=\"{text}\"\n"
            )
        }
        _ => return None,
    };
    let content = head(tunable) + &body;
    let there = facts.files.get(&path).and_then(Option::as_ref);
    if there.is_some_and(|f| f.text == content && f.mode == 0o644) {
        return None;
    }
    Some(Step::WriteFile(WriteFile { path, content, mode: 0o644, reason: tunable.what.clone() }))
}

/// VMware's configuration with these settings; nothing when it has them.
fn vmware_step(pairs: &[(String, String)], facts: &TuningFacts) -> Result<Option<Step>, Refusal> {
    let Some(Finding::Seen(there)) = facts.vmware_config.as_ref().filter(|_| !pairs.is_empty()) else {
        return Ok(None);
    };
    let refused = |e: super::vmware_file::ConfigError| {
        Refusal::new("vmware-config", format!("/etc/vmware/config: {e}."), "Look at that line and mend it.")
    };
    let mut file = ConfigFile::parse(there.text.as_bytes()).map_err(refused)?;
    for (key, value) in pairs {
        file.set(key, value).map_err(refused)?;
    }
    let content = String::from_utf8_lossy(&file.bytes()).into_owned();
    let path = VMWARE_CONFIG.to_owned();
    let reason = "VMware reads it when a guest is started; every other line stays as it is".to_owned();
    if content == there.text {
        return Ok(None);
    }
    Ok(Some(Step::WriteFile(WriteFile { path, content, mode: there.mode & 0o7777, reason })))
}

/// Who looks after power chooses the profile; tuned is installed where nobody does.
fn power_steps(profile: String, facts: &TuningFacts) -> Result<Vec<Step>, Refusal> {
    let mut steps = Vec::new();
    let manager = match (&facts.power, &facts.tuned) {
        (Some(power), _) => power.manager,
        (None, Some(packages)) => {
            steps.extend(packages::steps(packages, false, "tuned looks after power then")?);
            PowerManager::Tuned
        }
        (None, None) => return Ok(steps),
    };
    steps.push(Step::SetPowerProfile(SetPowerProfile { manager, profile }));
    Ok(steps)
}

/// What makes it so now.
fn now(tunable: &Tunable, value: &Value, facts: &TuningFacts) -> Vec<RunningValue> {
    let pairs: Vec<(String, String)> = match (&tunable.change, value) {
        (Change::Sysctl { .. }, Value::Numbers(numbers)) => numbers
            .iter()
            .map(|(key, value)| (format!("/proc/sys/{}", key.replace('.', "/")), value.to_string()))
            .collect(),
        (Change::TransparentHugePages, Value::Text(text)) => vec![(THP.to_owned(), text.clone())],
        (Change::EnergyPreference { .. }, Value::Text(text)) => {
            facts.energy_preferences.iter().map(|path| (path.clone(), text.clone())).collect()
        }
        (Change::Governor { .. }, Value::Text(text)) => {
            facts.governors.iter().map(|path| (path.clone(), text.clone())).collect()
        }
        (Change::IoScheduler { disks, .. }, Value::Text(text)) => {
            let here = facts.disks.iter().filter(|(_, d)| d.kind == *disks);
            here.map(|(name, _)| (format!("/sys/block/{name}/queue/scheduler"), text.clone())).collect()
        }
        _ => Vec::new(),
    };
    pairs.into_iter().map(|(path, value)| RunningValue { path, value }).collect()
}
