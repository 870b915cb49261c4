// SPDX-License-Identifier: GPL-3.0-or-later
//! What the lab's errors mean for the exit status.

use crate::cli::errors::{Exit, Problem, sentence};
use crate::flows::lab;
pub(super) use crate::flows::lab::Places;
use crate::guest::{GuestError, Sharing};

/// How directories are shared with guests: as `--share` says, else as [`lab::sharing`] finds.
pub(super) fn sharing(given: Option<&std::path::Path>) -> Sharing {
    match given {
        Some(path) if path.as_os_str() == "9p" => Sharing::NineP,
        Some(path) if path.as_os_str() != "auto" => {
            Sharing::By(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
        }
        _ => lab::sharing(),
    }
}

impl From<GuestError> for Problem {
    fn from(error: GuestError) -> Self {
        match error {
            GuestError::Refused { code, reason, remedy } => {
                Self::new(Exit::Refused, code, "The guest was not started", sentence(&reason))
                    .remedy(sentence(&remedy))
            }
            GuestError::MissingTool { program, package } => {
                let reason = format!("{program} is not installed.");
                Self::new(Exit::Refused, "missing-tool", "The guest was not started", reason)
                    .remedy(format!("Install {package}."))
            }
            GuestError::Cancelled => Self::new(
                Exit::Cancelled,
                "cancelled",
                "Cancelled",
                "The guest was not started, and nothing is left of it.",
            ),
            GuestError::File { what, ref path, ref source } => Self::file(what, path, source),
            error => Self::new(
                Exit::Failed,
                "guest",
                "The guest could not be run to its end",
                sentence(&error.to_string()),
            ),
        }
    }
}
