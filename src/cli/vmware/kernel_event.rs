// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright vmware kernel-event`: what the hooks of kernel updates call. Never fails a kernel's installation; what
//! came of it is kept for `hostwright status`.

use super::options::{KernelArg, Options};
use crate::cli::errors::{Exit, Problem};
use crate::cli::session::Session;
use crate::detect::modules::{Modinfo, decompress, module_name};
use crate::engine::{Event, RunState};
use crate::flows::vmware::updates::{OUTCOMES, Outcome, PROFILE};
use crate::flows::vmware::{MODULES, RECORD};
use crate::flows::wayland;
use crate::host::{Command, FileKind, Host, Root};
use clap::{Args, Subcommand};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long another run is waited for: one kernel's image and headers are installed one right after the other.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// A kernel was installed or removed; called by the hooks that `--on-kernel-update hook` sets up
///
/// As root. Ends with 0 whatever happens, so that no installation of a kernel fails by it; `hostwright status` tells
/// what came of it.
#[derive(Debug, Args)]
pub(crate) struct KernelEvent {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Build the modules for a kernel that was just installed
    Installed {
        /// Its release
        release: String,
        /// Do it in this process; else systemd does it in the background, where it runs
        #[arg(long)]
        now: bool,
    },
    /// Remove the modules that Hostwright built for a kernel that is gone
    Removed {
        /// Its release
        release: String,
    },
}

/// Runs `vmware kernel-event`.
pub(super) fn run(session: &mut Session, args: &KernelEvent) -> Result<Exit, Problem> {
    let host = session.host()?;
    let (release, now) = match &args.what {
        What::Installed { release, now } => (release, *now),
        What::Removed { release } => (release, true),
    };
    // Also the name of a file.
    let KernelArg::Release(release) = release.parse().map_err(Problem::usage)? else {
        return Err(Problem::usage("give the release of one kernel"));
    };
    if matches!(args.what, What::Removed { .. }) {
        removed(&host, &release)?;
        return Ok(Exit::Done);
    }
    if !host.root().exists(PROFILE) {
        session.voice.say("No hooks are set up: there is nothing to build with.\n");
        return Ok(Exit::Done);
    }
    if !now && session.root().is_none() && in_background(&host, &release) {
        return Ok(Exit::Done);
    }
    let mut outcome = match build(session, &release) {
        Ok(message) => Outcome { release, at: host.clock().now(), good: true, message, remedy: None },
        Err(problem) => failed(session, &host, release, &problem),
    };
    // Kernels are updated more often than anybody looks at the launchers.
    let replaced = wayland::replaced(&host);
    if !replaced.is_empty() {
        outcome.message.push_str(&format!(
            " The fix for Wayland is gone from {}: `hostwright vmware wayland apply` makes it again.",
            replaced.join(", ")
        ));
    }
    session.voice.say(&format!("{}\n", outcome.message));
    keep(&host, &outcome)?;
    Ok(Exit::Done)
}

/// Hands the work to systemd, so that the package manager need not wait; `false` where there is none.
fn in_background(host: &Host, release: &str) -> bool {
    if !host.root().exists("/run/systemd/system") {
        return false;
    }
    let Ok(program) = std::env::current_exe() else { return false };
    let command = Command::new("systemd-run")
        .args(["--no-block", "--collect", "--quiet", "--nice=10"])
        .arg(format!("--description=VMware's modules for {release}"))
        .arg("--")
        .arg(program.display().to_string())
        .args(["vmware", "kernel-event", "installed", "--now", release])
        .timeout(Duration::from_secs(30));
    host.runner().run_ok(&command).is_ok()
}

/// Builds and installs; says what came of it.
fn build(session: &Session, release: &str) -> Result<String, Problem> {
    let machine = session.machine_unasked()?;
    let place = session.outside(PROFILE);
    let options = Options {
        kernels: vec![KernelArg::Release(release.to_owned())],
        profile: Some(Path::new(&place).to_owned()),
        ..Options::default()
    };
    let request = options.request(session)?;
    let cancel = session.watch.cancel.clone();
    let began = Instant::now();
    loop {
        let quiet = &mut |_: Event| {};
        let done =
            machine.plan(&request.flow, &request.choices, &request.inputs, &cancel, quiet).and_then(|plan| {
                if plan.is_empty() {
                    return Ok(None);
                }
                machine.execute(&plan, &request.inputs, &cancel, quiet).map(Some)
            });
        match done {
            Ok(None) => return Ok(format!("The modules for {release} were there already.")),
            Ok(Some(report)) if report.state == RunState::Done => {
                return Ok(format!(
                    "The modules for {release} were built and installed (run {}).",
                    report.run
                ));
            }
            Ok(Some(report)) => {
                let title = format!("The modules for {release} could not be built");
                return Err(Problem::new(Exit::Failed, "rebuild-failed", &title, report.message)
                    .remedy(session.command(&format!("log {}", report.run))));
            }
            Err(problem) if problem.code == "busy" && began.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_secs(2));
            }
            Err(problem) => return Err(problem),
        }
    }
}

/// Removes the modules of ours that a kernel which is gone left behind, and the folders that are empty then.
fn removed(host: &Host, release: &str) -> Result<(), Problem> {
    let root = host.root();
    let kernel = format!("/lib/modules/{release}");
    // Of the kernel there may be nothing left but our own folder: it is no kernel any more that could be detected.
    let mut folders = vec![kernel];
    let mut next = 0;
    while let Some(folder) = folders.get(next).cloned() {
        next += 1;
        for entry in root.list(&folder).unwrap_or_default() {
            let path = format!("{folder}/{}", entry.name);
            match entry.kind {
                FileKind::Directory => folders.push(path),
                FileKind::File if is_ours(root, &path) => root.remove_file(&path)?,
                _ => {}
            }
        }
    }
    // Innermost first. Those that hold something stay.
    for folder in folders.iter().rev() {
        let _ = root.remove_dir(folder);
    }
    match root.remove_file(&format!("{OUTCOMES}/{release}.json")) {
        Err(e) if !e.is_not_found() => Err(e.into()),
        _ => Ok(()),
    }
}

/// Whether this is a module of VMware with our record: modules that others made are theirs to remove.
fn is_ours(root: &Root, path: &str) -> bool {
    let name = module_name(path).unwrap_or_default();
    MODULES.contains(&name.as_str())
        && root.read_at_most(path, 64 << 20).is_ok_and(|bytes| {
            decompress(&bytes)
                .and_then(|elf| Modinfo::of_module(&elf))
                .is_ok_and(|info| info.get(&format!("hostwright_{RECORD}")).is_some())
        })
}

/// What is kept of a failure.
pub(super) fn failed(session: &Session, host: &Host, release: String, problem: &Problem) -> Outcome {
    let rebuild = || session.command(&format!("vmware rebuild --kernel {release}"));
    Outcome {
        remedy: Some(problem.remedy.clone().unwrap_or_else(rebuild)),
        message: format!("{}: {}", problem.title, problem.reason),
        at: host.clock().now(),
        good: false,
        release,
    }
}

pub(super) fn keep(host: &Host, outcome: &Outcome) -> Result<(), Problem> {
    let mut text =
        serde_json::to_vec_pretty(outcome).map_err(|e| Problem::internal("write the outcome", &e))?;
    text.push(b'\n');
    // Everybody may read how it went.
    host.root().create_dirs(OUTCOMES, 0o755)?;
    host.root().write(&format!("{OUTCOMES}/{}.json", outcome.release), &text, 0o644, None)?;
    Ok(())
}
