// SPDX-License-Identifier: GPL-3.0-or-later
//! Forgets old runs. One that can still be taken back is never forgotten by itself: only when a person says so, for
//! what it changed then stays for good.

use super::error::RunError;
use super::execute::holder;
use super::folders::{LOCK, RunFolder};
use super::journal::RunState;
use super::report::{Owner, RunSummary};
use super::runs::runs;
use crate::host::{Host, Lock};
use std::collections::BTreeSet;

/// How many runs that cannot be taken back are kept by themselves.
pub const KEPT: usize = 100;

/// Which runs of `runs` (newest first) may be forgotten, when the newest `keep` stay: of those that cannot be taken
/// back, or with `lose_undo` of all. Pure. Never the newest of all, whose number must not be given again; nor the last
/// one of each flow that went through, whose choices `rebuild` takes; nor one that goes on, was interrupted or cannot be
/// read.
pub fn prunable(runs: &[RunSummary], keep: usize, lose_undo: bool) -> Vec<u32> {
    let newest = runs.iter().map(|r| r.run).max();
    let mut last_done = BTreeSet::new();
    let mut counted = 0;
    let mut forget = Vec::new();
    for run in runs {
        let is_last_done = run.state == RunState::Done && last_done.insert(run.flow.as_str());
        let open = matches!(run.state, RunState::Running | RunState::Undoing | RunState::Interrupted);
        if open || run.problem.is_some() || (run.can_undo && !lose_undo) {
            continue;
        }
        counted += 1;
        if counted > keep && !is_last_done && Some(run.run) != newest {
            forget.push(run.run);
        }
    }
    forget
}

/// Forgets these runs, with all that undo of them would need. Returns those that are gone.
///
/// # Errors
/// When one of them must not be forgotten ([`prunable`]); then none is. When another run changes the machine.
pub fn prune(host: &Host, wanted: &[u32], lose_undo: bool, owner: &Owner) -> Result<Vec<u32>, RunError> {
    let _lock = Lock::take(host.root(), LOCK, &holder("Forget old runs", owner))?;
    let all = runs(host)?;
    let may = prunable(&all, 0, lose_undo);
    for number in wanted {
        if !all.iter().any(|r| r.run == *number) {
            return Err(RunError::NoSuchRun { run: *number });
        }
        if !may.contains(number) {
            return Err(RunError::Plan {
                what: format!(
                    "run {number} is not forgotten: it can still be taken back, goes on, or is the last of its kind"
                ),
                remedy: "`hostwright runs prune --help` says which can be".to_owned(),
            });
        }
    }
    Ok(forget(host, wanted))
}

/// Forgets what is older than the newest [`KEPT`] runs that cannot be taken back. The machine's lock must be held.
pub(super) fn prune_by_itself(host: &Host) {
    let Ok(all) = runs(host) else { return };
    let gone = forget(host, &prunable(&all, KEPT, false));
    if !gone.is_empty() {
        tracing::info!(?gone, "old runs that could not be taken back any more are forgotten");
    }
}

fn forget(host: &Host, numbers: &[u32]) -> Vec<u32> {
    numbers.iter().copied().filter(|number| RunFolder::of(*number).discard(host.root())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::steps::{Step, WriteFile};
    use crate::engine::testing::{Scene, same};

    fn write(path: &str, text: &str) -> Vec<Step> {
        let (path, content) = (path.to_owned(), text.to_owned());
        vec![Step::WriteFile(WriteFile { path, content, mode: 0o644, reason: String::new() })]
    }

    fn root() -> Owner {
        Owner { uid: 0, name: "root".into() }
    }

    #[test]
    fn what_can_be_taken_back_is_forgotten_on_a_persons_word_only() {
        let scene = Scene::real();
        let before = scene.tree();
        for n in 0..3 {
            scene.execute(write("/etc/x", &format!("{n}"))).unwrap();
        }
        let all = runs(&scene.host).unwrap();
        assert!(prunable(&all, 0, false).is_empty());
        assert!(prune(&scene.host, &[1], false, &root()).is_err());
        assert_eq!(scene.undo(3).unwrap().state, RunState::Undone);
        assert_eq!(scene.undo(2).unwrap().state, RunState::Undone);
        // Run 3 is the newest: its number is not given again.
        assert_eq!(prunable(&runs(&scene.host).unwrap(), 0, false), vec![2u32]);
        assert_eq!(prune(&scene.host, &[2], false, &root()).unwrap(), vec![2u32]);
        assert_eq!(scene.undo(1).unwrap().state, RunState::Undone);
        same(&scene.tree(), &before);
        assert_eq!(scene.execute(write("/etc/x", "y")).unwrap().run, 4);
    }

    #[test]
    fn the_last_run_that_went_through_stays_for_its_choices() {
        let scene = Scene::real();
        for n in 0..3 {
            scene.execute(write("/etc/x", &format!("{n}"))).unwrap();
        }
        let all = runs(&scene.host).unwrap();
        assert_eq!(prunable(&all, 0, true), vec![2u32, 1]);
        assert_eq!(prunable(&all, 2, true), vec![1u32]);
        assert_eq!(prune(&scene.host, &[1], true, &root()).unwrap(), vec![1u32]);
        assert!(prune(&scene.host, &[1], true, &root()).is_err(), "it is gone");
        assert!(prune(&scene.host, &[3], true, &root()).is_err(), "it is the last one");
    }
}
