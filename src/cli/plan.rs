// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright plan`: what a flow would do with given choices.

use super::errors::{Exit, Problem};
use super::session::Session;
use super::work::{self, Request, ShowOptions};
use crate::engine::Inputs;
use clap::Args;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The largest choices document that is read, in bytes.
const CHOICES: u64 = 1 << 20;

/// Show what a flow would do with given choices
///
/// Nothing is changed. `hostwright vmware plan` is the same for VMware's modules, with options instead of a
/// file.
#[derive(Debug, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    given: Given,
    #[command(flatten)]
    show: ShowOptions,
}

/// A flow and its choices.
#[derive(Debug, Args)]
pub(crate) struct Given {
    /// The flow: vmware, wayland or tuning
    flow: Option<String>,
    /// The choices, a JSON document (`-`: standard input); without it all defaults
    #[arg(short, long, value_name = "FILE")]
    choices: Option<PathBuf>,
    /// An archive that the choices name by its SHA-256; can be given several times
    #[arg(long = "archive", value_name = "TARBALL")]
    archives: Vec<PathBuf>,
}

/// Runs `plan`.
pub(crate) fn run(session: &mut Session, args: &Plan) -> Result<Exit, Problem> {
    let request = args.given.request()?;
    work::plan(session, &request, &args.show)
}

impl Given {
    /// The request, with its files read.
    pub(crate) fn request(&self) -> Result<Request, Problem> {
        let choices = match &self.choices {
            Some(path) => read_json(path)?,
            None => Value::Object(serde_json::Map::new()),
        };
        let mut inputs = Inputs::default();
        for path in &self.archives {
            let bytes = std::fs::read(path).map_err(|e| Problem::file("read", path, &e))?;
            inputs.sealed.insert(hex::encode(Sha256::digest(&bytes)), bytes);
        }
        let flow = self.flow.clone().ok_or_else(|| {
            Problem::usage("No flow is named.").remedy("There are: vmware, wayland, tuning.")
        })?;
        Ok(Request { flow, choices, inputs })
    }
}

/// Reads a JSON document from a file or from standard input (`-`).
///
/// # Errors
/// When it cannot be read, is too large, or is no JSON.
pub(crate) fn read_json(path: &Path) -> Result<Value, Problem> {
    let mut bytes = Vec::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().lock().take(CHOICES + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|f| f.take(CHOICES + 1).read_to_end(&mut bytes))
    };
    read.map_err(|e| Problem::file("read", path, &e))?;
    let wrong = |why: String| {
        Problem::new(Exit::Usage, "bad-json", &format!("{} cannot be used", path.display()), why)
            .remedy("It must be one JSON document in UTF-8.")
    };
    if bytes.len() as u64 > CHOICES {
        return Err(wrong(format!("It is larger than {CHOICES} bytes.")));
    }
    serde_json::from_slice(&bytes).map_err(|e| wrong(format!("It is no valid JSON: {e}.")))
}
