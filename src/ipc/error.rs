// SPDX-License-Identifier: GPL-3.0-or-later
//! One error type for both ends of the bus: the helper turns it into a D-Bus error, the client turns
//! that back.
//!
//! On the wire: the name `org.hostwright.Error.X`, a sentence for people (first string, as every D-Bus
//! tool shows it) and a JSON document for programs (second string).

use super::NAME;
use crate::engine::plan::Refusal;
use serde_json::{Value, json};
use zbus::message::{Header, Message};
use zbus::names::ErrorName;

/// Why the helper did not do what it was asked, or could not be asked. Every message ends with what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// `.Refused`: the flow makes no plan, for a reason a person can understand and act on.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// `.MachineChanged`: the plan that was shown is not the plan that would run now.
    #[error(
        "the machine changed since you looked; look again. Nothing was changed: make the plan anew, read it, and apply that one"
    )]
    MachineChanged,
    /// `.NotAuthorized`: polkit said no.
    #[error("not authorized: {0}")]
    NotAuthorized(String),
    /// `.Dismissed`: the person closed the question for the password.
    #[error("the question for the password was dismissed; nothing was changed. Ask again to try once more")]
    Dismissed,
    /// `.CouldNotAsk`: nobody could be asked, so the answer is no.
    #[error("{0}")]
    CouldNotAsk(String),
    /// `.Busy`: something else is going on that does not bear this beside it.
    #[error("{0}")]
    Busy(String),
    /// `.BadArgument`: the call itself is wrong.
    #[error("{0}")]
    BadArgument(String),
    /// `.NoSuchRun`: there is no run with this number.
    #[error("there is no run {0}; `hostwright runs` lists the runs of this machine")]
    NoSuchRun(u32),
    /// `.Cancelled`: somebody asked to stop before anything was changed.
    #[error("cancelled; nothing was changed")]
    Cancelled,
    /// `.Leaving`: the helper is on its way out and did not begin the call. Calling again starts a new one.
    #[error("the helper is just going away and did not begin; call again")]
    Leaving,
    /// `.Failed`: it tried, and failed.
    #[error("{0}")]
    Failed(String),

    /// Only seen by clients: the helper is not installed on that machine.
    #[error(
        "the helper is not installed: nothing on the system bus answers to {NAME}. Install Hostwright with `make install` as root, or work on a directory tree with `--root DIR`, which needs no helper"
    )]
    NotInstalled,
    /// Only seen by clients: the helper is installed but does not start.
    #[error("the helper could not be started: {0}. `journalctl -u hostwright-helper` may say more")]
    NotStarted(String),
    /// Only seen by clients: there is no system bus.
    #[error(
        "the system bus cannot be reached: {0}. Without it there is no helper; as root, `systemctl start dbus` starts it"
    )]
    NoBus(String),
    /// Only seen by clients: the helper went away in the middle.
    #[error(
        "the helper went away in the middle of it. `hostwright runs` shows what became of the run, and how to take it back"
    )]
    Gone,
    /// Only seen by clients: another machine cannot be reached.
    #[error("the machine {machine} cannot be reached: {why}. Try it by hand: `{command}`")]
    Unreachable {
        /// Which machine.
        machine: String,
        /// What ssh says.
        why: String,
        /// How a person logs in there.
        command: String,
    },
    /// Only seen by clients: the other machine has no program that speaks to its bus for us.
    #[error(
        "the machine {machine} has no `systemd-stdio-bridge`, through which its system bus is reached. Install the package `systemd` there, or work there: `{command}`"
    )]
    NoBridge {
        /// Which machine.
        machine: String,
        /// How a person logs in there.
        command: String,
    },
    /// Only seen by clients: Hostwright is not installed on the other machine.
    #[error(
        "the helper is not installed on {machine}. Install it there, from the folder with Hostwright's sources: `{command}`"
    )]
    NotInstalledThere {
        /// Which machine.
        machine: String,
        /// What installs it.
        command: String,
    },
    /// Only seen by clients: the connection to the other machine broke.
    #[error(
        "the connection to {machine} was lost ({why}). What was begun there goes on: `hostwright --host {machine} runs` shows it"
    )]
    Lost {
        /// Which machine.
        machine: String,
        /// What ssh says.
        why: String,
    },
    /// Only seen by clients: sealed files cannot be handed over to another machine.
    #[error(
        "sources and passwords that are given by hand cannot be handed over to {0}, because ssh carries no open files. Log in there, and do it there"
    )]
    NotThroughSsh(String),
    /// Only seen by clients: an answer that this version does not understand.
    #[error(
        "the helper's answer was not understood: {0}. The helper and this program may be of different versions; install both from the same build"
    )]
    Protocol(String),
}

impl Error {
    /// The last part of the D-Bus error name; `None` for what only clients see.
    fn word(&self) -> Option<&'static str> {
        Some(match self {
            Self::Refused(_) => "Refused",
            Self::MachineChanged => "MachineChanged",
            Self::NotAuthorized(_) => "NotAuthorized",
            Self::Dismissed => "Dismissed",
            Self::CouldNotAsk(_) => "CouldNotAsk",
            Self::Busy(_) => "Busy",
            Self::BadArgument(_) => "BadArgument",
            Self::NoSuchRun(_) => "NoSuchRun",
            Self::Cancelled => "Cancelled",
            Self::Leaving => "Leaving",
            Self::Failed(_) => "Failed",
            Self::NotInstalled
            | Self::NotStarted(_)
            | Self::NoBus(_)
            | Self::Gone
            | Self::Unreachable { .. }
            | Self::NoBridge { .. }
            | Self::NotInstalledThere { .. }
            | Self::Lost { .. }
            | Self::NotThroughSsh(_)
            | Self::Protocol(_) => return None,
        })
    }

    /// The document for programs that goes with the sentence.
    fn details(&self) -> Value {
        match self {
            Self::Refused(refusal) => json!(refusal),
            Self::NoSuchRun(run) => json!({ "run": run }),
            Self::NotAuthorized(text)
            | Self::CouldNotAsk(text)
            | Self::Busy(text)
            | Self::BadArgument(text)
            | Self::Failed(text) => json!({ "text": text }),
            _ => json!({}),
        }
    }

    /// Reads an error of this project from its name, sentence and document. Pure.
    fn from_wire(word: &str, sentence: &str, details: &Value) -> Self {
        let text = || details.get("text").and_then(Value::as_str).unwrap_or(sentence).to_owned();
        match word {
            "Refused" => match serde_json::from_value(details.clone()) {
                Ok(refusal) => Self::Refused(refusal),
                Err(_) => Self::Refused(Refusal {
                    code: "unknown".to_owned(),
                    reason: sentence.to_owned(),
                    remedy: None,
                }),
            },
            "MachineChanged" => Self::MachineChanged,
            "NotAuthorized" => Self::NotAuthorized(text()),
            "Dismissed" => Self::Dismissed,
            "CouldNotAsk" => Self::CouldNotAsk(text()),
            "Busy" => Self::Busy(text()),
            "BadArgument" => Self::BadArgument(text()),
            "NoSuchRun" => match details.get("run").and_then(Value::as_u64).map(u32::try_from) {
                Some(Ok(run)) => Self::NoSuchRun(run),
                _ => Self::Failed(sentence.to_owned()),
            },
            "Cancelled" => Self::Cancelled,
            "Leaving" => Self::Leaving,
            _ => Self::Failed(sentence.to_owned()),
        }
    }

    /// What an error name of the bus itself means to a person. Pure.
    fn from_bus(name: &str, sentence: &str) -> Self {
        let dbus = name.strip_prefix("org.freedesktop.DBus.Error.").unwrap_or(name);
        match dbus {
            "ServiceUnknown" | "NameHasNoOwner" => Self::NotInstalled,
            "Spawn.ServiceNotFound" | "Spawn.FileInvalid" => Self::NotInstalled,
            "Spawn.ExecFailed"
            | "Spawn.ForkFailed"
            | "Spawn.ChildExited"
            | "Spawn.ChildSignaled"
            | "Spawn.Failed"
            | "Spawn.FailedToSetup"
            | "Spawn.ConfigInvalid"
            | "Spawn.PermissionsInvalid"
            | "Spawn.NoMemory"
            | "Timeout"
            | "TimedOut" => Self::NotStarted(sentence.trim_end_matches('.').to_owned()),
            "NoReply" | "Disconnected" => Self::Gone,
            "AccessDenied" => Self::NotAuthorized(format!(
                "the policy of the system bus does not let this call through ({sentence}). Is {NAME}.conf installed in /usr/share/dbus-1/system.d?"
            )),
            "UnknownMethod" | "UnknownInterface" | "UnknownProperty" => {
                Self::Protocol(sentence.trim_end_matches('.').to_owned())
            }
            "InvalidArgs" => Self::BadArgument(sentence.to_owned()),
            "LimitsExceeded" => Self::Busy(format!(
                "the bus has too much for the helper at once ({}); call again in a moment",
                sentence.trim_end_matches('.')
            )),
            _ if name.starts_with("org.freedesktop.systemd1.") => {
                Self::NotStarted(sentence.trim_end_matches('.').to_owned())
            }
            _ => Self::Failed(format!("{name}: {sentence}")),
        }
    }
}

impl zbus::DBusError for Error {
    fn create_reply(&self, call: &Header<'_>) -> zbus::Result<Message> {
        Message::error(call, self.name())?.build(&(self.to_string(), self.details().to_string()))
    }

    fn name(&self) -> ErrorName<'_> {
        let name = format!("org.hostwright.Error.{}", self.word().unwrap_or("Failed"));
        ErrorName::try_from(name)
            .unwrap_or_else(|_| ErrorName::from_static_str_unchecked("org.hostwright.Error.Failed"))
    }

    fn description(&self) -> Option<&str> {
        None
    }
}

impl From<zbus::Error> for Error {
    fn from(error: zbus::Error) -> Self {
        match error {
            zbus::Error::MethodError(name, sentence, message) => {
                let sentence = sentence.unwrap_or_default();
                match name.as_str().strip_prefix("org.hostwright.Error.") {
                    Some(word) => {
                        let details = message
                            .body()
                            .deserialize::<(String, String)>()
                            .ok()
                            .and_then(|(_, json)| serde_json::from_str(&json).ok())
                            .unwrap_or(Value::Null);
                        Self::from_wire(word, &sentence, &details)
                    }
                    None => Self::from_bus(name.as_str(), &sentence),
                }
            }
            zbus::Error::FDO(error) => match *error {
                zbus::fdo::Error::ZBus(error) => Self::from(error),
                other => {
                    let name = zbus::DBusError::name(&other).to_string();
                    let text = zbus::DBusError::description(&other).unwrap_or_default().to_owned();
                    Self::from_bus(&name, &text)
                }
            },
            zbus::Error::InputOutput(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::BrokenPipe
                        | std::io::ErrorKind::ConnectionReset
                        | std::io::ErrorKind::UnexpectedEof
                ) =>
            {
                Self::NoBus("the connection broke".to_owned())
            }
            zbus::Error::Variant(error) => Self::Protocol(error.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zbus::DBusError;

    fn all() -> Vec<Error> {
        let text = || "why; do this".to_owned();
        vec![
            Error::Refused(Refusal::new("headers-missing", "no headers", "install them")),
            Error::MachineChanged,
            Error::NotAuthorized(text()),
            Error::Dismissed,
            Error::CouldNotAsk(text()),
            Error::Busy(text()),
            Error::BadArgument(text()),
            Error::NoSuchRun(7),
            Error::Cancelled,
            Error::Leaving,
            Error::Failed(text()),
        ]
    }

    #[test]
    fn every_error_comes_back_from_the_wire_as_it_went() {
        let call = Message::method_call("/", "M").unwrap().build(&()).unwrap();
        for error in all() {
            let reply = error.create_reply(&call.header()).unwrap();
            let back = Error::from(zbus::Error::from(reply));
            assert_eq!(back, error);
        }
    }

    #[test]
    fn a_refusal_from_a_newer_helper_keeps_its_sentence() {
        let back = Error::from_wire("Refused", "no, because", &json!({"other": 1}));
        assert!(back.to_string().starts_with("no, because"), "{back}");
        let back = Error::from_wire("SomethingNew", "no, because", &Value::Null);
        assert_eq!(back, Error::Failed("no, because".to_owned()));
    }

    #[test]
    fn a_missing_helper_is_told_apart_from_one_that_does_not_start() {
        let unknown =
            Error::from_bus("org.freedesktop.DBus.Error.ServiceUnknown", "The name was not provided");
        assert_eq!(unknown, Error::NotInstalled);
        let crashed = Error::from_bus("org.freedesktop.DBus.Error.Spawn.ChildExited", "exited with status 1");
        assert_eq!(crashed, Error::NotStarted("exited with status 1".to_owned()));
        let full = Error::from_bus("org.freedesktop.DBus.Error.LimitsExceeded", "full message queue");
        assert!(matches!(full, Error::Busy(_)), "{full}");
        let denied = Error::from_bus("org.freedesktop.DBus.Error.AccessDenied", "Rejected send message");
        assert!(denied.to_string().contains("org.hostwright.Helper1.conf"), "{denied}");
    }
}
