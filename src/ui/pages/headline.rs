// SPDX-License-Identifier: GPL-3.0-or-later
//! The state of a machine in a few plain sentences with one thing to do each. Pure: what was seen → sentences.

use crate::detect::Facts;
use crate::engine::{RunState, RunSummary};
use crate::flows::vmware::updates::Outcome;
use crate::tell::{self, KernelStatus, Mark};
use crate::ui::i18n::{gettext, gettext_f, told};

/// What can be done about a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deed {
    /// Nothing.
    None,
    /// Make modules for this kernel.
    Build {
        /// Its release.
        kernel: String,
    },
    /// Paste this somewhere.
    Copy {
        /// A command.
        command: String,
    },
    /// Take a run back.
    Undo {
        /// Its number.
        run: u32,
    },
    /// Look at a run that goes on.
    Watch {
        /// Its number.
        run: u32,
    },
    /// Restart the machine.
    Restart,
    /// Look at the runs.
    History,
}

/// One sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Headline {
    pub(super) mark: Mark,
    pub(super) title: String,
    pub(super) text: String,
    pub(super) deed: Deed,
}

fn line(mark: Mark, title: String, text: impl Into<String>, deed: Deed) -> Headline {
    Headline { mark, title, text: told(&text.into()), deed }
}

/// What to say, the most urgent first; never nothing.
pub(super) fn headlines(
    facts: &Facts,
    runs: Result<&[RunSummary], &str>,
    updates: &[Outcome],
) -> Vec<Headline> {
    let assessment = tell::assess(facts, runs, updates, &|words| format!("hostwright {words}"));
    let mut lines = Vec::new();
    for run in runs.unwrap_or_default() {
        match run.state {
            RunState::Running | RunState::Undoing => lines.push(line(
                Mark::Neutral,
                gettext("A change is under way"),
                &run.title,
                Deed::Watch { run: run.run },
            )),
            RunState::Interrupted => lines.push(line(
                Mark::Bad,
                gettext("A change was interrupted"),
                gettext_f(
                    "{title} was left in the middle. Taking it back is safe.",
                    &[("title", &told(&run.title))],
                ),
                Deed::Undo { run: run.run },
            )),
            _ => {}
        }
    }
    lines.extend(assessment.kernels.iter().filter_map(kernel));
    for note in assessment.notes.iter().filter(|n| n.label == "Reboot pending") {
        lines.push(line(
            Mark::Warning,
            gettext("A restart is pending"),
            format!("{}\n{}", tell::sentence(&note.text), note.remedy.as_deref().unwrap_or_default()),
            Deed::Restart,
        ));
    }
    for note in assessment.notes.iter().filter(|n| n.label == "Kernel update" && n.mark == Mark::Warning) {
        let deed = note.remedy.clone().map_or(Deed::None, |command| Deed::Copy { command });
        lines.push(line(note.mark, gettext("The build for a new kernel failed"), &note.text, deed));
    }
    if lines.iter().all(|l| matches!(l.deed, Deed::Watch { .. })) {
        lines.push(overall(facts, &assessment));
    }
    lines.extend(last_run(runs));
    lines
}

/// A kernel whose modules need something done.
fn kernel(kernel: &KernelStatus) -> Option<Headline> {
    let needing = |m: &&tell::ModuleStatus| matches!(m.mark, Mark::Bad | Mark::Warning);
    let worst = kernel.modules.iter().filter(needing).max_by_key(|m| m.mark == Mark::Bad)?;
    let release = [("release", kernel.release.as_str())];
    let missing = kernel.modules.iter().all(|m| m.path.is_none());
    let title = if missing {
        gettext_f("Modules for {release} are missing", &release)
    } else {
        gettext_f("Modules for {release} need a look", &release)
    };
    let what = match (worst.mark, kernel.runs) {
        (Mark::Bad, true) => gettext("VMware cannot start virtual machines now."),
        (Mark::Bad, false) if kernel.starts_next => gettext("VMware will not start after the next restart."),
        (Mark::Bad, false) => gettext("VMware will not start on this kernel."),
        _ => tell::sentence(&format!("{}: {}", worst.name, worst.text)),
    };
    let deed = match &worst.remedy {
        Some(command) if command.starts_with("hostwright ") => Deed::Build { kernel: kernel.release.clone() },
        Some(command) => Deed::Copy { command: command.clone() },
        None => Deed::None,
    };
    let text = match &deed {
        Deed::Copy { command } => format!("{what}\n{command}"),
        _ => what,
    };
    Some(line(worst.mark, title, text, deed))
}

/// The one sentence when nothing needs to be done.
fn overall(facts: &Facts, assessment: &tell::Assessment) -> Headline {
    if let Err(why) = facts.kernels.as_result() {
        return line(Mark::Unknown, gettext("The kernels could not be looked at"), why, Deed::None);
    }
    if assessment.kernels.is_empty() {
        return line(
            Mark::Neutral,
            gettext("VMware is not installed here"),
            gettext("Install VMware Workstation or Player first, then come back."),
            Deed::None,
        );
    }
    if assessment.kernels.iter().any(|k| k.modules.iter().any(|m| m.mark == Mark::Unknown)) {
        return line(
            Mark::Unknown,
            gettext("Not everything could be looked at"),
            gettext("What could be looked at is in order. The assistant shows the rest under Checks."),
            Deed::None,
        );
    }
    if assessment.kernels.iter().all(|k| k.modules.iter().all(|m| m.path.is_none())) {
        let release = &assessment.kernels[0].release;
        return line(
            Mark::Neutral,
            gettext("No modules are installed"),
            gettext("None of the kernels here is the one that runs, or known to start next."),
            Deed::Build { kernel: release.clone() },
        );
    }
    line(
        Mark::Good,
        gettext("Everything is in order"),
        gettext("VMware\u{2019}s modules fit the kernels that need them."),
        Deed::None,
    )
}

/// What the last run did, when that is not told already.
fn last_run(runs: Result<&[RunSummary], &str>) -> Option<Headline> {
    match runs {
        Err(why) => {
            Some(line(Mark::Unknown, gettext("Earlier changes could not be looked at"), why, Deed::None))
        }
        Ok(runs) => {
            let run = runs.first()?;
            let said = matches!(run.state, RunState::Running | RunState::Undoing | RunState::Interrupted);
            let (mark, word) = tell::run_state(run.state);
            (!said).then(|| {
                let text =
                    gettext_f("{title}: {state}", &[("title", &told(&run.title)), ("state", &told(word))]);
                let mark = if mark == Mark::Good { Mark::Neutral } else { mark };
                line(mark, gettext("Last change"), text, Deed::History)
            })
        }
    }
}
