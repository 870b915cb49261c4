// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright vmware rehearse`: builds the modules and tries them in a virtual machine; changes nothing.

use super::options::{KernelArg, ModeArg, Options};
use crate::cli::errors::{Exit, Problem};
use crate::cli::look::{Mark, seconds};
use crate::cli::progress::{Ended, looking, showing};
use crate::cli::session::Session;
use crate::cli::watch::Standing;
use crate::engine::event::{Event, Sink};
use crate::engine::steps::{BuildModules, Rehearse as Step};
use crate::engine::{self, Inputs, StepError};
use crate::flows::{self, vmware};
use crate::guest::rehearsal::Verdict;
use crate::host::{Host, own_cache};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Build VMware's modules and try them in a virtual machine with their kernel; nothing on this machine changes
///
/// Boots just that kernel in QEMU, inserts the modules, uses their devices, removes them, and reads what the
/// kernel says meanwhile. Needs no root where the kernel's boot image can be read.
#[derive(Debug, Args)]
pub(crate) struct Rehearse {
    /// For which kernels: a release, a pattern, `all`, `current` or `newest:N`; can be given several times
    #[arg(short, long = "kernel", value_name = "KERNEL")]
    kernels: Vec<KernelArg>,
    /// Module sources to use instead of the installed product's: a folder, a checkout or a tar archive
    #[arg(short, long, value_name = "FOLDER|TARBALL")]
    source: Option<PathBuf>,
    /// With which compiler flags
    #[arg(short, long, value_enum)]
    mode: Option<ModeArg>,
}

/// Runs `vmware rehearse`.
pub(super) fn run(session: &mut Session, args: &Rehearse) -> Result<Exit, Problem> {
    let options = Options {
        kernels: args.kernels.clone(),
        source: args.source.clone(),
        mode: args.mode,
        ..Options::default()
    };
    let request = options.request(session)?;
    let choices = vmware::Choices::from_json(&request.choices).map_err(Problem::usage)?;
    let inputs = Inputs { explain: flows::explain(), ..request.inputs };
    let host = session.host()?;
    let cancel = session.watch.cancel.clone();
    let wanted = looking(&session.voice, &session.watch, session.screen.verbose, false, |sink| {
        Ok(vmware::rehearsals(&host, &choices, &inputs, &cancel, sink)?)
    })?;
    let tried = try_all(session, &host, &wanted, &inputs)?;
    let took = tried.took;
    let all = tried.value;
    let passed = |v: &Result<Verdict, StepError>| v.as_ref().is_ok_and(Verdict::passed);
    let exit = if all.iter().all(|(_, v)| passed(v)) { Exit::Done } else { Exit::Failed };
    if session.json() {
        let all: Vec<Value> = all
            .iter()
            .map(|(kernel, tried)| match tried {
                Ok(verdict) => json!({ "kernel": kernel, "rehearsal": verdict }),
                Err(e) => json!({ "kernel": kernel, "error": e.to_string() }),
            })
            .collect();
        session.screen.document(&all)?;
        return Ok(exit);
    }
    let mut text = String::new();
    for (kernel, tried) in &all {
        match tried {
            Ok(verdict) => text.push_str(&told(session, kernel, verdict)),
            Err(e) => {
                let what = format!("The modules could not be tried with {kernel}: {e}");
                text.push_str(&session.look().item(0, Mark::Bad, &what));
            }
        }
    }
    let took = format!("Nothing on this machine was changed. {}\n", seconds(took));
    text.push_str(&session.look().dim(&took));
    session.screen.print(&text);
    Ok(exit)
}

/// What came of one kernel: the verdict, or why it could not be built for.
pub(super) type Tried = (String, Result<Verdict, StepError>);

/// Builds and tries for each kernel; one that cannot be built for does not stop the others.
pub(super) fn try_all(
    session: &Session,
    host: &Host,
    wanted: &[(BuildModules, Step)],
    inputs: &Inputs,
) -> Result<Ended<Vec<Tried>>, Problem> {
    let cache = cache(host)?;
    let cancel = session.watch.cancel.clone();
    let standing = Standing::Planning { elsewhere: false };
    let verbose = session.screen.verbose;
    showing(&session.voice, &session.watch, verbose, standing, |sink| {
        sink.event(Event::Started { run: 0, steps: wanted.len() * 2, undo: false });
        let scratch =
            tempfile::tempdir().map_err(|e| Problem::file("make a folder in", &std::env::temp_dir(), &e))?;
        let tried = engine::try_all(host, wanted, inputs, scratch.path(), &cache, &cancel, sink);
        if tried.iter().any(|t| matches!(t, Err(e) if e.is_cancelled())) {
            return Err(Problem::cancelled());
        }
        Ok(wanted.iter().map(|(_, rehearsal)| rehearsal.kernel.clone()).zip(tried).collect())
    })
}

/// Where unpacked kernels are kept: with the helper's when we may write there, else with this person's own.
fn cache(host: &Host) -> Result<PathBuf, Problem> {
    const SHARED: &str = "/var/cache/hostwright/lab";
    if nix::unistd::geteuid().is_root() && host.is_machine() {
        host.root().create_dirs(SHARED, 0o700)?;
        return Ok(host.root().outside(SHARED));
    }
    let folder = own_cache().map(|c| c.join("hostwright/lab")).ok_or_else(|| {
        Problem::new(
            Exit::Failed,
            "no-home",
            "There is no folder for caches",
            "This account has no home folder.",
        )
        .remedy("Set XDG_CACHE_HOME to a folder that you can write to.")
    })?;
    std::fs::create_dir_all(&folder).map_err(|e| Problem::file("make", &folder, &e))?;
    Ok(folder)
}

/// A verdict as people read it.
fn told(session: &Session, kernel: &str, verdict: &Verdict) -> String {
    let look = session.look();
    let line = |text: &String| look.dim_lines(&look.wrap(&crate::cli::look::clean(text), "    ", "      "));
    match verdict {
        Verdict::Passed { tried, skipped } => {
            let mut text = look.item(0, Mark::Good, &format!("The modules work with {kernel}."));
            text.extend(tried.iter().map(line));
            text.extend(skipped.iter().map(|s| line(&format!("left out: {s}"))));
            text
        }
        Verdict::Failed { why, lines } => {
            let mut text = look.item(0, Mark::Bad, &format!("The modules do not work with {kernel}: {why}"));
            text.extend(lines.iter().map(line));
            text
        }
        Verdict::CouldNotLook { why, lines } => {
            let mut text =
                look.item(0, Mark::Unknown, &format!("The modules could not be tried with {kernel}: {why}"));
            text.extend(lines.iter().map(line));
            text
        }
    }
}
