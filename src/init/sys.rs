// SPDX-License-Identifier: GPL-3.0-or-later
//! The few system calls that the standard library lacks. The only unsafe code of the first process: every
//! function here checks what it passes on and returns errors as the standard library does.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_ulong, c_void};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// `struct pollfd` of poll(2).
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct PollFd {
    fd: c_int,
    events: i16,
    revents: i16,
}

/// `struct timespec` of 64-bit machines.
#[repr(C)]
struct TimeSpec {
    seconds: c_long,
    nanoseconds: c_long,
}

/// `sigset_t` of glibc and musl: 1024 bits.
#[repr(C)]
struct SigSet([u64; 16]);

unsafe extern "C" {
    fn mount(
        source: *const c_char,
        target: *const c_char,
        kind: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int;
    fn umount2(target: *const c_char, flags: c_int) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
    fn reboot(how: c_int) -> c_int;
    fn chroot(path: *const c_char) -> c_int;
    fn poll(fds: *mut PollFd, count: c_ulong, timeout: c_int) -> c_int;
    fn mknod(path: *const c_char, mode: u32, device: u64) -> c_int;
    fn mkfifo(path: *const c_char, mode: u32) -> c_int;
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn sethostname(name: *const c_char, length: usize) -> c_int;
    fn sync();
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn bind(fd: c_int, address: *const c_void, length: u32) -> c_int;
    fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
    fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
    fn signalfd(fd: c_int, mask: *const SigSet, flags: c_int) -> c_int;
    fn sigprocmask(how: c_int, set: *const SigSet, old: *mut SigSet) -> c_int;
    fn clock_gettime(clock: c_int, time: *mut TimeSpec) -> c_int;
    fn execv(path: *const c_char, argv: *const *const c_char) -> c_int;
}

/// Flags of mount(2).
pub const MS_RDONLY: u64 = 1;
/// No set-user-ID.
pub const MS_NOSUID: u64 = 2;
/// No devices.
pub const MS_NODEV: u64 = 4;
/// No programs.
pub const MS_NOEXEC: u64 = 8;
/// Changes flags of what is mounted.
pub const MS_REMOUNT: u64 = 32;
/// Moves what is mounted.
pub const MS_MOVE: u64 = 8192;

/// Signals.
pub const SIGKILL: i32 = 9;
/// See [`SIGKILL`].
pub const SIGTERM: i32 = 15;
/// See [`SIGKILL`].
pub const SIGCHLD: i32 = 17;

/// Something can be read.
pub const IN: i16 = 1;
/// Something can be written.
pub const OUT: i16 = 4;
/// An error, or nobody reads a pipe any more.
pub const ERR: i16 = 8;
/// The other side is gone.
pub const HUP: i16 = 16;

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn text(bytes: &str) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// mount(2).
///
/// # Errors
/// As mount(2).
pub fn mount_at(source: &str, target: &str, kind: &str, flags: u64, data: &str) -> io::Result<()> {
    let (source, target, kind, data) = (text(source)?, text(target)?, text(kind)?, text(data)?);
    // SAFETY: five arguments as mount(2) takes them; the texts end with zero and outlive the call.
    let result =
        unsafe { mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast()) };
    check(result).map(drop)
}

/// umount2(2), lazily.
///
/// # Errors
/// As umount2(2).
pub fn detach(target: &str) -> io::Result<()> {
    let target = text(target)?;
    // SAFETY: the text ends with zero and outlives the call. 2 is MNT_DETACH.
    check(unsafe { umount2(target.as_ptr(), 2) }).map(drop)
}

/// finit_module(2).
///
/// # Errors
/// As finit_module(2).
pub fn insert_module(file: &File, parameters: &str) -> io::Result<()> {
    #[cfg(target_arch = "x86_64")]
    const FINIT_MODULE: c_long = 313;
    #[cfg(not(target_arch = "x86_64"))]
    const FINIT_MODULE: c_long = 273;
    let parameters = text(parameters)?;
    // SAFETY: an open file, a text that ends with zero and outlives the call, no flags.
    let result = unsafe { syscall(FINIT_MODULE, file.as_raw_fd(), parameters.as_ptr(), 0 as c_int) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// delete_module(2), not waiting.
///
/// # Errors
/// As delete_module(2).
pub fn remove_module(name: &str) -> io::Result<()> {
    #[cfg(target_arch = "x86_64")]
    const DELETE_MODULE: c_long = 176;
    #[cfg(not(target_arch = "x86_64"))]
    const DELETE_MODULE: c_long = 106;
    const O_NONBLOCK: c_int = 0o4000;
    let name = text(name)?;
    // SAFETY: a text that ends with zero and outlives the call, and flags.
    let result = unsafe { syscall(DELETE_MODULE, name.as_ptr(), O_NONBLOCK) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Restarts the machine at once. QEMU ends instead (`-no-reboot`). Returns only when it is refused.
pub fn restart() -> io::Error {
    // SAFETY: RB_AUTOBOOT; no pointer is passed.
    unsafe { reboot(0x0123_4567) };
    io::Error::last_os_error()
}

/// Writes all file systems out.
pub fn write_out() {
    // SAFETY: takes nothing and cannot fail.
    unsafe { sync() }
}

/// chroot(2).
///
/// # Errors
/// As chroot(2).
pub fn change_root(path: &str) -> io::Result<()> {
    let path = text(path)?;
    // SAFETY: the text ends with zero and outlives the call.
    check(unsafe { chroot(path.as_ptr()) }).map(drop)
}

/// Makes a character or block device.
///
/// # Errors
/// As mknod(2).
pub fn make_device(path: &str, is_block: bool, mode: u32, major: u32, minor: u32) -> io::Result<()> {
    let path = text(path)?;
    let kind = if is_block { 0o060_000 } else { 0o020_000 };
    let (major, minor) = (u64::from(major), u64::from(minor));
    let device = (major & 0xfff) << 8 | (major & !0xfff) << 32 | minor & 0xff | (minor & !0xff) << 12;
    // SAFETY: the text ends with zero and outlives the call.
    check(unsafe { mknod(path.as_ptr(), kind | mode, device) }).map(drop)
}

/// Makes a named pipe.
///
/// # Errors
/// As mkfifo(3).
pub fn make_fifo(path: &str) -> io::Result<()> {
    let path = text(path)?;
    // SAFETY: the text ends with zero and outlives the call.
    check(unsafe { mkfifo(path.as_ptr(), 0o622) }).map(drop)
}

/// kill(2): a process, a group (negative), or all (-1).
///
/// # Errors
/// As kill(2).
pub fn send_signal(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: two numbers.
    check(unsafe { kill(pid, signal) }).map(drop)
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With an exit status.
    Exited(i32),
    /// By a signal.
    Killed(i32),
}

/// A child that ended: its number and how. `None`: none has ended yet.
///
/// # Errors
/// When there is no child at all.
pub fn reap() -> io::Result<Option<(i32, Ended)>> {
    let mut status = 0;
    // SAFETY: the status is written to a number that lives through the call. 1 is WNOHANG.
    let pid = check(unsafe { waitpid(-1, &raw mut status, 1) })?;
    let ended = match status & 0x7f {
        0 => Ended::Exited(status >> 8 & 0xff),
        signal => Ended::Killed(signal),
    };
    Ok((pid > 0).then_some((pid, ended)))
}

/// sethostname(2).
///
/// # Errors
/// As sethostname(2).
pub fn set_hostname(name: &str) -> io::Result<()> {
    // SAFETY: the length is that of the text; it need not end with zero.
    check(unsafe { sethostname(name.as_ptr().cast(), name.len()) }).map(drop)
}

/// Milliseconds since the kernel's start.
pub fn uptime() -> u64 {
    let mut time = TimeSpec { seconds: 0, nanoseconds: 0 };
    // SAFETY: the time is written to a struct that lives through the call. 7 is CLOCK_BOOTTIME.
    unsafe { clock_gettime(7, &raw mut time) };
    u64::try_from(time.seconds * 1000 + time.nanoseconds / 1_000_000).unwrap_or(0)
}

/// One open file to wait for, and what happened.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    fd: RawFd,
    events: i16,
    /// What happened: [`IN`], [`OUT`], [`ERR`], [`HUP`].
    pub seen: i16,
}

impl Watch {
    /// Waits for `events` of `fd`.
    pub fn new(fd: BorrowedFd<'_>, events: i16) -> Self {
        Self { fd: fd.as_raw_fd(), events, seen: 0 }
    }
}

/// Waits until something happens to one of `watches`, `longest` at most. `false`: nothing did.
///
/// # Errors
/// As poll(2), but for signals.
pub fn wait_for(watches: &mut [Watch], longest: Option<Duration>) -> io::Result<bool> {
    let mut fds: Vec<PollFd> =
        watches.iter().map(|w| PollFd { fd: w.fd, events: w.events, revents: 0 }).collect();
    let timeout = longest.map_or(-1, |d| i32::try_from(d.as_millis()).unwrap_or(i32::MAX));
    // SAFETY: the pointer and the count belong to one vector that lives through the call.
    match check(unsafe { poll(fds.as_mut_ptr(), fds.len() as c_ulong, timeout) }) {
        Ok(count) => {
            watches.iter_mut().zip(&fds).for_each(|(watch, fd)| watch.seen = fd.revents);
            Ok(count > 0)
        }
        Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(e) => Err(e),
    }
}

/// Waits for one.
///
/// # Errors
/// As [`wait_for`].
pub fn wait_for_one(fd: BorrowedFd<'_>, events: i16, longest: Duration) -> io::Result<i16> {
    let mut watch = [Watch::new(fd, events)];
    wait_for(&mut watch, Some(longest))?;
    Ok(watch[0].seen)
}

/// From now on reading and writing never waits.
///
/// # Errors
/// As fcntl(2).
pub fn never_wait(fd: BorrowedFd<'_>) -> io::Result<()> {
    const F_GETFL: c_int = 3;
    const F_SETFL: c_int = 4;
    const O_NONBLOCK: c_int = 0o4000;
    // SAFETY: an open file; F_GETFL takes nothing more.
    let flags = check(unsafe { fcntl(fd.as_raw_fd(), F_GETFL) })?;
    // SAFETY: an open file; F_SETFL takes a number.
    check(unsafe { fcntl(fd.as_raw_fd(), F_SETFL, flags | O_NONBLOCK) }).map(drop)
}

/// A file that can be read whenever one of `signals` came; they do nothing else any more.
///
/// # Errors
/// As signalfd(2).
pub fn signal_file(signals: &[i32]) -> io::Result<File> {
    let mut set = SigSet([0; 16]);
    signals.iter().for_each(|signal| set.0[0] |= 1 << (signal - 1));
    // SAFETY: the set lives through the call; 0 is SIG_BLOCK, and the old set is not asked for.
    check(unsafe { sigprocmask(0, &raw const set, std::ptr::null_mut()) })?;
    // SAFETY: the set lives through the call; SFD_NONBLOCK | SFD_CLOEXEC.
    let fd = check(unsafe { signalfd(-1, &raw const set, 0o2_004_000) })?;
    // SAFETY: signalfd(2) made it, and nobody else has it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// Signals do what they did before [`signal_file`]; for what is executed next.
pub fn release_signals() {
    let none = SigSet([0; 16]);
    // SAFETY: the set lives through the call; 2 is SIG_SETMASK.
    unsafe { sigprocmask(2, &raw const none, std::ptr::null_mut()) };
}

/// A socket on which the kernel tells of new devices; reading never waits.
///
/// # Errors
/// When the kernel has no network sockets.
pub fn device_news() -> io::Result<File> {
    /// `struct sockaddr_nl` of netlink(7).
    #[repr(C)]
    struct Address {
        family: u16,
        pad: u16,
        pid: u32,
        groups: u32,
    }
    const AF_NETLINK: c_int = 16;
    const KOBJECT_UEVENT: c_int = 15;
    // SAFETY: three numbers: AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT.
    let fd = check(unsafe { socket(AF_NETLINK, 2 | 0o2_000_000 | 0o4000, KOBJECT_UEVENT) })?;
    // SAFETY: socket(2) made it, and nobody else has it.
    let file = unsafe { OwnedFd::from_raw_fd(fd) };
    let address = Address { family: 16, pad: 0, pid: 0, groups: 1 };
    let length = u32::try_from(size_of::<Address>()).unwrap_or(12);
    // SAFETY: the address lives through the call, and the length is its own.
    check(unsafe { bind(file.as_raw_fd(), (&raw const address).cast(), length) })?;
    Ok(file.into())
}

/// A packet socket (packet(7)) for whole frames of the interface with this index; reading never waits.
///
/// # Errors
/// When the kernel has none, or as socket(2) and bind(2).
pub fn packet_socket(index: i32) -> io::Result<OwnedFd> {
    /// `struct sockaddr_ll` of packet(7).
    #[repr(C)]
    struct Address {
        family: u16,
        protocol: u16,
        index: i32,
        hardware: u16,
        kind: u8,
        length: u8,
        address: [u8; 8],
    }
    let every = 3_u16.to_be();
    // SAFETY: three numbers: AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, ETH_P_ALL.
    let fd = check(unsafe { socket(17, 3 | 0o2_000_000 | 0o4000, c_int::from(every)) })?;
    // SAFETY: socket(2) made it, and nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let address =
        Address { family: 17, protocol: every, index, hardware: 0, kind: 0, length: 0, address: [0; 8] };
    let length = u32::try_from(size_of::<Address>()).unwrap_or(20);
    // SAFETY: the address lives through the call, and the length is its own.
    check(unsafe { bind(fd.as_raw_fd(), (&raw const address).cast(), length) })?;
    Ok(fd)
}

/// ioctl(2) with a number as its argument; what a driver takes for an address it finds nothing at.
///
/// # Errors
/// As ioctl(2).
pub fn ioctl_value(fd: BorrowedFd<'_>, request: u64, value: usize) -> io::Result<i32> {
    // SAFETY: three numbers.
    check(unsafe { ioctl(fd.as_raw_fd(), request, value) })
}

/// ioctl(2) with bytes that the driver reads and writes: as many as the request takes, which is the caller's to
/// know.
///
/// # Errors
/// As ioctl(2).
pub fn ioctl_bytes(fd: BorrowedFd<'_>, request: u64, bytes: &mut [u8]) -> io::Result<i32> {
    // SAFETY: the bytes are ours and live through the call.
    check(unsafe { ioctl(fd.as_raw_fd(), request, bytes.as_mut_ptr()) })
}

/// As [`ioctl_bytes`], for words of 64 bits.
///
/// # Errors
/// As ioctl(2).
pub fn ioctl_words(fd: BorrowedFd<'_>, request: u64, words: &mut [u64]) -> io::Result<i32> {
    // SAFETY: the words are ours and live through the call.
    check(unsafe { ioctl(fd.as_raw_fd(), request, words.as_mut_ptr()) })
}

/// Brings the loopback interface up.
///
/// # Errors
/// When the kernel has no network, or as ioctl(2).
pub fn loopback_up() -> io::Result<()> {
    /// `struct ifreq` of netdevice(7), as far as it is used.
    #[repr(C)]
    struct Request {
        name: [u8; 16],
        flags: i16,
        rest: [u8; 22],
    }
    const SIOCSIFFLAGS: c_ulong = 0x8914;
    // SAFETY: three numbers: AF_INET, SOCK_DGRAM | SOCK_CLOEXEC.
    let fd = check(unsafe { socket(2, 2 | 0o2_000_000, 0) })?;
    // SAFETY: socket(2) made it, and nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut request = Request { name: [0; 16], flags: 0x41, rest: [0; 22] };
    request.name[..2].copy_from_slice(b"lo");
    // SAFETY: the request lives through the call and is as large as the kernel's.
    check(unsafe { ioctl(fd.as_raw_fd(), SIOCSIFFLAGS, &raw const request) }).map(drop)
}

/// Becomes another program. Returns only when it cannot.
pub fn become_program(path: &str, args: &[String]) -> io::Error {
    let words: Result<Vec<CString>, io::Error> =
        std::iter::once(path).chain(args.iter().map(String::as_str)).map(text).collect();
    let words = match words {
        Ok(words) => words,
        Err(e) => return e,
    };
    let mut argv: Vec<*const c_char> = words.iter().map(|w: &CString| CStr::as_ptr(w)).collect();
    argv.push(std::ptr::null());
    // SAFETY: the path and all words end with zero and outlive the call; the list ends with a null pointer.
    unsafe { execv(argv[0], argv.as_ptr()) };
    io::Error::last_os_error()
}
