// SPDX-License-Identifier: GPL-3.0-or-later
//! The commands that go into a Linux guest are carried out for real, in a folder of the test's own that bubblewrap
//! shows as /etc; `qm` is the test's.

use super::*;
use crate::engine::RunState;
use crate::engine::steps::Step;
use crate::engine::testing::Scene;
use crate::host::fake::FakeRunner;
use crate::host::{HostKind, Output, RealRunner, Runner};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

const TOKEN: &[u8] = b"eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJOTFMifQ.c2ln";

/// A guest: its `/etc`, whether its agent answers, the services that were restarted.
#[derive(Clone, Default)]
struct Machine {
    etc: PathBuf,
    silent: Arc<Mutex<bool>>,
    restarted: Arc<Mutex<Vec<String>>>,
}

impl Machine {
    /// `qm guest exec` as Proxmox has it, with the command really run.
    fn answer(&self, command: &Command) -> Option<Output> {
        if command.program != "qm" {
            return None;
        }
        if *self.silent.lock().unwrap() {
            let stderr = "QEMU guest agent is not running\n".to_owned();
            return Some(Output { code: Some(255), stderr, ..Output::default() });
        }
        let (_, argv) = command.args.split_at(command.args.iter().position(|a| a == "--")? + 1);
        if argv[0] == "systemctl" {
            self.restarted.lock().unwrap().push(argv[2].clone());
            return Some(printed(0, "", ""));
        }
        let mut inside =
            Command::new("bwrap").args(["--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin"]);
        inside = inside.args([
            "--symlink",
            "usr/lib",
            "/lib",
            "--symlink",
            "usr/lib64",
            "/lib64",
            "--proc",
            "/proc",
        ]);
        inside = inside
            .args(["--dev", "/dev", "--bind", &self.etc.display().to_string(), "/etc"])
            .args(argv.to_vec());
        if let Some(bytes) = &command.stdin {
            inside = inside.stdin(bytes.clone());
        }
        let output = RealRunner.run(&inside).unwrap();
        Some(printed(output.code.unwrap(), &output.stdout, &output.stderr))
    }
}

fn printed(code: i32, out: &str, err: &str) -> Output {
    let stdout =
        serde_json::json!({"exitcode": code, "exited": 1, "out-data": out, "err-data": err}).to_string();
    Output { code: Some(0), stdout, ..Output::default() }
}

fn step() -> GiveGuestToken {
    GiveGuestToken {
        vm: 100,
        os: GuestOs::Linux,
        name: "client_configuration_token_01-02-2026.tok".into(),
        sha256: hex::encode(Sha256::digest(TOKEN)),
        restart: true,
    }
}

fn scene(etc: &tempfile::TempDir) -> (Scene, Machine) {
    let machine = Machine { etc: etc.path().to_owned(), ..Machine::default() };
    let of = machine.clone();
    let mut scene = Scene::new(HostKind::Machine, FakeRunner::new().answer(move |c| of.answer(c)));
    scene.put("/etc/pve/qemu-server/100.conf", "name: desk\n", 0o640);
    scene.inputs.sealed.insert(step().sha256, TOKEN.to_vec());
    (scene, machine)
}

fn files(of: &Machine) -> Vec<(String, u32, Vec<u8>)> {
    let dir = of.etc.join("nvidia/ClientConfigToken");
    let Ok(entries) = std::fs::read_dir(&dir) else { return Vec::new() };
    let read = |e: std::fs::DirEntry| {
        let (path, name) = (e.path(), e.file_name().into_string().unwrap());
        (name, path.metadata().unwrap().permissions().mode() & 0o7777, std::fs::read(path).unwrap())
    };
    let mut found: Vec<_> = entries.map(|e| read(e.unwrap())).collect();
    found.sort();
    found
}

#[test]
fn a_token_goes_in_and_comes_out_with_its_folders() {
    let etc = tempfile::tempdir().unwrap();
    let (scene, machine) = scene(&etc);
    let report = scene.execute(vec![Step::GiveGuestToken(step())]).unwrap();
    assert_eq!(report.state, RunState::Done, "{report:?}");
    assert!(report.is_verified(), "{report:?}");
    assert_eq!(files(&machine), [(step().name, 0o744, TOKEN.to_vec())]);
    let said = format!("{:?} {:?}", scene.runner.calls(), scene.events.lock().unwrap());
    assert!(!said.contains(std::str::from_utf8(TOKEN).unwrap()), "the token is no argument, and in no event");
    assert_eq!(scene.undo(report.run).unwrap().state, RunState::Undone);
    assert!(!etc.path().join("nvidia").exists());
    assert_eq!(*machine.restarted.lock().unwrap(), ["nvidia-gridd.service", "nvidia-gridd.service"]);
}

#[test]
fn an_older_token_of_that_name_comes_back_with_its_mode_and_a_neighbour_stays() {
    let etc = tempfile::tempdir().unwrap();
    let (scene, machine) = scene(&etc);
    let dir = etc.path().join("nvidia/ClientConfigToken");
    std::fs::create_dir_all(&dir).unwrap();
    for (name, bytes) in [(step().name.as_str(), b"older \xff\x00".as_slice()), ("other.tok", b"other")] {
        std::fs::write(dir.join(name), bytes).unwrap();
        std::fs::set_permissions(dir.join(name), std::fs::Permissions::from_mode(0o640)).unwrap();
    }
    let before = files(&machine);
    let report = scene.execute(vec![Step::GiveGuestToken(step())]).unwrap();
    assert_eq!(report.state, RunState::Done, "{report:?}");
    assert_ne!(files(&machine), before);
    scene.undo(report.run).unwrap();
    assert_eq!(files(&machine), before);
}

#[test]
fn a_token_that_is_there_already_is_left_alone_and_nothing_is_restarted() {
    let etc = tempfile::tempdir().unwrap();
    let (scene, machine) = scene(&etc);
    scene.execute(vec![Step::GiveGuestToken(step())]).unwrap();
    let again = scene.execute(vec![Step::GiveGuestToken(step())]).unwrap();
    assert_eq!(again.state, RunState::Done);
    assert_eq!(machine.restarted.lock().unwrap().len(), 1);
}

#[test]
fn a_token_with_other_permissions_gets_them_and_has_its_own_again_after_undo() {
    let etc = tempfile::tempdir().unwrap();
    let (scene, machine) = scene(&etc);
    let dir = etc.path().join("nvidia/ClientConfigToken");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join(step().name), TOKEN).unwrap();
    std::fs::set_permissions(dir.join(step().name), std::fs::Permissions::from_mode(0o600)).unwrap();
    let report = scene.execute(vec![Step::GiveGuestToken(step())]).unwrap();
    assert_eq!(files(&machine), [(step().name, 0o744, TOKEN.to_vec())]);
    scene.undo(report.run).unwrap();
    assert_eq!(files(&machine), [(step().name, 0o600, TOKEN.to_vec())]);
}

#[test]
fn a_token_that_somebody_changed_since_stays() {
    let etc = tempfile::tempdir().unwrap();
    let (scene, machine) = scene(&etc);
    let report = scene.execute(vec![Step::GiveGuestToken(step())]).unwrap();
    let path = etc.path().join("nvidia/ClientConfigToken").join(step().name);
    std::fs::write(path, b"mine").unwrap();
    let undone = scene.undo(report.run).unwrap();
    assert!(format!("{undone:?}").contains("changed since"), "{undone:?}");
    assert_eq!(files(&machine)[0].2, b"mine");
}

#[test]
fn a_machine_that_is_off_does_not_stand_in_the_way_of_undo_and_what_stays_is_told() {
    let etc = tempfile::tempdir().unwrap();
    let (scene, machine) = scene(&etc);
    let report = scene.execute(vec![Step::GiveGuestToken(step())]).unwrap();
    *machine.silent.lock().unwrap() = true;
    let undone = scene.undo(report.run).unwrap();
    assert_eq!(undone.state, RunState::Undone);
    assert!(format!("{undone:?}").contains("stays in the virtual machine 100"), "{undone:?}");
    assert_eq!(files(&machine).len(), 1);
}

#[test]
fn an_agent_that_does_not_answer_changes_nothing() {
    let etc = tempfile::tempdir().unwrap();
    let (scene, machine) = scene(&etc);
    *machine.silent.lock().unwrap() = true;
    let report = scene.execute(vec![Step::GiveGuestToken(step())]).unwrap();
    assert_eq!(report.state, RunState::RolledBack);
    assert!(report.message.contains("guest agent is not running"), "{}", report.message);
    assert!(files(&machine).is_empty());
}

#[test]
fn a_link_or_folder_where_the_token_goes_is_refused() {
    let etc = tempfile::tempdir().unwrap();
    let (scene, _) = scene(&etc);
    std::fs::create_dir_all(etc.path().join("nvidia/ClientConfigToken").join(step().name)).unwrap();
    let report = scene.execute(vec![Step::GiveGuestToken(step())]).unwrap();
    assert!(report.message.contains("is a directory"), "{}", report.message);
}

#[test]
fn only_a_plain_name_becomes_part_of_a_script() {
    for bad in ["x", "'.tok", "a b.tok", "../x.tok", ".x.tok", "-x.tok", "$x.tok", "a\n.tok"] {
        assert!(!is_token_name(bad), "{bad:?}");
    }
    assert!(is_token_name("client_configuration_token_01-02-2026-03-04-05.tok"));
}

/// A PowerShell of the test's own knows the three scripts by what they do: there is no Windows here.
#[test]
fn in_windows_the_token_goes_through_standard_input_in_hexadecimal_and_no_script_has_double_quotes() {
    let file: Arc<Mutex<Option<Vec<u8>>>> = Arc::default();
    let there = file.clone();
    let runner = FakeRunner::new().answer(move |c| {
        let script = c.args.last().unwrap();
        assert!(!script.contains('"'), "{script}");
        let mut file = there.lock().unwrap();
        if script.contains("WriteAllBytes") {
            *file = Some(hex::decode(c.stdin.as_ref().unwrap()).unwrap());
        } else if script.starts_with("Remove-Item") && !script.contains(".part") {
            *file = None;
        } else if script.starts_with("if (Test-Path") {
            let dashed = |b: &Vec<u8>| b.iter().map(|b| format!("{b:02X}")).collect::<Vec<_>>().join("-");
            return Some(printed(
                0,
                &file.as_ref().map(|b| format!("there {}\r\n", dashed(b))).unwrap_or_default(),
                "",
            ));
        }
        Some(printed(0, "", ""))
    });
    let mut scene = Scene::new(HostKind::Machine, runner);
    scene.put("/etc/pve/qemu-server/100.conf", "name: desk\n", 0o640);
    scene.inputs.sealed.insert(step().sha256, TOKEN.to_vec());
    let step = GiveGuestToken { os: GuestOs::Windows, ..step() };
    let report = scene.execute(vec![Step::GiveGuestToken(step)]).unwrap();
    assert_eq!(report.state, RunState::Done, "{report:?}");
    assert_eq!(file.lock().unwrap().as_deref(), Some(TOKEN));
    assert!(scene.runner.calls().iter().any(|c| c.contains("NVDisplay.ContainerLocalSystem")));
    scene.undo(report.run).unwrap();
    assert_eq!(*file.lock().unwrap(), None);
}
