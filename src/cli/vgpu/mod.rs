// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright vgpu`: NVIDIA vGPU on Proxmox VE.

mod apply;
mod branches;
mod check;
mod download;
mod drivers;
mod gpus;
mod licence;
mod look;
mod plan;
mod status;
mod unlock_source;

use super::errors::{Exit, Problem};
use super::session::Session;
use clap::{Args, Subcommand};

/// NVIDIA vGPU on Proxmox VE: look, decide, fetch the driver, set up, verify, take back
#[derive(Debug, Args)]
pub(crate) struct Vgpu {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Check),
    Branches(branches::Branches),
    Plan(plan::Plan),
    Gpus(gpus::Gpus),
    Drivers(drivers::Drivers),
    Download(download::Download),
    GuestDriver(download::GuestDriver),
    Apply(apply::Apply),
    Continue(apply::Continue),
    Passthrough(apply::Passthrough),
    Assign(apply::Assign),
    Overrides(apply::Overrides),
    Token(licence::Token),
    LicenceServer(licence::Server),
    Upgrade(apply::Upgrade),
    Remove(apply::Remove),
    Status(status::Status),
    Verify(status::Verify),
    Ready(status::Ready),
}

/// Runs `vgpu`.
pub(crate) fn run(session: &mut Session, args: Vgpu) -> Result<Exit, Problem> {
    match args.command {
        Command::Check(args) => check::run(session, &args),
        Command::Branches(args) => branches::run(session, &args),
        Command::Plan(args) => plan::run(session, &args),
        Command::Gpus(args) => gpus::run(session, &args),
        Command::Drivers(args) => drivers::run(session, &args),
        Command::Download(args) => download::run(session, &args),
        Command::GuestDriver(args) => download::guest(session, &args),
        Command::Apply(args) => apply::apply(session, &args),
        Command::Continue(args) => apply::go_on(session, &args),
        Command::Overrides(args) => apply::overrides(session, &args),
        Command::Token(args) => licence::give(session, &args),
        Command::LicenceServer(args) => licence::server(session, &args),
        Command::Assign(args) => apply::assign(session, &args),
        Command::Passthrough(args) => apply::passthrough(session, &args),
        Command::Upgrade(args) => apply::upgrade(session, &args),
        Command::Remove(args) => apply::remove(session, &args),
        Command::Status(args) => status::status(session, &args),
        Command::Verify(args) => status::verify(session, &args),
        Command::Ready(args) => status::ready(session, &args),
    }
}

#[cfg(test)]
mod tests;
