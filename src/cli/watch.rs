// SPDX-License-Identifier: GPL-3.0-or-later
//! Ctrl+C: the first asks the work to stop and take back what it did, the second stops waiting and says
//! what remains.

use super::errors::{Exit, Problem};
use super::look::{Look, count};
use crate::host::Cancel;
use indicatif::{MultiProgress, ProgressDrawTarget};
use nix::sys::termios::{SetArg, Termios, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// What is under way, so that an interruption can be answered rightly.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing that changes a machine.
    #[default]
    Idle,
    /// Looking at the machine; probes may be compiling.
    Planning {
        /// Whether the helper does that: it stops by itself when we are gone.
        elsewhere: bool,
    },
    /// A run.
    Running {
        /// Its number, once known.
        run: Option<u32>,
        /// Steps done.
        done: usize,
        /// Steps in all.
        steps: usize,
        /// Title of the step under way.
        title: String,
        /// Whether it takes back.
        undo: bool,
        /// Whether the run goes on without this process (the helper's).
        elsewhere: bool,
    },
}

/// Standard error, shared between those who write on it while progress bars are drawn.
#[derive(Debug, Clone)]
pub(crate) struct Voice {
    /// How text looks there.
    pub(crate) look: Look,
    /// Whether it writes JSON only.
    pub(crate) json: bool,
    /// The bars, when there are any.
    pub(crate) bars: Option<MultiProgress>,
    /// Where a test keeps what was said instead.
    #[cfg(test)]
    pub(crate) heard: Option<Arc<Mutex<String>>>,
}

impl Voice {
    /// Says a text; errors of standard error are nobody's.
    pub(crate) fn say(&self, text: &str) {
        #[cfg(test)]
        if let Some(heard) = &self.heard {
            heard.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
            return;
        }
        let write = || {
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
        };
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    /// Says a problem: words for people, or one JSON object.
    pub(crate) fn problem(&self, problem: &Problem) {
        if self.json {
            let text = serde_json::to_string(&serde_json::json!({ "error": problem })).unwrap_or_default();
            self.say(&format!("{text}\n"));
        } else {
            self.say(&problem.render(self.look));
        }
    }
}

/// Watches for interruptions from its start to the end of the process.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    /// The wish to stop, for whoever works.
    pub(crate) cancel: Cancel,
    standing: Arc<Mutex<Standing>>,
    voice: Voice,
    machine: Option<String>,
}

impl Watch {
    /// A watch that no signal reaches.
    #[cfg(test)]
    pub(crate) fn deaf(voice: Voice) -> Self {
        Self { cancel: Cancel::new(), standing: Arc::default(), voice, machine: None }
    }

    /// Starts to watch.
    ///
    /// `machine` is the `--root` or `--host` as one could paste it, for the commands that are suggested.
    pub(crate) fn start(voice: Voice, machine: Option<String>) -> Result<Self, Problem> {
        let watch = Self { cancel: Cancel::new(), standing: Arc::default(), voice, machine };
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
            .map_err(|e| Problem::internal("watch for signals", &e))?;
        let of_thread = watch.clone();
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || signals.forever().for_each(|_| of_thread.interrupted()))
            .map_err(|e| Problem::internal("watch for signals", &e))?;
        Ok(watch)
    }

    /// Notes what is under way.
    pub(crate) fn set(&self, standing: Standing) {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = standing;
    }

    /// Changes what is under way.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.standing.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What is under way.
    pub(crate) fn standing(&self) -> Standing {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn interrupted(&self) {
        let standing = self.standing();
        let first = !self.cancel.is_cancelled();
        self.cancel.cancel();
        match first_answer(&standing).filter(|_| first) {
            Some(words) => {
                if !self.voice.json {
                    self.voice.say(&self.voice.look.wrap(words, "", ""));
                }
            }
            None => {
                restore_terminal();
                if !matches!(standing, Standing::Running { .. }) && !self.voice.json {
                    self.voice.say("\n");
                }
                if let Some(bars) = &self.voice.bars {
                    // Nothing may be drawn over the last words.
                    let _ = bars.clear();
                    bars.set_draw_target(ProgressDrawTarget::hidden());
                }
                self.voice.problem(&last_words(&standing, self.machine.as_deref()));
                std::process::exit(Exit::Cancelled.code().into());
            }
        }
    }
}

/// How the terminal was before a password is read, while it is read: an interruption puts it back.
static TERMINAL: Mutex<Option<Termios>> = Mutex::new(None);

/// Remembers how the terminal must be left.
pub(crate) fn restore_terminal_with(before: Termios) {
    *TERMINAL.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
}

/// The terminal is as it was.
pub(crate) fn terminal_restored() {
    *TERMINAL.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

fn restore_terminal() {
    if let Some(before) = TERMINAL.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, &before);
    }
}

/// What is said to the first interruption; `None` when there is nothing to wait for.
fn first_answer(standing: &Standing) -> Option<&'static str> {
    match standing {
        // The helper begins nothing for a caller that is gone.
        Standing::Idle
        | Standing::Planning { elsewhere: true }
        | Standing::Running { run: None, elsewhere: true, .. } => None,
        Standing::Planning { elsewhere: false } => Some("\nStopping."),
        Standing::Running { undo: false, .. } => {
            Some("\nCancelling: what was done so far is taken back. Ctrl+C again stops waiting for that.")
        }
        Standing::Running { undo: true, .. } => {
            Some("\nCancelling after the step that is being taken back. Ctrl+C again stops waiting for that.")
        }
    }
}

/// What remains when nobody waits any longer. Pure.
fn last_words(standing: &Standing, machine: Option<&str>) -> Problem {
    let Standing::Running { run, done, steps, title, undo, elsewhere } = standing else {
        return Problem::cancelled();
    };
    if *elsewhere && run.is_none() {
        return Problem::cancelled();
    }
    let machine = machine.map(|m| format!("{m} ")).unwrap_or_default();
    let name = run.map_or_else(|| "The run".to_owned(), |n| format!("Run {n}"));
    let finished = done >= steps;
    let verb = if *undo { "taken back" } else { "done" };
    let done = format!("{done} of {} {verb}", count(*steps, "step", "steps"));
    let at = if title.is_empty() { String::new() } else { format!(", the last one begun: {title}") };
    let (reason, remedy) = if !*elsewhere && *steps > 0 && *undo && finished {
        (
            format!("{name} was at its end: all of it was taken back; only its last records may be missing."),
            format!("See how it ended: hostwright {machine}runs"),
        )
    } else if *elsewhere {
        (
            format!(
                "{name} goes on without this terminal and takes back what it did. At this moment: {done}{at}."
            ),
            format!("See how it ended: hostwright {machine}runs"),
        )
    } else {
        (
            format!("{name} was left in the middle: {done}{at}. What it did stands in its journal."),
            match run {
                Some(n) => format!("Take it back: hostwright {machine}undo {n}"),
                None => format!("See what it did: hostwright {machine}runs"),
            },
        )
    };
    Problem::new(Exit::Cancelled, "cancelled", "Not waiting any longer", reason).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(elsewhere: bool) -> Standing {
        Standing::Running {
            run: Some(7),
            done: 2,
            steps: 5,
            title: "Write the module index of 6.1".into(),
            undo: false,
            elsewhere,
        }
    }

    #[test]
    fn a_run_left_in_the_middle_is_named_with_the_way_back() {
        let problem = last_words(&running(false), Some("--root /tmp/r"));
        assert!(
            problem.reason.contains("Run 7") && problem.reason.contains("2 of 5 steps done"),
            "{problem:?}"
        );
        assert_eq!(problem.remedy.as_deref(), Some("Take it back: hostwright --root /tmp/r undo 7"));
        assert_eq!(problem.exit.code(), 130);
    }

    #[test]
    fn a_run_of_the_helper_goes_on_without_us() {
        let problem = last_words(&running(true), None);
        assert!(problem.reason.contains("goes on"), "{problem:?}");
        assert_eq!(problem.remedy.as_deref(), Some("See how it ended: hostwright runs"));
    }

    #[test]
    fn with_nothing_under_way_the_first_interruption_ends_at_once() {
        assert_eq!(first_answer(&Standing::Idle), None);
        assert_eq!(last_words(&Standing::Idle, None).reason, "Nothing was changed.");
    }
}
