// SPDX-License-Identifier: GPL-3.0-or-later
//! The one place where errors become words for people: a title, the reason, what to do.

use crate::engine::RunError;
use crate::engine::plan::Refusal;
use crate::flows::PlanError;
use serde::Serialize;

/// How the command line ends; documented in `hostwright(1)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or there was nothing to do.
    Done,
    /// Something failed, or (`status`, `doctor`) something needs attention.
    Failed,
    /// Wrong usage.
    Usage,
    /// Refused with a reason: nothing was tried.
    Refused,
    /// The permission was not given.
    NotAuthorized,
    /// `--check`: something would change.
    WouldChange,
    /// Cancelled.
    Cancelled,
    /// What a guest's command ended with; 255 when the guest did not get that far.
    Guest(u8),
}

impl Exit {
    /// The exit status.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::NotAuthorized => 4,
            Self::WouldChange => 10,
            Self::Cancelled => 130,
            Self::Guest(status) => status,
        }
    }
}

/// Why a command did not do what was asked.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Problem {
    /// A stable word for programs.
    pub(crate) code: String,
    /// What went wrong, in a few words.
    pub(crate) title: String,
    /// Why.
    pub(crate) reason: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remedy: Option<String>,
    /// The exit status that goes with it.
    #[serde(serialize_with = "as_status")]
    pub(crate) exit: Exit,
}

fn as_status<S: serde::Serializer>(exit: &Exit, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u8(exit.code())
}

impl Problem {
    /// A problem with its reason.
    pub(crate) fn new(exit: Exit, code: &str, title: &str, reason: impl Into<String>) -> Self {
        Self { code: code.to_owned(), title: title.to_owned(), reason: reason.into(), remedy: None, exit }
    }

    /// The same, with what to do.
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Wrong usage.
    pub(crate) fn usage(reason: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", "This cannot be asked for", reason)
    }

    /// Cancelled before anything was changed.
    pub(crate) fn cancelled() -> Self {
        Self::new(Exit::Cancelled, "cancelled", "Cancelled", "Nothing was changed.")
    }

    /// Something that should not happen.
    pub(crate) fn internal(what: &str, error: &dyn std::fmt::Display) -> Self {
        Self::new(
            Exit::Failed,
            "internal",
            "A mistake in Hostwright itself",
            format!("Could not {what}: {error}"),
        )
        .remedy("Please report it with this message.")
    }

    /// A file of the caller's that cannot be read or written.
    pub(crate) fn file(what: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
        let problem = Self::new(
            Exit::Failed,
            if denied { "denied" } else { "file" },
            &format!("Could not {what} {}", path.display()),
            error.to_string(),
        );
        match error.kind() {
            std::io::ErrorKind::NotFound => problem.remedy("Look at the spelling of the path."),
            std::io::ErrorKind::PermissionDenied => {
                problem.remedy("Look at the owner and the permissions of the file.")
            }
            _ => problem,
        }
    }
}

/// The plan that was shown is not the plan that would run now.
pub(crate) fn machine_changed() -> Problem {
    Problem::new(
        Exit::Refused,
        "machine-changed",
        "The machine changed since you looked",
        "The plan that was shown is not the plan that would run now, so nothing was changed.",
    )
    .remedy("Look at the plan again and apply that one.")
}

/// An error text of the library ends with what to do, after a semicolon.
pub(crate) fn sentence(text: &str) -> String {
    let mut chars = text.trim().chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    let mut out = format!("{first}{}", chars.as_str());
    if !out.ends_with(['.', '!', '?', '`', '\n']) {
        out.push('.');
    }
    out
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self {
            code: refusal.code,
            title: "Refused: nothing was changed".into(),
            reason: refusal.reason,
            remedy: refusal.remedy,
            exit: Exit::Refused,
        }
    }
}

impl From<PlanError> for Problem {
    fn from(error: PlanError) -> Self {
        let text = sentence(&error.to_string());
        match error {
            PlanError::Refused(refusal) => refusal.into(),
            PlanError::UnknownFlow(_) => Self::usage(text),
            PlanError::BadChoices(_) => {
                Self::new(Exit::Usage, "bad-choices", "The choices cannot be used", text)
                    .remedy("`hostwright vmware plan --help` lists what can be chosen.")
            }
            PlanError::Cancelled => Self::cancelled(),
            PlanError::Failed(_) => Self::new(Exit::Failed, "plan-failed", "No plan could be made", text),
        }
    }
}

impl From<RunError> for Problem {
    fn from(error: RunError) -> Self {
        let text = sentence(&error.to_string());
        let refused = |code: &str, title: &str| Self::new(Exit::Refused, code, title, text.clone());
        match &error {
            RunError::Lock(crate::host::LockError::Held { .. }) => {
                refused("busy", "Another run is under way")
            }
            RunError::Interrupted { .. } => refused("interrupted", "An earlier run was interrupted"),
            RunError::NoSuchRun { .. } => refused("no-such-run", "There is no such run"),
            RunError::NothingToUndo { .. } => refused("nothing-to-undo", "There is nothing to take back"),
            RunError::LaterRun { .. } => refused("later-run", "A later run comes first"),
            RunError::Space { .. } => refused("no-space", "There is not enough space"),
            RunError::Plan { .. } => refused("plan-unusable", "The plan cannot be carried out"),
            RunError::Lock(_) | RunError::Journal(_) | RunError::Host(_) => {
                Self::new(Exit::Failed, "run-failed", "The run was not begun", text)
            }
        }
    }
}

impl From<crate::host::HostError> for Problem {
    fn from(error: crate::host::HostError) -> Self {
        let exit = if error.source.kind() == std::io::ErrorKind::PermissionDenied {
            Exit::NotAuthorized
        } else {
            Exit::Failed
        };
        Self::new(exit, "file", "A file could not be used", sentence(&error.to_string()))
    }
}

impl From<crate::ipc::Error> for Problem {
    fn from(error: crate::ipc::Error) -> Self {
        let text = sentence(&error.to_string());
        let new = |exit, code: &str, title: &str| Self::new(exit, code, title, text.clone());
        use crate::ipc::Error;
        match error {
            Error::Refused(refusal) => refusal.into(),
            Error::MachineChanged => machine_changed(),
            Error::NotAuthorized(_) => new(Exit::NotAuthorized, "not-authorized", "Not authorized"),
            Error::Dismissed => new(Exit::NotAuthorized, "dismissed", "Not authorized"),
            Error::CouldNotAsk(_) => {
                new(Exit::NotAuthorized, "could-not-ask", "Nobody could be asked for permission")
            }
            Error::Busy(_) => new(Exit::Refused, "busy", "Something else is under way"),
            Error::BadArgument(_) => new(Exit::Usage, "bad-argument", "This cannot be asked for"),
            Error::NoSuchRun(_) => new(Exit::Refused, "no-such-run", "There is no such run"),
            Error::Cancelled => Self::cancelled(),
            Error::NotInstalled => new(Exit::Failed, "helper-not-installed", "The helper is not installed"),
            Error::NotStarted(_) => new(Exit::Failed, "helper-not-started", "The helper does not start"),
            Error::NoBus(_) => new(Exit::Failed, "no-bus", "There is no system bus"),
            Error::Unreachable { .. } => new(Exit::Failed, "unreachable", "The machine cannot be reached"),
            Error::NoBridge { .. } => new(Exit::Failed, "no-bridge", "The machine cannot be reached"),
            Error::NotInstalledThere { .. } => {
                new(Exit::Failed, "helper-not-installed", "Hostwright is not installed there")
            }
            Error::Lost { .. } => new(Exit::Failed, "connection-lost", "The connection was lost"),
            Error::NotThroughSsh(_) => new(Exit::Refused, "not-through-ssh", "Not on another machine"),
            Error::Gone => new(Exit::Failed, "helper-gone", "The helper went away"),
            Error::Protocol(_) => new(Exit::Failed, "protocol", "The helper was not understood"),
            Error::Leaving | Error::Failed(_) => new(Exit::Failed, "failed", "It failed"),
        }
    }
}
