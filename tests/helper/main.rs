// SPDX-License-Identifier: GPL-3.0-or-later
//! The helper as it is: on a real bus, with real polkit, called by other users.
//!
//! ```text
//!   main ── not in the view ──► tests/bus/with-bus.sh ──► main (cases, as root)
//!                                                            │
//!                        ┌── started by the bus: `serve` ◄───┤ the helper with a small flow of its own
//!                        └── started as a user:  `call`  ◄───┘ a client that does what it is told
//! ```
//!
//! Needs root (namespaces, users, a system bus). Without it nothing is run, and that is said.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers fail the test")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "clients and agents of the tests answer on their standard output"
)]
#![allow(clippy::needless_pass_by_value, reason = "messages are handed over")]

mod agents;
mod call;
mod flow;
mod hostile;
mod life;
mod permissions;
mod remote;
mod runs;
mod world;

use libtest_mimic::{Arguments, Trial};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

type Case = (&'static str, fn(&world::World));

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("serve") => return flow::serve(),
        Some("call") => return call::main(&args[2]),
        _ => {}
    }
    let mut arguments = Arguments::from_args();
    let cases: Vec<Case> =
        [permissions::CASES, agents::CASES, runs::CASES, hostile::CASES, life::CASES, remote::CASES].concat();
    if arguments.list {
        let trials = cases.iter().map(|(name, _)| Trial::test(*name, || Ok(()))).collect();
        return libtest_mimic::run(&arguments, trials).exit_code();
    }
    if !nix::unistd::geteuid().is_root() {
        println!("helper: needs root: {} cases not run (try: sudo -E cargo test --test helper)", cases.len());
        return ExitCode::SUCCESS;
    }
    if std::env::var_os("WITH_BUS_UPPER").is_none() {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bus/with-bus.sh");
        let error = Command::new(script).args(["--no-install", "--"]).args(&args).exec();
        eprintln!("helper: {script} could not be started: {error}");
        return ExitCode::FAILURE;
    }
    // One bus, one helper, one journal: one case at a time.
    arguments.test_threads = Some(1);
    let world: &'static world::World = Box::leak(Box::new(world::World::make()));
    let trials = cases
        .into_iter()
        .map(|(name, case)| {
            Trial::test(name, move || {
                world.reset();
                case(world);
                Ok(())
            })
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
