// SPDX-License-Identifier: GPL-3.0-or-later
//! The log while a build floods it.

use crate::aim;
use crate::loops::Heartbeat;
use adw::prelude::*;
use gtk::glib;
use hostwright::ui::parts;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const LINES: usize = 200_000;
const RATE: usize = 20_000;
const BATCH: usize = 100;

/// Stall that is not noticed, in milliseconds.
const MOST: f64 = 50.0;

fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<f64>().unwrap() / 1024.0
}

/// Lines as a compiler says them, from a thread of its own that no stall of the main loop holds up.
fn flood(lines: usize) -> async_channel::Receiver<Vec<String>> {
    let (to, from) = async_channel::unbounded();
    std::thread::spawn(move || {
        let began = Instant::now();
        for batch in 0..lines / BATCH {
            let due = Duration::from_secs_f64((batch * BATCH) as f64 / RATE as f64);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
            let said = (0..BATCH).map(|i| {
                let n = batch * BATCH + i;
                format!("  CC [M]  /run/hostwright/build/vmmon-only/linux/driver-{n}.o  -Wall -O2 -fno-strict-aliasing -mno-sse")
            });
            if to.send_blocking(said.collect()).is_err() {
                return;
            }
        }
    });
    from
}

async fn pour(log: &parts::Log, lines: usize) {
    let from = flood(lines);
    let mut n = 0;
    while let Ok(batch) = from.recv().await {
        for line in batch {
            // Steps to fold and warnings to find, as in life.
            match n % 5000 {
                0 => log.step(&format!("Step {n}")),
                77 => log.warning(&format!("driver.c:{n}: warning: unused variable")),
                _ => log.line(&line),
            }
            n += 1;
        }
    }
}

pub(crate) fn measure() -> ExitCode {
    let app = adw::Application::builder().application_id("org.hostwright.BenchLog").build();
    let good = std::rc::Rc::new(std::cell::Cell::new(true));
    parts::register();
    app.connect_activate(glib::clone!(
        #[strong]
        good,
        move |app| {
            let log = parts::Log::new();
            let window = adw::ApplicationWindow::builder()
                .application(app)
                .default_width(920)
                .default_height(760)
                .content(log.widget())
                .build();
            window.present();
            glib::spawn_future_local(glib::clone!(
                #[strong]
                good,
                async move {
                    glib::timeout_future(Duration::from_millis(500)).await;
                    let heart = Heartbeat::new();
                    let before = resident();
                    pour(&log, LINES).await;
                    glib::timeout_future(Duration::from_millis(200)).await;
                    let (stall, computed) = heart.longest();
                    let after = resident();
                    println!("log: {LINES} lines at {RATE} lines/s; longest computed in one go {computed:.1} ms");
                    let say = |of: &str| println!("log: longest computed in one go {of}: {:.1} ms", heart.longest().1);
                    let mut all = aim("log: longest stall of the main loop", stall, MOST, "ms");
                    // Reading while more comes: searched, folded, jumped.
                    heart.reset();
                    log.search("driver-19");
                    glib::timeout_future(Duration::from_millis(300)).await;
                    log.search("");
                    glib::timeout_future(Duration::from_millis(100)).await;
                    log.next_problem();
                    glib::timeout_future(Duration::from_millis(100)).await;
                    log.fold_first();
                    glib::timeout_future(Duration::from_millis(100)).await;
                    say("while searching");
                    all &= aim("log: search, jump and fold among them", heart.longest().0, MOST, "ms");
                    heart.reset();
                    pour(&log, LINES).await;
                    glib::timeout_future(Duration::from_millis(200)).await;
                    say("when full");
                    all &= aim("log: the same when it is full and drops its oldest", heart.longest().0, MOST, "ms");
                    let twice = resident();
                    println!("log: resident {before:.0} MiB, with {LINES} lines {after:.0} MiB, after twice as many {twice:.0} MiB");
                    // What grew by the first lines may not grow again by as many.
                    all &= aim("log: memory of twice the lines / once", twice / after, 1.2, "×");
                    good.set(all);
                    window.close();
                }
            ));
        }
    ));
    app.run_with_args::<&str>(&[]);
    ExitCode::from(u8::from(!good.get()))
}
