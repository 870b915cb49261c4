// SPDX-License-Identifier: GPL-3.0-or-later
//! The closed set of changes that can be made to a machine. One file per kind: its data, how it is
//! applied, verified and undone, and the tests of all three together.
//!
//! A step is cut at the unit of reversion. Its data is complete: nothing is decided while it runs.
//! New fields get a default; a change of meaning gets a new variant, so that old journals keep parsing.

mod build_library;
mod build_modules;
mod build_together;
mod copy_file;
mod create_server_keys;
mod create_signing_key;
mod depmod;
mod dkms_install;
mod enable_services;
mod enroll_key;
mod give_guest_token;
mod install_driver;
mod install_module;
mod install_packages;
mod keep_file;
mod load_modules;
mod module_index;
mod pin_kernel;
mod preview;
mod pull_image;
mod rebuild_initramfs;
mod rehearse;
mod remove_file;
mod restart_services;
mod running_kernel;
mod services;
mod set_kernel_parameters;
mod set_power_profile;
mod set_running_values;
mod set_vm_option;
mod stop_services;
mod unload_modules;
mod update_boot_loader;
mod update_package_lists;
mod write_file;
mod write_image;

pub use build_library::{BuildLibrary, built_from};
pub use build_modules::{BuildModules, Compiler, Mode, ModuleBuild, SourceRef};
pub use copy_file::CopyFile;
pub use create_server_keys::CreateServerKeys;
pub(crate) use create_server_keys::is_server_name;
pub use create_signing_key::CreateSigningKey;
pub use depmod::Depmod;
pub use dkms_install::DkmsInstall;
pub use enable_services::EnableServices;
pub use enroll_key::EnrollKey;
pub use give_guest_token::GiveGuestToken;
pub(crate) use give_guest_token::is_token_name;
pub use install_driver::{DriverPatch, InstallDriver};
pub use install_module::{Compression, InstallModule, SignWith};
pub use install_packages::InstallPackages;
pub use keep_file::KeepFile;
pub use load_modules::LoadModules;
pub use pin_kernel::PinKernel;
pub(crate) use pull_image::wrong_with_image;
pub use pull_image::{ContainerEngine, PullImage};
pub use rebuild_initramfs::{InitramfsTool, RebuildInitramfs};
pub use rehearse::Rehearse;
pub use remove_file::RemoveFile;
pub use restart_services::RestartServices;
pub use set_kernel_parameters::{ParameterFile, SetKernelParameters};
pub use set_power_profile::SetPowerProfile;
pub use set_running_values::{RunningValue, SetRunningValues};
pub use set_vm_option::SetVmOption;
pub use stop_services::StopServices;
pub use unload_modules::UnloadModules;
pub use update_boot_loader::{BootLoaderTool, UpdateBootLoader};
pub use update_package_lists::UpdatePackageLists;
pub use write_file::WriteFile;
pub use write_image::WriteImage;

use super::context::{After, Applied, Before, Context};
use super::error::StepError;
use super::event::Check;
use super::plan::Permission;
use super::report::{Reversal, StepPreview};
use crate::host::Host;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What every kind of step can do. The engine calls, in this order:
/// `before` (synced to the journal) → `apply` → the state afterwards is recorded → `verify`; and to take
/// it back `undo`, and `settle` once all steps of the run are taken back.
pub(crate) trait Action {
    /// What it does, for people ("Write /etc/modules-load.d/vmware.conf").
    fn title(&self) -> String;

    /// What must be granted for it: one permission per kind of consequence.
    fn permissions(&self) -> BTreeSet<Permission>;

    /// Whether it can be taken back.
    fn reversal(&self) -> Reversal;

    /// How long it takes beside the others, for progress; a small file is 1.
    fn weight(&self) -> u32 {
        1
    }

    /// What it would do. Reads only; whatever cannot be read is said in the preview.
    fn preview(&self, host: &Host) -> StepPreview;

    /// Space that it needs beside what [`Action::before`] keeps: (path inside the root, bytes).
    fn space(&self, host: &Host) -> Vec<(String, u64)> {
        let _ = host;
        Vec::new()
    }

    /// What is there, so that it can be put back. Changes nothing.
    ///
    /// # Errors
    /// When the machine is not as the step needs it; nothing was changed then.
    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError>;

    /// Makes the change.
    ///
    /// # Errors
    /// When it cannot be made; the engine then calls `undo` without an [`After`].
    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError>;

    /// Its postcondition. A check that could not look says so.
    fn verify(&self, ctx: &Context<'_>) -> Vec<Check>;

    /// Takes the change back. May be called again after it was interrupted, and (without `after`) when
    /// `apply` was interrupted anywhere or failed.
    ///
    /// # Errors
    /// [`StepError::Drift`] when something changed since; nothing was touched then.
    fn undo(&self, ctx: &mut Context<'_>, before: &Before, after: Option<&After>) -> Result<(), StepError> {
        ctx.restore(before, after)
    }

    /// In which order steps settle: derived files (0, 1), then modules (2), then services (3); within one
    /// number as in the plan.
    fn settle_order(&self) -> u8 {
        0
    }

    /// Called after all steps of a run were taken back, for what must wait until every file is as it was:
    /// makes derived files anew where they do not fit, loads modules and starts services again. May be
    /// called again after it was interrupted. Returns a sentence for people when there is something to say.
    ///
    /// # Errors
    /// When it cannot be done; undo can then be called again.
    fn settle(&self, ctx: &mut Context<'_>, before: &Before) -> Result<Option<String>, StepError> {
        let _ = (ctx, before);
        Ok(None)
    }
}

impl Step {
    /// What this kind of step can do.
    pub(crate) fn action(&self) -> &dyn Action {
        match self {
            Self::BuildModules(s) => s,
            Self::Rehearse(s) => s,
            Self::CopyFile(s) => s,
            Self::CreateSigningKey(s) => s,
            Self::EnrollKey(s) => s,
            Self::InstallModule(s) => s,
            Self::RemoveFile(s) => s,
            Self::WriteFile(s) => s,
            Self::Depmod(s) => s,
            Self::DkmsInstall(s) => s,
            Self::RebuildInitramfs(s) => s,
            Self::UnloadModules(s) => s,
            Self::LoadModules(s) => s,
            Self::RestartServices(s) => s,
            Self::StopServices(s) => s,
            Self::SetKernelParameters(s) => s,
            Self::UpdateBootLoader(s) => s,
            Self::SetRunningValues(s) => s,
            Self::SetPowerProfile(s) => s,
            Self::InstallPackages(s) => s,
            Self::UpdatePackageLists(s) => s,
            Self::BuildLibrary(s) => s,
            Self::EnableServices(s) => s,
            Self::InstallDriver(s) => s,
            Self::KeepFile(s) => s,
            Self::PinKernel(s) => s,
            Self::SetVmOption(s) => s,
            Self::GiveGuestToken(s) => s,
            Self::CreateServerKeys(s) => s,
            Self::PullImage(s) => s,
            Self::WriteImage(s) => s,
        }
    }

    /// The kernel that it is for, when it is for one and of no use without what the earlier steps made for it.
    pub(crate) fn kernel(&self) -> Option<&str> {
        match self {
            Self::BuildModules(s) => Some(&s.kernel),
            Self::Rehearse(s) => Some(&s.kernel),
            Self::InstallModule(s) => Some(&s.kernel),
            Self::DkmsInstall(s) => Some(&s.kernel),
            Self::Depmod(s) => Some(&s.kernel),
            Self::RebuildInitramfs(s) => Some(&s.kernel),
            Self::LoadModules(s) => Some(&s.kernel),
            Self::RemoveFile(s) => {
                let path = s.path.strip_prefix("/usr").unwrap_or(&s.path);
                path.strip_prefix("/lib/modules/")?.split('/').next()
            }
            _ => None,
        }
    }

    /// What it does, for people.
    pub fn title(&self) -> String {
        self.action().title()
    }

    /// What must be granted for it.
    pub fn permissions(&self) -> BTreeSet<Permission> {
        self.action().permissions()
    }

    /// Whether it can be taken back.
    pub fn reversal(&self) -> Reversal {
        self.action().reversal()
    }

    /// How long it takes beside the others, for progress over a whole plan; a small file is 1.
    pub fn weight(&self) -> u32 {
        self.action().weight()
    }
}

/// One reversible change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// Compile modules for one kernel, in the sandbox.
    BuildModules(BuildModules),
    /// Try built modules in a virtual machine.
    Rehearse(Rehearse),
    /// Copy a file that is there.
    CopyFile(CopyFile),
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
    /// Have DKMS build and install modules for one kernel.
    DkmsInstall(DkmsInstall),
    /// Make an initramfs anew.
    RebuildInitramfs(RebuildInitramfs),
    /// Take modules out of the running kernel.
    UnloadModules(UnloadModules),
    /// Put modules into the running kernel.
    LoadModules(LoadModules),
    /// Restart services.
    RestartServices(RestartServices),
    /// Stop services that hold modules.
    StopServices(StopServices),
    /// Put words on the kernel command line.
    SetKernelParameters(SetKernelParameters),
    /// Bring a changed kernel command line to the boot loader.
    UpdateBootLoader(UpdateBootLoader),
    /// Set values of the running kernel.
    SetRunningValues(SetRunningValues),
    /// Choose a power profile.
    SetPowerProfile(SetPowerProfile),
    /// Install packages of the distribution.
    InstallPackages(InstallPackages),
    /// Fetch the lists of packages anew.
    UpdatePackageLists(UpdatePackageLists),
    /// Build a library from Rust sources in the sandbox, and install it.
    BuildLibrary(BuildLibrary),
    /// Enable services, and start them.
    EnableServices(EnableServices),
    /// Install NVIDIA's vGPU host driver.
    InstallDriver(InstallDriver),
    /// Keep a large file that came with the run.
    KeepFile(KeepFile),
    /// Pin the kernel that a Proxmox host starts.
    PinKernel(PinKernel),
    /// Set an option of a virtual machine of Proxmox.
    SetVmOption(SetVmOption),
    /// Put the token of a licence server into a running virtual machine.
    GiveGuestToken(GiveGuestToken),
    /// Make the certificate of a server of one's own, and the key pair that it signs with.
    CreateServerKeys(CreateServerKeys),
    /// Fetch an image of a container, by its digest.
    PullImage(PullImage),
    /// Write an image onto a whole medium. Cannot be taken back.
    WriteImage(WriteImage),
}
