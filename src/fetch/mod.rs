// SPDX-License-Identifier: GPL-3.0-or-later
//! Large files from elsewhere: fetched in one pass that writes and hashes, verified, then put in place.
//!
//! ```text
//!   Source (URL, file) ─► http / file ─► chunks ─┬─► .NAME.part    (resumed where it ended)
//!                                                ├─► SHA-256       (each in a thread of its own)
//!                                                └─► MD5
//!                                       Expected ─► verify ─► Ready ─► keep() ─► NAME
//! ```
//!
//! Certificates are always checked, and an `https` address never leads to an `http` one. Nothing takes its
//! name before it was verified; what had the name before is kept as `NAME.bak.1`, `.2`, ….

mod bundle;
mod digest;
mod http;
mod makeself;
mod place;
mod transfer;

#[cfg(test)]
mod server;
#[cfg(test)]
mod tests;

/// A server and files for the tests of those who fetch.
#[cfg(test)]
pub(crate) mod test {
    pub(crate) use super::makeself::tests::run_file;
    pub(crate) use super::server::{Act, Server};
}

pub use bundle::{BundleError, Bundled, extract, is_zip};
pub use digest::{Digests, Hashers};
pub use http::{Credentials, Net};
pub use makeself::{Payload, RunError, RunFile, inspect, parse_header, verify_payload};
pub use place::{Folder, Part, is_plain_name};
pub use transfer::{Ready, Retry, fetch};

use std::path::PathBuf;

/// Where a file comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file of this machine; it is copied, and stays.
    File(PathBuf),
    /// An address, `https` or `http`.
    Url(String),
}

/// What is known of a file before it is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// Its size in bytes.
    pub size: Option<u64>,
    /// Its SHA-256, hexadecimal, lower case.
    pub sha256: Option<String>,
    /// Its MD5, hexadecimal, lower case.
    pub md5: Option<String>,
}

/// How well a file was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verified {
    /// By its SHA-256.
    Sha256,
    /// By its MD5 alone: it is undamaged; that proves no origin.
    Md5,
    /// Not at all: nothing was known of it.
    Nothing,
}

impl Expected {
    /// Whether a file with these digests is the one.
    ///
    /// # Errors
    /// Which of them differs.
    pub fn verify(&self, digests: &Digests) -> Result<Verified, FetchError> {
        let differs = |what: &'static str, expected: &str, found: &str| FetchError::Checksum {
            what,
            expected: expected.to_owned(),
            found: found.to_owned(),
        };
        if let Some(size) = self.size
            && size != digests.size
        {
            return Err(FetchError::Size { expected: size, found: digests.size });
        }
        if let Some(md5) = &self.md5
            && *md5 != digests.md5
        {
            return Err(differs("MD5", md5, &digests.md5));
        }
        match &self.sha256 {
            Some(sha256) if *sha256 != digests.sha256 => Err(differs("SHA-256", sha256, &digests.sha256)),
            Some(_) => Ok(Verified::Sha256),
            None if self.md5.is_some() => Ok(Verified::Md5),
            None => Ok(Verified::Nothing),
        }
    }
}

/// How far a transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are there.
    pub done: u64,
    /// Bytes in all, when that is known.
    pub total: Option<u64>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
}

/// Why a file is not there.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address cannot be used.
    #[error("{url} is no address that can be fetched: {why}; give one that begins with https://")]
    Address {
        /// The address.
        url: String,
        /// Why.
        why: String,
    },
    /// Credentials would cross the network in the clear.
    #[error("credentials are not sent to {0} without encryption; use an https address")]
    ClearCredentials(String),
    /// The server answered with an error.
    #[error("{url}: the server answered {status}; {remedy}")]
    Status {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What to do.
        remedy: &'static str,
    },
    /// The certificate was not accepted, or TLS failed.
    #[error(
        "{url}: the connection is not secure ({why}); look at the address and at this machine's clock, or name the \
         certificate authority of a server of your own as ca_file"
    )]
    Tls {
        /// The address.
        url: String,
        /// Why.
        why: String,
    },
    /// Redirected too often, or to where it must not go.
    #[error("{url}: {why}; look where the address leads in a browser")]
    Redirect {
        /// The address.
        url: String,
        /// What happened.
        why: String,
    },
    /// The network failed, again and again.
    #[error(
        "{url}: {why}, after {attempts} attempts; what is there is kept, and the same command goes on from it"
    )]
    Network {
        /// The address.
        url: String,
        /// The last failure.
        why: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The server contradicts itself or sends what was not asked for.
    #[error("{url}: {why}; try again later or from another place")]
    Nonsense {
        /// The address.
        url: String,
        /// What.
        why: String,
    },
    /// Too large to be what is wanted.
    #[error("{what} is larger than {limit} bytes; that is no driver")]
    TooLarge {
        /// What.
        what: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The file has another size.
    #[error("the file has {found} bytes and should have {expected}; get it again from its source")]
    Size {
        /// As it should be.
        expected: u64,
        /// As it is.
        found: u64,
    },
    /// The file is not the one.
    #[error(
        "the {what} is {found} and should be {expected}: the file is damaged or another one; get it again from its source"
    )]
    Checksum {
        /// Which checksum.
        what: &'static str,
        /// As it should be.
        expected: String,
        /// As it is.
        found: String,
    },
    /// The folder or a file in it cannot be used.
    #[error("{path}: {why}")]
    Folder {
        /// Which.
        path: String,
        /// Why; ends with what to do.
        why: String,
    },
    /// There is no room.
    #[error("{path}: the disk is full; make room, and the same command goes on from where it is")]
    Full {
        /// The folder.
        path: String,
    },
    /// A file cannot be read or written.
    #[error("{path}: {source}; look at the file and its folder")]
    Io {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Somebody asked to stop.
    #[error("cancelled; what is there is kept, and the same command goes on from it")]
    Cancelled,
}

impl FetchError {
    fn io(path: &str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::Full { path },
            _ => Self::Io { path, source },
        }
    }
}
