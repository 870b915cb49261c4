// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright apply --profile`: makes a machine as a profile says, flow by flow. What is so already is left alone, so
//! that the same command again changes nothing: for fleets.

use super::confirm;
use super::errors::{Exit, Problem};
use super::look::Mark;
use super::machine::Machine;
use super::preview;
use super::profile;
use super::progress::showing;
use super::session::Session;
use super::watch::Standing;
use super::work::{self, ApplyOptions, Request};
use crate::engine::{Event, Inputs, KernelResult, Plan, RunReport, RunState, Step, StepPreview};
use crate::flows::profile::{Applied, FlowApplied, Outcome};
use std::path::Path;

/// The version of the document that is written with `--json`.
const VERSION: u32 = 1;

/// Runs `apply --profile`.
pub(crate) fn run(session: &mut Session, which: &Path, options: &ApplyOptions) -> Result<Exit, Problem> {
    if !options.check {
        confirm::need_consent(options.yes, session.json(), "changed")?;
    }
    let profile = profile::find(which)?;
    let machine = session.machine()?;
    let mut planned = Vec::new();
    let mut exit = Exit::Done;
    let mut flows = Vec::new();
    // All is planned and shown before anything is asked or done.
    for (flow, choices) in profile.requests() {
        let request = Request { flow: flow.to_owned(), choices, inputs: Inputs::default() };
        match work::make(session, machine.as_ref(), &request) {
            Ok((plan, steps)) => {
                if !session.json() {
                    let heading = session.look().bold(&format!("{flow}: "));
                    let text = preview::plan(session.look(), &plan, &steps, options.show.diff);
                    session.screen.print(&format!("{heading}{text}\n"));
                }
                planned.push(Ok((plan, steps)));
            }
            Err(problem) if problem.exit == Exit::Cancelled => return Err(problem),
            Err(problem) => {
                if !session.json() {
                    session.voice.say(&format!("{flow}: {}", problem.render(session.voice.look)));
                }
                planned.push(Err((flow, problem)));
            }
        }
    }
    // Nothing is begun when a part of it is refused: a machine is made as the profile says, or is left alone.
    let refused = planned.iter().any(Result::is_err);
    let to_do = planned.iter().flatten().any(|(plan, _)| !plan.is_empty());
    if to_do && !refused && !options.check && !options.yes && !confirm::ask(&session.voice, "Do this now?")? {
        return Err(Problem::cancelled());
    }
    let mut failed = refused;
    for item in planned {
        let (plan, steps) = match item {
            Ok(item) => item,
            Err((flow, problem)) => {
                worse(&mut exit, problem.exit);
                flows.push(not_done(session, flow, &problem));
                continue;
            }
        };
        let mut applied = described(&plan, &steps);
        if plan.is_empty() && !plan.not_done().is_empty() {
            applied.kernels = plan.not_done();
            let of = |k: &KernelResult| format!("{}: {}", k.kernel, k.text);
            let kernels: Vec<String> = applied.kernels.iter().map(of).collect();
            applied.message = session.named(&format!("It is not done for {}", kernels.join("; ")));
            applied.result = Outcome::Failed;
            failed = true;
            worse(&mut exit, Exit::Failed);
        } else if plan.is_empty() {
            "It is so already.".clone_into(&mut applied.message);
        } else if options.check {
            applied.result = Outcome::Changed;
            "It would be changed.".clone_into(&mut applied.message);
        } else if failed {
            applied.result = Outcome::Skipped;
            "It was not begun, because another part of the profile cannot be done."
                .clone_into(&mut applied.message);
        } else {
            carry_out(session, machine.as_ref(), &plan, &mut applied, &mut exit);
            failed = applied.result == Outcome::Failed;
        }
        flows.push(applied);
    }
    let result = Applied::together(&flows);
    if options.check && result == Outcome::Changed {
        exit = Exit::WouldChange;
    }
    let applied = Applied {
        version: VERSION,
        profile: profile.name.clone(),
        result,
        check: options.check,
        needs_reboot: flows.iter().any(|f| f.needs_reboot && f.result == Outcome::Changed),
        flows,
    };
    if session.json() {
        session.screen.document(&applied)?;
    } else {
        let text = told(session, &applied);
        session.screen.print(&text);
    }
    Ok(exit)
}

/// The first problem decides how the command ends.
fn worse(exit: &mut Exit, with: Exit) {
    if *exit == Exit::Done {
        *exit = with;
    }
}

fn described(plan: &Plan, steps: &[StepPreview]) -> FlowApplied {
    FlowApplied {
        flow: plan.flow.clone(),
        result: Outcome::Ok,
        message: String::new(),
        digest: Some(plan.digest()),
        steps: plan.steps.iter().map(Step::title).collect(),
        files: steps.iter().flat_map(|s| s.files.clone()).collect(),
        warnings: plan.warnings.clone(),
        needs_reboot: plan.needs_reboot,
        run: None,
        kernels: Vec::new(),
        error: None,
    }
}

/// What is told of a flow that could not be done, with commands for this machine.
fn not_done(session: &Session, flow: &str, problem: &Problem) -> FlowApplied {
    let mut problem = problem.clone();
    problem.reason = session.named(&problem.reason);
    problem.remedy = problem.remedy.map(|r| session.named(&r));
    FlowApplied {
        flow: flow.to_owned(),
        result: Outcome::Failed,
        message: format!("{}. {}", problem.title.trim_end_matches('.'), problem.reason).trim().to_owned(),
        digest: None,
        steps: Vec::new(),
        files: Vec::new(),
        warnings: Vec::new(),
        needs_reboot: false,
        run: None,
        kernels: Vec::new(),
        error: serde_json::to_value(&problem).ok(),
    }
}

/// Carries a plan out, and notes what came of it.
fn carry_out(
    session: &mut Session,
    machine: &dyn Machine,
    plan: &Plan,
    applied: &mut FlowApplied,
    exit: &mut Exit,
) {
    match execute(session, machine, plan) {
        Ok(report) => {
            applied.run = Some(report.run);
            applied.message = session.named(&report.message);
            applied.kernels.clone_from(&report.kernels);
            let good = report.state == RunState::Done && report.is_complete();
            applied.result = if good { Outcome::Changed } else { Outcome::Failed };
            if !good {
                let cancelled = session.watch.cancel.is_cancelled();
                worse(exit, if cancelled { Exit::Cancelled } else { Exit::Failed });
            }
        }
        Err(problem) => {
            worse(exit, problem.exit);
            let failed = not_done(session, &plan.flow, &problem);
            (applied.result, applied.message, applied.error) = (failed.result, failed.message, failed.error);
        }
    }
}

fn execute(session: &mut Session, machine: &dyn Machine, plan: &Plan) -> Result<RunReport, Problem> {
    let mut inputs = Inputs::default();
    if plan.steps.iter().any(|s| matches!(s, Step::EnrollKey(_))) {
        inputs.mok_password = Some(confirm::mok_password(&session.voice, session.json())?);
    }
    let cancel = session.watch.cancel.clone();
    if session.json() {
        // One document in the end, and nothing before it.
        session.watch.set(standing(plan, machine));
        let report = machine.execute(plan, &inputs, &cancel, &mut |_: Event| {});
        session.watch.set(Standing::Idle);
        return report;
    }
    let standing = standing(plan, machine);
    let run = showing(&session.voice, &session.watch, session.screen.verbose, standing, |sink| {
        machine.execute(plan, &inputs, &cancel, sink)
    })?;
    Ok(run.value)
}

fn standing(plan: &Plan, machine: &dyn Machine) -> Standing {
    Standing::Running {
        run: None,
        done: 0,
        steps: plan.steps.len(),
        title: String::new(),
        undo: false,
        elsewhere: machine.runs_elsewhere(),
    }
}

/// The result as people read it.
fn told(session: &Session, applied: &Applied) -> String {
    let look = session.look();
    let mut text = String::new();
    for flow in &applied.flows {
        let (mark, word) = match flow.result {
            Outcome::Ok => (Mark::Good, "ok"),
            Outcome::Changed if applied.check => (Mark::Warning, "would change"),
            Outcome::Changed => (Mark::Good, "changed"),
            Outcome::Failed => (Mark::Bad, "failed"),
            Outcome::Skipped => (Mark::Neutral, "not begun"),
        };
        let run = flow.run.map_or_else(String::new, |run| format!(" (run {run})"));
        text.push_str(&look.item(0, mark, &format!("{}: {word}{run}. {}", flow.flow, flow.message)));
        if !flow.kernels.is_empty() {
            text.push_str(&work::kernel_table(look, &flow.kernels));
        }
    }
    if applied.flows.is_empty() {
        text.push_str("This profile is for no flow: there is nothing to do.\n");
    }
    if applied.needs_reboot {
        text.push_str(&look.item(0, Mark::Warning, "Reboot for all of it to take effect."));
    }
    text
}
