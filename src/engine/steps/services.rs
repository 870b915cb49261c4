// SPDX-License-Identifier: GPL-3.0-or-later
//! Services of the running machine: systemd units, or init scripts where systemd does not run.

use super::running_kernel::require_machine;
use crate::engine::context::Context;
use crate::engine::error::StepError;
use crate::engine::event::{Check, CheckOutcome};
use crate::host::{Command, Host};
use serde::{Deserialize, Serialize};

/// Who manages services on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    Systemd,
    InitScripts,
}

fn manager(host: &Host) -> Manager {
    // sd_booted(3)
    if host.root().exists("/run/systemd/system") { Manager::Systemd } else { Manager::InitScripts }
}

/// What is asked of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Start,
    Stop,
    Restart,
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }
}

/// What steps about services keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    /// Those that were active before the run.
    pub active_services: Vec<String>,
}

/// The init script of a unit: "vmware" for "vmware.service".
fn script(unit: &str) -> String {
    format!("/etc/init.d/{}", unit.strip_suffix(".service").unwrap_or(unit))
}

/// Refuses names that are none of a service, for they become arguments and paths.
///
/// # Errors
/// When one is not.
pub(super) fn require_names(units: &[String]) -> Result<(), StepError> {
    let plain = |u: &String| {
        !u.is_empty()
            && !u.starts_with(['-', '.'])
            && u.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.@:\\".contains(&b))
    };
    match units.iter().find(|u| !plain(u)) {
        None => Ok(()),
        Some(name) => Err(StepError::refused(
            format!("`{}` is no name of a service", name.escape_debug()),
            "make the plan again; if it still says so, report it",
        )),
    }
}

/// The command that asks this of a service. Pure but for the look at who manages services.
pub(super) fn command(host: &Host, verb: Verb, unit: &str) -> Command {
    match manager(host) {
        Manager::Systemd => Command::new("systemctl").args([verb.word(), unit]),
        Manager::InitScripts => Command::new(script(unit)).arg(verb.word()),
    }
}

/// Whether a service is there and active.
///
/// # Errors
/// When it cannot be asked.
pub(super) fn is_active(host: &Host, unit: &str) -> Result<bool, StepError> {
    let ask = match manager(host) {
        Manager::Systemd => Command::new("systemctl").args(["is-active", "--quiet", unit]),
        Manager::InitScripts if !host.root().exists(&script(unit)) => return Ok(false),
        Manager::InitScripts => Command::new(script(unit)).arg("status"),
    };
    // Any status but 0 means that it is not there or not active (systemctl(1), LSB init scripts).
    Ok(host.runner().run(&ask)?.success())
}

/// Those that are active now, in the order given.
///
/// # Errors
/// When this is no running machine, or they cannot be asked.
pub(super) fn active(host: &Host, units: &[String]) -> Result<Vec<String>, StepError> {
    require_machine(host)?;
    require_names(units)?;
    let mut active = Vec::new();
    for unit in units {
        if is_active(host, unit)? {
            active.push(unit.clone());
        }
    }
    Ok(active)
}

/// Asks this of a service.
///
/// # Errors
/// When its command fails.
pub(super) fn ask(ctx: &Context<'_>, verb: Verb, unit: &str) -> Result<(), StepError> {
    ctx.tool(command(ctx.host(), verb, unit)).map(|_| ())
}

/// Starts those of `units` that are not active.
///
/// # Errors
/// When one does not start.
pub(super) fn start(ctx: &Context<'_>, units: &[String]) -> Result<(), StepError> {
    for unit in units {
        if !is_active(ctx.host(), unit)? {
            ask(ctx, Verb::Start, unit)?;
        }
    }
    Ok(())
}

/// Whether each service is (or is not) active, as checks.
pub(super) fn checks(host: &Host, units: &[String], wanted: bool) -> Vec<Check> {
    let check = |unit: &String| {
        let outcome = match is_active(host, unit) {
            Ok(is) if is == wanted => CheckOutcome::Good,
            Ok(_) => CheckOutcome::Bad { reason: "look at its log and start or stop it by hand".into() },
            Err(e) => CheckOutcome::CouldNotLook { reason: e.to_string() },
        };
        Check { what: format!("{unit} {}", if wanted { "is active" } else { "is stopped" }), outcome }
    };
    units.iter().map(check).collect()
}
