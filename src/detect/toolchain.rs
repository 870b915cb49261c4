// SPDX-License-Identifier: GPL-3.0-or-later
//! Compilers, make and linkers.

use super::kernel::CompilerKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A compiler on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Compiler {
    /// Which.
    pub kind: CompilerKind,
    /// Its plainest command ("gcc").
    pub command: String,
    /// Its other commands ("gcc-12").
    pub also: Vec<String>,
    /// Its full path (not resolved further: some compilers look at the name they are called by).
    pub path: String,
    /// The first line of its `--version`.
    pub text: String,
    /// Its version ("12.2.0").
    pub version: String,
    /// The first number of its version.
    pub major: u32,
}

/// Another tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// Its command ("make").
    pub command: String,
    /// Its full path (not resolved further: some compilers look at the name they are called by).
    pub path: String,
    /// Its version ("4.3"), when it told one.
    pub version: Option<String>,
}

/// What modules are built with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Toolchain {
    /// Whether these are the running machine's tools: a scratch root without tools of its own is worked on
    /// from outside.
    pub from_machine: bool,
    /// Compilers, the plain name first ("gcc" before "gcc-12"), each program once.
    pub compilers: Vec<Compiler>,
    /// GNU make.
    pub make: Option<Tool>,
    /// The GNU linker.
    pub ld: Option<Tool>,
    /// LLVM's linker.
    pub lld: Option<Tool>,
    /// bubblewrap: nothing foreign is built without it.
    pub bubblewrap: Option<Tool>,
    /// Tools that are needed and not there.
    pub missing: Vec<MissingTool>,
    /// Tools that are there and did not tell their version: how they were asked, and what came.
    pub unanswered: Vec<String>,
}

/// A tool that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MissingTool {
    /// The tool ("make").
    pub tool: String,
    /// The package that has it on this distribution, when known.
    pub package: Option<String>,
    /// The command that installs it, when known.
    pub command: Option<String>,
}
