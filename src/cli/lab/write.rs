// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright lab devices` and `hostwright lab write`: an image onto a USB stick.

use crate::cli::confirm;
use crate::cli::errors::{Exit, Problem};
use crate::cli::look::{Look, clean, table};
use crate::cli::progress::looking;
use crate::cli::session::Session;
use crate::cli::work::{self, ApplyOptions, Request};
use crate::detect::media::{self, Connection, Medium};
use crate::engine::Inputs;
use crate::engine::event::Event;
use crate::flows::lab::write::{Choices, FLOW, ImageChoice, capacity, look};
use clap::Args;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// List the sticks and cards that an image can be written to
///
/// Each with model, serial number and size, and who uses it. Disks that are built in are shown with --all.
#[derive(Debug, Args)]
pub(crate) struct Devices {
    /// Also disks that are built in, which nothing is written to
    #[arg(short, long)]
    all: bool,
}

/// Write an image to a USB stick or a card, and read it back
///
/// What it holds is lost, and this cannot be undone. So the device must be removable or connected by USB, and
/// nobody may use it: no mount in any namespace, no swap, no LVM, encryption or RAID. Model, serial number and
/// size are shown, and the device's name has to be typed before anything is written. The helper gets the image
/// as an open file; it compares it with its SHA-256 before and while it writes, and reads all of it back from
/// the device.
#[derive(Debug, Args)]
pub(crate) struct Write {
    /// The image: an ISO or a raw disk image
    image: PathBuf,
    /// The whole device, as `hostwright lab devices` shows it (/dev/sdb), or a link to it (/dev/disk/by-id/…)
    device: PathBuf,
    /// The device's name once more, for scripts: with --yes nothing else is asked
    #[arg(long, value_name = "DEVICE", requires = "yes")]
    confirm: Option<String>,
    #[command(flatten)]
    apply: ApplyOptions,
}

/// Runs `lab devices`.
pub(crate) fn devices(session: &mut Session, args: &Devices) -> Result<Exit, Problem> {
    let host = session.host()?;
    let media = media::read(host.root())?;
    let shown: Vec<&Medium> = media.iter().filter(|m| args.all || m.is_portable()).collect();
    if session.json() {
        session.screen.document(&shown)?;
        return Ok(Exit::Done);
    }
    let text = if shown.is_empty() {
        "No stick or card is here that an image could be written to.\n".to_owned()
    } else {
        listing(session.look(), &shown)
    };
    session.screen.print(&text);
    Ok(Exit::Done)
}

/// Pure.
fn listing(look: Look, media: &[&Medium]) -> String {
    let rows: Vec<Vec<String>> = media
        .iter()
        .map(|m| {
            let told = |text: &Option<String>| text.as_deref().map_or_else(|| "not told".into(), clean);
            let state = match (m.used.first(), m.size) {
                (Some(used), _) => format!("in use: {}", clean(used)),
                (None, 0) => "empty".to_owned(),
                (None, _) if !m.is_portable() => "built in".to_owned(),
                (None, _) if m.read_only => "cannot be written to".to_owned(),
                (None, _) => "free".to_owned(),
            };
            let connection = match m.connection {
                Connection::Usb => "USB",
                Connection::Card => "card slot",
                Connection::Other => "other",
            };
            vec![
                m.device.clone(),
                told(&m.model),
                told(&m.serial),
                capacity(m.size),
                connection.to_owned(),
                state,
            ]
        })
        .collect();
    table(look, 0, &["Device", "Model", "Serial number", "Size", "Connected by", "State"], &rows)
}

/// Runs `lab write`.
pub(crate) fn run(session: &mut Session, args: &Write) -> Result<Exit, Problem> {
    let device = device(session, &args.device)?;
    consent(session, args, &device)?;
    let file = open(&args.image)?;
    let cancel = session.watch.cancel.clone();
    let looked = looking(&session.voice, &session.watch, session.screen.verbose, false, |sink| {
        let mut progress = |done: u64, total: u64| {
            let unit = "MB of the image read".to_owned();
            sink.passing(Event::Progress { step: 0, done: done / 1_000_000, total: total / 1_000_000, unit });
        };
        look(&file, &cancel, &mut progress).map_err(Problem::from)
    })?;
    let name = args.image.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let image =
        ImageChoice { name, size: looked.size, sha256: looked.sha256.clone(), content: looked.content };
    let choices = serde_json::to_value(Choices { device: device.clone(), image })
        .map_err(|e| Problem::internal("write the choices", &e))?;
    let images = BTreeMap::from([(looked.sha256, Arc::new(file))]);
    let request = Request { flow: FLOW.to_owned(), choices, inputs: Inputs { images, ..Inputs::default() } };
    work::apply_asking(session, request, &args.apply, &|session| {
        let question =
            format!("All that {device} holds will be lost. Type {device} to write the image onto it:");
        confirm::ask_for(&session.voice, &question, &device)
    })
}

/// Refuses before the image is read when nobody could say yes.
fn consent(session: &Session, args: &Write, device: &str) -> Result<(), Problem> {
    if args.apply.check {
        return Ok(());
    }
    if !args.apply.yes {
        return confirm::need_consent(false, session.json(), "written").map_err(|problem| {
            problem.remedy(format!("Look at it first with --check, then add --yes --confirm {device}."))
        });
    }
    let given = args.confirm.as_deref();
    if given.is_some_and(|given| given == device || Path::new(given) == args.device) {
        return Ok(());
    }
    let why = match given {
        Some(given) => format!("--confirm names {given}, and the image would go onto {device}."),
        None => "With --yes nobody is asked, so the device has to be named once more.".to_owned(),
    };
    Err(Problem::usage(why).remedy(format!("If it is the right one, add --confirm {device}.")))
}

/// The device by its own name: links of udev (/dev/disk/by-id/…) lead to it.
fn device(session: &Session, given: &Path) -> Result<String, Problem> {
    let host = session.host()?;
    let text = given.to_str().ok_or_else(|| Problem::usage("The device's name is not UTF-8."))?;
    let text = if text.contains('/') { text.to_owned() } else { format!("/dev/{text}") };
    let missing = |e: &crate::host::HostError| {
        Problem::new(Exit::Refused, "no-such-device", &format!("There is no {text}"), e.source.to_string())
            .remedy(format!("`{}` shows what can be written to.", session.command("lab devices")))
    };
    host.root().resolve(&text).map_err(|e| missing(&e))
}

/// The image, open. A pipe or a device is none: its size cannot be told beforehand.
fn open(path: &Path) -> Result<File, Problem> {
    let cannot = |e: std::io::Error| Problem::file("open", path, &e);
    let meta = std::fs::metadata(path).map_err(cannot)?;
    if !meta.is_file() {
        return Err(Problem::new(
            Exit::Refused,
            "no-image",
            "This is no image",
            format!("{} is no plain file.", path.display()),
        )
        .remedy("Name an ISO or a raw disk image."));
    }
    File::open(path).map_err(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listing_tells_what_each_is_and_who_uses_it() {
        let stick = Medium {
            device: "/dev/sdb".into(),
            number: "8:16".into(),
            instance: Some(7),
            model: Some("SanDisk Cruzer\u{1b}[2J".into()),
            serial: Some("AA01".into()),
            size: 16_012_345_678,
            connection: Connection::Usb,
            removable: true,
            read_only: false,
            partitions: vec![],
            used: vec![],
        };
        let used = Medium {
            device: "/dev/mmcblk0".into(),
            connection: Connection::Card,
            serial: None,
            used: vec!["/dev/mmcblk0p1 is mounted on /media/card".into()],
            ..stick.clone()
        };
        let disk = Medium {
            device: "/dev/sda".into(),
            connection: Connection::Other,
            removable: false,
            ..stick.clone()
        };
        insta::assert_snapshot!(listing(Look::plain(120), &[&used, &disk, &stick]));
    }
}
