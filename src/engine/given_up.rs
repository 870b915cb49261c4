// SPDX-License-Identifier: GPL-3.0-or-later
//! A run for several kernels: what cannot be built for one of them does not stop the others. Until everything is built
//! and tried nothing on the machine is changed, so that there is nothing to take back for a kernel that is given up.

use super::plan::Plan;
use super::report::KernelResult;
use super::steps::{BuildModules, Step};
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

    /// What came of each kernel that was chosen; nothing when the plan is for one only.
    pub fn results(&self, plan: &Plan) -> Vec<KernelResult> {
        let kernels: BTreeSet<&str> = builds(plan).map(|b| b.kernel.as_str()).collect();
        let not_done = plan.not_done();
        if kernels.len() + not_done.len() < 2 {
            return not_done;
        }
        // In the order of the plan: newest first.
        let of_builds = builds(plan).map(|build| match self.0.get(&build.kernel) {
            Some(reason) => KernelResult { kernel: build.kernel.clone(), good: false, text: reason.clone() },
            None => {
                let modules: Vec<&str> = build.modules.iter().map(|m| m.module.as_str()).collect();
                let tried =
                    plan.steps.iter().any(|s| matches!(s, Step::Rehearse(r) if r.kernel == build.kernel));
                let tried = if tried { ", tried in a virtual machine" } else { "" };
                let text = format!("{} built{tried} and installed", modules.join(" and "));
                KernelResult { kernel: build.kernel.clone(), good: true, text }
            }
        });
        of_builds.chain(not_done).collect()
    }

    /// What is said of them at the end of a run.
    pub fn sentence(&self, plan: &Plan) -> String {
        let named = plan.left_out.iter().filter(|l| l.named).map(|l| l.kernel.as_str());
        let kernels: Vec<&str> = self.0.keys().map(String::as_str).chain(named).collect();
        match kernels.as_slice() {
            [] => String::new(),
            names => format!(" Not done for {}.", names.join(", ")),
        }
    }
}

/// The builds of a plan that are done at once, by the numbers of their steps: those that may fail alone, so that it does
/// not matter which comes first.
pub(super) fn together(plan: &Plan) -> BTreeMap<usize, BuildModules> {
    let builds = plan.steps.iter().enumerate().filter_map(|(at, step)| match step {
        Step::BuildModules(build) if build.go_on => Some((at, build.clone())),
        _ => None,
    });
    builds.collect()
}

fn builds(plan: &Plan) -> impl Iterator<Item = &BuildModules> {
    plan.steps.iter().filter_map(|step| match step {
        Step::BuildModules(build) => Some(build),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::build::testkit::{install, scene, step};
    use crate::engine::steps::{Compression, InstallModule};
    use crate::engine::testing::{Scene, same};
    use crate::engine::{Event, RunState};

    /// The same for a kernel whose headers are gone.
    fn broken(good: &BuildModules) -> BuildModules {
        let kernel = "0.0.1-gone".to_owned();
        BuildModules { build_dir: "/usr/src/gone".to_owned(), kernel, go_on: true, ..good.clone() }
    }

    fn install_for(build: &BuildModules) -> Step {
        Step::InstallModule(InstallModule {
            kernel: build.kernel.clone(),
            module: "vmmon".to_owned(),
            to: format!("/lib/modules/{}/updates/vmmon.ko", build.kernel),
            compression: Compression::None,
            sign: None,
        })
    }

    fn prepared() -> (Scene, BuildModules) {
        let scene = scene();
        install(&scene, "vmmon", &[]);
        let good = BuildModules { go_on: true, ..step(&scene, &["vmmon"]) };
        (scene, good)
    }

    #[test]
    fn one_kernel_that_cannot_be_built_for_does_not_stop_the_other() {
        let (scene, good) = prepared();
        let bad = broken(&good);
        let before = scene.tree();
        let steps = vec![
            Step::BuildModules(bad.clone()),
            Step::BuildModules(good.clone()),
            install_for(&bad),
            install_for(&good),
        ];
        let report = scene.execute(steps).unwrap();
        assert_eq!(report.state, RunState::Done, "{report:?}");
        assert!(!report.is_complete() && !report.is_verified());
        let results: Vec<(&str, bool)> = report.kernels.iter().map(|k| (k.kernel.as_str(), k.good)).collect();
        assert_eq!(results, [("0.0.1-gone", false), (good.kernel.as_str(), true)]);
        assert!(report.kernels[0].text.contains("headers"), "{report:?}");
        assert!(report.message.contains("Not done for 0.0.1-gone"), "{}", report.message);
        assert!(scene.host.root().exists(&format!("/lib/modules/{}/updates/vmmon.ko", good.kernel)));
        assert!(!scene.host.root().exists("/lib/modules/0.0.1-gone"));
        let told = scene.events.lock().unwrap().iter().filter(|e| matches!(e, Event::Kernel { .. })).count();
        assert_eq!(told, 2);
        assert_eq!(scene.undo(report.run).unwrap().state, RunState::Undone);
        same(&scene.tree(), &before);
    }

    #[test]
    fn a_run_of_which_every_kernel_fails_has_failed() {
        let (scene, good) = prepared();
        let (one, two) = (broken(&good), BuildModules { kernel: "0.0.2-gone".into(), ..broken(&good) });
        let before = scene.tree();
        let report =
            scene.execute(vec![Step::BuildModules(one.clone()), Step::BuildModules(two), install_for(&one)]);
        assert_eq!(report.unwrap().state, RunState::RolledBack);
        same(&scene.tree(), &before);
    }

    #[test]
    fn a_kernel_that_was_asked_for_and_is_in_no_step_is_not_called_done() {
        let (scene, good) = prepared();
        let mut plan = crate::engine::testing::plan(vec![Step::BuildModules(good.clone())]);
        let left_out = |kernel: &str, named| crate::engine::LeftOut {
            kernel: kernel.to_owned(),
            reason: "its headers are not installed".to_owned(),
            remedy: None,
            named,
        };
        plan.left_out = vec![left_out("0.0.1-named", true), left_out("0.0.2-other", false)];
        let mut sink = |_: Event| {};
        let owner = crate::engine::testing::owner();
        let report = crate::engine::execute(
            &scene.host,
            &plan,
            &scene.inputs,
            &owner,
            &|_, _| Vec::new(),
            &scene.cancel,
            &mut sink,
        )
        .unwrap();
        assert_eq!(report.state, RunState::Done, "{report:?}");
        let results: Vec<(&str, bool)> = report.kernels.iter().map(|k| (k.kernel.as_str(), k.good)).collect();
        assert_eq!(results, [(good.kernel.as_str(), true), ("0.0.1-named", false)]);
        assert!(report.message.ends_with("Not done for 0.0.1-named."), "{}", report.message);
    }

    #[test]
    fn an_older_plan_stops_at_the_first_failure() {
        let (scene, good) = prepared();
        let bad = BuildModules { go_on: false, ..broken(&good) };
        let report = scene.execute(vec![Step::BuildModules(bad), Step::BuildModules(good)]).unwrap();
        assert_eq!(report.state, RunState::RolledBack);
    }
}
