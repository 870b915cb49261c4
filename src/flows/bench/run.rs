// SPDX-License-Identifier: GPL-3.0-or-later
//! Goes through the workloads, round by round.

use super::cpu::Cpu;
use super::disk::Disk;
use super::document::{LeftOut, Recorder, Results, SCHEMA};
use super::memory::Memory;
use super::metrics::Workload;
use super::modules::{Modules, Trial};
use super::scheduler::Scheduler;
use super::start::Start;
use crate::detect::conditions;
use crate::flows::lab::find::KernelPlace;
use crate::host::{Cancel, Host};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What is measured, and where it may work.
#[derive(Debug)]
pub struct Setup<'a> {
    /// This machine.
    pub host: &'a Host,
    /// What is run, in this order.
    pub workloads: Vec<Workload>,
    /// How often each.
    pub rounds: usize,
    /// For how long each figure is measured in one round.
    pub time: Duration,
    /// A folder on the disk that is measured; a file is made there and removed.
    pub disk: PathBuf,
    /// Size of that file and of the guest's disk, in bytes.
    pub disk_bytes: u64,
    /// A private, empty folder for what guests leave; removed by the caller.
    pub scratch: PathBuf,
    /// Where kernels and initramfs images are kept between calls.
    pub cache: PathBuf,
    /// The kernel that guests boot, or why there is none.
    pub kernel: Result<KernelPlace, String>,
    /// How the modules are built, one for each way, or why they are not.
    pub modules: Result<Vec<Trial>, String>,
    /// A virtual machine of VMware's to start (`.vmx`).
    pub vmx: Option<PathBuf>,
    /// The wish to stop.
    pub cancel: &'a Cancel,
}

impl Setup<'_> {
    pub(super) fn stop_if_cancelled(&self) -> Result<(), Trouble> {
        if self.cancel.is_cancelled() { Err(Trouble::Cancelled) } else { Ok(()) }
    }

    /// A new folder in [`Setup::scratch`].
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf, Trouble> {
        let path = self.scratch.join(name);
        match std::fs::create_dir(&path) {
            Ok(()) => Ok(path),
            Err(e) => Err(Trouble::left_out(format!("{} could not be made: {e}", path.display()))),
        }
    }
}

/// What happens meanwhile.
#[derive(Debug, Clone, Copy)]
pub enum Told<'a> {
    /// A workload is made ready.
    Prepares(Workload),
    /// A workload is run.
    Runs {
        /// Which.
        workload: Workload,
        /// In which round, from 1.
        round: usize,
    },
    /// What is not measured, and why.
    LeftOut {
        /// What.
        what: &'a str,
        /// Why.
        why: &'a str,
    },
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// Somebody asked to stop; what was measured until then is given away, for it is not whole.
    #[error("cancelled; nothing was kept and nothing was changed")]
    Cancelled,
    /// Nothing of what was wished can be measured here.
    #[error("nothing could be measured: {0}")]
    Nothing(String),
}

/// Why a workload does not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    #[error("cancelled")]
    Cancelled,
    #[error("{0}")]
    LeftOut(String),
}

impl Trouble {
    pub(super) fn left_out(why: impl Into<String>) -> Self {
        Self::LeftOut(why.into())
    }
}

/// One workload while it is measured.
pub(super) trait Step {
    /// Makes ready. Returns what of it cannot be measured, and why.
    fn prepare(&mut self, _setup: &Setup<'_>) -> Result<Vec<LeftOut>, Trouble> {
        Ok(Vec::new())
    }

    /// Measures each of its figures once.
    fn round(&mut self, setup: &Setup<'_>, to: &mut Recorder) -> Result<(), Trouble>;
}

fn step(workload: Workload) -> Box<dyn Step> {
    match workload {
        Workload::Modules => Box::<Modules>::default(),
        Workload::Start => Box::<Start>::default(),
        Workload::Disk => Box::<Disk>::default(),
        Workload::Memory => Box::<Memory>::default(),
        Workload::Cpu => Box::new(Cpu),
        Workload::Scheduler => Box::new(Scheduler),
    }
}

/// Measures. A workload that fails in a later round keeps what it has, and the reason stands beside it.
///
/// # Errors
/// When somebody asked to stop, or nothing at all could be measured.
pub fn run(name: &str, setup: &Setup<'_>, tell: &mut dyn FnMut(Told<'_>)) -> Result<Results, BenchError> {
    let began = jiff::Timestamp::now();
    let clock = Instant::now();
    let before = conditions::gather(setup.host);
    let mut left_out: Vec<LeftOut> = Vec::new();
    let mut leave_out = |what: String, why: String, tell: &mut dyn FnMut(Told<'_>)| {
        tell(Told::LeftOut { what: &what, why: &why });
        left_out.push(LeftOut { what, why });
    };
    let mut steps: Vec<(Workload, Box<dyn Step>)> = Vec::new();
    for workload in &setup.workloads {
        tell(Told::Prepares(*workload));
        let mut prepared = step(*workload);
        match prepared.prepare(setup) {
            Ok(parts) => {
                for part in parts {
                    leave_out(format!("{}, {}", workload.title(), part.what), part.why, tell);
                }
                steps.push((*workload, prepared));
            }
            Err(Trouble::Cancelled) => return Err(BenchError::Cancelled),
            Err(Trouble::LeftOut(why)) => leave_out(workload.title().to_owned(), why, tell),
        }
    }
    let mut recorder = Recorder::default();
    for round in 1..=setup.rounds {
        let mut going_on = Vec::new();
        for (workload, mut step) in steps {
            if setup.cancel.is_cancelled() {
                return Err(BenchError::Cancelled);
            }
            tell(Told::Runs { workload, round });
            match step.round(setup, &mut recorder) {
                Ok(()) => going_on.push((workload, step)),
                Err(Trouble::Cancelled) => return Err(BenchError::Cancelled),
                Err(Trouble::LeftOut(why)) => {
                    leave_out(format!("{}, from round {round} on", workload.title()), why, tell);
                }
            }
        }
        steps = going_on;
    }
    let series = recorder.series();
    if series.is_empty() {
        let why: Vec<String> = left_out.iter().map(|l| format!("{}: {}", l.what, l.why)).collect();
        return Err(BenchError::Nothing(why.join("; ")));
    }
    Ok(Results {
        schema: SCHEMA,
        name: name.to_owned(),
        hostwright: env!("CARGO_PKG_VERSION").to_owned(),
        debug_build: cfg!(debug_assertions),
        began,
        took: clock.elapsed().as_secs_f64(),
        rounds: setup.rounds,
        before,
        after: conditions::gather(setup.host),
        series,
        left_out,
    })
}
