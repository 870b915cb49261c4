// SPDX-License-Identifier: GPL-3.0-or-later
//! Have DKMS build and install modules for one kernel, from a source tree that is in `/usr/src` already.
//!
//! DKMS keeps its records as files and links below `/var/lib/dkms` (dkms(8)), so that undo puts just these back, and
//! needs no DKMS for it.

use super::Action;
use super::preview::preview;
use crate::engine::context::{After, Applied, Before, Context};
use crate::engine::error::StepError;
use crate::engine::event::{Check, CheckOutcome};
use crate::engine::modinfo::{self, MODULE_LIMIT, Modinfo, same_vermagic};
use crate::engine::plan::Permission;
use crate::engine::report::{FileChange, Reversal, StepPreview};
use crate::host::{Command, FileKind, FileState, Host, Root};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// Where DKMS keeps its records.
const TREE: &str = "/var/lib/dkms";

/// How long DKMS may take: it builds.
const WALL_TIME: Duration = Duration::from_secs(30 * 60);

/// Have DKMS build, sign and install modules for one kernel; registers the source tree first where it is not yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DkmsInstall {
    /// DKMS's name of the source tree ("hostwright-vmware").
    pub name: String,
    /// Its version: the tree is `/usr/src/NAME-VERSION`.
    pub version: String,
    /// Kernel release.
    pub kernel: String,
    /// The kernel's architecture as DKMS calls it ("x86_64").
    pub arch: String,
    /// vermagic that the modules must have.
    pub vermagic: String,
    /// Where each module goes: name and path.
    pub to: Vec<(String, String)>,
    /// The certificate of the key that DKMS signs with, when the kernel checks signatures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

impl DkmsInstall {
    fn tree(&self) -> String {
        format!("{TREE}/{}/{}", self.name, self.version)
    }

    fn source(&self) -> String {
        format!("{}/source", self.tree())
    }

    /// DKMS's record of what it built for the kernel.
    fn built(&self) -> String {
        format!("{}/{}/{}", self.tree(), self.kernel, self.arch)
    }

    /// DKMS's record that this version is the installed one.
    fn active(&self) -> String {
        format!("{TREE}/{}/kernel-{}-{}", self.name, self.kernel, self.arch)
    }

    fn dkms(&self, verb: &str) -> Command {
        Command::new("dkms").arg(verb).args(["-m", &self.name, "-v", &self.version]).timeout(WALL_TIME)
    }

    fn add(&self) -> Command {
        self.dkms("add")
    }

    /// The module index is a step of its own.
    fn install(&self) -> Command {
        self.for_kernel("install").arg("--no-depmod")
    }

    fn for_kernel(&self, verb: &str) -> Command {
        self.dkms(verb).args(["-k", &self.kernel, "-a", &self.arch])
    }

    /// Names are parts of paths and arguments.
    fn require_plain(&self) -> Result<(), StepError> {
        let fits = |text: &str| {
            !text.is_empty()
                && !text.starts_with(['.', '-'])
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "._+~-".contains(c))
        };
        let places = self.to.iter().all(|(module, to)| {
            fits(module)
                && ["/lib/modules", "/usr/lib/modules"]
                    .iter()
                    .any(|dir| to.starts_with(&format!("{dir}/{}/", self.kernel)))
        });
        if places && [&self.name, &self.version, &self.kernel, &self.arch].iter().all(|t| fits(t)) {
            return Ok(());
        }
        Err(StepError::refused(
            format!("{} {} for {} is nothing that DKMS could build", self.name, self.version, self.kernel),
            "make the plan again; if it still says so, report it",
        ))
    }

    /// Every path that is changed and can be named before.
    fn paths(&self, root: &Root) -> Vec<String> {
        let built = self.built();
        let mut paths = vec![self.source(), self.active(), format!("{built}/log/make.log")];
        for (_, to) in &self.to {
            paths.push(to.clone());
            paths.push(format!("{built}/module/{}", to.rsplit('/').next().unwrap_or_default()));
        }
        for path in files_below(root, &built) {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        paths
    }

    fn look(&self, ctx: &Context<'_>, module: &str, to: &str) -> CheckOutcome {
        let bad = |reason: String| CheckOutcome::Bad { reason };
        let bytes = match ctx.host().root().read_at_most(to, MODULE_LIMIT) {
            Ok(bytes) => bytes,
            Err(e) if e.is_not_found() => {
                return bad("DKMS did not install it; its log is make.log below /var/lib/dkms".to_owned());
            }
            Err(e) => return CheckOutcome::CouldNotLook { reason: e.to_string() },
        };
        let info = modinfo::decompress(&bytes).map_err(|e| e.to_string()).and_then(|elf| {
            let info = Modinfo::of_module(&elf).map_err(|e| e.to_string())?;
            let signed = modinfo::take_signature(&elf).map_err(|e| e.to_string())?.is_some();
            Ok((info, signed))
        });
        match info {
            Err(reason) => bad(reason),
            Ok((info, _)) if !modinfo::same_name(info.get("name").unwrap_or_default(), module) => {
                bad("it calls itself otherwise".to_owned())
            }
            Ok((info, _)) if !info.get("vermagic").is_some_and(|v| same_vermagic(v, &self.vermagic)) => {
                bad("it is for another kernel".to_owned())
            }
            Ok((_, false)) if self.certificate.is_some() => bad("DKMS did not sign it".to_owned()),
            Ok(_) => CheckOutcome::Good,
        }
    }
}

/// All files and links below a folder.
fn files_below(root: &Root, folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in root.list(&folder).unwrap_or_default() {
            let path = format!("{folder}/{}", entry.name);
            if entry.kind == FileKind::Directory { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

impl Action for DkmsInstall {
    fn title(&self) -> String {
        let names: Vec<&str> = self.to.iter().map(|(module, _)| module.as_str()).collect();
        format!("Have DKMS install {} for {}", names.join(" and "), self.kernel)
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [Permission::ModulesInstall].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::Full
    }

    fn weight(&self) -> u32 {
        60
    }

    fn preview(&self, host: &Host) -> StepPreview {
        let mut commands = Vec::new();
        if !host.root().exists(&self.source()) {
            commands.push(self.add());
        }
        commands.push(self.install());
        let file = |path: &str| FileChange {
            path: path.to_owned(),
            diff: if host.root().exists(path) {
                "replaced; what is there is kept for undo".to_owned()
            } else {
                "new file, written by DKMS".to_owned()
            },
        };
        preview(self, &commands, self.to.iter().map(|(_, to)| file(to)).collect())
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        self.require_plain()?;
        let root = ctx.host().root();
        let paths = self.paths(root);
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let mut before = ctx.remember(&paths)?;
        let registered = !matches!(before.files.get(&self.source()), None | Some(FileState::Absent));
        before.data = json!({ "registered": registered });
        Ok(before)
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        let root = ctx.host().root();
        // DKMS builds nothing that it has a record of. What it had is kept for undo.
        for path in self.paths(root) {
            if path != self.source() && root.symlink_metadata(&path).is_ok() {
                ctx.remove(&path)?;
            }
        }
        if let Ok(tree) = root.dir(&self.tree()) {
            // Only empty folders are left of it.
            let _ = tree.remove_dir_all(&self.kernel);
        }
        if root.symlink_metadata(&self.source()).is_err() {
            ctx.tool(self.add())?;
        }
        ctx.tool(ctx.locked(self.install()))?;
        let known = self.paths(root);
        let also = files_below(root, &self.built()).into_iter().filter(|p| known.contains(p)).collect();
        Ok(Applied { also, ..Applied::default() })
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        let check = |(module, to): &(String, String)| Check {
            what: format!("{module} is installed for {} by DKMS", self.kernel),
            outcome: self.look(ctx, module, to),
        };
        self.to.iter().map(check).collect()
    }

    fn undo(&self, ctx: &mut Context<'_>, before: &Before, after: Option<&After>) -> Result<(), StepError> {
        let root = ctx.host().root();
        if after.is_none() {
            // It was interrupted, or failed: DKMS knows what it made so far.
            let registered = before.data.get("registered").and_then(serde_json::Value::as_bool);
            let tidy = if registered == Some(false) {
                self.dkms("remove").arg("--all")
            } else {
                self.for_kernel("unbuild")
            };
            if root.symlink_metadata(&self.source()).is_ok()
                && let Err(error) = ctx.tool(tidy)
            {
                tracing::warn!(%error, "DKMS could not tidy up");
            }
            if let Ok(tree) = root.dir(&self.tree()) {
                let _ = tree.remove_dir_all("build");
            }
            // It removes folders that are empty by then.
            for (path, state) in &before.files {
                if *state != FileState::Absent
                    && let Some((folder, _)) = path.rsplit_once('/')
                    && root.exists(&format!("/lib/modules/{}", self.kernel))
                {
                    root.create_dirs(folder, 0o755)?;
                }
            }
        }
        ctx.restore(before, after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::journal::RunState;
    use crate::engine::steps::Step;
    use crate::engine::testing::{Scene, same};
    use crate::host::HostKind;
    use crate::host::fake::FakeRunner;

    fn step() -> DkmsInstall {
        DkmsInstall {
            name: "hostwright-vmware".into(),
            version: "1".into(),
            kernel: "6.1.0-test".into(),
            arch: "x86_64".into(),
            vermagic: "6.1.0-test SMP ".into(),
            to: vec![("vmmon".into(), "/lib/modules/6.1.0-test/updates/dkms/vmmon.ko".into())],
            certificate: None,
        }
    }

    #[test]
    fn a_dkms_that_says_it_did_and_did_not_is_no_success() {
        let scene = Scene::new(HostKind::Machine, FakeRunner::new().ok("dkms", ""));
        scene.put("/lib/modules/6.1.0-test/modules.dep", "", 0o644);
        let before = scene.tree();
        let report = scene.execute(vec![Step::DkmsInstall(step())]).unwrap();
        assert_eq!(report.state, RunState::RolledBack, "{report:?}");
        assert!(report.message.contains("DKMS did not install it"), "{}", report.message);
        same(&scene.tree(), &before);
        assert_eq!(
            scene.runner.calls()[..2],
            [
                "dkms add -m hostwright-vmware -v 1".to_owned(),
                "dkms install -m hostwright-vmware -v 1 -k 6.1.0-test -a x86_64 --no-depmod".to_owned()
            ]
        );
    }

    #[test]
    fn a_dkms_that_fails_leaves_what_was_there() {
        let runner = FakeRunner::new().fails("dkms", 10, "Bad return status for module build");
        let scene = Scene::new(HostKind::Machine, runner);
        scene.put("/lib/modules/6.1.0-test/updates/dkms/vmmon.ko", "old", 0o644);
        let built = "/var/lib/dkms/hostwright-vmware/1/6.1.0-test/x86_64";
        scene.put(&format!("{built}/module/vmmon.ko"), "old", 0o644);
        scene.put(&format!("{built}/log/make.log"), "old", 0o644);
        scene.put("/usr/src/hostwright-vmware-1/dkms.conf", "", 0o644);
        let root = scene.host.root();
        root.symlink("/usr/src/hostwright-vmware-1", "/var/lib/dkms/hostwright-vmware/1/source").unwrap();
        root.symlink("1/6.1.0-test/x86_64", "/var/lib/dkms/hostwright-vmware/kernel-6.1.0-test-x86_64")
            .unwrap();
        let before = scene.tree();
        let report = scene.execute(vec![Step::DkmsInstall(step())]).unwrap();
        assert_eq!(report.state, RunState::RolledBack, "{report:?}");
        same(&scene.tree(), &before);
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let scene = Scene::new(HostKind::Machine, FakeRunner::new().ok("dkms", ""));
        for bad in ["../x", "-x", "a/b", ""] {
            for step in [
                DkmsInstall { kernel: bad.into(), ..step() },
                DkmsInstall { name: bad.into(), ..step() },
                DkmsInstall { to: vec![("vmmon".into(), "/etc/passwd".into())], ..step() },
            ] {
                let report = scene.execute(vec![Step::DkmsInstall(step)]).unwrap();
                assert!(report.message.contains("nothing that DKMS could build"), "{report:?}");
            }
        }
        assert!(scene.runner.calls().is_empty());
    }
}
