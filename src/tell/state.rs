// SPDX-License-Identifier: GPL-3.0-or-later
//! Whether VMware's modules are in order for each kernel. Pure: facts and runs → what to say.

use super::{Mark, Row, run_state};
use crate::detect::kernel::{Headers, Kernel};
use crate::detect::signing::KeyOwner;
use crate::detect::{Facts, Finding, ModuleFile, ModuleSignature};
use crate::engine::{RunState, RunSummary};
use crate::flows::vmware::updates::Outcome;
use crate::flows::vmware::{FLOW, MODULES};
use serde::Serialize;

/// What is known of one module of one kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ModuleStatus {
    pub(crate) name: &'static str,
    /// Where it is installed.
    pub(crate) path: Option<String>,
    /// Whether it was built for this kernel; `None`: could not look, or not installed.
    pub(crate) fits: Option<bool>,
    /// Who signed it.
    pub(crate) signer: Option<String>,
    /// Whether that key is trusted; `None`: could not look, or not signed.
    pub(crate) trusted: Option<bool>,
    /// Whether it is loaded; `None`: another kernel runs, or could not look.
    pub(crate) loaded: Option<bool>,
    #[serde(skip)]
    pub(crate) mark: Mark,
    /// In words.
    pub(crate) text: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remedy: Option<String>,
}

/// One kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct KernelStatus {
    pub(crate) release: String,
    pub(crate) runs: bool,
    pub(crate) starts_next: bool,
    pub(crate) modules: Vec<ModuleStatus>,
}

/// Everything `status` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Assessment {
    /// Whether something should be done.
    pub(crate) attention: bool,
    pub(crate) kernels: Vec<KernelStatus>,
    /// The last run, and whatever else there is to say.
    #[serde(serialize_with = "as_texts")]
    pub(crate) notes: Vec<Row>,
}

fn as_texts<S: serde::Serializer>(rows: &[Row], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(rows.iter().map(|r| {
        serde_json::json!({ "about": r.label, "text": r.text, "remedy": r.remedy, "attention": is_attention(r.mark) })
    }))
}

/// Whether a mark makes `status` end with 1.
fn is_attention(mark: Mark) -> bool {
    matches!(mark, Mark::Warning | Mark::Bad)
}

/// Looks at it all. `command` makes a command of ours for the same machine.
pub(crate) fn assess(
    facts: &Facts,
    runs: Result<&[RunSummary], &str>,
    updates: &[Outcome],
    command: &dyn Fn(&str) -> String,
) -> Assessment {
    let mut notes = Vec::new();
    let mut kernels = Vec::new();
    match &facts.kernels {
        Finding::CouldNotLook { why } => {
            notes.push(Row::new(Mark::Unknown, "Kernels", format!("could not look: {why}")));
        }
        Finding::Seen(all) => {
            // With nothing installed and no product there is nothing to look after.
            let wanted = facts.vmware.seen().is_some_and(|v| v.is_installed())
                || all.iter().any(|k| !k.vmware_modules.is_empty());
            if wanted {
                kernels = all.iter().map(|k| kernel(facts, k, command)).collect();
            } else {
                notes.push(Row::new(
                    Mark::Neutral,
                    "VMware",
                    "not installed, and no modules of it are there",
                ));
            }
        }
    }
    notes.extend(keys(facts));
    // What failed then and was made good since is no news.
    notes.extend(updates.iter().filter(|u| u.good || !has_modules(facts, &u.release)).map(update));
    match runs {
        Ok(runs) => {
            notes.extend(run_notes(runs, command));
            notes.extend(after_restart(facts, runs, command));
        }
        Err(why) => notes.push(Row::new(Mark::Unknown, "Runs", format!("could not look: {why}"))),
    }
    let attention = notes.iter().any(|n| is_attention(n.mark))
        || kernels.iter().flat_map(|k| &k.modules).any(|m| is_attention(m.mark));
    Assessment { attention, kernels, notes }
}

/// Whether all modules that fit are there.
fn has_modules(facts: &Facts, release: &str) -> bool {
    let fits = |m: &ModuleFile| m.vermagic_fits.is_true();
    facts.kernel(release).is_some_and(|k| MODULES.iter().all(|m| k.vmware_module(m).is_some_and(fits)))
}

/// What came of an update of a kernel.
fn update(outcome: &Outcome) -> Row {
    let mark = if outcome.good { Mark::Good } else { Mark::Warning };
    let row = Row::new(mark, "Kernel update", outcome.message.clone());
    match &outcome.remedy {
        Some(remedy) => row.remedy(remedy),
        None => row,
    }
}

fn kernel(facts: &Facts, kernel: &Kernel, command: &dyn Fn(&str) -> String) -> KernelStatus {
    // On a tree where no kernel runs, and when the boot loader does not say, every kernel counts.
    let known = kernel.is_running.is_seen();
    let needed = kernel.runs() || kernel.is_next_boot.is_true() || !known;
    let apply = match &kernel.headers {
        Headers::Usable { .. } => command(&format!("vmware apply --kernel {}", kernel.release)),
        // Without them it would only be refused.
        Headers::Missing { command, .. } | Headers::Broken { command, .. } => command.clone(),
    };
    let modules = MODULES.iter().map(|name| module(facts, kernel, name, needed, &apply)).collect();
    KernelStatus {
        release: kernel.release.clone(),
        runs: kernel.runs(),
        starts_next: kernel.is_next_boot.is_true(),
        modules,
    }
}

fn module(facts: &Facts, kernel: &Kernel, name: &'static str, needed: bool, apply: &str) -> ModuleStatus {
    let mut status = ModuleStatus {
        name,
        path: None,
        fits: None,
        signer: None,
        trusted: None,
        loaded: None,
        mark: Mark::Good,
        text: String::new(),
        remedy: None,
    };
    if kernel.runs() {
        status.loaded = facts.loaded_modules.seen().map(|l| l.get(name).is_some());
    }
    let Some(file) = kernel.vmware_module(name) else {
        status.mark = if needed { Mark::Bad } else { Mark::Neutral };
        status.text = "not installed".into();
        if status.loaded == Some(true) {
            status.text.push_str(", and yet loaded");
        }
        status.remedy = needed.then(|| apply.to_owned());
        return status;
    };
    status.path = Some(file.path.clone());
    status.fits = file.vermagic_fits.seen().copied();
    let mut told = Told { parts: vec!["installed".into()], worst: Mark::Good };
    match &file.vermagic_fits {
        Finding::Seen(true) => told.say(Mark::Good, "built for this kernel".into()),
        Finding::Seen(false) => {
            told.say(if needed { Mark::Bad } else { Mark::Warning }, "built for another kernel".into());
        }
        Finding::CouldNotLook { why } => {
            told.say(Mark::Unknown, format!("could not look what it was built for ({why})"));
        }
    }
    if !file.in_modules_dep {
        told.say(Mark::Warning, "not in the module index, so that modprobe does not find it".into());
    }
    signature(facts, kernel, file, &mut status, &mut told);
    if let Some(text) = other_cpu(facts, file) {
        told.say(Mark::Warning, text);
    }
    let mut only_unloaded = false;
    match status.loaded {
        Some(true) => told.say(Mark::Good, "loaded".into()),
        Some(false) => {
            only_unloaded = !is_attention(told.worst);
            told.say(Mark::Warning, "not loaded".into());
        }
        None if kernel.runs() => told.say(Mark::Unknown, "could not look whether it is loaded".into()),
        None => {}
    }
    status.mark = told.worst;
    status.text = told.parts.join(", ");
    if is_attention(told.worst) {
        status.remedy = Some(if only_unloaded { format!("modprobe {name}") } else { apply.to_owned() });
    }
    status
}

/// What is told of one module, and the worst of it.
struct Told {
    parts: Vec<String>,
    worst: Mark,
}

impl Told {
    fn say(&mut self, mark: Mark, text: String) {
        self.parts.push(text);
        if rank(mark) > rank(self.worst) {
            self.worst = mark;
        }
    }
}

fn rank(mark: Mark) -> u8 {
    match mark {
        Mark::Good | Mark::Neutral => 0,
        Mark::Unknown => 1,
        Mark::Warning => 2,
        Mark::Bad => 3,
    }
}

fn signature(facts: &Facts, kernel: &Kernel, file: &ModuleFile, status: &mut ModuleStatus, told: &mut Told) {
    let needed = needs_signature(facts, kernel);
    match &file.signature {
        Finding::CouldNotLook { why } => {
            told.say(Mark::Unknown, format!("could not look at its signature ({why})"));
        }
        Finding::Seen(None) if needed => {
            told.say(Mark::Bad, "not signed, so that this kernel refuses it".into());
        }
        Finding::Seen(None) => told.say(Mark::Good, "not signed".into()),
        Finding::Seen(Some(signature)) => {
            let signer = signature.signer.clone().unwrap_or_else(|| "a key without a name".into());
            status.trusted = trusted(facts, signature);
            let (mark, word) = match status.trusted {
                Some(true) => (Mark::Good, ""),
                Some(false) if needed => (Mark::Bad, ", a key that is not trusted"),
                Some(false) => (Mark::Good, ", a key that is not trusted (this kernel does not ask for it)"),
                None if needed => (Mark::Unknown, ", could not look whether that key is trusted"),
                None => (Mark::Good, ""),
            };
            told.say(mark, format!("signed by {signer}{word}"));
            status.signer = Some(signer);
        }
    }
}

/// Whether this kernel would refuse a module without a trusted signature.
fn needs_signature(facts: &Facts, kernel: &Kernel) -> bool {
    let forced = kernel.config.seen().is_some_and(|c| c.forces_signatures());
    let enforced =
        kernel.runs() && facts.running_kernel.seen().is_some_and(|k| k.enforces_signatures.is_true());
    forced || enforced || facts.secure_boot.seen().is_some_and(|s| s.is_effective().is_true())
}

/// Whether the key of a signature is trusted; `None`: could not look.
fn trusted(facts: &Facts, signature: &ModuleSignature) -> Option<bool> {
    let id = signature.key_id.as_deref()?.to_ascii_lowercase();
    let in_kernel = facts.secure_boot.seen().and_then(|s| s.kernel_keys.seen()).map(|keys| {
        keys.keys.iter().any(|k| !k.key_id.is_empty() && (id == k.key_id || id.ends_with(&k.key_id)))
    });
    if in_kernel == Some(true) {
        return Some(true);
    }
    let key = facts.signing.seen()?.keys.iter().find(|k| {
        k.certificate.seen().is_some_and(|c| {
            c.key_id.as_deref().is_some_and(|k| k.eq_ignore_ascii_case(&id))
                || c.serial.trim_start_matches('0').eq_ignore_ascii_case(id.trim_start_matches('0'))
        })
    });
    match key {
        Some(key) if key.trust.in_kernel.is_true() || key.trust.enrolled.is_true() => Some(true),
        Some(key) if key.trust.in_kernel.is_false() => Some(false),
        Some(_) => in_kernel,
        None => in_kernel,
    }
}

/// A module tuned for another processor than this one.
fn other_cpu(facts: &Facts, file: &ModuleFile) -> Option<String> {
    let recorded = file.hostwright.get("cpu")?;
    let here = facts.cpu.seen()?.model_name.trim();
    let optimized = file.hostwright.get("mode").is_none_or(|m| m == "optimized");
    (optimized && recorded.trim() != here)
        .then(|| format!("tuned for another processor ({recorded}) than this one ({here})"))
}

/// Keys that wait for a person at the next boot.
fn keys(facts: &Facts) -> Vec<Row> {
    let Some(signing) = facts.signing.seen() else { return Vec::new() };
    let waiting = signing.keys.iter().filter(|k| k.trust.pending.is_true());
    waiting
        .map(|k| {
            let whose = if k.owner == KeyOwner::Hostwright { "Hostwright's key" } else { "the distribution's key" };
            Row::new(Mark::Warning, "Reboot pending", format!("{whose} waits to be enrolled"))
                .remedy("Reboot, and in the blue screen (MOK Manager) choose Enroll MOK, Continue, Yes, and type the one-time password.")
        })
        .collect()
}

/// What of the runs waits for a restart, and whether it arrived after one.
fn after_restart(facts: &Facts, runs: &[RunSummary], command: &dyn Fn(&str) -> String) -> Vec<Row> {
    let mut notes = Vec::new();
    for run in runs.iter().filter(|r| r.state == RunState::Done && !r.awaits.is_empty()) {
        let words = run.awaits.join(" ");
        let Some(kernel) = facts.running_kernel.seen() else {
            let text = format!("`{words}` (run {}): told by the kernel that runs", run.run);
            notes.push(Row::new(Mark::Neutral, "Kernel parameters", text));
            continue;
        };
        let runs_with = |word: &String| kernel.command_line.split_whitespace().any(|w| w == word);
        let missing: Vec<&str> = run.awaits.iter().filter(|w| !runs_with(w)).map(String::as_str).collect();
        let restarted = match (kernel.started, run.ended) {
            (Some(started), Some(ended)) => Some(started > ended.as_second()),
            _ => None,
        };
        notes.push(if missing.is_empty() {
            Row::new(
                Mark::Good,
                "Kernel parameters",
                format!("the running kernel has `{words}` (run {})", run.run),
            )
        } else if restarted == Some(true) {
            let text = format!(
                "the machine was restarted since run {}, and the running kernel does not have `{}`",
                run.run,
                missing.join(" ")
            );
            Row::new(Mark::Bad, "Kernel parameters", text).remedy(format!(
                "Another boot entry may have been started; else take the run back: {}",
                command(&format!("undo {}", run.run))
            ))
        } else {
            let text = format!("`{}` (run {}) counts from the next start on", missing.join(" "), run.run);
            Row::new(Mark::Warning, "Reboot pending", text).remedy("Restart the machine.")
        });
    }
    notes
}

fn run_notes(runs: &[RunSummary], command: &dyn Fn(&str) -> String) -> Vec<Row> {
    let mut notes = Vec::new();
    for run in runs.iter().filter(|r| r.state == RunState::Interrupted) {
        notes.push(
            Row::new(
                Mark::Bad,
                "Interrupted run",
                format!("run {} ({}) was left in the middle", run.run, run.title),
            )
            .remedy(command(&format!("undo {}", run.run))),
        );
    }
    match runs.iter().find(|r| r.flow == FLOW) {
        // Told above.
        Some(run) if run.state == RunState::Interrupted => {}
        None => notes.push(Row::new(Mark::Neutral, "Last run", "none yet")),
        Some(run) => {
            let (mark, word) = run_state(run.state);
            let mark = if mark == Mark::Bad { Mark::Warning } else { mark };
            let mut row = Row::new(mark, "Last run", format!("{} ({}): {word}", run.run, run.title));
            if matches!(run.state, RunState::Failed | RunState::UndoStopped) {
                row = row.remedy(command(&format!("undo {}", run.run)));
            }
            notes.push(row);
        }
    }
    notes
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
