// SPDX-License-Identifier: GPL-3.0-or-later
//! Asks a person: yes or no, and the one-time password of a key's enrolment.

use super::errors::{Exit, Problem};
use super::watch::Voice;
use crate::engine::Secret;
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use std::io::{BufRead, IsTerminal, Write};

/// Shortest and longest one-time password that `mokutil --import` and MokManager take (mokutil(1)).
const PASSWORD: std::ops::RangeInclusive<usize> = 8..=256;

/// Whether somebody is there to be asked.
pub(crate) fn can_ask(json: bool) -> bool {
    !json && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Refuses at once when a confirmation will be needed and nobody can give it.
///
/// # Errors
/// [`Exit::Usage`] with what to do.
pub(crate) fn need_consent(yes: bool, json: bool, what: &str) -> Result<(), Problem> {
    if yes || can_ask(json) {
        return Ok(());
    }
    let why = if json { "With --json nobody is asked" } else { "There is no terminal to ask on" };
    Err(Problem::usage(format!("{why}, so nothing is {what} without --yes."))
        .remedy("Look at it first with `plan` or --check, then add --yes."))
}

/// Asks a question that defaults to no.
///
/// # Errors
/// When standard input cannot be read.
pub(crate) fn ask(voice: &Voice, question: &str) -> Result<bool, Problem> {
    voice.say(&format!("{question} [y/N] "));
    let answer = line(voice)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Asks for a word to be typed, where a single key would be pressed too easily. One attempt.
///
/// # Errors
/// When standard input cannot be read.
pub(crate) fn ask_for(voice: &Voice, question: &str, word: &str) -> Result<bool, Problem> {
    voice.say(&format!("{question} "));
    let answer = line(voice)?;
    if answer.trim() == word {
        return Ok(true);
    }
    if !answer.trim().is_empty() {
        voice.say(&format!("That is not {word}.\n"));
    }
    Ok(false)
}

/// One line of standard input.
fn line(voice: &Voice) -> Result<String, Problem> {
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(|e| {
        Problem::new(Exit::Failed, "input", "Standard input could not be read", e.to_string())
    })?;
    if !answer.ends_with('\n') {
        voice.say("\n");
    }
    Ok(answer)
}

/// Whether MokManager will take this password at the next boot. It knows the US keyboard layout only, so
/// that other characters than these could not be typed there.
pub(crate) fn check_password(password: &[u8]) -> Result<(), String> {
    if !PASSWORD.contains(&password.len()) {
        return Err(format!(
            "The one-time password must have {} to {} characters; this one has {}.",
            PASSWORD.start(),
            PASSWORD.end(),
            password.len()
        ));
    }
    if !password.iter().all(|b| (0x20..0x7f).contains(b)) {
        return Err("The one-time password may have ASCII characters only: it is typed before any keyboard \
                    layout is loaded."
            .into());
    }
    Ok(())
}

/// Asks for the one-time password twice, without showing it.
///
/// # Errors
/// When nobody can be asked, or the two differ three times.
pub(crate) fn mok_password(voice: &Voice, json: bool) -> Result<Secret, Problem> {
    if !can_ask(json) {
        return Err(Problem::usage(
            "--enroll needs a one-time password, and there is no terminal to ask on.",
        )
        .remedy("Put it into a file that only you can read and add --enroll-password-file FILE."));
    }
    let look = voice.look;
    voice.say(&look.wrap(
        "Choose a one-time password. At the next boot a blue screen (MOK Manager) asks for it once: pick \
         “Enroll MOK”, then “Continue”, “Yes”, and type it. The keyboard is the US one there, so letters and \
         digits are the safe choice.",
        "",
        "",
    ));
    for _ in 0..3 {
        let first = hidden(voice, "One-time password: ")?;
        if let Err(why) = check_password(first.expose()) {
            voice.say(&look.wrap(&why, "", ""));
            continue;
        }
        if hidden(voice, "The same again: ")? == first {
            return Ok(first);
        }
        voice.say("The two are not the same.\n");
    }
    Err(Problem::new(Exit::Cancelled, "cancelled", "No password was given", "Nothing was changed."))
}

/// Reads a line without echo.
fn hidden(voice: &Voice, prompt: &str) -> Result<Secret, Problem> {
    let failed = |e: &dyn std::fmt::Display| {
        Problem::new(Exit::Failed, "input", "The password could not be read", e.to_string())
    };
    let stdin = std::io::stdin();
    let before = tcgetattr(&stdin).map_err(|e| failed(&e))?;
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &silent).map_err(|e| failed(&e))?;
    super::watch::restore_terminal_with(before.clone());
    voice.say(prompt);
    let _ = std::io::stderr().flush();
    let mut line = Vec::with_capacity(512);
    let read = stdin.lock().read_until(b'\n', &mut line);
    let back = tcsetattr(&stdin, SetArg::TCSAFLUSH, &before);
    super::watch::terminal_restored();
    voice.say("\n");
    read.map_err(|e| failed(&e))?;
    back.map_err(|e| failed(&e))?;
    while line.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
        line.pop();
    }
    Ok(Secret::new(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_mok_manager_could_not_take_is_refused_now() {
        assert!(check_password(b"short").is_err());
        assert!(check_password(&[b'a'; 257]).is_err());
        assert!(check_password("pässword".as_bytes()).is_err());
        assert!(check_password(b"correct horse 1").is_ok());
    }
}
