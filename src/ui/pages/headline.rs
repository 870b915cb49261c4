// SPDX-License-Identifier: GPL-3.0-or-later
//! The state of a machine in a few plain sentences with one thing to do each. Pure: what was seen → sentences.

use crate::detect::signing::KeyOwner;
use crate::detect::{Facts, Finding};
use crate::engine::{RunState, RunSummary};
use crate::flows::vmware::updates::Outcome;
use crate::tell::{self, KernelStatus, Mark};
use crate::ui::flows::vmware::Request;
use crate::ui::i18n::{gettext, gettext_f, told};

/// What can be done about a sentence.
#[derive(Debug, Clone)]
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
    /// Take a run back, and then begin it anew with the same choices.
    Finish {
        /// Its number.
        run: u32,
        /// Its choices, to be planned again.
        request: Box<Request>,
    },
    /// Look at a run that goes on.
    Watch {
        /// Its number.
        run: u32,
    },
    /// Restart the machine.
    Restart,
    /// Have the key trusted.
    Enroll,
    /// Look at the runs.
    History,
}

/// One sentence.
#[derive(Debug, Clone)]
pub(super) struct Headline {
    pub(super) mark: Mark,
    pub(super) title: String,
    pub(super) text: String,
    pub(super) deed: Deed,
    /// Another thing that can be done about it.
    pub(super) other: Deed,
}

fn line(mark: Mark, title: String, text: impl Into<String>, deed: Deed) -> Headline {
    Headline { mark, title, text: told(&text.into()), deed, other: Deed::None }
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
            RunState::Interrupted => lines.push(interrupted(run)),
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
    lines.extend(assessment.notes.iter().filter(|n| n.label == "Kernel parameters").map(arrived));
    if lines.iter().all(|l| matches!(l.deed, Deed::Watch { .. }) || l.mark == Mark::Good) {
        // What is in order comes before what was confirmed.
        let at = lines.iter().filter(|l| matches!(l.deed, Deed::Watch { .. })).count();
        lines.insert(at, overall(facts, &assessment));
    }
    lines.extend(secure_boot(facts));
    lines.extend(last_run(runs));
    lines
}

/// A run that was left in the middle, by a crash or a power cut.
fn interrupted(run: &RunSummary) -> Headline {
    let mut told = line(
        Mark::Bad,
        gettext("A change was interrupted"),
        gettext_f(
            "{title} was left in the middle. Taking it back is safe; finishing takes it back, and then shows the \
             plan of the same choices anew.",
            &[("title", &told(&run.title))],
        ),
        Deed::Undo { run: run.run },
    );
    if run.flow.is_empty() || run.choices.is_null() {
        return told;
    }
    told.other = Deed::Finish {
        run: run.run,
        request: Box::new(Request {
            flow: run.flow.clone(),
            title: run.title.clone(),
            choices: run.choices.clone(),
            command: format!("hostwright {} apply", run.flow),
        }),
    };
    told
}

/// Whether the words of a run are on the running kernel's command line.
fn arrived(note: &tell::Row) -> Headline {
    let title = match note.mark {
        Mark::Bad => gettext("A change did not arrive"),
        Mark::Good => gettext("A change is confirmed"),
        _ => gettext("A change waits to be confirmed"),
    };
    let text = match &note.remedy {
        Some(remedy) => format!("{}\n{remedy}", tell::sentence(&note.text)),
        None => tell::sentence(&note.text),
    };
    line(note.mark, title, text, if note.mark == Mark::Bad { Deed::History } else { Deed::None })
}

/// Secure Boot and the key that modules are signed with, where they matter.
fn secure_boot(facts: &Facts) -> Option<Headline> {
    let boot = facts.secure_boot.seen()?;
    let title = gettext("Secure Boot");
    match boot.is_effective() {
        Finding::CouldNotLook { why } => Some(line(Mark::Unknown, title, why, Deed::None)),
        Finding::Seen(false) => {
            Some(line(Mark::Neutral, title, gettext("Off: modules need no signature."), Deed::None))
        }
        Finding::Seen(true) => {
            let ours = facts.signing.seen().and_then(|s| s.key(KeyOwner::Hostwright));
            let trusted = ours.map(|k| (&k.trust.enrolled, &k.trust.in_kernel));
            let (mark, text) = match trusted {
                None => (
                    Mark::Neutral,
                    gettext(
                        "On: modules must be signed. A key is made when it is needed, and asks to be trusted.",
                    ),
                ),
                Some((enrolled, in_kernel)) if enrolled.is_true() || in_kernel.is_true() => {
                    (Mark::Good, gettext("On, and the key that modules are signed with is trusted."))
                }
                Some(_) if ours.is_some_and(|k| k.trust.pending.is_true()) => {
                    (Mark::Warning, gettext("On, and the key waits to be enrolled at the next start."))
                }
                Some((Finding::CouldNotLook { why }, _)) => (Mark::Unknown, tell::sentence(why)),
                Some(_) => (
                    Mark::Warning,
                    gettext(
                        "On, and the key that modules are signed with is not trusted: the kernel refuses them.",
                    ),
                ),
            };
            let deed = if mark == Mark::Warning { Deed::Enroll } else { Deed::None };
            Some(line(mark, title, text, deed))
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Owner;
    use crate::host::Host;
    use jiff::Timestamp;

    fn run(state: RunState) -> RunSummary {
        RunSummary {
            run: 7,
            flow: "vmware".into(),
            title: "vmware: 6.1.0".into(),
            state,
            owner: Owner { uid: 0, name: "root".into() },
            started: Timestamp::UNIX_EPOCH,
            ended: None,
            digest: String::new(),
            choices: serde_json::json!({ "boot": true }),
            steps: Vec::new(),
            message: None,
            log: None,
            can_undo: true,
            awaits: Vec::new(),
            problem: None,
        }
    }

    fn facts_of_nothing() -> Facts {
        let dir = tempfile::tempdir().unwrap();
        crate::detect::gather(&Host::scratch(dir.path()).unwrap(), None)
    }

    #[test]
    fn an_interrupted_run_can_be_taken_back_or_finished_with_its_own_choices() {
        let runs = [run(RunState::Interrupted)];
        let lines = headlines(&facts_of_nothing(), Ok(&runs), &[]);
        let first = &lines[0];
        assert_eq!(first.mark, Mark::Bad);
        assert!(matches!(first.deed, Deed::Undo { run: 7 }));
        let Deed::Finish { run: 7, request } = &first.other else { panic!("{first:?}") };
        assert_eq!((request.flow.as_str(), &request.choices), ("vmware", &runs[0].choices));
    }

    #[test]
    fn runs_that_could_not_be_looked_at_are_said_so_and_nothing_is_called_in_order() {
        let lines = headlines(&facts_of_nothing(), Err("no bus"), &[]);
        assert!(lines.iter().any(|l| l.mark == Mark::Unknown && l.text.contains("no bus")), "{lines:?}");
        assert!(lines.iter().all(|l| l.title != "Everything is in order"), "{lines:?}");
    }

    #[test]
    fn a_run_that_goes_on_comes_first_and_can_be_watched() {
        let lines = headlines(&facts_of_nothing(), Ok(&[run(RunState::Running)]), &[]);
        assert!(matches!(lines[0].deed, Deed::Watch { run: 7 }), "{lines:?}");
    }
}
