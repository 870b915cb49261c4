// SPDX-License-Identifier: GPL-3.0-or-later
//! Fetch the lists of packages anew.

use super::{Action, preview::preview};
use crate::engine::context::{After, Applied, Before, Context};
use crate::engine::error::StepError;
use crate::engine::event::{Check, CheckOutcome};
use crate::engine::plan::Permission;
use crate::engine::report::{Reversal, StepPreview};
use crate::host::{Command, FileKind, Host};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// Where APT keeps the lists.
const LISTS: &str = "/var/lib/apt/lists";

/// Fetch APT's lists of packages anew (`apt-get update`), where any source that cannot be fetched is an error.
/// Undo removes the lists of sources that were not there before; those that are newer now stay, they are a
/// cache that APT fetches again at any time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdatePackageLists {
    /// Why, for people.
    pub reason: String,
}

fn command() -> Command {
    Command::new("apt-get")
        .args(["-o", "DPkg::Lock::Timeout=300", "-o", "APT::Update::Error-Mode=any", "update"])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .timeout(Duration::from_secs(1800))
}

/// The files of the lists now.
fn lists(host: &Host) -> Vec<String> {
    let entries = host.root().list(LISTS).unwrap_or_default();
    entries.into_iter().filter(|e| e.kind == FileKind::File && e.name != "lock").map(|e| e.name).collect()
}

/// What `apt-get update` says of a source that it could not fetch or does not trust. Older versions of it
/// succeed nevertheless. Pure.
fn complaint(said: &str) -> Option<&str> {
    said.lines().map(str::trim).find(|l| {
        l.starts_with("E: ")
            || l.starts_with("Err:")
            || (l.starts_with("W: ")
                && ["Failed to fetch", "GPG error", "is not signed", "have been ignored"]
                    .iter()
                    .any(|w| l.contains(w)))
    })
}

impl Action for UpdatePackageLists {
    fn title(&self) -> String {
        "Fetch the lists of packages".to_owned()
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [Permission::PackagesInstall].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::Full
    }

    fn weight(&self) -> u32 {
        60
    }

    fn preview(&self, _host: &Host) -> StepPreview {
        preview(self, &[command()], vec![])
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        Ok(Before { data: serde_json::json!({ "lists": lists(ctx.host()) }), ..Before::default() })
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        let output = ctx.tool(command())?;
        for said in [&output.stderr, &output.stdout] {
            if let Some(what) = complaint(said) {
                return Err(StepError::refused(
                    format!("a source of packages cannot be used: {what}"),
                    "look at the network and at APT's sources",
                ));
            }
        }
        Ok(Applied::default())
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        let outcome = match ctx.host().root().list(LISTS) {
            Ok(entries)
                if entries.iter().any(|e| e.name.ends_with("Packages") || e.name.contains("_Packages")) =>
            {
                CheckOutcome::Good
            }
            Ok(_) => CheckOutcome::Bad { reason: format!("there is none in {LISTS}; look at APT's sources") },
            Err(e) => CheckOutcome::CouldNotLook { reason: e.to_string() },
        };
        vec![Check { what: "APT has lists of packages".to_owned(), outcome }]
    }

    fn undo(&self, ctx: &mut Context<'_>, before: &Before, _: Option<&After>) -> Result<(), StepError> {
        let then: BTreeSet<String> = serde_json::from_value(before.data["lists"].clone()).unwrap_or_default();
        for name in lists(ctx.host()).into_iter().filter(|n| !then.contains(n)) {
            ctx.host().root().remove_file(&format!("{LISTS}/{name}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::RunState;
    use crate::engine::steps::Step;
    use crate::engine::testing::{Scene, same};
    use crate::host::fake::FakeRunner;
    use crate::host::{HostKind, Output};

    fn step() -> Step {
        Step::UpdatePackageLists(UpdatePackageLists { reason: String::new() })
    }

    /// An `apt-get update` that writes one list and says this.
    fn scene(stderr: &'static str) -> Scene {
        let dir = std::sync::Arc::new(std::sync::Mutex::new(std::path::PathBuf::new()));
        let of = dir.clone();
        let runner = FakeRunner::new().answer(move |c| {
            (c.program == "apt-get").then(|| {
                let lists = of.lock().unwrap().join("var/lib/apt/lists");
                std::fs::write(lists.join("new_Packages"), "x").unwrap();
                Output { code: Some(0), stderr: stderr.into(), ..Output::default() }
            })
        });
        let scene = Scene::new(HostKind::Machine, runner);
        scene.put("/var/lib/apt/lists/old_Packages", "o", 0o644).put("/var/lib/apt/lists/lock", "", 0o640);
        *dir.lock().unwrap() = scene.path().to_owned();
        scene
    }

    #[test]
    fn lists_of_new_sources_are_gone_after_undo() {
        scene("").there_and_back(vec![step()]);
    }

    #[test]
    fn a_source_that_cannot_be_fetched_is_an_error_though_apt_succeeds() {
        let scene = scene("W: Failed to fetch http://x/InRelease  404  Not Found");
        let before = scene.tree();
        let report = scene.execute(vec![step()]).unwrap();
        assert_eq!(report.state, RunState::RolledBack);
        assert!(report.message.contains("a source of packages cannot be used: W: Failed to fetch"));
        same(&scene.tree(), &before);
    }
}
