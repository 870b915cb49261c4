// SPDX-License-Identifier: GPL-3.0-or-later
//! Choose a power profile with who looks after them: power-profiles-daemon or tuned.

use super::{Action, preview::preview};
use crate::detect::settings::{PowerManager, TUNED_ACTIVE, TUNED_MODE, power_profiles};
use crate::engine::context::{After, Applied, Before, Context};
use crate::engine::error::StepError;
use crate::engine::event::{Check, CheckOutcome};
use crate::engine::plan::Permission;
use crate::engine::report::{FileChange, Reversal, StepPreview};
use crate::host::{Command, Host};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// Choose a power profile. Undo chooses what was there before; where somebody chose another one since, that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPowerProfile {
    /// Who is asked.
    pub manager: PowerManager,
    /// The profile ("virtual-host").
    pub profile: String,
}

/// What the step keeps.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Kept {
    /// The profile that was active.
    active: Option<String>,
    /// tuned chose it by itself.
    #[serde(default)]
    automatic: bool,
}

fn active(host: &Host) -> Option<String> {
    power_profiles(host).and_then(|p| p.active)
}

impl SetPowerProfile {
    /// The command that chooses a profile; `None`: none at all. Pure.
    fn choose(&self, profile: Option<&str>, automatic: bool) -> Option<Command> {
        let command = match (self.manager, profile) {
            (PowerManager::PowerProfilesDaemon, Some(profile)) => {
                Command::new("powerprofilesctl").args(["set", profile])
            }
            (PowerManager::PowerProfilesDaemon, None) => return None,
            (PowerManager::Tuned, _) if automatic => Command::new("tuned-adm").arg("auto_profile"),
            (PowerManager::Tuned, Some(profile)) => Command::new("tuned-adm").args(["profile", profile]),
            (PowerManager::Tuned, None) => Command::new("tuned-adm").arg("off"),
        };
        Some(command.timeout(Duration::from_secs(120)))
    }
}

/// Names of profiles become arguments.
fn require_name(profile: &str) -> Result<(), StepError> {
    let plain = !profile.is_empty()
        && profile.starts_with(|c: char| c.is_ascii_alphanumeric())
        && profile.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if plain {
        return Ok(());
    }
    Err(StepError::refused(
        format!("`{}` is no name of a power profile", profile.escape_debug()),
        "make the plan again; if it still says so, report it",
    ))
}

impl Action for SetPowerProfile {
    fn title(&self) -> String {
        format!("Choose the power profile {} ({})", self.profile, self.manager.name())
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [Permission::SystemTune].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::Full
    }

    fn weight(&self) -> u32 {
        5
    }

    fn preview(&self, host: &Host) -> StepPreview {
        let now = active(host).unwrap_or_else(|| "none".to_owned());
        let change = FileChange {
            path: format!("power profile of {}", self.manager.name()),
            diff: format!("{now} becomes {}", self.profile),
        };
        let commands: Vec<Command> = self.choose(Some(&self.profile), false).into_iter().collect();
        preview(self, &commands, vec![change])
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        require_name(&self.profile)?;
        if !ctx.host().is_machine() {
            return Err(StepError::refused(
                "this root is not the running machine, and nobody looks after its power",
                "make the plan again",
            ));
        }
        let mut before = match self.manager {
            PowerManager::PowerProfilesDaemon => Before::default(),
            PowerManager::Tuned => ctx.remember(&[TUNED_ACTIVE, TUNED_MODE])?,
        };
        let mode = ctx.host().root().read_text(TUNED_MODE).unwrap_or_default();
        let kept = Kept {
            active: active(ctx.host()),
            automatic: self.manager == PowerManager::Tuned && mode.trim() == "auto",
        };
        before.data = serde_json::to_value(kept).unwrap_or_default();
        // tuned writes them by itself, in its own time.
        before.derived = true;
        Ok(before)
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        if active(ctx.host()).as_deref() == Some(&self.profile) {
            return Ok(Applied { unchanged: true, ..Applied::default() });
        }
        if let Some(command) = self.choose(Some(&self.profile), false) {
            ctx.tool(command)?;
        }
        Ok(Applied::default())
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        let outcome = match active(ctx.host()) {
            Some(now) if now == self.profile => CheckOutcome::Good,
            Some(now) => CheckOutcome::Bad { reason: format!("it is {now}: something else chose it again") },
            None => CheckOutcome::CouldNotLook { reason: format!("{} does not say", self.manager.name()) },
        };
        vec![Check { what: format!("the power profile is {}", self.profile), outcome }]
    }

    fn undo(&self, ctx: &mut Context<'_>, before: &Before, _: Option<&After>) -> Result<(), StepError> {
        let kept: Kept = serde_json::from_value(before.data.clone()).unwrap_or_default();
        let now = active(ctx.host());
        if now.as_deref() != Some(&self.profile) {
            if now != kept.active {
                let now = now.unwrap_or_else(|| "none".to_owned());
                ctx.note(format!("the power profile is {now} and not what this run chose; it stays"));
            }
            return Ok(());
        }
        if (kept.active != now || kept.automatic)
            && let Some(command) = self.choose(kept.active.as_deref(), kept.automatic)
        {
            ctx.tool(command)?;
        }
        // What tuned writes need not be byte for byte what stood there.
        match self.manager {
            PowerManager::PowerProfilesDaemon => Ok(()),
            PowerManager::Tuned => {
                let now = ctx.host().root().state(TUNED_ACTIVE)?;
                let mode = ctx.host().root().state(TUNED_MODE)?;
                let files = [(TUNED_ACTIVE.to_owned(), now), (TUNED_MODE.to_owned(), mode)].into();
                ctx.restore(before, Some(&After { files, ..After::default() }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::RunState;
    use crate::engine::steps::Step;
    use crate::engine::testing::Scene;
    use crate::host::fake::FakeRunner;
    use crate::host::{HostKind, Output};
    use std::sync::{Arc, Mutex};

    fn step(manager: PowerManager, profile: &str) -> Step {
        Step::SetPowerProfile(SetPowerProfile { manager, profile: profile.into() })
    }

    /// tuned, with a folder to write into.
    fn with_tuned() -> Scene {
        let place = Arc::new(Mutex::new(std::path::PathBuf::new()));
        let writes = place.clone();
        let runner = FakeRunner::new().answer(move |c| {
            if c.program != "tuned-adm" {
                return None;
            }
            let folder = writes.lock().unwrap().clone();
            let (profile, mode) = match c.args.first().map(String::as_str) {
                Some("profile") => (c.args[1].clone(), "manual"),
                Some("auto_profile") => ("balanced".to_owned(), "auto"),
                _ => (String::new(), "manual"),
            };
            // Without the newline that a person's editor would write.
            std::fs::write(folder.join("active_profile"), profile).unwrap();
            std::fs::write(folder.join("profile_mode"), mode).unwrap();
            Some(Output { code: Some(0), ..Output::default() })
        });
        let scene = Scene::new(HostKind::Machine, runner);
        scene.put("/usr/sbin/tuned", "", 0o755).put("/etc/tuned/tuned-main.conf", "x\n", 0o644);
        *place.lock().unwrap() = scene.path().join("etc/tuned");
        scene
    }

    #[test]
    fn a_profile_of_tuned_is_chosen_and_the_files_come_back_byte_for_byte() {
        let scene = with_tuned();
        scene.put(TUNED_ACTIVE, "balanced\n", 0o644).put(TUNED_MODE, "manual\n", 0o644);
        scene.there_and_back(vec![step(PowerManager::Tuned, "virtual-host")]);
        assert_eq!(scene.runner.calls(), ["tuned-adm profile virtual-host", "tuned-adm profile balanced"]);
    }

    #[test]
    fn a_profile_that_tuned_chose_by_itself_is_left_to_it_again() {
        let scene = with_tuned();
        scene.put(TUNED_ACTIVE, "balanced\n", 0o644).put(TUNED_MODE, "auto\n", 0o644);
        scene.there_and_back(vec![step(PowerManager::Tuned, "virtual-host")]);
        assert_eq!(scene.runner.calls()[1], "tuned-adm auto_profile");
    }

    #[test]
    fn where_there_was_no_profile_there_is_none_again() {
        let scene = with_tuned();
        scene.there_and_back(vec![step(PowerManager::Tuned, "virtual-host")]);
        assert_eq!(scene.runner.calls()[1], "tuned-adm off");
    }

    #[test]
    fn a_profile_that_somebody_chose_since_stays() {
        let scene = with_tuned();
        scene.put(TUNED_ACTIVE, "balanced\n", 0o644);
        let report = scene.execute(vec![step(PowerManager::Tuned, "virtual-host")]).unwrap();
        scene.put(TUNED_ACTIVE, "powersave\n", 0o644);
        let undone = scene.undo(report.run).unwrap();
        assert_eq!(undone.state, RunState::Undone);
        assert!(undone.message.contains("it stays"), "{}", undone.message);
        assert_eq!(scene.host.root().read_text(TUNED_ACTIVE).unwrap(), "powersave\n");
    }

    #[test]
    fn power_profiles_daemon_is_asked_by_its_own_tool() {
        let now = Arc::new(Mutex::new("balanced".to_owned()));
        let kept = now.clone();
        let runner = FakeRunner::new().answer(move |c| {
            let mut now = kept.lock().unwrap();
            let mut stdout = String::new();
            match (c.program.as_str(), c.args[0].as_str()) {
                ("powerprofilesctl", "set") => *now = c.args[1].clone(),
                ("powerprofilesctl", "list") => {
                    for profile in ["performance", "balanced"] {
                        let star = if *now == profile { "* " } else { "  " };
                        stdout.push_str(&format!("{star}{profile}:\n    Degraded: no\n"));
                    }
                }
                _ => return None,
            }
            Some(Output { code: Some(0), stdout, ..Output::default() })
        });
        let scene = Scene::new(HostKind::Machine, runner);
        scene.put("/usr/libexec/power-profiles-daemon", "", 0o755);
        scene.there_and_back(vec![step(PowerManager::PowerProfilesDaemon, "performance")]);
        assert_eq!(*now.lock().unwrap(), "balanced");
    }

    #[test]
    fn a_name_that_is_an_option_is_refused() {
        let scene = with_tuned();
        for bad in ["--help", "", "a b", "../x", "x\n"] {
            let report = scene.execute(vec![step(PowerManager::Tuned, bad)]).unwrap();
            assert_eq!(report.state, RunState::RolledBack, "{bad}");
        }
        assert!(scene.runner.calls().is_empty());
    }
}
