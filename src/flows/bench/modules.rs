// SPDX-License-Identifier: GPL-3.0-or-later
//! VMware's modules: compiling them, loading them, and what passes through vmnet; with the kernel's own flags and tuned
//! for this processor, by turns, so that the claim is measured on the machine that it is made for.
//!
//! They are loaded in a throw-away guest only, one for each way and round: nobody's network is disturbed.

use super::document::{LeftOut, Place, Recorder};
use super::metrics::{BUILD, LATENCY, LATENCY_TAIL, LOAD, THROUGHPUT};
use super::run::{Setup, Step, Trouble};
use crate::engine::event::Event;
use crate::engine::steps::{BuildModules, Rehearse};
use crate::engine::{self, Inputs, StepError, Wanted};
use crate::init::rehearse::measure::Measured;
use std::time::Instant;

/// One way to build the modules.
#[derive(Debug)]
pub struct Trial {
    /// What it is called ("vanilla", "optimized").
    pub way: &'static str,
    /// How they are built.
    pub build: BuildModules,
    /// What they are booted with.
    pub rehearsal: Rehearse,
    /// What comes with it (sources from elsewhere).
    pub inputs: Inputs,
    /// Why the other way is not there, where it is not.
    pub alone: Option<String>,
}

/// The workload.
#[derive(Default)]
pub(super) struct Modules {
    boots: usize,
    without_guest: bool,
}

impl From<StepError> for Trouble {
    fn from(error: StepError) -> Self {
        if error.is_cancelled() { Self::Cancelled } else { Self::left_out(error.to_string()) }
    }
}

type Built = Vec<(String, Vec<u8>)>;

fn build(setup: &Setup<'_>, trial: &Trial) -> Result<(Built, f64), Trouble> {
    let mut sink = |_: Event| {};
    let began = Instant::now();
    let built = engine::build_only(setup.host, &trial.build, &trial.inputs, setup.cancel, &mut sink)?;
    Ok((built, began.elapsed().as_secs_f64()))
}

impl Modules {
    fn in_guest(
        &mut self,
        setup: &Setup<'_>,
        trial: &Trial,
        modules: &Built,
    ) -> Result<(Vec<Measured>, Place), Trouble> {
        self.boots += 1;
        let folder = setup.folder(&format!("modules-{}", self.boots))?;
        let wanted = Wanted { kernel: &trial.rehearsal.kernel, image: &trial.rehearsal.image, modules };
        let milliseconds = u32::try_from(setup.time.as_millis()).unwrap_or(u32::MAX);
        let (measured, accelerator) =
            engine::measure(setup.host, &wanted, milliseconds, &folder, &setup.cache, setup.cancel)?;
        Ok((measured, Place::Guest { accelerator }))
    }
}

fn trials<'a>(setup: &'a Setup<'_>) -> Result<&'a [Trial], Trouble> {
    match &setup.modules {
        Ok(trials) if trials.is_empty() => Err(Trouble::left_out("there is no kernel to build for")),
        Ok(trials) => Ok(trials),
        Err(why) => Err(Trouble::left_out(why.clone())),
    }
}

impl Step for Modules {
    fn prepare(&mut self, setup: &Setup<'_>) -> Result<Vec<LeftOut>, Trouble> {
        let trials = trials(setup)?;
        // Once for nothing: compilers and headers come into the page cache.
        let mut parts = Vec::new();
        for trial in trials {
            let (built, _) = build(setup, trial)?;
            if self.without_guest {
                continue;
            }
            match self.in_guest(setup, trial, &built) {
                Ok((measured, _)) => {
                    for said in measured {
                        if let Measured::LeftOut(what, why) = said {
                            parts.push(LeftOut::new(format!("{what} ({})", trial.way), why));
                        }
                    }
                }
                Err(Trouble::Cancelled) => return Err(Trouble::Cancelled),
                Err(Trouble::LeftOut(why)) => {
                    self.without_guest = true;
                    parts.push(LeftOut::new("in a guest", why));
                }
            }
        }
        for trial in trials {
            if let Some(why) = &trial.alone {
                let what = format!("the other way than {}", trial.way);
                parts.push(LeftOut::new(what, format!("it cannot be built here ({why})")));
            }
        }
        Ok(parts)
    }

    fn round(&mut self, setup: &Setup<'_>, to: &mut Recorder) -> Result<(), Trouble> {
        for trial in trials(setup)? {
            setup.stop_if_cancelled()?;
            let way = Some(trial.way);
            let (built, took) = build(setup, trial)?;
            to.add(BUILD, way, &Place::Host, took);
            if self.without_guest {
                continue;
            }
            let (measured, place) = self.in_guest(setup, trial, &built)?;
            for said in measured {
                let Measured::Figure(name, value) = said else { continue };
                let metric = match name.as_str() {
                    "load" => LOAD,
                    "throughput" => THROUGHPUT,
                    "latency" => LATENCY,
                    "latency_p99" => LATENCY_TAIL,
                    _ => continue,
                };
                to.add(metric, way, &place, value);
            }
        }
        Ok(())
    }
}
