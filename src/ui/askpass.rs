// SPDX-License-Identifier: GPL-3.0-or-later
//! ssh's questions in a window (ssh(1), `SSH_ASKPASS`): this program is started by ssh with the question as its argument,
//! and prints the answer. Passwords and passphrases are typed; an unknown host key is confirmed or not.

use super::i18n::gettext;
use adw::prelude::*;
use std::cell::RefCell;
use std::io::Write;
use std::process::ExitCode;
use std::rc::Rc;

/// Says that this program was started as the askpass of its own ssh.
pub(super) const VARIABLE: &str = "HOSTWRIGHT_ASKPASS";

/// What ssh wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Something to type that is not shown.
    Secret,
    /// Yes or no, as words.
    YesOrNo,
    /// Yes or no, as exit status.
    Confirmation,
    /// Nothing: it only tells, until it ends this program.
    Nothing,
}

/// What a question of ssh's is. Pure.
fn wanted(question: &str, hint: Option<&str>) -> Wanted {
    match hint {
        Some("confirm") => Wanted::Confirmation,
        Some("none") => Wanted::Nothing,
        _ if question.contains("(yes/no") => Wanted::YesOrNo,
        _ => Wanted::Secret,
    }
}

/// Asks, prints the answer, and ends.
pub(super) fn main() -> ExitCode {
    if adw::init().is_err() {
        return ExitCode::FAILURE;
    }
    let question = std::env::args().nth(1).unwrap_or_default();
    let hint = std::env::var("SSH_ASKPASS_PROMPT").ok();
    match ask(&question, wanted(&question, hint.as_deref())) {
        Some(answer) if writeln!(std::io::stdout(), "{answer}").is_ok() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn ask(question: &str, wanted: Wanted) -> Option<String> {
    let dialog = adw::MessageDialog::builder()
        .title("Hostwright")
        .heading(match wanted {
            Wanted::Secret => gettext("Password for Another Machine"),
            Wanted::YesOrNo | Wanted::Confirmation => gettext("Trust This Machine?"),
            Wanted::Nothing => gettext("Waiting for Your Key"),
        })
        // ssh asks in words that a terminal needs.
        .body(question.replace("(yes/no/[fingerprint])?", "").replace("(yes/no)?", "").trim())
        .close_response("no")
        .default_response(if wanted == Wanted::Secret { "yes" } else { "no" })
        .build();
    dialog.add_response("no", &gettext("Cancel"));
    let (field, entry) = super::dialogs::password_field(&gettext("Password"));
    match wanted {
        Wanted::Secret => {
            dialog.set_extra_child(Some(&field));
            dialog.add_response("yes", &gettext("Log In"));
            dialog.set_response_appearance("yes", adw::ResponseAppearance::Suggested);
        }
        Wanted::YesOrNo | Wanted::Confirmation => dialog.add_response("yes", &gettext("Trust")),
        Wanted::Nothing => {}
    }
    // A password is forgotten by its entry as soon as the window is gone.
    let response = Rc::new(RefCell::new((String::new(), String::new())));
    let main_loop = gtk::glib::MainLoop::new(None, false);
    dialog.connect_response(None, {
        let (response, main_loop, entry) = (response.clone(), main_loop.clone(), entry.clone());
        move |_, said| {
            response.replace((said.to_owned(), entry.text().to_string()));
            main_loop.quit();
        }
    });
    dialog.present();
    if wanted == Wanted::Secret {
        entry.grab_focus();
    }
    main_loop.run();
    let (said, typed) = response.take();
    let yes = said == "yes";
    match wanted {
        Wanted::Secret => yes.then_some(typed),
        Wanted::YesOrNo => Some(if yes { "yes" } else { "no" }.to_owned()),
        Wanted::Confirmation => yes.then(String::new),
        Wanted::Nothing => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_questions_of_ssh_are_told_apart() {
        let unknown = "Are you sure you want to continue connecting (yes/no/[fingerprint])? ";
        assert_eq!(wanted(unknown, None), Wanted::YesOrNo);
        assert_eq!(wanted("ada@desk's password: ", None), Wanted::Secret);
        assert_eq!(wanted("Allow use of key /home/ada/.ssh/id?", Some("confirm")), Wanted::Confirmation);
        assert_eq!(wanted("Confirm user presence for key", Some("none")), Wanted::Nothing);
    }
}
