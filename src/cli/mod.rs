// SPDX-License-Identifier: GPL-3.0-or-later
//! The command line: asks the library, shows what it says. One file per subcommand.
//!
//! ```text
//!   args ─► subcommand ─► Session { screen, voice, watch } ─► Machine: scratch root (here) or helper (bus)
//!                │                                                │
//!                ▼                                                ▼
//!          preview, look (pure text)                     progress (events as they come)
//! ```

mod apply;
mod apply_profile;
mod args;
mod bench;
mod completions;
mod confirm;
mod detect;
mod doctor;
mod errors;
mod export;
mod helper;
mod lab;
mod log;
mod look;
mod machine;
mod man;
mod plan;
mod preview;
mod profile;
mod progress;
mod remote;
mod runs;
mod screen;
mod session;
mod status;
mod tuning;
mod undo;
mod vgpu;
mod vmware;
mod watch;
mod work;

use args::{Cli, Command};
use clap::{CommandFactory, Parser};
use errors::{Exit, Problem};
use session::Session;
use std::process::ExitCode;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    log_to_stderr(cli.global.verbose);
    let mut session = match Session::new(&cli.global) {
        Ok(session) => session,
        Err(problem) => {
            // Without a session there is no look either: plain words are enough.
            let look = look::Look { width: 80, colour: false, unicode: false };
            progress::voice(cli.global.json, look, false).problem(&problem);
            return problem.exit.into();
        }
    };
    let result = run(&mut session, cli.command).and_then(|exit| session.screen.finish(exit));
    match result {
        Ok(exit) => exit.into(),
        Err(mut problem) => {
            problem.reason = session.named(&problem.reason);
            problem.remedy = problem.remedy.map(|r| session.named(&r));
            session.voice.problem(&problem);
            problem.exit.into()
        }
    }
}

/// The whole command line as data, for completions, manual pages and tests.
pub fn command() -> clap::Command {
    Cli::command()
}

fn run(session: &mut Session, command: Command) -> Result<Exit, Problem> {
    let here_only = matches!(
        command,
        Command::Lab(_)
            | Command::Vgpu(_)
            | Command::Bench(_)
            | Command::Export(_)
            | Command::Profile(_)
            | Command::Doctor(_)
            | Command::Completions(_)
            | Command::Man(_)
    );
    if here_only && session.place().is_some() {
        // Its error says why.
        session.host()?;
    }
    match command {
        Command::Detect(args) => detect::run(session, &args),
        Command::Status(args) => status::run(session, &args),
        Command::Vmware(args) => vmware::run(session, args),
        Command::Tuning(args) => tuning::run(session, &args),
        Command::Bench(args) => bench::run(session, &args),
        Command::Lab(args) => lab::run(session, args),
        Command::Vgpu(args) => vgpu::run(session, args),
        Command::Plan(args) => plan::run(session, &args),
        Command::Apply(args) => apply::run(session, &args),
        Command::Undo(args) => undo::run(session, &args),
        Command::Runs(args) => runs::run(session, &args),
        Command::Log(args) => log::run(session, &args),
        Command::Export(args) => export::run(session, &args),
        Command::Profile(args) => profile::run(session, args),
        Command::Doctor(args) => doctor::run(session, &args),
        Command::Completions(args) => completions::run(session, &args),
        Command::Man(args) => man::run(session, &args),
    }
}

/// Wrong usage, `--help` and `--version`.
fn usage(error: &clap::Error) -> ExitCode {
    let wrong = error.use_stderr();
    let json = std::env::args_os().any(|a| a == "--json");
    if wrong && json {
        let text = error.render().to_string();
        let text = text.trim().trim_start_matches("error: ");
        let problem = Problem::usage(text.split("\n\n").next().unwrap_or(text));
        let look = look::Look { width: 80, colour: false, unicode: false };
        progress::voice(true, look, false).problem(&problem);
    } else {
        // A closed pipe is nobody's mistake.
        let _ = error.print();
    }
    if wrong { Exit::Usage.into() } else { Exit::Done.into() }
}

/// What Hostwright itself says about its work: `-vv`, or `HOSTWRIGHT_LOG` (a tracing filter).
fn log_to_stderr(verbose: u8) {
    let wanted = match verbose {
        0 | 1 => "off",
        2 => "hostwright=debug",
        _ => "hostwright=trace",
    };
    let filter = std::env::var("HOSTWRIGHT_LOG").unwrap_or_else(|_| wanted.to_owned());
    let Ok(filter) = tracing_subscriber::EnvFilter::try_new(filter) else { return };
    // A second subscriber (in tests) is not an error of ours.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .try_init();
}
