// SPDX-License-Identifier: GPL-3.0-or-later
//! How long it takes to look at this machine: the library call, and the whole program, warm.
//! Fails when the best of the program's runs takes longer than 60 ms.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail the test")]
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic, missing_docs)]

use hostwright::detect::{Topic, gather};
use hostwright::host::Host;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const BUDGET: Duration = Duration::from_millis(60);
const RUNS: usize = 40;

/// Best and median of many runs, after a few that warm the caches.
fn measure(mut run: impl FnMut()) -> (Duration, Duration) {
    (0..5).for_each(|_| run());
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort();
    (times[0], times[RUNS / 2])
}

fn show(what: &str, (best, median): (Duration, Duration)) {
    let ms = |d: Duration| d.as_secs_f64() * 1000.0;
    println!("{what:<34} best {:>6.1} ms   median {:>6.1} ms", ms(best), ms(median));
}

fn main() {
    let host = Host::machine().unwrap();
    for topic in Topic::ALL {
        show(topic.name(), measure(|| drop(gather(&host, Some(&[topic])))));
    }
    let library = measure(|| drop(gather(&host, None)));
    show("all, as a library call", library);

    let program = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hostwright"));
        command.args(["detect", "--json"]).stdin(Stdio::null());
        command.output().unwrap()
    };
    let output = program();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    assert!(document["kernels"].is_object(), "`hostwright detect --json` gives no facts: {output:?}");
    let whole = measure(|| drop(program()));
    show("hostwright detect --json", whole);
    assert!(whole.0 <= BUDGET, "the best run took {:?}, more than {BUDGET:?}", whole.0);
}
