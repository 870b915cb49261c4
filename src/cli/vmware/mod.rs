// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright vmware`: VMware's kernel modules.

mod apply;
mod check_next;
mod clean;
mod dkms_build;
mod kernel_event;
mod logs;
mod offered;
pub(crate) mod options;
mod plan;
mod rebuild;
mod rehearse;
mod restore;
mod settings;
mod settings_store;
mod wayland;

use super::errors::{Exit, Problem};
use super::session::Session;
use clap::{Args, Subcommand};

/// VMware's kernel modules: plan, build, install, load, restore
#[derive(Debug, Args)]
pub(crate) struct Vmware {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Plan(plan::Plan),
    Apply(apply::Apply),
    Rebuild(rebuild::Rebuild),
    Rehearse(rehearse::Rehearse),
    CheckNext(check_next::CheckNext),
    Restore(restore::Restore),
    Clean(clean::Clean),
    Logs(logs::Logs),
    Wayland(wayland::Wayland),
    Settings(settings::Settings),
    KernelEvent(kernel_event::KernelEvent),
    DkmsBuild(dkms_build::DkmsBuild),
}

/// Runs `vmware`.
pub(crate) fn run(session: &mut Session, args: Vmware) -> Result<Exit, Problem> {
    match args.command {
        Command::Plan(args) => plan::run(session, &args),
        Command::Apply(args) => apply::run(session, &args),
        Command::Rebuild(args) => rebuild::run(session, &args),
        Command::Rehearse(args) => rehearse::run(session, &args),
        Command::CheckNext(args) => check_next::run(session, &args),
        Command::Restore(args) => restore::run(session, &args),
        Command::Clean(args) => clean::run(session, &args),
        Command::Logs(args) => logs::run(session, &args),
        Command::Wayland(args) => wayland::run(session, &args),
        Command::Settings(args) => settings::run(session, &args),
        Command::KernelEvent(args) => kernel_event::run(session, &args),
        Command::DkmsBuild(args) => dkms_build::run(session, &args),
    }
}
