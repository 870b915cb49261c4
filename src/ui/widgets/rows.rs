// SPDX-License-Identifier: GPL-3.0-or-later
//! Rows of lists, and the small things in them.

use crate::tell::{Mark, Row};
use crate::ui::i18n::{gettext, told};
use crate::ui::window::Window;
use adw::prelude::*;

/// The sign of a mark. Each is a shape of its own with a name of its own: nothing is said by colour alone.
pub(in crate::ui) fn mark_icon(mark: Mark) -> gtk::Image {
    let (icon, class, name) = match mark {
        Mark::Good => ("object-select-symbolic", "success", gettext("Good")),
        Mark::Warning => ("dialog-warning-symbolic", "warning", gettext("Worth a look")),
        Mark::Bad => ("dialog-error-symbolic", "error", gettext("Wrong")),
        Mark::Unknown => ("dialog-question-symbolic", "warning", gettext("Could not look")),
        Mark::Neutral => ("hostwright-info-symbolic", "dim-label", gettext("For information")),
    };
    let image = gtk::Image::from_icon_name(icon);
    image.add_css_class(class);
    image.set_tooltip_text(Some(&name));
    image.update_property(&[gtk::accessible::Property::Label(&name)]);
    image
}

/// A row of plain text that wraps. The words may be the library's.
pub(in crate::ui) fn text_row(title: &str, text: &str) -> adw::ActionRow {
    let (title, text) = (told(title), told(text.trim()));
    let row = adw::ActionRow::builder().use_markup(false).title(title).subtitle(text).build();
    row.set_title_lines(0);
    row.set_subtitle_lines(0);
    row
}

/// A row for one thing that was looked at, with what to do about it. The words are the library's.
pub(in crate::ui) fn finding(found: &Row) -> adw::ActionRow {
    let row =
        if found.label.is_empty() { text_row(&found.text, "") } else { text_row(&found.label, &found.text) };
    row.add_prefix(&mark_icon(found.mark));
    if let Some(remedy) = &found.remedy {
        let remedy = told(remedy);
        let text = row.subtitle().map(|said| format!("{said}\n{remedy}")).unwrap_or_default();
        row.set_subtitle(text.trim());
        row.add_suffix(&copy_button(&remedy));
    }
    row
}

/// Gives a control its name for assistive tools. GTK 4.8 takes none from a tooltip; later ones say that a button is
/// labelled by the words on it, which would count for more.
pub(in crate::ui) fn named(control: &impl IsA<gtk::Accessible>, name: &str) {
    control.reset_relation(gtk::AccessibleRelation::LabelledBy);
    control.update_property(&[gtk::accessible::Property::Label(name)]);
}

/// The same for a button with a menu: the part of it that is pressed is a widget of its own.
pub(in crate::ui) fn named_menu(button: &gtk::MenuButton, name: &str) {
    named(button, name);
    if let Some(inner) = button.first_child() {
        named(&inner, name);
    }
}

/// A row that opens. Its texts are no markup: they are words of machines, too, and may be the library's.
pub(in crate::ui) fn expander(title: &str, text: &str) -> adw::ExpanderRow {
    // libadwaita 1.2 does not hand `use-markup` on to the second line of this row.
    let escaped = gtk::glib::markup_escape_text;
    adw::ExpanderRow::builder().title(escaped(&told(title))).subtitle(escaped(&told(text))).build()
}

/// A button that copies a text: a command that a person may want to paste.
pub(in crate::ui) fn copy_button(text: &str) -> gtk::Button {
    let button = gtk::Button::builder()
        .icon_name("edit-copy-symbolic")
        .tooltip_text(gettext("Copy what to do"))
        .valign(gtk::Align::Center)
        .css_classes(["flat"])
        .build();
    named(&button, &gettext("Copy what to do"));
    let text = text.to_owned();
    button.connect_clicked(move |button| copied(button, &text));
    button
}

/// Puts a text on the clipboard, and says so.
pub(in crate::ui) fn copied(widget: &impl IsA<gtk::Widget>, text: &str) {
    widget.clipboard().set_text(text);
    if let Some(window) = Window::of(widget) {
        window.toast(&gettext("Copied"));
    }
}

/// A word in a pill.
pub(in crate::ui) fn badge(text: &str, quiet: bool) -> gtk::Label {
    let label = gtk::Label::builder().label(text).valign(gtk::Align::Center).css_classes(["badge"]).build();
    if quiet {
        label.add_css_class("quiet");
    }
    label
}

/// Takes all rows out of a group again; they are kept where they were added.
pub(in crate::ui) fn clear(group: &adw::PreferencesGroup, rows: &mut Vec<gtk::Widget>) {
    for row in rows.drain(..) {
        group.remove(&row);
    }
}
