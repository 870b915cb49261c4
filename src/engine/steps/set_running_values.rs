// SPDX-License-Identifier: GPL-3.0-or-later
//! Set values of the running kernel (`/proc/sys`, `/sys`), which last until the next start.

use super::Action;
use super::preview::preview;
use crate::engine::context::{After, Applied, Before, Context};
use crate::engine::error::StepError;
use crate::engine::event::{Check, CheckOutcome};
use crate::engine::plan::Permission;
use crate::engine::report::{FileChange, Reversal, StepPreview};
use crate::host::Host;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// One value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunningValue {
    /// The file of the kernel ("/proc/sys/vm/swappiness").
    pub path: String,
    /// The value.
    pub value: String,
}

/// Set values of the running kernel. Undo sets those that were there; a value that somebody changed since is
/// left alone. After a restart nothing of this is left anyway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetRunningValues {
    /// The values, in order.
    pub values: Vec<RunningValue>,
}

/// The value that a file of the kernel shows: of several the chosen one ("always \[madvise\] never"), else
/// the text with single blanks.
fn shown(text: &str) -> String {
    let chosen = text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(chosen, _)| chosen);
    chosen.map_or_else(|| text.split_whitespace().collect::<Vec<_>>().join(" "), str::to_owned)
}

fn now(host: &Host, path: &str) -> Result<String, StepError> {
    Ok(shown(&host.root().read_text(path)?))
}

/// Only the kernel's own settings: nothing else of `/proc` and `/sys` is a value.
fn require_setting(path: &str) -> Result<(), StepError> {
    let below = ["/proc/sys/", "/sys/kernel/mm/", "/sys/block/", "/sys/devices/system/cpu/"];
    let plain = !path.split('/').any(|part| part == ".." || part == ".");
    if plain && below.iter().any(|dir| path.starts_with(dir)) {
        return Ok(());
    }
    Err(StepError::refused(
        format!("`{}` is no setting of the kernel", path.escape_debug()),
        "make the plan again; if it still says so, report it",
    ))
}

impl SetRunningValues {
    fn old(before: &Before) -> BTreeMap<String, String> {
        serde_json::from_value(before.data.clone()).unwrap_or_default()
    }
}

impl Action for SetRunningValues {
    fn title(&self) -> String {
        match self.values.as_slice() {
            [one] => format!("Set {} to {} now", one.path, one.value),
            several => format!("Set {} values of the running kernel", several.len()),
        }
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [Permission::SystemTune].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::Full
    }

    fn preview(&self, host: &Host) -> StepPreview {
        let change = |value: &RunningValue| FileChange {
            path: value.path.clone(),
            diff: match now(host, &value.path) {
                Ok(now) => format!("{now} becomes {}", value.value),
                Err(e) => format!("it cannot be looked at: {e}"),
            },
        };
        preview(self, &[], self.values.iter().map(change).collect())
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        if !ctx.host().is_machine() {
            return Err(StepError::refused(
                "this root is not the running machine, and has no running kernel",
                "make the plan again",
            ));
        }
        let mut old = BTreeMap::new();
        for value in &self.values {
            require_setting(&value.path)?;
            old.insert(value.path.clone(), now(ctx.host(), &value.path)?);
        }
        Ok(Before { data: serde_json::to_value(old).unwrap_or_default(), ..Before::default() })
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        let mut unchanged = true;
        for value in &self.values {
            if now(ctx.host(), &value.path)? == value.value {
                continue;
            }
            unchanged = false;
            ctx.host().root().write_value(&value.path, &value.value)?;
        }
        Ok(Applied { unchanged, ..Applied::default() })
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        let check = |value: &RunningValue| Check {
            what: format!("{} is {}", value.path, value.value),
            outcome: match now(ctx.host(), &value.path) {
                Ok(now) if now == value.value => CheckOutcome::Good,
                Ok(now) => CheckOutcome::Bad {
                    reason: format!("the kernel made {now} of it; choose a value that this kernel takes"),
                },
                Err(e) => CheckOutcome::CouldNotLook { reason: e.to_string() },
            },
        };
        self.values.iter().map(check).collect()
    }

    fn undo(&self, ctx: &mut Context<'_>, before: &Before, after: Option<&After>) -> Result<(), StepError> {
        // Last first: some values are limits of others.
        let old = Self::old(before);
        for value in self.values.iter().rev() {
            let Some(was) = old.get(&value.path) else { continue };
            let now = match now(ctx.host(), &value.path) {
                Ok(now) => now,
                Err(StepError::Host(e)) if e.is_not_found() => continue,
                Err(e) => return Err(e),
            };
            if now == *was {
                continue;
            }
            if now != value.value && after.is_some() {
                ctx.note(format!("{} is {now} and not what this run set; it stays", value.path));
                continue;
            }
            ctx.host().root().write_value(&value.path, was)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::RunState;
    use crate::engine::steps::Step;
    use crate::engine::testing::Scene;
    use crate::host::HostKind;
    use crate::host::fake::FakeRunner;

    const SWAPPINESS: &str = "/proc/sys/vm/swappiness";

    fn step(path: &str, value: &str) -> Step {
        let values = vec![RunningValue { path: path.into(), value: value.into() }];
        Step::SetRunningValues(SetRunningValues { values })
    }

    fn scene() -> Scene {
        let scene = Scene::new(HostKind::Machine, FakeRunner::new());
        scene.put(SWAPPINESS, "60\n", 0o644);
        scene
    }

    fn value(scene: &Scene) -> String {
        scene.host.root().read_text(SWAPPINESS).unwrap()
    }

    #[test]
    fn a_value_is_set_and_the_old_one_comes_back() {
        let scene = scene();
        let report = scene.execute(vec![step(SWAPPINESS, "10")]).unwrap();
        assert!(report.is_verified(), "{report:?}");
        assert_eq!(value(&scene), "10");
        scene.undo(report.run).unwrap();
        assert_eq!(value(&scene), "60");
    }

    #[test]
    fn a_value_that_somebody_changed_since_stays() {
        let scene = scene();
        let report = scene.execute(vec![step(SWAPPINESS, "10")]).unwrap();
        scene.put(SWAPPINESS, "33\n", 0o644);
        let undone = scene.undo(report.run).unwrap();
        assert_eq!(undone.state, RunState::Undone);
        assert!(undone.message.contains("it stays"), "{}", undone.message);
        assert_eq!(value(&scene), "33\n");
    }

    #[test]
    fn only_settings_of_the_kernel_are_set_and_only_those_that_are_there() {
        let scene = scene();
        scene.put("/etc/passwd", "root\n", 0o644);
        for (path, says) in [
            ("/etc/passwd", "is no setting"),
            ("/proc/sys/../../etc/passwd", "is no setting"),
            ("/proc/sysrq-trigger", "is no setting"),
            ("/proc/sys/vm/none", "/proc/sys/vm/none"),
        ] {
            let report = scene.execute(vec![step(path, "b")]).unwrap();
            assert_eq!(report.state, RunState::RolledBack, "{path}");
            assert!(report.message.contains(says), "{}", report.message);
        }
        assert_eq!(scene.host.root().read_text("/etc/passwd").unwrap(), "root\n");
        let report = Scene::real().execute(vec![step(SWAPPINESS, "10")]).unwrap();
        assert!(report.message.contains("is not the running machine"), "{}", report.message);
    }

    #[test]
    fn of_several_the_chosen_one_counts() {
        assert_eq!(shown("always [madvise] never\n"), "madvise");
        assert_eq!(shown("4096\t131072  6291456\n"), "4096 131072 6291456");
    }
}
