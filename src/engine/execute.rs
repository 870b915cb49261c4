// SPDX-License-Identifier: GPL-3.0-or-later
//! Carries out a plan: write ahead, apply, verify; and take all of it back when something fails.
//!
//! How a run ends:
//!
//! | what happened | state |
//! |---|---|
//! | every step done, no check bad | `Done`; the message names each check that could not look |
//! | a step failed, a check is bad, or somebody cancelled | all is taken back: `RolledBack` |
//! | as above, and something could not be taken back | `Failed`; the message names what remains |
//!
//! A check that could not look does not undo the work, and is not passed off as success either:
//! [`RunReport::is_verified`] is false then.

use super::context::Context;
use super::error::{RunError, StepError};
use super::event::{Check, CheckOutcome, Event, Level, Sink};
use super::folders::{self, LOCK, RunFolder};
use super::given_up::{self, GivenUp};
use super::inhibit;
use super::journal::{Begin, Journal, Record, RunState};
use super::plan::{PLAN_VERSION, Plan};
use super::report::{Inputs, Owner, RunReport};
use super::space;
use super::take_back::{self, Outcome};
use super::voice::Voice;
use crate::host::failpoint;
use crate::host::{Cancel, Host, Lock};

/// Carries out a plan. `check` is the postcondition of the whole run, asked after the last step.
///
/// # Errors
/// When the run was not begun, and nothing was changed. A run that was begun always ends in a report.
pub fn execute(
    host: &Host,
    plan: &Plan,
    inputs: &Inputs,
    owner: &Owner,
    check: &dyn Fn(&Host, &Plan) -> Vec<Check>,
    cancel: &Cancel,
    sink: &mut dyn Sink,
) -> Result<RunReport, RunError> {
    admit(plan)?;
    let title = title(plan);
    let lock = Lock::take(host.root(), LOCK, &holder(&title, owner))?;
    clear_way(host)?;
    space::check(host, plan)?;
    let folder = RunFolder::next(host.root())?;
    let journal = begin(host, plan, &title, owner, &folder).inspect_err(|_| {
        folder.discard(host.root());
    })?;
    let run = folder.run;
    let _span = tracing::info_span!("run", run, flow = plan.flow).entered();
    let voice = Voice::new(sink, host.root(), &folder.events());
    let mut ctx = Context::new(host, folder, inputs, cancel, &lock, journal, voice);
    ctx.emit(Event::Started { run, steps: plan.steps.len(), undo: false });
    ctx.plan_builds(given_up::together(plan));
    let _inhibitor = inhibit(&ctx, &title);

    let mut given_up = GivenUp::default();
    let report = match carry_out(&mut ctx, plan, check, &mut given_up) {
        Ok(()) => {
            let message = success(&ctx, plan) + &given_up.sentence(plan);
            let kernels = given_up.results(plan);
            for result in &kernels {
                ctx.emit(Event::Kernel { result: result.clone() });
            }
            RunReport { kernels, ..finish(&mut ctx, RunState::Done, message) }
        }
        Err(failure) => {
            let outcome = roll_back(&mut ctx, plan, owner);
            let (state, message) = failure.summary(plan, run, &outcome);
            let report = finish(&mut ctx, state, message);
            outcome.forget_copies(&ctx);
            report
        }
    };
    super::prune::prune_by_itself(host);
    Ok(report)
}

/// Refuses a plan that is none of this version's making.
fn admit(plan: &Plan) -> Result<(), RunError> {
    let again = "make the plan again with this version";
    if plan.version != PLAN_VERSION {
        let what = format!("the plan has format {} and this version makes {PLAN_VERSION}", plan.version);
        return Err(RunError::Plan { what, remedy: again.into() });
    }
    for step in &plan.steps {
        if let Some(missing) = step.permissions().difference(&plan.permissions).next() {
            let what =
                format!("“{}” needs {} and the plan does not ask for it", step.title(), missing.action_id());
            return Err(RunError::Plan { what, remedy: again.into() });
        }
    }
    Ok(())
}

/// What a plan does, in a few words, for lists.
fn title(plan: &Plan) -> String {
    if !plan.title.is_empty() {
        return plan.title.clone();
    }
    let details: Vec<&str> = plan.details.values().map(String::as_str).filter(|d| !d.is_empty()).collect();
    if details.is_empty() { plan.flow.clone() } else { format!("{}: {}", plan.flow, details.join(", ")) }
}

/// What the lock says about its holder.
pub(super) fn holder(title: &str, owner: &Owner) -> String {
    let title: String = title.chars().take(80).collect();
    format!("“{title}”, asked for by {}, process {}", owner.name, std::process::id())
}

/// A run that was interrupted comes first. One that was stopped before its first change has nothing to
/// take back and is closed here.
fn clear_way(host: &Host) -> Result<(), RunError> {
    while let Some(history) = folders::interrupted(host)? {
        let run = history.begin.run;
        if !history.steps.is_empty() || history.undo.is_some() {
            return Err(RunError::Interrupted { run, title: history.begin.title });
        }
        let Some(mut journal) = Journal::open(host.root(), &RunFolder::of(run).journal())? else {
            return Err(RunError::Interrupted { run, title: history.begin.title });
        };
        journal.record(&Record::End {
            at: host.clock().now(),
            state: RunState::RolledBack,
            message: "It was interrupted before it had changed anything.".to_owned(),
        })?;
        RunFolder::of(run).tidy(host.root());
    }
    Ok(())
}

/// Writes all that undo will need and that is known by now.
fn begin(
    host: &Host,
    plan: &Plan,
    title: &str,
    owner: &Owner,
    folder: &RunFolder,
) -> Result<Journal, RunError> {
    folder.write_plan(host.root(), plan)?;
    folder.reserve(host.root())?;
    let begin = Begin {
        version: super::journal::JOURNAL_VERSION,
        run: folder.run,
        flow: plan.flow.clone(),
        title: title.to_owned(),
        digest: plan.digest(),
        choices: plan.choices.clone(),
        steps: plan.steps.iter().map(super::Step::title).collect(),
        owner: owner.clone(),
        at: host.clock().now(),
        awaits: awaits(plan),
        program: env!("CARGO_PKG_VERSION").to_owned(),
    };
    failpoint::hit("before-begin");
    let journal = Journal::create(host.root(), &folder.journal(), begin)?;
    failpoint::hit("begun");
    Ok(journal)
}

/// The words that the kernel must be started with for a plan to have its effect.
fn awaits(plan: &Plan) -> Vec<String> {
    let sets = plan.steps.iter().filter_map(|step| match step {
        super::Step::SetKernelParameters(set) => Some(&set.parameters),
        _ => None,
    });
    sets.flatten().map(ToString::to_string).collect()
}

/// Keeps the machine awake, or says why that could not be done.
pub(super) fn inhibit(ctx: &Context<'_>, title: &str) -> Option<inhibit::Inhibitor> {
    inhibit::take(ctx.host(), title).unwrap_or_else(|why| {
        ctx.say(Level::Note, format!("The machine may fall asleep meanwhile: {why}."));
        None
    })
}

/// Why a run is taken back.
struct Failure {
    step: Option<usize>,
    reason: String,
    cancelled: bool,
}

impl Failure {
    fn of(step: usize, error: &StepError) -> Self {
        Self { step: Some(step), reason: error.to_string(), cancelled: error.is_cancelled() }
    }

    fn summary(&self, plan: &Plan, run: u32, outcome: &Outcome) -> (RunState, String) {
        let step = self.step.and_then(|i| plan.steps.get(i)).map(super::Step::title);
        let mut message = match (step, self.cancelled) {
            (Some(step), true) => format!("Cancelled at “{step}”."),
            (None, true) => "Cancelled.".to_owned(),
            (Some(step), false) => format!("“{step}” failed: {}.", self.reason.trim_end_matches('.')),
            (None, false) => format!("It is not as it should be: {}.", self.reason.trim_end_matches('.')),
        };
        message.push(' ');
        message.push_str(&outcome.sentence(run));
        let state = if outcome.stopped.is_some() { RunState::Failed } else { RunState::RolledBack };
        (state, message)
    }
}

/// Carries out all steps and checks.
fn carry_out(
    ctx: &mut Context<'_>,
    plan: &Plan,
    check: &dyn Fn(&Host, &Plan) -> Vec<Check>,
    given_up: &mut GivenUp,
) -> Result<(), Failure> {
    for (i, step) in plan.steps.iter().enumerate() {
        if given_up.leaves_out(plan, step) {
            continue;
        }
        let title = step.title();
        let _span = tracing::info_span!("step", step = i, title).entered();
        ctx.enter(i);
        ctx.begin(i, title);
        match one_step(ctx, i, step) {
            Ok(unchanged) => {
                ctx.keep_notes();
                ctx.emit(Event::StepDone { step: i, unchanged });
            }
            Err(error) => {
                let reason = error.to_string();
                tracing::warn!(reason, "the step failed");
                // Only for the list of runs: undo does not depend on it.
                let _ = ctx.record(&Record::Failed { step: i, at: ctx.host().clock().now(), reason });
                ctx.emit(Event::StepFailed { step: i, reason: error.to_string() });
                if !error.is_cancelled() && given_up.give_up(plan, step, &error.to_string()) {
                    continue;
                }
                return Err(Failure::of(i, &error));
            }
        }
    }
    if ctx.cancel().is_cancelled() {
        return Err(Failure { step: None, reason: "cancelled".into(), cancelled: true });
    }
    let checks = check(ctx.host(), &given_up.rest_of(plan));
    let failed = |e: StepError| Failure { step: None, reason: e.to_string(), cancelled: false };
    note_checks(ctx, None, &checks).map_err(failed)
}

/// Carries out one step; true when it found all as it should be.
fn one_step(ctx: &mut Context<'_>, i: usize, step: &super::Step) -> Result<bool, StepError> {
    ctx.stop_if_cancelled()?;
    let action = step.action();
    failpoint::hit("before-intent");
    let before = action.before(ctx)?;
    let at = ctx.host().clock().now();
    ctx.record(&Record::Intent { step: i, at, before: before.clone() })?;
    failpoint::hit("intent");
    let applied = action.apply(ctx)?;
    failpoint::hit("applied");
    let after = ctx.after(&before, &applied)?;
    let at = ctx.host().clock().now();
    ctx.record(&Record::Done { step: i, at, unchanged: applied.unchanged, after })?;
    failpoint::hit("done");
    let checks = action.verify(ctx);
    note_checks(ctx, Some(i), &checks)?;
    Ok(applied.unchanged)
}

/// Records and tells checks.
///
/// # Errors
/// The first one that is bad.
fn note_checks(ctx: &Context<'_>, step: Option<usize>, checks: &[Check]) -> Result<(), StepError> {
    for check in checks {
        ctx.record(&Record::Check { step, check: check.clone() })?;
        ctx.emit(Event::Checked { check: check.clone() });
    }
    match checks.iter().find_map(|c| match &c.outcome {
        CheckOutcome::Bad { reason } => Some((c.what.clone(), reason.clone())),
        _ => None,
    }) {
        Some((what, reason)) => Err(StepError::Postcondition { what, reason }),
        None => Ok(()),
    }
}

/// Takes back what was done so far. This is not cancelled.
fn roll_back(ctx: &mut Context<'_>, plan: &Plan, owner: &Owner) -> Outcome {
    ctx.take_back(Cancel::new());
    ctx.folder().tidy(ctx.host().root());
    let at = ctx.host().clock().now();
    let begin = Record::UndoBegin { at, owner: owner.clone(), rollback: true };
    // `record` does not fail while steps are taken back.
    let _ = ctx.record(&begin);
    failpoint::hit("rollback");
    take_back::all(ctx, plan)
}

/// What is said of a run that went well.
fn success(ctx: &Context<'_>, plan: &Plan) -> String {
    let journal = ctx.journal().borrow();
    let history = journal.history();
    let mut message = match plan.steps.len() {
        0 => "There was nothing to do.".to_owned(),
        _ if history.steps.values().all(|s| s.unchanged) => {
            "Everything was as it should be already.".to_owned()
        }
        1 => "The step is done.".to_owned(),
        n => format!("All {n} steps are done."),
    };
    for check in &history.checks {
        if let CheckOutcome::CouldNotLook { reason } = &check.outcome {
            message.push_str(&format!(" Not verified: {} ({}).", check.what, reason.trim_end_matches('.')));
        }
    }
    for note in ctx.told() {
        message.push_str(&format!(" Note: {}.", note.trim_end_matches('.')));
    }
    if plan.needs_reboot {
        message.push_str(" Restart the machine for it to take effect.");
    }
    message
}

/// Records the end and makes the report.
pub(super) fn finish(ctx: &mut Context<'_>, state: RunState, message: String) -> RunReport {
    ctx.folder().tidy(ctx.host().root());
    failpoint::hit("before-end");
    let at = ctx.host().clock().now();
    let mut message = message;
    if let Err(error) = ctx.record(&Record::End { at, state, message: message.clone() }) {
        let run = ctx.run_number();
        message.push_str(&format!(
            " But its end could not be recorded ({error}), so that it will be listed as interrupted; `hostwright undo {run}` takes it back."
        ));
    }
    ctx.emit(Event::Finished { state, message: message.clone() });
    let journal = ctx.journal().borrow();
    let history = journal.history();
    // What was good before it was taken back says nothing about now.
    let of_the_run = matches!(state, RunState::Done | RunState::RolledBack | RunState::Failed);
    RunReport {
        run: ctx.run_number(),
        state,
        message,
        checks: if of_the_run { history.checks.clone() } else { Vec::new() },
        log: history.log.clone(),
        kernels: Vec::new(),
    }
}
