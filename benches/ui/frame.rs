// SPDX-License-Identifier: GPL-3.0-or-later
//! From the start of a program to its first frame on the screen, and the memory it has when it rests.

use crate::aim;
use crate::screen::Screen;
use adw::prelude::*;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Starts of each program, in turns.
const ROUNDS: usize = 12;

/// How long after its first frame a program rests: by then the machine was looked at.
const REST: Duration = Duration::from_secs(3);

/// What the assistant is compared with.
pub(crate) fn empty_window() -> ExitCode {
    let app = adw::Application::builder().application_id("org.hostwright.Empty").build();
    app.connect_activate(|app| {
        let window =
            adw::ApplicationWindow::builder().application(app).default_width(920).default_height(760).build();
        window.present();
    });
    app.run_with_args::<&str>(&[]);
    ExitCode::SUCCESS
}

#[derive(Debug, Default)]
struct Seen {
    frames: Vec<f64>,
    resident: Vec<f64>,
    own: Vec<f64>,
}

impl Seen {
    fn start(&mut self, program: &Path, option: Option<&str>, rest: bool) {
        let screen = Screen::new();
        let pixels = screen.pixels();
        let began = Instant::now();
        let mut child =
            screen.command(program).args(option).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // A corner where a window has nothing but its background.
        while !pixels.bright(3, 740) {
            assert!(began.elapsed() < Duration::from_secs(60), "{} shows nothing", program.display());
            std::thread::sleep(Duration::from_micros(200));
        }
        self.frames.push(began.elapsed().as_secs_f64() * 1000.0);
        if rest {
            std::thread::sleep(REST);
            let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
            self.resident.push(mebibytes(&status, "VmRSS:"));
            self.own.push(mebibytes(&status, "RssAnon:"));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn mebibytes(status: &str, name: &str) -> f64 {
    let line = status.lines().find_map(|l| l.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<f64>().unwrap() / 1024.0
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn best(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

/// Both programs, in turns. Whether the aims are met.
pub(crate) fn compare() -> bool {
    let me = std::env::current_exe().unwrap();
    let assistant = PathBuf::from(env!("CARGO_BIN_EXE_hostwright-assistant"));
    let (mut empty, mut home) = (Seen::default(), Seen::default());
    // The first starts fill the caches, and wake the accessibility bus.
    Seen::default().start(&me, Some("--empty"), false);
    Seen::default().start(&assistant, None, false);
    for round in 0..ROUNDS {
        empty.start(&me, Some("--empty"), round < 3);
        home.start(&assistant, None, round < 3);
    }
    for (what, seen) in [("empty window", &empty), ("Home", &home)] {
        println!(
            "{what:<14} first frame: best {:>6.1} ms, median {:>6.1} ms; resident {:>6.1} MiB, of it its own {:>5.1} MiB",
            best(&seen.frames),
            median(&seen.frames),
            median(&seen.resident),
            median(&seen.own),
        );
    }
    let frame = aim(
        "first frame, Home / empty window (median)",
        median(&home.frames) / median(&empty.frames),
        1.5,
        "×",
    );
    let memory = aim(
        "resident memory, Home / empty window (median)",
        median(&home.resident) / median(&empty.resident),
        1.5,
        "×",
    );
    frame && memory
}
