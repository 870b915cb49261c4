// SPDX-License-Identifier: GPL-3.0-or-later
//! Compile modules for one kernel, as an unprivileged user in the sandbox.

use super::Action;
use crate::engine::context::{Applied, Before, Context};
use crate::engine::edit::TextEdit;
use crate::engine::error::StepError;
use crate::engine::event::Check;
use crate::engine::plan::Permission;
use crate::engine::report::{Reversal, StepPreview};
use crate::host::Host;
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
}

impl Action for BuildModules {
    fn title(&self) -> String {
        format!(
            "Compile {} for {}",
            self.modules.iter().map(|m| m.module.as_str()).collect::<Vec<_>>().join(" and "),
            self.kernel
        )
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [Permission::ModulesInstall].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::Full
    }

    fn preview(&self, _host: &Host) -> StepPreview {
        StepPreview {
            title: self.title(),
            commands: Vec::new(),
            files: Vec::new(),
            reversal: self.reversal(),
            permissions: self.permissions(),
        }
    }

    fn before(&self, _ctx: &Context<'_>) -> Result<Before, StepError> {
        Err(StepError::refused("this kind of step is not in this version", "use a later version"))
    }

    fn apply(&self, _ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        Err(StepError::refused("this kind of step is not in this version", "use a later version"))
    }

    fn verify(&self, _ctx: &Context<'_>) -> Vec<Check> {
        Vec::new()
    }
}
