// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright vgpu`: NVIDIA vGPU on Proxmox VE.

mod branches;
mod check;
mod download;
mod drivers;
mod gpus;
mod look;
mod plan;

use super::errors::{Exit, Problem};
use super::session::Session;
use clap::{Args, Subcommand};

/// NVIDIA vGPU on Proxmox VE: which card, which branch, which kernel
///
/// Nothing is installed yet: these subcommands look, decide, tell, and fetch the driver's file.
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
    }
}

#[cfg(test)]
mod tests;
