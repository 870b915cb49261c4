// SPDX-License-Identifier: GPL-3.0-or-later
//! Runs kbuild for the modules of one kernel in the sandbox and takes out what it makes.

use super::jobs::{JobServer, budget};
use crate::engine::kbuild::{self, Jobs};
use crate::engine::modinfo;
use crate::engine::module_check::{self, Expected, GateError};
use crate::engine::source::Files;
use crate::engine::steps::BuildModules;
use crate::host::{
    BuildUser, Cancel, Command, CommandError, Host, HostError, Line, Output, Sandbox, SandboxError,
    TakeError, WorkFolder,
};
use std::collections::BTreeSet;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// No module is larger, with all its debugging information.
const OUTPUT_LIMIT: u64 = 64 << 20;

/// The most that a build may write, in bytes and in files; real ones stay below a tenth of it.
const WRITE_LIMIT: (u64, u64) = (1 << 30, 50_000);

/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The largest `Module.symvers`; those of distributions have 2 MB.
const SYMVERS_LIMIT: u64 = 64 << 20;

/// Why modules were not built.
#[derive(Debug, thiserror::Error)]
pub(in crate::engine) enum BuildError {
    /// No sandbox.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A file operation of ours failed.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The job server could not be made.
    #[error("the job budget could not be shared out: {0}; try again")]
    Jobs(#[from] std::io::Error),
    /// `make` did not do its work.
    #[error("a module could not be compiled: {source}")]
    Make {
        /// Index of the module.
        module: usize,
        /// How make ended.
        source: CommandError,
    },
    /// It wrote far too much.
    #[error(
        "the build was ended after it had written {bytes} bytes in {files} files, far more than these modules need; \
         look into their makefiles"
    )]
    TooMuch {
        /// Bytes in the work folder.
        bytes: u64,
        /// Files and folders in it.
        files: u64,
    },
    /// The result cannot be taken out of the work folder.
    #[error("{0}; look into the log of the build, and into its makefiles")]
    Take(#[from] TakeError),
    /// The result is not what it must be.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// Somebody asked to stop.
    #[error("cancelled")]
    Cancelled,
}

/// What happens during a build.
#[derive(Debug)]
pub(in crate::engine) enum Progressed<'a> {
    /// A module's build begins with this command, as it runs inside the sandbox.
    Begins {
        /// Index of the module.
        module: usize,
        /// The command.
        command: &'a Command,
    },
    /// A line of output.
    Line {
        /// Index of the module.
        module: usize,
        /// The line.
        line: &'a Line,
    },
    /// Something that does not stop the build.
    Warning(String),
    /// Object files done, of how many in all modules.
    Objects {
        /// Done.
        done: usize,
        /// In all.
        total: usize,
    },
}

/// One module that was built and passed the gate.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Built {
    /// Its name.
    pub module: String,
    /// The unsigned module file.
    pub bytes: Vec<u8>,
    /// Machine instructions that the gate read.
    pub instructions: usize,
}

enum Message {
    Line(usize, Line),
    Ended(usize, Result<Output, CommandError>),
}

/// Builds the modules from these trees (one for each, edited already) and checks what comes out.
pub(in crate::engine) fn build(
    host: &Host,
    step: &BuildModules,
    trees: &[Files],
    cancel: &Cancel,
    tell: &mut dyn FnMut(Progressed<'_>),
) -> Result<Vec<Built>, BuildError> {
    let user = BuildUser::find();
    let work = WorkFolder::create(host, &user)?;
    for (module, files) in step.modules.iter().zip(trees) {
        for (path, bytes) in files {
            work.write(&format!("{}-only/{path}", module.module), bytes)?;
        }
    }
    work.hand_over()?;
    let sandbox = Sandbox::new(host, work.path(), user)?.with_kernel(host, &step.build_dir)?;
    make_all(host, step, trees, &work, &sandbox, cancel, tell)?;
    let take = || -> Result<Vec<(String, Vec<u8>)>, TakeError> {
        let names = step.modules.iter().map(|m| &m.module);
        names.map(|m| Ok((m.clone(), work.take(&kbuild::output(m), OUTPUT_LIMIT)?))).collect()
    };
    // Looked at first, so that no program is let loose on a pipe or a link.
    let mut outputs = take()?;
    let command = kbuild::strip(step);
    let stripped = host.runner().run_lines(&sandbox.wrap(&command), cancel, &mut |_| {});
    match stripped.and_then(|o| crate::host::check_status(&command, o)) {
        Ok(_) => outputs = take()?,
        Err(_) if cancel.is_cancelled() => return Err(BuildError::Cancelled),
        // They are as good with it, only larger.
        Err(e) => tell(Progressed::Warning(format!("the debugging information stays in the modules: {e}"))),
    }
    gate(host, step, outputs)
}

/// Runs `make` for all modules: side by side when there are jobs enough and none waits for another.
fn make_all(
    host: &Host,
    step: &BuildModules,
    trees: &[Files],
    work: &WorkFolder,
    sandbox: &Sandbox,
    cancel: &Cancel,
    tell: &mut dyn FnMut(Progressed<'_>),
) -> Result<(), BuildError> {
    let count = step.modules.len();
    let jobs = budget();
    let side_by_side = count > 1 && jobs >= count && !step.modules.iter().any(kbuild::needs_previous);
    let server = if side_by_side { Some(JobServer::new(jobs, count)?) } else { None };
    let how = server.as_ref().map_or(Jobs::Own(jobs), JobServer::jobs);
    let commands: Vec<Command> = step
        .modules
        .iter()
        .map(|module| {
            let command = kbuild::make(step, module, how);
            server.iter().flat_map(JobServer::files).fold(command, Command::inherit)
        })
        .collect();
    let lanes: Vec<Vec<usize>> =
        if side_by_side { (0..count).map(|i| vec![i]).collect() } else { vec![(0..count).collect()] };

    for (module, command) in commands.iter().enumerate() {
        tell(Progressed::Begins { module, command });
    }
    let mut watch = Watch::new(work, trees);
    // Asks all lanes to end: somebody asked, one failed, or they wrote too much.
    let stop = Cancel::new();
    std::thread::scope(|scope| {
        let (sender, messages) = channel();
        for lane in lanes {
            let (sender, stop, commands) = (sender.clone(), stop.clone(), &commands);
            scope.spawn(move || run_lane(host, sandbox, &lane, commands, &stop, &sender));
        }
        drop(sender);
        loop {
            match messages.recv_timeout(Duration::from_millis(50)) {
                Ok(Message::Line(module, line)) => {
                    tell(Progressed::Line { module, line: &line });
                    if let Some((done, total)) = watch.line(module, &line) {
                        tell(Progressed::Objects { done, total });
                    }
                }
                Ok(Message::Ended(module, result)) => {
                    let ended = result.and_then(|o| crate::host::check_status(&commands[module], o));
                    match ended {
                        Ok(_) => {
                            if let Some(server) = &server {
                                server.give()?;
                            }
                        }
                        Err(source) => {
                            watch.failed.get_or_insert(BuildError::Make { module, source });
                            stop.cancel();
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if cancel.is_cancelled() {
                stop.cancel();
            }
            if watch.writes_too_much(WRITE_LIMIT, LOOK) {
                stop.cancel();
            }
        }
        Ok::<(), BuildError>(())
    })?;
    if cancel.is_cancelled() {
        return Err(BuildError::Cancelled);
    }
    if let Some(error) = watch.failed {
        return Err(error);
    }
    let total = watch.objects.iter().map(kbuild::Progress::total).sum();
    tell(Progressed::Objects { done: total, total });
    Ok(())
}

fn run_lane(
    host: &Host,
    sandbox: &Sandbox,
    lane: &[usize],
    commands: &[Command],
    stop: &Cancel,
    to: &Sender<Message>,
) {
    for module in lane {
        let wrapped = sandbox.wrap(&commands[*module]);
        let result = host.runner().run_lines(&wrapped, stop, &mut |line| {
            // The receiver waits for all lanes, so that it is still there.
            let _ = to.send(Message::Line(*module, line.clone()));
        });
        let went_well = result.as_ref().is_ok_and(Output::success);
        if to.send(Message::Ended(*module, result)).is_err() || !went_well {
            break;
        }
    }
}

/// What is known of a build while it runs.
struct Watch<'a> {
    work: &'a WorkFolder,
    objects: Vec<kbuild::Progress>,
    looked: Instant,
    failed: Option<BuildError>,
}

impl<'a> Watch<'a> {
    fn new(work: &'a WorkFolder, trees: &[Files]) -> Self {
        let objects = trees.iter().map(|t| kbuild::Progress::new(kbuild::objects(t))).collect();
        Self { work, objects, looked: Instant::now(), failed: None }
    }

    /// Reads a line; when one more object file is done, how many are, of how many.
    fn line(&mut self, module: usize, line: &Line) -> Option<(usize, usize)> {
        if !self.objects.get_mut(module)?.line(&line.text) {
            return None;
        }
        let done = self.objects.iter().map(kbuild::Progress::done).sum();
        Some((done, self.objects.iter().map(kbuild::Progress::total).sum()))
    }

    /// Looks from time to time whether more was written than `limit`, bytes and files.
    fn writes_too_much(&mut self, limit: (u64, u64), every: Duration) -> bool {
        if self.looked.elapsed() < every {
            return false;
        }
        self.looked = Instant::now();
        let (bytes, files) = self.work.usage();
        let too_much = bytes > limit.0 || files > limit.1;
        if too_much {
            self.failed = Some(BuildError::TooMuch { bytes, files });
        }
        too_much
    }
}

/// Checks built modules before they are used, freshly made or from the cache.
pub(in crate::engine) fn gate(
    host: &Host,
    step: &BuildModules,
    outputs: Vec<(String, Vec<u8>)>,
) -> Result<Vec<Built>, BuildError> {
    let symvers = host.root().read_at_most(&format!("{}/Module.symvers", step.build_dir), SYMVERS_LIMIT)?;
    let symvers = String::from_utf8_lossy(&symvers);
    let kernel = modinfo::symvers(&symvers);
    let exports: Vec<BTreeSet<String>> = outputs
        .iter()
        .map(|(_, bytes)| {
            object::File::parse(bytes.as_slice()).map(|f| modinfo::exports(&f)).unwrap_or_default()
        })
        .collect();
    let mut built = Vec::new();
    for (i, (module, bytes)) in outputs.into_iter().enumerate() {
        let others =
            exports.iter().enumerate().filter(|(j, _)| *j != i).flat_map(|(_, e)| e.clone()).collect();
        let expected = Expected { name: &module, vermagic: &step.vermagic, kernel: &kernel, others: &others };
        let instructions = module_check::check(&bytes, &expected)?.instructions;
        built.push(Built { module, bytes, instructions });
    }
    Ok(built)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_that_writes_without_end_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::scratch(dir.path()).unwrap();
        let work = WorkFolder::create(&host, &BuildUser::find()).unwrap();
        for i in 0..20 {
            work.write(&format!("vmmon-only/{i}"), &[1; 5000]).unwrap();
        }
        let mut watch = Watch::new(&work, &[]);
        assert!(!watch.writes_too_much((1 << 20, 100), Duration::ZERO), "20 small files are too much");
        assert!(!watch.writes_too_much((1000, 100), Duration::from_secs(600)), "looked too often");
        assert!(watch.failed.is_none());
        assert!(watch.writes_too_much((50_000, 100), Duration::ZERO));
        let said = watch.failed.take().unwrap().to_string();
        assert!(said.contains("in 21 files, far more than these modules need"), "{said}");
        assert!(watch.writes_too_much((1 << 20, 10), Duration::ZERO));
    }
}
