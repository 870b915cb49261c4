// SPDX-License-Identifier: GPL-3.0-or-later
//! SHA-256 of files at their first use: later ones must be the same.

use crate::fetch::Digests;
use crate::host::{HostError, Root};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const FILE: &str = "/pins.json";
const VERSION: u32 = 1;

/// A pinned file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Its SHA-256.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
    /// From where it came.
    pub from: String,
    /// When it was pinned.
    pub at: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Document {
    version: u32,
    pins: BTreeMap<String, Pin>,
}

/// Why pins cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PinsError {
    /// The file cannot be read or written.
    #[error(transparent)]
    Host(#[from] HostError),
    /// It is not understood.
    #[error("{0}pins.json cannot be read ({1}); move it away, and files are pinned anew")]
    Wrong(String, String),
}

/// All pins of a person.
#[derive(Debug)]
pub struct Pins {
    root: Root,
    pins: BTreeMap<String, Pin>,
}

impl Pins {
    /// Reads the pins in a folder.
    ///
    /// # Errors
    /// When they cannot be read: a pin that is not seen would be no pin.
    pub fn load(root: Root) -> Result<Self, PinsError> {
        let place = || format!("{}/", root.path().display());
        let pins = match root.read_at_most(FILE, 4 << 20) {
            Ok(bytes) => {
                let document: Document =
                    serde_json::from_slice(&bytes).map_err(|e| PinsError::Wrong(place(), e.to_string()))?;
                if document.version != VERSION {
                    let why = format!("it has version {}", document.version);
                    return Err(PinsError::Wrong(place(), why));
                }
                document.pins
            }
            Err(e) if e.is_not_found() => BTreeMap::new(),
            Err(e) => return Err(e.into()),
        };
        Ok(Self { root, pins })
    }

    /// The pin of a file.
    pub fn get(&self, file_name: &str) -> Option<&Pin> {
        self.pins.get(file_name)
    }

    /// Pins a file, unless it is pinned already.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn record(
        &mut self,
        file_name: &str,
        digests: &Digests,
        from: &str,
        at: &str,
    ) -> Result<(), PinsError> {
        if self.pins.contains_key(file_name) {
            return Ok(());
        }
        let pin = Pin {
            sha256: digests.sha256.clone(),
            size: digests.size,
            from: from.to_owned(),
            at: at.to_owned(),
        };
        self.pins.insert(file_name.to_owned(), pin);
        let document = Document { version: VERSION, pins: self.pins.clone() };
        let text = serde_json::to_vec_pretty(&document)
            .map_err(|e| PinsError::Wrong(String::new(), e.to_string()))?;
        Ok(self.root.write(FILE, &text, 0o600, None)?)
    }
}
