// SPDX-License-Identifier: GPL-3.0-or-later
//! Try modules that were just built in a virtual machine, before anything of the host is changed.

use super::Action;
use super::preview::preview;
use crate::engine::build::LOGS;
use crate::engine::context::{Applied, Before, Context};
use crate::engine::error::StepError;
use crate::engine::event::{Check, CheckOutcome, Event, Level};
use crate::engine::modinfo::MODULE_LIMIT;
use crate::engine::plan::Permission;
use crate::engine::rehearse::{Progressed, Wanted, rehearse};
use crate::engine::report::{Reversal, StepPreview};
use crate::guest::rehearsal::Verdict;
use crate::host::{Host, Stream, WORK};
use crate::init::rehearse::Said;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Try modules of this run in a virtual machine with their kernel. Changes nothing, so that there is nothing to
/// take back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rehearse {
    /// Kernel release.
    pub kernel: String,
    /// The kernel's boot image ("/boot/vmlinuz-6.1.0-56-amd64").
    pub image: String,
    /// The modules, those whose symbols others need first.
    pub modules: Vec<String>,
    /// Whether it is a failure, too, when it turns out that they cannot be tried here.
    #[serde(default)]
    pub required: bool,
}

/// Where kernels and initramfs images for guests are kept, inside the root.
const CACHE: &str = "/var/cache/hostwright/lab";
/// Space that it takes while it runs: an unpacked kernel, an initramfs, logs.
const WORK_SPACE: u64 = 128 << 20;
/// A verdict is a few kilobytes.
const VERDICT_LIMIT: u64 = 1 << 20;

impl Rehearse {
    /// "vmmon and vmnet".
    fn names(&self) -> String {
        self.modules.join(" and ")
    }

    /// Where the verdict is kept between `apply` and `verify`.
    fn verdict_file(&self, ctx: &Context<'_>) -> Result<String, StepError> {
        Ok(format!("{}/rehearsal-{}.json", ctx.work_dir()?, self.kernel))
    }

    fn modules(&self, ctx: &Context<'_>) -> Result<Vec<(String, Vec<u8>)>, StepError> {
        let read = |module: &String| {
            let path = ctx.artifact(&self.kernel, module).ok_or_else(|| {
                let what = format!("{module} for {} was not built in this run", self.kernel);
                StepError::refused(what, "make the plan again; if it still says so, report it")
            })?;
            Ok((module.clone(), ctx.host().root().read_at_most(path, MODULE_LIMIT)?))
        };
        self.modules.iter().map(read).collect()
    }

    fn tell(&self, ctx: &Context<'_>, log: &mut String, progressed: &Progressed<'_>, done: &mut u64) {
        match progressed {
            Progressed::Console(line) => {
                let _ = writeln!(log, "console: {line}");
            }
            Progressed::Said(Said::Trying { what }) => {
                let _ = writeln!(log, "{what} …");
            }
            _ => {}
        }
        let (line, tried) = progressed.line();
        if let Some(line) = line {
            let _ = writeln!(log, "{line}");
            let line = format!("[{}] {line}", self.kernel);
            ctx.emit(Event::Log { step: ctx.step(), stream: Stream::Out, line });
        }
        if tried {
            *done += 1;
            ctx.progress(*done, 0, "things tried");
        }
    }

    /// Keeps the log; a person finds it with those of builds.
    fn keep(&self, ctx: &Context<'_>, log: &str) -> Option<String> {
        let root = ctx.host().root();
        let now = ctx.host().clock().now().strftime("%Y%m%d_%H%M%S").to_string();
        let path = format!("{LOGS}/vmware_rehearsal_{now}_{}.log", self.kernel);
        let written =
            root.create_dirs(LOGS, 0o755).and_then(|_| root.write(&path, log.as_bytes(), 0o644, None));
        match written {
            Ok(_) => Some(path),
            Err(e) => {
                ctx.say(Level::Warning, format!("the log of the rehearsal cannot be kept: {e}"));
                None
            }
        }
    }
}

impl Action for Rehearse {
    fn title(&self) -> String {
        format!("Try {} in a virtual machine with {}", self.names(), self.kernel)
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [Permission::ModulesInstall].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::Full
    }

    fn weight(&self) -> u32 {
        100
    }

    fn preview(&self, _host: &Host) -> StepPreview {
        preview(self, &[], Vec::new())
    }

    fn space(&self, _host: &Host) -> Vec<(String, u64)> {
        vec![(WORK.to_owned(), WORK_SPACE)]
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        if !ctx.host().root().exists(&self.image) {
            let what = format!("the boot image of {} is gone: {}", self.kernel, self.image);
            return Err(StepError::refused(what, "plan again, for what is there now"));
        }
        Ok(Before::default())
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        let modules = self.modules(ctx)?;
        let root = ctx.host().root();
        let scratch = format!("{}/rehearsal-{}", ctx.work_dir()?, self.kernel);
        root.create_dirs(&scratch, 0o700)?;
        root.create_dirs(CACHE, 0o700)?;
        let mut log = format!("{}\n", self.title());
        let mut done = 0;
        let wanted = Wanted { kernel: &self.kernel, image: &self.image, modules: &modules };
        let (scratch, cache) = (root.outside(&scratch), root.outside(CACHE));
        let tried = rehearse(ctx.host(), &wanted, &scratch, &cache, ctx.cancel(), &mut |progressed| {
            self.tell(ctx, &mut log, &progressed, &mut done);
        });
        let verdict = match tried {
            Ok(verdict) => verdict,
            Err(error) => {
                let _ = writeln!(log, "{error}");
                self.keep(ctx, &log);
                return Err(error);
            }
        };
        let _ = writeln!(log, "{verdict:#?}");
        let kept = self.keep(ctx, &log);
        let json = serde_json::to_vec(&verdict).unwrap_or_default();
        root.write(&self.verdict_file(ctx)?, &json, 0o600, None)?;
        let all = kept.map(|path| format!("all of it is in {path}"));
        match verdict {
            Verdict::Passed { .. } => Ok(Applied::default()),
            Verdict::Failed { why, lines } => {
                for line in &lines {
                    ctx.say(Level::Error, line.clone());
                }
                let what = format!(
                    "{} did not pass in a virtual machine with {}: {why}{}",
                    self.names(),
                    self.kernel,
                    excerpt(&lines)
                );
                let look = all.map_or_else(String::new, |all| format!("; {all}"));
                Err(StepError::refused(
                    what,
                    format!(
                        "report it with these lines{look}; or plan again with --no-rehearse, at your own risk"
                    ),
                ))
            }
            Verdict::CouldNotLook { why, lines } if self.required => {
                let what = format!(
                    "{} could not be tried in a virtual machine with {}: {why}{}",
                    self.names(),
                    self.kernel,
                    excerpt(&lines)
                );
                Err(StepError::refused(what, "plan again without --rehearse to go on all the same"))
            }
            Verdict::CouldNotLook { why, .. } => {
                ctx.say(Level::Warning, format!("the modules are not tried: {why}"));
                Ok(Applied::default())
            }
        }
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        let read = || -> Result<Verdict, String> {
            let file = self.verdict_file(ctx).map_err(|e| e.to_string())?;
            let json = ctx.host().root().read_at_most(&file, VERDICT_LIMIT).map_err(|e| e.to_string())?;
            serde_json::from_slice(&json).map_err(|e| e.to_string())
        };
        let outcome = match read() {
            Ok(Verdict::Passed { .. }) => CheckOutcome::Good,
            Ok(Verdict::Failed { why, .. }) => CheckOutcome::Bad { reason: why },
            Ok(Verdict::CouldNotLook { why, .. }) | Err(why) => CheckOutcome::CouldNotLook { reason: why },
        };
        let what = format!("{} work in a virtual machine with {}", self.names(), self.kernel);
        vec![Check { what, outcome }]
    }
}

/// The lines that show why, below the sentence.
fn excerpt(lines: &[String]) -> String {
    lines.iter().fold(String::new(), |text, line| format!("{text}\n    {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::RunState;
    use crate::engine::steps::Step;
    use crate::engine::testing::Scene;
    use crate::host::HostKind;
    use crate::host::fake::FakeRunner;

    fn step(required: bool) -> Rehearse {
        Rehearse {
            kernel: "6.1.0-test".into(),
            image: "/boot/vmlinuz-6.1.0-test".into(),
            modules: vec!["vmmon".into(), "vmnet".into()],
            required,
        }
    }

    #[test]
    fn an_older_step_without_the_wish_is_not_required() {
        let json = r#"{"step":"rehearse","kernel":"k","image":"/boot/vmlinuz-k","modules":["vmmon"]}"#;
        let Step::Rehearse(read) = serde_json::from_str(json).unwrap() else { panic!("another step") };
        assert!(!read.required);
    }

    #[test]
    fn a_kernel_image_that_is_gone_stops_the_run_before_anything_is_changed() {
        let scene = Scene::new(HostKind::PartialRoot, FakeRunner::new());
        scene.put("/etc/a", "as it was", 0o644);
        let before = scene.tree();
        let report = scene.execute(vec![Step::Rehearse(step(false))]).unwrap();
        assert_eq!(report.state, RunState::RolledBack);
        assert!(report.message.contains("is gone: /boot/vmlinuz-6.1.0-test"), "{}", report.message);
        assert_eq!(scene.tree(), before);
    }

    #[test]
    fn modules_that_this_run_did_not_build_are_not_tried() {
        let scene = Scene::new(HostKind::PartialRoot, FakeRunner::new());
        scene.put("/boot/vmlinuz-6.1.0-test", "MZ", 0o644);
        let report = scene.execute(vec![Step::Rehearse(step(false))]).unwrap();
        assert_eq!(report.state, RunState::RolledBack);
        assert!(
            report.message.contains("vmmon for 6.1.0-test was not built in this run"),
            "{}",
            report.message
        );
    }
}
