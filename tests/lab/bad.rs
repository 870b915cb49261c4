// SPDX-License-Identifier: GPL-3.0-or-later
//! Bad input, and interruptions.

use crate::scene::{Scene, kernel, text};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

#[test]
fn what_cannot_be_booted_is_refused_with_what_to_do() {
    let scene = Scene::new();
    let home = scene.home.path();
    let cut = home.join("cut, short");
    let whole = std::fs::read(format!("/boot/vmlinuz-{}", kernel())).unwrap();
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let text_file = home.join("text");
    std::fs::write(&text_file, "no kernel at all").unwrap();
    std::fs::create_dir(home.join("empty")).unwrap();
    let (cut, text_file, empty) =
        (cut.to_str().unwrap(), text_file.to_str().unwrap(), home.join("empty").display().to_string());
    let kernel = kernel();
    let rows: Vec<(Vec<&str>, i32, &str)> = vec![
        (vec![], 2, "--kernel, --iso or --disk"),
        (vec!["--kernel", "1.2.3"], 3, &kernel),
        (vec!["--kernel", "/no/such/image"], 3, "no kernel image"),
        (vec!["--kernel", cut], 3, "cut, short"),
        (vec!["--kernel", text_file], 3, "text"),
        (vec!["--kernel", &kernel, "--root", &empty], 3, "neither /bin nor /usr/bin"),
        (vec!["--kernel", &kernel, "--root", "/no/such/tree"], 3, "/no/such/tree"),
        (vec!["--kernel", &kernel, "--root", "none", "--init", "/sbin/init"], 3, "--root"),
        (vec!["--kernel", &kernel, "--until", "("], 3, "regular expression"),
        (vec!["--kernel", &kernel, "--timeout", "soon"], 2, "10m"),
        (vec!["--kernel", &kernel, "--memory", "1"], 2, "32M"),
        (vec!["--kernel", &kernel, "--name", "../x"], 2, "letters"),
        (vec!["--iso", "/no/such.iso"], 3, "/no/such.iso"),
        (vec!["--iso", "/usr"], 3, "is a directory"),
        (vec!["--iso", "x.iso", "--", "true"], 2, "directly booted kernel"),
        (vec!["--disk", "/no/such.img"], 3, "/no/such.img"),
    ];
    for (args, status, says) in rows {
        let out = scene.run(std::iter::once("boot").chain(args.iter().copied()));
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(status), "{args:?}: {said}");
        assert!(said.contains(says), "{args:?}: {said}");
        assert_eq!(text(&out.stdout), "", "{args:?}");
    }
    let runs: Vec<_> = std::fs::read_dir(scene.runs()).unwrap().flatten().map(|e| e.file_name()).collect();
    assert!(runs.is_empty(), "nothing was started, and these runs are there: {runs:?}");
    scene.nothing_is_left();
}

#[test]
fn what_fails_here_is_not_taken_for_the_status_of_the_command() {
    let scene = Scene::new();
    let kernel = kernel();
    let mut command = scene.lab(["boot", "--kernel", &kernel, "--", "false"]);
    let out = command.env("XDG_CACHE_HOME", "/dev/null").output().unwrap();
    assert_eq!(out.status.code(), Some(255), "{out:?}");
    assert!(text(&out.stderr).contains("/dev/null/hostwright"), "{}", text(&out.stderr));
}

#[test]
fn a_kernel_without_a_way_to_share_is_refused_by_the_options_name() {
    let scene = Scene::new();
    let (kernel, home) = (kernel(), scene.home.path());
    let (boot, modules) = (home.join("boot"), home.join("lib/modules").join(&kernel));
    std::fs::create_dir(&boot).unwrap();
    std::fs::create_dir_all(&modules).unwrap();
    let image = boot.join(format!("vmlinuz-{kernel}"));
    std::fs::copy(format!("/boot/vmlinuz-{kernel}"), &image).unwrap();
    let config = std::fs::read_to_string(format!("/boot/config-{kernel}")).unwrap();
    let without = ["CONFIG_9P_FS", "CONFIG_NET_9P", "CONFIG_NET_9P_VIRTIO", "CONFIG_VIRTIO_FS"];
    let config: String = config
        .lines()
        .map(|line| match without.iter().find(|o| line.starts_with(&format!("{o}="))) {
            Some(option) => format!("# {option} is not set\n"),
            None => format!("{line}\n"),
        })
        .collect();
    std::fs::write(boot.join(format!("config-{kernel}")), config).unwrap();
    // The same modules, but for those.
    let real = std::path::Path::new("/lib/modules").join(&kernel);
    for name in ["modules.builtin", "modules.builtin.modinfo", "modules.order", "modules.alias"] {
        if real.join(name).exists() {
            std::fs::copy(real.join(name), modules.join(name)).unwrap();
        }
    }
    std::os::unix::fs::symlink(real.join("kernel"), modules.join("kernel")).unwrap();
    let index = std::fs::read_to_string(real.join("modules.dep")).unwrap();
    let index: String = index
        .lines()
        .filter(|l| !l.split(':').next().is_some_and(|m| m.contains("9p") || m.contains("virtiofs")))
        .map(|l| format!("{l}\n"))
        .collect();
    std::fs::write(modules.join("modules.dep"), index).unwrap();
    let out = scene.run(["boot", "--kernel", image.to_str().unwrap(), "--", "true"]);
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(3), "{said}");
    assert!(
        said.contains("9P") && said.contains("CONFIG_VIRTIO_FS") && said.contains("--root none"),
        "{said}"
    );
}

#[test]
fn commas_and_spaces_may_be_in_every_path() {
    let scene = Scene::new();
    let kernel = kernel();
    let odd = scene.home.path().join("odd, = 100% 'names'");
    std::fs::create_dir(&odd).unwrap();
    let image = odd.join(format!("vmlinuz-{kernel}"));
    std::fs::copy(format!("/boot/vmlinuz-{kernel}"), &image).unwrap();
    let (disk, stick) = (odd.join("a disk, 1.img"), odd.join("a stick, 2.img"));
    for file in [&disk, &stick] {
        std::fs::write(file, vec![7; 1 << 20]).unwrap();
    }
    let path = |p: &std::path::Path| p.to_str().unwrap().to_owned();
    let out = scene.run([
        "boot",
        "--kernel",
        &path(&image),
        "--disk",
        &path(&disk),
        "--usb",
        &path(&stick),
        "--cwd",
        &path(&odd),
        "--timeout",
        "200",
        "--",
        "sh",
        "-c",
        "modprobe -a virtio_blk xhci_pci usb_storage sd_mod && pwd && for n in $(seq 100); do \
         [ -b /dev/sda ] && break; sleep 0.2; done; cat /sys/block/sda/size /sys/block/sda/removable; \
         head -c 3 /dev/vda | od -An -tu1; uname -r",
    ]);
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let said = text(&out.stdout);
    let expected = format!("{}\n2048\n1\n   7   7   7\n{kernel}\n", path(&odd));
    assert_eq!(said, expected, "{}", text(&out.stderr));
    scene.nothing_is_left();
}

#[test]
fn a_full_disk_is_named_and_leaves_nothing() {
    let scene = Scene::new();
    let state = scene.home.path().join(".local/state");
    std::fs::create_dir_all(&state).unwrap();
    // A file system of 64 KiB, full, in a namespace of the test's own.
    let script = "mount -t tmpfs -o size=64k,mode=777 tiny \"$HOME/.local/state\" && \
                  mkdir -p \"$HOME/.local/state/hostwright/lab\" && \
                  { head -c 100k /dev/zero >\"$HOME/.local/state/full\" 2>/dev/null || true; } && \
                  exec \"$HW\" lab boot --kernel \"$KERNEL\" --root none -- true";
    let mut command = std::process::Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let out = command
        .args(["--mount", "--propagation", "private", "--", "sh", "-c", script])
        .env_clear()
        .env("HOME", scene.home.path())
        .env("LANG", "C.UTF-8")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HW", env!("CARGO_BIN_EXE_hostwright"))
        .env("KERNEL", kernel())
        .env("XDG_CACHE_HOME", std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("lab cache, shared"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = text(&out.stderr);
    assert!(said.contains("No space left on device") && said.contains(".local/state"), "{out:?}");
    assert_ne!(out.status.code(), Some(0), "{out:?}");
    scene.nothing_is_left();
}

#[test]
fn a_guest_that_does_not_end_is_ended_in_time() {
    let scene = Scene::new();
    let began = Instant::now();
    let kernel = kernel();
    let out =
        scene.run(["boot", "--kernel", &kernel, "--root", "none", "--timeout", "20", "--", "sleep", "1000"]);
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(255), "{said}");
    assert!(said.contains("did not end within 20 s"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(40));
    assert_eq!(scene.report()["report"]["outcome"]["kind"], "timed_out");
    scene.nothing_is_left();
}

#[test]
fn an_interruption_leaves_nothing_at_any_stage() {
    let scene = Scene::new();
    let kernel = kernel();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    // From the very beginning to a guest that is long up.
    for wait in [5, 60, 200, 700] {
        let args = ["boot", "--kernel", &kernel, "--", "sleep", "1000"];
        let mut child = scene.lab(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        interrupt(child.id());
        let status = child.wait().unwrap();
        assert!(
            status.code() == Some(130) || std::os::unix::process::ExitStatusExt::signal(&status) == Some(2),
            "{wait} ms: {status:?}"
        );
        scene.nothing_is_left();
    }
    let args = ["boot", "--kernel", &kernel, "--", "sh", "-c", "echo up; sleep 1000"];
    let mut child = scene.lab(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    interrupt(child.id());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    scene.nothing_is_left();
    assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), mounts);
    assert_eq!(scene.report()["report"]["outcome"]["kind"], "cancelled");
}

#[test]
fn a_guest_dies_with_the_process_that_watches_it() {
    let scene = Scene::new();
    let kernel = kernel();
    let args = ["boot", "--kernel", &kernel, "--name", "orphan", "--", "sh", "-c", "echo up; sleep 1000"];
    let mut child = scene.lab(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    // What it could not clean up any more is swept by whoever looks next, once the kernel has taken QEMU down: it is
    // killed with its parent, and its memory takes a moment on a busy machine.
    let began = Instant::now();
    let mut listed = text(&scene.run(["list"]).stdout);
    while listed != "No guest runs.\n" && began.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(100));
        listed = text(&scene.run(["list"]).stdout);
    }
    assert_eq!(listed, "No guest runs.\n");
    scene.nothing_is_left();
}

pub fn interrupt(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
}
