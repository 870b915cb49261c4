// SPDX-License-Identifier: GPL-3.0-or-later
//! From what is wanted to what QEMU can be given: finds and opens files, makes the initramfs, starts the file
//! server, refuses what cannot work.

use super::argv::{DiskFile, KernelFiles, Machine, Net, Prepared, Share, TAG, UefiFiles, Wires, Writes};
use super::error::GuestError;
use super::modules::{Abilities, Have, Need};
use super::setup::{Input, Setup};
use super::share::{self, Way};
use super::spec::{Boot, Display, Firmware, Guest, GuestRoot, ImageFormat, KernelBoot, Network, Task};
use super::{firmware, initramfs, kernel};
use crate::host::{Inherited, Process, tsc_khz};
use crate::init::config::{Config, Root};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Serial number of the disk that holds the root.
const ROOT_SERIAL: &str = "hostwright-root";

/// Serial number of USB sticks.
const STICK_SERIAL: &str = "HOSTWRIGHT0001";

/// What must live as long as the guest.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// What QEMU inherits.
    pub(super) inherit: Vec<Inherited>,
    /// The file server.
    pub(super) server: Option<Process>,
    /// Files of this run that are of no use afterwards.
    pub(super) scratch: Vec<PathBuf>,
    /// The kernel's release.
    pub(super) release: Option<String>,
    /// The host's port that leads to the guest's port 22.
    pub(super) ssh: Option<u16>,
    /// The guest's address on the host's virtual sockets.
    pub(super) vsock: Option<u32>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        for path in &self.scratch {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Prepares everything but the wires.
pub(super) fn prepare(
    guest: &Guest,
    setup: &Setup<'_>,
    kvm: bool,
    to_paste: bool,
) -> Result<(Prepared, Kept), GuestError> {
    let mut kept = Kept::default();
    let net = match guest.network {
        Network::None => Net::None,
        Network::User => Net::User(None),
        Network::Ssh { port } => {
            let port = if port == 0 { free_port()? } else { port };
            kept.ssh = Some(port);
            kept.vsock = vsock();
            Net::User(Some(port))
        }
    };
    let mut prepared = Prepared {
        name: setup.name.clone(),
        machine: Machine::Q35,
        kvm,
        cpus: guest.cpus,
        memory: guest.memory,
        kernel: None,
        share: None,
        disks: Vec::new(),
        cdrom: None,
        uefi: None,
        display: guest.display,
        graphics: true,
        net,
        vsock: kept.vsock,
        wires: Wires::to_paste(),
    };
    match &guest.boot {
        Boot::Kernel(boot) => direct(boot, guest, setup, to_paste, &mut prepared, &mut kept)?,
        Boot::Iso { path, firmware } => {
            prepared.cdrom = Some(file(setup, path, false, &mut kept)?);
            prepared.uefi = uefi(*firmware, setup, &mut kept)?;
        }
        Boot::Disk { firmware } => {
            if guest.disks.is_empty() {
                return Err(GuestError::refused(
                    "no-disk",
                    "there is no disk to boot from",
                    "name its image with --disk",
                ));
            }
            prepared.uefi = uefi(*firmware, setup, &mut kept)?;
        }
    }
    for disk in &guest.disks {
        prepared.disks.push(DiskFile {
            path: file(setup, &disk.path, disk.writable, &mut kept)?,
            format: disk.format,
            writes: if disk.writable { Writes::Kept } else { Writes::Dropped },
            serial: disk.usb.then_some(STICK_SERIAL),
            usb: disk.usb,
        });
    }
    Ok((prepared, kept))
}

fn direct(
    boot: &KernelBoot,
    guest: &Guest,
    setup: &Setup<'_>,
    to_paste: bool,
    prepared: &mut Prepared,
    kept: &mut Kept,
) -> Result<(), GuestError> {
    let kernel = kernel::open(boot, &setup.cache)?;
    let abilities = &kernel.abilities;
    prepared.graphics = guest.display != Display::None;
    let mmio = matches!(abilities.has(Need::VirtioMmio), Have::BuiltIn | Have::Module);
    // A microvm has no USB.
    let plain = !prepared.graphics && !guest.disks.iter().any(|d| d.usb);
    prepared.machine = if mmio && plain { Machine::Microvm } else { Machine::Q35 };
    let bus = if prepared.machine == Machine::Microvm { Need::VirtioMmio } else { Need::VirtioPci };
    let mut needs = BTreeSet::from([bus, Need::Ports]);
    if guest.network != Network::None {
        needs.insert(Need::Net);
    }
    // Where it is a module, nothing else in the guest would load it.
    if guest.disks.iter().any(|d| !d.usb) && !matches!(abilities.has(Need::Disk), Have::Missing { .. }) {
        needs.insert(Need::Disk);
    }
    let mut way = None;
    let root = match &boot.root {
        GuestRoot::None => {
            if let Task::Init { path, .. } = &boot.task {
                return Err(GuestError::refused(
                    "no-root",
                    format!("there is no {path} in a guest without a root"),
                    "say with --root which tree or image it is in",
                ));
            }
            Root::None
        }
        GuestRoot::Directory { path } => {
            check_tree(path, &boot.task)?;
            if setup.wrap.is_some() {
                return Err(GuestError::refused(
                    "root-in-sandbox",
                    "a directory cannot be shared with a guest whose QEMU runs in a sandbox",
                    "use no root, or an image",
                ));
            }
            if !boot.writable {
                needs.insert(Need::Overlay);
            }
            match way.insert(share::way(setup.host, &setup.sharing, abilities, boot.writable)?) {
                Way::Virtiofs(_) => {
                    needs.insert(Need::Virtiofs);
                    Root::Virtiofs { tag: TAG.into() }
                }
                Way::NineP => {
                    needs.insert(Need::Ninep);
                    Root::Ninep { tag: TAG.into(), msize: share::MSIZE }
                }
            }
        }
        GuestRoot::Image { path, format } => {
            needs.insert(Need::Disk);
            if !boot.writable {
                needs.insert(Need::Overlay);
            }
            needs.extend(file_systems(path, *format, abilities)?);
            prepared.disks.push(DiskFile {
                path: file(setup, path, boot.writable, kept)?,
                format: *format,
                writes: if boot.writable { Writes::Kept } else { Writes::Refused },
                serial: Some(ROOT_SERIAL),
                usb: false,
            });
            Root::Disk { serial: ROOT_SERIAL.into() }
        }
    };
    abilities.require(&needs)?;
    let stdin = matches!(setup.input, Input::From(_));
    let config = Config { root, stdin, ..Config::default() };
    let made = initramfs::prepare(boot, &kernel, &needs, config, &setup.cache)?;
    let initramfs = if to_paste {
        let path = setup.folder.join("initramfs");
        let mut from = made.file()?;
        from.seek(SeekFrom::Start(0)).map_err(|e| GuestError::file("read", &path, e))?;
        let mut to = File::create(&path).map_err(|e| GuestError::file("write", &path, e))?;
        std::io::copy(&mut from, &mut to).map_err(|e| GuestError::file("write", &path, e))?;
        text(&path)?
    } else {
        inherited(made.file()?, kept)
    };
    // Only the image's own first part asks the graphics card for a text screen; without it a window stays with what the
    // firmware wrote last.
    let image = if prepared.graphics { &boot.image } else { &kernel.boot };
    let image = file(setup, image, false, kept)?;
    // A microvm has one clock that a kernel could compare its counter with, and an emulated guest that is not
    // scheduled for a moment finds the comparison wrong, and no other way to start its timer: it hangs. With
    // the emulation the guest's counter is this processor's.
    let tsc = if prepared.machine == Machine::Microvm && !prepared.kvm { tsc_khz() } else { None };
    let cmdline = cmdline(boot, prepared.graphics, tsc);
    prepared.kernel = Some(KernelFiles { image, initramfs, cmdline });
    kept.release = Some(kernel.release.clone());
    if let (GuestRoot::Directory { path }, Some(way)) = (&boot.root, way) {
        let path = text(path)?;
        prepared.share = Some(match way {
            Way::NineP => Share::NineP { path, readonly: !boot.writable },
            Way::Virtiofs(_) if to_paste => Share::VirtioFs { socket: -1 },
            Way::Virtiofs(daemon) => {
                let (share, server) =
                    share::start(&daemon, &path, boot.writable, &setup.folder, &mut kept.inherit)?;
                kept.server = Some(server);
                share
            }
        });
    }
    Ok(())
}

/// What keeps systemd of a shared tree from waiting for what a guest has not (`systemd-fstab-generator`(8),
/// `systemd-gpt-auto-generator`(8), `systemd-debug-generator`(8)): the tree's /etc/fstab and /etc/crypttab name disks of
/// the machine that it is of, each of which is waited for one and a half minutes, and nothing there will ever be online or
/// settled. Nothing of it is written anywhere: it is all on the guest's command line, where --append can say otherwise.
const FOR_SYSTEMD: [&str; 11] = [
    "fstab=no",
    "luks=no",
    "systemd.gpt_auto=0",
    "systemd.swap=no",
    "systemd.firstboot=off",
    "systemd.mask=systemd-udev-settle.service",
    "systemd.mask=systemd-networkd-wait-online.service",
    "systemd.mask=NetworkManager-wait-online.service",
    "systemd.mask=systemd-boot-update.service",
    "systemd.mask=systemd-boot-random-seed.service",
    "systemd.mask=fwupd-refresh.timer",
];

/// The kernel's command line. `quiet`: every line on a serial port costs an emulated guest milliseconds, and what is
/// worth reading (an oops, a panic) comes all the same. `panic=-1` with `reboot=t`: after a panic the machine
/// is gone at once. `no_timer_check`: an emulated timer that is late on a busy machine is no broken one, for which the
/// kernel would panic. `cryptomgr.notests`: no self-tests of every algorithm.
fn cmdline(boot: &KernelBoot, graphics: bool, tsc: Option<u64>) -> String {
    let screen = if graphics { "console=tty0 " } else { "" };
    let mut line = format!("{screen}console=ttyS0 quiet panic=-1 reboot=t no_timer_check cryptomgr.notests");
    if let Some(khz) = tsc {
        line.push_str(&format!(" tsc_early_khz={khz}"));
    }
    let shared = matches!(boot.root, GuestRoot::Directory { .. });
    let systemd = shared && matches!(boot.task, Task::Init { .. });
    let words = FOR_SYSTEMD.iter().copied().filter(|_| systemd);
    for word in words.chain(boot.append.iter().map(String::as_str)) {
        line.push(' ');
        line.push_str(word);
    }
    line
}

/// A directory that is to be a root must look like one.
fn check_tree(path: &Path, task: &Task) -> Result<(), GuestError> {
    let refuse = |reason: String, remedy: &str| Err(GuestError::refused("no-tree", reason, remedy));
    let shown = path.display();
    match std::fs::metadata(path) {
        Err(e) => return Err(GuestError::file("use as a root", path, e)),
        Ok(meta) if !meta.is_dir() => {
            return refuse(
                format!("{shown} is no directory"),
                "give a directory, or an image in raw or qcow2 format",
            );
        }
        Ok(_) => {}
    }
    let program = match task {
        Task::Init { path, .. } => Some(path.as_str()),
        Task::Command { argv, .. } => argv.first().map(String::as_str),
        Task::Rehearse { .. } | Task::Measure { .. } => None,
    };
    // Links of the tree lead inside it, whatever this machine has there.
    let tree = crate::host::Root::open(path)?;
    if !["/bin", "/usr/bin", "/sbin", "/usr/sbin"].iter().any(|d| tree.exists(d)) {
        return refuse(
            format!("{shown} is no root: it has neither /bin nor /usr/bin"),
            "give the top of a system's tree (what mmdebstrap or pacstrap makes), or use --root none",
        );
    }
    match program {
        Some(program) if program.starts_with('/') && !tree.exists(program) => refuse(
            format!("there is no {program} in {shown}"),
            "look at the spelling, or install it into the tree",
        ),
        _ => Ok(()),
    }
}

/// Which file systems an image may hold: the one it begins with, or (partitions, qcow2) all that the kernel has.
fn file_systems(
    path: &Path,
    format: ImageFormat,
    abilities: &Abilities,
) -> Result<BTreeSet<Need>, GuestError> {
    let mut head = vec![0; 0x11000];
    let mut file = File::open(path).map_err(|e| GuestError::file("open", path, e))?;
    let mut got = 0;
    while got < head.len() {
        match file.read(&mut head[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) => return Err(GuestError::file("read", path, e)),
        }
    }
    head.truncate(got);
    if got == 0 {
        let reason = format!("{} is empty", path.display());
        return Err(GuestError::refused("no-image", reason, "give an image with a file system in it"));
    }
    if format == ImageFormat::Raw
        && let Some(one) = sniff(&head)
    {
        return Ok(BTreeSet::from([one]));
    }
    let all = [Need::Ext4, Need::Squashfs, Need::Erofs, Need::Xfs, Need::Btrfs];
    Ok(all.into_iter().filter(|n| !matches!(abilities.has(*n), Have::Missing { .. })).collect())
}

/// The file system that an image begins with. Pure; magic numbers: libblkid's and the kernel's `magic.h`.
fn sniff(head: &[u8]) -> Option<Need> {
    let at = |offset: usize, magic: &[u8]| head.get(offset..offset + magic.len()) == Some(magic);
    if at(0, b"hsqs") {
        Some(Need::Squashfs)
    } else if at(0, b"XFSB") {
        Some(Need::Xfs)
    } else if at(0x438, &[0x53, 0xef]) {
        Some(Need::Ext4)
    } else if at(0x400, &[0xe2, 0xe1, 0xf5, 0xe0]) {
        Some(Need::Erofs)
    } else if at(0x10040, b"_BHRfS_M") {
        Some(Need::Btrfs)
    } else {
        None
    }
}

/// Finds UEFI firmware and copies its variables for this guest.
fn uefi(wanted: Firmware, setup: &Setup<'_>, kept: &mut Kept) -> Result<Option<UefiFiles>, GuestError> {
    let Some(found) = firmware::find(setup.host, wanted)? else { return Ok(None) };
    let vars = setup.folder.join("uefi-variables");
    let mut from = setup.host.root().open_file(&found.vars)?;
    let mut to = File::create(&vars).map_err(|e| GuestError::file("write", &vars, e))?;
    std::io::copy(&mut from, &mut to).map_err(|e| GuestError::file("write", &vars, e))?;
    if !setup.keep {
        kept.scratch.push(vars.clone());
    }
    Ok(Some(UefiFiles {
        code: file(setup, Path::new(&found.code), false, kept)?,
        vars: file(setup, &vars, true, kept)?,
        format: found.format,
        smm: found.smm,
    }))
}

/// A file as QEMU is to open it: by its path, or (in a sandbox) as an inherited one.
fn file(setup: &Setup<'_>, path: &Path, write: bool, kept: &mut Kept) -> Result<String, GuestError> {
    let open = File::options().read(true).write(write).open(path);
    let opened = open.map_err(|e| GuestError::file("open", path, e))?;
    let meta = opened.metadata().map_err(|e| GuestError::file("look at", path, e))?;
    if meta.is_dir() {
        let reason = format!("{} is a directory", path.display());
        return Err(GuestError::refused("no-image", reason, "give a file"));
    }
    if setup.wrap.is_some() {
        // QEMU opens it anew through /proc, and its user there may not be one who can.
        use std::os::unix::fs::PermissionsExt;
        let readable = meta.permissions().mode() & 0o004 != 0;
        let file = if readable || write { opened } else { in_memory(opened, path)? };
        return Ok(inherited(file, kept));
    }
    text(path)
}

/// A copy of a file in memory, which everybody who has it can read.
fn in_memory(mut from: File, path: &Path) -> Result<File, GuestError> {
    use rustix::fs::{MemfdFlags, memfd_create};
    let memory = memfd_create(c"hostwright", MemfdFlags::CLOEXEC);
    let mut memory = File::from(memory.map_err(|e| super::wires::system("get memory for a file")(e.into()))?);
    std::io::copy(&mut from, &mut memory).map_err(|e| GuestError::file("copy into memory", path, e))?;
    Ok(memory)
}

fn inherited(file: File, kept: &mut Kept) -> String {
    let file = Inherited::new(file.into());
    let path = format!("/proc/self/fd/{}", file.number());
    kept.inherit.push(file);
    path
}

/// A path as an argument: absolute, since QEMU works in `/`.
fn text(path: &Path) -> Result<String, GuestError> {
    let path = std::path::absolute(path).map_err(|e| GuestError::file("find", path, e))?;
    path.to_str().map(str::to_owned).ok_or_else(|| {
        GuestError::refused("path", format!("the name of {} is not UTF-8", path.display()), "rename it")
    })
}

/// A port of the loopback that nobody listens on.
fn free_port() -> Result<u16, GuestError> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0));
    listener.and_then(|l| l.local_addr()).map(|a| a.port()).map_err(super::wires::system("find a free port"))
}

/// An address for virtual sockets, where the host has them (module `vhost_vsock`) and lets us: no port of the network
/// is needed then. Addresses 0 to 2 are taken (vsock(7)); a process watches one such guest, and its number is its own.
fn vsock() -> Option<u32> {
    let opens = File::options().read(true).write(true).open("/dev/vhost-vsock").is_ok();
    opens.then(|| std::process::id().saturating_add(3))
}

/// Writes a whole file beside its place and moves it there.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), GuestError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let fail = |e| GuestError::file("write", path, e);
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(fail)?;
    file.write_all(bytes).map_err(fail)?;
    file.persist(path).map_err(|e| fail(e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_known_by_its_first_bytes() {
        let mut ext4 = vec![0; 0x1000];
        ext4[0x438..0x43a].copy_from_slice(&[0x53, 0xef]);
        assert_eq!(sniff(&ext4), Some(Need::Ext4));
        assert_eq!(sniff(b"hsqs\x01\0\0\0"), Some(Need::Squashfs));
        assert_eq!(sniff(&[0; 512]), None);
        assert_eq!(sniff(b""), None);
    }

    #[test]
    fn only_the_init_of_a_shared_tree_is_kept_from_waiting_for_disks() {
        let boot = |root: GuestRoot, task: Task| KernelBoot {
            image: "k".into(),
            modules: None,
            config: None,
            root,
            writable: false,
            task,
            append: vec!["last=1".into()],
            insert: vec![],
            collect: vec![],
        };
        let init = || Task::Init { path: "/sbin/init".into(), args: vec![] };
        let tree = || GuestRoot::Directory { path: "/".into() };
        let line = cmdline(&boot(tree(), init()), false, None);
        assert!(line.contains(" fstab=no ") && line.ends_with(" last=1"), "{line}");
        let image = GuestRoot::Image { path: "i".into(), format: ImageFormat::Raw };
        assert!(!cmdline(&boot(image, init()), false, None).contains("fstab"));
        let command = Task::Command { argv: vec![], env: vec![], cwd: None };
        assert!(!cmdline(&boot(tree(), command), false, None).contains("systemd"));
    }

    #[test]
    fn a_directory_that_is_no_root_is_refused_before_anything_starts() {
        let dir = tempfile::tempdir().unwrap();
        let task = |p: &str| Task::Command { argv: vec![p.into()], env: vec![], cwd: None };
        let refused = |task: &Task| check_tree(dir.path(), task).unwrap_err().to_string();
        assert!(refused(&task("true")).contains("neither /bin nor /usr/bin"));
        std::fs::create_dir_all(dir.path().join("usr/bin")).unwrap();
        assert!(check_tree(dir.path(), &task("true")).is_ok());
        // A link of the tree is followed inside it, and /bin/sh of this machine is none of the tree's.
        std::os::unix::fs::symlink("/usr/bin", dir.path().join("bin")).unwrap();
        assert!(refused(&task("/bin/sh")).contains("no /bin/sh"));
        std::fs::write(dir.path().join("usr/bin/sh"), "").unwrap();
        assert!(check_tree(dir.path(), &task("/bin/sh")).is_ok());
        let file = dir.path().join("usr/bin/sh");
        assert!(check_tree(&file, &task("true")).unwrap_err().to_string().contains("no directory"));
        assert!(check_tree(&dir.path().join("gone"), &task("true")).is_err());
    }
}
