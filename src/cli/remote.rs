// SPDX-License-Identifier: GPL-3.0-or-later
//! What the command line does for another machine: answers polkit's questions over there on this terminal, and
//! reaches the machine again when the connection was lost.

use super::watch::Voice;
use crate::host::Cancel;
use crate::ipc::Error;
use crate::ipc::blocking::Client;
use crate::ipc::remote::{Agent, Asking, Link, Place, Prompt};
use async_io::block_on;
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::time::{Duration, Instant};

/// For how long a lost machine is looked for; a reboot of it takes about as long.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// Who answers ssh's questions.
pub(super) fn asking(can_ask: bool) -> Asking {
    if can_ask { Asking::Terminal } else { Asking::Nobody }
}

/// Answers the questions of an agent on the other machine, in a thread of its own.
pub(super) struct Asker;

impl Asker {
    /// Starts it; none without a terminal.
    pub(super) fn start(link: &Link, voice: &Voice) -> Result<Option<Self>, Error> {
        let Ok(terminal) = OpenOptions::new().read(true).write(true).open("/dev/tty") else {
            return Ok(None);
        };
        let agent = block_on(Agent::start(link))?;
        let (voice, place) = (voice.clone(), link.place().to_string());
        let work = move || answer_all(agent, &voice, &place, &terminal);
        let started = std::thread::Builder::new().name("asker".into()).spawn(work);
        started.map(|_| Some(Self)).map_err(|e| Error::CouldNotAsk(e.to_string()))
    }
}

fn answer_all(mut agent: Agent, voice: &Voice, place: &str, terminal: &File) {
    while let Some(prompt) = block_on(agent.next()) {
        let question = format!("{}\n{} ({place}): ", prompt.about(), prompt.question());
        voice.say(&question);
        match read(terminal, &prompt) {
            Ok(answer) if agent.answer(&answer).is_ok() => {}
            // Its end tells polkit that nobody answers.
            _ => return,
        }
        if prompt.secret {
            voice.say("\n");
        }
    }
}

/// A line from the terminal; a secret is not shown.
fn read(terminal: &File, prompt: &Prompt) -> std::io::Result<String> {
    let before = tcgetattr(terminal)?;
    if prompt.secret {
        let mut quiet = before.clone();
        quiet.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(terminal, SetArg::TCSAFLUSH, &quiet)?;
    }
    let mut line = String::new();
    let read = BufReader::new(terminal).read_line(&mut line);
    tcsetattr(terminal, SetArg::TCSADRAIN, &before)?;
    (&*terminal).flush()?;
    if read? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches('\n').to_owned())
}

/// Tries again and again, less and less often. `None`: it was not reached in time, or nobody wants it any more.
pub(super) fn reach_again(place: &Place, asking: &Asking, cancel: &Cancel) -> Option<Client> {
    let (began, mut pause) = (Instant::now(), Duration::from_millis(500));
    while began.elapsed() < PATIENCE {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            if cancel.is_cancelled() {
                return None;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        if let Ok(client) = Client::connect_to(place, asking) {
            return Some(client);
        }
        pause = (pause * 2).min(Duration::from_secs(15));
    }
    None
}
