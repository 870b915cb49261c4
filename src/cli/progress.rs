// SPDX-License-Identifier: GPL-3.0-or-later
//! Shows a run while it goes on: bars on a terminal, plain lines otherwise, JSON lines with `--json`.

use super::errors::Problem;
use super::look::{Look, Mark, seconds};
use super::watch::{Standing, Voice, Watch};
use crate::engine::event::{CheckOutcome, Event, Level, Sink};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often a plain line may say how far a step is.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// A bar is of use only where it does not crowd out the words.
const ROOM_FOR_BAR: usize = 70;

enum Shown {
    Bars(MultiProgress),
    Plain,
    Json,
}

struct Step {
    title: String,
    began: Instant,
    said: Instant,
    bar: Option<ProgressBar>,
    /// Findings shown.
    findings: usize,
    /// Whether another step went on at the same time, so that its lines need its number.
    beside: bool,
}

/// How many findings of one step are shown; the log has all of them.
const FINDINGS: usize = 8;

/// The [`Sink`] of the command line.
pub(crate) struct Progress {
    shown: Shown,
    voice: Voice,
    watch: Watch,
    verbose: u8,
    steps: BTreeMap<usize, Step>,
    total: usize,
    began: Instant,
    /// Why steps failed, as it was shown.
    reasons: Vec<String>,
}

/// Standard error for progress and problems; bars when it is a terminal.
pub(crate) fn voice(json: bool, look: Look, bars: bool) -> Voice {
    let bars = (bars && !json && std::io::stderr().is_terminal())
        .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)));
    Voice {
        look,
        json,
        bars,
        #[cfg(test)]
        heard: None,
    }
}

impl Progress {
    /// Progress of one plan or run.
    pub(crate) fn new(voice: &Voice, watch: &Watch, verbose: u8) -> Self {
        let shown = match (&voice.bars, voice.json) {
            (_, true) => Shown::Json,
            (Some(bars), false) => Shown::Bars(bars.clone()),
            (None, false) => Shown::Plain,
        };
        Self {
            shown,
            voice: voice.clone(),
            watch: watch.clone(),
            verbose,
            steps: BTreeMap::new(),
            total: 0,
            began: Instant::now(),
            reasons: Vec::new(),
        }
    }

    /// Takes the bars away.
    pub(crate) fn end(&mut self) {
        for step in self.steps.values() {
            if let Some(bar) = &step.bar {
                bar.finish_and_clear();
            }
        }
        self.steps.clear();
    }

    fn number(&self, step: usize) -> String {
        let width = self.total.to_string().len();
        if self.total == 0 { String::new() } else { format!("[{:>width$}/{}] ", step + 1, self.total) }
    }

    fn began_step(&mut self, step: usize, title: &str) {
        let number = self.number(step);
        let bar = if let Shown::Bars(bars) = &self.shown {
            let bar = ProgressBar::hidden();
            bar.set_style(style_without_total());
            bar.set_prefix(number);
            bar.set_message(super::look::clean(title));
            let bar = bars.add(bar);
            bar.enable_steady_tick(Duration::from_millis(120));
            Some(bar)
        } else {
            self.voice.say(&self.voice.look.wrap(title, &number, &" ".repeat(number.len())));
            None
        };
        let now = Instant::now();
        let beside = !self.steps.is_empty();
        for other in self.steps.values_mut() {
            other.beside = true;
        }
        let known = Step { title: title.to_owned(), began: now, said: now, bar, findings: 0, beside };
        self.steps.insert(step, known);
    }

    fn ended_step(&mut self, step: usize, mark: Mark, note: &str) {
        let number = self.number(step);
        let look = self.voice.look;
        let Some(known) = self.steps.remove(&step) else {
            self.voice.say(&look.item(0, mark, &format!("{number}{note}")));
            return;
        };
        let hidden = known.findings.saturating_sub(FINDINGS);
        if hidden > 0 && self.verbose == 0 {
            let more = format!("{} more in the log", super::look::count(hidden, "finding", "findings"));
            self.voice.say(&look.item(2, Mark::Neutral, &more));
        }
        let took = known.began.elapsed();
        let time =
            if took >= Duration::from_millis(100) { format!(" ({})", seconds(took)) } else { String::new() };
        if let Some(bar) = known.bar {
            bar.finish_and_clear();
            if let Shown::Bars(bars) = &self.shown {
                bars.remove(&bar);
            }
            let note = if note.is_empty() { String::new() } else { format!(": {note}") };
            self.voice.say(&look.item(0, mark, &format!("{number}{}{note}{time}", known.title)));
        } else {
            let note = if note.is_empty() { "done" } else { note };
            let pad = if known.beside { number.clone() } else { " ".repeat(number.len()) };
            self.voice.say(&look.wrap(
                &format!("{note}{time}"),
                &format!("{pad}{} ", look.mark(mark)),
                &" ".repeat(number.len() + 2),
            ));
        }
    }

    fn progressed(&mut self, step: usize, done: u64, total: u64, unit: &str) {
        let number = self.number(step);
        let width = self.voice.look.width;
        let Some(known) = self.steps.get_mut(&step) else { return };
        if let Some(bar) = &known.bar {
            if total > 0 && bar.length() != Some(total) {
                bar.set_style(style_with_total(width, unit));
                bar.set_length(total);
            }
            bar.set_position(done);
            if total == 0 {
                bar.set_message(format!("{} ({done} {unit})", super::look::clean(&known.title)));
            }
        } else if known.said.elapsed() >= PLAIN_EVERY {
            known.said = Instant::now();
            let of = if total > 0 { format!("{done} of {total} {unit}") } else { format!("{done} {unit}") };
            self.voice.say(&format!("{number}{of}\n"));
        }
    }

    fn show(&mut self, event: &Event) {
        let look = self.voice.look;
        match event {
            Event::Started { steps, .. } => self.total = *steps,
            Event::Step { step, title } => self.began_step(*step, title),
            Event::Progress { step, done, total, unit } => self.progressed(*step, *done, *total, unit),
            Event::Log { line, .. } => {
                if self.verbose > 0 {
                    self.voice.say(&format!("{}\n", look.dim(&super::look::clean(line))));
                }
            }
            Event::Diagnostic { step, level, file, line, message } => {
                let shown = self.steps.get_mut(step).map_or(1, |s| {
                    s.findings += 1;
                    s.findings
                });
                if shown > FINDINGS && self.verbose == 0 {
                    return;
                }
                let place = match (file, line) {
                    (Some(file), Some(line)) => format!("{file}:{line}: "),
                    (Some(file), None) => format!("{file}: "),
                    _ => String::new(),
                };
                let mark = match level {
                    Level::Note => Mark::Neutral,
                    Level::Warning => Mark::Warning,
                    Level::Error => Mark::Bad,
                };
                let beside = self.steps.get(step).is_some_and(|s| s.beside);
                let number = if beside { self.number(*step) } else { String::new() };
                self.voice.say(&look.item(2, mark, &format!("{number}{place}{message}")));
            }
            Event::StepDone { step, unchanged } => {
                let note = if *unchanged { "already as it should be" } else { "" };
                self.ended_step(*step, if *unchanged { Mark::Neutral } else { Mark::Good }, note);
            }
            Event::StepFailed { step, reason } => {
                self.reasons.push(reason.clone());
                self.ended_step(*step, Mark::Bad, reason);
            }
            Event::Checked { check } => {
                let (mark, reason) = outcome(&check.outcome);
                let reason = reason.map(|r| format!(": {r}")).unwrap_or_default();
                // A step's own good checks are part of its "done"; those of the whole run are its proof.
                let of_step = !self.steps.is_empty();
                let expected = matches!(mark, Mark::Good | Mark::Neutral);
                if !(of_step && expected) || self.verbose > 0 {
                    let indent = if of_step { 2 } else { 0 };
                    self.voice.say(&look.item(indent, mark, &format!("{}{reason}", check.what)));
                }
            }
            // Told in the table at the end.
            Event::Kernel { .. } => {}
            Event::Finished { .. } => self.end(),
        }
    }
}

/// The mark of a check and its reason.
pub(crate) fn outcome(outcome: &CheckOutcome) -> (Mark, Option<&str>) {
    match outcome {
        CheckOutcome::Good => (Mark::Good, None),
        CheckOutcome::Bad { reason } => (Mark::Bad, Some(reason)),
        CheckOutcome::CouldNotLook { reason } => (Mark::Unknown, Some(reason)),
        CheckOutcome::NotApplicable { reason } => (Mark::Neutral, Some(reason)),
    }
}

fn style_without_total() -> ProgressStyle {
    style("{spinner} {prefix}{wide_msg} {elapsed}")
}

fn style_with_total(width: usize, unit: &str) -> ProgressStyle {
    let unit: String = unit.chars().filter(|c| c.is_alphanumeric() || *c == ' ').collect();
    let bar = if width >= ROOM_FOR_BAR { " {bar:20}" } else { "" };
    let unit = if width >= ROOM_FOR_BAR + 20 { format!(" {unit}") } else { String::new() };
    style(&format!("{{spinner}} {{prefix}}{{wide_msg}}{bar} {{pos}}/{{len}}{unit} {{elapsed}}"))
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━━─")
}

/// While a plan is made there are no steps: one line says that something goes on, and what the plan will
/// say anyway (its warnings) is not said twice.
struct Looking {
    bar: Option<ProgressBar>,
    verbose: u8,
    voice: Voice,
}

impl Looking {
    fn new(voice: &Voice, verbose: u8, elsewhere: bool) -> Self {
        // The helper may ask for a password first, and nothing must be drawn over that question.
        if elsewhere && voice.bars.is_some() {
            voice.say(&format!("{}\n", voice.look.dim("Looking at the machine")));
        }
        let bar = voice.bars.as_ref().filter(|_| !elsewhere).map(|bars| {
            let bar = ProgressBar::hidden();
            bar.set_style(style_without_total());
            bar.set_message("Looking at the machine");
            let bar = bars.add(bar);
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { bar, verbose, voice: voice.clone() }
    }
}

impl Sink for Looking {
    fn event(&mut self, event: Event) {
        match (&self.bar, event) {
            (Some(bar), Event::Progress { done, total, unit, .. }) if total > 0 => {
                bar.set_message(format!("Looking at the machine ({done}/{total} {unit})"));
            }
            (_, Event::Log { line, .. }) if self.verbose > 0 && !self.voice.json => {
                self.voice.say(&format!("{}\n", self.voice.look.dim(&super::look::clean(&line))));
            }
            _ => {}
        }
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        if let (Some(bar), Some(bars)) = (&self.bar, &self.voice.bars) {
            bar.finish_and_clear();
            bars.remove(bar);
        }
    }
}

/// Runs `work`, which makes a plan, and shows that something goes on.
pub(crate) fn looking<T>(
    voice: &Voice,
    watch: &Watch,
    verbose: u8,
    elsewhere: bool,
    work: impl FnOnce(&mut dyn Sink) -> Result<T, Problem>,
) -> Result<T, Problem> {
    let mut sink = Looking::new(voice, verbose, elsewhere);
    watch.set(Standing::Planning { elsewhere });
    let result = work(&mut sink);
    drop(sink);
    watch.set(Standing::Idle);
    if watch.cancel.is_cancelled() { Err(Problem::cancelled()) } else { result }
}

impl Sink for Progress {
    fn event(&mut self, event: Event) {
        self.watch.update(|standing| follow(standing, &event));
        if matches!(self.shown, Shown::Json) {
            // Standard output may be gone; the run goes on all the same.
            if let Ok(mut line) = serde_json::to_vec(&event) {
                line.push(b'\n');
                let mut out = std::io::stdout().lock();
                let _ = out.write_all(&line).and_then(|()| out.flush());
            }
            return;
        }
        self.show(&event);
    }
}

/// Keeps what an interruption would be told.
fn follow(standing: &mut Standing, event: &Event) {
    let Standing::Running { run, done, steps, title, undo, .. } = standing else { return };
    match event {
        Event::Started { run: number, steps: all, undo: back } => {
            (*run, *steps, *undo, *done) = (Some(*number), *all, *back, 0);
        }
        Event::Step { title: of, .. } => of.clone_into(title),
        Event::StepDone { .. } => *done += 1,
        _ => {}
    }
}

/// What came of work that was shown.
pub(crate) struct Ended<T> {
    /// Its result.
    pub(crate) value: T,
    /// How long it took.
    pub(crate) took: Duration,
    /// Why steps failed, where that was shown.
    pub(crate) reasons: Vec<String>,
}

/// Runs `work` with a progress display of its own and takes that away afterwards.
pub(crate) fn showing<T>(
    voice: &Voice,
    watch: &Watch,
    verbose: u8,
    standing: Standing,
    work: impl FnOnce(&mut Progress) -> Result<T, Problem>,
) -> Result<Ended<T>, Problem> {
    let mut progress = Progress::new(voice, watch, verbose);
    watch.set(standing);
    let result = work(&mut progress);
    progress.end();
    watch.set(Standing::Idle);
    result.map(|value| Ended { value, took: progress.began.elapsed(), reasons: progress.reasons })
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
