// SPDX-License-Identifier: GPL-3.0-or-later
//! One tunable: picked or not, with which value; opened, what it does, when it helps and when it harms.

use crate::flows::tuning::catalogue::Risk;
use crate::flows::tuning::{Evaluated, Standing};
use crate::tell::Mark;
use crate::ui::actions::Action;
use crate::ui::i18n::{gettext, gettext_f, told};
use crate::ui::widgets::{expander, mark_icon, named, text_row};
use adw::prelude::*;
use gtk::glib;

/// A row, and what a person can pick in it.
#[derive(Debug, Clone)]
pub(super) struct TunableRow {
    /// The tunable's name.
    pub(super) id: String,
    /// What was proposed.
    proposed: Option<String>,
    /// The row.
    pub(super) row: adw::ExpanderRow,
    /// Whether it is picked; none where it cannot be.
    check: Option<gtk::CheckButton>,
    value: Option<adw::EntryRow>,
}

impl TunableRow {
    /// The row of a tunable.
    pub(super) fn new(tunable: &Evaluated) -> Self {
        let row = expander(&tunable.title, &line(tunable));
        let can = tunable.standing == Standing::CanBeSet;
        let check = can.then(|| {
            let check =
                gtk::CheckButton::builder().active(tunable.preselected).valign(gtk::Align::Center).build();
            named(&check, &gettext_f("Set: {title}", &[("title", &told(&tunable.title))]));
            check.connect_toggled(|check| {
                let _ = check.activate_action(Action::PageChanged.full(), None);
            });
            row.add_prefix(&check);
            check
        });
        if check.is_none() {
            row.add_prefix(&mark_icon(match tunable.standing {
                Standing::AlreadySo => Mark::Good,
                Standing::CouldNotLook => Mark::Unknown,
                Standing::CanBeSet | Standing::NotApplicable => Mark::Neutral,
            }));
        }
        let value = can.then(|| {
            // Translators: the value that a tunable gets; what is proposed stands in the field.
            let entry = adw::EntryRow::builder().title(gettext("Value")).build();
            entry.set_text(tunable.proposed.as_deref().unwrap_or_default());
            entry.connect_changed(glib::clone!(
                #[strong]
                check,
                move |_| {
                    // Who writes a value means to set it.
                    if let Some(check) = &check {
                        check.set_active(true);
                    }
                }
            ));
            row.add_row(&entry);
            entry
        });
        let restart = if tunable.needs_reboot { gettext("Needed") } else { gettext("Not needed") };
        for (label, text) in [
            (gettext("What it does"), tunable.what.clone()),
            (gettext("When it helps"), tunable.helps.clone()),
            (gettext("When it harms"), tunable.harms.clone()),
            (gettext("On this machine"), tunable.reason.clone()),
            (gettext("Restart"), restart),
            (gettext("Risk"), risk(tunable.risk)),
            (gettext("Known from"), tunable.source.clone()),
            // Translators: the name of a tunable on the command line.
            (gettext("On the command line"), format!("hostwright tuning apply {}", tunable.id)),
        ] {
            if !text.is_empty() {
                row.add_row(&text_row(&label, &text));
            }
        }
        Self { id: tunable.id.clone(), proposed: tunable.proposed.clone(), row, check, value }
    }

    /// Whether it is picked.
    pub(super) fn is_picked(&self) -> bool {
        self.check.as_ref().is_some_and(gtk::CheckButton::is_active)
    }

    /// The value that a person wrote; none for the one that was proposed.
    pub(super) fn value(&self) -> Option<String> {
        let text = self.value.as_ref()?.text().trim().to_owned();
        (!text.is_empty() && Some(&text) != self.proposed.as_ref()).then_some(text)
    }

    /// Picks it, with a value of a person's own where there is one.
    pub(super) fn pick(&self, value: Option<&str>) {
        if let Some(check) = &self.check {
            if let (Some(entry), Some(value)) = (&self.value, value) {
                entry.set_text(value);
            }
            check.set_active(true);
        }
    }

    /// Takes the pick back.
    pub(super) fn leave(&self) {
        if let Some(check) = &self.check {
            check.set_active(false);
        }
    }
}

/// How it is now, what is proposed, and why.
fn line(tunable: &Evaluated) -> String {
    let unknown = || gettext("not known here");
    let now = tunable.now.clone();
    let change = match (&tunable.proposed, tunable.standing) {
        (Some(proposed), Standing::CanBeSet) => {
            // Translators: a value now, and the value that is proposed.
            gettext_f(
                "{now} \u{2192} {proposed}",
                &[("now", &now.unwrap_or_else(unknown)), ("proposed", proposed)],
            )
        }
        _ => now.unwrap_or_default(),
    };
    let mut parts = vec![change, told(&tunable.reason)];
    if tunable.needs_reboot && tunable.standing == Standing::CanBeSet {
        parts.push(gettext("takes a restart"));
    }
    parts.retain(|p| !p.is_empty());
    parts.join(" \u{b7} ")
}

fn risk(risk: Risk) -> String {
    match risk {
        Risk::Low => gettext("Low"),
        Risk::Medium => gettext("Medium"),
        Risk::High => gettext("High"),
    }
}
