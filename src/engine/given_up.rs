// SPDX-License-Identifier: GPL-3.0-or-later
//! A run for several kernels: what cannot be built for one of them does not stop the others. Until everything is built
//! and tried nothing on the machine is changed, so that there is nothing to take back for a kernel that is given up.

use super::plan::Plan;
use super::report::KernelResult;
use super::steps::Step;
use std::collections::{BTreeMap, BTreeSet};

/// The kernels that are given up, each with the reason.
#[derive(Debug, Default)]
pub(super) struct GivenUp(BTreeMap<String, String>);

impl GivenUp {
    /// Gives up the kernel of a step that failed, when the plan says that the run goes on, and there is another kernel
    /// to go on with. False when the run has to end.
    pub fn give_up(&mut self, plan: &Plan, step: &Step, reason: &str) -> bool {
        let (Step::BuildModules(_) | Step::Rehearse(_), Some(kernel)) = (step, step.kernel()) else {
            return false;
        };
        let mut goes_on = false;
        let mut others = false;
        for build in builds(plan) {
            goes_on |= build.kernel == kernel && build.go_on;
            others |= build.kernel != kernel && !self.0.contains_key(&build.kernel);
        }
        if goes_on && others {
            self.0.insert(kernel.to_owned(), reason.to_owned());
        }
        goes_on && others
    }

    /// Whether a step is left out, because it is of no use without what was given up.
    pub fn leaves_out(&self, plan: &Plan, step: &Step) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let loaded = || {
            plan.steps.iter().find_map(|s| match s {
                Step::LoadModules(load) => Some(load.kernel.as_str()),
                _ => None,
            })
        };
        let kernel = match step {
            // These make way for the loading and come after it.
            Step::StopServices(_) | Step::UnloadModules(_) | Step::RestartServices(_) => loaded(),
            other => other.kernel(),
        };
        kernel.is_some_and(|k| self.0.contains_key(k))
    }

    /// The plan as far as it is carried out: what is checked in the end.
    pub fn rest_of(&self, plan: &Plan) -> Plan {
        let mut rest = plan.clone();
        rest.steps.retain(|step| !self.leaves_out(plan, step));
        rest
    }

    /// What came of each kernel; nothing when the plan is for one only.
    pub fn results(&self, plan: &Plan) -> Vec<KernelResult> {
        let kernels: BTreeSet<&str> = builds(plan).map(|b| b.kernel.as_str()).collect();
        if kernels.len() < 2 {
            return Vec::new();
        }
        // In the order of the plan: newest first.
        builds(plan)
            .map(|build| match self.0.get(&build.kernel) {
                Some(reason) => {
                    KernelResult { kernel: build.kernel.clone(), good: false, text: reason.clone() }
                }
                None => {
                    let modules: Vec<&str> = build.modules.iter().map(|m| m.module.as_str()).collect();
                    let tried =
                        plan.steps.iter().any(|s| matches!(s, Step::Rehearse(r) if r.kernel == build.kernel));
                    let tried = if tried { ", tried in a virtual machine" } else { "" };
                    let text = format!("{} built{tried} and installed", modules.join(" and "));
                    KernelResult { kernel: build.kernel.clone(), good: true, text }
                }
            })
            .collect()
    }

    /// What is said of them at the end of a run.
    pub fn sentence(&self) -> String {
        let kernels: Vec<&str> = self.0.keys().map(String::as_str).collect();
        match kernels.as_slice() {
            [] => String::new(),
            names => format!(" Not done for {}.", names.join(", ")),
        }
    }
}

fn builds(plan: &Plan) -> impl Iterator<Item = &super::steps::BuildModules> {
    plan.steps.iter().filter_map(|step| match step {
        Step::BuildModules(build) => Some(build),
        _ => None,
    })
}
