// SPDX-License-Identifier: GPL-3.0-or-later
//! The closed set of changes that can be made to a machine. One file per kind: its data, how it is
//! applied, verified and undone, and the tests of all three together.
//!
//! A step is cut at the unit of reversion. Its data is complete: nothing is decided while it runs.
//! New fields get a default; a change of meaning gets a new variant, so that old journals keep parsing.

mod build_modules;
mod create_signing_key;
mod depmod;
mod enroll_key;
mod install_module;
mod load_modules;
mod rebuild_initramfs;
mod remove_file;
mod restart_services;
mod unload_modules;
mod write_file;

pub use build_modules::{BuildModules, Compiler, Mode, ModuleBuild, SourceRef};
pub use create_signing_key::CreateSigningKey;
pub use depmod::Depmod;
pub use enroll_key::EnrollKey;
pub use install_module::{Compression, InstallModule, SignWith};
pub use load_modules::LoadModules;
pub use rebuild_initramfs::{InitramfsTool, RebuildInitramfs};
pub use remove_file::RemoveFile;
pub use restart_services::RestartServices;
pub use unload_modules::UnloadModules;
pub use write_file::WriteFile;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One reversible change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// Compile modules for one kernel, in the sandbox.
    BuildModules(BuildModules),
    /// Make a key pair for signing modules.
    CreateSigningKey(CreateSigningKey),
    /// Ask the firmware's shim to trust a certificate (MOK).
    EnrollKey(EnrollKey),
    /// Put a built module where the kernel finds it.
    InstallModule(InstallModule),
    /// Take a file away (kept in the journal).
    RemoveFile(RemoveFile),
    /// Write a configuration file.
    WriteFile(WriteFile),
    /// Let the kernel's module index know.
    Depmod(Depmod),
    /// Make an initramfs anew.
    RebuildInitramfs(RebuildInitramfs),
    /// Take modules out of the running kernel.
    UnloadModules(UnloadModules),
    /// Put modules into the running kernel.
    LoadModules(LoadModules),
    /// Restart services.
    RestartServices(RestartServices),
}
