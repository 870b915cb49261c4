// SPDX-License-Identifier: GPL-3.0-or-later
//! Words on the kernel command line, on a machine of every kind: apply → what the boot loader starts has each
//! of them once → undo → the tree is byte-equal. What distributions' tools make is made here by few lines that
//! ask the real shell what GRUB's files say; the real grub-mkconfig is asked in `tests/boot/grub-vm.sh`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test")]

use hostwright::detect::{CommandLinePlace, Topic, gather};
use hostwright::engine::kernel_params::Parameter;
use hostwright::engine::plan::PLAN_VERSION;
use hostwright::engine::{self, Event, Inputs, Owner, Plan, RunState, Step};
use hostwright::flows::boot;
use hostwright::host::fake::{FakeRunner, host};
use hostwright::host::{Cancel, Command, Host, HostKind, Output};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MACHINES: &str = include_str!("boot/machines.txt");

/// The machines by name, each with its part of the text.
fn machines() -> BTreeMap<&'static str, &'static str> {
    let parts = MACHINES.split("\n#### ").skip(1);
    parts.map(|part| (part.split(':').next().unwrap(), part.split_once('\n').unwrap().1)).collect()
}

struct Machine {
    dir: tempfile::TempDir,
    host: Host,
    runner: Arc<FakeRunner>,
    /// Partitions that are not mounted: what proxmox-boot-tool writes.
    elsewhere: Arc<tempfile::TempDir>,
}

fn put(root: &Path, path: &str, bytes: &[u8], mode: u32) {
    let path = root.join(path.trim_start_matches('/'));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

fn unpack(name: &str) -> Machine {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "/proc/sys/kernel/osrelease", b"6.1.0-test\n", 0o644);
    put(dir.path(), "/sys/firmware/x", b"", 0o644);
    for part in machines()[name].trim_start_matches("== ").split("\n== ") {
        let (head, body) = part.split_once('\n').unwrap_or((part, ""));
        let body =
            if body.is_empty() { String::new() } else { body.trim_end_matches('\n').to_owned() + "\n" };
        let (word, rest) = head.split_once(' ').unwrap();
        match word {
            "file" => put(dir.path(), rest, body.as_bytes(), 0o600),
            "program" => put(dir.path(), rest, body.as_bytes(), 0o755),
            "firmware" if rest == "bios" => {}
            "firmware" => {
                let efivars = "/sys/firmware/efi/efivars";
                put(dir.path(), &format!("{efivars}/Some-0"), b"", 0o644);
                let text = rest.trim_start_matches("efi").trim();
                if !text.is_empty() {
                    let mut bytes = vec![6, 0, 0, 0];
                    bytes.extend(text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
                    let path = format!("{efivars}/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f");
                    put(dir.path(), &path, &bytes, 0o644);
                }
            }
            other => panic!("{name}: {other}"),
        }
    }
    let elsewhere = Arc::new(tempfile::tempdir().unwrap());
    let (root, esp) = (dir.path().to_owned(), elsewhere.clone());
    let runner = Arc::new(FakeRunner::new().answer(move |c| tool(&root, esp.path(), c)));
    let host = host(dir.path(), runner.clone(), HostKind::Machine).unwrap();
    Machine { dir, host, runner, elsewhere }
}

/// What a distribution's tool does to this tree.
fn tool(root: &Path, esp: &Path, command: &Command) -> Option<Output> {
    match command.program.as_str() {
        "update-grub" | "update-bootloader" | "grub-mkconfig" | "grub2-mkconfig" => {
            let config = ["boot/grub/grub.cfg", "boot/grub2/grub.cfg"].map(|p| root.join(p));
            mkconfig(root, config.iter().find(|p| p.exists()).unwrap());
        }
        "sdbootutil" => {
            let line = fs::read_to_string(root.join("etc/kernel/cmdline")).unwrap();
            for entry in fs::read_dir(root.join("boot/efi/loader/entries")).unwrap() {
                let path = entry.unwrap().path();
                let text = fs::read_to_string(&path).unwrap();
                let changed = text.lines().map(|l| match l.strip_prefix("options ") {
                    Some(_) => format!("options    {} systemd.machine_id=0123\n", line.trim()),
                    None => format!("{l}\n"),
                });
                fs::write(&path, changed.collect::<String>()).unwrap();
            }
        }
        "proxmox-boot-tool" => {
            let line = fs::read_to_string(root.join("etc/kernel/cmdline")).unwrap();
            let entry = format!("title Proxmox\noptions {line}linux /EFI/proxmox/6.8.12-1-pve/vmlinuz\n");
            fs::write(esp.join("proxmox-6.8.12-1-pve.conf"), entry).unwrap();
        }
        _ => return None,
    }
    Some(Output { code: Some(0), ..Output::default() })
}

/// `grub.cfg` with the command lines that the real shell makes of `/etc/default/grub` and its drop-ins.
fn mkconfig(root: &Path, config: &Path) {
    let drop_ins = ["usr/sbin/grub-mkconfig", "usr/bin/grub-mkconfig", "usr/sbin/grub2-mkconfig"]
        .iter()
        .any(|p| fs::read_to_string(root.join(p)).is_ok_and(|t| t.contains("default/grub.d")));
    let more = if drop_ins {
        "for x in etc/default/grub.d/*.cfg; do [ -e \"$x\" ] && . ./\"$x\"; done;"
    } else {
        ""
    };
    let script = format!(
        ". ./etc/default/grub; {more} printf '%s\\n%s\\n' \"$GRUB_CMDLINE_LINUX\" \"$GRUB_CMDLINE_LINUX_DEFAULT\""
    );
    let said =
        std::process::Command::new("/bin/sh").args(["-c", &script]).current_dir(root).output().unwrap();
    assert!(said.status.success(), "{said:?}");
    let said = String::from_utf8(said.stdout).unwrap();
    let (linux, default) = said.split_once('\n').unwrap();
    let default = default.trim_end();
    let (mut ours, mut recovery) = (false, false);
    let mut text = String::new();
    for line in fs::read_to_string(config).unwrap().lines() {
        if line.starts_with("### ") {
            ours = line.contains("10_linux") && line.contains("BEGIN");
        }
        if line.contains("menuentry '") {
            recovery = line.contains("(recovery mode)");
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        if ours && words.first().is_some_and(|w| *w == "linux" || *w == "linuxefi") {
            let indent = &line[..line.len() - line.trim_start().len()];
            let rest = if recovery { format!("single {linux}") } else { format!("{linux} {default}") };
            text.push_str(&format!("{indent}{}\t{} {} {} {rest}\n", words[0], words[1], words[2], words[3]));
        } else {
            text.push_str(&format!("{line}\n"));
        }
    }
    fs::write(config, text).unwrap();
}

fn wanted() -> Vec<Parameter> {
    ["intel_iommu=on", "iommu=pt", "hugepagesz=1G", "hugepages=2"].map(|w| w.parse().unwrap()).to_vec()
}

fn steps(machine: &Machine) -> Vec<Step> {
    let facts = gather(&machine.host, Some(&[Topic::Os, Topic::Bootloader]));
    boot::steps(&boot::gather(&machine.host, &facts), &wanted()).unwrap()
}

fn run(machine: &Machine, steps: Vec<Step>) -> engine::RunReport {
    let plan = Plan {
        version: PLAN_VERSION,
        flow: "test".into(),
        title: String::new(),
        choices: serde_json::json!({}),
        facts: serde_json::json!({}),
        permissions: steps.iter().flat_map(Step::permissions).collect(),
        steps,
        details: BTreeMap::new(),
        warnings: vec![],
        left_out: Vec::new(),
        notes: vec![],
        needs_reboot: true,
    };
    let mut sink = |_: Event| {};
    engine::execute(
        &machine.host,
        &plan,
        &Inputs::default(),
        &owner(),
        &|_, _| Vec::new(),
        &Cancel::new(),
        &mut sink,
    )
    .unwrap()
}

fn owner() -> Owner {
    Owner { uid: 0, name: "tester".into() }
}

/// Every file of a tree but Hostwright's own: bytes and mode.
fn tree(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, u32)> {
    fn walk(dir: &Path, into: &mut BTreeMap<PathBuf, (Vec<u8>, u32)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            if meta.is_dir() {
                walk(&path, into);
            } else {
                into.insert(path.clone(), (fs::read(&path).unwrap(), meta.permissions().mode()));
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(dir, &mut found);
    found.retain(|p, _| !p.starts_with(dir.join("var/lib/hostwright")) && !p.starts_with(dir.join("run")));
    found
}

/// The command lines with which a machine would start, by plain words; ways back apart.
fn starts(machine: &Machine) -> (Vec<String>, Vec<String>) {
    let root = machine.dir.path();
    let (mut usual, mut back) = (Vec::new(), Vec::new());
    let entries = ["boot/loader/entries", "boot/efi/loader/entries"].map(|p| root.join(p));
    for dir in entries.iter().map(PathBuf::as_path).chain([machine.elsewhere.path()]) {
        for entry in fs::read_dir(dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let line = text.lines().filter_map(|l| l.strip_prefix("options")).collect::<String>();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.contains("rescue") || name.contains("fallback") {
                back.push(line);
            } else {
                usual.push(line);
            }
        }
    }
    for config in ["boot/grub/grub.cfg", "boot/grub2/grub.cfg"] {
        let text = fs::read_to_string(root.join(config)).unwrap_or_default();
        let mut is_back = false;
        for line in text.lines() {
            if line.contains("menuentry '") {
                is_back = line.contains("recovery") || line.contains("Other");
            }
            if line.trim().starts_with("linux") {
                if is_back { back.push(line.into()) } else { usual.push(line.into()) }
            }
        }
    }
    if let Ok(text) = fs::read_to_string(root.join("boot/refind_linux.conf")) {
        for (i, line) in text.lines().enumerate() {
            let line = line.trim_end_matches('"').to_owned();
            if i == 0 { usual.push(line) } else { back.push(line) }
        }
    }
    if let Ok(text) = fs::read_to_string(root.join("boot/limine.conf")) {
        let lines: Vec<String> =
            text.lines().filter_map(|l| l.trim().strip_prefix("cmdline:")).map(str::to_owned).collect();
        usual.push(lines[0].clone());
        back.extend(lines[1..].iter().cloned());
    }
    (usual, back)
}

fn count(line: &str, word: &str) -> usize {
    line.split_whitespace().filter(|w| *w == word).count()
}

#[test]
fn on_every_machine_the_words_arrive_once_and_undo_leaves_no_trace() {
    let names: Vec<&str> = machines().into_keys().collect();
    assert!(names.len() >= 13, "{names:?}");
    for name in names {
        let machine = unpack(name);
        let before = tree(machine.dir.path());
        let back_before = starts(&machine).1;
        let steps = steps(&machine);
        assert!(!steps.is_empty(), "{name}");
        let done = run(&machine, steps);
        assert_eq!(done.state, RunState::Done, "{name}: {done:?}");
        let (usual, back) = starts(&machine);
        assert!(!usual.is_empty(), "{name}");
        for line in &usual {
            for word in wanted() {
                assert_eq!(count(line, word.as_str()), 1, "{name}: {word} in {line}");
            }
            assert!(line.find("hugepagesz=1G") < line.find("hugepages=2"), "{name}: {line}");
        }
        let joined = |lines: &[String]| {
            lines.iter().map(|l| l.split_whitespace().collect::<String>()).collect::<Vec<_>>()
        };
        assert_eq!(joined(&back), joined(&back_before), "{name}: the ways back stay");
        // A second time there is nothing to do.
        assert_eq!(self::steps(&machine), [], "{name}");
        let undone =
            engine::undo(&machine.host, done.run, &owner(), &Cancel::new(), &mut |_: Event| {}).unwrap();
        assert_eq!(undone.state, RunState::Undone, "{name}: {undone:?}");
        let after = tree(machine.dir.path());
        for path in before.keys().chain(after.keys()) {
            assert_eq!(before.get(path), after.get(path), "{name}: {}", path.display());
        }
        for line in starts(&machine).0 {
            assert!(!line.contains("iommu"), "{name}: {line}");
        }
    }
}

#[test]
fn each_machine_is_served_in_its_own_way() {
    for (name, command, file) in [
        ("debian-12", "update-grub", "/etc/default/grub.d/zz-hostwright.cfg"),
        ("ubuntu-24.04", "update-grub", "/etc/default/grub.d/zz-hostwright.cfg"),
        ("fedora-40", "", "/boot/loader/entries/0f3e-6.10.12-200.fc40.x86_64.conf"),
        ("rhel-9", "", "/etc/kernel/cmdline"),
        ("opensuse-grub", "update-bootloader --refresh", "/etc/default/grub"),
        ("opensuse-sdboot", "sdbootutil update-all-entries", "/etc/kernel/cmdline"),
        ("arch-grub", "grub-mkconfig -o /boot/grub/grub.cfg", "/etc/default/grub"),
        ("arch-systemd-boot", "", "/boot/loader/entries/arch.conf"),
        ("arch-refind", "", "/boot/refind_linux.conf"),
        ("arch-limine", "", "/boot/limine.conf"),
        ("proxmox-uefi-zfs", "proxmox-boot-tool refresh", "/etc/kernel/cmdline"),
        ("proxmox-grub", "update-grub", "/etc/default/grub.d/zz-hostwright.cfg"),
        ("gentoo", "grub-mkconfig -o /boot/grub/grub.cfg", "/etc/default/grub"),
    ] {
        let machine = unpack(name);
        let steps = steps(&machine);
        let Step::SetKernelParameters(set) = &steps[0] else { panic!("{name}: {steps:?}") };
        assert!(set.files.iter().any(|f| f.path == file), "{name}: {:?}", set.files);
        run(&machine, steps);
        assert_eq!(machine.runner.calls().join(";"), command, "{name}");
    }
}

#[test]
fn what_is_not_understood_is_refused_and_says_what_to_do() {
    let refusal = |name: &str, change: &dyn Fn(&Path)| {
        let machine = unpack(name);
        change(machine.dir.path());
        let facts = gather(&machine.host, Some(&[Topic::Os, Topic::Bootloader]));
        boot::steps(&boot::gather(&machine.host, &facts), &wanted()).unwrap_err()
    };
    let write =
        |path: &'static str, text: &'static str| move |root: &Path| put(root, path, text.as_bytes(), 0o644);
    for (name, path, text, says) in [
        (
            "debian-12",
            "/etc/default/grub",
            "GRUB_CMDLINE_LINUX=\"quiet\nA=1\n",
            "/etc/default/grub, line 1: a quote",
        ),
        ("debian-12", "/etc/default/grub", "GRUB_CMDLINE_LINUX=\"$(cat /x)\"\n", "is made by a command"),
        ("arch-grub", "/etc/default/grub", "GRUB_CMDLINE_LINUX=iommu=off\n", "`iommu=off` is there already"),
        ("debian-12", "/etc/default/grub.d/zzzz.cfg", "GRUB_CMDLINE_LINUX_DEFAULT=x\n", "would not arrive"),
        ("rhel-9", "/boot/loader/entries/x.conf", "linux /x\noptions $kernelopts\n", "grubby"),
        ("arch-systemd-boot", "/boot/EFI/Linux/arch.efi", "MZ", "unified kernel images"),
        (
            "arch-refind",
            "/boot/EFI/refind/refind.conf",
            "menuentry X {\nloader y\n}\n",
            "menu entries of its own",
        ),
        ("arch-limine", "/etc/default/limine", "KERNEL_CMDLINE[default]=\"rw\"\n", "limine-update"),
        ("proxmox-uefi-zfs", "/etc/kernel/cmdline", "a\nb\n", "second line"),
        ("gentoo", "/boot/loader/loader.conf", "timeout 1\n", "several boot loaders"),
        ("debian-12", "/boot/limine.conf", "timeout: 1\n", "several boot loaders"),
    ] {
        let refusal = refusal(name, &write(path, text)).to_string();
        assert!(refusal.contains(says), "{name} {path}: {refusal}");
        assert!(refusal.ends_with('.'), "{refusal}");
    }
    let gone = refusal("debian-12", &|root| fs::remove_file(root.join("boot/grub/grub.cfg")).unwrap());
    assert_eq!(gone.code, "boot-loader-not-understood", "{gone}");
}

#[test]
fn proxmox_is_not_guessed_where_nothing_tells_its_loader() {
    let machine = unpack("proxmox-uefi-zfs");
    let info = "sys/firmware/efi/efivars";
    fs::remove_dir_all(machine.dir.path().join(info)).unwrap();
    let facts = gather(&machine.host, Some(&[Topic::Os, Topic::Bootloader]));
    let place = facts.bootloader.seen().unwrap().command_line.clone();
    assert!(place.why().is_some_and(|why| why.contains("proxmox-boot-tool")), "{place:?}");
    // Without EFI it can only be GRUB.
    fs::remove_dir_all(machine.dir.path().join("sys/firmware/efi")).unwrap();
    let facts = gather(&machine.host, Some(&[Topic::Os, Topic::Bootloader]));
    let place = facts.bootloader.seen().unwrap().command_line.clone();
    assert!(matches!(place.seen(), Some(CommandLinePlace::Grub { .. })), "{place:?}");
}
