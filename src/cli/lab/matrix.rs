// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright lab matrix`.

use super::places::{self, Places};
use crate::cli::errors::{Exit, Problem};
use crate::cli::look::{clean, seconds, table};
use crate::cli::session::Session;
use crate::cli::watch::Standing;
use crate::flows::lab::matrix::{Cell, junit, parse};
use crate::flows::lab::runs;
use crate::guest::spec::Guest;
use crate::guest::{self, GuestEvent, Setup};
use crate::host::{Cancel, Host};
use clap::Args;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

const AFTER: &str = "\
A small FILE:
  command = [\"sh\", \"-c\", \"uname -r; modinfo -n virtio_net\"]
  timeout = \"2m\"
  kernels = [\"6.1.0-56-amd64\", \"./vmlinuz-6.12\"]

  [[guest]]
  iso = \"debian.iso\"
  firmware = \"bios\"
  until = \"login:\"

A guest is good when it ended with success and its kernel had nothing worse than a warning to say. The exit status is \
0 when all are, else 1.";

/// Run one command on many kernels and images, and show what came of it side by side
#[derive(Debug, Args)]
#[command(after_long_help = AFTER)]
pub(crate) struct Matrix {
    /// Which guests (TOML; see docs/lab.md); paths in it are meant below its folder
    #[arg(value_name = "FILE.toml")]
    file: PathBuf,
    /// How many guests run at once
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    /// Write the result as JUnit XML, too
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Run this in all kernels instead of the command that FILE says
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs `lab matrix`.
pub(crate) fn run(session: &mut Session, args: &Matrix) -> Result<Exit, Problem> {
    let file = std::path::absolute(&args.file).map_err(|e| Problem::file("find", &args.file, &e))?;
    let text = std::fs::read_to_string(&file).map_err(|e| Problem::file("read", &file, &e))?;
    let folder = file.parent().unwrap_or(std::path::Path::new("/"));
    let guests = parse(&text)?.guests(folder, &args.command)?;
    let (host, places) = (Host::machine()?, Places::find()?);
    session.watch.set(Standing::Planning { elsewhere: false });
    let cancel = session.watch.cancel.clone();
    let cells = all(session, &host, &places, &guests, args.jobs.into(), &cancel);
    session.watch.set(Standing::Idle);
    if cancel.is_cancelled() {
        return Err(Problem::new(
            Exit::Cancelled,
            "cancelled",
            "Cancelled",
            "The guests were ended, and nothing of them is left but their runs' folders.",
        ));
    }
    if let Some(path) = &args.junit {
        let suite = file.file_stem().unwrap_or_default().to_string_lossy();
        std::fs::write(path, junit(&suite, &cells)).map_err(|e| Problem::file("write", path, &e))?;
    }
    if session.json() {
        session.screen.document(&cells)?;
    } else {
        show(session, &cells);
    }
    Ok(if cells.iter().all(Cell::good) { Exit::Done } else { Exit::Failed })
}

/// Runs all guests, `jobs` at once, in their order.
fn all(
    session: &Session,
    host: &Host,
    places: &Places,
    guests: &[(String, Guest)],
    jobs: usize,
    cancel: &Cancel,
) -> Vec<Cell> {
    let next = Mutex::new(0);
    let cells: Vec<Mutex<Option<Cell>>> = guests.iter().map(|_| Mutex::new(None)).collect();
    let voice = &session.voice;
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(guests.len()) {
            // A guest dies with the thread that started it; these last until the guest has ended.
            scope.spawn(|| {
                loop {
                    let index = {
                        let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
                        *next += 1;
                        *next - 1
                    };
                    let Some((name, guest)) = guests.get(index).filter(|_| !cancel.is_cancelled()) else {
                        break;
                    };
                    let cell = one(host, places, name, guest, cancel);
                    if !voice.json {
                        let word = if cell.good() { "good" } else { "bad" };
                        voice.say(&format!("[{}/{}] {}: {word}\n", index + 1, guests.len(), clean(name)));
                    }
                    *cells[index].lock().unwrap_or_else(PoisonError::into_inner) = Some(cell);
                }
            });
        }
    });
    cells.into_iter().filter_map(|c| c.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
}

fn one(host: &Host, places: &Places, name: &str, guest: &Guest, cancel: &Cancel) -> Cell {
    let mut cell = Cell {
        name: name.into(),
        run: None,
        report: None,
        error: None,
        stdout: String::new(),
        stderr: String::new(),
    };
    let result = runs::next(&places.runs, false).and_then(|(number, folder)| {
        cell.run = Some(number);
        let mut setup = Setup::new(host, &places.cache, folder);
        setup.sharing = places::sharing(None);
        setup.name = format!("run-{number}");
        setup.control = Some(places.running.join(&setup.name));
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let report = guest::run(guest, setup, cancel, &mut |event| match event {
            GuestEvent::Stdout(bytes) => out.extend_from_slice(bytes),
            GuestEvent::Stderr(bytes) => err.extend_from_slice(bytes),
            _ => {}
        });
        cell.stdout = String::from_utf8_lossy(&out).into_owned();
        cell.stderr = String::from_utf8_lossy(&err).into_owned();
        report
    });
    match result {
        Ok(report) => cell.report = Some(report),
        Err(e) => cell.error = Some(e.to_string()),
    }
    cell
}

fn show(session: &mut Session, cells: &[Cell]) {
    let look = session.look();
    let rows: Vec<Vec<String>> = cells
        .iter()
        .map(|cell| {
            let took = cell.report.as_ref().map(|r| seconds(Duration::from_millis(r.took_ms)));
            let kernel = cell.report.as_ref().and_then(|r| r.kernel.clone()).unwrap_or_default();
            let said = cell.reason().or_else(|| cell.stdout.lines().next().map(str::to_owned));
            vec![
                clean(&cell.name),
                if cell.good() { look.green("good") } else { look.red("bad") },
                took.unwrap_or_default(),
                kernel,
                cell.run.map(|n| n.to_string()).unwrap_or_default(),
                clean(said.as_deref().and_then(|s| s.lines().next()).unwrap_or_default()),
            ]
        })
        .collect();
    session.screen.print(&table(look, 0, &["Guest", "", "Time", "Kernel", "Run", "Said"], &rows));
}
