// SPDX-License-Identifier: GPL-3.0-or-later
//! Whether KVM really runs guests here. `/dev/kvm` may be there, open, and make a machine, and yet no guest gets
//! anywhere (a paravirtualised KVM, a half-configured nested one): so a tiny guest has to go into 64-bit mode,
//! use its memory, and say so. That is tried once after each start of the machine.

use super::argv::QEMU;
use super::error::GuestError;
use super::report::AcceleratorUsed;
use super::spec::Accelerator;
use crate::host::{Command, CommandError, Host};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// What stands against KVM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum NoKvm {
    /// There is no `/dev/kvm`, and the processor offers nothing for one.
    NoHardware,
    /// There is no `/dev/kvm`, though the processor could: the module is not loaded.
    NoModule,
    /// `/dev/kvm` may not be opened.
    NoPermission,
    /// Another hypervisor has the processor's virtualization for itself.
    InUse,
    /// A KVM that runs kernels made for it only.
    Paravirtualised,
    /// The tiny guest got nowhere.
    NoProgress,
    /// QEMU could not use it.
    Failed {
        /// What it said.
        said: String,
    },
    /// QEMU runs where the device is not seen.
    Sandboxed,
}

impl NoKvm {
    /// The same for people, with what to do where something can be done.
    pub fn reason(&self) -> String {
        match self {
            Self::NoHardware => {
                "no KVM: the processor has no hardware virtualization, or it is off in the firmware \
                                 (inside a virtual machine: nested virtualization is off)"
                    .into()
            }
            Self::NoModule => {
                "no KVM: its module is not loaded; `modprobe kvm_intel` (or `kvm_amd`) as root loads it"
                    .into()
            }
            Self::NoPermission => {
                "no KVM: /dev/kvm may not be opened; `sudo usermod -aG kvm $USER` lets you, from the \
                                   next login on"
                    .into()
            }
            Self::InUse => {
                "no KVM: another hypervisor (VMware, VirtualBox) uses the processor's virtualization; end \
                            its machines first"
                    .into()
            }
            Self::Paravirtualised => {
                "no KVM: the one here (module kvm_pvm) is paravirtualised and runs no stock kernel".into()
            }
            Self::NoProgress => "no KVM: a tiny guest made no progress with it".into(),
            Self::Failed { said } => format!("no KVM: QEMU could not run a tiny guest with it ({said})"),
            Self::Sandboxed => "no KVM in the sandbox that QEMU runs in".into(),
        }
    }
}

/// What is known from looking, before anything is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Looked {
    device: bool,
    may_open: bool,
    /// `vmx` or `svm` among the processor's flags.
    hardware: bool,
    /// The module `kvm_pvm` is there, and neither `kvm_intel` nor `kvm_amd`.
    paravirtualised: bool,
}

/// What can be said without trying. Pure.
fn judge(l: Looked) -> Result<(), NoKvm> {
    match l {
        Looked { device: false, hardware: false, .. } => Err(NoKvm::NoHardware),
        Looked { device: false, .. } => Err(NoKvm::NoModule),
        Looked { may_open: false, .. } => Err(NoKvm::NoPermission),
        Looked { paravirtualised: true, .. } => Err(NoKvm::Paravirtualised),
        _ => Ok(()),
    }
}

/// How long the tiny guest has; it needs a few milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the tiny guest writes to the exit device; QEMU then ends with `2 × N + 1`.
const WORD: u8 = 0x21;

/// What came of trying. Pure.
fn tried(result: Result<(Option<i32>, String), CommandError>) -> Result<(), NoKvm> {
    match result {
        Ok((Some(status), _)) if status == i32::from(WORD) * 2 + 1 => Ok(()),
        Ok((_, stderr)) if stderr.contains("Device or resource busy") => Err(NoKvm::InUse),
        Ok((_, stderr)) if stderr.contains("Permission denied") => Err(NoKvm::NoPermission),
        Ok((status, stderr)) => {
            let said = stderr.lines().rev().find(|l| !l.trim().is_empty()).map(str::to_owned);
            let status = status.map_or("a signal".to_owned(), |s| format!("exit status {s}"));
            Err(NoKvm::Failed { said: said.unwrap_or_else(|| format!("it ended with {status}")) })
        }
        Err(CommandError::TimedOut { .. }) => Err(NoKvm::NoProgress),
        Err(e) => Err(NoKvm::Failed { said: e.to_string() }),
    }
}

/// Which accelerator runs a guest for which `wanted` was asked. What was tried is kept in `cache` until the
/// machine starts anew.
///
/// # Errors
/// When KVM was insisted on and does not work, or the cache cannot be written.
pub fn choose(
    host: &Host,
    cache: &Path,
    wanted: Accelerator,
    sandboxed: bool,
) -> Result<AcceleratorUsed, GuestError> {
    let used = |name: &str, reason: String| AcceleratorUsed { name: name.into(), reason };
    if wanted == Accelerator::Tcg {
        return Ok(used("tcg", "QEMU's own emulation, as was asked".into()));
    }
    let works = if sandboxed { Err(NoKvm::Sandboxed) } else { kvm(host, cache)? };
    match (works, wanted) {
        (Ok(()), _) => Ok(used("kvm", "KVM works here: a tiny guest ran".into())),
        (Err(no), Accelerator::Kvm) => Err(GuestError::refused(
            "no-kvm",
            no.reason(),
            "leave out --accel kvm to have the guest emulated, which is slower",
        )),
        (Err(no), _) => Ok(used("tcg", no.reason())),
    }
}

fn kvm(host: &Host, cache: &Path) -> Result<Result<(), NoKvm>, GuestError> {
    let root = host.root();
    let cpu = root.read_text("/proc/cpuinfo").unwrap_or_default();
    let flags = cpu.lines().find(|l| l.starts_with("flags")).unwrap_or_default();
    let module = |name: &str| root.exists(&format!("/sys/module/{name}"));
    let access = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK;
    let looked = Looked {
        device: root.exists("/dev/kvm"),
        may_open: rustix::fs::access("/dev/kvm", access).is_ok(),
        hardware: flags.split_whitespace().any(|f| f == "vmx" || f == "svm"),
        paravirtualised: module("kvm_pvm") && !module("kvm_intel") && !module("kvm_amd"),
    };
    if let Err(no) = judge(looked) {
        return Ok(Err(no));
    }
    let boot = root.read_text("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
    let path = cache.join("kvm.json");
    if let Some(known) = std::fs::read(&path).ok().and_then(|b| serde_json::from_slice::<Known>(&b).ok())
        && known.boot == boot
        && !boot.is_empty()
    {
        return Ok(known.no.map_or(Ok(()), Err));
    }
    let answer = probe(host, cache)?;
    // Another hypervisor ends sooner or later, and a group is joined: not kept.
    if !matches!(answer, Err(NoKvm::InUse | NoKvm::NoPermission)) {
        let known = Known { boot, no: answer.clone().err() };
        super::prepare::write_whole(&path, &serde_json::to_vec(&known).unwrap_or_default())?;
    }
    Ok(answer)
}

/// What was found out since the machine's start.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    boot: String,
    no: Option<NoKvm>,
}

fn probe(host: &Host, cache: &Path) -> Result<Result<(), NoKvm>, GuestError> {
    let mut file =
        tempfile::NamedTempFile::new_in(cache).map_err(|e| GuestError::file("write into", cache, e))?;
    file.write_all(&image()).map_err(|e| GuestError::file("write", file.path(), e))?;
    let command = probe_command("kvm", "host", &file.path().display().to_string());
    Ok(tried(host.runner().run(&command).map(|o| (o.code, o.stderr))))
}

/// The tiny guest's command.
fn probe_command(accelerator: &str, cpu: &str, image: &str) -> Command {
    Command::new(QEMU)
        .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-machine", "microvm"])
        .args(["-accel", accelerator, "-cpu", cpu, "-m", "8", "-bios", image])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=1"])
        .timeout(PATIENCE)
}

/// The tiny guest: a 64 KiB ROM. From the reset vector (16-bit) it makes page tables, goes into 64-bit mode,
/// works on its memory for a while, and writes [`WORD`] to the exit device.
fn image() -> Vec<u8> {
    const CODE: &[u8] = &[
        0xfa, // cli
        0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, // ds = es = 0
        0xbf, 0x00, 0x10, 0x66, 0x31, 0xc0, 0xb9, 0x00, 0x0c, 0xfc, 0x66, 0xf3,
        0xab, // clear 0x1000..0x4000
        0xc7, 0x06, 0x00, 0x10, 0x07, 0x20, // PML4[0] → 0x2000
        0xc7, 0x06, 0x00, 0x20, 0x07, 0x30, // PDPT[0] → 0x3000
        0xc7, 0x06, 0x00, 0x30, 0x87, 0x00, // PD[0] → 0, 2 MiB
        0x2e, 0x66, 0x0f, 0x01, 0x16, 0xc0, 0x00, // lgdt cs:[0xc0]
        0x66, 0xb8, 0xa0, 0x00, 0x00, 0x00, 0x0f, 0x22, 0xe0, // cr4 = PAE | PGE
        0x66, 0xb8, 0x00, 0x10, 0x00, 0x00, 0x0f, 0x22, 0xd8, // cr3 = 0x1000
        0x66, 0xb9, 0x80, 0x00, 0x00, 0xc0, 0x0f, 0x32, // rdmsr EFER
        0x66, 0x0d, 0x00, 0x01, 0x00, 0x00, 0x0f, 0x30, // EFER.LME
        0xbe, 0x72, 0x00, 0xbf, 0x00, 0x80, 0xb9, 0x2f, 0x00, // copy the 64-bit part to 0x8000
        0x2e, 0x8a, 0x04, 0x88, 0x05, 0x46, 0x47, 0xe2, 0xf7, //
        0x66, 0xb8, 0x01, 0x00, 0x00, 0x80, 0x0f, 0x22, 0xc0, // cr0 = PG | PE
        0x66, 0xea, 0x00, 0x80, 0x00, 0x00, 0x08, 0x00, // jmp 8:0x8000
        // 0x72, runs at 0x8000 in 64-bit mode
        0xb8, 0x10, 0x00, 0x00, 0x00, 0x8e, 0xd0, 0x8e, 0xd8, // ss = ds = 16
        0xbc, 0x00, 0x70, 0x00, 0x00, // esp = 0x7000
        0xb9, 0x40, 0x0d, 0x03, 0x00, // 200,000 times:
        0x51, 0x59, 0x48, 0x01, 0x0c, 0x25, 0x00, 0x60, 0x00, 0x00, // push, pop, add [0x6000], rcx
        0xe2, 0xf4, // loop
        0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8, // cr3 = cr3
        0x66, 0xba, 0xf4, 0x00, 0xb0, WORD, 0xee, // out 0xf4, WORD
        0xf4, 0xeb, 0xfd, // hlt for ever
    ];
    // At 0xb0 the segments (nothing, 64-bit code, data), of which the first is at 0xa8; at 0xc0 their register.
    const TABLE: &[u8] = &[
        0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0x9b, 0xaf, 0, 0xff, 0xff, 0, 0, 0, 0x93, 0xcf,
        0, //
        0x17, 0, 0xa8, 0, 0x0f, 0,
    ];
    let mut rom = vec![0; 0x10000];
    rom[..CODE.len()].copy_from_slice(CODE);
    rom[0xa8..0xa8 + TABLE.len()].copy_from_slice(TABLE);
    rom[0xfff0..0xfff5].copy_from_slice(&[0xea, 0, 0, 0, 0xf0]); // jmp f000:0
    rom
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_against_kvm_is_said_before_anything_is_tried() {
        let good = Looked { device: true, may_open: true, hardware: true, paravirtualised: false };
        assert_eq!(judge(good), Ok(()));
        // Nested below another hypervisor the flag can be missing, and the device works all the same.
        assert_eq!(judge(Looked { hardware: false, ..good }), Ok(()));
        assert_eq!(judge(Looked { device: false, ..good }), Err(NoKvm::NoModule));
        assert_eq!(judge(Looked { device: false, hardware: false, ..good }), Err(NoKvm::NoHardware));
        assert_eq!(judge(Looked { may_open: false, ..good }), Err(NoKvm::NoPermission));
        assert_eq!(judge(Looked { paravirtualised: true, ..good }), Err(NoKvm::Paravirtualised));
    }

    #[test]
    fn what_qemu_said_tells_why_kvm_does_not_work() {
        assert_eq!(tried(Ok((Some(67), String::new()))), Ok(()));
        let busy = "ioctl(KVM_CREATE_VM) failed: 16 Device or resource busy\nqemu-system-x86_64: failed to initialize kvm: Device or resource busy\n";
        assert_eq!(tried(Ok((Some(1), busy.into()))), Err(NoKvm::InUse));
        let abort = "qemu-system-x86_64: error: failed to set MSR 0x10a to 0x69\nqemu-system-x86_64: kvm_buf_set_msrs: Assertion failed.\n";
        assert!(
            matches!(tried(Ok((None, abort.into()))), Err(NoKvm::Failed { said }) if said.contains("Assertion"))
        );
        assert!(matches!(tried(Ok((Some(0), String::new()))), Err(NoKvm::Failed { .. })));
        let late = CommandError::TimedOut { command: String::new(), seconds: 5 };
        assert_eq!(tried(Err(late)), Err(NoKvm::NoProgress));
    }

    #[test]
    fn the_tiny_guest_runs_where_guests_run() {
        // QEMU's own emulation stands for a KVM that works.
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&image()).unwrap();
        let command = probe_command("tcg,thread=single", "max", &file.path().display().to_string());
        let result = crate::host::Runner::run(&crate::host::RealRunner, &command);
        assert_eq!(tried(result.map(|o| (o.code, o.stderr))), Ok(()));
    }

    #[test]
    fn every_reason_says_that_it_is_about_kvm() {
        for no in [NoKvm::NoHardware, NoKvm::NoModule, NoKvm::InUse, NoKvm::Sandboxed, NoKvm::NoProgress] {
            assert!(no.reason().starts_with("no KVM"), "{no:?}");
        }
    }
}
