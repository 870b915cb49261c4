// SPDX-License-Identifier: GPL-3.0-or-later
//! Guests that run now, and runs that are over.

use super::view::LabView;
use crate::flows::lab::session::{self, Past};
use crate::guest::running::Card;
use crate::tell::{self, Mark, Problem};
use crate::ui::i18n::{amount, gettext, gettext_f, told};
use crate::ui::machine::elsewhere;
use crate::ui::widgets::{clear, mark_icon, named, text_row};
use crate::ui::window::Window;
use adw::prelude::*;
use adw::subclass::prelude::*;
use gtk::glib;
use std::cell::RefCell;
use std::time::Duration;

/// Earlier runs that are listed.
const SHOWN: usize = 20;

mod imp {
    use super::*;

    #[derive(Debug, Default)]
    pub struct Lists {
        pub(super) guests: adw::PreferencesGroup,
        pub(super) past: adw::PreferencesGroup,
        pub(super) guest_rows: RefCell<Vec<gtk::Widget>>,
        pub(super) past_rows: RefCell<Vec<gtk::Widget>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Lists {
        const NAME: &'static str = "HwLabLists";
        type Type = super::Lists;
        type ParentType = gtk::Box;
    }

    impl ObjectImpl for Lists {
        fn constructed(&self) {
            self.parent_constructed();
            self.obj().set_up();
        }
    }

    impl WidgetImpl for Lists {}
    impl BoxImpl for Lists {}
}

glib::wrapper! {
    pub struct Lists(ObjectSubclass<imp::Lists>)
        @extends gtk::Box, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget, gtk::Orientable;
}

impl Lists {
    fn set_up(&self) {
        let imp = self.imp();
        self.set_orientation(gtk::Orientation::Vertical);
        self.set_spacing(24);
        imp.guests.set_title(&gettext("Running now"));
        imp.past.set_title(&gettext("Earlier runs"));
        self.append(&imp.guests);
        self.append(&imp.past);
        imp.guests.set_visible(false);
        imp.past.set_visible(false);
    }

    /// Reads both anew.
    pub(super) fn refresh(&self) {
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = lists)]
            self,
            async move {
                let seen = elsewhere(|| Ok((session::guests()?, session::past(SHOWN)?))).await;
                match seen {
                    Ok((guests, past)) => lists.show(&guests, &past),
                    Err(problem) => lists.show_problem(&problem),
                }
            }
        ));
    }

    // Show.

    fn show(&self, guests: &[Card], past: &[Past]) {
        let imp = self.imp();
        clear(&imp.guests, &mut imp.guest_rows.borrow_mut());
        clear(&imp.past, &mut imp.past_rows.borrow_mut());
        for card in guests {
            let row = self.guest_row(card);
            imp.guests.add(&row);
            imp.guest_rows.borrow_mut().push(row.upcast());
        }
        for run in past {
            let row = self.past_row(run);
            imp.past.add(&row);
            imp.past_rows.borrow_mut().push(row.upcast());
        }
        imp.guests.set_visible(!guests.is_empty());
        imp.past.set_visible(!past.is_empty());
    }

    fn show_problem(&self, problem: &Problem) {
        let imp = self.imp();
        clear(&imp.past, &mut imp.past_rows.borrow_mut());
        let row = text_row(&problem.title, &problem.reason);
        row.add_prefix(&mark_icon(Mark::Unknown));
        imp.past.add(&row);
        imp.past_rows.borrow_mut().push(row.upcast());
        imp.past.set_visible(true);
    }

    fn guest_row(&self, card: &Card) -> adw::ActionRow {
        let since = clock(card.began);
        let mut text = gettext_f("{what}, since {time}", &[("what", &card.what), ("time", &since)]);
        if let Some(port) = card.ssh {
            text.push_str(&format!("\nssh -p {port} root@127.0.0.1"));
        }
        let row = text_row(&card.name, &text);
        let picture = gtk::Button::builder()
            .icon_name("camera-photo-symbolic")
            .tooltip_text(gettext("Photograph its screen"))
            .valign(gtk::Align::Center)
            .css_classes(["flat"])
            .build();
        named(&picture, &gettext_f("Photograph its screen: {name}", &[("name", &card.name)]));
        let (name, folder) = (card.name.clone(), card.folder.clone());
        picture.connect_clicked(move |button| {
            if let Some(view) = LabView::of(button) {
                view.photograph(name.clone(), folder.clone());
            }
        });
        let stop = gtk::Button::builder().label(gettext("Stop")).valign(gtk::Align::Center).build();
        named(&stop, &gettext_f("Stop: {name}", &[("name", &card.name)]));
        let name = card.name.clone();
        stop.connect_clicked(glib::clone!(
            #[weak(rename_to = lists)]
            self,
            move |_| lists.stop(name.clone())
        ));
        row.add_suffix(&picture);
        row.add_suffix(&stop);
        row
    }

    fn past_row(&self, past: &Past) -> adw::ActionRow {
        let number = past.number.to_string();
        let (mark, title, text) = match &past.report {
            Ok(report) => {
                let mark = if report.success() { Mark::Good } else { Mark::Bad };
                let took = amount(&tell::seconds(Duration::from_millis(report.took_ms)));
                let date = when(report.began);
                let values =
                    [("date", date.as_str()), ("ending", &told(&tell::lab::words(report))), ("time", &took)];
                (
                    mark,
                    gettext_f("Run {n}: {name}", &[("n", &number), ("name", &report.name)]),
                    gettext_f("{date}: {ending} ({time})", &values),
                )
            }
            Err(_) => (
                Mark::Unknown,
                gettext_f("Run {n}", &[("n", &number)]),
                gettext("It has no report: it was killed, or cannot be read"),
            ),
        };
        let row = text_row(&title, &text);
        row.set_subtitle_lines(2);
        row.add_prefix(&mark_icon(mark));
        if past.report.is_ok() {
            let next = gtk::Image::from_icon_name("go-next-symbolic");
            next.set_accessible_role(gtk::AccessibleRole::Presentation);
            row.add_suffix(&next);
            row.set_activatable(true);
            let number = past.number;
            row.connect_activated(move |row| {
                if let Some(view) = LabView::of(row) {
                    view.show_past(number);
                }
            });
        }
        row
    }

    // Do.

    fn stop(&self, name: String) {
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = lists)]
            self,
            async move {
                let stopped = elsewhere(move || Ok(session::stop(&name)?)).await;
                if let (Err(problem), Some(window)) = (stopped, Window::of(&lists)) {
                    window.tell(&problem);
                }
                // Its own program needs a moment to write the report.
                glib::timeout_future(Duration::from_millis(500)).await;
                lists.refresh();
            }
        ));
    }
}

/// A date and time as people here write them.
fn when(at: jiff::Timestamp) -> String {
    format(at, "%x, %H:%M")
}

/// The same without the date.
fn clock(at: jiff::Timestamp) -> String {
    format(at, "%H:%M")
}

fn format(at: jiff::Timestamp, how: &str) -> String {
    let local = glib::DateTime::from_unix_local(at.as_second());
    local.and_then(|d| d.format(how)).map(String::from).unwrap_or_else(|_| at.to_string())
}
