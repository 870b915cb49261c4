// SPDX-License-Identifier: GPL-3.0-or-later
//! Build a library from Rust sources in the sandbox, and install it.

use super::{Action, preview::preview};
use crate::engine::context::{Applied, Before, Context};
use crate::engine::error::StepError;
use crate::engine::event::{Check, CheckOutcome};
use crate::engine::plan::Permission;
use crate::engine::report::{FileChange, Reversal, StepPreview};
use crate::engine::source::{Limits, read_archive};
use crate::host::{BuildUser, Command, CommandError, FileState, Host, INSIDE, Sandbox, WorkFolder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::time::Duration;

/// Build a shared library from an archive of Rust sources that came with the run, by the distribution's cargo,
/// as the unprivileged build user in the sandbox without network; take out just the library, look at it,
/// and install it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BuildLibrary {
    /// SHA-256 (hexadecimal) of the archive of the sources.
    pub source: String,
    /// Name of the library's file as cargo makes it ("libvgpu_unlock_rs.so").
    pub output: String,
    /// Where it is installed.
    pub path: String,
    /// What it is, for people.
    pub what: String,
}

/// The library is a few hundred kilobytes.
const OUTPUT_LIMIT: u64 = 64 << 20;

/// Vendored dependencies are many small files.
fn limits() -> Limits {
    Limits { entries: 60_000, total: 512 << 20, ..Limits::default() }
}

/// What is wrong with a shared library for this machine, if anything (elf(5)).
fn wrong(bytes: &[u8]) -> Option<&'static str> {
    let half = |at: usize| Some(u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    match () {
        () if !bytes.starts_with(b"\x7fELF\x02\x01") => Some("it is no 64-bit ELF file"),
        () if half(16) != Some(3) => Some("it is no shared object"),
        () if half(18) != Some(62) => Some("it is not for x86_64"),
        () => None,
    }
}

/// The file beside a library that says what it was built from: the SHA-256 of the sources, and its own.
fn mark(path: &str) -> String {
    format!("{path}.source")
}

/// The SHA-256 of the sources that the library at a path was built from by this step; `None` where it is not there, or is
/// not as it was built.
pub fn built_from(host: &Host, path: &str) -> Option<String> {
    let text = host.root().read_at_most(&mark(path), 4 << 10).ok()?;
    let text = String::from_utf8(text).ok()?;
    let (source, library) = text.trim().split_once(' ')?;
    match host.root().state(path) {
        Ok(FileState::File { mode: 0o644, sha256, .. }) if sha256 == library => Some(source.to_owned()),
        _ => None,
    }
}

impl BuildLibrary {
    fn cargo() -> Command {
        Command::new("cargo")
            .args(["build", "--release", "--lib", "--offline", "--target-dir", &format!("{INSIDE}/out")])
            .env("CARGO_HOME", format!("{INSIDE}/cargo"))
            .env("CARGO_NET_OFFLINE", "true")
            .timeout(Duration::from_secs(1800))
    }

    fn build(&self, ctx: &Context<'_>) -> Result<Vec<u8>, StepError> {
        let Some(archive) = ctx.inputs().sealed.get(&self.source) else {
            return Err(StepError::refused(
                format!("the sources of {} did not come with this run", self.what),
                "give their folder again",
            ));
        };
        let refused = |what: String| {
            StepError::refused(
                what,
                format!("give the sources of {} with their dependencies in them (`cargo vendor`)", self.what),
            )
        };
        let files = read_archive(archive, &limits()).map_err(|e| refused(e.to_string()))?;
        // The folder of the manifest: the topmost one.
        let manifest = files.keys().filter(|p| p.rsplit('/').next() == Some("Cargo.toml"));
        let Some(manifest) = manifest.min_by_key(|p| p.matches('/').count()) else {
            return Err(refused("there is no Cargo.toml in the sources".to_owned()));
        };
        let top = manifest.strip_suffix("Cargo.toml").unwrap_or("");
        let user = BuildUser::find();
        let work = WorkFolder::create(ctx.host(), &user)?;
        for (path, bytes) in &files {
            if let Some(path) = path.strip_prefix(top) {
                work.write(&format!("src/{path}"), bytes)?;
            }
        }
        work.hand_over()?;
        let failed = |e: String| StepError::refused(e, "see what is said above; nothing was changed");
        let sandbox = Sandbox::new(ctx.host(), work.path(), user).map_err(|e| failed(e.to_string()))?;
        match ctx.command(&sandbox.wrap(&Self::cargo().cwd(format!("{INSIDE}/src")))) {
            Err(StepError::Command(e @ CommandError::Failed { .. })) => {
                return Err(StepError::refused(
                    format!("{} could not be built: {e}", self.what),
                    "look at what cargo says above; where its compiler is too old: Debian 12 has a newer one in `cargo-web`, which \
                     takes the place of `cargo`",
                ));
            }
            other => other?,
        };
        // cargo's result has a second name, in `deps`, and a file with several names is not taken out.
        let made = format!("{INSIDE}/out/release/{}", self.output);
        ctx.command(&sandbox.wrap(&Command::new("cp").args(["--", &made, &format!("{INSIDE}/made")])))?;
        let bytes = work.take("made", OUTPUT_LIMIT).map_err(|e| refused(e.to_string()))?;
        match wrong(&bytes) {
            None => Ok(bytes),
            Some(what) => Err(refused(format!("cargo made {}, and {what}", self.output))),
        }
    }
}

impl Action for BuildLibrary {
    fn title(&self) -> String {
        format!("Build {} and install it as {}", self.what, self.path)
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [Permission::VgpuInstall].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::Full
    }

    fn weight(&self) -> u32 {
        200
    }

    fn preview(&self, _host: &Host) -> StepPreview {
        let diff = format!("built from the sources {} in the sandbox, mode 0644", self.source);
        let beside = FileChange { path: mark(&self.path), diff: "new, mode 0644".to_owned() };
        preview(self, &[Self::cargo()], vec![FileChange { path: self.path.clone(), diff }, beside])
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        ctx.remember(&[&self.path, &mark(&self.path)])
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        if built_from(ctx.host(), &self.path).as_ref() == Some(&self.source) {
            return Ok(Applied { unchanged: true, ..Applied::default() });
        }
        let bytes = self.build(ctx)?;
        ctx.write(&self.path, &bytes, 0o644)?;
        let made = format!("{} {}\n", self.source, hex::encode(Sha256::digest(&bytes)));
        ctx.write(&mark(&self.path), made.as_bytes(), 0o644)?;
        Ok(Applied::default())
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        let outcome = match ctx.host().root().state(&self.path) {
            Ok(FileState::File { mode: 0o644, .. }) => match ctx.host().root().read(&self.path) {
                Ok(bytes) => match wrong(&bytes) {
                    None => CheckOutcome::Good,
                    Some(what) => CheckOutcome::Bad { reason: what.to_owned() },
                },
                Err(e) => CheckOutcome::CouldNotLook { reason: e.to_string() },
            },
            Ok(_) => CheckOutcome::Bad { reason: "it is no file with mode 0644".to_owned() },
            Err(e) => CheckOutcome::CouldNotLook { reason: e.to_string() },
        };
        vec![Check { what: format!("{} is a library for this machine", self.path), outcome }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::RunState;
    use crate::engine::steps::Step;
    use crate::engine::testing::Scene;

    fn scene(files: &[(&str, &str)]) -> (Scene, Step) {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, text) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        let bytes = builder.into_inner().unwrap();
        let source = hex::encode(Sha256::digest(&bytes));
        let mut scene = Scene::real();
        scene.inputs.sealed.insert(source.clone(), bytes);
        let step = BuildLibrary {
            source,
            output: "libvgpu_unlock_rs.so".into(),
            path: "/usr/local/lib/hostwright/libvgpu_unlock_rs.so".into(),
            what: "vgpu_unlock-rs".into(),
        };
        (scene, Step::BuildLibrary(step))
    }

    #[test]
    fn sources_without_a_manifest_or_that_did_not_come_are_refused_before_anything_is_built() {
        let (mut scene, step) = scene(&[("x/src/lib.rs", "")]);
        let report = scene.execute(vec![step.clone()]).unwrap();
        assert!(report.message.contains("no Cargo.toml in the sources"), "{}", report.message);
        scene.inputs.sealed.clear();
        let report = scene.execute(vec![step]).unwrap();
        assert_eq!(report.state, RunState::RolledBack);
        assert!(report.message.contains("did not come with this run"), "{}", report.message);
        assert!(!scene.host.root().exists("/usr/local/lib/hostwright"));
    }

    #[test]
    fn a_library_tells_its_sources_only_while_it_is_as_it_was_built() {
        let (scene, step) = scene(&[("x/src/lib.rs", "")]);
        let Step::BuildLibrary(BuildLibrary { path, source, .. }) = &step else { panic!() };
        assert_eq!(built_from(&scene.host, path), None);
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(64, 0);
        (elf[16], elf[18]) = (3, 62);
        let sum = hex::encode(Sha256::digest(&elf));
        scene.put(path, elf, 0o644);
        scene.put(&mark(path), format!("{source} {sum}\n"), 0o644);
        assert_eq!(built_from(&scene.host, path).as_ref(), Some(source));
        // Nothing is built, or these sources without a manifest would be refused.
        let report = scene.execute(vec![step.clone()]).unwrap();
        assert_eq!(report.state, RunState::Done, "{report:?}");
        scene.put(path, "another", 0o644);
        assert_eq!(built_from(&scene.host, path), None);
    }

    #[test]
    fn only_a_shared_object_for_this_processor_is_taken() {
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(64, 0);
        (elf[16], elf[18]) = (3, 62);
        assert_eq!(wrong(&elf), None);
        elf[18] = 183;
        assert_eq!(wrong(&elf), Some("it is not for x86_64"));
        elf[16] = 2;
        assert_eq!(wrong(&elf), Some("it is no shared object"));
        assert_eq!(wrong(b"#!/bin/sh"), Some("it is no 64-bit ELF file"));
    }
}
