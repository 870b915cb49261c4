// SPDX-License-Identifier: GPL-3.0-or-later
//! VMware's kernel modules: adapted, compiled, signed, installed, loaded, verified.
//!
//! ```text
//!   Choices ─┐                                   ┌─► BuildModules, InstallModule, …
//!            ├─ gather (detect, sources, probes) ─ plan (pure) ─┤
//!   Host ────┘                                   └─► Refusal (reason, what to do)
//! ```

pub mod adapt;
mod build;
pub mod check;
pub mod choices;
pub mod dkms;
pub mod facts;
mod gather;
pub mod next;
pub mod offers;
pub mod plan;
#[cfg(test)]
mod plan_tests;
mod probing;
pub mod select;
pub mod source;
mod trust;
pub mod updates;

pub use choices::Choices;

use crate::detect;
use crate::engine::event::Sink;
use crate::engine::plan::{Plan, Refusal};
use crate::engine::steps::{BuildModules, Mode, Rehearse};
use crate::engine::{Event, Inputs};
use crate::flows::PlanError;
use crate::host::{Cancel, Host};
use adapt::{Catalogue, Options, Outcomes, ResolveError, Resolved};
use facts::{KernelFacts, SourceFacts, VmwareFacts};
use gather::Sources;
use plan::Adapted;

/// The name of this flow.
pub const FLOW: &str = "vmware";

/// The modules, needed ones first.
pub const MODULES: [&str; 2] = ["vmmon", "vmnet"];

/// The `.modinfo` field (after `hostwright_`) that says what a module was built from.
pub const RECORD: &str = "record";

/// Gathers what the plan reads and makes it.
///
/// # Errors
/// See [`PlanError`].
pub(super) fn plan_here(
    host: &Host,
    choices: &serde_json::Value,
    inputs: &Inputs,
    cancel: &Cancel,
    sink: &mut dyn Sink,
) -> Result<Plan, PlanError> {
    let choices = Choices::from_json(choices).map_err(PlanError::BadChoices)?;
    let Looked { catalogue, trees, facts } = look(host, &choices, inputs, cancel, sink)?;
    let plan = plan::plan(&choices, &facts, &|kernel, source, mode, record| {
        adapt_one(&catalogue, &trees, &facts, kernel, source, mode, record)
    })?;
    Ok(plan)
}

/// What would be built and tried in virtual machines, for each chosen kernel. Changes nothing but caches, and
/// needs no right that the sources and the kernel's headers do not ask for.
///
/// # Errors
/// See [`PlanError`].
pub fn rehearsals(
    host: &Host,
    choices: &Choices,
    inputs: &Inputs,
    cancel: &Cancel,
    sink: &mut dyn Sink,
) -> Result<Vec<(BuildModules, Rehearse)>, PlanError> {
    let choices = Choices { rehearse: choices::RehearseChoice::Always, ..choices.clone() };
    let Looked { catalogue, trees, facts } = look(host, &choices, inputs, cancel, sink)?;
    Ok(plan::rehearsals(&choices, &facts, &|kernel, source, mode, record| {
        adapt_one(&catalogue, &trees, &facts, kernel, source, mode, record)
    })?)
}

/// What would be built for each chosen kernel, and nothing else. Changes nothing but caches.
///
/// # Errors
/// See [`PlanError`].
pub fn builds(
    host: &Host,
    choices: &Choices,
    inputs: &Inputs,
    cancel: &Cancel,
    sink: &mut dyn Sink,
) -> Result<Vec<BuildModules>, PlanError> {
    let choices = Choices {
        rehearse: choices::RehearseChoice::Never,
        load: choices::LoadChoice::Never,
        updates: choices::UpdateChoice::Keep,
        ..choices.clone()
    };
    let Looked { catalogue, trees, facts } = look(host, &choices, inputs, cancel, sink)?;
    Ok(plan::builds(&choices, &facts, &|kernel, source, mode, record| {
        adapt_one(&catalogue, &trees, &facts, kernel, source, mode, record)
    })?)
}

/// The kernels whose modules of ours were built from other sources than the installed product has now: after an update of
/// the product. Only those that run or start next; what cannot be read is left out.
pub fn built_from_others(host: &Host, facts: &detect::Facts) -> Vec<String> {
    let trees = gather::sources(host, &Choices::default(), facts, &Inputs::default()).unwrap_or_default();
    if trees.is_empty() {
        return Vec::new();
    }
    let other = |m: &detect::modules::ModuleFile| {
        let record = m.hostwright.get(RECORD)?;
        build::is_of(record, &trees.get(&m.name)?.sha256)
    };
    let kernels = facts.kernels.seen().into_iter().flatten();
    let needed = kernels.filter(|k| k.runs() || k.is_next_boot.is_true() || !k.is_running.is_seen());
    needed
        .filter(|k| k.vmware_modules.iter().any(|m| other(m) == Some(false)))
        .map(|k| k.release.clone())
        .collect()
}

/// What was read of the machine for a plan.
struct Looked {
    catalogue: Catalogue,
    trees: Sources,
    facts: VmwareFacts,
}

fn look(
    host: &Host,
    choices: &Choices,
    inputs: &Inputs,
    cancel: &Cancel,
    sink: &mut dyn Sink,
) -> Result<Looked, PlanError> {
    let seen = detect::gather(host, None);
    let selected = select::select(choices, &seen, !host.is_machine())?;
    let catalogue = Catalogue::load(host.root(), &[0, nix::unistd::geteuid().as_raw()])
        .map_err(|e| PlanError::Failed(e.to_string()))?;
    let mut facts = gather::machine_facts(host, choices, &seen, &selected);
    facts.catalogue = catalogue.digest().to_owned();
    let mut trees = Sources::new();
    // What would be refused anyway is refused before anything is compiled.
    if facts.immutable.is_none() {
        trees = gather::sources(host, choices, &seen, inputs)?;
        facts.sources = gather::source_facts(&trees);
    }
    if !trees.is_empty() && facts.missing_tools.is_empty() {
        let total = facts.kernels.len() as u64;
        let mut done = 0;
        let mut failed = None;
        for mut kernel in std::mem::take(&mut facts.kernels) {
            sink.event(Event::Progress { step: 0, done, total, unit: "kernels probed".to_owned() });
            if cancel.is_cancelled() {
                return Err(PlanError::Cancelled);
            }
            let mode = choices.for_kernel(&kernel.release).mode;
            let options = options(mode, facts.cpu.as_ref(), &kernel, String::new());
            match probing::probe(host, &catalogue, &kernel, &options, cancel) {
                Ok(answers) => {
                    kernel.probes = answers.0;
                    facts.kernels.push(kernel);
                }
                // One kernel whose headers answer nothing does not stop the others.
                Err(PlanError::Failed(why)) if total > 1 => {
                    facts.unusable.push(unanswered(&kernel.release, &why));
                    failed = Some(why);
                }
                Err(other) => return Err(other),
            }
            done += 1;
        }
        if let Some(why) = failed.filter(|_| facts.kernels.is_empty()) {
            return Err(PlanError::Failed(why));
        }
        sink.event(Event::Progress { step: 0, done, total, unit: "kernels probed".to_owned() });
    }
    drop(selected);
    Ok(Looked { catalogue, trees, facts })
}

/// A kernel whose headers could not be asked.
fn unanswered(release: &str, why: &str) -> facts::UnusableKernel {
    facts::UnusableKernel {
        release: release.to_owned(),
        reason: why.trim_end_matches('.').to_owned(),
        remedy: "Install the header package of just this kernel again.".to_owned(),
    }
}

fn options(mode: Mode, cpu: Option<&facts::CpuFacts>, kernel: &KernelFacts, record: String) -> Options {
    Options { mode, cpu: cpu.cloned(), llvm: kernel.llvm, record }
}

/// Resolves the adaptations of one module for one kernel. Pure.
fn adapt_one(
    catalogue: &Catalogue,
    trees: &Sources,
    facts: &VmwareFacts,
    kernel: &KernelFacts,
    source: &SourceFacts,
    mode: Mode,
    record: &str,
) -> Result<Adapted, Refusal> {
    let Some(tree) = trees.get(&source.module) else {
        let reason = format!("The sources of {} were not read.", source.module);
        return Err(Refusal::new("sources-missing", reason, "Look again."));
    };
    let outcomes = Outcomes(kernel.probes.clone());
    let options = options(mode, facts.cpu.as_ref(), kernel, record.to_owned());
    adapt::resolve(catalogue, &outcomes, tree, &options).map(adapted).map_err(|e| refusal(kernel, &e))
}

fn refusal(kernel: &KernelFacts, error: &ResolveError) -> Refusal {
    Refusal::new(
        "sources-do-not-fit",
        format!("{}: {error}", kernel.release),
        "Try the sources of a newer product version with --source FOLDER, and report this with the output of \
         `hostwright vmware plan --json`.",
    )
}

fn adapted(resolved: Resolved) -> Adapted {
    let applied = resolved
        .applied
        .iter()
        .map(|a| (a.id.clone(), format!("{} ({}). {}", a.title, a.since, a.reason), a.shown()));
    Adapted {
        applied: applied.collect(),
        compat_header: resolved.compat_header,
        edits: resolved.edits,
        make_vars: resolved.make_vars,
    }
}

/// Says of a compiler's error which adaptation is the nearest to it, for a person who looks for the reason.
pub fn explain(host: &Host, error: &crate::engine::diagnose::Diagnostic) -> Option<String> {
    let catalogue = Catalogue::load(host.root(), &[0, nix::unistd::geteuid().as_raw()]).ok()?;
    let near = adapt::diagnose::nearest(&catalogue, error)?;
    Some(format!("the nearest adaptation is {} ({}): {}", near.adaptation, near.title, near.because))
}
