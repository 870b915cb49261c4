// SPDX-License-Identifier: GPL-3.0-or-later
//! From what is wanted and prepared to the arguments of QEMU. Pure. Facts: qemu(1); `docs/system/i386/microvm.rst`,
//! `docs/interop/firmware.json` of QEMU.

use super::spec::{Display, ImageFormat};
use crate::init::protocol;

/// The program.
pub const QEMU: &str = "qemu-system-x86_64";

/// The tag of the shared root, as the guest mounts it.
pub const TAG: &str = "hostwright";

/// The processor that is emulated: all that can be, but for the two features that make the kernel clear and copy
/// memory by `rep stosb` and `rep movsb`, which QEMU emulates byte by byte. Two guests with the same ISO image side by
/// side: from the kernel's hand-over to systemd 32 s without them and 65 s with them, and with them a soft lock-up in
/// `clear_page_erms` on a busy machine.
const EMULATED_CPU: &str = "max,-erms,-fsrm";

/// Which of QEMU's machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// No PCI, no firmware menu: the quickest for a kernel that has virtio-mmio and ACPI.
    Microvm,
    /// A PC with PCI Express.
    Q35,
}

/// What one end of a character device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wire {
    /// One end of a connected pair of sockets that QEMU inherits.
    Socket(i32),
    /// A listening socket that QEMU inherits.
    Listener(i32),
    /// A file that is written (`--dry-run` shows this, so that the command can be pasted).
    File(&'static str),
    /// Nothing.
    Null,
}

/// All of a guest's wires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wires {
    /// The serial console.
    pub console: Wire,
    /// What SeaBIOS says of its work (port 0x402).
    pub firmware: Option<Wire>,
    /// QEMU's own control.
    pub qmp: Option<Wire>,
    /// QEMU's own control, for other processes.
    pub qmp_listener: Option<Wire>,
    /// Names and wires of the virtio-serial ports.
    pub ports: Vec<(&'static str, Wire)>,
}

impl Wires {
    /// The wires of a command that is pasted into a shell: the console on standard error, the command's output
    /// where it belongs.
    pub fn to_paste() -> Self {
        // Not `null`, which is nothing that a port could be connected to: the guest would wait for it.
        let ports = vec![
            (protocol::CONTROL, Wire::File("/dev/null")),
            (protocol::STDIN, Wire::Null),
            (protocol::STDOUT, Wire::File("/dev/stdout")),
            (protocol::STDERR, Wire::File("/dev/stderr")),
            (protocol::FILES, Wire::File("/dev/null")),
        ];
        let console = Wire::File("/dev/stderr");
        Self { console, firmware: None, qmp: None, qmp_listener: None, ports }
    }
}

/// A kernel that is started directly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelFiles {
    /// The image.
    pub image: String,
    /// The initramfs.
    pub initramfs: String,
    /// The command line.
    pub cmdline: String,
}

/// How a directory is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Share {
    /// By QEMU itself.
    NineP {
        /// The directory.
        path: String,
        /// Whether the guest may not write.
        readonly: bool,
    },
    /// By virtiofsd.
    VirtioFs {
        /// The connected socket to it, which QEMU inherits.
        socket: i32,
    },
}

/// What happens with what a guest writes to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writes {
    /// It is kept in the image.
    Kept,
    /// It goes into a layer that is gone with QEMU.
    Dropped,
    /// The guest cannot write.
    Refused,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskFile {
    /// The image.
    pub path: String,
    /// How it is written.
    pub format: ImageFormat,
    /// What happens with what is written.
    pub writes: Writes,
    /// Its serial number, by which the guest finds it; 20 bytes at most.
    pub serial: Option<&'static str>,
    /// Whether it is a USB stick.
    pub usb: bool,
}

/// UEFI firmware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UefiFiles {
    /// The program.
    pub code: String,
    /// Its variables; a copy of this guest's own.
    pub vars: String,
    /// How both are written.
    pub format: ImageFormat,
    /// Whether it needs System Management Mode, which guards its variables.
    pub smm: bool,
}

/// The network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Net {
    /// None.
    None,
    /// QEMU's user-mode network; with a port of the host's loopback for port 22.
    User(Option<u16>),
}

/// A guest with all that it needs found, opened and made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// Its name.
    pub name: String,
    /// Which machine.
    pub machine: Machine,
    /// Whether KVM runs it.
    pub kvm: bool,
    /// Virtual processors.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory: u32,
    /// A kernel that is started directly.
    pub kernel: Option<KernelFiles>,
    /// The shared root.
    pub share: Option<Share>,
    /// Disks, the one to boot from first.
    pub disks: Vec<DiskFile>,
    /// An ISO image to boot from.
    pub cdrom: Option<String>,
    /// UEFI firmware; else SeaBIOS.
    pub uefi: Option<UefiFiles>,
    /// The screen.
    pub display: Display,
    /// Whether there is a graphics card.
    pub graphics: bool,
    /// The network.
    pub net: Net,
    /// Its address on the host's virtual sockets (vsock(7)).
    pub vsock: Option<u32>,
    /// The wires.
    pub wires: Wires,
}

/// A value of an option whose parts are parted by commas: a comma of its own is doubled (qemu(1)).
pub fn escape(value: &str) -> String {
    value.replace(',', ",,")
}

/// The arguments of QEMU.
pub fn argv(p: &Prepared) -> Vec<String> {
    let mut out = Args::default();
    out.add("-nodefaults").add("-no-user-config").add("-no-reboot");
    out.pair("-name", format!("guest={},debug-threads=off", escape(&p.name)));
    machine(&mut out, p);
    out.pair("-accel", if p.kvm { "kvm" } else { "tcg,thread=single" });
    out.pair("-cpu", if p.kvm { "host" } else { EMULATED_CPU });
    out.pair("-smp", p.cpus.to_string());
    out.pair("-m", format!("{}M", p.memory));
    display(&mut out, p);
    wires(&mut out, p);
    if let Some(kernel) = &p.kernel {
        out.pair("-kernel", kernel.image.as_str());
        out.pair("-initrd", kernel.initramfs.as_str());
        out.pair("-append", kernel.cmdline.as_str());
    }
    share(&mut out, p);
    disks(&mut out, p);
    net(&mut out, p);
    out.pair("-device", p.device("virtio-rng"));
    out.0
}

impl Prepared {
    /// A virtio device on this machine's bus.
    fn device(&self, name: &str) -> String {
        match self.machine {
            Machine::Microvm => format!("{name}-device"),
            Machine::Q35 => format!("{name}-pci"),
        }
    }
}

#[derive(Default)]
struct Args(Vec<String>);

impl Args {
    fn add(&mut self, word: impl Into<String>) -> &mut Self {
        self.0.push(word.into());
        self
    }
    fn pair(&mut self, option: &str, value: impl Into<String>) -> &mut Self {
        self.add(option).add(value)
    }
}

fn machine(out: &mut Args, p: &Prepared) {
    let mut words = match p.machine {
        // ACPI: without it virtio-mmio devices are named on the command line, which few kernels read.
        Machine::Microvm => "microvm,acpi=on,usb=off".to_owned(),
        Machine::Q35 => "q35,usb=off".to_owned(),
    };
    if matches!(p.share, Some(Share::VirtioFs { .. })) {
        // virtiofsd writes into the guest's memory.
        words.push_str(",memory-backend=memory");
        out.pair("-object", format!("memory-backend-memfd,id=memory,share=on,size={}M", p.memory));
    }
    if let Some(uefi) = &p.uefi {
        words.push_str(",pflash0=uefi-code,pflash1=uefi-vars");
        words.push_str(if uefi.smm { ",smm=on" } else { ",smm=off" });
        for (node, path, readonly) in [("uefi-code", &uefi.code, "on"), ("uefi-vars", &uefi.vars, "off")] {
            let driver = driver(uefi.format);
            out.pair(
                "-blockdev",
                format!(
                    "driver={driver},node-name={node},read-only={readonly},file.driver=file,file.filename={}",
                    escape(path)
                ),
            );
        }
        if uefi.smm {
            // Only code in System Management Mode may write the variables; and S3 would let others in.
            out.pair("-global", "driver=cfi.pflash01,property=secure,value=on");
            out.pair("-global", "ICH9-LPC.disable_s3=1");
        }
    }
    out.pair("-machine", words);
}

fn display(out: &mut Args, p: &Prepared) {
    out.pair(
        "-display",
        match p.display {
            Display::None => "none",
            Display::Gtk => "gtk",
            Display::Sdl => "sdl",
        },
    );
    if p.graphics {
        out.pair("-vga", "std");
        // A pointer that knows where it is: no grabbing of the mouse, no lost clicks.
        out.pair("-device", "qemu-xhci,id=usb").pair("-device", "usb-tablet,bus=usb.0");
    } else if p.disks.iter().any(|d| d.usb) {
        out.pair("-device", "qemu-xhci,id=usb");
    }
}

/// A character device called `id`.
fn chardev(id: &str, wire: &Wire) -> String {
    match wire {
        Wire::Socket(fd) => format!("socket,id={id},fd={fd}"),
        Wire::Listener(fd) => format!("socket,id={id},fd={fd},server=on,wait=off"),
        Wire::File(path) => format!("file,id={id},path={}", escape(path)),
        Wire::Null => format!("null,id={id}"),
    }
}

fn wires(out: &mut Args, p: &Prepared) {
    let w = &p.wires;
    out.pair("-chardev", chardev("console", &w.console)).pair("-serial", "chardev:console");
    if let Some(wire) = &w.firmware {
        out.pair("-chardev", chardev("firmware", wire));
        out.pair("-device", "isa-debugcon,iobase=0x402,chardev=firmware");
    }
    for (id, wire) in [("qmp", &w.qmp), ("control", &w.qmp_listener)] {
        if let Some(wire) = wire {
            out.pair("-chardev", chardev(id, wire));
            out.pair("-mon", format!("chardev={id},mode=control"));
        }
    }
    if !w.ports.is_empty() {
        out.pair("-device", format!("{},max_ports=8", p.device("virtio-serial")));
        for (n, (name, wire)) in w.ports.iter().enumerate() {
            let id = format!("port{}", n + 1);
            out.pair("-chardev", chardev(&id, wire));
            out.pair("-device", format!("virtserialport,nr={},chardev={id},name={}", n + 1, escape(name)));
        }
    }
}

fn share(out: &mut Args, p: &Prepared) {
    match &p.share {
        None => {}
        Some(Share::NineP { path, readonly }) => {
            let readonly = if *readonly { "on" } else { "off" };
            // remap: below "/" there are several file systems, whose inode numbers must not meet.
            out.pair(
                "-fsdev",
                format!(
                    "local,id=root,path={},security_model=none,multidevs=remap,readonly={readonly}",
                    escape(path)
                ),
            );
            out.pair("-device", format!("{},fsdev=root,mount_tag={TAG}", p.device("virtio-9p")));
        }
        Some(Share::VirtioFs { socket }) => {
            out.pair("-chardev", chardev("root", &Wire::Socket(*socket)));
            out.pair("-device", format!("{},chardev=root,tag={TAG}", p.device("vhost-user-fs")));
        }
    }
}

fn driver(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Raw => "raw",
        ImageFormat::Qcow2 => "qcow2",
    }
}

fn disks(out: &mut Args, p: &Prepared) {
    let firmware_boots = p.kernel.is_none();
    if let Some(path) = &p.cdrom {
        out.pair(
            "-drive",
            format!("if=none,id=cdrom,media=cdrom,readonly=on,format=raw,file={}", escape(path)),
        );
        out.pair("-device", "ide-cd,bus=ide.0,drive=cdrom,bootindex=0");
    }
    for (n, disk) in p.disks.iter().enumerate() {
        let writes = match disk.writes {
            Writes::Kept => "",
            Writes::Dropped => ",snapshot=on",
            Writes::Refused => ",readonly=on",
        };
        let (format, file) = (driver(disk.format), escape(&disk.path));
        out.pair("-drive", format!("if=none,id=disk{n},format={format}{writes},discard=unmap,file={file}"));
        let boot = if firmware_boots { format!(",bootindex={}", n + 1) } else { String::new() };
        let serial = disk.serial.map(|s| format!(",serial={s}")).unwrap_or_default();
        if disk.usb {
            out.pair("-device", format!("usb-storage,bus=usb.0,removable=on,drive=disk{n}{serial}{boot}"));
            continue;
        }
        out.pair("-device", format!("{},drive=disk{n}{serial}{boot}", p.device("virtio-blk")));
    }
}

fn net(out: &mut Args, p: &Prepared) {
    if let Some(cid) = p.vsock {
        out.pair("-device", format!("{},guest-cid={cid}", p.device("vhost-vsock")));
    }
    let Net::User(ssh) = p.net else { return };
    let forward = ssh.map(|port| format!(",hostfwd=tcp:127.0.0.1:{port}-:22")).unwrap_or_default();
    out.pair("-netdev", format!("user,id=net{forward}"));
    // Nothing is booted from the network: no option ROM.
    let rom = if p.machine == Machine::Q35 { ",romfile=" } else { "" };
    out.pair("-device", format!("{},netdev=net{rom}", p.device("virtio-net")));
}

#[cfg(test)]
#[path = "argv_tests.rs"]
mod tests;
