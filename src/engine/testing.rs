// SPDX-License-Identifier: GPL-3.0-or-later
//! A scratch machine for the tests of steps: carries steps out and takes them back for real.

use super::event::{Check, Event};
use super::plan::{PLAN_VERSION, Plan};
use super::report::{Inputs, Owner, RunReport};
use super::steps::Step;
use super::{RunError, RunState};
use crate::host::fake::{FakeRunner, host};
use crate::host::{Cancel, FileState, Host, HostKind, Output};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// A scratch machine in a temporary folder.
pub(crate) struct Scene {
    dir: tempfile::TempDir,
    pub host: Host,
    pub runner: Arc<FakeRunner>,
    pub inputs: Inputs,
    pub cancel: Cancel,
    pub events: std::sync::Mutex<Vec<Event>>,
}

impl Scene {
    /// A machine of this kind whose commands are answered by `runner`.
    pub fn new(kind: HostKind, runner: FakeRunner) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runner = Arc::new(runner);
        let host = host(dir.path(), runner.clone(), kind).unwrap();
        Self {
            dir,
            host,
            runner,
            inputs: Inputs::default(),
            cancel: Cancel::new(),
            events: std::sync::Mutex::default(),
        }
    }

    /// A scratch root without tools of its own; the running machine's tools are started for real.
    pub fn real() -> Self {
        let mut scene = Self::new(HostKind::PartialRoot, FakeRunner::new());
        scene.host = Host::scratch(scene.dir.path()).unwrap();
        scene
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file with the folders above it.
    pub fn put(&self, path: &str, bytes: impl AsRef<[u8]>, mode: u32) -> &Self {
        let folder = path.rsplit_once('/').unwrap().0;
        self.host.root().create_dirs(if folder.is_empty() { "/" } else { folder }, 0o755).unwrap();
        self.host.root().write(path, bytes.as_ref(), mode, None).unwrap();
        self
    }

    /// Every path with all that must come back: bytes, mode, owner, time of files, targets of links.
    /// What Hostwright keeps for itself is left out.
    pub fn tree(&self) -> BTreeMap<String, FileState> {
        tree(&self.host)
    }

    /// Carries steps out with a check of the whole that is always good.
    pub fn execute(&self, steps: Vec<Step>) -> Result<RunReport, RunError> {
        self.execute_checked(steps, &|_, _| Vec::new())
    }

    /// Carries steps out.
    pub fn execute_checked(
        &self,
        steps: Vec<Step>,
        check: &dyn Fn(&Host, &Plan) -> Vec<Check>,
    ) -> Result<RunReport, RunError> {
        let mut sink = |e: Event| self.events.lock().unwrap().push(e);
        super::execute(&self.host, &plan(steps), &self.inputs, &owner(), check, &self.cancel, &mut sink)
    }

    /// Takes a run back.
    pub fn undo(&self, run: u32) -> Result<RunReport, RunError> {
        let mut sink = |e: Event| self.events.lock().unwrap().push(e);
        super::undo(&self.host, run, &owner(), &Cancel::new(), &mut sink)
    }

    /// apply → verify → undo: all good, and the tree as it was.
    #[track_caller]
    pub fn there_and_back(&self, steps: Vec<Step>) -> RunReport {
        let before = self.tree();
        let report = self.execute(steps).unwrap();
        assert_eq!(report.state, RunState::Done, "{report:?}");
        assert!(report.is_verified(), "{report:?}");
        let undone = self.undo(report.run).unwrap();
        assert_eq!(undone.state, RunState::Undone, "{undone:?}");
        same(&self.tree(), &before);
        report
    }
}

/// See [`Scene::tree`].
pub(crate) fn tree(host: &Host) -> BTreeMap<String, FileState> {
    // What Hostwright keeps for itself; and kernel headers, linked from the machine's own for tests of
    // builds, which would take most of the time of those tests.
    const LEFT_OUT: [&str; 4] =
        ["/var/lib/hostwright", "/var/cache/hostwright", "/run/hostwright", "/usr/src"];
    fn walk(host: &Host, dir: &str, into: &mut BTreeMap<String, FileState>) {
        for entry in host.root().list(dir).unwrap() {
            let path = format!("{}/{}", dir.trim_end_matches('/'), entry.name);
            if LEFT_OUT.contains(&path.as_str()) {
                continue;
            }
            let state = host.root().state(&path).unwrap();
            if matches!(state, FileState::Directory { .. }) {
                walk(host, &path, into);
            }
            into.insert(path, state);
        }
    }
    let mut found = BTreeMap::new();
    walk(host, "/", &mut found);
    for made_by_the_run in ["/var/lib", "/var/cache", "/var", "/run"] {
        let empty = !found.keys().any(|p| p.starts_with(&format!("{made_by_the_run}/")));
        if empty {
            found.remove(made_by_the_run);
        }
    }
    found
}

/// A plan of these steps that asks for all they need.
pub(crate) fn plan(steps: Vec<Step>) -> Plan {
    Plan {
        version: PLAN_VERSION,
        flow: "test".into(),
        title: String::new(),
        choices: serde_json::json!({}),
        facts: serde_json::json!({}),
        permissions: steps.iter().flat_map(Step::permissions).collect(),
        steps,
        details: BTreeMap::new(),
        warnings: Vec::new(),
        left_out: Vec::new(),
        notes: Vec::new(),
        needs_reboot: false,
    }
}

/// Whoever runs the tests.
pub(crate) fn owner() -> Owner {
    Owner { uid: nix::unistd::geteuid().as_raw(), name: "tester".into() }
}

/// Asserts that two trees are the same, and shows only what differs.
#[track_caller]
pub(crate) fn same(now: &BTreeMap<String, FileState>, before: &BTreeMap<String, FileState>) {
    let paths: std::collections::BTreeSet<_> = now.keys().chain(before.keys()).collect();
    let differ: Vec<_> = paths
        .into_iter()
        .filter(|p| now.get(*p) != before.get(*p))
        .map(|p| format!("{p}\n  before {:?}\n  now    {:?}", before.get(p), now.get(p)))
        .collect();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

/// A kernel of a test's own, which `rmmod` and `modprobe` change and `/proc/modules` shows.
#[derive(Clone, Default)]
pub(crate) struct FakeKernel(Arc<std::sync::Mutex<KernelState>>);

#[derive(Default)]
struct KernelState {
    proc_modules: std::path::PathBuf,
    loaded: Vec<String>,
    used: BTreeMap<String, u64>,
    needs: BTreeMap<String, String>,
    rejects: BTreeMap<String, String>,
}

impl FakeKernel {
    /// The running machine with this kernel and these modules loaded.
    pub fn scene(release: &str, loaded: &[&str]) -> (Scene, Self) {
        Self::scene_with(release, loaded, FakeRunner::new())
    }

    /// As [`FakeKernel::scene`], with a runner that already answers some commands.
    pub fn scene_with(release: &str, loaded: &[&str], runner: FakeRunner) -> (Scene, Self) {
        let kernel = Self::default();
        let answering = kernel.clone();
        let runner = runner.answer(move |command| {
            let name = command.args.last()?;
            match command.program.as_str() {
                "modprobe" => Some(answering.load(name)),
                "rmmod" => Some(answering.unload(name)),
                _ => None,
            }
        });
        let scene = Scene::new(HostKind::Machine, runner);
        scene.put("/proc/sys/kernel/osrelease", format!("{release}\n"), 0o644);
        let mut state = kernel.0.lock().unwrap();
        state.proc_modules = scene.path().join("proc/modules");
        state.loaded = loaded.iter().map(|m| (*m).to_owned()).collect();
        state.show();
        drop(state);
        (scene, kernel)
    }

    pub fn loaded(&self) -> Vec<String> {
        self.0.lock().unwrap().loaded.clone()
    }

    pub fn used(&self, module: &str, times: u64) {
        let mut state = self.0.lock().unwrap();
        state.used.insert(module.into(), times);
        state.show();
    }

    pub fn needs(&self, module: &str, other: &str) {
        self.0.lock().unwrap().needs.insert(module.into(), other.into());
    }

    pub fn rejects(&self, module: &str, saying: &str) {
        self.0.lock().unwrap().rejects.insert(module.into(), saying.into());
    }

    fn load(&self, name: &str) -> Output {
        let mut state = self.0.lock().unwrap();
        if let Some(said) = state.rejects.get(name) {
            return Output { code: Some(1), stderr: said.clone(), ..Output::default() };
        }
        let needed = state.needs.get(name).cloned();
        for name in needed.into_iter().chain([name.to_owned()]) {
            if !state.loaded.contains(&name) {
                state.loaded.push(name);
            }
        }
        state.show();
        Output { code: Some(0), ..Output::default() }
    }

    fn unload(&self, name: &str) -> Output {
        let mut state = self.0.lock().unwrap();
        if state.used.get(name).is_some_and(|n| *n > 0) || !state.loaded.contains(&name.to_owned()) {
            return Output { code: Some(1), stderr: format!("rmmod: ERROR: {name}"), ..Output::default() };
        }
        state.loaded.retain(|m| m != name);
        state.show();
        Output { code: Some(0), ..Output::default() }
    }
}

impl KernelState {
    fn show(&self) {
        let line = |m: &String| {
            let users: Vec<&String> = self
                .needs
                .iter()
                .filter(|(u, n)| *n == m && self.loaded.contains(u))
                .map(|(u, _)| u)
                .collect();
            let uses = self.used.get(m).copied().unwrap_or(0) + users.len() as u64;
            let users: String = users.iter().map(|u| format!("{u},")).collect();
            format!("{m} 16384 {uses} {} Live 0x0\n", if users.is_empty() { "-" } else { &users })
        };
        std::fs::write(&self.proc_modules, self.loaded.iter().map(line).collect::<String>()).unwrap();
    }
}

/// Services of a test's own, which `systemctl` or init scripts start and stop.
#[derive(Clone, Default)]
pub(crate) struct FakeServices(Arc<std::sync::Mutex<(Vec<String>, Vec<String>)>>);

impl FakeServices {
    pub fn systemd(active: &[&str]) -> (Self, FakeRunner) {
        let services = Self::default();
        services.0.lock().unwrap().0 = active.iter().map(|u| (*u).to_owned()).collect();
        let answering = services.clone();
        let runner = FakeRunner::new().answer(move |c| {
            (c.program == "systemctl").then(|| answering.answer(&c.args[0], c.args.last().unwrap()))
        });
        (services, runner)
    }

    pub fn init_scripts(active: &[&str]) -> (Self, FakeRunner) {
        let services = Self::default();
        services.0.lock().unwrap().0 = active.iter().map(|u| (*u).to_owned()).collect();
        let answering = services.clone();
        let runner = FakeRunner::new().answer(move |c| {
            let name = c.program.strip_prefix("/etc/init.d/")?;
            Some(answering.answer(&c.args[0], name))
        });
        (services, runner)
    }

    pub fn active(&self) -> Vec<String> {
        self.0.lock().unwrap().0.clone()
    }

    /// From now on it stops and does not start.
    pub fn breaks(&self, unit: &str) {
        self.0.lock().unwrap().1.push(unit.into());
    }

    pub fn mended(&self, unit: &str) {
        self.0.lock().unwrap().1.retain(|u| u != unit);
    }

    /// The commands so far that change something.
    pub fn changes(&self, scene: &Scene) -> Vec<String> {
        let mut calls = scene.runner.calls();
        calls.retain(|c| !c.contains("is-active") && !c.ends_with(" status"));
        calls
    }

    fn answer(&self, verb: &str, unit: &str) -> Output {
        let (active, broken) = &mut *self.0.lock().unwrap();
        let code = match verb {
            "is-active" | "status" => i32::from(!active.iter().any(|u| u == unit)) * 3,
            "stop" => {
                active.retain(|u| u != unit);
                0
            }
            _ if broken.iter().any(|u| u == unit) => {
                active.retain(|u| u != unit);
                let stderr = format!("Job for {unit} failed");
                return Output { code: Some(1), stderr, ..Output::default() };
            }
            _ => {
                active.retain(|u| u != unit);
                active.push(unit.to_owned());
                0
            }
        };
        Output { code: Some(code), ..Output::default() }
    }
}

/// A file marked so that nobody may change it (chattr +i), until this goes.
pub(crate) struct Immutable(std::fs::File);

impl Immutable {
    /// Marks it; `None` where that takes a right or a file system that is not here, which is said.
    pub fn mark(path: &Path) -> Option<Self> {
        let file = std::fs::File::open(path).unwrap();
        let set = rustix::fs::ioctl_getflags(&file)
            .and_then(|flags| rustix::fs::ioctl_setflags(&file, flags | rustix::fs::IFlags::IMMUTABLE));
        match set {
            Ok(()) => Some(Self(file)),
            Err(e) => {
                eprintln!("not looked at: {} cannot be marked ({e})", path.display());
                None
            }
        }
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        if let Ok(flags) = rustix::fs::ioctl_getflags(&self.0) {
            let _ = rustix::fs::ioctl_setflags(&self.0, flags - rustix::fs::IFlags::IMMUTABLE);
        }
    }
}
