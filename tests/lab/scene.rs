// SPDX-License-Identifier: GPL-3.0-or-later
//! A home folder with a comma and a space in its name, the kernel that is tested with, and a root made by mmdebstrap.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

static ONE: Mutex<()> = Mutex::new(());

pub struct Scene {
    pub home: tempfile::TempDir,
    _one: MutexGuard<'static, ()>,
}

impl Scene {
    pub fn new() -> Self {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        Self { home: tempfile::Builder::new().prefix("a home, with comma ").tempdir().unwrap(), _one: one }
    }

    /// `hostwright lab …` with a known environment and nothing on standard input.
    pub fn lab<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        // Where tests are started in the background SIGINT is ignored, and that is inherited: an interruption before the
        // program has its own handler would be lost.
        let mut command = Command::new("/usr/bin/env");
        command.arg("--default-signal=INT").arg(env!("CARGO_BIN_EXE_hostwright"));
        command.env_clear().env("HOME", self.home.path()).env("LANG", "C.UTF-8").env("COLUMNS", "200");
        // What is taken out of kernels is the same for all tests.
        command.env("XDG_CACHE_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join("lab cache, shared"));
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
        command.current_dir("/").arg("lab").args(args);
        command
    }

    pub fn run<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Output {
        self.lab(args).output().unwrap()
    }

    /// `lab boot --kernel K` with more arguments.
    pub fn boot<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Output {
        let kernel = kernel();
        self.lab(["boot", "--kernel", &kernel, "--timeout", "120"]).args(args).output().unwrap()
    }

    pub fn runs(&self) -> PathBuf {
        self.home.path().join(".local/state/hostwright/lab")
    }

    /// The report of the newest run.
    pub fn report(&self) -> serde_json::Value {
        let out = self.run(["report", "last", "--json"]);
        assert_eq!(out.status.code(), Some(0), "{out:?}");
        serde_json::from_slice(&out.stdout).unwrap()
    }

    /// Nothing of a guest of this home is left: no process, no socket.
    pub fn nothing_is_left(&self) {
        let home = self.home.path().to_str().unwrap();
        let began = Instant::now();
        loop {
            let left = processes(home);
            if left.is_empty() {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(5), "these processes are left: {left:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        let running = self.runs().join("running");
        let seats: Vec<_> = std::fs::read_dir(running).into_iter().flatten().flatten().collect();
        assert!(seats.is_empty(), "{seats:?}");
    }
}

/// Processes that have `word` in their command line or environment, but for ourselves.
fn processes(word: &str) -> Vec<String> {
    let own = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        if !name.bytes().all(|b| b.is_ascii_digit()) || name == own {
            continue;
        }
        for file in ["cmdline", "environ"] {
            let bytes = std::fs::read(entry.path().join(file)).unwrap_or_default();
            if String::from_utf8_lossy(&bytes).contains(word) {
                found.push(format!("{name}: {}", String::from_utf8_lossy(&bytes).replace('\0', " ")));
            }
        }
    }
    found
}

/// The newest kernel of this machine that has its modules here. `scripts/deps.sh` sees to it that there is one.
pub fn kernel() -> String {
    let mut all: Vec<String> = std::fs::read_dir("/boot")
        .unwrap()
        .flatten()
        .filter_map(|e| Some(e.file_name().to_str()?.strip_prefix("vmlinuz-")?.to_owned()))
        .filter(|r| Path::new("/lib/modules").join(r).join("modules.dep").exists())
        .collect();
    all.sort();
    all.pop().expect("a kernel image in /boot with modules below /lib/modules; scripts/deps.sh installs one")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A system made by mmdebstrap, kept from one test run to the next.
pub fn tree() -> PathBuf {
    static ONCE: Mutex<()> = Mutex::new(());
    let _once = ONCE.lock().unwrap_or_else(PoisonError::into_inner);
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from);
    let top = home.join(".cache/hostwright/lab-tests");
    let tree = top.join("bookworm, with systemd");
    if tree.join("usr/lib/systemd/systemd").exists() {
        return tree;
    }
    std::fs::create_dir_all(&top).unwrap();
    let made = tempfile::Builder::new().prefix("making").tempdir_in(&top).unwrap();
    let tar = made.path().join("root.tar");
    let out = Command::new("mmdebstrap")
        .args([
            "--variant=minbase",
            "--include=systemd-sysv,dbus,kmod,udev",
            "--mode=auto",
            "--quiet",
            "bookworm",
        ])
        .arg(&tar)
        .output()
        .expect("mmdebstrap is installed by scripts/deps.sh");
    assert!(out.status.success(), "{}", text(&out.stderr));
    let root = made.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let unpack = Command::new("tar")
        .arg("-C")
        .arg(&root)
        .args(["--exclude=./dev/*", "-xf"])
        .arg(&tar)
        .output()
        .unwrap();
    assert!(unpack.status.success(), "{}", text(&unpack.stderr));
    std::fs::rename(&root, &tree).unwrap();
    tree
}
