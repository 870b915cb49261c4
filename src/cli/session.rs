// SPDX-License-Identifier: GPL-3.0-or-later
//! What every subcommand has at hand: the screen, standard error, the watch for Ctrl+C, the machine.

use super::args::Global;
use super::errors::{Exit, Problem};
use super::look::Look;
use super::machine::{Machine, Scratch};
use super::progress;
use super::screen::{Screen, wants_colour};
use super::watch::{Voice, Watch};
use crate::detect::{self, Facts, Topic};
use crate::host::{Command, Host};
use crate::ipc::remote::Place;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// One call of the command line.
pub(crate) struct Session {
    /// Standard output.
    pub(crate) screen: Screen,
    /// Standard error.
    pub(crate) voice: Voice,
    /// Ctrl+C.
    pub(crate) watch: Watch,
    root: Option<PathBuf>,
    /// Another machine.
    place: Option<Place>,
}

impl Session {
    /// The session of this process.
    pub(crate) fn new(global: &Global) -> Result<Self, Problem> {
        let screen = Screen::new(global.json, global.color, global.verbose);
        let colour = wants_colour(global.color, std::io::stderr().is_terminal());
        let look = Look { colour, ..screen.look };
        // The log of Hostwright itself and bars would write over each other.
        let voice = progress::voice(global.json, look, global.verbose < 2);
        let shown = global.root.as_deref().map(|r| Command::new(r.display().to_string()).display());
        let elsewhere = global.host.as_ref().map(|place| format!("--host {place}"));
        let watch = Watch::start(voice.clone(), shown.map(|root| format!("--root {root}")).or(elsewhere))?;
        Ok(Self { screen, voice, watch, root: global.root.clone(), place: global.host.clone() })
    }

    /// How text looks on standard output.
    pub(crate) fn look(&self) -> Look {
        self.screen.look
    }

    /// Whether documents are JSON.
    pub(crate) fn json(&self) -> bool {
        self.screen.json
    }

    /// The scratch root, when one is worked on.
    pub(crate) fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// The machine as this process sees it: for looking, and for work on a scratch root.
    ///
    /// # Errors
    /// When `--root` is no directory that can be opened, or with `--host`: this process sees only its own machine.
    pub(crate) fn host(&self) -> Result<Host, Problem> {
        if let Some(place) = &self.place {
            return Err(Problem::usage(format!(
                "This command looks at the machine it runs on, not at {place}."
            ))
            .remedy(format!("Log in there and do it there: {}", place.login())));
        }
        match &self.root {
            None => Ok(Host::machine()?),
            Some(dir) => Host::scratch(dir).map_err(|e| {
                let why = e.source.to_string();
                Problem::new(Exit::Usage, "root", &format!("--root {} cannot be used", dir.display()), why)
                    .remedy("Give an existing directory that you can read and write.")
            }),
        }
    }

    /// Who carries out what is asked for.
    ///
    /// # Errors
    /// When `--root` cannot be opened or the helper cannot be reached.
    pub(crate) fn machine(&self) -> Result<Box<dyn Machine>, Problem> {
        self.machine_for(true)
    }

    /// The same, for a look that is not worth a password.
    ///
    /// # Errors
    /// As [`Session::machine`].
    pub(crate) fn machine_unasked(&self) -> Result<Box<dyn Machine>, Problem> {
        self.machine_for(false)
    }

    fn machine_for(&self, ask: bool) -> Result<Box<dyn Machine>, Problem> {
        match &self.root {
            Some(_) => Ok(Box::new(Scratch::new(self.host()?))),
            None => super::helper::machine(&self.voice, ask, self.place.as_ref()),
        }
    }

    /// The facts: this process looks itself, or asks the helper of another machine.
    ///
    /// # Errors
    /// When the root cannot be opened or the other machine cannot be asked.
    pub(crate) fn facts(&self, only: Option<&[Topic]>) -> Result<Facts, Problem> {
        match &self.place {
            None => Ok(detect::gather(&self.host()?, only)),
            Some(_) => self.machine()?.facts(),
        }
    }

    /// Which other machine is asked.
    pub(crate) fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// A text of the library whose commands (`hostwright undo 7`) are meant for this machine.
    pub(crate) fn named(&self, text: &str) -> String {
        if self.root.is_none() && self.place.is_none() {
            return text.to_owned();
        }
        let ours = self.command("");
        // What names the machine already keeps its name.
        text.replace("`hostwright ", &format!("`{ours}"))
            .replace(&format!("{ours}--host "), "hostwright --host ")
    }

    /// Where a path of the machine is for the one who sits here.
    pub(crate) fn outside(&self, path: &str) -> String {
        match &self.root {
            Some(root) => root.join(path.trim_start_matches('/')).display().to_string(),
            None => path.to_owned(),
        }
    }

    /// A command of ours for the same machine, as one could paste it.
    pub(crate) fn command(&self, words: &str) -> String {
        match &self.root {
            Some(root) => {
                format!("hostwright --root {} {words}", Command::new(root.display().to_string()).display())
            }
            None => match &self.place {
                Some(place) => format!("hostwright --host {place} {words}"),
                None => format!("hostwright {words}"),
            },
        }
    }
}
