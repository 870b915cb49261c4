// SPDX-License-Identifier: GPL-3.0-or-later
//! A guest with nothing but what a test asks for, and all that is said on its ports.

use hostwright::guest::initramfs;
use hostwright::guest::kernel::{self, Entry};
use hostwright::guest::modules::Need;
use hostwright::guest::spec::{GuestRoot, ImageFormat, KernelBoot, Task};
use hostwright::init::config::{Config, Root};
use hostwright::init::protocol::{self, Said};
use rustix::io::{FdFlags, fcntl_setfd};
use std::collections::BTreeSet;
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Guests are slow where several share two processors; and file descriptors that one inherits must not be seen
/// by another.
static ONE: Mutex<()> = Mutex::new(());

const LONGEST: Duration = Duration::from_secs(60);

pub struct Machine {
    pub boot: KernelBoot,
    pub config: Config,
    pub microvm: bool,
    share: Option<String>,
    disk: Option<PathBuf>,
    stdin: Option<Vec<u8>>,
}

pub struct Seen {
    pub lines: Vec<Said>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub files: Vec<u8>,
    pub console: String,
    pub release: String,
    pub took: Duration,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "after {:?}:", self.took)?;
        self.lines.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        writeln!(f, "stdout ({}): {}", self.stdout.len(), head(&self.stdout))?;
        writeln!(f, "stderr ({}): {}", self.stderr.len(), head(&self.stderr))?;
        writeln!(f, "console:\n{}", self.console)
    }
}

fn head(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(500)]).into_owned()
}

impl Seen {
    /// How the guest said that it ended.
    pub fn ended(&self) -> Said {
        let ends: Vec<&Said> = self
            .lines
            .iter()
            .filter(|l| matches!(l, Said::Exit(_) | Said::Killed(_) | Said::Fail { .. }))
            .collect();
        assert_eq!(ends.len(), 1, "it ended not once: {self}");
        assert_eq!(self.lines.last(), Some(&Said::End), "{self}");
        let sizes = [&self.stdout, &self.stderr, &self.files].map(|b| b.len() as u64);
        let [stdout, stderr, files] = sizes;
        assert!(self.lines.contains(&Said::Sent { stdout, stderr, files }), "other sizes than said: {self}");
        ends[0].clone()
    }

    pub fn stages(&self) -> Vec<String> {
        let name = |l: &Said| if let Said::Stage { name, .. } = l { Some(name.clone()) } else { None };
        self.lines.iter().filter_map(name).collect()
    }
}

pub fn command(argv: &[&str]) -> Task {
    Task::Command { argv: argv.iter().map(|w| (*w).to_owned()).collect(), env: vec![], cwd: None }
}

/// A microvm with ACPI has neither PIT, HPET nor PM timer to compare the TSC with; without its frequency a guest
/// that TCG runs waits for its first timer tick for ever.
fn clock_word() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    let mhz = text.lines().find_map(|l| l.strip_prefix("cpu MHz")?.split_once(": ")).unwrap().1;
    format!("tsc_early_khz={:.0}", mhz.trim().parse::<f64>().unwrap() * 1000.0)
}

fn newest_kernel() -> PathBuf {
    if let Some(path) = std::env::var_os("LAB_KERNEL") {
        return path.into();
    }
    let mut found: Vec<PathBuf> = std::fs::read_dir("/boot")
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("vmlinuz-"))
        .collect();
    found.sort();
    found.pop().expect("no kernel in /boot: install one (`make deps`), or name one with LAB_KERNEL")
}

impl Machine {
    pub fn new(task: Task) -> Self {
        let boot = KernelBoot {
            image: newest_kernel(),
            modules: None,
            config: None,
            root: GuestRoot::None,
            writable: false,
            task,
            append: vec![],
            insert: vec![],
            collect: vec![],
        };
        Self { boot, config: Config::default(), microvm: false, share: None, disk: None, stdin: None }
    }

    pub fn share(&mut self, folder: &str) {
        self.boot.root = GuestRoot::Directory { path: folder.into() };
        self.config.root = Root::Ninep { tag: "hostwright".into(), msize: 512_000 };
        self.share = Some(folder.to_owned());
    }

    pub fn disk(&mut self, image: &Path) {
        self.boot.root = GuestRoot::Image { path: image.to_owned(), format: ImageFormat::Raw };
        self.config.root = Root::Disk { serial: "hostwright-root".into() };
        self.disk = Some(image.to_owned());
    }

    pub fn stdin(&mut self, bytes: &[u8]) {
        self.config.stdin = true;
        self.stdin = Some(bytes.to_vec());
    }

    pub fn run(&mut self) -> Seen {
        let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lab");
        let kernel = kernel::open(&self.boot, &cache).unwrap();
        let mut needs =
            BTreeSet::from([Need::Ports, if self.microvm { Need::VirtioMmio } else { Need::VirtioPci }]);
        match self.boot.root {
            GuestRoot::None => {}
            GuestRoot::Directory { .. } => needs.extend([Need::Ninep, Need::Overlay, Need::Disk]),
            GuestRoot::Image { .. } => needs.extend([Need::Disk, Need::Overlay, Need::Ext4]),
        }
        let initramfs = initramfs::prepare(&self.boot, &kernel, &needs, self.config.clone(), &cache).unwrap();
        let initrd = initramfs.file().unwrap();
        fcntl_setfd(&initrd, FdFlags::empty()).unwrap();
        let bus = if self.microvm { "device" } else { "pci" };
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-m", "512M"]);
        qemu.args(["-accel", "tcg,thread=single", "-cpu", "max"]);
        qemu.args(["-machine", if self.microvm { "microvm,acpi=on" } else { "q35" }]);
        assert!(!self.microvm || kernel.entry == Entry::Pvh, "{:?}", kernel.slow_because);
        qemu.arg("-kernel").arg(&kernel.boot);
        qemu.arg("-initrd").arg(format!("/proc/self/fd/{}", initrd.as_raw_fd()));
        let clock = if self.microvm { clock_word() } else { String::new() };
        qemu.args(["-append", &format!("console=ttyS0 quiet panic=-1 reboot=t no_timer_check {clock}")]);
        let mut inherited = Vec::new();
        let mut console = port(&mut qemu, &mut inherited, "console", "-serial", "chardev:console");
        qemu.args(["-device", &format!("virtio-serial-{bus}")]);
        let names = [protocol::CONTROL, protocol::STDIN, protocol::STDOUT, protocol::STDERR, protocol::FILES];
        let [mut control, mut stdin, stdout, stderr, files] = [0, 1, 2, 3, 4].map(|n: usize| {
            let device = format!("virtserialport,chardev=port{n},name={}", names[n]);
            port(&mut qemu, &mut inherited, &format!("port{n}"), "-device", &device)
        });
        if let Some(path) = &self.share {
            let read_only = if self.boot.writable { "off" } else { "on" };
            qemu.args([
                "-fsdev",
                &format!("local,id=r,security_model=none,multidevs=remap,readonly={read_only},path={path}"),
            ]);
            qemu.args(["-device", &format!("virtio-9p-{bus},fsdev=r,mount_tag=hostwright")]);
        }
        if let Some(path) = &self.disk {
            let path = path.to_str().unwrap().replace(',', ",,");
            qemu.args(["-drive", &format!("if=none,id=d,format=raw,readonly=on,file={path}")]);
            qemu.args(["-device", &format!("virtio-blk-{bus},drive=d,serial=hostwright-root")]);
        }
        let start = Instant::now();
        let child = Ended(qemu.stdin(Stdio::null()).spawn().unwrap());
        drop((qemu, inherited));
        let ours = move |mut stream: UnixStream| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                let _ = stream.read_to_end(&mut bytes);
                bytes
            })
        };
        let (stdout, stderr, files) = (ours(stdout), ours(stderr), ours(files));
        let console = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = console.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        control.set_read_timeout(Some(LONGEST)).unwrap();
        let mut lines = Vec::new();
        let mut input = self.stdin.take();
        for line in BufReader::new(control.try_clone().unwrap()).lines() {
            let Ok(line) = line else { break };
            let said = Said::parse(&line);
            if let (Said::Hello { .. }, Some(bytes)) = (&said, input.take()) {
                let mut stdin = stdin.try_clone().unwrap();
                std::thread::spawn(move || {
                    let _ = stdin.write_all(&bytes);
                    let _ = stdin.shutdown(Shutdown::Write);
                });
            }
            if said == Said::Ask {
                control.write_all(b"heard\n").unwrap();
                continue;
            }
            let is_end = said == Said::End;
            lines.push(said);
            if is_end {
                control.write_all(b"off\n").unwrap();
            }
        }
        let _ = stdin.flush();
        let is_late = !child.ends_before(start + LONGEST);
        let took = start.elapsed();
        let release = kernel.release;
        let seen = Seen {
            lines,
            stdout: stdout.join().unwrap(),
            stderr: stderr.join().unwrap(),
            files: files.join().unwrap(),
            console: console.join().unwrap(),
            release,
            took,
        };
        assert!(!is_late, "the guest does not end: {seen}");
        seen
    }
}

/// QEMU, ended with the test.
struct Ended(Child);

impl Ended {
    fn ends_before(mut self, deadline: Instant) -> bool {
        while Instant::now() < deadline {
            if self.0.try_wait().unwrap().is_some() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Our end of a wire; QEMU's is inherited.
fn port(
    qemu: &mut Command,
    inherited: &mut Vec<UnixStream>,
    id: &str,
    option: &str,
    value: &str,
) -> UnixStream {
    let (ours, theirs) = UnixStream::pair().unwrap();
    fcntl_setfd(&theirs, FdFlags::empty()).unwrap();
    qemu.args(["-chardev", &format!("socket,id={id},fd={}", theirs.as_raw_fd()), option, value]);
    inherited.push(theirs);
    ours
}

/// A small root with some of this machine's programs and their libraries.
pub fn tree(root: &Path, programs: &[&str]) {
    for dir in ["bin", "etc", "proc", "sys", "dev", "run", "tmp"] {
        std::fs::create_dir_all(root.join(dir)).unwrap();
    }
    for program in programs {
        let script =
            "p=$(command -v $2); cp --parents -L $(ldd $p | grep -o '/[^ ]*') $1; cp -L $p $1/bin/$2";
        let status = Command::new("sh").args(["-euc", script, "sh"]).arg(root).arg(program).status().unwrap();
        assert!(status.success());
    }
}

pub fn program(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

pub fn ext4(tree: &Path, image: &Path) {
    let output = Command::new("/sbin/mke2fs")
        .args(["-q", "-t", "ext4", "-d"])
        .arg(tree)
        .arg(image)
        .arg("64M")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A disk with a partition of so many MiB for each tree.
pub fn partitioned(image: &Path, parts: &[(&PathBuf, u64)]) {
    let whole: u64 = parts.iter().map(|(_, size)| size).sum::<u64>() + 2;
    std::fs::File::create(image).unwrap().set_len(whole << 20).unwrap();
    let (mut table, mut start) = (String::from("label: gpt\n"), 1);
    for (tree, size) in parts {
        table.push_str(&format!("start={}, size={}\n", start << 11, size << 11));
        let offset = format!("offset={}", start << 20);
        let mut mke2fs = Command::new("/sbin/mke2fs");
        mke2fs.args(["-q", "-F", "-t", "ext4", "-E", &offset, "-d"]).arg(tree).arg(image);
        assert!(mke2fs.arg(format!("{size}M")).status().unwrap().success());
        start += size;
    }
    let mut sfdisk = Command::new("/sbin/sfdisk");
    sfdisk.arg("--quiet").arg(image).stdin(Stdio::piped());
    let mut child = sfdisk.spawn().unwrap();
    child.stdin.take().unwrap().write_all(table.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// Names in a cpio archive, as `cpio` reads them.
pub fn names(archive: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut at = 0;
    let hex = |from: usize| usize::from_str_radix(std::str::from_utf8(&archive[from..from + 8]).unwrap(), 16);
    while at + 110 <= archive.len() {
        assert_eq!(&archive[at..at + 6], b"070701");
        let (size, length) = (hex(at + 54).unwrap(), hex(at + 94).unwrap());
        let name = String::from_utf8_lossy(&archive[at + 110..at + 109 + length]).into_owned();
        at = (at + 110 + length).next_multiple_of(4);
        at = (at + size).next_multiple_of(4);
        if name == "TRAILER!!!" {
            return names;
        }
        names.push(name);
    }
    panic!("the archive has no end: {names:?}");
}
