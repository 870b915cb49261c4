// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright export`: facts and choices for other tools.

use super::errors::{Exit, Problem};
use super::session::Session;
use super::vmware::options::Options;
use crate::detect::gather;
use crate::engine::steps::Mode;
use crate::flows::vmware::choices::Choices;
use crate::flows::vmware::select::select;
use crate::host::{Command, HostKind};
use clap::Args;
use serde_json::json;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Write facts and choices for other tools
///
/// With --shell, assignments that a POSIX shell can read: WIZARD_COMPLETED, SELECTED_KERNELS,
/// TARGET_KERNEL_VERSION and OPTIMIZATION_MODE, every value quoted. With --json, the facts and choices as one
/// document.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// As shell assignments (the default; --json is the other)
    #[arg(long, conflicts_with = "json")]
    shell: bool,
    /// Write to this file, which only you can read, instead of to standard output; it must not exist
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

/// Runs `export`.
pub(crate) fn run(session: &mut Session, args: &Export) -> Result<Exit, Problem> {
    let choices = args.options.choices()?;
    let host = session.host()?;
    let facts = gather(&host, None);
    let selected = select(&choices, &facts, host.kind() != HostKind::Machine)?;
    let releases: Vec<&str> = selected.kernels.iter().map(|k| k.release.as_str()).collect();
    let text = if session.json() {
        let document = json!({ "facts": facts, "choices": choices, "selected_kernels": releases });
        format!("{document}\n")
    } else {
        shell(&choices, &releases)
    };
    match &args.out {
        Some(path) => write_new(path, text.as_bytes(), 0o600)?,
        None => session.screen.print(&text),
    }
    Ok(Exit::Done)
}

/// Shell assignments; pure. A value is quoted so that no shell finds anything in it but itself.
fn shell(choices: &Choices, releases: &[&str]) -> String {
    let mode = match choices.mode {
        Mode::Vanilla => "vanilla",
        Mode::Optimized => "optimized",
    };
    // Without a kernel that can be served nothing was completed.
    let completed = if releases.is_empty() { "0" } else { "1" };
    let values = [
        ("WIZARD_COMPLETED", completed.to_owned()),
        ("SELECTED_KERNELS", releases.join(" ")),
        ("TARGET_KERNEL_VERSION", releases.first().copied().unwrap_or_default().to_owned()),
        ("OPTIMIZATION_MODE", mode.to_owned()),
    ];
    values
        .iter()
        .map(|(name, value)| format!("{name}={}\n", Command::new(value.as_str()).display()))
        .collect()
}

/// Writes a new file; nothing that exists is replaced.
///
/// # Errors
/// When it exists or cannot be written.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Problem> {
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Problem::new(Exit::Refused, "file-exists", &format!("{} exists already", path.display()), "")
                .remedy("Give another name, or move that file away.")
        }
        _ => Problem::file("write", path, &e),
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_for_every_shell() {
        let text = shell(
            &Choices { mode: Mode::Optimized, ..Choices::default() },
            &["6.1.0-56-amd64", "6.2$(reboot)'"],
        );
        assert_eq!(
            text,
            "WIZARD_COMPLETED=1\nSELECTED_KERNELS='6.1.0-56-amd64 6.2$(reboot)'\\'''\n\
             TARGET_KERNEL_VERSION=6.1.0-56-amd64\nOPTIMIZATION_MODE=optimized\n"
        );
        assert!(shell(&Choices::default(), &[]).contains("WIZARD_COMPLETED=0\nSELECTED_KERNELS=''\n"));
    }

    #[test]
    fn an_export_is_private_and_replaces_nothing() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        write_new(&path, b"1", 0o600).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(write_new(&path, b"2", 0o600).unwrap_err().exit, Exit::Refused);
        assert_eq!(std::fs::read(&path).unwrap(), b"1");
    }
}
