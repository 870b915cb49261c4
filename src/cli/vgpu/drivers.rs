// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright vgpu drivers`: the catalogue of host drivers.

use super::look::catalogue;
use crate::cli::errors::{Exit, Problem};
use crate::cli::look::table;
use crate::cli::session::Session;
use crate::flows::vgpu::Catalogue;
use crate::flows::vgpu::catalogue::GuestDriverEntry;
use clap::Args;

/// Show the catalogue of host drivers: branch, build, what is known of the file, unlock patch; or those of guests
#[derive(Debug, Args)]
pub(crate) struct Drivers {
    /// The drivers of guests, for Linux and Windows
    #[arg(long)]
    guests: bool,
}

/// Runs `vgpu drivers`.
pub(crate) fn run(session: &mut Session, args: &Drivers) -> Result<Exit, Problem> {
    let catalogue = catalogue(session)?;
    if args.guests {
        return guests(session, &catalogue);
    }
    if session.json() {
        let all: Vec<_> = catalogue.drivers().collect();
        session.screen.document(&all)?;
        return Ok(Exit::Done);
    }
    let rows: Vec<Vec<String>> = catalogue
        .drivers()
        .map(|d| {
            let checksum = match (&d.sha256, &d.md5) {
                (Some(_), _) => "SHA-256",
                (None, Some(_)) => "MD5",
                (None, None) => "none",
            };
            vec![
                d.branch.to_string(),
                d.host_driver.clone(),
                checksum.to_owned(),
                d.unlock_patch.clone().unwrap_or_default(),
                d.file_name.clone(),
            ]
        })
        .collect();
    let text = table(session.look(), 0, &["Branch", "Driver", "Checksum", "Unlock patch", "File"], &rows);
    session.screen.print(&text);
    Ok(Exit::Done)
}

fn guests(session: &mut Session, catalogue: &Catalogue) -> Result<Exit, Problem> {
    if session.json() {
        let all: Vec<_> = catalogue.guest_drivers().collect();
        session.screen.document(&all)?;
        return Ok(Exit::Done);
    }
    let row = |d: &GuestDriverEntry| {
        vec![d.branch.to_string(), d.system.word().to_owned(), d.guest_driver.clone(), d.file_name.clone()]
    };
    let rows: Vec<Vec<String>> = catalogue.guest_drivers().map(row).collect();
    let text = table(session.look(), 0, &["Branch", "System", "Driver", "File"], &rows);
    session.screen.print(&text);
    Ok(Exit::Done)
}
