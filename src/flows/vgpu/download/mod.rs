// SPDX-License-Identifier: GPL-3.0-or-later
//! A driver's file, the host's or a guest's: found, fetched, taken out of its bundle, looked at, verified, pinned.
//!
//! ```text
//!   Wanted + Pins      ─► Expected ─┐
//!   Source: file, URL, mirror ──────┴─► obtain ─► there already, or part ─► header ─► consent? ─► name
//! ```
//!
//! Nothing here needs privileges: the file is handed on later as what it is.

mod iso;
mod mirror;
mod pins;

pub use iso::{IsoError, iso};
pub use mirror::{Mirror, MirrorError};
pub use pins::{Pin, Pins, PinsError};

use super::catalogue::{Branch, DriverEntry, Form, GuestDriverEntry, System};
use crate::fetch::{
    BundleError, Digests, Expected, FetchError, Folder, Hashers, Net, Part, Progress, Retry, RunError,
    RunFile, Source, Verified, extract, fetch, inspect, is_zip, verify_payload,
};
use crate::host::Cancel;
use serde::Serialize;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

/// The documented source of the files.
pub const PORTAL: &str = "https://ui.licensing.nvidia.com (Software Downloads, platform Linux KVM)";

/// What kind of file is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// The host driver for KVM, a `.run` file.
    Host,
    /// The driver for Linux guests, a `.run` file.
    LinuxGuest,
    /// The driver for Windows guests, an `.exe` file.
    WindowsGuest,
}

/// The file that is wanted, as a catalogue knows it.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Its kind.
    pub what: Wants,
    /// Version of the vGPU software.
    pub branch: Branch,
    /// Version of the driver.
    pub version: &'a str,
    /// Its name.
    pub file_name: &'a str,
    /// How it is handed out.
    pub form: Form,
    /// MD5, where it is known.
    pub md5: Option<&'a str>,
    /// SHA-256, where it is known.
    pub sha256: Option<&'a str>,
}

impl<'a> From<&'a DriverEntry> for Wanted<'a> {
    fn from(d: &'a DriverEntry) -> Self {
        Self {
            what: Wants::Host,
            branch: d.branch,
            version: &d.host_driver,
            file_name: &d.file_name,
            form: d.form,
            md5: d.md5.as_deref(),
            sha256: d.sha256.as_deref(),
        }
    }
}

impl<'a> From<&'a GuestDriverEntry> for Wanted<'a> {
    fn from(d: &'a GuestDriverEntry) -> Self {
        Self {
            what: if d.system == System::Windows { Wants::WindowsGuest } else { Wants::LinuxGuest },
            branch: d.branch,
            version: &d.guest_driver,
            file_name: &d.file_name,
            form: Form::Run,
            md5: d.md5.as_deref(),
            sha256: d.sha256.as_deref(),
        }
    }
}

/// What is there in the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Obtained {
    /// The file.
    pub path: PathBuf,
    /// Whether it was there already.
    pub was_there: bool,
    /// How well it is verified.
    pub verified: Verified,
    /// Whether a person (or `--yes`) took it without anything known of it.
    pub consented: bool,
    /// Its checksums.
    pub digests: Digests,
    /// What its header says; `None` of a file for Windows, which has another.
    pub header: Option<RunFile>,
    /// Whether the archive inside agrees with the header's own checksum; `None` when it has none.
    pub payload_intact: Option<bool>,
    /// Under which name an older file was kept.
    pub kept: Option<String>,
    /// Bytes that were transferred this time.
    pub transferred: u64,
}

/// Why there is no driver.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The transfer failed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The bundle is of no use.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// It is no driver.
    #[error("{path}: {error}")]
    Run {
        /// The file.
        path: String,
        /// What is wrong.
        error: RunError,
    },
    /// It is another driver.
    #[error(
        "this file is \u{201c}{label}\u{201d} ({target_dir}), and not the vGPU {kind} driver {wanted}; take that of this \
         branch"
    )]
    Other {
        /// As it says of itself.
        label: String,
        /// The folder it unpacks into.
        target_dir: String,
        /// What kind of driver is wanted.
        kind: &'static str,
        /// Its version.
        wanted: String,
    },
    /// It is no program for Windows.
    #[error("{path} is no program for Windows; take the .exe file of this branch")]
    NotWindows {
        /// The file.
        path: String,
    },
    /// Nobody consented.
    #[error("nothing is known of this file, and it was not taken")]
    NoConsent,
    /// The checksum does not agree with what was pinned at its first use.
    #[error("{error} (the SHA-256 was pinned at its first use, {when}, from {from})")]
    Pinned {
        /// What differs.
        error: FetchError,
        /// When it was pinned.
        when: String,
        /// From where it came then.
        from: String,
    },
    /// Pins cannot be read or written.
    #[error(transparent)]
    Pins(#[from] PinsError),
}

/// What a person is asked when nothing is known of a file.
#[derive(Debug)]
pub struct Question<'a> {
    /// Its checksums.
    pub digests: &'a Digests,
    /// What its header says; `None` of a file for Windows.
    pub header: Option<&'a RunFile>,
    /// Where it comes from.
    pub from: &'a str,
}

/// How to obtain a file.
pub struct Request<'a> {
    /// The driver.
    pub driver: Wanted<'a>,
    /// Where from; `None`: only what is there already will do.
    pub source: Option<&'a Source>,
    /// Where from, for people and pins.
    pub from: &'a str,
    /// Where to.
    pub folder: &'a Folder,
    /// How the network is used.
    pub net: &'a Net,
    /// How often to try.
    pub retry: &'a Retry,
    /// When, for pins (RFC 3339).
    pub now: String,
}

/// Obtains the host driver's file. `None` when it is not there and there is no source.
///
/// # Errors
/// See [`DownloadError`]. A file that is not the driver never takes its name.
pub fn obtain(
    request: &Request<'_>,
    pins: &mut Pins,
    cancel: &Cancel,
    told: &mut dyn FnMut(Progress),
    consent: &mut dyn FnMut(&Question<'_>) -> bool,
) -> Result<Option<Obtained>, DownloadError> {
    let driver = request.driver;
    let pinned = pins.get(driver.file_name).cloned();
    let expected = Expected {
        size: None,
        sha256: driver.sha256.map(str::to_owned).or_else(|| pinned.as_ref().map(|p| p.sha256.clone())),
        md5: driver.md5.map(str::to_owned),
    };
    let of_pin = |error: FetchError| match (&pinned, driver.sha256, &error) {
        (Some(pin), None, FetchError::Checksum { what: "SHA-256", .. }) => {
            DownloadError::Pinned { error, when: pin.at.clone(), from: pin.from.clone() }
        }
        _ => error.into(),
    };

    if let Some(obtained) = there_already(request, &expected, pins, consent)? {
        return Ok(Some(obtained));
    }
    let Some(source) = request.source else { return Ok(None) };

    let bundled = may_be_bundle(driver, source)?;
    let first = if bundled { Expected::default() } else { expected.clone() };
    let name = format!("{}.download", driver.file_name);
    let ready = fetch(source, &first, request.folder, &name, request.net, request.retry, cancel, told)
        .map_err(of_pin)?;
    let transferred = ready.transferred;
    let (mut part, mut digests) = (ready.part, ready.digests);
    if bundled && is_zip(&mut part.reader()?).map_err(|e| unreadable(&part, e))? {
        let taken = extract(part.reader()?, driver.file_name, request.folder);
        let taken = match taken {
            Ok(taken) => taken,
            Err(e) => {
                request.folder.discard(part)?;
                return Err(e.into());
            }
        };
        request.folder.discard(part)?;
        (part, digests) = (taken.part, taken.digests);
    }
    match judge(request, &expected, &part, &digests, consent) {
        Ok(judged) => {
            let kept = request.folder.keep(part, driver.file_name)?;
            pins.record(driver.file_name, &digests, request.from, &request.now)?;
            Ok(Some(Obtained {
                path: request.folder.path_of(driver.file_name),
                was_there: false,
                verified: judged.verified,
                consented: judged.consented,
                digests,
                header: judged.header,
                payload_intact: judged.payload_intact,
                kept,
                transferred,
            }))
        }
        Err(e) => {
            request.folder.discard(part)?;
            Err(match e {
                DownloadError::Fetch(e) => of_pin(e),
                e => e,
            })
        }
    }
}

fn unreadable(part: &Part, source: std::io::Error) -> FetchError {
    FetchError::Io { path: part.shown().to_owned(), source }
}

/// Whether a source may be a bundle: by the catalogue, by its name, or, of a file, by its first bytes.
fn may_be_bundle(driver: Wanted<'_>, source: &Source) -> Result<bool, FetchError> {
    if driver.form == Form::Zip {
        return Ok(true);
    }
    match source {
        Source::Url(url) => {
            let path = url.split(['?', '#']).next().unwrap_or(url);
            Ok(path.to_ascii_lowercase().ends_with(".zip"))
        }
        Source::File(path) => {
            let io = |source| FetchError::Io { path: path.display().to_string(), source };
            // A pipe is refused by the copy itself; it must not be waited for here.
            if !path.metadata().map_err(io)?.is_file() {
                return Ok(false);
            }
            let mut file = File::open(path).map_err(io)?;
            is_zip(&mut file).map_err(io)
        }
    }
}

struct Judged {
    verified: Verified,
    consented: bool,
    header: Option<RunFile>,
    payload_intact: Option<bool>,
}

/// Checksums, header, archive; consent when nothing is known of the file.
fn judge(
    request: &Request<'_>,
    expected: &Expected,
    part: &Part,
    digests: &Digests,
    consent: &mut dyn FnMut(&Question<'_>) -> bool,
) -> Result<Judged, DownloadError> {
    let verified = expected.verify(digests)?;
    let mut file = part.reader()?;
    judge_file(request, &mut file, part.shown(), verified, digests, consent)
}

fn judge_file(
    request: &Request<'_>,
    file: &mut File,
    shown: &str,
    verified: Verified,
    digests: &Digests,
    consent: &mut dyn FnMut(&Question<'_>) -> bool,
) -> Result<Judged, DownloadError> {
    let driver = request.driver;
    let (header, payload_intact) = if driver.what == Wants::WindowsGuest {
        if !is_windows_program(file).map_err(|source| FetchError::Io { path: shown.to_owned(), source })? {
            return Err(DownloadError::NotWindows { path: shown.to_owned() });
        }
        (None, None)
    } else {
        let wrong = |error| DownloadError::Run { path: shown.to_owned(), error };
        let header = inspect(file).map_err(wrong)?;
        let (good, kind) = match driver.what {
            Wants::Host => (header.is_host_driver(driver.version), "host"),
            _ => (header.is_guest_driver(driver.version), "Linux guest"),
        };
        if !good {
            return Err(DownloadError::Other {
                label: header.label,
                target_dir: header.target_dir,
                kind,
                wanted: driver.version.to_owned(),
            });
        }
        let intact = verify_payload(file, &header).map_err(wrong)?.then_some(true);
        (Some(header), intact)
    };
    let mut consented = false;
    if verified == Verified::Nothing {
        consented = consent(&Question { digests, header: header.as_ref(), from: request.from });
        if !consented {
            return Err(DownloadError::NoConsent);
        }
    }
    Ok(Judged { verified, consented, header, payload_intact })
}

/// Whether a file is a program for Windows (PE format specification: "MZ", and "PE\0\0" where the header says).
fn is_windows_program(file: &mut File) -> std::io::Result<bool> {
    let mut start = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(4096).read_to_end(&mut start)?;
    let at = start.get(0x3c..0x40).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes) as usize;
    Ok(start.starts_with(b"MZ") && start.get(at..).is_some_and(|rest| rest.starts_with(b"PE\0\0")))
}

/// A file of that name in the folder, when it is the one. Another one is left for `keep` to set aside.
fn there_already(
    request: &Request<'_>,
    expected: &Expected,
    pins: &mut Pins,
    consent: &mut dyn FnMut(&Question<'_>) -> bool,
) -> Result<Option<Obtained>, DownloadError> {
    let driver = request.driver;
    let Some(mut file) = request.folder.existing(driver.file_name)? else { return Ok(None) };
    let path = request.folder.path_of(driver.file_name);
    let shown = path.display().to_string();
    let mut hashers = Hashers::default();
    hashers.read(&mut file, u64::MAX).map_err(|source| FetchError::Io { path: shown.clone(), source })?;
    let Some(digests) = hashers.finish() else { return Ok(None) };
    let Ok(verified) = expected.verify(&digests) else { return Ok(None) };
    if verified == Verified::Nothing && request.source.is_some() {
        // Nothing speaks for the old file, and another one is offered.
        return Ok(None);
    }
    let judged = judge_file(request, &mut file, &shown, verified, &digests, consent)?;
    pins.record(driver.file_name, &digests, &shown, &request.now)?;
    Ok(Some(Obtained {
        path,
        was_there: true,
        verified: judged.verified,
        consented: judged.consented,
        digests,
        header: judged.header,
        payload_intact: judged.payload_intact,
        kept: None,
        transferred: 0,
    }))
}

#[cfg(test)]
mod tests;
