// SPDX-License-Identifier: GPL-3.0-or-later
//! What a step has at hand while it is carried out or taken back.

pub use super::change::{After, Applied, Before};
use super::error::StepError;
use super::event::{Event, Level};
use super::folders::RunFolder;
use super::journal::{Journal, JournalError, Record, Touch};
use super::report::Inputs;
use super::restore::{self, Verdict};
use super::steps::BuildModules;
use super::voice::Voice;
use crate::host::failpoint;
use crate::host::{Cancel, Command, FileState, Host, Inherited, Lock, Output, check_status};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// What a step has at hand: the machine, the inputs of the run, its private folder and its voice.
pub struct Context<'a> {
    host: &'a Host,
    folder: RunFolder,
    inputs: &'a Inputs,
    cancel: Cancel,
    lock: Option<Inherited>,
    artifacts: BTreeMap<(String, String), String>,
    builds: BTreeMap<usize, BuildModules>,
    built: BTreeMap<usize, Result<(), StepError>>,
    begun: RefCell<BTreeSet<usize>>,
    step: usize,
    taking_back: bool,
    notes: Vec<String>,
    told: Vec<String>,
    journal: RefCell<Journal>,
    voice: RefCell<Voice<'a>>,
}

impl<'a> Context<'a> {
    pub(super) fn new(
        host: &'a Host,
        folder: RunFolder,
        inputs: &'a Inputs,
        cancel: &Cancel,
        lock: &Lock,
        journal: Journal,
        voice: Voice<'a>,
    ) -> Self {
        Self {
            host,
            folder,
            inputs,
            cancel: cancel.clone(),
            lock: lock.share().ok(),
            artifacts: BTreeMap::new(),
            builds: BTreeMap::new(),
            built: BTreeMap::new(),
            begun: RefCell::default(),
            step: 0,
            taking_back: false,
            notes: Vec::new(),
            told: Vec::new(),
            journal: RefCell::new(journal),
            voice: RefCell::new(voice),
        }
    }

    /// Goes on with another step.
    pub(super) fn enter(&mut self, step: usize) {
        self.step = step;
        self.notes.clear();
    }

    /// Tells that a step begins; once, for a build may have begun with an earlier one.
    pub(super) fn begin(&self, step: usize, title: String) {
        if self.begun.borrow_mut().insert(step) {
            self.emit(Event::Step { step, title });
        }
    }

    /// The builds of the plan that may be done together, by the numbers of their steps.
    pub(super) fn plan_builds(&mut self, builds: BTreeMap<usize, BuildModules>) {
        self.builds = builds;
    }

    /// This build and those that are to be done with it, which none is twice.
    pub(super) fn take_builds(&mut self, this: &BuildModules) -> Vec<(usize, BuildModules)> {
        let mut all = if self.builds.contains_key(&self.step) {
            std::mem::take(&mut self.builds)
        } else {
            BTreeMap::new()
        };
        all.insert(self.step, this.clone());
        all.into_iter().collect()
    }

    /// Keeps what came of a build until its step comes.
    pub(super) fn keep_built(&mut self, step: usize, result: Result<(), StepError>) {
        self.built.insert(step, result);
    }

    /// What came of the build of this step, if it was done with an earlier one.
    pub(super) fn take_built(&mut self) -> Option<Result<(), StepError>> {
        self.built.remove(&self.step)
    }

    /// From here on steps are taken back, and this is the wish to stop that counts.
    pub(super) fn take_back(&mut self, cancel: Cancel) {
        self.taking_back = true;
        self.cancel = cancel;
    }

    pub(super) fn folder(&self) -> &RunFolder {
        &self.folder
    }

    pub(super) fn journal(&self) -> &RefCell<Journal> {
        &self.journal
    }

    /// Keeps what a step that went well said for the end of the run.
    pub(super) fn keep_notes(&mut self) {
        self.told.append(&mut self.notes);
    }

    /// What the steps that went well said for the end of the run.
    pub(super) fn told(&self) -> &[String] {
        &self.told
    }

    /// What the step said for the end of the run, which forgets it.
    pub(super) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Writes a record. While steps are taken back a full disk must not stop that: all that undo needs
    /// was written before, and what was taken back already is recognised by its state.
    pub(super) fn record(&self, record: &Record) -> Result<(), JournalError> {
        match self.journal.borrow_mut().record(record) {
            Err(e) if self.taking_back => {
                tracing::warn!(error = %e, "the journal cannot be written while steps are taken back");
                Ok(())
            }
            other => other,
        }
    }

    /// The machine.
    pub fn host(&self) -> &'a Host {
        self.host
    }

    /// Number of the run.
    pub fn run_number(&self) -> u32 {
        self.folder.run
    }

    /// Number of the step, from 0.
    pub fn step(&self) -> usize {
        self.step
    }

    /// What came with the run. Empty while a run is undone.
    pub fn inputs(&self) -> &'a Inputs {
        self.inputs
    }

    /// The wish to stop; [`Context::command`] obeys it by itself.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// An error when somebody asked to stop; call it between parts of long work.
    ///
    /// # Errors
    /// [`StepError::Cancelled`].
    pub fn stop_if_cancelled(&self) -> Result<(), StepError> {
        if self.cancel.is_cancelled() { Err(StepError::Cancelled) } else { Ok(()) }
    }

    /// A private folder (mode 0700) of this run inside the root, removed when the run ends.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn work_dir(&self) -> Result<String, StepError> {
        let dir = self.folder.work();
        self.host.root().create_dirs(&dir, 0o700)?;
        Ok(dir)
    }

    /// Says where a built and checked module is (a path inside the root), for the step that installs it.
    pub fn set_artifact(&mut self, kernel: &str, module: &str, path: &str) {
        self.artifacts.insert((kernel.to_owned(), module.to_owned()), path.to_owned());
    }

    /// Where this run's module for that kernel is, if it was built.
    pub fn artifact(&self, kernel: &str, module: &str) -> Option<&str> {
        self.artifacts.get(&(kernel.to_owned(), module.to_owned())).map(String::as_str)
    }

    /// Says where the log of the work is (a path inside the root), for the report of the run.
    pub fn set_log(&mut self, path: &str) {
        // A log that is not found in the list is no reason to stop the work.
        if let Err(e) = self.record(&Record::Log { path: path.to_owned() }) {
            tracing::warn!(error = %e, "the place of the log could not be recorded");
        }
    }

    /// Tells an event.
    pub fn emit(&self, event: Event) {
        self.voice.borrow_mut().say(event);
    }

    /// Tells progress inside the step.
    pub fn progress(&self, done: u64, total: u64, unit: &str) {
        self.emit(Event::Progress { step: self.step, done, total, unit: unit.to_owned() });
    }

    /// Tells a finding of the step.
    pub fn say(&self, level: Level, message: impl Into<String>) {
        let message = message.into();
        self.emit(Event::Diagnostic { step: self.step, level, file: None, line: None, message });
    }

    /// Tells something that a person should also read at the end of the run ("… is not put back: …").
    pub fn note(&mut self, message: impl Into<String>) {
        let message = message.into();
        self.say(Level::Warning, message.clone());
        self.notes.push(message);
    }

    /// Runs a command as it is given, its lines as [`Event::Log`], obeying the wish to stop; every exit
    /// status but 0 is an error.
    ///
    /// # Errors
    /// [`StepError::Command`].
    pub fn command(&self, command: &Command) -> Result<Output, StepError> {
        let step = self.step;
        let output = self.host.runner().run_lines(command, &self.cancel, &mut |line| {
            self.emit(Event::Log { step, stream: line.stream, line: line.text.clone() });
        })?;
        Ok(check_status(command, output)?)
    }

    /// The command with the machine's lock, which then stays taken as long as the command or one of its
    /// children is at work, even when this process dies. For tools that write files by themselves and end;
    /// never for what starts a service.
    pub fn locked(&self, command: Command) -> Command {
        match &self.lock {
            Some(lock) => command.inherit(lock.clone()),
            None => command,
        }
    }

    /// Runs a tool of this machine: as it is on the running machine, inside the tree of a complete
    /// scratch root.
    ///
    /// # Errors
    /// As [`Context::command`], and [`StepError::Refused`] on a partial root, which has no tools.
    pub fn tool(&self, command: Command) -> Result<Output, StepError> {
        let shown = command.display();
        let Some(command) = self.host.tool(command) else {
            return Err(StepError::refused(
                format!("`{shown}` cannot be run: this root has no tools of its own"),
                "use a root with a whole system in it, or leave this step out",
            ));
        };
        self.command(&command)
    }

    /// Records the state of these paths, keeps the bytes of files in the run's store, and names the
    /// directories above them that are missing.
    ///
    /// # Errors
    /// When one is a directory or device where a file should go, or cannot be read, or the store cannot
    /// be written.
    pub fn remember(&self, paths: &[&str]) -> Result<Before, StepError> {
        let root = self.host.root();
        let store = self.folder.store();
        let mut before = Before::default();
        for path in paths {
            require_plain(path)?;
            let state = store.keep(root, path)?;
            let what = match state {
                FileState::Directory { .. } => "a directory",
                FileState::Other => "a device, socket or pipe",
                _ => "",
            };
            if !what.is_empty() {
                return Err(StepError::refused(
                    format!("{path} is {what}, where a file should go"),
                    "look at it and move it away",
                ));
            }
            for dir in missing_dirs(root, path) {
                if !before.dirs.contains(&dir) {
                    before.dirs.push(dir);
                }
            }
            before.files.insert((*path).to_owned(), state);
        }
        Ok(before)
    }

    /// Writes a file and creates the directories above it (mode 0755). What is about to be placed is
    /// recorded in the journal first, so that an interrupted run knows its own files again.
    ///
    /// # Errors
    /// When the journal or the file cannot be written; the old file is then untouched.
    pub fn write(&self, path: &str, bytes: &[u8], mode: u32) -> Result<(), StepError> {
        let sha256 = hex::encode(Sha256::digest(bytes));
        self.write_from(path, &mut { bytes }, &sha256, bytes.len() as u64, mode)
    }

    /// As [`Context::write`], for more than should be in memory. That the bytes are those of `sha256` is for
    /// the step to verify afterwards.
    ///
    /// # Errors
    /// As [`Context::write`].
    pub fn write_from(
        &self,
        path: &str,
        from: &mut dyn std::io::Read,
        sha256: &str,
        size: u64,
        mode: u32,
    ) -> Result<(), StepError> {
        require_plain(path)?;
        // Said outright, for a directory with the set-group-id bit would give its own group.
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let staged = restore::staged_name();
        let will_be = FileState::File {
            sha256: sha256.to_owned(),
            size,
            mode,
            uid,
            gid,
            mtime: 0,
            mtime_nsec: 0,
            xattrs: BTreeMap::new(),
        };
        let (step, staged_too) = (self.step, Some(staged.clone()));
        self.record(&Record::Touch { step, path: path.to_owned(), staged: staged_too, will_be })?;
        failpoint::hit("touched");
        let root = self.host.root();
        root.create_dirs(restore::folder(path), 0o755)?;
        failpoint::hit("dirs-made");
        root.write_staged(path, &staged, from, mode, Some((uid, gid)), None)?;
        failpoint::hit("written");
        Ok(())
    }

    /// Removes a file or link, recorded in the journal first.
    ///
    /// # Errors
    /// When the journal cannot be written or the file cannot be removed.
    pub fn remove(&self, path: &str) -> Result<(), StepError> {
        require_plain(path)?;
        let (step, will_be) = (self.step, FileState::Absent);
        self.record(&Record::Touch { step, path: path.to_owned(), staged: None, will_be })?;
        failpoint::hit("touched");
        self.host.root().remove_file(path)?;
        failpoint::hit("written");
        Ok(())
    }

    /// How this step left the files of `before` and those it made beside them.
    pub(super) fn after(&self, before: &Before, applied: &Applied) -> Result<After, StepError> {
        let root = self.host.root();
        let mut after = After { data: applied.data.clone(), ..After::default() };
        for path in before.files.keys().chain(&applied.also) {
            let state = root.state(path)?;
            // Tools do not sync what they make, and once the step is recorded as done it must be there.
            if before.derived && matches!(state, FileState::File { .. }) {
                root.sync(path)?;
            }
            after.files.insert(path.clone(), state);
        }
        after.dirs = before.dirs.iter().filter(|d| root.exists(d)).cloned().collect();
        Ok(after)
    }

    /// What the earlier steps of this run kept ([`Before::data`]).
    pub(super) fn kept_by_earlier_steps(&self) -> Vec<Value> {
        let journal = self.journal.borrow();
        journal.history().steps.range(..self.step).map(|(_, s)| s.before.data.clone()).collect()
    }

    fn touches(&self) -> Vec<Touch> {
        let journal = self.journal.borrow();
        journal.history().steps.get(&self.step).map(|s| s.touches.clone()).unwrap_or_default()
    }

    /// Puts the files of `before` back: bytes, mode, owner, times and attributes. Looks at all of them
    /// first: where one is neither as it was before nor as this step left it (or was about to), nothing
    /// is touched. Directories that the step created are removed when they are empty. Derived files
    /// that changed since are left to `Action::settle`.
    ///
    /// # Errors
    /// [`StepError::Drift`] for the first path that changed since.
    pub fn restore(&mut self, before: &Before, after: Option<&After>) -> Result<(), StepError> {
        let root = self.host.root();
        let touches = self.touches();
        let mut back = Vec::new();
        let mut notes = Vec::new();
        for path in restore::paths(before, after) {
            let folder = restore::folder(path);
            let now = root.state(path)?;
            match restore::judge(path, &now, root.exists(folder), before, after, &touches) {
                Verdict::AsBefore => {}
                Verdict::Ours => back.push(path),
                Verdict::Gone if root.exists(folder) => {
                    notes.push(format!("{path} is gone, and is not made again"));
                }
                Verdict::Gone => notes.push(match before.files.get(path) {
                    Some(FileState::File { sha256, .. }) => format!(
                        "{path} is not put back: the folder {folder} is gone; its old bytes are kept in {}",
                        self.folder.store().path(sha256)
                    ),
                    _ => format!("{path} is not put back: the folder {folder} is gone"),
                }),
                Verdict::Drifted(_) if before.derived => return Ok(()),
                Verdict::Drifted(mut drift) => {
                    drift.copy = self.folder.store().copy_of(&drift.before);
                    return Err(StepError::Drift(drift));
                }
            }
        }
        restore::clear_staged(root, &touches)?;
        for path in back {
            let was = before.files.get(path).unwrap_or(&FileState::Absent);
            let staged = restore::staged_name();
            self.record(&Record::Touch {
                step: self.step,
                path: path.clone(),
                staged: Some(staged.clone()),
                will_be: was.clone(),
            })?;
            failpoint::hit("undo-touched");
            restore::put_back(root, &self.folder.store(), path, was, &staged)?;
            failpoint::hit("undo-written");
        }
        for dir in restore::remove_created(root, after.map_or(&before.dirs, |a| &a.dirs))? {
            notes.push(format!("the folder {dir}, which this run made, stays: something else is in it now"));
        }
        for note in notes {
            self.note(note);
        }
        Ok(())
    }
}

/// Only absolute paths without `.` and `..`: a step's path means one place.
fn require_plain(path: &str) -> Result<(), StepError> {
    let plain = path.starts_with('/')
        && !path.ends_with('/')
        && !path.contains('\0')
        && !path.split('/').any(|part| part == ".." || part == ".");
    if plain {
        return Ok(());
    }
    Err(StepError::refused(
        format!("`{}` is no absolute path of a file", path.escape_debug()),
        "make the plan again; if it still says so, report it",
    ))
}

/// The directories above `path` that are not there, topmost first.
fn missing_dirs(root: &crate::host::Root, path: &str) -> Vec<String> {
    let mut dirs = Vec::new();
    let mut dir = restore::folder(path);
    while dir != "/" && !root.exists(dir) {
        dirs.push(dir.to_owned());
        dir = restore::folder(dir);
    }
    dirs.reverse();
    dirs
}
