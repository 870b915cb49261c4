// SPDX-License-Identifier: GPL-3.0-or-later
//! The helper's own command line. It is written by whoever installs it (root), never by a caller.

use std::path::PathBuf;
use std::time::Duration;

/// How the helper is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// A scratch root instead of the running machine (`--root DIR`), for the practice host.
    pub root: Option<PathBuf>,
    /// How long it stays without work (`--idle-exit SECONDS`, 30 if nothing else is said).
    pub idle_exit: Duration,
    /// Whether it tells more in its log (`--verbose`).
    pub verbose: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { root: None, idle_exit: Duration::from_secs(30), verbose: false }
    }
}

/// A command line that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0}. Usage: hostwright-helper [--root DIR] [--idle-exit SECONDS] [--verbose]; it is started by the system bus"
)]
pub struct OptionsError(String);

impl Options {
    /// Reads the arguments (without the program's name). Pure.
    ///
    /// # Errors
    /// When one is unknown, or its value is missing or no number.
    pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, OptionsError> {
        let mut options = Self::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| OptionsError(format!("{arg} needs a value")));
            match arg.as_str() {
                "--root" => options.root = Some(PathBuf::from(value()?)),
                "--idle-exit" => {
                    let text = value()?;
                    let seconds: f64 = text.parse().map_err(|_| {
                        OptionsError(format!("--idle-exit needs a number of seconds, not {text}"))
                    })?;
                    options.idle_exit = Duration::try_from_secs_f64(seconds)
                        .map_err(|_| OptionsError(format!("--idle-exit cannot be {text}")))?;
                }
                "--verbose" => options.verbose = true,
                other => return Err(OptionsError(format!("{other} is not known"))),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options, OptionsError> {
        Options::parse(args.iter().map(|a| (*a).to_owned()))
    }

    #[test]
    fn each_option_is_understood() {
        assert_eq!(parse(&[]).unwrap(), Options::default());
        let options = parse(&["--root", "/x", "--idle-exit", "0.5", "--verbose"]).unwrap();
        let expected =
            Options { root: Some("/x".into()), idle_exit: Duration::from_millis(500), verbose: true };
        assert_eq!(options, expected);
    }

    #[test]
    fn nonsense_is_refused_and_the_usage_shown() {
        for args in [&["--rot"][..], &["--root"], &["--idle-exit", "x"], &["--idle-exit", "-1"]] {
            assert!(parse(args).unwrap_err().to_string().contains("Usage:"), "{args:?}");
        }
    }
}
