// SPDX-License-Identifier: GPL-3.0-or-later
//! Lists that drop down and show their entries in full: those of GTK and libadwaita cut them at about 20 letters.

use adw::prelude::*;
use gtk::glib;
use std::cell::RefCell;
use std::rc::Rc;

/// How many letters an entry has side by side before it wraps: so many fit into a window of 360 px.
const LETTERS: i32 = 30;

/// The same for the entry that is chosen, in its row beside the title, and how many of them are shown at least while text
/// has its usual size; of larger text fewer, so that the title has its place.
const LETTERS_IN_ROW: (usize, usize) = (18, 11);

/// GTK's `gtk-xft-dpi` where text has its usual size.
const USUAL_DPI: i32 = 96 * 1024;

/// Gives an [`adw::ComboRow`] or a [`gtk::DropDown`] of strings a list whose entries wrap. The entry that is chosen has
/// a tick, as in the list that it would have had.
pub(in crate::ui) fn whole_entries(choice: &impl IsA<gtk::Widget>) {
    let choice: &gtk::Widget = choice.upcast_ref();
    let entries: Rc<RefCell<Vec<glib::WeakRef<gtk::ListItem>>>> = Rc::default();
    let factory = gtk::SignalListItemFactory::new();
    factory.connect_setup(glib::clone!(
        #[strong]
        entries,
        move |_, item| {
            let Some(item) = item.downcast_ref::<gtk::ListItem>() else { return };
            let label = gtk::Label::builder()
                .xalign(0.0)
                .hexpand(true)
                .wrap(true)
                .wrap_mode(gtk::pango::WrapMode::WordChar)
                .max_width_chars(LETTERS)
                .build();
            let tick = gtk::Image::from_icon_name("object-select-symbolic");
            tick.set_accessible_role(gtk::AccessibleRole::Presentation);
            let row = gtk::Box::new(gtk::Orientation::Horizontal, 12);
            row.append(&label);
            row.append(&tick);
            item.set_child(Some(&row));
            entries.borrow_mut().push(item.downgrade());
        }
    ));
    factory.connect_bind(glib::clone!(
        #[weak]
        choice,
        move |_, item| {
            let Some(item) = item.downcast_ref::<gtk::ListItem>() else { return };
            show(item, &choice);
        }
    ));
    choice.set_property("list-factory", &factory);
    if choice.is::<adw::ComboRow>() {
        choice.set_property("factory", in_row());
    }
    choice.connect_notify_local(Some("selected-item"), move |choice, _| {
        entries.borrow_mut().retain(|item| item.upgrade().inspect(|item| show(item, choice)).is_some());
    });
}

/// The entry that is chosen, in its row, where a long title would leave two letters of it. Its lines are broken here: the
/// row asks for the height before it knows the width.
fn in_row() -> gtk::SignalListItemFactory {
    let factory = gtk::SignalListItemFactory::new();
    factory.connect_setup(|_, item| {
        let Some(item) = item.downcast_ref::<gtk::ListItem>() else { return };
        let label = gtk::Label::builder()
            .xalign(1.0)
            .justify(gtk::Justification::Right)
            .valign(gtk::Align::Center)
            .ellipsize(gtk::pango::EllipsizeMode::End)
            .build();
        item.set_child(Some(&label));
    });
    factory.connect_bind(|_, item| {
        let Some(item) = item.downcast_ref::<gtk::ListItem>() else { return };
        let (label, text) = (item.child().and_downcast::<gtk::Label>(), item.item().and_downcast());
        if let Some((label, text)) = label.zip::<gtk::StringObject>(text) {
            let lines = textwrap::wrap(&text.string(), LETTERS_IN_ROW.0).join("\n");
            let longest = lines.lines().map(|l| l.chars().count()).max().unwrap_or(0);
            let dpi = label.settings().gtk_xft_dpi().max(USUAL_DPI);
            let least = longest.min(LETTERS_IN_ROW.1 * USUAL_DPI as usize / dpi as usize);
            label.set_width_chars(i32::try_from(least).unwrap_or(0));
            label.set_label(&lines);
        }
    });
    factory
}

fn show(item: &gtk::ListItem, choice: &gtk::Widget) {
    let text = item.item().and_downcast::<gtk::StringObject>();
    let Some((row, text)) = item.child().zip(text) else { return };
    if let Some(label) = row.first_child().and_downcast::<gtk::Label>() {
        label.set_label(&text.string());
    }
    if let Some(tick) = row.last_child() {
        let chosen = choice.property::<Option<glib::Object>>("selected-item");
        tick.set_opacity(if chosen.as_ref() == Some(text.upcast_ref()) { 1.0 } else { 0.0 });
    }
}
