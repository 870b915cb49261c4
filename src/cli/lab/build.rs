// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright lab build`.

use super::image::{ImageOptions, refuse_root};
use crate::cli::errors::{Exit, Problem};
use crate::cli::look::{Mark, bytes, count, seconds};
use crate::cli::progress::showing;
use crate::cli::session::Session;
use crate::cli::watch::Standing;
use crate::flows::lab::{self, Built, Folders};
use clap::Args;
use std::time::Duration;

/// Build a bootable image with a project in it
///
/// The system below the project is bootstrapped once and kept; a change in the project repacks the project
/// alone. Without --profile the image is a live system of Debian's own packages.
#[derive(Debug, Args)]
pub(crate) struct Build {
    #[command(flatten)]
    image: ImageOptions,
}

/// Runs `lab build`.
pub(crate) fn run(session: &mut Session, args: &Build) -> Result<Exit, Problem> {
    let (built, took) = make(session, &args.image)?;
    if session.json() {
        session.screen.document(&serde_json::json!({ "built": built }))?;
    } else {
        say(session, &built, took);
    }
    Ok(Exit::Done)
}

/// Builds what is wanted, and shows how it goes.
pub(crate) fn make(session: &mut Session, options: &ImageOptions) -> Result<(Built, Duration), Problem> {
    refuse_root(session)?;
    let host = session.host()?;
    let folders = Folders::of_session()?;
    let image = options.image(session)?;
    let cancel = session.watch.cancel.clone();
    // Nothing of the machine is changed, so that an interruption is answered as while looking.
    let standing = Standing::Planning { elsewhere: false };
    let ended = showing(&session.voice, &session.watch, session.screen.verbose, standing, |sink| {
        Ok(lab::build(&host, &folders, &image, &options.options(), &cancel, sink)?)
    })?;
    Ok((ended.value, ended.took))
}

/// Says what was built.
pub(crate) fn say(session: &mut Session, built: &Built, took: Duration) {
    let look = session.look();
    let what = if built.unchanged { "Nothing changed, the image is there" } else { "Built" };
    let files = match built.files {
        0 => String::new(),
        n => format!(", {} of the project", count(n, "file", "files")),
    };
    let text = format!(
        "{} {}{}\n",
        look.mark(Mark::Good),
        look.bold(&format!("{what}: {}", built.image.display())),
        look.dim(&format!(" ({}{files}, {})", bytes(built.size), seconds(took)))
    );
    session.screen.print(&text);
}
