// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright lab`: virtual machines to build for and to test in.

mod boot;
mod build;
mod eject;
mod image;
mod machine;
mod matrix;
mod places;
mod report;
mod run;
mod running;
mod tell;
mod write;

use super::errors::{Exit, Problem};
use super::session::Session;
use clap::{Args, Subcommand};

/// Virtual machines to test in: build images, boot anything, see what happened
#[derive(Debug, Args)]
pub(crate) struct Lab {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Boot(Box<boot::Boot>),
    Build(Box<build::Build>),
    Run(Box<run::Run>),
    Eject(eject::Eject),
    List(running::List),
    Stop(running::Stop),
    Screenshot(running::Screenshot),
    Suspend(running::Suspend),
    Resume(running::Resume),
    Snapshot(running::Snapshot),
    Restore(running::Restore),
    Report(report::Report),
    Matrix(matrix::Matrix),
    Devices(write::Devices),
    Write(write::Write),
}

/// Runs `lab`.
pub(crate) fn run(session: &mut Session, args: Lab) -> Result<Exit, Problem> {
    match args.command {
        Command::Boot(args) => boot::run(session, &args),
        Command::Build(args) => build::run(session, &args),
        Command::Run(args) => run::run(session, &args),
        Command::Eject(args) => eject::run(session, &args),
        Command::List(_) => running::list(session),
        Command::Stop(args) => running::stop(session, &args),
        Command::Screenshot(args) => running::screenshot(session, &args),
        Command::Suspend(args) => running::suspend(session, &args),
        Command::Resume(args) => running::resume(session, &args),
        Command::Snapshot(args) => running::snapshot(session, &args),
        Command::Restore(args) => running::restore(session, &args),
        Command::Report(args) => report::run(session, &args),
        Command::Matrix(args) => matrix::run(session, &args),
        Command::Devices(args) => write::devices(session, &args),
        Command::Write(args) => write::run(session, &args),
    }
}
