// SPDX-License-Identifier: GPL-3.0-or-later
//! Benchmarks as a person asks for them, on the command line and in the window: what is wished → what is needed for it →
//! results that are kept, compared and written as a page.

use crate::detect::{self, Topic};
use crate::engine::steps::Mode;
use crate::engine::{Event, Inputs};
use crate::flows::bench::store::{self, StoreError};
use crate::flows::bench::{
    self, BenchError, Comparison, Results, Setup, Told, Trial, Workload, chart::ChartError, compare, report,
};
use crate::flows::vmware::choices::{Choices, KernelChoice, SourceChoice};
use crate::flows::{self, lab::find, vmware};
use crate::host::{Cancel, Host, own_cache};
use crate::tell::{Exit, Problem, sentence};
use crate::{pack, profile};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is measured, and how.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// What is run; all of it when empty.
    pub(crate) workloads: Vec<Workload>,
    /// How often each.
    pub(crate) rounds: u32,
    /// For how long each figure is measured in one round.
    pub(crate) time: Duration,
    /// What the results are called; the date and time without.
    pub(crate) name: Option<String>,
    /// The disk that this folder is on is measured; without, that of the folder of caches.
    pub(crate) directory: Option<PathBuf>,
    /// How much of it, in bytes.
    pub(crate) disk_bytes: u64,
    /// The kernel that guests boot: a release, `running`, an image or a build tree.
    pub(crate) kernel: Option<String>,
    /// Module sources; without, the installed product's, else the practice modules.
    pub(crate) source: Option<PathBuf>,
    /// A virtual machine of VMware's to start.
    pub(crate) vmx: Option<PathBuf>,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            workloads: Vec::new(),
            rounds: 7,
            time: Duration::from_millis(500),
            name: None,
            directory: None,
            disk_bytes: 256 << 20,
            kernel: None,
            source: None,
            vmx: None,
        }
    }
}

/// Where results are kept: with the caller's own data (XDG Base Directory Specification).
pub(crate) fn folder() -> Result<PathBuf, Problem> {
    let named = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let data = named("XDG_DATA_HOME").or_else(|| Some(named("HOME")?.join(".local/share")));
    data.map(|d| d.join("hostwright/bench")).ok_or_else(|| {
        Problem::usage("Neither HOME nor XDG_DATA_HOME says where results are kept.")
            .remedy("Set HOME to your home folder.")
    })
}

/// Results by their name, or from a file.
pub(crate) fn read(wanted: &str) -> Result<Results, Problem> {
    Ok(store::read(&folder()?, wanted)?)
}

/// Writes a file of a person's own.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    std::fs::write(path, bytes).map_err(|e| Problem::file("write", path, &e))
}

/// Measures as wished and keeps the results; where they are kept is told with them.
///
/// # Errors
/// When nothing can be measured, somebody asked to stop, or the results cannot be kept.
pub(crate) fn run(
    wish: &Wish,
    cancel: &Cancel,
    tell: &mut dyn FnMut(Told<'_>),
) -> Result<(Results, PathBuf), Problem> {
    let kept = folder()?;
    let name = match &wish.name {
        Some(name) if !store::is_name(name) => return Err(StoreError::BadName(name.clone()).into()),
        Some(name) if store::names(&kept)?.contains(name) => {
            return Err(StoreError::Exists(name.clone()).into());
        }
        Some(name) => name.clone(),
        None => jiff::Zoned::now().strftime("%Y-%m-%d-%H%M%S").to_string(),
    };
    let host = Host::machine()?;
    let cache = own_cache().map(|c| c.join("hostwright/lab")).ok_or_else(|| {
        Problem::usage("There is no folder for caches.").remedy("Set HOME or XDG_CACHE_HOME.")
    })?;
    std::fs::create_dir_all(&cache).map_err(|e| Problem::file("make", &cache, &e))?;
    let scratch = tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(&cache)
        .map_err(|e| Problem::file("make a folder in", &cache, &e))?;
    let mut workloads = wish.workloads.clone();
    if workloads.is_empty() {
        workloads = Workload::ALL.to_vec();
    }
    workloads.sort();
    workloads.dedup();
    let modules = if workloads.contains(&Workload::Modules) {
        trials(&host, wish, cancel)
    } else {
        Err("not asked for".to_owned())
    };
    let setup = Setup {
        host: &host,
        workloads,
        rounds: wish.rounds as usize,
        time: wish.time,
        disk: wish.directory.clone().unwrap_or_else(|| cache.clone()),
        disk_bytes: wish.disk_bytes,
        scratch: scratch.path().to_owned(),
        cache: cache.clone(),
        kernel: kernel(wish),
        modules,
        vmx: wish.vmx.clone(),
        cancel,
    };
    let results = bench::run(&name, &setup, tell)?;
    let path = store::keep(&kept, &results)?;
    Ok((results, path))
}

/// The kernel for guests: the one that was named, the one that runs, or the newest that can be read.
fn kernel(wish: &Wish) -> Result<find::KernelPlace, String> {
    if let Some(wanted) = &wish.kernel {
        return find::kernel(wanted).map_err(|e| e.to_string());
    }
    if let Ok(place) = find::kernel("running") {
        return Ok(place);
    }
    let newest = find::releases(Path::new("/")).pop();
    let newest = newest.ok_or("no kernel image is in /boot or below /lib/modules")?;
    find::kernel(&newest).map_err(|e| e.to_string())
}

/// How the modules are built, in both ways.
fn trials(host: &Host, wish: &Wish, cancel: &Cancel) -> Result<Vec<Trial>, String> {
    let (base, inputs) = modules(host, wish)?;
    let mut why_not = String::new();
    let mut trials = Vec::new();
    for (mode, way) in [(Mode::Vanilla, "vanilla"), (Mode::Optimized, "optimized")] {
        let choices = Choices { mode, ..base.clone() };
        let mut sink = |_: Event| {};
        match vmware::rehearsals(host, &choices, &inputs, cancel, &mut sink) {
            Ok(all) => {
                // One kernel is enough; a mode that cannot be had here falls back to the other.
                if let Some((build, rehearsal)) = all.into_iter().next().filter(|(b, _)| b.mode == mode) {
                    let inputs = Inputs {
                        sealed: inputs.sealed.clone(),
                        explain: flows::explain(),
                        ..Inputs::default()
                    };
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

/// The choices for the modules, but for the flags: those of the profile in use, over them what is wished.
fn modules(host: &Host, wish: &Wish) -> Result<(Choices, Inputs), String> {
    let in_use = match profile::in_use() {
        Err(problem) if problem.code == "denied" => None,
        other => other.map_err(|p| p.reason)?,
    };
    let mut choices = in_use.and_then(|document| document.flows.vmware).unwrap_or_default();
    choices.kernels = match wish.kernel.as_deref() {
        Some("running" | "current") => KernelChoice::Running,
        // An image or a tree names no kernel that modules can be built for.
        Some(release) if !release.contains('/') => KernelChoice::Releases(vec![release.to_owned()]),
        _ => default_kernel(),
    };
    let mut inputs = Inputs::default();
    let source = wish.source.clone().or_else(|| {
        // Without a product there are the practice modules, where these are.
        let there = detect::gather(host, Some(&[Topic::Vmware]));
        let has = there.vmware.seen().is_some_and(|v| !v.module_sources.is_empty());
        if has { None } else { practice() }
    });
    if let Some(path) = source {
        let packed = pack::pack(&path).map_err(|p| p.reason)?;
        choices.source = SourceChoice::Sealed { sha256: packed.sha256.clone(), name: packed.name };
        inputs.sealed.insert(packed.sha256, packed.bytes);
    } else if matches!(choices.source, SourceChoice::Sealed { .. }) {
        choices.source = SourceChoice::Installed;
    }
    Ok((choices, inputs))
}

/// The kernel that runs where it has headers, else the newest.
fn default_kernel() -> KernelChoice {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let headers = PathBuf::from("/lib/modules").join(release.trim()).join("build/Makefile");
    if headers.exists() { KernelChoice::Running } else { KernelChoice::Newest(1) }
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

/// Two results side by side.
#[derive(Debug)]
pub(crate) struct Pair {
    /// From before.
    pub(crate) before: Results,
    /// From after.
    pub(crate) after: Results,
    /// What became of each figure.
    pub(crate) compared: Comparison,
}

/// Compares two results, by their names or from files.
///
/// # Errors
/// When one cannot be read, or they have no figure in common.
pub(crate) fn pair(before: &str, after: &str) -> Result<Pair, Problem> {
    let (before, after) = (read(before)?, read(after)?);
    let compared = compare::compare(&before, &after);
    if compared.compared.is_empty() {
        return Err(Problem::new(
            Exit::Refused,
            "nothing-in-common",
            "There is nothing to compare",
            format!("{} and {} have no figure in common.", before.name, after.name),
        )
        .remedy("Measure the same workloads, in guests of the same accelerator."));
    }
    Ok(Pair { before, after, compared })
}

impl Pair {
    /// A page that holds all of itself.
    pub(crate) fn html(&self) -> Result<String, Problem> {
        Ok(report::html_of(&self.before, &self.after, &self.compared)?)
    }
}

/// A page of results that holds all of itself.
pub(crate) fn html(results: &Results) -> Result<String, Problem> {
    Ok(report::html(results)?)
}

impl From<ChartError> for Problem {
    fn from(error: ChartError) -> Self {
        Self::new(Exit::Failed, "chart", "No chart could be drawn", sentence(&error.to_string()))
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let remedy = match &error {
            StoreError::Unknown { .. } => {
                "`hostwright bench list` shows what is kept; a file is named with its path."
            }
            StoreError::Exists(_) => "Give another name (--name).",
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
        Self::new(exit, "results", "The results cannot be used", sentence(&error.to_string())).remedy(remedy)
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
            BenchError::Nothing(why) => {
                Self::new(Exit::Refused, "nothing-measured", "Nothing could be measured", sentence(&why))
                    .remedy("`hostwright bench list` tells what each needs.")
            }
        }
    }
}
