// SPDX-License-Identifier: GPL-3.0-or-later
//! What the subcommands have in common: the catalogue with the user's rows, the choices, the decision.

use crate::cli::errors::Problem;
use crate::cli::session::Session;
use crate::flows::vgpu::catalogue::Branch;
pub(super) use crate::flows::vgpu::own::config_dir;
use crate::flows::vgpu::{Catalogue, Choices, Decision, Role, Rules, VgpuFacts, decide, gather, own};
use crate::host::HostError;
use clap::Args;
use std::path::Path;

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

/// A folder of the person's that cannot be opened.
pub(super) fn problem_of_folder(dir: &Path, error: &HostError) -> Problem {
    Problem::file("open the folder", dir, &error.source)
}

/// The built-in tables, those of the machine, those of the person.
///
/// # Errors
/// When a file is wrong.
pub(super) fn catalogue(session: &Session) -> Result<Catalogue, Problem> {
    Ok(own::catalogue(&session.host()?)?)
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
