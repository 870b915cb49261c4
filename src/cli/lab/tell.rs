// SPDX-License-Identifier: GPL-3.0-or-later
//! Tells of a guest while it runs, and how it ended.

use crate::cli::errors::{Exit, Problem, sentence};
use crate::cli::look::{Mark, clean, seconds};
use crate::cli::screen::Screen;
use crate::cli::session::Session;
use crate::cli::watch::Voice;
use crate::guest::{GuestEvent, Outcome, Report};
use crate::tell::lab::words;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// Most lines of the console that are shown when a guest did not end well.
const TAIL: usize = 15;

/// The status of a guest that did not get as far as to have one.
pub(super) const NO_STATUS: u8 = 255;

/// Tells of a guest while it runs.
pub(super) struct Teller {
    voice: Voice,
    json: bool,
    verbose: bool,
    console: bool,
    /// Whether stages are told: nothing else is to be heard of an ISO image or a disk.
    stages: bool,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Teller {
    pub(super) fn new(session: &Session, console: bool, stages: bool) -> Self {
        Self {
            voice: session.voice.clone(),
            json: session.json(),
            verbose: session.screen.verbose > 0,
            console,
            stages,
            stdout: Vec::new(),
            stderr: Vec::new(),
        }
    }

    pub(super) fn event(&mut self, screen: &mut Screen, event: &GuestEvent<'_>) {
        match event {
            GuestEvent::Stdout(bytes) if self.json => self.stdout.extend_from_slice(bytes),
            GuestEvent::Stderr(bytes) if self.json => self.stderr.extend_from_slice(bytes),
            GuestEvent::Stdout(bytes) => screen.write(bytes),
            GuestEvent::Stderr(bytes) => {
                // What cannot be written there is nobody's.
                let mut to = std::io::stderr().lock();
                let _ = to.write_all(bytes).and_then(|()| to.flush());
            }
            GuestEvent::Console(line) if self.console => self.say(&format!("{}\n", clean(line))),
            GuestEvent::Starting { command, accelerator, ssh, vsock } => {
                if self.verbose {
                    self.say(&format!("{}\n", self.voice.look.dim(command)));
                }
                if self.verbose || (self.stages && accelerator.name == "tcg") {
                    self.say(&format!("Run by {}: {}\n", accelerator.name, accelerator.reason));
                }
                if let Some(port) = ssh {
                    self.say(&format!("ssh -p {port} root@127.0.0.1\n"));
                }
                if let Some(cid) = vsock {
                    self.say(&format!("ssh root@vsock/{cid} (where the guest's sshd listens on vsock)\n"));
                }
            }
            GuestEvent::Stage(stage) if (self.stages || self.verbose) && stage.name != "end" => {
                let at = seconds(Duration::from_millis(stage.at_ms));
                let note = stage.note.as_deref().map(|n| format!(": {}", clean(n))).unwrap_or_default();
                self.say(&format!("{at:>8}  {}{note}\n", clean(&stage.name)));
            }
            _ => {}
        }
    }

    fn say(&self, text: &str) {
        if !self.json {
            self.voice.say(text);
        }
    }
}

/// Tells how a guest ended, and with what this process ends.
///
/// `asked`: a command was to be run.
#[allow(clippy::needless_pass_by_value, reason = "it has nothing to tell after this")]
pub(super) fn ended(
    session: &mut Session,
    run: u32,
    folder: &Path,
    report: &Report,
    teller: Teller,
    asked: bool,
) -> Result<Exit, Problem> {
    let exit = exit(report);
    if session.json() {
        session.screen.document(&serde_json::json!({
            "run": run,
            "folder": folder,
            "stdout": String::from_utf8_lossy(&teller.stdout),
            "stderr": String::from_utf8_lossy(&teller.stderr),
            "report": report,
        }))?;
        return Ok(exit);
    }
    let look = session.voice.look;
    if let Outcome::Exited { .. } = report.outcome {
        // The command speaks for itself; what the kernel says beside it would be missed.
        if let Some(trouble) = report.worst() {
            let text = format!("the kernel complained: {}", clean(&trouble.message));
            session.voice.say(&look.item(0, Mark::Warning, &text));
            session.voice.say(&look.remedy(2, &format!("See all of it: hostwright lab report {run}")));
        }
        return Ok(exit);
    }
    if report.success() {
        let took = seconds(Duration::from_millis(report.took_ms));
        session.voice.say(&look.item(0, Mark::Good, &format!("{} ({took})", words(report))));
        return Ok(exit);
    }
    if let Outcome::Cancelled = report.outcome {
        return Err(Problem::new(
            Exit::Cancelled,
            "cancelled",
            "Cancelled",
            "The guest was ended, and nothing of it is left but the run's folder.",
        ));
    }
    let reason = sentence(&words(report));
    let quiet = matches!(report.outcome, Outcome::Signalled { .. } | Outcome::Stopped);
    let lines = telling(report);
    if !quiet && !lines.is_empty() {
        let text: String = lines.iter().map(|l| format!("  {}\n", clean(l))).collect();
        session.voice.say(&look.dim(&text));
    }
    let title = if asked { "The command did not end" } else { "The guest did not end well" };
    let mut remedy = format!("See all of it: hostwright lab report {run}");
    for picture in &report.screenshots {
        remedy.push_str(&format!("\nIts screen: {}", folder.join(picture).display()));
    }
    Err(Problem::new(exit, kind(&report.outcome), title, reason).remedy(remedy))
}

/// The lines that tell most: those of the kernel's complaint, else the end of the console.
fn telling(report: &Report) -> &[String] {
    match report.worst() {
        Some(trouble) => &trouble.lines[..trouble.lines.len().min(TAIL)],
        None => &report.console_tail[report.console_tail.len().saturating_sub(TAIL)..],
    }
}

/// What a process that ran this guest ends with. Pure.
pub(super) fn exit(report: &Report) -> Exit {
    match report.outcome {
        Outcome::Exited { status } => Exit::Guest(u8::try_from(status).unwrap_or(NO_STATUS)),
        Outcome::Signalled { signal } => Exit::Guest(u8::try_from(128 + signal).unwrap_or(NO_STATUS)),
        Outcome::Cancelled => Exit::Cancelled,
        _ if report.success() => Exit::Done,
        _ => Exit::Guest(NO_STATUS),
    }
}

/// An outcome as a stable word.
pub(super) fn kind(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Exited { .. } => "exited",
        Outcome::Signalled { .. } => "signalled",
        Outcome::InitFailed { .. } => "init-failed",
        Outcome::PoweredOff => "powered-off",
        Outcome::Panic { .. } => "panic",
        Outcome::Oops { .. } => "oops",
        Outcome::LockUp { .. } => "lock-up",
        Outcome::OutOfMemory { .. } => "out-of-memory",
        Outcome::NeverReachedInit { .. } => "never-reached-init",
        Outcome::NothingBootable { .. } => "nothing-bootable",
        Outcome::Reached { .. } => "reached",
        Outcome::TimedOut { .. } => "timed-out",
        Outcome::Cancelled => "cancelled",
        Outcome::Stopped => "stopped",
        Outcome::QemuFailed { .. } => "qemu-failed",
    }
}
