// SPDX-License-Identifier: GPL-3.0-or-later
//! The catalogue as it counts for a person: the built-in tables, those of the machine, those of the person.

use super::catalogue::{CatalogueError, ETC_DIR, Source};
use super::{Catalogue, Choices, Decision, Rules, decide, gather};
use crate::engine::plan::Refusal;
use crate::host::{Host, HostError, Root};
use std::path::PathBuf;

/// Why there is no catalogue, or no decision.
#[derive(Debug, thiserror::Error)]
pub enum OwnError {
    /// The person's folder cannot be opened.
    #[error("could not open {}: {source}", dir.display())]
    Folder {
        /// Which.
        dir: PathBuf,
        /// Why.
        source: HostError,
    },
    /// A table is wrong.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The rules of this program are wrong.
    #[error(transparent)]
    Rules(#[from] toml::de::Error),
    /// It is refused, with the reason.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// The person's own folder of this flow.
pub fn config_dir() -> Option<PathBuf> {
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let config = config.or_else(|| std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".config")));
    config.filter(|c| c.is_absolute()).map(|c| c.join("hostwright/vgpu"))
}

/// The built-in tables, those of the machine, those of the person.
///
/// # Errors
/// When a file is wrong.
pub fn catalogue(host: &Host) -> Result<Catalogue, OwnError> {
    let owners = [0, nix::unistd::geteuid().as_raw()];
    let home = match config_dir() {
        Some(dir) => match Root::open(&dir) {
            Ok(root) => Some(root),
            Err(e) if e.is_not_found() => None,
            Err(source) => return Err(OwnError::Folder { dir, source }),
        },
        None => None,
    };
    let mut sources = vec![Source { root: host.root(), dir: ETC_DIR, owners: &owners }];
    if let Some(home) = &home {
        sources.push(Source { root: home, dir: "/", owners: &owners });
    }
    Ok(Catalogue::load(&sources)?)
}

/// Looks at the machine and decides.
///
/// # Errors
/// A refusal, or a wrong catalogue.
pub fn decision(host: &Host, choices: &Choices) -> Result<Decision, OwnError> {
    let catalogue = catalogue(host)?;
    let rules = Rules::built_in()?;
    Ok(decide(choices, &gather(host), &catalogue, &rules)?)
}
