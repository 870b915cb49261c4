// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright bench run`.

use super::show::table_of;
use super::{folder, write};
use crate::cli::errors::{Exit, Problem};
use crate::cli::look::Mark;
use crate::cli::session::Session;
use crate::cli::vmware::options::{KernelArg, ModeArg, Options};
use crate::cli::watch::Standing;
use crate::engine::Inputs;
use crate::engine::event::Event;
use crate::engine::steps::Mode;
use crate::flows::bench::{Setup, Told, Trial, Workload, chart, report, run as measure, store};
use crate::flows::{self, lab::find, vmware};
use crate::host::{Host, own_cache};
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
    let kept = folder()?;
    let name = match &args.name {
        Some(name) if !store::is_name(name) => return Err(store::StoreError::BadName(name.clone()).into()),
        Some(name) if store::names(&kept)?.contains(name) => {
            return Err(store::StoreError::Exists(name.clone()).into());
        }
        Some(name) => name.clone(),
        None => jiff::Zoned::now().strftime("%Y-%m-%d-%H%M%S").to_string(),
    };
    let host = Host::machine()?;
    let cache = own_cache().map(|c| c.join("hostwright/lab")).ok_or_else(|| {
        Problem::usage("There is no folder for caches.").remedy("Set HOME or XDG_CACHE_HOME.")
    })?;
    std::fs::create_dir_all(&cache).map_err(|e| Problem::file("make", &cache, &e))?;
    let disk = args.directory.clone().unwrap_or_else(|| cache.clone());
    let scratch = tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(&cache)
        .map_err(|e| Problem::file("make a folder in", &cache, &e))?;
    let mut workloads = args.workloads.clone();
    if workloads.is_empty() {
        workloads = Workload::ALL.to_vec();
    }
    workloads.sort();
    workloads.dedup();
    session.watch.set(Standing::Planning { elsewhere: false });
    let cancel = session.watch.cancel.clone();
    let kernel = kernel(args);
    let modules = if workloads.contains(&Workload::Modules) {
        trials(session, &host, args)
    } else {
        Err("not asked for".to_owned())
    };
    let setup = Setup {
        host: &host,
        workloads,
        rounds: args.rounds as usize,
        time: Duration::from_millis(args.time),
        disk,
        disk_bytes: args.disk_size << 20,
        scratch: scratch.path().to_owned(),
        cache: cache.clone(),
        kernel,
        modules,
        vmx: args.vmx.clone(),
        cancel: &cancel,
    };
    let voice = session.voice.clone();
    let rounds = args.rounds;
    let results = measure(&name, &setup, &mut |told| {
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
    let results = results?;
    let path = store::keep(&kept, &results)?;
    if let Some(html) = &args.html {
        write(html, report::html(&results).map_err(chart_problem)?.as_bytes())?;
    }
    if session.json() {
        session.screen.document(&results)?;
        return Ok(Exit::Done);
    }
    let look = session.look();
    let mut text = table_of(look, &results);
    text.push_str(&look.wrap(
        &format!(
            "Kept as {} ({}). Compare it after a change: hostwright bench compare {} AFTER",
            name,
            path.display(),
            name
        ),
        "",
        "",
    ));
    session.screen.print(&text);
    Ok(Exit::Done)
}

#[allow(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
pub(super) fn chart_problem(error: chart::ChartError) -> Problem {
    Problem::new(
        Exit::Failed,
        "chart",
        "No chart could be drawn",
        crate::cli::errors::sentence(&error.to_string()),
    )
}

/// The kernel for guests: the one that was named, the one that runs, or the newest that can be read.
fn kernel(args: &Run) -> Result<find::KernelPlace, String> {
    if let Some(wanted) = &args.kernel {
        return find::kernel(wanted).map_err(|e| e.to_string());
    }
    let running = find::kernel("running");
    if let Ok(place) = running {
        return Ok(place);
    }
    let newest = find::releases(std::path::Path::new("/")).pop();
    let newest = newest.ok_or("no kernel image is in /boot or below /lib/modules")?;
    find::kernel(&newest).map_err(|e| e.to_string())
}

/// How the modules are built, in both ways.
fn trials(session: &Session, host: &Host, args: &Run) -> Result<Vec<Trial>, String> {
    let mut why_not = String::new();
    let source = args.source.clone().or_else(|| {
        // Without a product there are the practice modules, where these are.
        let there = crate::detect::gather(host, Some(&[crate::detect::Topic::Vmware]));
        let has = there.vmware.seen().is_some_and(|v| !v.module_sources.is_empty());
        if has { None } else { practice() }
    });
    let kernel = match &args.kernel {
        Some(release) => release.parse::<KernelArg>().ok().map(|k| vec![k]).unwrap_or_default(),
        None => Vec::new(),
    };
    let mut trials = Vec::new();
    for (mode, arg, way) in
        [(Mode::Vanilla, ModeArg::Vanilla, "vanilla"), (Mode::Optimized, ModeArg::Optimized, "optimized")]
    {
        let kernels = if kernel.is_empty() { vec![default_kernel()] } else { kernel.clone() };
        let options = Options { kernels, source: source.clone(), mode: Some(arg), ..Options::default() };
        let request = options.request(session).map_err(|p| p.reason)?;
        let choices = vmware::Choices::from_json(&request.choices)?;
        let inputs = Inputs { explain: flows::explain(), ..request.inputs };
        let mut sink = |_: Event| {};
        let found = vmware::rehearsals(host, &choices, &inputs, &session.watch.cancel, &mut sink);
        match found {
            Ok(all) => {
                // One kernel is enough; a mode that cannot be had here falls back to the other.
                if let Some((build, rehearsal)) = all.into_iter().next().filter(|(b, _)| b.mode == mode) {
                    trials.push(Trial { way, build, rehearsal, inputs, alone: None });
                }
            }
            Err(e) if !trials.is_empty() => why_not = e.to_string(),
            Err(e) => return Err(e.to_string()),
        }
    }
    if let [only] = trials.as_mut_slice() {
        only.alone = Some(why_not);
    }
    Ok(trials)
}

/// The kernel that runs where it has headers, else the newest.
fn default_kernel() -> KernelArg {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let headers = PathBuf::from("/lib/modules").join(release.trim()).join("build/Makefile");
    if headers.exists() { KernelArg::Running } else { KernelArg::Newest(1) }
}

/// The practice modules: where they are installed, or in the source tree that this program was built in.
fn practice() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let near = program
        .ancestors()
        .skip(1)
        .flat_map(|dir| [dir.join("share/hostwright/practice"), dir.join("data/practice")]);
    near.chain([PathBuf::from("/usr/share/hostwright/practice")]).find(|p| p.join("vmmon-only").is_dir())
}
