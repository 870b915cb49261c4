// SPDX-License-Identifier: GPL-3.0-or-later
//! What the window asks before it does something.

use super::Window;
use crate::profile;
use crate::ui::dialogs::{self, Question};
use crate::ui::flows::vmware::Then;
use crate::ui::i18n::gettext;
use crate::ui::machine::elsewhere;
use crate::ui::pages::undo;
use adw::prelude::*;
use adw::subclass::prelude::*;
use gtk::glib;

impl Window {
    /// Asks whether the guest that runs may end with the window.
    pub(in crate::ui) fn ask_to_close(&self) {
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = window)]
            self,
            async move {
                let question = Question {
                    heading: &gettext("A guest of the lab is running"),
                    body: &gettext(
                        "It is switched off when this window closes. What it said so far stays in its report.",
                    ),
                    no: &gettext("Keep It Running"),
                    yes: &gettext("End It and Close"),
                    destructive: true,
                };
                if !dialogs::ask(&window, &question).await {
                    return;
                }
                let lab = window.imp().lab.get();
                match lab.filter(|l| l.is_running()) {
                    Some(lab) => {
                        window.imp().closing.set(true);
                        lab.stop();
                    }
                    None => window.close(),
                }
            }
        ));
    }

    /// Asks whether what is measured may end with the window.
    pub(in crate::ui) fn ask_to_end_bench(&self) {
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = window)]
            self,
            async move {
                let question = Question {
                    heading: &gettext("Something is being measured"),
                    body: &gettext(
                        "It ends when this window closes, and what was measured until then is not kept.",
                    ),
                    no: &gettext("Go On"),
                    yes: &gettext("End It and Close"),
                    destructive: true,
                };
                if !dialogs::ask(&window, &question).await {
                    return;
                }
                match window.imp().bench.get().filter(|b| b.is_running()) {
                    Some(bench) => {
                        window.imp().closing.set(true);
                        bench.stop();
                    }
                    None => window.close(),
                }
            }
        ));
    }

    /// Asks whether to restart the machine, and has it restarted.
    pub(in crate::ui) fn ask_to_restart(&self) {
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = window)]
            self,
            async move {
                let question = Question {
                    heading: &gettext("Restart this machine?"),
                    body: &gettext("Save your work in all programs first."),
                    no: &gettext("Not Now"),
                    yes: &gettext("Restart"),
                    destructive: true,
                };
                if dialogs::ask(&window, &question).await
                    && let Err(problem) = window.imp().context.machine.restart().await
                {
                    window.tell(&problem);
                }
            }
        ));
    }

    /// Shows what taking a run back would do, and has it done.
    pub(in crate::ui) fn ask_to_undo(&self, run: u32, then: Vec<Then>) {
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = window)]
            self,
            async move {
                let machine = window.imp().context.machine.clone();
                match machine.undo_preview(run).await {
                    Ok(preview) => undo::show(
                        &window,
                        &preview,
                        glib::clone!(
                            #[weak]
                            window,
                            move || window.undo(run, then.clone())
                        ),
                    ),
                    Err(problem) => window.tell(&problem),
                }
            }
        ));
    }

    /// Asks for a name, and saves these choices under it.
    pub(in crate::ui) fn ask_to_save(&self, flow: String, choices: serde_json::Value) {
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = window)]
            self,
            async move {
                let heading = gettext("Save as Profile");
                let Some(name) = dialogs::ask_name(&window, &heading, "").await else { return };
                match elsewhere(move || profile::save(&name, &flow, &choices)).await {
                    Ok(()) => window.toast(&gettext("Saved")),
                    Err(problem) => window.tell(&problem),
                }
            }
        ));
    }
}
