// SPDX-License-Identifier: GPL-3.0-or-later
//! The first process of a lab guest. Built twice: into the library for its tests, and (by `build.rs`, static,
//! with nothing but the standard library) as the program that every initramfs of ours starts with.
//!
//! ```text
//!   /init                     process 1: the checklist in `first_process`
//!   hostwright-init agent     a unit of a systemd guest: hands files over at its end
//!   hostwright-init stage X   in such a guest: notes that it got to X
//!   /init exercise …          what a rehearsal starts: see `rehearse`
//!   /init measure …           what a benchmark of modules starts: see `rehearse::measure`
//! ```
//!
//! It never hangs silently: every failure is said on the control port and on the console with its stage and its
//! reason, everything it waits for has a bound, and a watchdog ends the machine when the kernel itself does not
//! come back (a mount that never answers).

pub mod agent;
pub mod collect;
pub mod command;
pub mod config;
pub mod devices;
pub mod filesystem;
pub mod modules;
pub mod mounts;
pub mod newc;
pub mod port;
pub mod protocol;
pub mod rehearse;
pub mod root;
pub mod sys;
pub mod voice;
pub mod watchdog;

use config::{Config, Task};
use protocol::Said;
use std::fmt::Display;
use sys::Ended;
use voice::Voice;

/// Why the first process could not do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In which stage.
    pub stage: &'static str,
    /// Why.
    pub reason: String,
}

impl Failure {
    /// For `map_err`: "could not … : why".
    pub fn at<E: Display>(stage: &'static str, what: impl Display) -> impl FnOnce(E) -> Self {
        move |e| Self { stage, reason: format!("{what}: {e}") }
    }
}

/// The whole of `hostwright-init`.
pub fn main() {
    let args: Vec<String> = std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    let status = match words.as_slice() {
        _ if std::process::id() == 1 => {
            let mut voice = Voice::default();
            let end = first_process(&mut voice);
            finish(voice, end)
        }
        ["agent", collect @ ..] => agent::agent(collect),
        ["stage", name] => agent::stage(name),
        [rehearse::ARGUMENT, how, modules @ ..] => rehearse::exercise(how, modules),
        [rehearse::measure::ARGUMENT, time, modules @ ..] => rehearse::measure::main(time, modules),
        _ => {
            voice::console("usage: hostwright-init agent [PATTERN…] | hostwright-init stage NAME");
            2
        }
    };
    std::process::exit(status);
}

/// What process 1 does, in order. Comes back with how the command ended, or with what went wrong.
fn first_process(voice: &mut Voice) -> Result<Ended, Failure> {
    voice.stage("init");
    mounts::kernel()?;
    let guard = watchdog::start();
    let config = read_config()?;
    mounts::names(&config)?;

    voice.stage("modules");
    let news = devices::News::open();
    let mut modules = modules::List::read()?;
    modules.insert("always")?;

    voice.stage("ports");
    let ports = devices::Ports::open(&news, config.stdin)?;
    voice.connect(ports.control)?;
    // A rehearsal inserts them itself, watched; a measurement with a clock.
    if !matches!(config.task, Task::Rehearse { .. } | Task::Measure { .. }) {
        modules::insert_given(&config.insert)?;
    }

    if config.root != config::Root::None {
        voice.stage("root");
        root::mount(&config, &mut modules, &news)?;
        root::enter(&config)?;
    }
    guard.stop();

    let ended = match &config.task {
        Task::Command { argv, env, cwd } => {
            voice.stage("command");
            let wires = command::Wires { stdin: ports.stdin, stdout: ports.stdout, stderr: ports.stderr };
            command::run(voice, wires, argv, env, cwd.as_deref())?
        }
        Task::Init { path, args } => return Err(root::hand_over(voice, &config, path, args)),
        Task::Rehearse { only_load } => {
            voice.stage("rehearse");
            let good = rehearse::watch("/init", &config.insert, *only_load, &mut |line| {
                let news = Said::News(line.to_owned());
                // What is tried may end the machine at once.
                if matches!(rehearse::Said::parse(line), Some(rehearse::Said::Trying { .. })) {
                    voice.say_and_be_heard(&news);
                } else {
                    voice.say(&news);
                }
            });
            Ended::Exited(i32::from(!good))
        }
        Task::Measure { milliseconds } => {
            voice.stage("measure");
            let good = rehearse::measure::attend("/init", *milliseconds, &config.insert, &mut |line| {
                voice.say(&Said::News(line.to_owned()));
            });
            Ended::Exited(i32::from(!good))
        }
    };
    if !config.collect.is_empty() {
        voice.stage("collect");
        let files = devices::open_port(&news, protocol::FILES)?;
        voice.sent.files = collect::hand_over(files, "/", &config.collect)
            .map_err(Failure::at("collect", "could not hand the files over"))?;
    }
    Ok(ended)
}

/// Says how it went, makes sure that nothing is lost, and ends the machine.
fn finish(mut voice: Voice, end: Result<Ended, Failure>) -> i32 {
    let guard = watchdog::start();
    let _ = sys::send_signal(-1, sys::SIGKILL);
    voice.stage("end");
    match end {
        Ok(Ended::Exited(status)) => voice.say(&Said::Exit(status)),
        Ok(Ended::Killed(signal)) => voice.say(&Said::Killed(signal)),
        Err(failure) => {
            voice::console(&format!("{}: {}", failure.stage, failure.reason));
            voice.say(&Said::Fail { stage: failure.stage.to_owned(), reason: failure.reason });
        }
    }
    mounts::settle();
    voice.say_goodbye();
    let refused = sys::restart();
    voice::console(&format!("end: the machine cannot be restarted: {refused}"));
    drop(guard);
    1
}

fn read_config() -> Result<Config, Failure> {
    let text = std::fs::read_to_string(protocol::CONFIG)
        .map_err(Failure::at("init", format_args!("could not read {}", protocol::CONFIG)))?;
    Config::parse(&text).map_err(Failure::at("init", "could not read what is to be done"))
}
