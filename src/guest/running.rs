// SPDX-License-Identifier: GPL-3.0-or-later
//! Guests that run now, as other processes find them: a folder for each, with a QMP socket (`qmp`) and a card
//! (`guest.json`).

use super::error::GuestError;
use super::qmp::Qmp;
use super::wires;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Name of the socket.
pub(super) const SOCKET: &str = "qmp";

/// Name of the card.
const CARD: &str = "guest.json";

/// What a guest's folder says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Its name.
    pub name: String,
    /// The process that watches it.
    pub process: u32,
    /// When it was started.
    pub began: Timestamp,
    /// Its run's folder.
    pub folder: PathBuf,
    /// What it is, for people ("vmlinuz-6.1.0-56-amd64", "debian.iso").
    pub what: String,
    /// The host's port that leads to its port 22.
    pub ssh: Option<u16>,
    /// Its address on the host's virtual sockets.
    #[serde(default)]
    pub vsock: Option<u32>,
}

/// The folder of one guest; gone when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    folder: PathBuf,
}

impl Seat {
    /// Takes `folder` for a guest. What a guest that is gone left there is removed first.
    pub(super) fn take(folder: &Path) -> Result<(Self, std::os::unix::net::UnixListener), GuestError> {
        if folder.exists() {
            if wires::connect(folder, SOCKET).is_ok() {
                let name = folder.file_name().unwrap_or_default().to_string_lossy();
                return Err(GuestError::refused(
                    "name-in-use",
                    format!("a guest called {name} runs already"),
                    "give this one another name with --name, or end that one with `hostwright lab stop`",
                ));
            }
            clear(folder)?;
        }
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|e| GuestError::file("make the folder", folder, e))?;
        let seat = Self { folder: folder.to_owned() };
        let listener = wires::listen(folder, SOCKET)?;
        Ok((seat, listener))
    }

    /// Writes the card.
    pub(super) fn card(&self, card: &Card) -> Result<(), GuestError> {
        let path = self.folder.join(CARD);
        let text = serde_json::to_vec(card).unwrap_or_default();
        std::fs::write(&path, text).map_err(|e| GuestError::file("write", path, e))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let _ = clear(&self.folder);
    }
}

/// Removes what a guest's folder holds, and nothing else that may be there.
fn clear(folder: &Path) -> Result<(), GuestError> {
    for name in [SOCKET, CARD] {
        let path = folder.join(name);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(GuestError::file("remove", path, e));
            }
            _ => {}
        }
    }
    std::fs::remove_dir(folder).map_err(|e| GuestError::file("remove", folder, e))
}

/// The guests whose folders are in `folder`, oldest first. Folders of guests that are gone are removed.
///
/// # Errors
/// When the folder cannot be read.
pub fn list(folder: &Path) -> Result<Vec<Card>, GuestError> {
    let mut cards = Vec::new();
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(cards),
        Err(e) => return Err(GuestError::file("read", folder, e)),
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let Some(card) = read(&path) else { continue };
        // Busy with another caller is alive, too: the socket takes the connection and answers later.
        if wires::connect(&path, SOCKET).is_ok() {
            cards.push(card);
        } else if !Path::new("/proc").join(card.process.to_string()).exists() {
            let _ = clear(&path);
        }
    }
    cards.sort_by_key(|c| c.began);
    Ok(cards)
}

fn read(folder: &Path) -> Option<Card> {
    serde_json::from_slice(&std::fs::read(folder.join(CARD)).ok()?).ok()
}

/// The control of the guest in `folder`.
///
/// # Errors
/// When no guest answers there.
pub fn connect(folder: &Path) -> Result<Qmp, GuestError> {
    Qmp::new(wires::connect(folder, SOCKET)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(name: &str, process: u32) -> Card {
        Card {
            name: name.into(),
            process,
            began: Timestamp::UNIX_EPOCH,
            folder: "/runs/1".into(),
            what: "a.iso".into(),
            ssh: None,
            vsock: None,
        }
    }

    #[test]
    fn a_name_is_taken_once_and_free_again_afterwards() {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("a b,c");
        let (seat, listener) = Seat::take(&folder).unwrap();
        seat.card(&card("a b,c", std::process::id())).unwrap();
        assert_eq!(list(top.path()).unwrap(), [card("a b,c", std::process::id())]);
        let error = Seat::take(&folder).unwrap_err().to_string();
        assert!(error.contains("runs already") && error.contains("--name"), "{error}");
        drop((seat, listener));
        assert!(!folder.exists());
        assert_eq!(list(top.path()).unwrap(), []);
    }

    #[test]
    fn what_a_killed_guest_left_is_swept() {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("gone");
        let (seat, listener) = Seat::take(&folder).unwrap();
        // Numbers of processes end below 2^22 (proc(5), pid_max).
        seat.card(&card("gone", 5_000_000)).unwrap();
        std::mem::forget(seat);
        drop(listener);
        assert_eq!(list(top.path()).unwrap(), []);
        assert!(!folder.exists());
    }
}
