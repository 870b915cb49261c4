// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright bench run`.

use super::show::table_of;
use crate::cli::errors::{Exit, Problem};
use crate::cli::look::Mark;
use crate::cli::session::Session;
use crate::cli::watch::Standing;
use crate::flows::bench::{Told, Workload};
use crate::measure::{self, Wish};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Measure, and keep the results
///
/// Goes through the chosen workloads (all of them without a name) round by round, so that what drifts drifts for all.
/// Nothing on this machine is changed: modules are loaded in throw-away guests, and files are removed again. Best on a
/// machine that does nothing else; how busy it was stands in the results.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// What to measure: modules, start, disk, memory, cpu, scheduler; all without it
    #[arg(value_name = "WORKLOAD")]
    workloads: Vec<Workload>,
    /// How often each figure is taken; 5 on each side are the least that a comparison needs
    #[arg(short, long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=200))]
    rounds: u32,
    /// For how long each figure is measured in one round, in milliseconds
    #[arg(short, long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    time: u64,
    /// What the results are called; without: the date and time
    #[arg(short, long, value_name = "NAME")]
    name: Option<String>,
    /// The disk that this folder is on is measured; without: the folder of caches
    #[arg(short, long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// How much of it, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(16..=65_536))]
    disk_size: u64,
    /// The kernel that guests boot: a release, `running`, an image or a build tree
    #[arg(short, long, value_name = "KERNEL")]
    kernel: Option<String>,
    /// Module sources: a folder, a checkout or a tar archive; without: the installed product's, else the practice modules
    #[arg(short, long, value_name = "FOLDER|TARBALL")]
    source: Option<PathBuf>,
    /// Also start this virtual machine of VMware's, by vmrun
    #[arg(long, value_name = "FILE")]
    vmx: Option<PathBuf>,
    /// Also write a page with charts
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Runs `bench run`.
pub(super) fn run(session: &mut Session, args: &Run) -> Result<Exit, Problem> {
    let wish = Wish {
        workloads: args.workloads.clone(),
        rounds: args.rounds,
        time: Duration::from_millis(args.time),
        name: args.name.clone(),
        directory: args.directory.clone(),
        disk_bytes: args.disk_size << 20,
        kernel: args.kernel.clone(),
        source: args.source.clone(),
        vmx: args.vmx.clone(),
    };
    let cancel = session.watch.cancel.clone();
    let voice = session.voice.clone();
    let rounds = args.rounds;
    session.watch.set(Standing::Planning { elsewhere: false });
    let measured = measure::run(&wish, &cancel, &mut |told| {
        if voice.json {
            return;
        }
        match told {
            Told::Prepares(workload) => {
                voice.say(&voice.look.dim(&format!("getting ready: {}\n", workload.id())));
            }
            Told::Runs { workload, round } => {
                voice.say(&voice.look.dim(&format!("round {round} of {rounds}: {}\n", workload.id())));
            }
            Told::LeftOut { what, why } => {
                voice.say(&voice.look.item(0, Mark::Unknown, &format!("{what}: not measured: {why}")));
            }
        }
    });
    session.watch.set(Standing::Idle);
    let (results, path) = measured?;
    if let Some(html) = &args.html {
        measure::write(html, measure::html(&results)?.as_bytes())?;
    }
    if session.json() {
        session.screen.document(&results)?;
        return Ok(Exit::Done);
    }
    let look = session.look();
    let name = &results.name;
    let mut text = table_of(look, &results);
    text.push_str(&look.wrap(
        &format!(
            "Kept as {name} ({}). Compare it after a change: hostwright bench compare {name} AFTER",
            path.display(),
        ),
        "",
        "",
    ));
    session.screen.print(&text);
    Ok(Exit::Done)
}
