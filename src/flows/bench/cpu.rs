// SPDX-License-Identifier: GPL-3.0-or-later
//! The processor: a fixed set of work, on one core and on all.

use super::document::{Place, Recorder};
use super::metrics::{self, Metric};
use super::run::{Setup, Step, Trouble};
use sha2::{Digest, Sha256};
use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// One kind of work: how much one call does, in the metric's unit times seconds.
struct Work {
    one: Metric,
    all: Metric,
    make: fn() -> Box<dyn FnMut() -> f64 + Send>,
}

const SET: [Work; 4] = [
    Work { one: metrics::HASH_ONE, all: metrics::HASH_ALL, make: hash },
    Work { one: metrics::COMPRESS_ONE, all: metrics::COMPRESS_ALL, make: compress },
    Work { one: metrics::SORT_ONE, all: metrics::SORT_ALL, make: sort },
    Work { one: metrics::MATRIX_ONE, all: metrics::MATRIX_ALL, make: matrix },
];

/// Numbers that look random and are the same every time (a linear congruential generator, Knuth's MMIX).
pub(super) fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(seed), |n| {
        Some(n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    })
    .skip(1)
    .map(|n| n >> 11)
}

/// 1 MB of SHA-256.
fn hash() -> Box<dyn FnMut() -> f64 + Send> {
    let data: Vec<u8> = numbers(1).take(125_000).flat_map(u64::to_ne_bytes).collect();
    Box::new(move || {
        black_box(Sha256::digest(black_box(&data)));
        1.0
    })
}

/// 1 MB of text-like bytes through zstd, level 3.
fn compress() -> Box<dyn FnMut() -> f64 + Send> {
    const WORDS: [&str; 8] =
        ["machine ", "kernel ", "module ", "the ", "memory ", "of a ", "virtual ", "page\n"];
    let mut data: Vec<u8> = Vec::with_capacity(1_000_008);
    let mut words = numbers(2);
    while data.len() < 1_000_000 {
        let word = words.next().unwrap_or_default() as usize % WORDS.len();
        data.extend_from_slice(WORDS[word].as_bytes());
    }
    data.truncate(1_000_000);
    Box::new(move || {
        black_box(zstd::bulk::compress(black_box(&data), 3).map_or(0, |out| out.len()));
        1.0
    })
}

/// 100,000 numbers: a tenth of a million.
fn sort() -> Box<dyn FnMut() -> f64 + Send> {
    let data: Vec<u64> = numbers(3).take(100_000).collect();
    let mut work = data.clone();
    Box::new(move || {
        work.copy_from_slice(&data);
        work.sort_unstable();
        black_box(&work);
        0.1
    })
}

/// Two matrices of 128 × 128: 2 · 128³ operations, in GFLOP.
fn matrix() -> Box<dyn FnMut() -> f64 + Send> {
    const N: usize = 128;
    let of = |seed| numbers(seed).take(N * N).map(|n| n as f64 / (1u64 << 53) as f64).collect::<Vec<f64>>();
    let (a, b) = (of(4), of(5));
    let mut c = vec![0.0; N * N];
    Box::new(move || {
        c.fill(0.0);
        for (row, out) in a.chunks_exact(N).zip(c.chunks_exact_mut(N)) {
            for (x, other) in row.iter().zip(b.chunks_exact(N)) {
                for (o, y) in out.iter_mut().zip(other) {
                    *o += x * y;
                }
            }
        }
        black_box(&c);
        2.0 * (N * N * N) as f64 / 1e9
    })
}

/// How much per second, over about `time`.
fn rate(work: &mut dyn FnMut() -> f64, time: Duration) -> f64 {
    let began = Instant::now();
    let mut done = 0.0;
    loop {
        done += work();
        let took = began.elapsed();
        if took >= time {
            return done / took.as_secs_f64();
        }
    }
}

/// The same on several threads that begin together, added up.
fn rate_of_all(make: fn() -> Box<dyn FnMut() -> f64 + Send>, threads: usize, time: Duration) -> f64 {
    let barrier = Barrier::new(threads);
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|_| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let mut work = make();
                    work();
                    barrier.wait();
                    rate(&mut *work, time)
                })
            })
            .collect();
        running.into_iter().filter_map(|t| t.join().ok()).sum()
    })
}

/// The workload.
pub(super) struct Cpu;

impl Step for Cpu {
    fn round(&mut self, setup: &Setup<'_>, to: &mut Recorder) -> Result<(), Trouble> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        for work in &SET {
            setup.stop_if_cancelled()?;
            let mut one = (work.make)();
            one();
            to.add(work.one, None, &Place::Host, rate(&mut *one, setup.time));
            setup.stop_if_cancelled()?;
            to.add(work.all, None, &Place::Host, rate_of_all(work.make, threads, setup.time));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_work_does_what_it_counts_and_always_the_same() {
        for (make, amount) in
            [(hash as fn() -> _, 1.0), (compress, 1.0), (sort, 0.1), (matrix, 0.004_194_304)]
        {
            assert_eq!(make()(), amount);
        }
        assert_eq!(numbers(7).take(5).collect::<Vec<_>>(), numbers(7).take(5).collect::<Vec<_>>());
        assert!(rate_of_all(hash, 2, Duration::from_millis(1)) > 0.0);
    }
}
