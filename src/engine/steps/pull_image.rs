// SPDX-License-Identifier: GPL-3.0-or-later
//! Fetch an image of a container, by its digest.

use super::{Action, preview::preview};
use crate::engine::context::{After, Applied, Before, Context};
use crate::engine::error::StepError;
use crate::engine::event::{Check, CheckOutcome};
use crate::engine::plan::Permission;
use crate::engine::report::{Reversal, StepPreview};
use crate::host::{Command, CommandError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// What runs containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContainerEngine {
    /// Docker.
    Docker,
    /// Podman.
    Podman,
}

impl ContainerEngine {
    /// Its program.
    pub fn program(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

/// Fetch an image by its digest, which is all that decides which bytes come. Undo removes an image that came new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PullImage {
    /// Who runs containers.
    pub engine: ContainerEngine,
    /// The image, with its digest ("docker.io/who/what@sha256:…").
    pub image: String,
}

/// What is wrong with the name of an image that must be pinned, if anything (the distribution project's reference grammar,
/// of which tags are left out).
pub(crate) fn wrong_with_image(image: &str) -> Option<&'static str> {
    let Some((name, digest)) = image.split_once('@') else {
        return Some("it has no digest, so that nobody knows what would come: NAME@sha256:…");
    };
    let hex = |d: &str| d.len() == 64 && d.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !digest.strip_prefix("sha256:").is_some_and(hex) {
        return Some("its digest is not sha256: and 64 hexadecimal digits");
    }
    let parts: Vec<&str> = name.split('/').collect();
    if parts.last().is_some_and(|last| last.contains(':')) {
        return Some("it has a tag beside the digest; only the digest counts, leave the tag out");
    }
    let plain = |p: &&str, first: bool| {
        !p.is_empty()
            && p.bytes().all(|b| {
                b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b) || (first && b == b':')
            })
            && p.starts_with(|c: char| c.is_ascii_alphanumeric())
    };
    let good =
        name.len() <= 255 && parts.iter().enumerate().all(|(n, p)| plain(p, n == 0 && parts.len() > 1));
    (!good).then_some("it is no name of an image")
}

impl PullImage {
    fn engine(&self, args: &[&str]) -> Command {
        Command::new(self.engine.program()).args(args.iter().copied())
    }

    fn pull(&self) -> Command {
        self.engine(&["pull", "--quiet", &self.image]).timeout(Duration::from_secs(1800))
    }

    fn is_there(&self, ctx: &Context<'_>) -> Result<bool, StepError> {
        let command = self.engine(&["image", "inspect", "--format", "{{.Id}}", &self.image]);
        let shown = command.display();
        let Some(command) = ctx.host().tool(command.timeout(Duration::from_secs(60))) else {
            return Err(StepError::refused(
                "this root has no containers of its own",
                "run this on the machine itself",
            ));
        };
        let output = ctx.host().runner().run(&command)?;
        let said = output.stderr.to_lowercase();
        let absent = ["no such image", "image not known", "no such object", "failed to find image"];
        match output.code {
            Some(0) => Ok(true),
            Some(_) if absent.iter().any(|a| said.contains(a)) => Ok(false),
            code => Err(CommandError::Failed {
                command: shown,
                status: code.map_or("a signal".to_owned(), |c| format!("exit status {c}")),
                stderr: output.stderr,
            }
            .into()),
        }
    }
}

impl Action for PullImage {
    fn title(&self) -> String {
        format!("Fetch the image {}", self.image)
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [Permission::VgpuInstall].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::Full
    }

    fn weight(&self) -> u32 {
        60
    }

    fn preview(&self, _host: &crate::host::Host) -> StepPreview {
        preview(self, &[self.pull()], vec![])
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        if let Some(why) = wrong_with_image(&self.image) {
            return Err(StepError::refused(
                format!("`{}` is not fetched: {why}", self.image.escape_debug()),
                "give the image as NAME@sha256:DIGEST",
            ));
        }
        Ok(Before { data: serde_json::json!({ "there": self.is_there(ctx)? }), ..Before::default() })
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        if self.is_there(ctx)? {
            return Ok(Applied { unchanged: true, ..Applied::default() });
        }
        ctx.tool(self.pull())?;
        Ok(Applied::default())
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        let outcome = match self.is_there(ctx) {
            Ok(true) => CheckOutcome::Good,
            Ok(false) => CheckOutcome::Bad { reason: "it is not there; try again".to_owned() },
            Err(e) => CheckOutcome::CouldNotLook { reason: e.to_string() },
        };
        vec![Check { what: format!("{} is there", self.image), outcome }]
    }

    fn undo(&self, ctx: &mut Context<'_>, before: &Before, _: Option<&After>) -> Result<(), StepError> {
        if before.data["there"] == true || !self.is_there(ctx)? {
            return Ok(());
        }
        ctx.tool(self.engine(&["image", "rm", &self.image])).map(|_| ())
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

    fn image() -> String {
        format!("docker.io/who/what@sha256:{}", "0f".repeat(32))
    }

    /// A Docker of the test's own, with these images; `down`: its daemon does not answer.
    fn scene(there: &[String], down: bool) -> (Scene, Arc<Mutex<Vec<String>>>) {
        let images = Arc::new(Mutex::new(there.to_vec()));
        let of = images.clone();
        let runner = FakeRunner::new().answer(move |c| {
            let said = |code: i32, err: &str| {
                Some(Output { code: Some(code), stderr: err.into(), ..Output::default() })
            };
            if down {
                return said(1, "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.");
            }
            let mut images = of.lock().unwrap();
            let last = c.args.last()?.clone();
            match (c.args[0].as_str(), c.args[1].as_str()) {
                ("image", "inspect") if images.contains(&last) => said(0, ""),
                ("image", "inspect") => said(1, &format!("Error: No such image: {last}")),
                ("image", "rm") => {
                    images.retain(|i| *i != last);
                    said(0, "")
                }
                ("pull", _) => {
                    images.push(last);
                    said(0, "")
                }
                _ => None,
            }
        });
        (Scene::new(HostKind::Machine, runner), images)
    }

    fn step(image: String) -> Step {
        Step::PullImage(PullImage { engine: ContainerEngine::Docker, image })
    }

    #[test]
    fn an_image_that_came_new_goes_and_one_that_was_there_stays() {
        let (scene, images) = scene(&[], false);
        let report = scene.execute(vec![step(image())]).unwrap();
        assert_eq!(report.state, RunState::Done, "{report:?}");
        assert_eq!(*images.lock().unwrap(), [image()]);
        scene.undo(report.run).unwrap();
        assert!(images.lock().unwrap().is_empty());

        let (scene, images) = self::scene(&[image()], false);
        scene.execute(vec![step(image())]).unwrap();
        assert_eq!(*images.lock().unwrap(), [image()]);
        assert!(!scene.runner.calls().iter().any(|c| c.contains("pull")));
    }

    #[test]
    fn a_daemon_that_does_not_answer_is_not_an_image_that_is_not_there() {
        let (scene, _) = scene(&[], true);
        let report = scene.execute(vec![step(image())]).unwrap();
        assert_eq!(report.state, RunState::RolledBack);
        assert!(report.message.contains("Cannot connect"), "{}", report.message);
    }

    #[test]
    fn only_a_digest_says_which_image() {
        let digest = format!("@sha256:{}", "0f".repeat(32));
        for bad in ["who/what", "who/what:latest", "who/what:2@sha256:00", "@", "who/what@md5:00"] {
            assert!(wrong_with_image(bad).is_some(), "{bad}");
        }
        for bad in ["who/what:latest", "Who/what", "who what", "-v", "", "who//what", "a\"b"] {
            assert!(wrong_with_image(&format!("{bad}{digest}")).is_some(), "{bad}");
        }
        for good in ["what", "who/what", "docker.io/who/what", "registry.example:5000/who/what"] {
            assert_eq!(wrong_with_image(&format!("{good}{digest}")), None, "{good}");
        }
        let (scene, images) = scene(&[], false);
        let report = scene.execute(vec![step("who/what:latest".into())]).unwrap();
        assert!(report.message.contains("has no digest"), "{}", report.message);
        assert!(images.lock().unwrap().is_empty());
    }
}
