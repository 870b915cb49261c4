// SPDX-License-Identifier: GPL-3.0-or-later
//! Compile modules for one kernel, as an unprivileged user in the sandbox.

use super::Action;
use super::preview::preview;
use crate::engine::build::{self, BuildError, BuildLog, Built, Cache, LOGS, Progressed, Said};
use crate::engine::context::{Applied, Before, Context};
use crate::engine::edit::{self, COMPAT_HEADER, TextEdit};
use crate::engine::error::StepError;
use crate::engine::event::{Check, CheckOutcome, Event, Level};
use crate::engine::kbuild::{self, Jobs};
use crate::engine::modinfo::{MODULE_LIMIT, Modinfo, same_vermagic};
use crate::engine::plan::Permission;
use crate::engine::report::{Inputs, Reversal, StepPreview};
use crate::engine::source::{self, Files, SourceError};
use crate::host::{Command, Host, WORK};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// With which flags modules are compiled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The kernel's own flags.
    #[default]
    Vanilla,
    /// Tuned for this CPU within what is safe in a kernel.
    Optimized,
}

/// Where the sources of a module come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "from", rename_all = "snake_case", deny_unknown_fields)]
pub enum SourceRef {
    /// A file or folder of the machine that only root can change ("/usr/lib/vmware/modules/source/vmmon.tar").
    Installed {
        /// Where.
        path: String,
    },
    /// An archive that the caller handed over as a sealed file.
    Sealed {
        /// SHA-256 of the archive.
        sha256: String,
        /// What the caller calls it.
        name: String,
    },
}

/// The compiler of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Compiler {
    /// Command ("gcc-12", "clang-19").
    pub cc: String,
    /// Its version.
    pub version: String,
    /// Whether kbuild is called with `LLVM=1`.
    pub llvm: bool,
}

/// One module of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModuleBuild {
    /// Its name ("vmmon").
    pub module: String,
    /// Where its sources come from.
    pub source: SourceRef,
    /// SHA-256 of the source tree (paths and bytes), before any edit.
    pub source_sha256: String,
    /// The edits, in order; each is verified in place before it is made.
    pub edits: Vec<TextEdit>,
    /// Text of the force-included compat header; empty when none is needed.
    pub compat_header: String,
    /// kbuild variables and flags ("ccflags-y=…").
    pub make_vars: Vec<String>,
}

/// Compile modules for one kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BuildModules {
    /// Kernel release.
    pub kernel: String,
    /// The kernel's build tree, links resolved ("/usr/src/linux-headers-6.1.0-56-amd64").
    pub build_dir: String,
    /// Identity of that tree (hash), so that another tree is another plan.
    pub build_id: String,
    /// vermagic that the results must have.
    pub vermagic: String,
    /// With which flags.
    pub mode: Mode,
    /// The compiler.
    pub compiler: Compiler,
    /// The modules, those whose symbols others need first.
    pub modules: Vec<ModuleBuild>,
    /// Whether the run goes on with the other kernels when this one cannot be built for or does not pass its
    /// rehearsal. Older plans do not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub go_on: bool,
}

/// Space that a build takes while it runs, and its logs, in bytes.
const WORK_SPACE: u64 = 192 << 20;
const LOG_SPACE: u64 = 8 << 20;

impl BuildModules {
    /// "vmmon and vmnet".
    fn names(&self) -> String {
        self.modules.iter().map(|m| m.module.as_str()).collect::<Vec<_>>().join(" and ")
    }

    /// Reads each module's sources anew, makes sure that they are those of the plan, and edits them.
    pub(in crate::engine) fn trees(&self, host: &Host, inputs: &Inputs) -> Result<Vec<Files>, StepError> {
        let mut trees = Vec::new();
        for module in &self.modules {
            let place = match &module.source {
                SourceRef::Installed { path } => path,
                SourceRef::Sealed { name, .. } => name,
            };
            let look_again = "plan again, so that the plan is for what is there now";
            let unusable = |e: SourceError| {
                let what = format!("the sources of {} in {place} cannot be used: {e}", module.module);
                StepError::refused(what, look_again)
            };
            let mut files = source::load(host.root(), &module.source, &inputs.sealed, &module.module)
                .map_err(unusable)?;
            if source::tree_sha256(&files) != module.source_sha256 {
                let what =
                    format!("the sources of {} in {place} changed since the plan was made", module.module);
                return Err(StepError::refused(what, look_again));
            }
            edit::apply(&mut files, &module.edits)
                .map_err(|e| StepError::refused(format!("{}: {e}", module.module), look_again))?;
            if !module.compat_header.is_empty()
                && files.insert(COMPAT_HEADER.to_owned(), module.compat_header.clone().into_bytes()).is_some()
            {
                let what = format!("the sources of {} have a file {COMPAT_HEADER} already", module.module);
                return Err(StepError::refused(what, "use the sources as VMware ships them"));
            }
            trees.push(files);
        }
        Ok(trees)
    }

    /// The modules of the same build, if it was done before and its result still passes the gate.
    fn cached(&self, ctx: &Context<'_>, key: &str, log: &mut BuildLog) -> Option<Vec<Built>> {
        let cache = Cache::of(ctx.host());
        let cached = cache.find(key, self)?;
        match build::gate(ctx.host(), self, cached.modules) {
            Ok(built) => {
                log.say(&format!(
                    "nothing changed since the build of {}; its log is {}\ncache: {key}",
                    cached.when, cached.log
                ));
                Some(built)
            }
            Err(error) => {
                ctx.say(Level::Warning, format!("an earlier build is not used: {error}"));
                cache.forget(key);
                None
            }
        }
    }

    /// Compiles, and returns what the compilers said beside the result.
    fn compile(
        &self,
        ctx: &Context<'_>,
        trees: &[Files],
        log: &mut BuildLog,
    ) -> (Result<Vec<Built>, BuildError>, Said) {
        let (step, when) = (ctx.step(), log.when().to_owned());
        let mut said = Said::default();
        let result = build::build(ctx.host(), self, trees, ctx.cancel(), &mut |progress| match progress {
            Progressed::Begins { module, command } => {
                let head = kbuild::log_header(self, &self.modules[module], command, &when);
                log.write(module, &head);
                log.say(&format!("{}: {}", self.modules[module].module, command.display()));
            }
            Progressed::Line { module, line } => {
                log.line(module, line);
                let text = format!("[{}] {}", self.modules[module].module, line.text);
                ctx.emit(Event::Log { step, stream: line.stream, line: text });
                if let Some(event) = said.line(step, module, &line.text) {
                    ctx.emit(event);
                }
            }
            Progressed::Warning(text) => {
                log.say(&text);
                ctx.say(Level::Warning, text);
            }
            Progressed::Objects { done, total } => ctx.progress(done as u64, total as u64, "object files"),
        });
        (result, said)
    }

    /// Words for a build that failed, with all that helps to find out why.
    fn explain(&self, ctx: &Context<'_>, log: &mut BuildLog, error: BuildError, said: &Said) -> StepError {
        let (what, module) = match error {
            BuildError::Cancelled => {
                log.say("cancelled");
                return StepError::Cancelled;
            }
            BuildError::Host(e) => {
                log.say(&e.to_string());
                return e.into();
            }
            BuildError::Make { module, source } => {
                let why = said.first_error(ctx.host(), &ctx.inputs().explain, module);
                let name = &self.modules[module].module;
                let why = why.unwrap_or_else(|| source.to_string());
                (format!("{name} could not be compiled for {}: {why}", self.kernel), Some(name))
            }
            other => (other.to_string(), None),
        };
        log.say(&format!("failed: {what}"));
        let run_plan = ctx.folder().plan();
        let bundle = build::write_bundle(ctx.host(), self, log, Some(&run_plan), &what);
        let complete = module.map_or_else(|| log.path().to_owned(), |m| log.path_of(m));
        let remedy = match bundle {
            Ok(path) => {
                format!("the complete output is in {complete}, and all that a report needs in {path}")
            }
            Err(e) => format!("the complete output is in {complete} (no report could be packed: {e})"),
        };
        StepError::refused(what, remedy)
    }
}

impl Action for BuildModules {
    fn title(&self) -> String {
        format!("Compile {} for {}", self.names(), self.kernel)
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [Permission::ModulesInstall].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::Full
    }

    fn weight(&self) -> u32 {
        200
    }

    fn preview(&self, _host: &Host) -> StepPreview {
        let jobs = Jobs::Own(std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
        let commands: Vec<Command> = self.modules.iter().map(|m| kbuild::make(self, m, jobs)).collect();
        preview(self, &commands, Vec::new())
    }

    fn space(&self, _host: &Host) -> Vec<(String, u64)> {
        vec![(WORK.to_owned(), WORK_SPACE), (LOGS.to_owned(), LOG_SPACE)]
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        for file in ["Makefile", "Module.symvers"] {
            let path = format!("{}/{file}", self.build_dir);
            if !ctx.host().root().exists(&path) {
                return Err(StepError::refused(
                    format!("the headers of {} are not whole: {path} is not there", self.kernel),
                    "install the header package of just this kernel again",
                ));
            }
        }
        Ok(Before::default())
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        let trees = self.trees(ctx.host(), ctx.inputs())?;
        let names: Vec<&str> = self.modules.iter().map(|m| m.module.as_str()).collect();
        let mut log = BuildLog::begin(ctx.host(), &names)?;
        ctx.set_log(log.path());
        log.say(&format!("{}, {}", self.title(), log.when().to_owned()));
        let key = build::key(self);
        let cached = self.cached(ctx, &key, &mut log);
        let fresh = cached.is_none();
        let built = match cached {
            Some(built) => built,
            None => match self.compile(ctx, &trees, &mut log) {
                (Ok(built), said) => {
                    log.say(&format!("{} different warnings", said.warnings()));
                    built
                }
                (Err(error), said) => return Err(self.explain(ctx, &mut log, error, &said)),
            },
        };
        for Built { module, bytes, instructions } in &built {
            log.say(&format!(
                "{module}.ko: {} bytes, sha256 {}, {instructions} instructions read, none touches floating point or \
                 vector registers",
                bytes.len(),
                hex::encode(Sha256::digest(bytes)),
            ));
        }
        if fresh {
            let modules: Vec<_> = built.iter().map(|b| (b.module.as_str(), b.bytes.as_slice())).collect();
            if let Err(e) = Cache::of(ctx.host()).store(&key, &modules, log.path(), log.when()) {
                ctx.say(Level::Warning, format!("the result cannot be kept for the next time: {e}"));
            }
        }
        if let Some(problem) = log.problem() {
            ctx.say(Level::Warning, format!("the log {} is not complete: {problem}", log.path()));
        }
        let folder = format!("{}/{}", ctx.work_dir()?, self.kernel);
        ctx.host().root().create_dirs(&folder, 0o700)?;
        for Built { module, bytes, .. } in &built {
            let path = format!("{folder}/{module}.ko");
            ctx.host().root().write(&path, bytes, 0o600, None)?;
            ctx.set_artifact(&self.kernel, module, &path);
        }
        Ok(Applied::default())
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        let look = |module: &str| -> Result<bool, String> {
            let path = ctx.artifact(&self.kernel, module).ok_or("it was not built")?;
            let bytes = ctx.host().root().read_at_most(path, MODULE_LIMIT).map_err(|e| e.to_string())?;
            let info = Modinfo::of_module(&bytes).map_err(|e| e.to_string())?;
            Ok(info.get("vermagic").is_some_and(|v| same_vermagic(v, &self.vermagic)))
        };
        let check = |module: &ModuleBuild| Check {
            what: format!("{} is built for {}", module.module, self.kernel),
            outcome: match look(&module.module) {
                Ok(true) => CheckOutcome::Good,
                Ok(false) => CheckOutcome::Bad {
                    reason: "its vermagic is another; install the headers of just this kernel".to_owned(),
                },
                Err(reason) => CheckOutcome::CouldNotLook { reason },
            },
        };
        self.modules.iter().map(check).collect()
    }
}
