// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright vgpu token` and `hostwright vgpu licence-server`: licences for virtual GPUs.

use super::apply::{consent, request};
use crate::cli::errors::{Exit, Problem};
use crate::cli::session::Session;
use crate::cli::work::{self, ApplyOptions};
use crate::engine::Inputs;
use crate::engine::steps::ContainerEngine;
use crate::flows::vgpu::{Choices, GuestToken, KeptFile, LicenceServer, Stage, token};
use crate::tell::sentence;
use clap::Args;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::path::PathBuf;

/// Put a licence server's token into a running virtual machine, through its guest agent
///
/// The token (client configuration token, a file that ends in .tok) comes from NVIDIA's licensing portal (CLS), from your
/// own DLS, or from `vgpu licence-server`. It goes where NVIDIA's guest driver looks, and the service that fetches the
/// licence is restarted. Where no agent answers, it is told what to type in the guest.
#[derive(Debug, Args)]
pub(crate) struct Token {
    /// Number of the virtual machine
    #[arg(value_name = "VM")]
    vm: u32,
    /// The token's file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    options: ApplyOptions,
}

/// Run a licence server of your own (FastAPI-DLS) in a container, for those who are entitled to the licences
///
/// The image must be named with its digest: look it up where the image is published, and compare it from a second place.
/// The server gets a certificate of its own, listens on one address, is looked after by a health check, and is a systemd
/// service. Docker (or Podman) comes from the distribution; what is there already is used and stays. NVIDIA's terms ask
/// for licences whoever hands them out. Guest drivers of branch 18 and newer take none from it as they are, and nothing is
/// patched in guests. `vgpu remove` takes it back.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// The image with its digest (docker.io/collinwebdesigns/fastapi-dls@sha256:…)
    #[arg(long, value_name = "NAME@sha256:DIGEST")]
    image: String,
    /// You are entitled to the licences that it will give
    #[arg(long)]
    i_am_entitled: bool,
    /// The address it listens on: that of the bridge that guests are on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    listen: String,
    /// The port it listens on
    #[arg(long, value_name = "PORT", default_value_t = 443, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// A name by which guests reach it, the one that tokens tell first; without one the address
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
    /// Its time zone
    #[arg(long, value_name = "ZONE", default_value = "Etc/UTC")]
    time_zone: String,
    /// How long a lease lasts, in days
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=90))]
    lease_days: u32,
    /// After which part of its time a lease can be renewed, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 15, value_parser = clap::value_parser!(u8).range(1..=99))]
    renewal_percent: u8,
    /// What runs the container: docker or podman; without it the one that is there, else docker
    #[arg(long, value_name = "ENGINE", value_parser = engine)]
    engine: Option<ContainerEngine>,
    #[command(flatten)]
    options: ApplyOptions,
}

fn engine(text: &str) -> Result<ContainerEngine, String> {
    match text {
        "docker" => Ok(ContainerEngine::Docker),
        "podman" => Ok(ContainerEngine::Podman),
        other => Err(format!("`{other}` runs no containers; it is docker or podman")),
    }
}

/// Runs `vgpu token`.
pub(crate) fn give(session: &mut Session, args: &Token) -> Result<Exit, Problem> {
    consent(session, &args.options)?;
    let bytes = std::fs::read(&args.file).map_err(|e| Problem::file("read", &args.file, &e))?;
    let refused = |why: &str, remedy: &str| {
        let heading = format!("{} is not taken", args.file.display());
        Problem::new(Exit::Refused, "no-token-file", &heading, sentence(why)).remedy(remedy)
    };
    let says = token::parse(&bytes)
        .map_err(|e| refused(&e.to_string(), "Take the file as the licence server gave it, unchanged."))?;
    if let Some(ended) = says.expires.filter(|e| *e <= Timestamp::now()) {
        let remedy = format!("Get a new one from {}.", says.servers.join(", "));
        return Err(refused(&format!("it ended on {ended}"), &remedy));
    }
    if !session.json() {
        let text = format!("Guests with this token ask {} for licences.\n", says.servers.join(", "));
        session.screen.print(&text);
    }
    let name = args.file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let sha256 = hex::encode(Sha256::digest(&bytes));
    let file = KeptFile { name, sha256: sha256.clone(), size: bytes.len() as u64 };
    let mut inputs = Inputs::default();
    inputs.sealed.insert(sha256, bytes);
    let token = Some(GuestToken { vm: args.vm, file });
    let choices = Choices { stage: Some(Stage::Token), token, ..Choices::default() };
    work::apply(session, request(&choices, inputs)?, &args.options)
}

/// Runs `vgpu licence-server`.
pub(crate) fn server(session: &mut Session, args: &Server) -> Result<Exit, Problem> {
    consent(session, &args.options)?;
    let server = LicenceServer {
        image: args.image.clone(),
        listen: args.listen.clone(),
        port: args.port,
        names: args.names.clone(),
        time_zone: args.time_zone.clone(),
        lease_days: args.lease_days,
        renewal_percent: args.renewal_percent,
        engine: args.engine,
        entitled: args.i_am_entitled,
    };
    let choices =
        Choices { stage: Some(Stage::LicenceServer), licence_server: Some(server), ..Choices::default() };
    work::apply(session, request(&choices, Inputs::default())?, &args.options)
}
