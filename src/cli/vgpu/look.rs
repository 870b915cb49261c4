// SPDX-License-Identifier: GPL-3.0-or-later
//! What the subcommands have in common: the catalogue with the user's rows, the choices, the decision.

use crate::cli::errors::{Exit, Problem};
use crate::cli::session::Session;
use crate::flows::vgpu::catalogue::{Branch, CatalogueError, ETC_DIR, Source};
use crate::flows::vgpu::{Catalogue, Choices, Decision, Role, Rules, VgpuFacts, decide, gather};
use crate::host::{HostError, Root};
use crate::tell::sentence;
use clap::Args;
use std::path::{Path, PathBuf};

/// What can be chosen.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "What is wanted")]
pub(super) struct Wanted {
    /// Version of the vGPU software (16.9); without it the best that works here
    #[arg(long, value_name = "BRANCH")]
    branch: Option<Branch>,
    /// What a card is for: its PCI address, then vgpu, passthrough or host (0000:41:00.0=passthrough)
    #[arg(long, value_name = "ADDRESS=ROLE", value_parser = role)]
    card: Vec<(String, Role)>,
}

fn role(text: &str) -> Result<(String, Role), String> {
    let (address, role) = text.split_once('=').ok_or("write ADDRESS=ROLE, such as 0000:41:00.0=vgpu")?;
    let role = match role {
        "vgpu" => Role::Vgpu,
        "passthrough" => Role::Passthrough,
        "host" => Role::Host,
        other => return Err(format!("`{other}` is no role; it is vgpu, passthrough or host")),
    };
    // As lspci writes them, without the domain.
    let short = address.matches(':').count() == 1;
    let address = if short { format!("0000:{address}") } else { address.to_owned() };
    Ok((address.to_ascii_lowercase(), role))
}

impl Wanted {
    pub(super) fn choices(&self) -> Choices {
        let roles = self.card.iter().cloned().collect();
        Choices { branch: self.branch, roles, ..Choices::default() }
    }
}

/// The person's own folder of this flow.
pub(super) fn config_dir() -> Option<PathBuf> {
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let config = config.or_else(|| std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".config")));
    config.filter(|c| c.is_absolute()).map(|c| c.join("hostwright/vgpu"))
}

/// A folder of the person's that cannot be opened.
pub(super) fn problem_of_folder(dir: &Path, error: &HostError) -> Problem {
    Problem::file("open the folder", dir, &error.source)
}

/// The built-in tables, those of the machine, those of the person.
///
/// # Errors
/// When a file is wrong.
pub(super) fn catalogue(session: &Session) -> Result<Catalogue, Problem> {
    let host = session.host()?;
    let own = nix::unistd::geteuid().as_raw();
    let owners = [0, own];
    let config = config_dir();
    let home = match &config {
        Some(dir) => match Root::open(dir) {
            Ok(root) => Some(root),
            Err(e) if e.is_not_found() => None,
            Err(e) => return Err(problem_of_folder(dir, &e)),
        },
        None => None,
    };
    let mut sources = vec![Source { root: host.root(), dir: ETC_DIR, owners: &owners }];
    if let Some(home) = &home {
        sources.push(Source { root: home, dir: "/", owners: &owners });
    }
    Catalogue::load(&sources).map_err(|e| problem(&e, config.as_deref()))
}

fn problem(error: &CatalogueError, home: Option<&Path>) -> Problem {
    let mut text = error.to_string();
    if let Some(home) = home {
        // Files of the person's folder are named from that folder on.
        if text.starts_with('/') && !text.starts_with(ETC_DIR) {
            text = format!("{}{text}", home.display());
        }
    }
    Problem::new(Exit::Usage, "bad-catalogue", "A table of your own cannot be used", sentence(&text))
}

/// Looks and decides.
///
/// # Errors
/// A refusal, or a wrong catalogue.
pub(super) fn decision(session: &Session, wanted: &Wanted) -> Result<(VgpuFacts, Decision), Problem> {
    let catalogue = catalogue(session)?;
    let rules = Rules::built_in().map_err(|e| Problem::internal("read its own rules", &e))?;
    let facts = gather(&session.host()?);
    let decision = decide(&wanted.choices(), &facts, &catalogue, &rules)?;
    Ok((facts, decision))
}
