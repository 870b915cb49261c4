// SPDX-License-Identifier: GPL-3.0-or-later
//! The process that dies.

use crate::scene::{Tree, no_check, owner, plan, put, remove, run, same, tree, undone, write};
use hostwright::engine::kernel_params::{Format, Parameter, add};
use hostwright::engine::steps::{Depmod, ParameterFile, SetKernelParameters, WriteFile};
use hostwright::engine::{Event, Inputs, LOCK, RunState, Step, execute, runs, undo};
use hostwright::host::{
    Cancel, Command, CommandError, Host, HostKind, Line, Lock, Output, RealRunner, Root, Runner, SystemClock,
    failpoint,
};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;

pub const K: &str = "6.1.0-test";

const ENTRY: &str = "/boot/loader/entries/m-6.1.0.conf";
const ENTRY_TEXT: &str = "title X\nlinux /vmlinuz\noptions root=/dev/vda1 ro\n";

/// What the child is to do.
#[derive(Debug, Clone, Copy)]
pub enum Task {
    /// The run.
    Execute,
    /// The run with a last step that fails, so that it takes itself back.
    Fail,
    /// The run with a depmod that dies with its caller in the middle of its work.
    HalfDepmod,
    /// The run with a depmod that has a child which is still at work when its caller is dead.
    Orphan,
    /// The undo of run 1.
    Undo,
}

impl Task {
    fn of(word: &str) -> Self {
        [Self::Execute, Self::Fail, Self::HalfDepmod, Self::Orphan, Self::Undo]
            .into_iter()
            .find(|t| format!("{t:?}") == word)
            .unwrap()
    }
}

/// A machine with something of each kind in it.
pub fn plant(dir: &Path) {
    put(dir, "/etc/edited.conf", "old text\n");
    std::fs::set_permissions(dir.join("etc/edited.conf"), PermissionsExt::from_mode(0o640)).unwrap();
    // Only root can give files away; the rest is compared all the same.
    let _ = std::os::unix::fs::chown(dir.join("etc/edited.conf"), Some(1234), Some(4321));
    put(dir, "/precious", "somebody's\n");
    put(dir, ENTRY, ENTRY_TEXT);
    std::os::unix::fs::symlink("../precious", dir.join("etc/link.conf")).unwrap();
    put(dir, &format!("/lib/modules/{K}/kernel/old.ko"), "old module");
    put(dir, &format!("/lib/modules/{K}/extra/vmmon.ko"), "displaced module");
    put(dir, &format!("/lib/modules/{K}/modules.order"), "kernel/old.ko\n");
    put(dir, &format!("/lib/modules/{K}/modules.builtin"), "");
    let base = dir.display().to_string();
    RealRunner.run_ok(&Command::new("depmod").args(["-b", &base, K])).unwrap();
}

/// A step of each kind that a scratch root takes.
pub fn steps() -> Vec<Step> {
    vec![
        write("/etc/edited.conf", "new text\n"),
        remove(&format!("/lib/modules/{K}/extra/vmmon.ko")),
        write(&format!("/lib/modules/{K}/updates/dkms/vmmon.ko"), "new module"),
        write("/etc/link.conf", "no link any more\n"),
        Step::Depmod(Depmod { kernel: K.into() }),
        write("/etc/modules-load.d/vmware.conf", "vmmon\nvmnet\n"),
        Step::WriteFile(WriteFile {
            path: "/etc/edited.conf".into(),
            content: "newer text\n".into(),
            mode: 0o600,
            reason: String::new(),
        }),
        kernel_parameters(),
    ]
}

/// Words on the kernel command line: an entry that is there, and a drop-in in a new folder.
fn kernel_parameters() -> Step {
    use sha2::{Digest, Sha256};
    let parameters: Vec<Parameter> = vec!["iommu=pt".parse().unwrap()];
    let file = |path: &str, format, from: Option<&str>, content: String| ParameterFile {
        path: path.into(),
        format,
        from: from.map(|text| hex::encode(Sha256::digest(text))),
        content,
        mode: 0o644,
    };
    let entry = add(Format::LoaderEntry, ENTRY_TEXT, &parameters).unwrap().unwrap();
    let drop_in = "GRUB_CMDLINE_LINUX_DEFAULT=\"$GRUB_CMDLINE_LINUX_DEFAULT iommu=pt\"\n".to_owned();
    Step::SetKernelParameters(SetKernelParameters {
        parameters,
        files: vec![
            file(ENTRY, Format::LoaderEntry, Some(ENTRY_TEXT), entry),
            file("/etc/default/grub.d/zz-hostwright.cfg", Format::GrubDefaults, None, drop_in),
        ],
    })
}

/// As [`steps`], with a last one that cannot be done.
fn failing() -> Vec<Step> {
    let mut steps = steps();
    steps.push(write("/etc", "a directory is in the way"));
    steps
}

/// A depmod that is stopped in the middle of its work, with whoever started it.
struct HalfDepmod(PathBuf);

impl Runner for HalfDepmod {
    fn run_lines(
        &self,
        command: &Command,
        _: &Cancel,
        _: &mut dyn FnMut(&Line),
    ) -> Result<Output, CommandError> {
        assert_eq!(command.program, "depmod");
        let index = self.0.join(format!("lib/modules/{K}"));
        std::fs::write(index.join("modules.dep"), "half a li").unwrap();
        std::fs::remove_file(index.join("modules.symbols")).unwrap();
        std::fs::write(index.join("modules.alias.4711.123456.1700000000"), "left over").unwrap();
        std::fs::write(index.join("modules.weakdep"), "made by a later depmod").unwrap();
        std::process::abort();
    }
}

/// A depmod whose child says that it is there and then takes its time.
struct Orphan(PathBuf);

impl Runner for Orphan {
    fn run_lines(
        &self,
        command: &Command,
        cancel: &Cancel,
        on_line: &mut dyn FnMut(&Line),
    ) -> Result<Output, CommandError> {
        assert_eq!(command.program, "depmod");
        let script = "(echo $$ > \"$1\"; exec sleep 3) & wait";
        let at_work = self.0.join("var/lib/hostwright/at-work").display().to_string();
        let mut slow = Command::new("sh").args(["-c", script, "sh", &at_work]);
        slow.inherit.clone_from(&command.inherit);
        RealRunner.run_lines(&slow, cancel, on_line)
    }
}

fn work(dir: &Path, task: Task) {
    let host = Host::scratch(dir).unwrap();
    let begin = |host: &Host, steps| {
        let sink = &mut |_: Event| {};
        execute(host, &plan(steps), &Inputs::default(), &owner(), &no_check, &Cancel::new(), sink).unwrap()
    };
    match task {
        Task::Execute => assert_eq!(begin(&host, steps()).state, RunState::Done),
        Task::Fail => assert_eq!(begin(&host, failing()).state, RunState::RolledBack),
        Task::HalfDepmod => {
            let runner = Arc::new(HalfDepmod(dir.to_owned()));
            let root = Root::open(dir).unwrap();
            let host = Host::from_parts(root, runner, Arc::new(SystemClock), HostKind::PartialRoot);
            begin(&host, steps());
        }
        Task::Orphan => {
            let root = Root::open(dir).unwrap();
            let runner = Arc::new(Orphan(dir.to_owned()));
            let host = Host::from_parts(root, runner, Arc::new(SystemClock), HostKind::PartialRoot);
            begin(&host, steps());
        }
        Task::Undo => {
            let report = undo(&host, 1, &owner(), &Cancel::new(), &mut |_: Event| {}).unwrap();
            assert_eq!(report.state, RunState::Undone);
        }
    }
}

/// Started by the other tests as a process of its own, which dies where they say. By itself it does the
/// same work to its end.
#[test]
fn the_work_itself_goes_through_when_nobody_dies() {
    if let Ok(dir) = std::env::var("CHILD_ROOT") {
        if let Ok(place) = std::env::var("CHILD_DIES_AT") {
            failpoint::die_at(&place, std::env::var("CHILD_NTH").unwrap().parse().unwrap());
        }
        work(Path::new(&dir), Task::of(&std::env::var("CHILD_TASK").unwrap()));
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    plant(dir.path());
    let host = Host::scratch(dir.path()).unwrap();
    let before = tree(&host);
    work(dir.path(), Task::Execute);
    assert!(host.root().exists(&format!("/lib/modules/{K}/updates/dkms/vmmon.ko")));
    work(dir.path(), Task::Undo);
    same(&tree(&host), &before);
    work(dir.path(), Task::Fail);
    same(&tree(&host), &before);
}

/// Starts the child.
pub fn start(dir: &Path, task: Task, dies_at: Option<(&str, u32)>) -> Child {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child::the_work_itself_goes_through_when_nobody_dies", "--test-threads=1"])
        .env("CHILD_ROOT", dir)
        .env("CHILD_TASK", format!("{task:?}"))
        // No core file and no backtrace for each death.
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if let Some((place, nth)) = dies_at {
        command.env("CHILD_DIES_AT", place).env("CHILD_NTH", nth.to_string());
    }
    command.spawn().unwrap()
}

/// Whether the child died where it should; it must else have done its work.
#[track_caller]
pub fn died(status: ExitStatus) -> bool {
    match status.signal() {
        Some(_) => true,
        None => {
            assert!(status.success(), "the child failed: {status:?}");
            false
        }
    }
}

/// A tool that dies with its caller may hold the machine's lock for a moment longer.
#[track_caller]
fn wait_until_free(host: &Host) {
    let began = std::time::Instant::now();
    while let Err(e) = Lock::take(host.root(), LOCK, "a test that waits") {
        assert!(began.elapsed().as_secs() < 20, "{e}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// After a death: nothing else is begun before the run is taken back, and then the tree is as it was.
#[track_caller]
pub fn recovers(host: &Host, before: &Tree, place: &str) {
    wait_until_free(host);
    let list = runs(host).unwrap();
    match list.first() {
        // Not even the first record was written: nothing was changed, and nothing stands in the way.
        None => {}
        Some(last) if last.state == RunState::Interrupted => {
            assert!(last.can_undo, "{place}");
            let untouched = last.steps.iter().all(|s| s.state == hostwright::engine::StepState::Pending);
            if !untouched {
                let refused = run(host, vec![write("/etc/other", "x")]).0.unwrap_err().to_string();
                assert!(refused.contains("take it back with `hostwright undo 1`"), "{place}: {refused}");
            }
            undone(host, last.run);
        }
        // It died after its last record.
        Some(last) => match last.state {
            RunState::Done => undone(host, last.run),
            state => assert!(matches!(state, RunState::Undone | RunState::RolledBack), "{place}: {state:?}"),
        },
    }
    same(&tree(host), before);
    // The way is free again.
    let next = run(host, vec![write("/etc/other", "x")]).0.unwrap();
    assert_eq!(next.state, RunState::Done, "{place}");
    undone(host, next.run);
    same(&tree(host), before);
}
