// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright bench`: measures this machine as a host of virtual machines, and compares.

mod run;
mod show;

use super::errors::{Exit, Problem};
use super::session::Session;
use crate::flows::bench::store::{self, StoreError};
use crate::flows::bench::{BenchError, Results};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};

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

/// Where results are kept: with the caller's own data (XDG Base Directory Specification).
fn folder() -> Result<PathBuf, Problem> {
    let named = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let data = named("XDG_DATA_HOME").or_else(|| Some(named("HOME")?.join(".local/share")));
    data.map(|d| d.join("hostwright/bench")).ok_or_else(|| {
        Problem::usage("Neither HOME nor XDG_DATA_HOME says where results are kept.")
            .remedy("Set HOME to your home folder.")
    })
}

fn read(wanted: &str) -> Result<Results, Problem> {
    Ok(store::read(&folder()?, wanted)?)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    std::fs::write(path, bytes).map_err(|e| Problem::file("write", path, &e))
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let remedy = match &error {
            StoreError::Unknown { .. } => {
                "`hostwright bench list` shows what is kept; a file is named with its path."
            }
            StoreError::Exists(_) => "Give another --name.",
            StoreError::Document { .. } | StoreError::TooLarge { .. } => {
                "Name a file that `hostwright bench run` wrote."
            }
            StoreError::BadName(_) => "Give such a name, or the path of a file.",
            StoreError::File { .. } => "Look whether the folder is there and can be written to.",
        };
        let exit = match &error {
            StoreError::File { .. } => Exit::Failed,
            _ => Exit::Usage,
        };
        let reason = super::errors::sentence(&error.to_string());
        Self::new(exit, "results", "The results cannot be used", reason).remedy(remedy)
    }
}

impl From<BenchError> for Problem {
    fn from(error: BenchError) -> Self {
        match error {
            BenchError::Cancelled => Self::new(
                Exit::Cancelled,
                "cancelled",
                "Cancelled",
                "Nothing was kept, and nothing was changed.",
            ),
            BenchError::Nothing(why) => Self::new(
                Exit::Refused,
                "nothing-measured",
                "Nothing could be measured",
                super::errors::sentence(&why),
            )
            .remedy("`hostwright bench list` tells what each needs."),
        }
    }
}
