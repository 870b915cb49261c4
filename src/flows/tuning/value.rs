// SPDX-License-Identifier: GPL-3.0-or-later
//! The value that a tunable gets: the one that was given, checked, or the proposed one. Pure.

use super::catalogue::{Change, Tunable};
use super::evaluate::{Evaluated, GIB, Standing, amount, limit_kib, offers, profile_of};
use super::facts::TuningFacts;
use crate::engine::kernel_params::Parameter;
use crate::engine::plan::Refusal;

/// What a tunable is set to: the value that was given, checked, or the one that is proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Words(Vec<Parameter>),
    Numbers(Vec<(String, u64)>),
    Settings(Vec<(String, String)>),
    Text(String),
}

fn refused(
    code: &str,
    tunable: &Tunable,
    reason: impl std::fmt::Display,
    remedy: impl Into<String>,
) -> Refusal {
    Refusal::new(code, format!("{}: {reason}.", tunable.id), remedy)
}

/// The value that a tunable gets.
///
/// # Errors
/// When the value that was given cannot be, or the tunable makes no sense here.
pub(super) fn value(
    tunable: &Tunable,
    evaluated: &Evaluated,
    given: Option<&str>,
    facts: &TuningFacts,
) -> Result<Value, Refusal> {
    let list = "`hostwright tuning list` shows what can be set here.";
    if matches!(evaluated.standing, Standing::NotApplicable | Standing::CouldNotLook) {
        // A place that is not understood says itself what to do.
        if let (Change::KernelParameter { .. } | Change::HugePages { .. }, Err(refusal)) =
            (&tunable.change, facts.boot.command_line())
        {
            return Err(refusal);
        }
        return Err(refused("not-here", tunable, &evaluated.reason, list));
    }
    let bad = |reason: String| {
        refused("bad-value", tunable, reason, "Give another value, or none for the proposed one.")
    };
    // Each processor says in a file beside what it can be set to.
    let of_processors = |value: &str, files: &[String], beside: fn(&str) -> String| {
        let lists = files.iter().filter_map(|path| facts.values.get(&beside(path)));
        match lists.into_iter().find(|available| !offers(available, value)) {
            Some(available) => Err(bad(format!("`{}` is none of {available}", value.escape_debug()))),
            None => Ok(Value::Text(value.to_owned())),
        }
    };
    let one_of = |values: &[&str], default: &str| -> Result<String, Refusal> {
        let value = given.unwrap_or(default);
        if values.contains(&value) {
            return Ok(value.to_owned());
        }
        Err(bad(format!("`{}` is none of {}", value.escape_debug(), values.join(", "))))
    };
    match &tunable.change {
        Change::KernelParameter { parameter, values } if values.is_empty() => match given {
            None => Ok(Value::Words(vec![parameter.clone()])),
            Some(_) => Err(bad("it has no value to choose".to_owned())),
        },
        Change::KernelParameter { parameter, values } => {
            let known: Vec<&str> = values.iter().map(String::as_str).collect();
            let value = one_of(&known, parameter.value().unwrap_or_default())?;
            let word = format!("{}={value}", parameter.as_str().split('=').next().unwrap_or_default());
            word.parse().map(|p| Value::Words(vec![p])).map_err(|e| bad(format!("{e}")))
        }
        Change::AmdIommu => Ok(Value::Words(Vec::new())),
        Change::HugePages { page_kib } => {
            if evaluated.standing == Standing::AlreadySo {
                return Err(refused(
                    "not-here",
                    tunable,
                    &evaluated.reason,
                    "Take that back first, or change it there.",
                ));
            }
            let memory = facts.memory_kib.unwrap_or(0);
            let wanted = given.or(evaluated.proposed.as_deref()).unwrap_or_default();
            let kib = size_kib(wanted).ok_or_else(|| {
                bad(format!(
                    "`{}` is no amount of memory; write for instance 4G or 512M",
                    wanted.escape_debug()
                ))
            })?;
            if kib == 0 || kib % page_kib != 0 {
                return Err(bad(format!("{wanted} is no whole number of pages of {}", amount(*page_kib))));
            }
            if kib > limit_kib(memory) {
                return Err(refused(
                    "beyond-memory",
                    tunable,
                    format!(
                        "{wanted} are more than may be set aside of {}: half of it at most, and 4G stay for the host",
                        amount(memory)
                    ),
                    format!("Choose at most {}.", amount(limit_kib(memory) / page_kib * page_kib)),
                ));
            }
            let size = if *page_kib == GIB { "1G" } else { "2M" };
            let words = [format!("hugepagesz={size}"), format!("hugepages={}", kib / page_kib)];
            let words: Result<Vec<Parameter>, _> = words.iter().map(|w| w.parse()).collect();
            words.map(Value::Words).map_err(|e| bad(format!("{e}")))
        }
        Change::Sysctl { settings } => {
            let mut numbers = Vec::new();
            for (i, setting) in settings.iter().enumerate() {
                let mut value = setting.value;
                if let Some(given) = given.filter(|_| i == 0) {
                    value =
                        given.parse().ok().filter(|v| (setting.min..=setting.max).contains(v)).ok_or_else(
                            || {
                                bad(format!(
                                    "`{}` is no number from {} to {}, which {} takes",
                                    given.escape_debug(),
                                    setting.min,
                                    setting.max,
                                    setting.key
                                ))
                            },
                        )?;
                }
                // What follows keeps its proportion to what was given for the first.
                if i > 0
                    && let Some((_, first)) = numbers.first()
                {
                    value = (u128::from(*first) * u128::from(setting.value)
                        / u128::from(settings[0].value.max(1)))
                    .try_into()
                    .unwrap_or(setting.value);
                    value = value.clamp(setting.min, setting.max);
                }
                numbers.push((setting.key.clone(), value));
            }
            Ok(Value::Numbers(numbers))
        }
        Change::TransparentHugePages => one_of(&["always", "madvise", "never"], "madvise").map(Value::Text),
        Change::IoScheduler { disks, .. } => {
            let here: Vec<&str> =
                facts.disks.values().filter(|d| d.kind == *disks).map(|d| d.scheduler.as_str()).collect();
            let value = given.or(evaluated.proposed.as_deref()).unwrap_or("none");
            match here.iter().find(|text| !offers(text, value)) {
                Some(text) => Err(bad(format!("`{}` is none of {text}", value.escape_debug()))),
                None => Ok(Value::Text(value.to_owned())),
            }
        }
        Change::VmwareConfig { settings, .. } => {
            let mut pairs = Vec::new();
            for (i, setting) in settings.iter().enumerate() {
                let value = given.filter(|_| i == 0).unwrap_or(&setting.value);
                let known =
                    setting.values.iter().find(|v| v.eq_ignore_ascii_case(value)).ok_or_else(|| {
                        let all = setting.values.join(", ");
                        bad(format!(
                            "`{}` is none of {all}, which {} takes",
                            value.escape_debug(),
                            setting.key
                        ))
                    })?;
                pairs.push((setting.key.clone(), known.clone()));
            }
            Ok(Value::Settings(pairs))
        }
        Change::PowerProfile { tuned, daemon } => {
            let Some(power) = &facts.power else {
                // tuned comes with what it has: only its own is known before.
                return one_of(&[tuned], tuned).map(Value::Text);
            };
            let value = given.unwrap_or_else(|| profile_of(tuned, daemon, power.manager));
            if !power.available.contains(value) {
                let all = power.available.iter().cloned().collect::<Vec<_>>().join(", ");
                return Err(bad(format!("`{}` is none of {all}", value.escape_debug())));
            }
            Ok(Value::Text(value.to_owned()))
        }
        Change::EnergyPreference { value } => {
            of_processors(given.unwrap_or(value), &facts.energy_preferences, |path| {
                path.replace("_preference", "_available_preferences")
            })
        }
        Change::Governor { value } => of_processors(given.unwrap_or(value), &facts.governors, |path| {
            path.replace("_governor", "_available_governors")
        }),
    }
}

/// Whether a value that was given is what is there already.
pub(super) fn is_now(evaluated: &Evaluated, given: &str) -> bool {
    let now = evaluated.now.as_deref();
    now == Some(given) || now.and_then(size_kib).is_some_and(|kib| size_kib(given) == Some(kib))
}

/// An amount of memory in KiB ("4G", "512M").
pub(super) fn size_kib(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "G" | "g" => GIB,
        "M" | "m" => 1024,
        _ => return None,
    };
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(unit)
}
