// SPDX-License-Identifier: GPL-3.0-or-later
//! The ssh that is the connection: how it is started, what it says, how it ends.
//!
//! It is not started through [`host::Runner`](crate::host::Runner): it needs the person's environment (agent, home,
//! display), may ask on the terminal, and lives beside the calls instead of inside one.

use super::{Asking, Place};
use crate::ipc::Error;
use async_channel::{Receiver, bounded};
use async_io::Timer;
use futures_lite::future;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use zbus::Connection;

/// How many of ssh's last lines are kept; what it says of a host key that changed has fourteen.
const LINES: usize = 30;

/// How long ssh may take to say why after the connection is gone.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What is known of the ssh.
#[derive(Debug, Default)]
struct Said {
    lines: Vec<String>,
    /// Its exit status, when it ended; ssh's own failures are 255.
    status: Option<i32>,
}

/// A connection to another machine.
#[derive(Debug)]
pub struct Link {
    place: Place,
    asking: Asking,
    connection: Connection,
    said: Arc<Mutex<Said>>,
    /// Closed when ssh has ended.
    ended: Receiver<()>,
    control: Option<Control>,
}

/// Where further sessions find this connection, so that nobody types a password twice; removed when it is over.
#[derive(Debug)]
struct Control(PathBuf);

impl Control {
    fn new() -> Option<Self> {
        let folder = PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR")?).join("hostwright");
        std::fs::DirBuilder::new().recursive(true).create(&folder).ok()?;
        let unique = tempfile::Builder::new().prefix("ssh-").tempdir_in(&folder).ok()?;
        Some(Self(unique.keep()))
    }

    fn socket(&self) -> String {
        self.0.join("s").display().to_string()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What all sessions with a machine have in common. `control`: the socket of the connection, and whether it is to be made.
fn ssh(asking: &Asking, control: Option<(&Control, bool)>) -> Command {
    // Ctrl+C is for this program, which asks the run to stop over just this connection.
    let mut command = Command::new("env");
    command.args(["--ignore-signal=INT", "ssh", "-x"]);
    let mut options = vec![
        "ConnectTimeout=20".to_owned(),
        // A machine that is cut off is noticed within half a minute.
        "ServerAliveInterval=10".to_owned(),
        "ServerAliveCountMax=2".to_owned(),
        "ClearAllForwardings=yes".to_owned(),
        "RemoteCommand=none".to_owned(),
    ];
    match control {
        Some((control, make)) => {
            options.push(format!("ControlPath={}", control.socket()));
            options.push(format!("ControlMaster={}", if make { "yes" } else { "no" }));
        }
        None => options.push("ControlPath=none".to_owned()),
    }
    if *asking == Asking::Nobody {
        options.push("BatchMode=yes".to_owned());
    }
    for option in options {
        command.args(["-o", &option]);
    }
    if let Asking::Program(program) = asking {
        if std::env::var_os("SSH_ASKPASS").is_none() {
            command.env("SSH_ASKPASS", program).env("HOSTWRIGHT_ASKPASS", "1");
        }
        command.env("SSH_ASKPASS_REQUIRE", "force");
    }
    command
}

impl Link {
    pub(in crate::ipc) async fn connect(place: &Place, asking: &Asking) -> Result<(Connection, Self), Error> {
        let said = Arc::new(Mutex::new(Said::default()));
        let unreachable =
            |why: String| Error::Unreachable { machine: place.to_string(), why, command: place.login() };
        let (ours, theirs) = UnixStream::pair().map_err(|e| unreachable(e.to_string()))?;
        let control = Control::new();
        let mut command = ssh(asking, control.as_ref().map(|c| (c, true)));
        command.arg("-T").args(place.arguments()).arg("systemd-stdio-bridge");
        let input = theirs.try_clone().map_err(|e| unreachable(e.to_string()))?;
        command.stdin(OwnedFd::from(input)).stdout(OwnedFd::from(theirs)).stderr(Stdio::piped());
        let child = command.spawn().map_err(|e| unreachable(format!("ssh could not be started: {e}")))?;
        // Its ends of the socket must be its alone, or nobody would notice its end.
        drop(command);
        let ended = watch(child, said.clone());
        let connecting = async {
            zbus::connection::Builder::async_io_unix_stream(ours)
                .build()
                .await
                .map_err(|e| unreachable(e.to_string()))
        };
        let over = async {
            let _ = ended.recv().await;
            Err(unreachable(String::new()))
        };
        match future::or(connecting, over).await {
            Ok(connection) => {
                let link = Self {
                    place: place.clone(),
                    asking: asking.clone(),
                    connection: connection.clone(),
                    said,
                    ended,
                    control,
                };
                Ok((connection, link))
            }
            Err(error) => {
                last_words(&ended).await;
                Err(why_not(place, &said, &error))
            }
        }
    }

    /// Which machine it leads to.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether the connection is gone.
    pub fn is_over(&self) -> bool {
        self.connection.is_closed()
    }

    /// What an error of a call means here: the connection may be gone, or the helper not there.
    pub(in crate::ipc) async fn explain(&self, error: Error) -> Error {
        match error {
            Error::NotInstalled => {
                Error::NotInstalledThere { machine: self.place.to_string(), command: self.place.install() }
            }
            Error::NoBus(why) | Error::Failed(why) if self.is_over() => self.lost(&why).await,
            Error::Gone if self.is_over() => self.lost("the connection broke").await,
            other => other,
        }
    }

    async fn lost(&self, why: &str) -> Error {
        last_words(&self.ended).await;
        let said = last(&self.said.lock().unwrap_or_else(PoisonError::into_inner).lines);
        Error::Lost { machine: self.place.to_string(), why: said.unwrap_or_else(|| why.to_owned()) }
    }

    /// A further session on the same machine, with a terminal there; without a second question for the password where
    /// the first connection can be shared.
    pub(super) fn session(&self, remote_command: &str) -> Command {
        let mut command = ssh(&self.asking, self.control.as_ref().map(|c| (c, false)));
        command.arg("-tt").args(self.place.arguments()).arg(remote_command);
        command
    }

    /// The process that stands for us on the other machine's bus.
    pub(super) async fn process_there(&self) -> Result<u32, Error> {
        let bus = zbus::fdo::DBusProxy::new(&self.connection).await?;
        let name =
            self.connection.unique_name().ok_or_else(|| Error::Protocol("no name on the bus".to_owned()))?;
        Ok(bus.get_connection_unix_process_id(name.as_ref().into()).await.map_err(zbus::Error::from)?)
    }
}

/// Gives ssh a moment to end and to say why.
async fn last_words(ended: &Receiver<()>) {
    let over = async {
        let _ = ended.recv().await;
    };
    let late = async {
        Timer::after(LAST_WORDS).await;
    };
    future::or(over, late).await;
}

/// Listens to ssh until it ends. The receiver is closed then.
fn watch(mut child: Child, said: Arc<Mutex<Said>>) -> Receiver<()> {
    let (sender, ended) = bounded::<()>(1);
    let work = move || {
        if let Some(stderr) = child.stderr.take() {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let line: String = line.chars().filter(|c| !c.is_control()).take(500).collect();
                let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                if said.lines.len() == LINES {
                    said.lines.remove(0);
                }
                said.lines.push(line);
            }
        }
        let status = child.wait().ok().and_then(|s| s.code());
        said.lock().unwrap_or_else(PoisonError::into_inner).status = status.or(Some(-1));
        drop(sender);
    };
    // Without a thread nobody hears the reason; the connection itself works.
    let _ = std::thread::Builder::new().name("ssh".into()).spawn(work);
    ended
}

/// The last thing that ssh said that is a reason.
fn last(lines: &[String]) -> Option<String> {
    let noise = |line: &&String| {
        line.trim().is_empty() || line.starts_with("Warning: Permanently added") || line.starts_with("debug")
    };
    let line = lines.iter().rev().find(|l| !noise(l))?;
    let line = line.strip_prefix("ssh: ").unwrap_or(line);
    Some(line.trim_end_matches(['.', '\r']).to_owned())
}

/// Why there is no connection, from what ssh said.
fn why_not(place: &Place, said: &Mutex<Said>, error: &Error) -> Error {
    let said = said.lock().unwrap_or_else(PoisonError::into_inner);
    reason(place, &said.lines, said.status, error)
}

/// The same; pure.
fn reason(place: &Place, lines: &[String], status: Option<i32>, error: &Error) -> Error {
    let (machine, command) = (place.to_string(), place.login());
    // The shell over there: 127 is a command that it did not find.
    if status == Some(127)
        || lines.iter().any(|l| l.contains("systemd-stdio-bridge") && l.contains("not found"))
    {
        return Error::NoBridge { machine, command };
    }
    let changed = lines.iter().any(|l| l.contains("REMOTE HOST IDENTIFICATION HAS CHANGED"));
    let why = if changed {
        "its host key is another than the one that is known: somebody may be in between, or it was installed anew".to_owned()
    } else {
        match (last(lines), error) {
            (Some(line), _) => line,
            (None, Error::Unreachable { why, .. }) if !why.is_empty() => why.clone(),
            (None, _) => "ssh ended without a word".to_owned(),
        }
    };
    Error::Unreachable { machine, why, command }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[&str], status: i32) -> String {
        let lines: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
        let place = "ada@desk".parse().unwrap();
        reason(&place, &lines, Some(status), &Error::NoBus(String::new())).to_string()
    }

    #[test]
    fn what_ssh_said_last_is_the_reason() {
        let text = told(
            &["Warning: Permanently added 'desk'.", "ada@desk: Permission denied (publickey).", ""],
            255,
        );
        assert!(text.contains("Permission denied (publickey). Try it by hand: `ssh ada@desk`"), "{text}");
        let text = told(&["ssh: Could not resolve hostname desk: Name or service not known"], 255);
        assert!(
            text.starts_with("the machine ada@desk cannot be reached: Could not resolve hostname"),
            "{text}"
        );
    }

    #[test]
    fn another_host_key_and_a_missing_bridge_are_told_apart() {
        let text = told(
            &["@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @", "Host key verification failed."],
            255,
        );
        assert!(text.contains("its host key is another"), "{text}");
        let text = told(&["sh: 1: systemd-stdio-bridge: not found"], 127);
        assert!(text.contains("has no `systemd-stdio-bridge`"), "{text}");
    }

    #[test]
    fn nobody_is_asked_when_nobody_is_there_and_forwardings_are_left_out() {
        let command = ssh(&Asking::Nobody, None);
        let shown: Vec<_> = command.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
        for option in ["BatchMode=yes", "ClearAllForwardings=yes", "ControlPath=none", "RemoteCommand=none"] {
            assert!(shown.iter().any(|a| a == option), "{option} is not in {shown:?}");
        }
        let asked = ssh(&Asking::Program("/opt/askpass".into()), None);
        let required = asked.get_envs().any(|(name, value)| name == "SSH_ASKPASS_REQUIRE" && value.is_some());
        assert!(required && !asked.get_args().any(|a| a == "BatchMode=yes"));
    }
}
