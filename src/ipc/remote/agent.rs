// SPDX-License-Identifier: GPL-3.0-or-later
//! Polkit on another machine asks somebody here: its `pkttyagent` (pkttyagent(1)) runs there, on a terminal of ssh's,
//! for the process that stands for us on the bus there. What it asks comes out here as [`Prompt`]s.

use super::Link;
use crate::ipc::Error;
use async_channel::{Receiver, Sender, bounded};
use async_io::Timer;
use futures_lite::future;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::time::Duration;

/// Said on the terminal over there when the agent has registered, or could not.
const READY: &str = "hostwright-agent-ready";

/// How long it may take until the agent has registered.
const REGISTERS: Duration = Duration::from_secs(30);

/// How long after a question the agent is given to listen: it asks, then stops its terminal's echo, and with that drops
/// what came in between (`tcsetattr` with `TCSAFLUSH`, termios(3)). Somebody who types is slower, a program is not.
const LISTENS: Duration = Duration::from_millis(300);

/// A question of polkit's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// What is to be authorized and by whom, in lines; the last one is the question ("Password: ").
    pub text: String,
    /// Whether the answer must not be shown.
    pub secret: bool,
}

impl Prompt {
    /// The question alone ("Password").
    pub fn question(&self) -> &str {
        self.text.lines().last().unwrap_or_default().trim().trim_end_matches(':')
    }

    /// What stands before it, without the agent's frame.
    pub fn about(&self) -> String {
        let mut lines: Vec<&str> = self.text.lines().map(str::trim).collect();
        lines.pop();
        lines.retain(|l| !l.is_empty() && !l.starts_with("===="));
        lines.join("\n")
    }
}

/// A `pkttyagent` on the other machine; ended when dropped.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    input: ChildStdin,
    prompts: Receiver<Prompt>,
}

impl Agent {
    /// Starts it; back when it has registered with polkit.
    ///
    /// # Errors
    /// [`Error::CouldNotAsk`] when there is none over there.
    pub async fn start(link: &Link) -> Result<Self, Error> {
        let failed = |e: &dyn std::fmt::Display| {
            Error::CouldNotAsk(format!("nobody can be asked for a password for {}: {e}", link.place()))
        };
        let process = link.process_there().await?;
        // It closes descriptor 5 when it has registered and when it fails; the end of the pipe tells.
        let script = format!(
            "exec sh -c '{{ exec pkttyagent --notify-fd 5 --process {process} 5>&1 1>/dev/tty; }} | {{ cat; echo {READY}; }}'"
        );
        let mut command = link.session(&script);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|e| failed(&e))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed(&"it has no input"));
        };
        let (ready, registered) = bounded(1);
        let (asks, prompts) = bounded(4);
        std::thread::Builder::new()
            .name("agent".into())
            .spawn(move || listen(output, &ready, &asks))
            .map_err(|e| failed(&e))?;
        let agent = Self { child, input, prompts };
        let timeout = async {
            Timer::after(REGISTERS).await;
            Err(async_channel::RecvError)
        };
        match future::or(registered.recv(), timeout).await {
            Ok(()) => Ok(agent),
            Err(_) => {
                Err(failed(&"polkit's `pkttyagent` did not begin there; install polkit's own tools there"))
            }
        }
    }

    /// The next question; `None` when the agent has ended.
    pub async fn next(&self) -> Option<Prompt> {
        self.prompts.recv().await.ok()
    }

    /// The answer to the last question.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn answer(&mut self, text: &str) -> std::io::Result<()> {
        self.input.write_all(text.as_bytes())?;
        self.input.write_all(b"\n")?;
        self.input.flush()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Ctrl+C on its terminal: it tells polkit that nobody answers. Then the session ends.
        let _ = self.input.write_all(b"\x03");
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
        }
        let _ = self.child.wait();
    }
}

/// Reads the agent's terminal to its end.
fn listen(mut output: impl Read, ready: &Sender<()>, asks: &Sender<Prompt>) {
    let (mut shown, mut bytes) = (String::new(), [0; 1024]);
    while let Ok(n @ 1..) = output.read(&mut bytes) {
        shown.push_str(&String::from_utf8_lossy(&bytes[..n]).replace('\r', ""));
        if let Some(at) = shown.find(READY) {
            shown.drain(..(at + READY.len()).min(shown.len()));
            let _ = ready.try_send(());
        }
        if let Some(prompt) = prompt(&shown) {
            std::thread::sleep(LISTENS);
            if asks.send_blocking(prompt).is_err() {
                return;
            }
            shown.clear();
        }
        if shown.len() > 16 << 10 {
            shown.clear();
        }
    }
}

/// A question, when what is shown ends with one. Pure.
fn prompt(shown: &str) -> Option<Prompt> {
    let last = shown.rsplit('\n').next()?;
    if !last.ends_with(": ") {
        return None;
    }
    // "Choose identity to authenticate as (1-2): " is the one that is no secret.
    let secret = !last.contains("(1-");
    // What the terminal shows of itself.
    let text = regex::Regex::new("\u{1b}\\[[0-9;?]*[A-Za-z]").ok()?.replace_all(shown, "").into_owned();
    Some(Prompt { text: text.trim_start_matches('\n').to_owned(), secret })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: &str = "==== AUTHENTICATING FOR org.hostwright.undo ====\nAuthentication is required to take back run 3.\n\
        Authenticating as: Ada (ada)\nPassword: ";

    #[test]
    fn a_password_is_a_secret_and_the_choice_of_who_is_not() {
        let asked = prompt(ASKED).unwrap();
        assert!(asked.secret);
        assert_eq!(asked.question(), "Password");
        assert_eq!(
            asked.about(),
            "Authentication is required to take back run 3.\nAuthenticating as: Ada (ada)"
        );
        assert!(!prompt("Choose identity to authenticate as (1-2): ").unwrap().secret);
    }

    #[test]
    fn what_is_only_half_there_is_no_question_yet() {
        assert_eq!(prompt("==== AUTHENTICATING FOR x ====\nAuthenticating as: Ada"), None);
        assert_eq!(prompt("Password:"), None);
    }

    #[test]
    fn questions_come_after_it_is_ready() {
        let (ready, registered) = bounded(1);
        let (asks, prompts) = bounded(4);
        let text = format!("{READY}\r\n{}", ASKED.replace('\n', "\r\n"));
        listen(text.as_bytes(), &ready, &asks);
        assert!(registered.try_recv().is_ok());
        assert_eq!(prompts.try_recv().unwrap().question(), "Password");
    }
}
