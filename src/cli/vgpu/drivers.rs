// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright vgpu drivers`: the catalogue of host drivers.

use super::look::catalogue;
use crate::cli::errors::{Exit, Problem};
use crate::cli::look::table;
use crate::cli::session::Session;
use clap::Args;

/// Show the catalogue of host drivers: branch, build, what is known of the file, unlock patch
#[derive(Debug, Args)]
pub(crate) struct Drivers {}

/// Runs `vgpu drivers`.
pub(crate) fn run(session: &mut Session, _args: &Drivers) -> Result<Exit, Problem> {
    let catalogue = catalogue(session)?;
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
