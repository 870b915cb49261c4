// SPDX-License-Identifier: GPL-3.0-or-later
//! What taking a run back would do, before it is done.

use crate::engine::{Reversal, UndoPreview, UndoStep};
use crate::tell::{self, Mark, Row};
use crate::ui::dialogs;
use crate::ui::i18n::{gettext, gettext_f, told};
use crate::ui::widgets::{finding, text_row};
use adw::prelude::*;
use gtk::glib;

/// Shows it; calls `yes` when the person wants it done.
pub(in crate::ui) fn show(parent: &impl IsA<gtk::Window>, preview: &UndoPreview, yes: impl Fn() + 'static) {
    let window = adw::Window::builder()
        .transient_for(parent)
        .modal(true)
        .title(gettext("Take Back"))
        .default_width(640)
        .default_height(600)
        .width_request(360)
        .build();
    let header =
        adw::HeaderBar::builder().show_start_title_buttons(false).show_end_title_buttons(false).build();
    let cancel = gtk::Button::with_label(&gettext("Keep"));
    cancel.connect_clicked(glib::clone!(
        #[weak]
        window,
        move |_| window.close()
    ));
    let confirm = gtk::Button::with_label(&gettext("Take Back"));
    confirm.add_css_class("destructive-action");
    confirm.set_sensitive(preview.refused.is_none() && !preview.steps.is_empty());
    confirm.connect_clicked(glib::clone!(
        #[weak]
        window,
        move |_| {
            window.close();
            yes();
        }
    ));
    header.pack_start(&cancel);
    header.pack_end(&confirm);
    dialogs::close_by_escape(&window);
    let column = gtk::Box::new(gtk::Orientation::Vertical, 0);
    column.append(&header);
    column.append(&page(preview));
    window.set_content(Some(&column));
    window.present();
    confirm.grab_focus();
}

fn page(preview: &UndoPreview) -> adw::PreferencesPage {
    let page = adw::PreferencesPage::new();
    page.set_vexpand(true);
    let group = adw::PreferencesGroup::new();
    let run = preview.run.to_string();
    let head = gettext_f("Run {n}: {title}", &[("n", &run), ("title", &told(&preview.title))]);
    group.set_title(&glib::markup_escape_text(&head));
    if let Some(why) = &preview.refused {
        group.add(&finding(&Row::new(Mark::Bad, &gettext("It cannot be taken back now"), why.as_str())));
    } else if preview.steps.is_empty() {
        group.add(&text_row(&gettext("Nothing of it is left to take back"), ""));
    } else if preview.is_clean() {
        let text = gettext("Nothing of it was changed by anybody since.");
        group.add(&finding(&Row::new(Mark::Good, &gettext("All of it can be taken back"), text)));
    } else {
        let text = gettext("It would stop at what was changed since, and leave that alone.");
        group.add(&finding(&Row::new(Mark::Warning, &gettext("Something was changed since"), text)));
    }
    page.add(&group);
    if !preview.steps.is_empty() {
        let steps = adw::PreferencesGroup::builder().title(gettext("What comes back, in this order")).build();
        for step in &preview.steps {
            steps.add(&step_row(step));
        }
        page.add(&steps);
    }
    page
}

fn step_row(step: &UndoStep) -> adw::ActionRow {
    let mut mark = Mark::Good;
    let mut lines = tell::shorter(&step.restores);
    match &step.reversal {
        Reversal::Full => {}
        Reversal::Partial { what } => {
            mark = Mark::Warning;
            lines.push(gettext_f("Does not come back: {what}", &[("what", &told(what))]));
        }
        Reversal::None { why } => {
            mark = Mark::Warning;
            lines.push(gettext_f("Cannot be undone: {why}", &[("why", &told(why))]));
        }
    }
    for drift in &step.drift {
        mark = Mark::Bad;
        lines.push(tell::sentence(&drift.to_string()));
    }
    finding(&Row::new(mark, &step.title, lines.join("\n")))
}
