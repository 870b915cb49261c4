// SPDX-License-Identifier: GPL-3.0-or-later
//! What `plan`, `apply` and everything that ends in a run have in common: make the plan, show it, ask,
//! carry it out, say how it ended.

use super::confirm;
use super::errors::{Exit, Problem};
use super::look::{Look, Mark, clean, seconds, table};
use super::machine::Machine;
use super::preview;
use super::progress::{Ended, looking, showing};
use super::session::Session;
use super::watch::Standing;
use crate::engine::{Inputs, KernelResult, Plan, Reversal, RunReport, RunState, Step, StepPreview};
use clap::Args;
use serde_json::{Value, json};

/// Options of what shows a plan.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "How to go about it")]
pub(crate) struct ShowOptions {
    /// Show every difference of source texts and files in full
    #[arg(long)]
    pub(crate) diff: bool,
}

/// Options of what carries out a plan.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "How to go about it")]
pub(crate) struct ApplyOptions {
    /// Do not ask; carry out the plan as it is
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Only look: exit status 0 when there is nothing to do, 10 when something would change
    #[arg(long, conflicts_with = "yes")]
    pub(crate) check: bool,
    /// What is shown.
    #[command(flatten)]
    pub(crate) show: ShowOptions,
}

/// What a plan is wanted for.
pub(crate) struct Request {
    /// The flow.
    pub(crate) flow: String,
    /// Its choices.
    pub(crate) choices: Value,
    /// What comes with it.
    pub(crate) inputs: Inputs,
}

/// Makes the plan and shows it.
pub(crate) fn plan(session: &mut Session, request: &Request, show: &ShowOptions) -> Result<Exit, Problem> {
    let machine = session.machine()?;
    let (plan, steps) = make(session, machine.as_ref(), request)?;
    if session.json() {
        session.screen.document(&document(&plan, &steps))?;
    } else {
        let text = preview::plan(session.look(), &plan, &steps, show.diff);
        session.screen.print(&text);
    }
    Ok(Exit::Done)
}

/// Makes the plan, shows it, asks, carries it out.
pub(crate) fn apply(
    session: &mut Session,
    request: Request,
    options: &ApplyOptions,
) -> Result<Exit, Problem> {
    apply_asking(session, request, options, &|session| confirm::ask(&session.voice, "Do this now?"))
}

/// The same with a question of the caller's own.
pub(crate) fn apply_asking(
    session: &mut Session,
    mut request: Request,
    options: &ApplyOptions,
    ask: &dyn Fn(&Session) -> Result<bool, Problem>,
) -> Result<Exit, Problem> {
    if !options.check {
        confirm::need_consent(options.yes, session.json(), "changed")?;
    }
    let machine = session.machine()?;
    let (plan, steps) = make(session, machine.as_ref(), &request)?;
    if session.json() {
        session.screen.document(&json!({ "plan": document(&plan, &steps) }))?;
    } else {
        let text = preview::plan(session.look(), &plan, &steps, options.show.diff);
        session.screen.print(&text);
    }
    if plan.is_empty() {
        // What is left out is told as a warning of the plan.
        return Ok(if plan.not_done().is_empty() { Exit::Done } else { Exit::Failed });
    }
    if options.check {
        return Ok(Exit::WouldChange);
    }
    if !options.yes {
        session.screen.print("\n");
        if !ask(session)? {
            return Err(Problem::cancelled());
        }
    }
    if request.inputs.mok_password.is_none() && plan.steps.iter().any(|s| matches!(s, Step::EnrollKey(_))) {
        request.inputs.mok_password = Some(confirm::mok_password(&session.voice, session.json())?);
    }
    if !session.json() {
        session.voice.say("\n");
    }
    let standing = Standing::Running {
        run: None,
        done: 0,
        steps: plan.steps.len(),
        title: String::new(),
        undo: false,
        elsewhere: machine.runs_elsewhere(),
    };
    let cancel = session.watch.cancel.clone();
    let run = showing(&session.voice, &session.watch, session.screen.verbose, standing, |sink| {
        machine.execute(&plan, &request.inputs, &cancel, sink)
    })?;
    ended(session, &run, Some(&plan))
}

/// Takes runs back, one after the other; stops at the first that cannot be taken back to its end.
pub(crate) fn undo(session: &mut Session, machine: &dyn Machine, runs: &[u32]) -> Result<Exit, Problem> {
    for run in runs {
        let cancel = session.watch.cancel.clone();
        let standing = Standing::Running {
            run: Some(*run),
            done: 0,
            steps: 0,
            title: String::new(),
            undo: true,
            elsewhere: machine.runs_elsewhere(),
        };
        let undone = showing(&session.voice, &session.watch, session.screen.verbose, standing, |sink| {
            machine.undo(*run, &cancel, sink)
        })?;
        let exit = ended(session, &undone, None)?;
        if exit != Exit::Done {
            return Ok(exit);
        }
    }
    Ok(Exit::Done)
}

pub(crate) fn make(
    session: &Session,
    machine: &dyn Machine,
    request: &Request,
) -> Result<(Plan, Vec<StepPreview>), Problem> {
    let cancel = session.watch.cancel.clone();
    let elsewhere = machine.runs_elsewhere();
    let plan = looking(&session.voice, &session.watch, session.screen.verbose, elsewhere, |sink| {
        machine.plan(&request.flow, &request.choices, &request.inputs, &cancel, sink)
    })?;
    let steps = machine.preview(&plan)?;
    Ok((plan, steps))
}

/// A plan with its preview, as a document.
fn document(plan: &Plan, steps: &[StepPreview]) -> Value {
    json!({ "digest": plan.digest(), "plan": plan, "preview": steps })
}

/// What a person has to do at the next boot.
pub(crate) fn next_boot(look: Look, plan: &Plan) -> String {
    let mut text = String::new();
    if plan.steps.iter().any(|s| matches!(s, Step::EnrollKey(_))) {
        text.push_str(&look.item(
            2,
            Mark::Warning,
            "Reboot now. A blue screen (MOK Manager) appears once: choose Enroll MOK, Continue, Yes, type the \
             one-time password, and reboot. If it is missed, nothing breaks: the modules are not loaded, and the \
             same command asks again.",
        ));
    } else if plan.needs_reboot {
        text.push_str(&look.item(2, Mark::Warning, "Reboot for it to take effect."));
    }
    text
}

/// What came of each kernel of a run for several.
pub(crate) fn kernel_table(look: Look, kernels: &[KernelResult]) -> String {
    let row = |k: &KernelResult| {
        let mark = look.mark(if k.good { Mark::Good } else { Mark::Bad });
        // The first line says what; the log has the rest.
        let text = k.text.lines().next().unwrap_or_default();
        vec![format!("{mark} {}", clean(&k.kernel)), clean(text)]
    };
    let rows: Vec<Vec<String>> = kernels.iter().map(row).collect();
    table(look, 2, &["  Kernel", "Result"], &rows)
}

/// Says how a run (or its undo) ended.
fn ended(session: &mut Session, run: &Ended<RunReport>, plan: Option<&Plan>) -> Result<Exit, Problem> {
    let report = &run.value;
    let cancelled = session.watch.cancel.is_cancelled();
    let exit = match report.state {
        RunState::Done if !report.is_complete() => Exit::Failed,
        RunState::Done | RunState::Undone => Exit::Done,
        _ if cancelled => Exit::Cancelled,
        _ => Exit::Failed,
    };
    if session.json() {
        session.screen.document(&json!({ "report": report }))?;
        return Ok(exit);
    }
    let look = session.look();
    let mark = match report.state {
        RunState::Done if !report.is_complete() => Mark::Warning,
        RunState::Done | RunState::Undone => Mark::Good,
        RunState::RolledBack => Mark::Warning,
        _ => Mark::Bad,
    };
    // Nothing comes back of a step that cannot be undone.
    let lasting = plan.is_some_and(|p| p.steps.iter().any(|s| matches!(s.reversal(), Reversal::None { .. })));
    let word = match report.state {
        RunState::Done if !report.is_complete() => "Done in part",
        RunState::Done => "Done",
        RunState::Undone => "Taken back",
        RunState::RolledBack if lasting && cancelled => "Cancelled",
        RunState::RolledBack if lasting => "Failed",
        RunState::RolledBack if cancelled => "Cancelled, and taken back",
        RunState::RolledBack => "Failed, and taken back",
        RunState::UndoStopped => "Undo stopped",
        _ if cancelled => "Cancelled, and something remains",
        _ => "Failed, and something remains",
    };
    let heading = look.bold(word);
    let mut text = format!(
        "\n{} {heading} {}\n",
        look.mark(mark),
        look.dim(&format!("(run {}, {})", report.run, seconds(run.took)))
    );
    // What a step said at its end stands above already.
    let message = run.reasons.iter().fold(report.message.clone(), |m, r| m.replace(&format!(": {r}."), "."));
    text.push_str(&look.wrap(&session.named(&message), "  ", "  "));
    if !report.kernels.is_empty() {
        text.push_str(&kernel_table(look, &report.kernels));
    }
    if let Some(plan) = plan.filter(|_| report.state == RunState::Done) {
        text.push_str(&next_boot(look, plan));
    }
    let undo = session.command(&format!("undo {}", report.run));
    let mut rows: Vec<(&str, String)> = Vec::new();
    if let Some(log) = report.log.as_ref().filter(|_| report.state != RunState::Undone) {
        rows.push(("Log", session.outside(log)));
    }
    match report.state {
        RunState::Done if !lasting => rows.push(("Take it back", undo)),
        RunState::Failed | RunState::UndoStopped => rows.push(("Try to take it back again", undo)),
        _ => {}
    }
    for (key, value) in rows {
        text.push_str(&look.wrap(&value, &format!("  {} ", look.dim(&format!("{key}:"))), "    "));
    }
    session.screen.print(&text);
    Ok(exit)
}
