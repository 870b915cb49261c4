// SPDX-License-Identifier: GPL-3.0-or-later
//! Put the token of a licence server into a running virtual machine, through its guest agent.

use super::{Action, preview::preview};
use crate::detect::proxmox::{GuestError, GuestOs, GuestOutput, TOKEN_MODE as MODE, ask, exec, powershell};
use crate::engine::context::{After, Applied, Before, Context};
use crate::engine::error::StepError;
use crate::engine::event::{Check, CheckOutcome};
use crate::engine::plan::Permission;
use crate::engine::report::{FileChange, Reversal, StepPreview};
use crate::host::{Command, Host};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// Put a client configuration token where NVIDIA's driver in a running virtual machine looks for it, and restart the
/// service that reads it. The token's bytes come with the run, by their SHA-256, and go through standard input. Undo
/// puts back what was there; a token that somebody changed since stays, and so does one in a machine that is off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GiveGuestToken {
    /// Number of the virtual machine.
    pub vm: u32,
    /// The kind of system inside.
    pub os: GuestOs,
    /// Name of the token's file.
    pub name: String,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// Whether the service that fetches the licence is there, and is restarted.
    pub restart: bool,
}

/// Tokens are a few kilobytes; an agent takes a megabyte.
const TOKEN_LIMIT: usize = 64 << 10;

/// What there was: nothing, or the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct There {
    /// Its bytes, hexadecimal.
    bytes: String,
    /// Its permission bits, octal; empty on Windows.
    mode: String,
}

/// What is remembered for undo.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    /// The file as it was.
    file: Option<There>,
    /// Folders that were not there, the innermost first.
    folders: Vec<String>,
}

/// Whether a name is one of a token and nothing else: it becomes part of paths and scripts inside the guest.
pub(crate) fn is_token_name(name: &str) -> bool {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    plain && name.len() > 4 && name.len() <= 128 && name.ends_with(".tok") && !name.starts_with(['.', '-'])
}

fn refused(vm: u32, e: &GuestError) -> StepError {
    StepError::refused(
        format!("the guest agent of the virtual machine {vm} did not do its work: {e}"),
        "look whether the machine runs and `qm agent VM ping` succeeds, then try again",
    )
}

impl GiveGuestToken {
    fn path(&self) -> String {
        let between = if self.os == GuestOs::Windows { '\\' } else { '/' };
        format!("{}{between}{}", self.os.token_folder(), self.name)
    }

    fn ask(&self, host: &Host, argv: &[&str]) -> Result<GuestOutput, StepError> {
        ask(host, exec(self.vm, argv, None)).map_err(|e| refused(self.vm, &e))
    }

    /// Runs a command that must succeed. What it is given and prints may be the token, and goes into no log.
    fn must(&self, host: &Host, command: Command) -> Result<String, StepError> {
        let shown = command.display();
        let output = ask(host, command).map_err(|e| refused(self.vm, &e))?;
        if output.code == 0 {
            return Ok(output.out);
        }
        let said = output.err.lines().last().unwrap_or("it said nothing").to_owned();
        let how = match self.os {
            GuestOs::Linux => {
                "look at the folder inside the guest (SELinux may forbid its agent to write there)"
            }
            GuestOs::Windows => "look at the folder inside the guest",
        };
        Err(StepError::refused(format!("`{shown}` failed inside with {}: {said}", output.code), how))
    }

    fn now(&self, host: &Host) -> Result<Option<There>, StepError> {
        let path = self.path();
        let (mode, printed) = match self.os {
            GuestOs::Linux => {
                let stat = self.ask(host, &["stat", "--format=%a %F", "--", &path])?;
                if stat.code != 0 {
                    return Ok(None);
                }
                let (mode, kind) = stat.out.trim().split_once(' ').unwrap_or_default();
                if !kind.starts_with("regular") {
                    return Err(StepError::refused(
                        format!("{path} in the virtual machine {} is a {kind}", self.vm),
                        "look at it and move it away",
                    ));
                }
                let od = exec(self.vm, &["od", "-An", "-v", "-tx1", "--", &path], None);
                (mode.to_owned(), self.must(host, od)?)
            }
            GuestOs::Windows => {
                let script = format!(
                    "if (Test-Path -LiteralPath '{path}') {{ 'there ' + [BitConverter]::ToString([IO.File]::ReadAllBytes('{path}')) }}"
                );
                let out = self.must(host, exec(self.vm, &powershell(&script), None))?;
                match out.trim().strip_prefix("there") {
                    Some(hex) => (String::new(), hex.to_owned()),
                    None => return Ok(None),
                }
            }
        };
        let bytes: String = printed.chars().filter(char::is_ascii_hexdigit).collect();
        Ok(Some(There { bytes: bytes.to_ascii_lowercase(), mode }))
    }

    fn is_ours(&self, there: &There) -> bool {
        hex::decode(&there.bytes).is_ok_and(|b| hex::encode(Sha256::digest(b)) == self.sha256)
    }

    /// The folders that are missing, the innermost first. On Windows the driver's installer makes them.
    fn missing_folders(&self, host: &Host) -> Result<Vec<String>, StepError> {
        let mut missing = Vec::new();
        if self.os == GuestOs::Linux {
            for folder in [self.os.token_folder(), "/etc/nvidia"] {
                if self.ask(host, &["test", "-d", folder])?.code != 0 {
                    missing.push(folder.to_owned());
                }
            }
        }
        Ok(missing)
    }

    /// The commands that put a file there. First beside it, so that what is there is whole at any time.
    fn put(&self, bytes: &[u8], mode: &str) -> Vec<Command> {
        let path = self.path();
        match self.os {
            GuestOs::Linux => {
                let part = format!("{path}.part");
                vec![
                    exec(self.vm, &["mkdir", "-p", "--", self.os.token_folder()], None),
                    exec(self.vm, &["install", "-m", mode, "-T", "--", "/dev/stdin", &part], Some(bytes)),
                    exec(self.vm, &["mv", "-f", "-T", "--", &part, &path], None),
                ]
            }
            GuestOs::Windows => {
                let script = format!(
                    "$ErrorActionPreference = 'Stop'; $h = [Console]::In.ReadToEnd().Trim(); $b = New-Object byte[] ($h.Length / 2); \
                     for ($i = 0; $i -lt $b.Length; $i++) {{ $b[$i] = [Convert]::ToByte($h.Substring(2 * $i, 2), 16) }}; \
                     New-Item -ItemType Directory -Force -Path '{}' | Out-Null; [IO.File]::WriteAllBytes('{path}.part', $b); \
                     Move-Item -Force -LiteralPath '{path}.part' -Destination '{path}'",
                    self.os.token_folder()
                );
                vec![exec(self.vm, &powershell(&script), Some(hex::encode(bytes).as_bytes()))]
            }
        }
    }

    fn remove(&self, path: &str) -> Command {
        match self.os {
            GuestOs::Linux => exec(self.vm, &["rm", "-f", "--", path], None),
            GuestOs::Windows => {
                let script =
                    format!("Remove-Item -Force -LiteralPath '{path}' -ErrorAction SilentlyContinue");
                exec(self.vm, &powershell(&script), None)
            }
        }
    }

    fn restart_service(&self) -> Option<Command> {
        let unit = self.os.licence_service();
        self.restart.then(|| match self.os {
            GuestOs::Linux => exec(self.vm, &["systemctl", "restart", unit], None),
            GuestOs::Windows => {
                exec(self.vm, &powershell(&format!("Restart-Service -Force -Name '{unit}'")), None)
            }
        })
    }
}

impl Action for GiveGuestToken {
    fn title(&self) -> String {
        format!("Put the licence token {} into the virtual machine {}", self.name, self.vm)
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [Permission::VgpuInstall].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::Full
    }

    fn weight(&self) -> u32 {
        10
    }

    fn preview(&self, _host: &Host) -> StepPreview {
        let mut commands = self.put(b"", MODE);
        commands.extend(self.restart_service());
        let diff = format!(
            "in the virtual machine {}: the token with SHA-256 {}, mode 0{MODE}",
            self.vm, self.sha256
        );
        preview(self, &commands, vec![FileChange { path: self.path(), diff }])
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        if !is_token_name(&self.name) {
            return Err(StepError::refused(
                format!("`{}` is no name of a token", self.name.escape_debug()),
                "give the file under its own name, which ends in .tok",
            ));
        }
        let kept = Kept { file: self.now(ctx.host())?, folders: self.missing_folders(ctx.host())? };
        Ok(Before { data: serde_json::to_value(kept).unwrap_or_default(), ..Before::default() })
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        let host = ctx.host();
        let whole = |there: There| self.is_ours(&there) && (there.mode.is_empty() || there.mode == MODE);
        if self.now(host)?.is_some_and(whole) {
            return Ok(Applied { unchanged: true, ..Applied::default() });
        }
        let Some(bytes) = ctx.inputs().sealed.get(&self.sha256) else {
            return Err(StepError::refused("the token did not come with this run", "give its file again"));
        };
        if bytes.len() > TOKEN_LIMIT {
            return Err(StepError::refused(
                "this is far too large for a token",
                "give the file from the licence server",
            ));
        }
        for command in self.put(bytes, MODE) {
            ctx.stop_if_cancelled()?;
            self.must(host, command)?;
        }
        if let Some(command) = self.restart_service() {
            self.must(host, command)?;
        }
        Ok(Applied::default())
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        let outcome = match self.now(ctx.host()) {
            Ok(Some(there)) if self.is_ours(&there) => CheckOutcome::Good,
            Ok(Some(_)) => CheckOutcome::Bad { reason: "it holds something else; try again".to_owned() },
            Ok(None) => CheckOutcome::Bad { reason: "it is not there; try again".to_owned() },
            Err(e) => CheckOutcome::CouldNotLook { reason: e.to_string() },
        };
        vec![Check {
            what: format!("{} in the virtual machine {} is the token", self.path(), self.vm),
            outcome,
        }]
    }

    fn undo(&self, ctx: &mut Context<'_>, before: &Before, _: Option<&After>) -> Result<(), StepError> {
        let kept: Kept = serde_json::from_value(before.data.clone()).unwrap_or_default();
        let host = ctx.host();
        // The virtual machine may be gone, and all that was in it.
        if !host.root().exists(&format!("/etc/pve/qemu-server/{}.conf", self.vm)) {
            return Ok(());
        }
        let now = match self.now(host) {
            Ok(now) => now,
            // Taking back a driver wants the machines off: what is inside must not stand in its way.
            Err(e) => {
                ctx.note(format!("{} stays in the virtual machine {}: {e}", self.path(), self.vm));
                return Ok(());
            }
        };
        let ours = now.as_ref().is_some_and(|there| self.is_ours(there));
        if !ours && now != kept.file {
            ctx.note(format!(
                "{} in the virtual machine {} was changed since, and stays so",
                self.path(),
                self.vm
            ));
            return Ok(());
        }
        self.must(host, self.remove(&format!("{}.part", self.path())))?;
        if now != kept.file {
            match &kept.file {
                Some(was) => {
                    let bytes = hex::decode(&was.bytes).map_err(|e| {
                        StepError::refused(
                            format!("what was remembered of the token cannot be read: {e}"),
                            "report it",
                        )
                    })?;
                    for command in self.put(&bytes, &was.mode) {
                        self.must(host, command)?;
                    }
                }
                None => self.must(host, self.remove(&self.path())).map(|_| ())?,
            }
            if let Some(command) = self.restart_service() {
                self.must(host, command)?;
            }
        }
        for folder in &kept.folders {
            // Something else may be in it by now.
            self.ask(host, &["rmdir", "--ignore-fail-on-non-empty", "--", folder])?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "give_guest_token_tests.rs"]
mod tests;
