// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright completions`: completions for a shell.

use super::errors::{Exit, Problem};
use super::session::Session;
use clap::Args;
use clap_complete::Shell;

/// Write completions for a shell to standard output
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs `completions`.
pub(crate) fn run(session: &mut Session, args: &Completions) -> Result<Exit, Problem> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "hostwright", &mut text);
    session.screen.write(&text);
    Ok(Exit::Done)
}
