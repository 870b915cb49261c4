// SPDX-License-Identifier: GPL-3.0-or-later
//! What the assistant costs, beside an empty `adw::ApplicationWindow` in the same run, on a screen in memory:
//!
//! - until the first frame is on the screen, and memory then: at most 1.5 × the empty window's
//! - main-loop time of a change of page: under 16 ms
//! - 200,000 lines into the log at 20,000 lines a second: no stall of the main loop over 50 ms, memory bounded
//!
//! `cargo bench --bench ui [-- frame|pages|log]`; ends with 1 when an aim is missed. Needs Xvfb and
//! dbus-run-session, which `make deps` installs. Drawn by cairo, as where no GPU is.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic, missing_docs)]

mod frame;
mod log;
mod loops;
mod pages;
mod screen;

use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    // Cargo adds `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|w| w != "--bench").collect();
    let word = words.first().map(String::as_str);
    match word {
        // Programs of their own, each measured from outside or by itself.
        Some("--empty") => return frame::empty_window(),
        Some("--pages") => return pages::measure(),
        Some("--log") => return log::measure(),
        _ => {}
    }
    if std::env::var_os("UI_BENCH_BUS").is_none() {
        let me = std::env::current_exe().unwrap();
        let status =
            Command::new("dbus-run-session").arg("--").arg(me).args(&words).env("UI_BENCH_BUS", "1").status();
        return ExitCode::from(u8::from(!status.is_ok_and(|s| s.success())));
    }
    let wanted = |name: &str| word.is_none_or(|w| w == name);
    let mut good = true;
    if wanted("frame") {
        good &= frame::compare();
    }
    for (name, option) in [("pages", "--pages"), ("log", "--log")] {
        if wanted(name) {
            let screen = screen::Screen::new();
            good &= screen.command(&std::env::current_exe().unwrap()).arg(option).status().unwrap().success();
        }
    }
    ExitCode::from(u8::from(!good))
}

/// Says a figure and its aim; whether the aim is met.
fn aim(what: &str, is: f64, most: f64, unit: &str) -> bool {
    let good = is <= most;
    println!(
        "{what:<58} {is:>8.2} {unit:<3} (at most {most} {unit}) {}",
        if good { "good" } else { "MISSED" }
    );
    good
}
