// SPDX-License-Identifier: GPL-3.0-or-later
//! What a rehearsal means: pure, from what the guest said and how it ended.

use super::{Outcome, Report};
use crate::init::rehearse::{MARK, Said};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is shown of a log at most, in lines.
const SHOWN: usize = 40;

/// Taint flags that say nothing against a module that was built here: proprietary, out of tree, unsigned
/// (Documentation/admin-guide/tainted-kernels.rst).
const HARMLESS_TAINT: u64 = 1 | 1 << 12 | 1 << 13;

/// What a rehearsal showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// The modules were inserted, used and removed, and the kernel had nothing to say against them.
    Passed {
        /// What was done, in order, with what was seen.
        tried: Vec<String>,
        /// What could not be tried, and why.
        skipped: Vec<String>,
    },
    /// Something is wrong with the modules.
    Failed {
        /// What, in a sentence.
        why: String,
        /// The lines that show it: of the kernel's log, or of the console.
        lines: Vec<String>,
    },
    /// The guest did not get as far as the modules, so that nothing is known of them.
    CouldNotLook {
        /// Why, and what to do.
        why: String,
        /// What the console showed last.
        lines: Vec<String>,
    },
}

impl Verdict {
    /// Whether the modules passed.
    pub fn passed(&self) -> bool {
        matches!(self, Self::Passed { .. })
    }
}

/// All that a guest said of a rehearsal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rehearsal {
    said: Vec<Said>,
}

impl Rehearsal {
    /// Takes one line of the control port; `None` when it is about something else.
    pub fn hear(&mut self, line: &str) -> Option<&Said> {
        self.said.push(Said::parse(line)?);
        self.said.last()
    }

    /// The kernel's own lines, from the first module on.
    fn kernel(&self) -> Vec<&str> {
        fn text(said: &Said) -> Option<&str> {
            if let Said::Kernel { text, .. } = said { Some(text) } else { None }
        }
        self.said.iter().filter_map(text).collect()
    }

    /// What it was doing when nothing more came.
    fn unfinished(&self) -> Option<&str> {
        self.said.iter().rev().find_map(|s| match s {
            Said::Trying { what } => Some(Some(what.as_str())),
            Said::Good { .. } | Said::Bad { .. } | Said::Skipped { .. } => Some(None),
            _ => None,
        })?
    }
}

/// The first line of the kernel that is a complaint, where what belongs to it begins, and where it ends.
fn complaint(log: &[&str]) -> Option<(String, Vec<String>)> {
    let at = log.iter().position(|line| is_complaint(line))?;
    // WARN() and BUG() draw a line above themselves and what they were given to say.
    let near = at.saturating_sub(4);
    let begin = log[near..at].iter().position(|l| l.contains("[ cut here ]")).map_or(at, |n| near + n);
    let end = log[at..].iter().position(|l| l.contains("---[ end trace") || l.contains("[ end Kernel panic"));
    let end = end.map_or(log.len(), |n| at + n + 1).min(begin + SHOWN);
    let during = log[..at].iter().rev().find_map(|line| line.strip_prefix(MARK));
    let during = during.map_or_else(String::new, |what| format!(" (to {what})"));
    Some((format!("{}{during}", log[at]), log[begin..end].iter().map(|l| (*l).to_owned()).collect()))
}

/// Whether the kernel complains in this line. Words of kernel/panic.c, lib/bug.c, arch/x86/mm/fault.c,
/// kernel/module, lib/ubsan.c, include/linux/fortify-string.h, kernel/locking, mm and kernel/rcu.
pub fn is_complaint(line: &str) -> bool {
    const WORDS: [&str; 29] = [
        "Oops",
        "BUG:",
        "kernel BUG at",
        "WARNING:",
        "general protection fault",
        "unable to handle",
        "Unable to handle",
        "invalid opcode:",
        "divide error:",
        "Kernel panic",
        "UBSAN:",
        "KASAN:",
        "kmemleak:",
        "detected field-spanning write",
        "detected buffer overflow",
        "Unknown symbol",
        "disagrees about version of symbol",
        "version magic",
        "unsupported relocation",
        "Invalid relocation",
        "missing ENDBR",
        "Missing ENDBR",
        "unchecked MSR access error",
        "blocked for more than",
        "self-detected stall",
        "detected stalls",
        "refcount_t:",
        "corruption",
        "scheduling while atomic",
    ];
    WORDS.iter().any(|word| line.contains(word))
}

/// What the console showed that is more than a warning, and its lines: its tail may be less than a panic says.
fn trouble(report: &Report) -> Option<(String, Vec<String>)> {
    let worst = report.worst()?;
    Some((worst.message.clone(), worst.lines.iter().take(SHOWN).cloned().collect()))
}

/// What it means. Pure.
pub fn verdict(rehearsal: &Rehearsal, report: &Report) -> Verdict {
    let begun = rehearsal.said.iter().any(|s| matches!(s, Said::Trying { .. }));
    if !begun {
        return not_begun(report);
    }
    let log = rehearsal.kernel();
    let console: Vec<&str> = report.console_tail.iter().map(String::as_str).collect();
    // What was tried when it went wrong says most; the kernel's first complaint shows why.
    let bad = rehearsal.said.iter().find_map(|s| match s {
        Said::Bad { what, why } => Some(format!("could not {what}: {why}")),
        _ => None,
    });
    let ended = rehearsal.said.contains(&Said::End);
    let shown = || if ended { None } else { trouble(report).or_else(|| complaint(&console)) };
    let complaint = complaint(&log).or_else(shown);
    if bad.is_none() && complaint.is_none() && ended {
        if let Some(why) = tainted(rehearsal) {
            return Verdict::Failed { why, lines: last(&log) };
        }
        return passed(rehearsal);
    }
    let lines = complaint
        .as_ref()
        .map_or_else(|| if log.is_empty() { last(&console) } else { last(&log) }, |(_, lines)| lines.clone());
    let why = match (bad, complaint) {
        (Some(bad), None) => bad,
        (Some(bad), Some((line, _))) => format!("{bad}; the kernel said: {line}"),
        (None, Some((line, _))) if ended => format!("the kernel complained: {line}"),
        (None, _) => {
            let doing = rehearsal.unfinished().map_or_else(String::new, |what| format!(" ({what})"));
            format!("the machine did not outlive it{doing}: {}", ending(&report.outcome))
        }
    };
    Verdict::Failed { why, lines }
}

/// The kernel set a taint flag that no sound module causes.
fn tainted(rehearsal: &Rehearsal) -> Option<String> {
    rehearsal.said.iter().find_map(|s| match s {
        Said::Taint { before, after } if after & !before & !HARMLESS_TAINT != 0 => {
            Some(format!("the kernel marked itself as damaged (taint {before} before, {after} at the end)"))
        }
        _ => None,
    })
}

fn passed(rehearsal: &Rehearsal) -> Verdict {
    let (mut tried, mut skipped) = (Vec::new(), Vec::new());
    for said in &rehearsal.said {
        match said {
            Said::Good { what, seen } if seen.is_empty() => tried.push(what.clone()),
            Said::Good { what, seen } => tried.push(format!("{what}: {seen}")),
            Said::Skipped { what, why } => skipped.push(format!("{what}: {why}")),
            _ => {}
        }
    }
    Verdict::Passed { tried, skipped }
}

fn not_begun(report: &Report) -> Verdict {
    let why = format!("the virtual machine did not get as far as the modules: {}", ending(&report.outcome));
    let console: Vec<&str> = report.console_tail.iter().map(String::as_str).collect();
    Verdict::CouldNotLook { why, lines: last(&console) }
}

/// How a guest ended, in words that stand at the end of a sentence.
fn ending(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited { status } => format!("its first process ended with status {status}"),
        Outcome::Signalled { signal } => format!("signal {signal} ended its first process"),
        Outcome::InitFailed { reason } => reason.clone(),
        Outcome::PoweredOff => "it switched itself off".to_owned(),
        Outcome::Panic { message }
        | Outcome::Oops { message }
        | Outcome::LockUp { message }
        | Outcome::OutOfMemory { message } => message.clone(),
        Outcome::NeverReachedInit { reason } => reason.clone(),
        Outcome::TimedOut { seconds } => format!("it came to no end in {seconds} seconds"),
        Outcome::Cancelled => "it was cancelled".to_owned(),
        Outcome::Stopped => "somebody stopped it".to_owned(),
        Outcome::NothingBootable { .. } => "there was nothing to start".to_owned(),
        Outcome::Reached { .. } => "it was ended at a place it should reach".to_owned(),
        Outcome::QemuFailed { message } => format!("QEMU: {message}"),
    }
}

fn last(lines: &[&str]) -> Vec<String> {
    lines[lines.len().saturating_sub(SHOWN)..].iter().map(|l| (*l).to_owned()).collect()
}

#[cfg(test)]
#[path = "rehearsal_tests.rs"]
mod tests;
