// SPDX-License-Identifier: GPL-3.0-or-later
//! From QEMU's start to its end: guests of the lab against plain QEMU and against virtme-ng, by turns, in one run,
//! on the same kernel and accelerator. What an initramfs costs to make. And how fast a tree of 10,000 small files
//! is read over the shared root, against 9p with default options.
//!
//! Fails when a guest without a root takes more than 1.1 × plain QEMU, one with this machine's root more than
//! 0.4 × virtme-ng, or an initramfs 50 ms (200 ms with modules) or more.
//!
//! `LAB_KERNEL` names the image (the newest in `/boot`), `VNG` virtme-ng's program (`vng` in `PATH`; left out when there is
//! none), `VIRTIOFSD` a virtiofsd of 1.11 or newer (the one in `PATH`; left out when there is none), `ONLY=reading` leaves
//! out all but the reading of files, `ROUNDS` how often each is measured (5). Plain QEMU needs a static busybox.

#![allow(clippy::print_stdout, clippy::expect_used, clippy::unwrap_used, clippy::panic, missing_docs)]

use hostwright::guest::modules::Need;
use hostwright::guest::spec::{Accelerator, Boot, Display, Guest, GuestRoot, KernelBoot, Network, Task};
use hostwright::guest::{GuestEvent, Outcome, Report, Setup, Sharing, initramfs, kernel, run};
use hostwright::host::{Cancel, Host};
use hostwright::init::config::Config;
use hostwright::init::newc::Archive;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const FILES: usize = 10_000;
const TAG: &str = "plain";

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn newest_kernel() -> PathBuf {
    if let Some(path) = std::env::var_os("LAB_KERNEL") {
        return path.into();
    }
    let kernels = std::fs::read_dir("/boot").unwrap().map(|e| e.unwrap().path());
    let mut found: Vec<PathBuf> =
        kernels.filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("vmlinuz-")).collect();
    found.sort();
    found.pop().unwrap_or_else(|| panic!("no kernel in /boot: run `make deps`"))
}

fn boot(image: &Path, root: GuestRoot, argv: &[&str]) -> KernelBoot {
    let argv = argv.iter().map(|w| (*w).to_owned()).collect();
    KernelBoot {
        image: image.to_owned(),
        modules: None,
        config: None,
        root,
        writable: false,
        task: Task::Command { argv, env: vec![], cwd: None },
        append: vec![],
        insert: vec![],
        collect: vec![],
    }
}

struct Bench {
    host: Host,
    image: PathBuf,
    dir: tempfile::TempDir,
    kvm: bool,
}

impl Bench {
    /// A guest of the lab: what it wrote, how long it took, and its report.
    fn lab(&self, root: GuestRoot, argv: &[&str]) -> (String, f64, Report) {
        self.lab_sharing(root, argv, Sharing::NineP)
    }

    fn lab_sharing(&self, root: GuestRoot, argv: &[&str], sharing: Sharing) -> (String, f64, Report) {
        let guest = Guest {
            boot: Boot::Kernel(boot(&self.image, root, argv)),
            cpus: 1,
            memory: 1024,
            accelerator: Accelerator::Auto,
            display: Display::None,
            network: Network::None,
            disks: vec![],
            timeout: 120,
            until: None,
        };
        let folder = tempfile::tempdir_in(self.dir.path()).unwrap();
        let mut setup = Setup::new(&self.host, self.dir.path().join("cache"), folder.path());
        setup.sharing = sharing;
        let mut out = Vec::new();
        let start = Instant::now();
        let report = run(&guest, setup, &Cancel::default(), &mut |event| {
            if let GuestEvent::Stdout(bytes) = event {
                out.extend_from_slice(bytes);
            }
        })
        .unwrap_or_else(|e| panic!("{e}"));
        let took = ms(start.elapsed());
        let tail = report.console_tail.join("\n");
        assert_eq!(report.outcome, Outcome::Exited { status: 0 }, "{tail}");
        (String::from_utf8_lossy(&out).into_owned(), took, report)
    }

    /// Plain QEMU, as its documentation boots a kernel; what it wrote on its console, and how long it took.
    fn plain(&self, machine: &str, initrd: &Path, more: &[String]) -> (String, f64) {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-machine", machine, "-m", "1024", "-no-reboot", "-display", "none", "-serial", "stdio"]);
        qemu.args(if self.kvm { ["-accel", "kvm", "-cpu", "host"] } else { TCG });
        qemu.arg("-kernel").arg(&self.image).arg("-initrd").arg(initrd);
        // A microvm without ACPI has no other way to restart.
        let words = if machine.starts_with("microvm") { "reboot=t" } else { "" };
        qemu.args(["-append", &format!("console=ttyS0 quiet panic=-1 {words}")])
            .args(more)
            .stdin(Stdio::null());
        let start = Instant::now();
        let output =
            Command::new("timeout").arg("300").arg(qemu.get_program()).args(qemu.get_args()).output();
        let took = ms(start.elapsed());
        let output = output.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{machine}: {} {text}", output.status);
        (text, took)
    }
}

const TCG: [&str; 4] = ["-accel", "tcg,thread=single", "-cpu", "max"];

/// A busybox initramfs: a shell script as init, and files beside it.
fn busybox(path: &Path, script: &str, files: &[(String, Vec<u8>)]) {
    let busybox = std::fs::read("/bin/busybox").expect("no /bin/busybox: install busybox-static");
    let mut archive = Archive::new(Vec::new());
    for folder in ["bin", "dev", "proc", "sys", "mnt", "m"] {
        archive.folder(folder.as_bytes(), 0o755).unwrap();
    }
    archive.device(b"dev/console", 0o600, 5, 1).unwrap();
    archive.file(b"bin/busybox", 0o755, &busybox).unwrap();
    archive.file(b"init", 0o755, format!("#!/bin/busybox sh\n{script}").as_bytes()).unwrap();
    for (name, bytes) in files {
        archive.file(name.as_bytes(), 0o644, bytes).unwrap();
    }
    std::fs::write(path, archive.finish().unwrap()).unwrap();
}

/// virtme-ng's `true` with this machine's root, when there is a virtme-ng.
fn virtme(image: &Path, kvm: bool) -> Option<f64> {
    let program = std::env::var("VNG").unwrap_or_else(|_| "vng".to_owned());
    Command::new(&program).arg("--version").output().ok()?;
    let mut command = Command::new("script");
    // It starts programs of its own by their names, which lie beside it.
    if let Some(beside) = Path::new(&program).parent().filter(|p| !p.as_os_str().is_empty()) {
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", beside.display()));
    }
    let speed = if kvm { "" } else { "--disable-kvm" };
    let line = format!("{program} {speed} --run {} --cpus 1 --memory 1G -- true", image.display());
    // It wants a terminal.
    command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null());
    // Its emulated guests use one thread for each processor, and some of them fall over; those do not count.
    for _ in 0..3 {
        let start = Instant::now();
        let output = command.output().unwrap();
        let took = ms(start.elapsed());
        if output.status.success() {
            return Some(took);
        }
        println!("{line}: {} after {took:.0} ms {}", output.status, String::from_utf8_lossy(&output.stdout));
    }
    panic!("virtme-ng fails again and again")
}

/// What it costs to make an initramfs with an empty cache, and with a full one.
fn creation(bench: &Bench, needs: &BTreeSet<Need>, what: &str, limit: f64) -> bool {
    let kernel_cache = bench.dir.path().join("cache");
    let wanted = boot(&bench.image, GuestRoot::Directory { path: "/".into() }, &[]);
    let kernel = kernel::open(&wanted, &kernel_cache).unwrap();
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..11 {
        let cache = tempfile::tempdir_in(bench.dir.path()).unwrap();
        for times in [&mut cold, &mut warm] {
            let start = Instant::now();
            let made = initramfs::prepare(&wanted, &kernel, needs, Config::default(), cache.path()).unwrap();
            made.file().unwrap();
            times.push(ms(start.elapsed()));
        }
    }
    let (cold, warm) = (median(cold), median(warm));
    println!("initramfs {what:<22} {cold:>8.1} ms   from the cache {warm:>6.1} ms   (limit {limit} ms)");
    cold < limit
}

/// Seconds between the two times that a guest wrote around its reading.
fn between(text: &str) -> f64 {
    let time = |key: &str| -> f64 {
        let line = text.lines().find_map(|l| l.trim().strip_prefix(key)).unwrap_or_else(|| panic!("{text}"));
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    assert!(text.contains(&format!("bytes {}", FILES * 1000)), "{text}");
    time("after ") - time("before ")
}

/// Says which way the guest's root came.
const IS_VIRTIOFS: &str =
    "ls /sys/bus/virtio/drivers/virtiofs 2>/dev/null | grep -q ^virtio && echo by virtiofs";

/// A virtiofsd that can share read-only: `VIRTIOFSD`, or the one in `PATH`.
fn virtiofsd() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("VIRTIOFSD") {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("virtiofsd")).find(|file| file.is_file())
}

fn reading(bench: &Bench, rounds: usize) {
    let tree = bench.dir.path().join("tree");
    for n in 0..FILES {
        let dir = tree.join((n / 100).to_string());
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(n.to_string()), [b'x'; 1000]).unwrap();
    }
    let read = |at: &str, tool: &str| {
        format!(
            "read a b </proc/uptime; echo before $a; n=$({tool}find {at} -type f -exec {tool}cat {{}} + | {tool}wc -c); \
             read a b </proc/uptime; echo bytes $n; echo after $a"
        )
    };
    let kernel =
        kernel::open(&boot(&bench.image, GuestRoot::None, &[]), &bench.dir.path().join("cache")).unwrap();
    let needs = BTreeSet::from([Need::VirtioPci, Need::Ninep]);
    let modules = kernel.abilities.modules(&needs).unwrap();
    let mut files = Vec::new();
    let mut script = String::from("export PATH=/bin\nbusybox mount -t proc proc /proc\n");
    for module in &modules {
        let bytes = std::fs::read(&module.file).unwrap();
        let bytes = hostwright::detect::modules::decompress(&bytes).unwrap().into_owned();
        files.push((format!("m/{}.ko", module.name), bytes));
        script.push_str(&format!("busybox insmod /m/{}.ko\n", module.name));
    }
    script.push_str(&format!("busybox mount -t 9p -o trans=virtio {TAG} /mnt || busybox poweroff -f\n"));
    script.push_str(&read("/mnt", "busybox "));
    script.push_str("\nbusybox poweroff -f\n");
    let initrd = bench.dir.path().join("reading.cpio");
    busybox(&initrd, &script, &files);
    let share = [
        "-fsdev".to_owned(),
        format!("local,id=t,security_model=none,readonly=on,path={}", tree.display()),
        "-device".to_owned(),
        format!("virtio-9p-pci,fsdev=t,mount_tag={TAG}"),
    ];
    let (mut ours, mut virtiofs, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    let inside = read(tree.to_str().unwrap(), "");
    let daemon = virtiofsd();
    for _ in 0..rounds {
        let root = GuestRoot::Directory { path: "/".into() };
        ours.push(between(&bench.lab(root.clone(), &["sh", "-c", &inside]).0));
        if let Some(daemon) = &daemon {
            let sharing = Sharing::By(daemon.clone());
            let (text, _, _) =
                bench.lab_sharing(root, &["sh", "-c", &format!("{inside}; {IS_VIRTIOFS}")], sharing);
            assert!(text.contains("by virtiofs"), "another way was chosen: {text}");
            virtiofs.push(between(&text));
        }
        plain.push(between(&bench.plain("q35", &initrd, &share).0));
    }
    let (ours, plain) = (median(ours), median(plain));
    println!("reading {FILES} files of 1000 bytes:");
    println!("  9p by default   {plain:>7.2} s");
    println!("  lab by 9p       {ours:>7.2} s   ratio {:.2}", ours / plain);
    if virtiofs.is_empty() {
        println!("  lab by virtiofs: not measured, no virtiofsd (name its program with VIRTIOFSD)");
    } else {
        let virtiofs = median(virtiofs);
        println!("  lab by virtiofs {virtiofs:>7.2} s   ratio {:.2}", virtiofs / plain);
    }
}

fn main() {
    let rounds = std::env::var("ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(5);
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench { host: Host::machine().unwrap(), image: newest_kernel(), dir, kvm: false };
    // Fills the cache, and finds out what runs the guests.
    let accelerator = bench.lab(GuestRoot::None, &["true"]).2.accelerator.name;
    bench.kvm = accelerator == "kvm";
    println!("{} on {accelerator}, medians of {rounds}", bench.image.display());
    if std::env::var("ONLY").is_ok_and(|only| only == "reading") {
        reading(&bench, rounds);
        return;
    }
    let mut good = creation(&bench, &BTreeSet::new(), "without modules", 50.0);
    let modules =
        BTreeSet::from([Need::VirtioPci, Need::Ports, Need::Ninep, Need::Overlay, Need::Disk, Need::Ext4]);
    good &= creation(&bench, &modules, "with modules", 200.0);

    let initrd = bench.dir.path().join("busybox.cpio");
    busybox(&initrd, "/bin/busybox true; /bin/busybox reboot -f\n", &[]);
    let (mut none, mut q35, mut host, mut vng) = (vec![], vec![], vec![], vec![]);
    let mut microvm = vec![];
    let mut stages = Vec::new();
    for _ in 0..rounds {
        let (_, took, seen) = bench.lab(GuestRoot::None, &["true"]);
        none.push(took);
        stages.push(seen.stages);
        q35.push(bench.plain("q35", &initrd, &[]).1);
        // With ACPI, and without another clock, an emulated kernel finds no timer (see `guest::prepare`).
        microvm.push(bench.plain("microvm,acpi=off", &initrd, &[]).1);
        host.push(bench.lab(GuestRoot::Directory { path: "/".into() }, &["true"]).1);
        vng.extend(virtme(&bench.image, bench.kvm));
    }
    println!("where a guest without a root got to, and when (medians):");
    for (n, stage) in stages[0].iter().enumerate() {
        let times = stages.iter().filter_map(|s| s.get(n)).map(|s| s.at_ms as f64).collect();
        println!("  {:<10} {:>7.0} ms", stage.name, median(times));
    }
    let (none, q35, microvm, host) = (median(none), median(q35), median(microvm), median(host));
    println!("root none       {none:>7.0} ms");
    println!("bare q35        {q35:>7.0} ms   ratio {:.2} (limit 1.1)", none / q35);
    println!("bare microvm    {microvm:>7.0} ms   ratio {:.2} (limit 1.1)", none / microvm);
    println!("root host       {host:>7.0} ms");
    good &= none <= 1.1 * q35.min(microvm);
    if vng.is_empty() {
        println!("virtme-ng is not there: not compared (name its program with VNG)");
    } else {
        let vng = median(vng);
        println!("virtme-ng       {vng:>7.0} ms   ratio {:.2} (limit 0.4)", host / vng);
        good &= host <= 0.4 * vng;
    }
    reading(&bench, rounds);
    assert!(good, "a limit was missed, see above");
}
