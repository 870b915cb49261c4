// SPDX-License-Identifier: GPL-3.0-or-later
//! Memory: bandwidth, and the way through the translation of addresses (TLB), with pages of 4 KiB and with transparent
//! huge pages. Where a kernel gives no huge pages to who asks (madvise(2), `MADV_HUGEPAGE`), or did not have them, that
//! is said and nothing measured.

use super::cpu::numbers;
use super::document::{LeftOut, Place, Recorder};
use super::metrics::{MEMORY_COPY, MEMORY_RANDOM, MEMORY_READ};
use super::run::{Setup, Step, Trouble};
use memmap2::{Advice, MmapMut};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The largest buffer: beyond what any TLB holds with small pages (1536 entries are 6 MiB) and any usual cache.
const LARGEST: usize = 256 << 20;
const HUGE: usize = 2 << 20;
/// The distance of two places that are followed: a line of the cache.
const LINE: usize = 64;

/// The workload.
#[derive(Default)]
pub(super) struct Memory {
    size: usize,
    /// Why there are no huge pages.
    without_huge: Option<String>,
}

/// How much of this process's memory is in huge pages, in KiB (`AnonHugePages` of `/proc/self/smaps_rollup`).
fn huge_kib() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("AnonHugePages:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn buffer(size: usize, huge: bool) -> Result<MmapMut, Trouble> {
    let fail = |e: std::io::Error| Trouble::left_out(format!("{} MiB of memory: {e}", size >> 20));
    let mut map = MmapMut::map_anon(size).map_err(fail)?;
    let advice = if huge { Advice::HugePage } else { Advice::NoHugePage };
    match map.advise(advice) {
        Ok(()) => {}
        // A kernel without transparent huge pages has small ones only.
        Err(_) if !huge => {}
        Err(e) => return Err(fail(e)),
    }
    // Touched, so that it is there.
    for page in map.chunks_mut(4096) {
        page[0] = 1;
    }
    Ok(map)
}

/// Follows a random way through all lines of the buffer; nanoseconds for each step.
fn follow(map: &mut [u8], time: Duration) -> f64 {
    let lines = map.len() / LINE;
    // A way that comes through all of them once (S. Sattolo, 1986).
    let mut order: Vec<u32> = (0..lines as u32).collect();
    let mut random = numbers(6);
    for i in (1..lines).rev() {
        let j = random.next().unwrap_or_default() as usize % i;
        order.swap(i, j);
    }
    for (line, next) in order.iter().enumerate() {
        let to = (*next as usize * LINE) as u64;
        map[line * LINE..line * LINE + 8].copy_from_slice(&to.to_ne_bytes());
    }
    let at = |place: usize| -> usize {
        map.get(place..place + 8)
            .and_then(|b| b.try_into().ok())
            .map_or(0, |b| u64::from_ne_bytes(b) as usize)
    };
    let mut place = 0;
    let mut steps = 0u64;
    let began = Instant::now();
    loop {
        for _ in 0..20_000 {
            place = at(place);
        }
        steps += 20_000;
        let took = began.elapsed();
        if took >= time {
            black_box(place);
            return took.as_secs_f64() * 1e9 / steps as f64;
        }
    }
}

/// GB each second that one thread copies from one half to the other (what is read and written counts once).
fn copy(map: &mut [u8], time: Duration) -> f64 {
    let half = map.len() / 2;
    let (from, to) = map.split_at_mut(half);
    per_second(half, time, || {
        to.copy_from_slice(black_box(from));
        black_box(&*to);
    })
}

/// GB each second that one thread reads and adds up.
fn read(map: &[u8], time: Duration) -> f64 {
    per_second(map.len(), time, || {
        let mut sums = [0u64; 8];
        for block in black_box(map).chunks_exact(64) {
            for (sum, word) in sums.iter_mut().zip(block.chunks_exact(8)) {
                let word: [u8; 8] = word.try_into().unwrap_or_default();
                *sum = sum.wrapping_add(u64::from_ne_bytes(word));
            }
        }
        black_box(sums);
    })
}

fn per_second(bytes: usize, time: Duration, mut work: impl FnMut()) -> f64 {
    let began = Instant::now();
    let mut done = 0usize;
    loop {
        work();
        done += bytes;
        let took = began.elapsed();
        if took >= time {
            return done as f64 / took.as_secs_f64() / 1e9;
        }
    }
}

impl Step for Memory {
    fn prepare(&mut self, setup: &Setup<'_>) -> Result<Vec<LeftOut>, Trouble> {
        let text = setup.host.root().read_text("/proc/meminfo").unwrap_or_default();
        let available = text
            .lines()
            .find_map(|l| l.strip_prefix("MemAvailable:"))
            .and_then(|l| l.split_whitespace().next()?.parse::<usize>().ok())
            .unwrap_or(1 << 20);
        self.size = (available * 1024 / 8 / HUGE * HUGE).min(LARGEST);
        if self.size < 16 << 20 {
            return Err(Trouble::left_out("less than 128 MiB of memory are free"));
        }
        let before = huge_kib();
        let probe = buffer(self.size, true);
        let wanted = (self.size / 1024 / 2) as u64;
        self.without_huge = match (before, huge_kib(), probe) {
            (_, _, Err(trouble)) => Some(trouble.to_string()),
            (Some(before), Some(now), Ok(_)) if now.saturating_sub(before) < wanted => Some(
                "the kernel gave small pages to who asked for huge ones (transparent_hugepage is `never`, or memory is \
                 in pieces)"
                    .to_owned(),
            ),
            (None, ..) | (_, None, _) => Some("the kernel does not tell which pages it gave".to_owned()),
            _ => None,
        };
        Ok(self.without_huge.iter().map(|why| LeftOut::new("huge pages", why)).collect())
    }

    fn round(&mut self, setup: &Setup<'_>, to: &mut Recorder) -> Result<(), Trouble> {
        for (huge, way) in [(false, "small pages"), (true, "huge pages")] {
            if huge && self.without_huge.is_some() {
                continue;
            }
            setup.stop_if_cancelled()?;
            let before = huge_kib().unwrap_or(0);
            let mut map = buffer(self.size, huge)?;
            let got = huge_kib().unwrap_or(0).saturating_sub(before);
            if huge && got < (self.size / 1024 * 9 / 10) as u64 {
                return Err(Trouble::left_out("the kernel had no huge pages left in this round"));
            }
            to.add(MEMORY_COPY, Some(way), &Place::Host, copy(&mut map, setup.time));
            to.add(MEMORY_READ, Some(way), &Place::Host, read(&map, setup.time));
            to.add(MEMORY_RANDOM, Some(way), &Place::Host, follow(&mut map, setup.time));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_through_memory_comes_to_every_line() {
        let mut map = buffer(4 << 20, false).unwrap();
        assert!(follow(&mut map, Duration::from_millis(1)) > 0.0);
        let (mut place, mut seen) = (0usize, std::collections::BTreeSet::new());
        while seen.insert(place) {
            place = u64::from_ne_bytes(map[place..place + 8].try_into().unwrap()) as usize;
        }
        assert_eq!(seen.len(), map.len() / LINE);
    }
}
