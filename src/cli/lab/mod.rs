// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright lab`: virtual machines to build for and to test in.

mod boot;
mod build;
mod eject;
mod image;
mod matrix;
mod report;
mod run;
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
    Boot(boot::Boot),
    Build(Box<build::Build>),
    Run(run::Run),
    Eject(eject::Eject),
    Write(write::Write),
    Report(report::Report),
    Matrix(matrix::Matrix),
}

/// Runs `lab`.
pub(crate) fn run(session: &mut Session, args: Lab) -> Result<Exit, Problem> {
    match args.command {
        Command::Boot(args) => boot::run(session, &args),
        Command::Build(args) => build::run(session, &args),
        Command::Run(args) => run::run(session, &args),
        Command::Eject(args) => eject::run(session, &args),
        Command::Write(args) => write::run(session, &args),
        Command::Report(args) => report::run(session, &args),
        Command::Matrix(args) => matrix::run(session, &args),
    }
}
