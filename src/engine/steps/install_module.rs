// SPDX-License-Identifier: GPL-3.0-or-later
//! Put a built (and signed) module where the kernel finds it, archiving what is displaced.

use super::Action;
use super::preview::preview;
use crate::engine::context::{Applied, Before, Context};
use crate::engine::error::StepError;
use crate::engine::event::{Check, CheckOutcome};
use crate::engine::modinfo::{self, MODULE_LIMIT, Modinfo};
use crate::engine::plan::Permission;
use crate::engine::report::{FileChange, Reversal, StepPreview};
use crate::engine::{signing, space};
use crate::host::{FileState, Host, HostError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// How module files of a kernel are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// `.ko`
    None,
    /// `.ko.gz`
    Gzip,
    /// `.ko.xz` (CRC32 check, as the kernel's decompressor needs)
    Xz,
    /// `.ko.zst`
    Zstd,
}

/// What signs a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignWith {
    /// Private key, PEM.
    pub key: String,
    /// Certificate, DER or PEM.
    pub certificate: String,
    /// Hash, from the kernel's CONFIG_MODULE_SIG_HASH ("sha256").
    pub hash: String,
    /// The kernel's `scripts/sign-file` (or kmodsign) of this machine.
    pub sign_file: String,
}

/// Put a module that this run built into the module folder of a kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstallModule {
    /// Kernel release.
    pub kernel: String,
    /// Module name ("vmmon").
    pub module: String,
    /// Where it goes ("/lib/modules/K/updates/dkms/vmmon.ko.xz").
    pub to: String,
    /// How it is compressed there.
    pub compression: Compression,
    /// What signs it, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign: Option<SignWith>,
}

/// What a module file may have become by signing and compressing, for the space that is needed, in bytes.
const SPACE: u64 = 16 << 20;

/// Mode of module files.
const MODE: u32 = 0o644;

impl Compression {
    /// The end of a file's name.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::None => ".ko",
            Self::Gzip => ".ko.gz",
            Self::Xz => ".ko.xz",
            Self::Zstd => ".ko.zst",
        }
    }
}

impl InstallModule {
    /// Only into the module folder of its kernel, under its own name.
    fn require_place(&self) -> Result<(), StepError> {
        let name = format!("{}{}", self.module, self.compression.suffix());
        let below = ["/lib/modules", "/usr/lib/modules"]
            .iter()
            .any(|dir| self.to.starts_with(&format!("{dir}/{}/", self.kernel)));
        if below && self.to.rsplit('/').next() == Some(name.as_str()) {
            return Ok(());
        }
        Err(StepError::refused(
            format!("{} is no place for {} of {}", self.to, self.module, self.kernel),
            "make the plan again; if it still says so, report it",
        ))
    }

    /// The finished file: signed and compressed.
    fn finish(&self, ctx: &Context<'_>) -> Result<Vec<u8>, StepError> {
        let root = ctx.host().root();
        let Some(path) = ctx.artifact(&self.kernel, &self.module) else {
            return Err(StepError::refused(
                format!("{} was not built for {} in this run", self.module, self.kernel),
                "make the plan again; if it still says so, report it",
            ));
        };
        let mut bytes = root.read_at_most(path, MODULE_LIMIT)?;
        if let Some(with) = &self.sign {
            bytes = signing::sign(ctx, with, &self.module, &bytes)?;
        }
        modinfo::compress(&bytes, self.compression)
            .map_err(|source| HostError { path: self.to.clone(), what: "could not compress", source }.into())
    }

    fn is_installed(&self, ctx: &Context<'_>, bytes: &[u8]) -> Result<bool, StepError> {
        let me = nix::unistd::geteuid().as_raw();
        Ok(matches!(ctx.host().root().state(&self.to)?, FileState::File { sha256, mode, uid, .. }
            if mode == MODE && uid == me && sha256 == hex::encode(Sha256::digest(bytes))))
    }

    /// Reads the installed file back as the kernel's tools would.
    fn look(&self, ctx: &Context<'_>) -> Result<(), CheckOutcome> {
        let could_not = |reason: String| CheckOutcome::CouldNotLook { reason };
        let bad =
            |reason: String| CheckOutcome::Bad { reason: format!("{reason}; look at it, and try again") };
        let root = ctx.host().root();
        let packed = root.read_at_most(&self.to, MODULE_LIMIT).map_err(|e| could_not(e.to_string()))?;
        if modinfo::compression_of(&packed) != self.compression {
            return Err(bad("it is not compressed as its name says".to_owned()));
        }
        let bytes = modinfo::decompress(&packed).map_err(|e| bad(e.to_string()))?;
        let info = Modinfo::of_module(&bytes).map_err(|e| bad(e.to_string()))?;
        let (name, vermagic) = (info.get("name").unwrap_or(""), info.get("vermagic").unwrap_or(""));
        if !modinfo::same_name(name, &self.module) {
            return Err(bad(format!("it calls itself `{name}`")));
        }
        if vermagic.split(' ').next() != Some(self.kernel.as_str()) {
            return Err(bad(format!("it is for another kernel: vermagic `{}`", vermagic.trim_end())));
        }
        let signature = modinfo::take_signature(&bytes).map_err(|e| bad(e.to_string()))?;
        let unsigned = signature.as_ref().map_or(bytes.as_ref(), |s| s.module);
        if let Some(path) = ctx.artifact(&self.kernel, &self.module) {
            let built = root.read_at_most(path, MODULE_LIMIT).map_err(|e| could_not(e.to_string()))?;
            if built != unsigned {
                return Err(bad("it is not the module that was built".to_owned()));
            }
        }
        match (&self.sign, &signature) {
            (Some(with), Some(_)) => signing::verify(ctx, with, &self.module, &bytes)
                .map_err(|why| bad(format!("its signature does not hold: {why}"))),
            (Some(_), None) => Err(bad("it is not signed".to_owned())),
            (None, Some(_)) => Err(bad("it is signed, and should not be".to_owned())),
            (None, None) => Ok(()),
        }
    }
}

impl Action for InstallModule {
    fn title(&self) -> String {
        format!("Install {} for {}", self.module, self.kernel)
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [Permission::ModulesInstall].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::Full
    }

    fn weight(&self) -> u32 {
        5
    }

    fn preview(&self, host: &Host) -> StepPreview {
        let mut diff = match host.root().state(&self.to) {
            Ok(FileState::Absent) => "new file".to_owned(),
            Ok(FileState::File { size, .. }) => {
                format!("replaces a file of {size} bytes, which is kept for undo")
            }
            Ok(FileState::Symlink { target, .. }) => {
                format!("replaces a link to {target}, which is kept for undo")
            }
            Ok(_) => "no file: this will be refused".to_owned(),
            Err(e) => format!("it cannot be looked at: {e}"),
        };
        diff.push_str(if self.sign.is_some() { ", signed" } else { ", not signed" });
        let commands: Vec<_> = self.sign.iter().map(|with| signing::shown(with, &self.module)).collect();
        preview(self, &commands, vec![FileChange { path: self.to.clone(), diff }])
    }

    fn space(&self, host: &Host) -> Vec<(String, u64)> {
        space::for_replacing(host, &self.to, SPACE)
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        self.require_place()?;
        ctx.remember(&[&self.to])
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        let bytes = self.finish(ctx)?;
        // The same module signed by the same key is the same file (RSA with PKCS#1 v1.5 padding).
        if self.is_installed(ctx, &bytes)? {
            return Ok(Applied { unchanged: true, ..Applied::default() });
        }
        ctx.write(&self.to, &bytes, MODE)?;
        Ok(Applied::default())
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        let signed = if self.sign.is_some() { "signed and " } else { "" };
        vec![Check {
            what: format!("{} is {signed}in place for {}", self.to, self.kernel),
            outcome: self.look(ctx).err().unwrap_or(CheckOutcome::Good),
        }]
    }
}

#[cfg(test)]
#[path = "install_module_tests.rs"]
mod tests;
