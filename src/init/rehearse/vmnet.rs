// SPDX-License-Identifier: GPL-3.0-or-later
//! Uses vmnet as its programs do: ports of a hub, their flags, a network interface on the hub, a bridge from
//! another hub to that interface, and frames on all of these ways.
//!
//! Numbers and arguments: `vnet.h` and `driver.c` of vmnet (API 3 of product 16 and API 4 of product 17), and of
//! `data/practice/vmnet-only`, which has the same. linux/if.h and linux/sockios.h for the interface.

use super::exercise::{Course, Fault, Seen};
use super::frames::{expect, expect_not, put};
use crate::init::sys;
use std::fs::{File, OpenOptions};
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The module's character devices (`VNET_MAJOR_NUMBER`); the minor number is the hub's.
const MAJOR: u32 = 119;
/// `SIOCGETAPIVERSION2`, `_IOWR(0x99, 0xE0, u32)`.
const VERSION: u64 = 0xc004_99e0;
/// `SIOCSPEER3`, `_IOW(0x99, 0xE4, {char name[32]; u32 flags})`: this port becomes a bridge.
const BRIDGE: u64 = 0x4024_99e4;
/// `SIOCGETMACADDR`, `_IOR(0x99, 0xE5, char[6])`; since API 4.
const GET_ADDRESS: u64 = 0x8006_99e5;
/// `SIOCSPORTFLAGS`, `_IOW(0x99, 0xE6, u32)`; since API 4.
const SET_FLAGS: u64 = 0x4004_99e6;
/// `SIOCNETIF`: this port becomes an interface of this name (8 bytes).
const INTERFACE: u64 = 0x99f5;
/// Practice: the longest queue on the hub, `_IOR(0x99, 0x84, u32)`.
const QUEUED: u64 = 0x8004_9984;

/// `SIOCGIFFLAGS`, `SIOCSIFFLAGS`, `SIOCGIFADDR`, `SIOCSIFHWADDR`, `SIOCGIFHWADDR` of sockets; a port of API 3 knows
/// the second (with a u32) and the third (with 6 bytes).
const GET_IF_FLAGS: u64 = 0x8913;
const SET_IF_FLAGS: u64 = 0x8914;
const GET_PORT_ADDRESS: u64 = 0x8915;
const SET_IF_ADDRESS: u64 = 0x8924;
const GET_IF_ADDRESS: u64 = 0x8927;
/// `ARPHRD_ETHER`.
const ETHERNET: u16 = 1;

/// `IFF_UP | IFF_BROADCAST | IFF_PROMISC`.
const UP: u16 = 0x1 | 0x2 | 0x100;

/// `open(2)`.
const O_NONBLOCK: i32 = 0o4000;

/// The hubs that are used, and the interface on the first.
const ONE: u32 = 9;
const TWO: u32 = 10;
const NAME: &str = "vmnet9";

/// Opens a port of a hub; nobody else makes the node of a device that is only a major number.
pub(super) fn open(hub: u32) -> Result<File, Fault> {
    let path = format!("/dev/vmnet{hub}");
    match sys::make_device(&path, false, 0o600, MAJOR, hub) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(format!("{path} cannot be made: {e}")),
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(O_NONBLOCK)
        .open(&path)
        .map_err(|e| format!("{path}: {e}"))
}

fn told<T>(result: io::Result<T>) -> Result<T, Fault> {
    result.map_err(|e| e.to_string())
}

/// ENOTTY or EINVAL: the module does not know the call.
fn known<T>(result: io::Result<T>) -> Result<Option<T>, Fault> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if matches!(e.raw_os_error(), Some(25 | 22)) => Ok(None),
        Err(e) => Err(e.to_string()),
    }
}

/// `struct ifreq`: a name and 24 bytes of this or that.
fn request(name: &str, value: &[u8]) -> [u8; 40] {
    let mut request = [0; 40];
    for (to, from) in request.iter_mut().take(15).zip(name.as_bytes()) {
        *to = *from;
    }
    for (to, from) in request.iter_mut().skip(16).zip(value) {
        *to = *from;
    }
    request
}

/// Sets the flags of a port; by the older call where the module does not know the newer.
fn set_flags(port: &File, flags: u16) -> Result<(), Fault> {
    let mut word = u32::from(flags).to_ne_bytes();
    if known(sys::ioctl_bytes(port.as_fd(), SET_FLAGS, &mut word))?.is_some() {
        return Ok(());
    }
    told(sys::ioctl_bytes(port.as_fd(), SET_IF_FLAGS, &mut word)).map(|_| ())
}

/// A port that is up.
pub(super) fn port(hub: u32) -> Result<File, Fault> {
    let port = open(hub)?;
    set_flags(&port, UP).map_err(|e| format!("its flags cannot be set: {e}"))?;
    Ok(port)
}

/// A socket to ask about interfaces with. `bind` needs no interface for this address.
fn asking() -> Result<UdpSocket, Fault> {
    told(UdpSocket::bind("0.0.0.0:0"))
}

fn about_interface(call: u64, value: &[u8]) -> Result<[u8; 40], Fault> {
    let mut request = request(NAME, value);
    told(sys::ioctl_bytes(asking()?.as_fd(), call, &mut request))?;
    Ok(request)
}

fn interface_is_there() -> bool {
    Path::new("/sys/class/net").join(NAME).exists()
}

/// Uses the devices.
pub(super) fn exercise(course: &mut Course<'_>) -> Result<(), ()> {
    course.step("ask vmnet for its version", || {
        let mut word = [0; 4];
        told(sys::ioctl_bytes(open(ONE)?.as_fd(), VERSION, &mut word))?;
        let version = u32::from_ne_bytes(word);
        match version >> 16 {
            1.. => Ok(Seen::Good(format!("{}.{}", version >> 16, version & 0xffff))),
            0 => Err(format!("it answers {version}")),
        }
    })?;
    course.step("pass frames from port to port of a hub", hub)?;
    course.step("give ports addresses of their own", addresses)?;
    let mut wires = None;
    course.step("make a network interface on a hub", || {
        let (wire, seen) = Interface::make()?;
        wires = Some(wire);
        Ok(seen)
    })?;
    let Some(wire) = wires else { return Err(()) };
    course.step("pass frames to and from the interface", || wire.pass())?;
    course.step("change the interface's address", change_address)?;
    course.step("bridge another hub to the interface", || wire.bridge())?;
    course.step("take the interface away", || wire.close())
}

/// One hub: everybody else hears a frame, neither the sender nor another hub, nor a port that is down.
fn hub() -> Result<Seen, Fault> {
    let (a, b, down, other) = (port(ONE)?, port(ONE)?, open(ONE)?, port(TWO)?);
    put(&a, "one hub")?;
    let mut queued = [0; 4];
    if known(sys::ioctl_bytes(b.as_fd(), QUEUED, &mut queued))?.is_some() && u32::from_ne_bytes(queued) != 1 {
        return Err(format!("{} frames wait where one should", u32::from_ne_bytes(queued)));
    }
    expect(&b, "one hub", "the other port")?;
    expect_not(&a, "one hub", "its sender")?;
    expect_not(&other, "one hub", "another hub")?;
    expect_not(&down, "one hub", "a port that is down")?;
    set_flags(&b, 0)?;
    put(&a, "nobody there")?;
    expect_not(&b, "nobody there", "a port that was taken down")?;
    set_flags(&b, UP)?;
    for n in 0..200 {
        let text = format!("number {n:03}");
        put(&b, &text)?;
        expect(&a, &text, "the first port")?;
    }
    match io::Write::write(&mut &a, b"short") {
        Err(e) if e.raw_os_error() == Some(22) => Ok(Seen::Good("202 frames".into())),
        other => Err(format!("a frame without a header was answered with {other:?}")),
    }
}

fn addresses() -> Result<Seen, Fault> {
    let address = |port: &File| -> Result<Option<[u8; 6]>, Fault> {
        let mut address = [0; 6];
        if known(sys::ioctl_bytes(port.as_fd(), GET_ADDRESS, &mut address))?.is_some() {
            return Ok(Some(address));
        }
        Ok(known(sys::ioctl_bytes(port.as_fd(), GET_PORT_ADDRESS, &mut address))?.map(|_| address))
    };
    let (a, b) = (port(ONE)?, port(ONE)?);
    let (Some(one), Some(two)) = (address(&a)?, address(&b)?) else {
        return Ok(Seen::Skipped("this module does not know the call".into()));
    };
    if one == two || one == [0; 6] || one[0] & 1 != 0 {
        return Err(format!("they are {one:02x?} and {two:02x?}"));
    }
    Ok(Seen::good())
}

/// A hub with an interface of the machine on it, and a port.
struct Interface {
    /// Owns the interface.
    interface: File,
    /// Another port of the hub.
    port: File,
    /// The machine's side of the interface; none when the kernel has no packet sockets.
    machine: Result<File, String>,
}

impl Interface {
    fn make() -> Result<(Self, Seen), Fault> {
        let interface = open(ONE)?;
        let mut name = [0; 8];
        for (to, from) in name.iter_mut().zip(NAME.as_bytes()) {
            *to = *from;
        }
        told(sys::ioctl_bytes(interface.as_fd(), INTERFACE, &mut name))?;
        if !interface_is_there() {
            return Err(format!("there is no interface {NAME}"));
        }
        let flags = about_interface(GET_IF_FLAGS, &[])?;
        let flags = u16::from_ne_bytes([flags[16], flags[17]]) | 1;
        about_interface(SET_IF_FLAGS, &flags.to_ne_bytes())?;
        let index = std::fs::read_to_string(format!("/sys/class/net/{NAME}/ifindex"));
        let index: i32 = told(index)?.trim().parse().map_err(|_| "its index is no number".to_owned())?;
        let machine = sys::packet_socket(index).map(File::from).map_err(|e| e.to_string());
        let seen = match &machine {
            Ok(_) => Seen::good(),
            Err(e) => Seen::Good(format!("not listened to: this kernel has no packet sockets ({e})")),
        };
        Ok((Self { interface, port: port(ONE)?, machine }, seen))
    }

    fn pass(&self) -> Result<Seen, Fault> {
        let Ok(machine) = &self.machine else {
            return Ok(Seen::Skipped("this kernel has no packet sockets".into()));
        };
        put(&self.port, "to the machine")?;
        expect(machine, "to the machine", "the interface")?;
        put(machine, "from the machine")?;
        expect(&self.port, "from the machine", "the port")?;
        Ok(Seen::good())
    }

    /// Another hub, bridged to the interface: both ways.
    ///
    /// Not tried is what VMware's module gets wrong and its programs never do: a hub bridged to an interface of its own
    /// is refused, and the new port is given back that nobody had counted (`VNetSwitchToDifferentPeer` of `driver.c`:
    /// "refcount_t: underflow").
    fn bridge(&self) -> Result<Seen, Fault> {
        let (bridge, other) = (open(TWO)?, port(TWO)?);
        let mut parameters = [0; 36];
        for (to, from) in parameters.iter_mut().zip(NAME.as_bytes()) {
            *to = *from;
        }
        told(sys::ioctl_bytes(bridge.as_fd(), BRIDGE, &mut parameters))?;
        put(&other, "over the bridge")?;
        expect(&self.port, "over the bridge", "the port on the other side of the bridge")?;
        if let Ok(machine) = &self.machine {
            expect(machine, "over the bridge", "the interface")?;
        }
        put(&self.port, "and back")?;
        expect(&other, "and back", "the first side of the bridge")?;
        Ok(Seen::good())
    }

    /// The interface goes while a bridge still holds it.
    fn close(self) -> Result<Seen, Fault> {
        let (bridge, other) = (open(TWO)?, port(TWO)?);
        let mut parameters = request(NAME, &[])[..36].to_vec();
        told(sys::ioctl_bytes(bridge.as_fd(), BRIDGE, &mut parameters))?;
        drop(self.interface);
        if interface_is_there() {
            return Err("it is still there".into());
        }
        put(&other, "to nobody")?;
        drop(bridge);
        Ok(Seen::good())
    }
}

/// A change is taken and seen.
fn change_address() -> Result<Seen, Fault> {
    let mut wanted = ETHERNET.to_ne_bytes().to_vec();
    // VMware's module takes addresses of its own range only.
    wanted.extend([0x00, 0x50, 0x56, 0x00, 0x00, 0x09]);
    about_interface(SET_IF_ADDRESS, &wanted)?;
    let now = about_interface(GET_IF_ADDRESS, &[])?;
    if now.get(16..24) == Some(wanted.as_slice()) {
        Ok(Seen::good())
    } else {
        Err("it did not change".into())
    }
}
