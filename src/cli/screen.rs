// SPDX-License-Identifier: GPL-3.0-or-later
//! The one place that writes to standard output.
//!
//! A closed pipe (`hostwright runs | head -1`) must not end a run that is under way, nor be an error: what
//! cannot be written any more is dropped, and [`Screen::finish`] says what went wrong otherwise.

use super::errors::{Exit, Problem};
use super::look::Look;
use serde::Serialize;
use std::io::{IsTerminal, Write};

/// When colours are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Colour {
    // No doc comments: they would take six lines of every help text.
    #[default]
    Auto,
    Always,
    Never,
}

/// Standard output, and how to write on it.
#[derive(Debug)]
pub(crate) struct Screen {
    /// How text looks.
    pub(crate) look: Look,
    /// Whether documents are JSON.
    pub(crate) json: bool,
    /// How much is said: 0 to 3.
    pub(crate) verbose: u8,
    failed: Option<std::io::Error>,
}

impl Screen {
    /// The screen of this process.
    pub(crate) fn new(json: bool, colour: Colour, verbose: u8) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let look = Look { width: columns(), colour: wants_colour(colour, terminal), unicode: is_utf8() };
        Self { look, json, verbose, failed: None }
    }

    /// Writes text as it is.
    pub(crate) fn print(&mut self, text: &str) {
        self.write(text.as_bytes());
    }

    /// Writes bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        let mut out = std::io::stdout().lock();
        if let Err(e) = out.write_all(bytes).and_then(|()| out.flush()) {
            self.failed = Some(e);
        }
    }

    /// Writes one JSON document on one line.
    pub(crate) fn document<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Problem> {
        let mut text = serde_json::to_string(value).map_err(|e| Problem::internal("write JSON", &e))?;
        text.push('\n');
        self.print(&text);
        Ok(())
    }

    /// What the process ends with: `exit`, unless the output could not be written.
    pub(crate) fn finish(&mut self, exit: Exit) -> Result<Exit, Problem> {
        match self.failed.take() {
            Some(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Problem::new(Exit::Failed, "output", "The output could not be written", e.to_string())
                    .remedy("Look whether the disk it goes to is full."))
            }
            _ => Ok(exit),
        }
    }
}

/// Columns of the terminal: the one that standard output or standard error is, else `COLUMNS`, else 80.
fn columns() -> usize {
    let of =
        |fd: Option<(terminal_size::Width, _)>| fd.map(|(w, _): (_, terminal_size::Height)| usize::from(w.0));
    of(terminal_size::terminal_size_of(std::io::stdout()))
        .or_else(|| std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok()))
        .filter(|c| *c > 0)
        .unwrap_or(80)
}

/// Whether colours are used on a stream (<https://no-color.org>, `TERM=dumb`).
pub(crate) fn wants_colour(colour: Colour, terminal: bool) -> bool {
    match colour {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto => {
            terminal
                && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
                && std::env::var_os("TERM").is_none_or(|v| v != "dumb")
        }
    }
}

/// Whether the locale's character set is UTF-8 (locale(7): `LC_ALL`, then `LC_CTYPE`, then `LANG`).
fn is_utf8() -> bool {
    let set = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")).is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}
