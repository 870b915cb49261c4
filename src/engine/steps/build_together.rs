// SPDX-License-Identifier: GPL-3.0-or-later
//! The builds of a plan at once: the first build's step does those of all kernels, and the later ones find theirs done.
//! A failure waits for the step that it is of, so that the journal tells it there.

use super::build_modules::BuildModules;
use super::{Action, Step};
use crate::engine::build::{
    self, BuildError, BuildLog, Built, Cache, Order, Progressed, Said, build_all, write_bundle,
};
use crate::engine::context::Context;
use crate::engine::error::StepError;
use crate::engine::event::{Event, Level};
use crate::engine::kbuild;
use crate::engine::source::Files;
use sha2::{Digest, Sha256};

/// One of the builds.
struct Task {
    /// Number of its step.
    at: usize,
    step: BuildModules,
    trees: Vec<Files>,
    key: String,
    log: BuildLog,
    said: Said,
}

/// Does the build of the step that is entered and those that are to be done with it, and keeps what came of each
/// ([`Context::take_built`]).
pub(super) fn run(ctx: &mut Context<'_>, step: &BuildModules) {
    let mut tasks = Vec::new();
    for (at, step) in ctx.take_builds(step) {
        match prepare(ctx, at, step) {
            Ok(mut task) => match cached(ctx, &mut task) {
                Some(built) => keep(ctx, task, Ok(built), false),
                None => tasks.push(task),
            },
            Err(error) => ctx.keep_built(at, Err(error)),
        }
    }
    let results = compile(ctx, &mut tasks);
    for (task, result) in tasks.into_iter().zip(results) {
        keep(ctx, task, result, true);
    }
}

/// Reads the sources and begins the logs.
fn prepare(ctx: &mut Context<'_>, at: usize, step: BuildModules) -> Result<Task, StepError> {
    step.check_headers(ctx.host())?;
    let trees = step.trees(ctx.host(), ctx.inputs())?;
    let names: Vec<&str> = step.modules.iter().map(|m| m.module.as_str()).collect();
    let mut log = BuildLog::begin(ctx.host(), &names)?;
    ctx.set_log(log.path());
    log.say(&format!("{}, {}", step.title(), log.when().to_owned()));
    Ok(Task { at, trees, key: build::key(&step), step, log, said: Said::default() })
}

/// The modules of the same build, if it was done before and its result still passes the gate.
fn cached(ctx: &Context<'_>, task: &mut Task) -> Option<Vec<Built>> {
    let cache = Cache::of(ctx.host());
    let cached = cache.find(&task.key, &task.step)?;
    match build::gate(ctx.host(), &task.step, cached.modules) {
        Ok(built) => {
            task.log.say(&format!(
                "nothing changed since the build of {}; its log is {}\ncache: {}",
                cached.when, cached.log, task.key
            ));
            Some(built)
        }
        Err(error) => {
            warn(ctx, task.at, format!("an earlier build is not used: {error}"));
            cache.forget(&task.key);
            None
        }
    }
}

/// Compiles, and tells what happens.
fn compile(ctx: &Context<'_>, tasks: &mut [Task]) -> Vec<Result<Vec<Built>, BuildError>> {
    let work: Vec<(BuildModules, Vec<Files>)> =
        tasks.iter_mut().map(|t| (t.step.clone(), std::mem::take(&mut t.trees))).collect();
    let orders: Vec<Order<'_>> = work.iter().map(|(step, trees)| Order { step, trees }).collect();
    let several = tasks.len() > 1;
    build_all(ctx.host(), &orders, ctx.cancel(), &mut |which, progressed| {
        let Task { at, step, log, said, .. } = &mut tasks[which];
        match progressed {
            Progressed::Begins { module, command } => {
                ctx.begin(*at, Step::BuildModules(step.clone()).title());
                let head = kbuild::log_header(step, &step.modules[module], command, log.when());
                log.write(module, &head);
                log.say(&format!("{}: {}", step.modules[module].module, command.display()));
            }
            Progressed::Line { module, line } => {
                log.line(module, line);
                let name = &step.modules[module].module;
                let of = if several { format!("{} {name}", step.kernel) } else { name.clone() };
                let text = format!("[{of}] {}", line.text);
                ctx.emit(Event::Log { step: *at, stream: line.stream, line: text });
                if let Some(event) = said.line(*at, module, &line.text) {
                    ctx.emit(event);
                }
            }
            Progressed::Warning(text) => {
                log.say(&text);
                warn(ctx, *at, text);
            }
            Progressed::Objects { done, total } => {
                let (done, total) = (done as u64, total as u64);
                ctx.emit(Event::Progress { step: *at, done, total, unit: "object files".to_owned() });
            }
        }
    })
}

/// Logs what came of a build, stores the modules, and keeps the result for the step that it is of.
fn keep(ctx: &mut Context<'_>, mut task: Task, result: Result<Vec<Built>, BuildError>, fresh: bool) {
    let at = task.at;
    let result = match result {
        Ok(built) => store(ctx, &mut task, &built, fresh),
        Err(error) => Err(explain(ctx, &mut task, error)),
    };
    ctx.keep_built(at, result);
}

fn store(ctx: &mut Context<'_>, task: &mut Task, built: &[Built], fresh: bool) -> Result<(), StepError> {
    let log = &mut task.log;
    if fresh {
        log.say(&format!("{} different warnings", task.said.warnings()));
    }
    for Built { module, bytes, instructions } in built {
        log.say(&format!(
            "{module}.ko: {} bytes, sha256 {}, {instructions} instructions read, none touches floating point or \
             vector registers",
            bytes.len(),
            hex::encode(Sha256::digest(bytes)),
        ));
    }
    if fresh {
        let modules: Vec<_> = built.iter().map(|b| (b.module.as_str(), b.bytes.as_slice())).collect();
        if let Err(e) = Cache::of(ctx.host()).store(&task.key, &modules, log.path(), log.when()) {
            warn(ctx, task.at, format!("the result cannot be kept for the next time: {e}"));
        }
    }
    if let Some(problem) = log.problem() {
        warn(ctx, task.at, format!("the log {} is not complete: {problem}", log.path()));
    }
    let folder = format!("{}/{}", ctx.work_dir()?, task.step.kernel);
    ctx.host().root().create_dirs(&folder, 0o700)?;
    for Built { module, bytes, .. } in built {
        let path = format!("{folder}/{module}.ko");
        ctx.host().root().write(&path, bytes, 0o600, None)?;
        ctx.set_artifact(&task.step.kernel, module, &path);
    }
    Ok(())
}

/// Words for a build that failed, with all that helps to find out why.
fn explain(ctx: &Context<'_>, task: &mut Task, error: BuildError) -> StepError {
    let (step, log) = (&task.step, &mut task.log);
    let (what, module) = match error {
        BuildError::Cancelled => {
            log.say("cancelled");
            return StepError::Cancelled;
        }
        BuildError::Host(e) => {
            log.say(&e.to_string());
            return e.into();
        }
        BuildError::Make { module, source } => {
            let why = task.said.first_error(ctx.host(), &ctx.inputs().explain, module);
            let name = &step.modules[module].module;
            let why = why.unwrap_or_else(|| source.to_string());
            (format!("{name} could not be compiled for {}: {why}", step.kernel), Some(name))
        }
        other => (other.to_string(), None),
    };
    log.say(&format!("failed: {what}"));
    let run_plan = ctx.folder().plan();
    let bundle = write_bundle(ctx.host(), step, log, Some(&run_plan), &what);
    let complete = module.map_or_else(|| log.path().to_owned(), |m| log.path_of(m));
    let remedy = match bundle {
        Ok(path) => format!("the complete output is in {complete}, and all that a report needs in {path}"),
        Err(e) => format!("the complete output is in {complete} (no report could be packed: {e})"),
    };
    StepError::refused(what, remedy)
}

fn warn(ctx: &Context<'_>, step: usize, message: String) {
    ctx.emit(Event::Diagnostic { step, level: Level::Warning, file: None, line: None, message });
}
