// SPDX-License-Identifier: GPL-3.0-or-later
//! Somebody who can ask for a password on a terminal: polkit's own `pkttyagent` (pkttyagent(1)).
//!
//! On a desktop the session has an agent already. Over ssh or on a console nobody would ask, and the
//! answer would be *could not ask*; so the command line starts one beside itself, as systemctl does.
//!
//! This process is not started through [`host::Runner`](crate::host::Runner): it needs the terminal that
//! the runner takes away, and lives beside the call instead of inside one.

use std::fs::OpenOptions;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};

/// Why no agent could be started.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// `pkttyagent` is not there or cannot be started.
    #[error(
        "`pkttyagent` could not be started, so that nobody can ask for a password here: {0}. Install polkit's own tools (package `polkitd` or `polkit`), or run this as root"
    )]
    Start(#[from] std::io::Error),
    /// It ended without having registered with polkit.
    #[error("`pkttyagent` could not register with polkit, so that nobody can ask for a password here: {0}")]
    Register(String),
}

/// A running `pkttyagent`; ended when dropped.
#[derive(Debug)]
pub struct Agent {
    child: Child,
}

impl Agent {
    /// Starts an agent for this process, if one is needed: not for root, and not without a terminal.
    /// Returns when it has registered with polkit.
    ///
    /// # Errors
    /// See [`AgentError`]. A caller may go on without: a session's own agent may be there.
    pub fn start() -> Result<Option<Self>, AgentError> {
        let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").is_ok();
        if nix::unistd::geteuid().is_root() || !terminal {
            return Ok(None);
        }
        let mut child = command(std::process::id(), Path::new("/run/systemd/seats").exists()).spawn()?;
        // It closes the notification descriptor (here: its standard output) once it is registered, and
        // also when it fails; its end tells the two apart.
        if let Some(mut ready) = child.stdout.take() {
            let _ = ready.read_to_end(&mut Vec::new());
        }
        // A failure exits right after closing; success stays.
        for _ in 0..5 {
            if let Some(status) = child.try_wait()? {
                let mut said = String::new();
                if let Some(mut stderr) = child.stderr.take() {
                    let _ = stderr.read_to_string(&mut said);
                }
                let said = said.lines().last().unwrap_or("it said nothing").to_owned();
                return Err(AgentError::Register(format!("{status}: {said}")));
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Ok(Some(Self { child }))
    }
}

/// How the agent is started. With logind a session may have a graphical agent, which is preferred
/// (`--fallback`); without it a fallback agent is never asked.
fn command(pid: u32, logind: bool) -> std::process::Command {
    // setpriv(1) of util-linux: the agent must not outlive us and keep reading the terminal.
    let mut command = std::process::Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "pkttyagent", "--notify-fd", "1"]);
    command.args(["--process", &pid.to_string()]);
    if logind {
        command.arg("--fallback");
    }
    command.env_clear().env("PATH", crate::host::PATH);
    for name in ["LANG", "LANGUAGE", "LC_ALL", "LC_MESSAGES", "TERM"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // SIGTERM lets it give the terminal back its echo.
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
        }
        let _ = self.child.wait();
    }
}
