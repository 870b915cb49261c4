// SPDX-License-Identifier: GPL-3.0-or-later
//! Builds modules and tries them in a virtual machine, outside any run: no journal, no lock, nothing on the host
//! changes, and no root is needed.

use super::build::{self, BuildError, Built, Progressed, Said};
use super::error::StepError;
use super::event::{Event, Level, Sink};
use super::rehearse::{self, Wanted};
use super::report::Inputs;
use super::steps::{BuildModules, Rehearse, Step};
use crate::guest::rehearsal::Verdict;
use crate::host::{Cancel, Host, Stream};
use std::path::Path;

/// Builds what `build` says and tries it as `rehearsal` says. `scratch` is a private, empty folder of this machine;
/// `cache` keeps kernels and initramfs images for the next time. The two steps are told as 0 and 1.
///
/// # Errors
/// When it cannot be built; a machine that cannot run a guest is [`Verdict::CouldNotLook`].
#[allow(clippy::too_many_arguments, reason = "each is of another kind")]
pub fn try_out(
    host: &Host,
    build: &BuildModules,
    rehearsal: &Rehearse,
    inputs: &Inputs,
    scratch: &Path,
    cache: &Path,
    cancel: &Cancel,
    sink: &mut dyn Sink,
) -> Result<Verdict, StepError> {
    sink.event(Event::Step { step: 0, title: Step::BuildModules(build.clone()).title() });
    let built = compile(host, build, inputs, cancel, sink)?;
    sink.event(Event::StepDone { step: 0, unchanged: false });
    sink.event(Event::Step { step: 1, title: Step::Rehearse(rehearsal.clone()).title() });
    let modules: Vec<(String, Vec<u8>)> = built.into_iter().map(|b| (b.module, b.bytes)).collect();
    let wanted = Wanted { kernel: &rehearsal.kernel, image: &rehearsal.image, modules: &modules };
    let mut done = 0;
    let verdict = rehearse::rehearse(host, &wanted, scratch, cache, cancel, &mut |progressed| {
        let (line, tried) = progressed.line();
        if let Some(line) = line {
            sink.passing(Event::Log { step: 1, stream: Stream::Out, line });
        }
        if tried {
            done += 1;
            sink.passing(Event::Progress { step: 1, done, total: 0, unit: "things tried".to_owned() });
        }
    })?;
    match &verdict {
        Verdict::Passed { .. } => sink.event(Event::StepDone { step: 1, unchanged: false }),
        Verdict::Failed { why, .. } | Verdict::CouldNotLook { why, .. } => {
            sink.event(Event::StepFailed { step: 1, reason: why.clone() });
        }
    }
    Ok(verdict)
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
    let built = compile(host, step, inputs, cancel, sink)?;
    Ok(built.into_iter().map(|b| (b.module, b.bytes)).collect())
}

fn compile(
    host: &Host,
    step: &BuildModules,
    inputs: &Inputs,
    cancel: &Cancel,
    sink: &mut dyn Sink,
) -> Result<Vec<Built>, StepError> {
    let trees = step.trees(host, inputs)?;
    let mut said = Said::default();
    let built = build::build(host, step, &trees, cancel, &mut |progress| match progress {
        Progressed::Begins { .. } => {}
        Progressed::Line { module, line } => {
            let text = format!("[{}] {}", step.modules[module].module, line.text);
            sink.passing(Event::Log { step: 0, stream: line.stream, line: text });
            if let Some(event) = said.line(0, module, &line.text) {
                sink.event(event);
            }
        }
        Progressed::Warning(message) => {
            sink.event(Event::Diagnostic { step: 0, level: Level::Warning, file: None, line: None, message });
        }
        Progressed::Objects { done, total } => {
            let (done, total) = (done as u64, total as u64);
            sink.passing(Event::Progress { step: 0, done, total, unit: "object files".to_owned() });
        }
    });
    built.map_err(|error| match error {
        BuildError::Cancelled => StepError::Cancelled,
        BuildError::Host(e) => e.into(),
        BuildError::Make { module, source } => {
            let why = said.first_error(host, &inputs.explain, module).unwrap_or_else(|| source.to_string());
            let what =
                format!("{} could not be compiled for {}: {why}", step.modules[module].module, step.kernel);
            StepError::refused(what, "-v shows the complete output of the compiler")
        }
        other => StepError::refused(other.to_string(), "-v shows the complete output of the compiler"),
    })
}
