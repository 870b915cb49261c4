// SPDX-License-Identifier: GPL-3.0-or-later
//! The build of one kernel's modules: its folder, its sandbox, and what is taken out of it. `pool` runs it.

use crate::engine::kbuild;
use crate::engine::modinfo;
use crate::engine::module_check::{self, Expected, GateError};
use crate::engine::source::Files;
use crate::engine::steps::BuildModules;
use crate::host::{
    BuildUser, Cancel, Command, CommandError, Host, HostError, Line, Sandbox, SandboxError, TakeError,
    WorkFolder,
};
use std::collections::BTreeSet;

/// No module is larger, with all its debugging information.
const OUTPUT_LIMIT: u64 = 64 << 20;

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

/// Where one kernel's modules are built.
#[derive(Debug)]
pub(super) struct Place {
    /// The folder; removed when it is dropped.
    pub work: WorkFolder,
    /// What is seen from in there.
    pub sandbox: Sandbox,
}

impl Place {
    /// Makes the folder, writes the trees (one for each module, edited already) into it, and a sandbox around it.
    pub fn make(host: &Host, step: &BuildModules, trees: &[Files]) -> Result<Self, BuildError> {
        let user = BuildUser::find();
        let work = WorkFolder::create(host, &user)?;
        for (module, files) in step.modules.iter().zip(trees) {
            for (path, bytes) in files {
                work.write(&format!("{}-only/{path}", module.module), bytes)?;
            }
        }
        work.hand_over()?;
        let sandbox = Sandbox::new(host, work.path(), user)?.with_kernel(host, &step.build_dir)?;
        Ok(Self { work, sandbox })
    }

    /// Takes the modules out, without what is of no use in them, and checks them.
    pub fn finish(
        &self,
        host: &Host,
        step: &BuildModules,
        cancel: &Cancel,
        warn: &mut dyn FnMut(String),
    ) -> Result<Vec<Built>, BuildError> {
        let take = || -> Result<Vec<(String, Vec<u8>)>, TakeError> {
            let names = step.modules.iter().map(|m| &m.module);
            names.map(|m| Ok((m.clone(), self.work.take(&kbuild::output(m), OUTPUT_LIMIT)?))).collect()
        };
        // Looked at first, so that no program is let loose on a pipe or a link.
        let mut outputs = take()?;
        let command = kbuild::strip(step);
        let stripped = host.runner().run_lines(&self.sandbox.wrap(&command), cancel, &mut |_| {});
        match stripped.and_then(|o| crate::host::check_status(&command, o)) {
            Ok(_) => outputs = take()?,
            Err(_) if cancel.is_cancelled() => return Err(BuildError::Cancelled),
            // They are as good with it, only larger.
            Err(e) => warn(format!("the debugging information stays in the modules: {e}")),
        }
        gate(host, step, outputs)
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
