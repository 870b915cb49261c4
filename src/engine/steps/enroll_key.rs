// SPDX-License-Identifier: GPL-3.0-or-later
//! Ask shim to trust a certificate: `mokutil --import`, finished by a person at the next boot.

use super::Action;
use super::preview::preview;
use crate::engine::context::{After, Applied, Before, Context};
use crate::engine::error::StepError;
use crate::engine::event::{Check, CheckOutcome, Level};
use crate::engine::mok_password;
use crate::engine::plan::Permission;
use crate::engine::report::{Reversal, StepPreview};
use crate::engine::signing::outside;
use crate::host::{Command, CommandError, Host};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Queue a certificate for the Machine Owner Key list. The one-time password comes with the run, never with the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrollKey {
    /// Certificate, DER.
    pub certificate: String,
}

/// Where the firmware's variables are.
const EFIVARS: &str = "/sys/firmware/efi/efivars";

/// What shim leaves behind for the system it has started (shim's MokVars.txt): one of them is always there.
const SHIM: [&str; 3] = [
    "MokListRT-605dab50-e046-4300-abb6-3dd810dd8b23",
    "SbatLevelRT-605dab50-e046-4300-abb6-3dd810dd8b23",
    "MokListTrustedRT-605dab50-e046-4300-abb6-3dd810dd8b23",
];

/// Where a certificate stands with the firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Standing {
    /// Unknown to it.
    Unknown,
    /// To be enrolled at the next boot.
    Pending,
    /// Enrolled.
    Enrolled,
}

/// What mokutil says to `--test-key`. Its exit status does not tell pending from enrolled.
fn parse_standing(said: &str) -> Option<Standing> {
    if said.contains("already in the enrollment request") {
        Some(Standing::Pending)
    } else if said.contains("is not enrolled") {
        Some(Standing::Unknown)
    } else if said.contains("already enrolled") || said.contains("already in kernel trusted keyring") {
        Some(Standing::Enrolled)
    } else {
        None
    }
}

fn mokutil(host: &Host, args: &[&str]) -> Result<String, StepError> {
    let command = Command::new("mokutil").args(args.iter().copied());
    let output = host.runner().run(&command).map_err(|e| match e {
        CommandError::Start { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            StepError::refused("the program mokutil is not there", "install the package `mokutil`")
        }
        other => other.into(),
    })?;
    Ok(format!("{}\n{}", output.stdout, output.stderr))
}

fn standing(host: &Host, certificate: &str) -> Result<Standing, StepError> {
    let path = outside(host.root(), certificate)?;
    let said = mokutil(host, &["--test-key", &path])?;
    parse_standing(&said.to_lowercase()).ok_or_else(|| {
        StepError::refused(
            format!("mokutil cannot say whether {certificate} is enrolled: {}", said.trim()),
            "look at `mokutil --sb-state`; on a machine without EFI no key can be enrolled",
        )
    })
}

/// How many keys wait to be enrolled. `--list-new` writes a head for each.
fn count_pending(said: &str) -> usize {
    said.lines().filter(|l| l.starts_with("[key ")).count()
}

/// Whether the firmware of the running machine knows a certificate, or will at the next boot.
pub(super) fn is_known(host: &Host, certificate: &str) -> bool {
    host.is_machine()
        && host.root().exists(EFIVARS)
        && host.root().exists(certificate)
        && matches!(standing(host, certificate), Ok(Standing::Pending | Standing::Enrolled))
}

impl EnrollKey {
    /// Only where a key can be enrolled at all.
    fn require_shim(host: &Host) -> Result<(), StepError> {
        let refused = |what: &str, remedy: &str| Err(StepError::refused(what, remedy));
        if !host.is_machine() {
            return refused(
                "keys are enrolled in the firmware of a running machine, and this is a directory",
                "leave the enrolment out here",
            );
        }
        if !host.root().exists(EFIVARS) {
            return refused(
                "this machine was not started by EFI, so that it has no list of keys",
                "leave the enrolment out: without Secure Boot the kernel loads modules without a trusted key",
            );
        }
        if !SHIM.iter().any(|v| host.root().exists(&format!("{EFIVARS}/{v}"))) {
            return refused(
                "this machine was not started by shim, which alone reads the list of machine owner keys",
                "sign with the key that the firmware trusts (with sbctl: the db key), or start the system by shim",
            );
        }
        Ok(())
    }
}

impl Action for EnrollKey {
    fn title(&self) -> String {
        format!("Ask for {} to be trusted at the next boot", self.certificate)
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [Permission::KeysEnroll].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::Partial {
            what: "a key that was confirmed at a boot meanwhile stays enrolled (remove it with `mokutil --delete`)"
                .to_owned(),
        }
    }

    fn weight(&self) -> u32 {
        2
    }

    fn preview(&self, _host: &Host) -> StepPreview {
        preview(self, &[Command::new("mokutil").args(["--import", &self.certificate])], Vec::new())
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        Self::require_shim(ctx.host())?;
        let standing = standing(ctx.host(), &self.certificate)?;
        if standing == Standing::Unknown {
            require_password(ctx)?;
        }
        Ok(Before { data: serde_json::json!({ "standing": standing }), ..Before::default() })
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        Self::require_shim(ctx.host())?;
        match standing(ctx.host(), &self.certificate)? {
            Standing::Unknown => {}
            Standing::Enrolled => return Ok(Applied { unchanged: true, ..Applied::default() }),
            Standing::Pending => {
                ctx.note(
                    "the key waits to be enrolled since an earlier time, with the password of then; to choose \
                     another, take that request back with `mokutil --revoke-import` and try again",
                );
                return Ok(Applied { unchanged: true, ..Applied::default() });
            }
        }
        let (password, warning) = require_password(ctx)?;
        if let Some(warning) = warning {
            ctx.say(Level::Warning, warning);
        }
        let path = outside(ctx.host().root(), &self.certificate)?;
        // mokutil asks twice; where its standard input is no terminal, it reads lines.
        let line = [password.as_slice(), b"\n"].concat();
        let command = Command::new("mokutil").args(["--import", &path]).stdin(line.repeat(2));
        ctx.command(&command)?;
        ctx.note(
            "at the next start of this machine a blue screen asks “Perform MOK management”: press a key, choose \
             “Enroll MOK”, “Continue”, “Yes”, type the password (US keyboard layout), and “Reboot”; when it is missed, \
             the request is gone: enrol again",
        );
        Ok(Applied::default())
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        let outcome = match standing(ctx.host(), &self.certificate) {
            Ok(Standing::Pending | Standing::Enrolled) => CheckOutcome::Good,
            Ok(Standing::Unknown) => CheckOutcome::Bad {
                reason: "mokutil did not keep the request; look at `mokutil --list-new` and try again"
                    .to_owned(),
            },
            Err(e) => CheckOutcome::CouldNotLook { reason: e.to_string() },
        };
        vec![Check {
            what: format!("{} is enrolled, or will be at the next boot", self.certificate),
            outcome,
        }]
    }

    fn undo(&self, ctx: &mut Context<'_>, before: &Before, _after: Option<&After>) -> Result<(), StepError> {
        let then = before.data.get("standing").cloned();
        let then: Option<Standing> = then.and_then(|s| serde_json::from_value(s).ok());
        if then != Some(Standing::Unknown) || !ctx.host().root().exists(&self.certificate) {
            return Ok(());
        }
        if standing(ctx.host(), &self.certificate)? != Standing::Pending {
            return Ok(());
        }
        // mokutil can only take back the whole request, with the keys that others asked for.
        if count_pending(&mokutil(ctx.host(), &["--list-new"])?) > 1 {
            ctx.note(
                "the request to enrol the key stays, for other keys wait in the same request; answer “Continue boot” \
                 on the blue screen, or take back all of them with `mokutil --revoke-import`",
            );
            return Ok(());
        }
        ctx.command(&Command::new("mokutil").arg("--revoke-import"))?;
        Ok(())
    }
}

/// The password of the run, and what to know about typing it.
fn require_password(ctx: &Context<'_>) -> Result<(Vec<u8>, Option<String>), StepError> {
    let Some(secret) = &ctx.inputs().mok_password else {
        return Err(StepError::refused(
            "enrolling a key needs a one-time password",
            "give one of 8 to 256 characters, and type the same at the next boot",
        ));
    };
    let warning = mok_password::check(secret.expose()).map_err(|e| {
        StepError::refused(format!("the key cannot be enrolled: {e}"), "try again with another")
    })?;
    Ok((secret.expose().to_vec(), warning))
}

#[cfg(test)]
#[path = "enroll_key_tests.rs"]
mod tests;
