// SPDX-License-Identifier: GPL-3.0-or-later
//! Builds modules and tries them in a virtual machine, outside any run: no journal, no lock, nothing on the host
//! changes, and no root is needed.

use super::build::{self, BuildError, Built, Order, Progressed, Said};
use super::error::StepError;
use super::event::{Event, Level, Sink};
use super::rehearse::{self, Wanted};
use super::report::Inputs;
use super::source::Files;
use super::steps::{BuildModules, Rehearse, Step};
use crate::guest::rehearsal::Verdict;
use crate::host::{Cancel, Host, Stream};
use std::collections::BTreeMap;
use std::path::Path;

/// Builds what each pair says, all at once under one job budget, and then tries one after the other; what fails for one
/// kernel does not stop the others. `scratch` is a private, empty folder of this machine; `cache` keeps kernels and
/// initramfs images for the next time. Of N pairs the builds are told as steps 0 to N - 1, and the trials as N and on.
///
/// What came of each is in their order: an error when it could not be built; a machine that cannot run a guest is
/// [`Verdict::CouldNotLook`].
pub fn try_all(
    host: &Host,
    wanted: &[(BuildModules, Rehearse)],
    inputs: &Inputs,
    scratch: &Path,
    cache: &Path,
    cancel: &Cancel,
    sink: &mut dyn Sink,
) -> Vec<Result<Verdict, StepError>> {
    let builds: Vec<&BuildModules> = wanted.iter().map(|(build, _)| build).collect();
    let built = compile(host, &builds, inputs, cancel, sink);
    let mut tried = Vec::new();
    for (at, (built, (_, rehearsal))) in built.into_iter().zip(wanted).enumerate() {
        tried.push(built.and_then(|built| {
            let scratch = scratch.join(at.to_string());
            std::fs::create_dir(&scratch).map_err(|e| {
                let what = format!("{} could not be made: {e}", scratch.display());
                StepError::refused(what, "look at the folder for temporary files (TMPDIR)")
            })?;
            try_out(host, rehearsal, wanted.len() + at, built, (&scratch, cache), cancel, sink)
        }));
    }
    tried
}

/// Tries modules in a virtual machine, told as the step `step`.
fn try_out(
    host: &Host,
    rehearsal: &Rehearse,
    step: usize,
    built: Vec<Built>,
    (scratch, cache): (&Path, &Path),
    cancel: &Cancel,
    sink: &mut dyn Sink,
) -> Result<Verdict, StepError> {
    sink.event(Event::Step { step, title: Step::Rehearse(rehearsal.clone()).title() });
    let modules: Vec<(String, Vec<u8>)> = built.into_iter().map(|b| (b.module, b.bytes)).collect();
    let wanted = Wanted { kernel: &rehearsal.kernel, image: &rehearsal.image, modules: &modules };
    let mut done = 0;
    let verdict = rehearse::rehearse(host, &wanted, scratch, cache, cancel, &mut |progressed| {
        let (line, tried) = progressed.line();
        if let Some(line) = line {
            sink.passing(Event::Log { step, stream: Stream::Out, line });
        }
        if tried {
            done += 1;
            sink.passing(Event::Progress { step, done, total: 0, unit: "things tried".to_owned() });
        }
    });
    let ended = match &verdict {
        Ok(Verdict::Passed { .. }) => Event::StepDone { step, unchanged: false },
        Ok(Verdict::Failed { why, .. } | Verdict::CouldNotLook { why, .. }) => {
            Event::StepFailed { step, reason: why.clone() }
        }
        Err(e) => Event::StepFailed { step, reason: e.to_string() },
    };
    sink.event(ended);
    verdict
}

/// Builds what `step` says, in the sandbox, and checks it, outside any run; takes what an earlier build of just the same
/// made. The modules' names and bytes, unsigned. Told as step 0.
///
/// # Errors
/// When it cannot be built, or what came out is no module that should be loaded.
pub fn build_or_reuse(
    host: &Host,
    step: &BuildModules,
    inputs: &Inputs,
    cancel: &Cancel,
    sink: &mut dyn Sink,
) -> Result<Vec<(String, Vec<u8>)>, StepError> {
    let cached = build::Cache::of(host).find(&build::key(step), step);
    match cached.and_then(|c| build::gate(host, step, c.modules).ok()) {
        Some(built) => Ok(built.into_iter().map(|b| (b.module, b.bytes)).collect()),
        None => build_only(host, step, inputs, cancel, sink),
    }
}

/// Builds what `build` says, outside any run, always anew; the modules' names and bytes, unsigned.
///
/// # Errors
/// When it cannot be built.
pub fn build_only(
    host: &Host,
    step: &BuildModules,
    inputs: &Inputs,
    cancel: &Cancel,
    sink: &mut dyn Sink,
) -> Result<Vec<(String, Vec<u8>)>, StepError> {
    let built = compile(host, &[step], inputs, cancel, sink).pop();
    let built = built.unwrap_or(Err(StepError::Cancelled))?;
    Ok(built.into_iter().map(|b| (b.module, b.bytes)).collect())
}

/// Builds for all kernels at once, each told as the step of its number.
fn compile(
    host: &Host,
    steps: &[&BuildModules],
    inputs: &Inputs,
    cancel: &Cancel,
    sink: &mut dyn Sink,
) -> Vec<Result<Vec<Built>, StepError>> {
    let trees: Vec<Result<Vec<Files>, StepError>> = steps.iter().map(|s| s.trees(host, inputs)).collect();
    let (numbers, orders): (Vec<usize>, Vec<Order<'_>>) = trees
        .iter()
        .enumerate()
        .filter_map(|(at, trees)| Some((at, Order { step: steps[at], trees: trees.as_ref().ok()? })))
        .unzip();
    let mut said: Vec<Option<Said>> = steps.iter().map(|_| None).collect();
    let built = build::build_all(host, &orders, cancel, &mut |which, progressed| {
        let at = numbers[which];
        let (modules, kernel) = (&steps[at].modules, &steps[at].kernel);
        match progressed {
            Progressed::Begins { .. } => {
                if said[at].is_none() {
                    said[at] = Some(Said::default());
                    sink.event(Event::Step {
                        step: at,
                        title: Step::BuildModules(steps[at].clone()).title(),
                    });
                }
            }
            Progressed::Line { module, line } => {
                let name = &modules[module].module;
                let of = if steps.len() > 1 { format!("{kernel} {name}") } else { name.clone() };
                let text = format!("[{of}] {}", line.text);
                sink.passing(Event::Log { step: at, stream: line.stream, line: text });
                if let Some(event) = said[at].as_mut().and_then(|s| s.line(at, module, &line.text)) {
                    sink.event(event);
                }
            }
            Progressed::Warning(message) => {
                sink.event(Event::Diagnostic {
                    step: at,
                    level: Level::Warning,
                    file: None,
                    line: None,
                    message,
                });
            }
            Progressed::Objects { done, total } => {
                let (done, total) = (done as u64, total as u64);
                sink.passing(Event::Progress { step: at, done, total, unit: "object files".to_owned() });
            }
        }
    });
    let mut built: BTreeMap<usize, _> = numbers.into_iter().zip(built).collect();
    let mut results = Vec::new();
    for (at, trees) in trees.into_iter().enumerate() {
        let result = match (trees, built.remove(&at)) {
            (Err(e), _) => Err(e),
            (Ok(_), Some(Ok(built))) => Ok(built),
            (Ok(_), Some(Err(e))) => Err(words(host, steps[at], inputs, said[at].take(), e)),
            (Ok(_), None) => Err(StepError::Cancelled),
        };
        sink.event(match &result {
            Ok(_) => Event::StepDone { step: at, unchanged: false },
            Err(e) => Event::StepFailed { step: at, reason: e.to_string() },
        });
        results.push(result);
    }
    results
}

/// Words for a build that failed.
fn words(
    host: &Host,
    step: &BuildModules,
    inputs: &Inputs,
    said: Option<Said>,
    error: BuildError,
) -> StepError {
    match error {
        BuildError::Cancelled => StepError::Cancelled,
        BuildError::Host(e) => e.into(),
        BuildError::Make { module, source } => {
            let why = said.and_then(|s| s.first_error(host, &inputs.explain, module));
            let why = why.unwrap_or_else(|| source.to_string());
            let what =
                format!("{} could not be compiled for {}: {why}", step.modules[module].module, step.kernel);
            StepError::refused(what, "-v shows the complete output of the compiler")
        }
        other => StepError::refused(other.to_string(), "-v shows the complete output of the compiler"),
    }
}
