// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright bench`: measures this machine as a host of virtual machines, and compares.

mod run;
mod show;

use super::errors::{Exit, Problem};
use super::session::Session;
use clap::{Args, Subcommand};

/// Measure this machine, and compare before with after a change
#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<run::Run>),
    Compare(show::Compare),
    Show(show::Show),
    /// List what can be measured, and the results that are kept
    List,
}

/// Runs `bench`.
pub(crate) fn run(session: &mut Session, args: &Bench) -> Result<Exit, Problem> {
    if session.root().is_some() {
        return Err(Problem::usage("A directory tree cannot be measured; only a machine can.")
            .remedy("Leave out --root."));
    }
    match &args.command {
        Command::Run(args) => run::run(session, args),
        Command::Compare(args) => show::compare(session, args),
        Command::Show(args) => show::show(session, args),
        Command::List => show::list(session),
    }
}
