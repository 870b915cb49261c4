// SPDX-License-Identifier: GPL-3.0-or-later
//! Compile modules for one kernel, as an unprivileged user in the sandbox.

use super::preview::preview;
use super::{Action, build_together};
use crate::engine::build::LOGS;
use crate::engine::context::{Applied, Before, Context};
use crate::engine::edit::{self, COMPAT_HEADER, TextEdit};
use crate::engine::error::StepError;
use crate::engine::event::{Check, CheckOutcome};
use crate::engine::kbuild::{self, Jobs};
use crate::engine::modinfo::{MODULE_LIMIT, Modinfo, same_vermagic};
use crate::engine::plan::Permission;
use crate::engine::report::{Inputs, Reversal, StepPreview};
use crate::engine::source::{self, Files, SourceError};
use crate::host::{Command, Host, WORK};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
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

    /// Refuses a build tree in which nothing can be built.
    pub(super) fn check_headers(&self, host: &Host) -> Result<(), StepError> {
        for file in ["Makefile", "Module.symvers"] {
            let path = format!("{}/{file}", self.build_dir);
            if !host.root().exists(&path) {
                return Err(StepError::refused(
                    format!("the headers of {} are not whole: {path} is not there", self.kernel),
                    "install the header package of just this kernel again",
                ));
            }
        }
        Ok(())
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
        self.check_headers(ctx.host())?;
        Ok(Before::default())
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        let result = ctx.take_built().unwrap_or_else(|| {
            build_together::run(ctx, self);
            ctx.take_built().unwrap_or(Err(StepError::Cancelled))
        });
        result.map(|()| Applied::default())
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
