// SPDX-License-Identifier: GPL-3.0-or-later
//! One build under way: what it works with, what it says, its log.

use super::folders::{self, Folders};
use super::work::LabFolder;
use super::{LabError, namespace};
use crate::engine::event::{Event, Level, Sink};
use crate::host::{Cancel, Command, CommandError, Host, Output, check_status};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// One build under way.
pub struct Job<'a> {
    /// The machine.
    pub host: &'a Host,
    /// The lab's folders.
    pub folders: &'a Folders,
    /// The build's own folder.
    pub work: &'a LabFolder,
    /// The wish to stop.
    pub cancel: &'a Cancel,
    sink: &'a mut dyn Sink,
    log: File,
    log_path: PathBuf,
    step: usize,
}

impl std::fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("work", &self.work.path())
            .field("step", &self.step)
            .finish_non_exhaustive()
    }
}

impl<'a> Job<'a> {
    /// Begins a build whose log is called `name`; the log of the one before is kept beside it.
    pub(super) fn begin(
        host: &'a Host,
        folders: &'a Folders,
        work: &'a LabFolder,
        name: &str,
        cancel: &'a Cancel,
        sink: &'a mut dyn Sink,
    ) -> Result<Self, LabError> {
        folders::make(&folders.logs)?;
        let log_path = folders.logs.join(format!("{name}.log"));
        let before = folders.logs.join(format!("{name}.log.1"));
        match std::fs::rename(&log_path, &before) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(LabError::io(&log_path, "could not move the log of the build before")(e));
            }
            _ => {}
        }
        let log = File::create_new(&log_path).map_err(LabError::io(&log_path, "could not write the log"))?;
        Ok(Self { host, folders, work, cancel, sink, log, log_path, step: 0 })
    }

    /// Where its log is.
    pub fn log_path(&self) -> &Path {
        &self.log_path
    }

    fn write(&mut self, text: &str) {
        let at = self.host.clock().now().strftime("%H:%M:%S").to_string();
        // A log that cannot be written (a full disk) must not hide why the build fails.
        let _ = writeln!(self.log, "{at} {text}");
    }

    /// Does one step of the build and tells of it. What it returns with is told as "already as it should
    /// be" when it is true.
    ///
    /// # Errors
    /// Those of the step, and when somebody asked to stop.
    pub fn step<T>(
        &mut self,
        title: &str,
        work: impl FnOnce(&mut Self) -> Result<(T, bool), LabError>,
    ) -> Result<T, LabError> {
        if self.cancel.is_cancelled() {
            return Err(LabError::Cancelled);
        }
        let step = self.step;
        self.write(&format!("== {title}"));
        self.sink.event(Event::Step { step, title: title.to_owned() });
        let result = work(self);
        self.step += 1;
        match result {
            Ok((value, unchanged)) => {
                self.sink.event(Event::StepDone { step, unchanged });
                Ok(value)
            }
            Err(error) => {
                self.write(&format!("!! {error}"));
                // The whole reason is told once, at the end.
                let short = if matches!(error, LabError::Cancelled) { "cancelled" } else { "failed" };
                self.sink.event(Event::StepFailed { step, reason: short.to_owned() });
                Err(error)
            }
        }
    }

    /// Tells of something that may be wrong.
    pub fn warn(&mut self, message: &str) {
        self.write(&format!("?? {message}"));
        self.sink.event(Event::Diagnostic {
            step: self.step,
            level: Level::Warning,
            file: None,
            line: None,
            message: message.to_owned(),
        });
    }

    /// Runs a tool to its end; what it says goes to the log.
    ///
    /// # Errors
    /// When it cannot start, fails or is cancelled.
    pub fn run(&mut self, command: &Command) -> Result<Output, LabError> {
        let output = self.run_any(command)?;
        Ok(check_status(command, output)?)
    }

    /// The same, for any exit status.
    ///
    /// # Errors
    /// When it cannot start or is cancelled.
    pub fn run_any(&mut self, command: &Command) -> Result<Output, LabError> {
        self.write(&format!("$ {}", command.display()));
        let (host, cancel, step) = (self.host, self.cancel, self.step);
        let result = host.runner().run_lines(command, cancel, &mut |line| {
            self.write(&line.text);
            self.sink.passing(Event::Log { step, stream: line.stream, line: line.text.clone() });
        });
        match result {
            Err(CommandError::Cancelled { .. }) => Err(LabError::Cancelled),
            other => Ok(other?),
        }
    }

    /// Runs a tool in namespaces of its own.
    ///
    /// # Errors
    /// As [`Job::run`].
    pub fn run_alone(&mut self, command: Command) -> Result<Output, LabError> {
        self.run(&namespace::alone(command, namespace::is_root()))
    }
}

/// Refuses when a file system has less room than is needed, with both figures.
///
/// # Errors
/// When there is too little.
pub fn need_space(path: &Path, needed: u64, what: &str) -> Result<(), LabError> {
    let there = path.ancestors().find(|p| p.exists()).unwrap_or_else(|| Path::new("/"));
    let stat =
        rustix::fs::statvfs(there).map_err(LabError::errno(there, "could not look at the file system"))?;
    check_space(path, needed, stat.f_bavail.saturating_mul(stat.f_frsize), what)
}

/// The same for known figures. Pure.
fn check_space(path: &Path, needed: u64, free: u64, what: &str) -> Result<(), LabError> {
    if free >= needed {
        return Ok(());
    }
    let mib = |n: u64| n.div_ceil(1 << 20);
    Err(LabError::refused(
        "no-space",
        format!("{what} needs {} MiB below {}, and {} MiB are free", mib(needed), path.display(), free >> 20),
        "make room (`hostwright lab eject --all` drops what the lab keeps), or point XDG_CACHE_HOME elsewhere",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_room_is_said_with_both_figures() {
        let error =
            check_space(Path::new("/c"), 3 << 30, (2 << 30) + 5, "the system").unwrap_err().to_string();
        assert!(error.starts_with("the system needs 3072 MiB below /c, and 2048 MiB are free; "), "{error}");
        check_space(Path::new("/c"), 5, 5, "x").unwrap();
        assert!(need_space(Path::new("/nonexistent/deep"), u64::MAX, "x").is_err());
    }
}
