// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright lab run`.

use super::boot::{FirmwareArg, name};
use super::build;
use super::image::ImageOptions;
use super::machine::Machine;
use super::places::Places;
use super::tell::{Teller, ended};
use crate::cli::errors::{Exit, Problem};
use crate::cli::session::Session;
use crate::cli::watch::Standing;
use crate::flows::lab::size::window_environment;
use crate::flows::lab::{account, runs};
use crate::guest::spec::{Boot as What, Disk, ImageFormat};
use crate::guest::{self, Report, Setup};
use crate::host::Host;
use clap::Args;
use std::path::Path;

/// Build what changed, and boot it
///
/// The whole cycle in one command: nothing is built when nothing changed, and only the project is packed again
/// when only the project changed. The image is booted as `hostwright lab boot` does it.
#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    image: ImageOptions,
    /// Firmware that starts it
    #[arg(long, value_enum, default_value_t = FirmwareArg::Uefi, value_name = "KIND", help_heading = "The machine")]
    firmware: FirmwareArg,
    #[command(flatten)]
    machine: Machine,
    /// Call the guest NAME, for `hostwright lab list` and its companions [default: the image's name]
    #[arg(long, value_name = "NAME", value_parser = name, help_heading = "The run")]
    guest_name: Option<String>,
    /// End the guest with success once a line of its console matches this regular expression
    #[arg(long, value_name = "REGEX", help_heading = "The run")]
    until: Option<String>,
    /// Show the console on standard error while the guest runs
    #[arg(short, long, help_heading = "The run")]
    console: bool,
    /// Keep the run's folder when later runs need its place
    #[arg(long, help_heading = "The run")]
    keep: bool,
}

/// Runs `lab run`.
pub(crate) fn run(session: &mut Session, args: &Run) -> Result<Exit, Problem> {
    let (built, took) = build::make(session, &args.image)?;
    if session.json() {
        session.screen.document(&serde_json::json!({ "built": built }))?;
    } else {
        build::say(session, &built, took);
    }
    let host = Host::machine()?;
    let places = Places::find()?;
    let firmware = args.firmware.into();
    let (boot, disks) = if args.image.is_disk() {
        let disk = Disk { path: built.image.clone(), format: ImageFormat::Raw, writable: false, usb: false };
        (What::Disk { firmware }, vec![disk])
    } else {
        (What::Iso { path: built.image.clone(), firmware }, Vec::new())
    };
    let guest = args.machine.guest(boot, disks, args.until.clone(), true);
    let (number, folder) = runs::next(&places.runs, args.keep)?;
    let mut setup = Setup::new(&host, &places.cache, &folder);
    // A number is put behind: the same image may run twice at once.
    setup.name = args.guest_name.clone().unwrap_or_else(|| format!("{}-{number}", built.name()));
    setup.keep = args.keep;
    setup.environment = window_environment(&guest);
    setup.control = Some(places.running.join(&setup.name));
    session.watch.set(Standing::Planning { elsewhere: false });
    let mut teller = Teller::new(session, args.console, true);
    let cancel = session.watch.cancel.clone();
    let result = guest::run(&guest, setup, &cancel, &mut |event| teller.event(&mut session.screen, &event));
    session.watch.set(Standing::Idle);
    let report = match result {
        Ok(report) => report,
        Err(e) => {
            runs::forget_unstarted(&folder);
            return Err(e.into());
        }
    };
    let exit = ended(session, number, &folder, &report, teller, false)?;
    match args.image.autorun() {
        Some(power_off) if exit.code() == 0 => of_command(&report, power_off, &folder),
        _ => Ok(exit),
    }
}

/// What the image's own command says of the run.
fn of_command(report: &Report, must_end: bool, folder: &Path) -> Result<Exit, Problem> {
    let failed = |why: String| {
        Err(Problem::new(Exit::Failed, "autorun", "The image's command failed", why)
            .remedy(format!("See {}", folder.join(guest::CONSOLE).display())))
    };
    match account::autorun(report) {
        Some(Ok(())) => Ok(Exit::Done),
        Some(Err(why)) => failed(why),
        None if must_end => failed("The guest ended, and nothing was heard of the command.".to_owned()),
        None => Ok(Exit::Done),
    }
}
