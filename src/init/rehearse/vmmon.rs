// SPDX-License-Identifier: GPL-3.0-or-later
//! Uses vmmon through calls that change nothing: those of VMware's that need no virtual machine, and those of
//! the practice module. What a module does not know is left out.
//!
//! Numbers and arguments: `iocontrols.h` and `x86msr.h` of vmmon (15.5 to 17.6 agree on these), and of
//! `data/practice/vmmon-only/include`.

use super::exercise::{Course, Fault, Seen};
use crate::init::sys;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

/// Returns the version of the interface.
const VERSION: u64 = 2001;
/// Returns how many virtual machines there are.
const GET_NUM_VMS: u64 = 2007;
/// Returns how fast the TSC counts, in kHz.
const GET_KHZ_ESTIMATE: u64 = 2019;
/// Takes the address of the address of a query; every processor answers.
const GET_ALL_MSRS: u64 = 2028;
/// Practice: microseconds since loading, `_IOR('v', 2, u64)`.
const UPTIME: u64 = 0x8008_7602;
/// Practice: the page frame behind an address, `_IOWR('v', 4, {va, mpn})`.
const LOOKUP: u64 = 0xc010_7604;
/// Practice: hashes pages, `_IOWR('v', 5, {va, pages, tracked, digest})`.
const HASH: u64 = 0xc018_7605;

/// EFER: never 0 on a processor in 64-bit mode.
const EFER: u32 = 0xc000_0080;
/// An MSR that no processor has.
const NO_MSR: u32 = 0x7fff_ffff;

const PAGE: usize = 4096;

const DEVICE: &str = "/dev/vmmon";

fn device() -> Result<File, Fault> {
    // devtmpfs makes the node when the module registers; a moment later at most.
    OpenOptions::new().read(true).write(true).open(DEVICE).map_err(|e| e.to_string())
}

/// Opens the device once.
pub(super) fn open() -> Result<Seen, Fault> {
    device().map(|_| Seen::good())
}

/// Whether the module simply does not know the call.
fn unknown(error: &io::Error) -> bool {
    // ENOTTY; EINVAL is what VMware's module answers.
    matches!(error.raw_os_error(), Some(25 | 22))
}

/// A call without arguments; `None` when the module does not know it.
fn ask(file: &File, call: u64) -> Result<Option<i32>, Fault> {
    match sys::ioctl_value(file.as_fd(), call, 0) {
        Ok(value) => Ok(Some(value)),
        Err(e) if unknown(&e) => Ok(None),
        Err(e) => Err(e.to_string()),
    }
}

/// A call that fills in words; `None` when the module does not know it.
fn fill(file: &File, call: u64, words: &mut [u64]) -> Result<Option<()>, Fault> {
    match sys::ioctl_words(file.as_fd(), call, words) {
        Ok(_) => Ok(Some(())),
        Err(e) if unknown(&e) => Ok(None),
        Err(e) => Err(e.to_string()),
    }
}

const NOT_KNOWN: &str = "this module does not know the call";

fn skipped() -> Seen {
    Seen::Skipped(NOT_KNOWN.to_owned())
}

/// Uses the device.
pub(super) fn exercise(course: &mut Course<'_>) -> Result<(), ()> {
    course.step("ask vmmon for its version", || {
        let version = ask(&device()?, VERSION)?.ok_or("it does not answer")?;
        match version >> 16 {
            1.. => Ok(Seen::Good(format!("{}.{}", version >> 16, version & 0xffff))),
            _ => Err(format!("it answers {version}")),
        }
    })?;
    course.step("ask vmmon for its virtual machines", || match ask(&device()?, GET_NUM_VMS)? {
        None => Ok(skipped()),
        Some(0) => Ok(Seen::good()),
        Some(n) => Err(format!("it counts {n}, and there is none")),
    })?;
    course.step("ask vmmon how fast the clock is", || match ask(&device()?, GET_KHZ_ESTIMATE)? {
        None => Ok(skipped()),
        Some(khz) if khz > 1000 => Ok(Seen::Good(format!("{khz} kHz"))),
        Some(khz) => Err(format!("it says {khz} kHz")),
    })?;
    course.step("have vmmon read a register of every processor", registers)?;
    course.step("ask vmmon how long it has been there", || {
        let file = device()?;
        let (mut before, mut after) = ([0], [0]);
        if fill(&file, UPTIME, &mut before)?.is_none() {
            return Ok(skipped());
        }
        // The clock of a small machine may have the steps of its timer.
        std::thread::sleep(std::time::Duration::from_millis(50));
        fill(&file, UPTIME, &mut after)?;
        if after > before { Ok(Seen::good()) } else { Err("its clock stands still".into()) }
    })?;
    let mut memory = Memory::new(4096);
    course.step("have vmmon look up a page", || lookup(&memory))?;
    course.step("have vmmon hash pages", || hash(&mut memory))
}

/// Asks every processor for EFER, and for a register that there is not.
fn registers() -> Result<Seen, Fault> {
    let file = device()?;
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let query = |register: u32| -> Result<Option<Vec<u64>>, Fault> {
        // { u32 register, u32 count, { u64 tag, u64 value } per processor }
        let mut words = vec![0_u64; 1 + 2 * count];
        words[0] = u64::from(register) | (count as u64) << 32;
        let mut address = [words.as_mut_ptr().expose_provenance() as u64];
        if fill(&file, GET_ALL_MSRS, &mut address)?.is_none() {
            return Ok(None);
        }
        // The kernel wrote there behind the compiler's back.
        let words = std::hint::black_box(words);
        Ok(Some(words.iter().skip(2).step_by(2).copied().collect()))
    };
    let Some(values) = query(EFER)? else { return Ok(skipped()) };
    if let Some(silent) = values.iter().position(|v| *v == 0) {
        return Err(format!("processor {silent} of {count} did not answer"));
    }
    // VMware's module answers that it cannot; the practice module answers 0. Both outlive it.
    if query(NO_MSR).ok().flatten().is_some_and(|v| v.iter().any(|v| *v != 0)) {
        return Err("a register that no processor has has a value".into());
    }
    Ok(Seen::Good(format!("{count} processors")))
}

/// Pages of this process, each with other bytes.
struct Memory {
    bytes: Vec<u8>,
    /// Where the first whole page begins.
    at: usize,
    pages: usize,
}

impl Memory {
    fn new(pages: usize) -> Self {
        let mut bytes = vec![0; (pages + 1) * PAGE];
        let address = bytes.as_ptr().addr();
        let at = address.next_multiple_of(PAGE) - address;
        for (i, word) in bytes.chunks_exact_mut(8).enumerate() {
            word.copy_from_slice(&(i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        }
        Self { bytes, at, pages }
    }

    fn address(&self) -> u64 {
        (self.bytes.as_ptr().expose_provenance() + self.at) as u64
    }
}

/// The kernel's own account of the page is the judge (Documentation/admin-guide/mm/pagemap.rst).
fn lookup(memory: &Memory) -> Result<Seen, Fault> {
    let file = device()?;
    let address = memory.address();
    let mut page = [address, 0];
    if fill(&file, LOOKUP, &mut page)?.is_none() {
        return Ok(skipped());
    }
    let pagemap = File::open("/proc/self/pagemap").map_err(|e| format!("/proc/self/pagemap: {e}"))?;
    let mut entry = [0; 8];
    pagemap
        .read_exact_at(&mut entry, address / PAGE as u64 * 8)
        .map_err(|e| format!("/proc/self/pagemap: {e}"))?;
    let frame = u64::from_le_bytes(entry) & ((1 << 55) - 1);
    if page[1] != frame || frame == 0 {
        return Err(format!("it says frame {:#x}, the kernel {frame:#x}", page[1]));
    }
    // EFAULT, and no harm done.
    if sys::ioctl_words(file.as_fd(), LOOKUP, &mut [0, 0]).is_ok() {
        return Err("it found a page where there is none".into());
    }
    Ok(Seen::good())
}

fn hash(memory: &mut Memory) -> Result<Seen, Fault> {
    let file = device()?;
    let digest = |memory: &Memory| -> Result<Option<(u64, u64)>, Fault> {
        let mut words = [memory.address(), memory.pages as u64, 0];
        Ok(fill(&file, HASH, &mut words)?.map(|()| (words[2], words[1] >> 32)))
    };
    let Some((one, _)) = digest(memory)? else { return Ok(skipped()) };
    let (two, tracked) = digest(memory)?.unwrap_or_default();
    if one != two || one == 0 {
        return Err("the same pages hash to something else".into());
    }
    if tracked != memory.pages as u64 {
        return Err(format!("it met {tracked} pages of {}", memory.pages));
    }
    let last = memory.at + memory.pages * PAGE - 1;
    memory.bytes[last] ^= 1;
    let (changed, _) = digest(memory)?.unwrap_or_default();
    if changed == one {
        return Err("a changed page went unnoticed".into());
    }
    Ok(Seen::Good(format!("{one:016x}")))
}
