// SPDX-License-Identifier: GPL-3.0-or-later
//! Which machine the window is about: a bar that says so below every page, the choice of another one, and the
//! questions that polkit over there has.

use super::dialogs::{Question, ask};
use super::i18n::{gettext, gettext_f, told};
use super::machine::Machine;
use super::widgets::named;
use super::window::Window;
use crate::ipc::remote::{Place, Prompt};
use crate::tell::Problem;
use adw::prelude::*;
use gtk::glib;
use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

/// The action that asks for a machine.
pub(super) const CHOOSE: &str = "win.choose-machine";

/// How many machines are remembered.
const REMEMBERED: usize = 12;

/// Where they are remembered, one a line, the last one first.
fn file() -> PathBuf {
    glib::user_config_dir().join("hostwright").join("machines")
}

/// The machines that were chosen before.
fn remembered() -> Vec<Place> {
    let text = std::fs::read_to_string(file()).unwrap_or_default();
    let mut places: Vec<Place> = text.lines().filter_map(|l| l.parse().ok()).collect();
    places.truncate(REMEMBERED);
    places
}

fn remember(places: &[Place]) -> std::io::Result<()> {
    let path = file();
    let folder = path.parent().map(PathBuf::from).unwrap_or_default();
    std::fs::create_dir_all(&folder)?;
    let text: String = places.iter().map(|p| format!("{p}\n")).collect();
    let mut new = tempfile::NamedTempFile::new_in(&folder)?;
    std::io::Write::write_all(&mut new, text.as_bytes())?;
    new.persist(&path)?;
    Ok(())
}

/// The list with this one first.
fn with_first(place: &Place, mut places: Vec<Place>) -> Vec<Place> {
    places.retain(|p| p != place);
    places.insert(0, place.clone());
    places.truncate(REMEMBERED);
    places
}

/// Puts a bar below all views that names the machine, when it is another one than this.
pub(super) fn show_below(toasts: &adw::ToastOverlay, machine: &Machine) {
    let Some(views) = toasts.child() else { return };
    let icon = gtk::Image::from_icon_name("network-server-symbolic");
    icon.set_accessible_role(gtk::AccessibleRole::Presentation);
    let label =
        gtk::Label::builder().ellipsize(gtk::pango::EllipsizeMode::Middle).xalign(0.0).hexpand(true).build();
    let change = gtk::Button::builder().label(gettext("Change\u{2026}")).action_name(CHOOSE).build();
    named(&change, &gettext("Change the machine"));
    let row = gtk::Box::builder().spacing(9).css_classes(["toolbar"]).visible(false).build();
    row.append(&icon);
    row.append(&label);
    row.append(&change);
    let column = gtk::Box::new(gtk::Orientation::Vertical, 0);
    toasts.set_child(gtk::Widget::NONE);
    views.set_vexpand(true);
    column.append(&views);
    column.append(&row);
    toasts.set_child(Some(&column));
    machine.connect_changed(move |place| {
        row.set_visible(place.is_some());
        if let Some(place) = place {
            label.set_label(&gettext_f("This is about {machine}", &[("machine", &place.to_string())]));
        }
    });
}

/// What the button on the first page says.
pub(super) fn name(place: Option<&Place>) -> String {
    place.map_or_else(|| gettext("This Machine"), ToString::to_string)
}

/// Asks which machine, and goes there.
pub(super) async fn choose(window: &Window, machine: &Machine) -> bool {
    let places = remembered();
    let now = machine.place();
    let picked: Rc<RefCell<Option<Place>>> = Rc::new(RefCell::new(now.clone()));
    let list =
        gtk::ListBox::builder().selection_mode(gtk::SelectionMode::None).css_classes(["boxed-list"]).build();
    // What is typed is none of the list; the group makes circles of the boxes, also of a single one.
    let none = gtk::CheckButton::new();
    for place in std::iter::once(None).chain(places.iter().cloned().map(Some)) {
        let check = gtk::CheckButton::builder().active(place == now).valign(gtk::Align::Center).build();
        check.set_group(Some(&none));
        let title = name(place.as_ref());
        check.update_property(&[gtk::accessible::Property::Label(&title)]);
        let row = adw::ActionRow::builder().use_markup(false).title(title).activatable_widget(&check).build();
        row.add_prefix(&check);
        list.append(&row);
        check.connect_toggled(glib::clone!(
            #[strong]
            picked,
            move |check| {
                if check.is_active() {
                    picked.replace(place.clone());
                }
            }
        ));
    }
    let entry = adw::EntryRow::builder()
        .title(gettext("Another one: user@host"))
        .input_hints(gtk::InputHints::NO_SPELLCHECK | gtk::InputHints::LOWERCASE)
        .activates_default(true)
        .build();
    list.append(&entry);
    let scrolled = gtk::ScrolledWindow::builder()
        .hscrollbar_policy(gtk::PolicyType::Never)
        .propagate_natural_height(true)
        .max_content_height(320)
        .child(&list)
        .build();
    let dialog = adw::MessageDialog::builder()
        .transient_for(window)
        .modal(true)
        .heading(gettext("Which Machine?"))
        .body(gettext(
            "Another machine is reached by ssh, with your own keys and configuration. Hostwright must be installed there.",
        ))
        .extra_child(&scrolled)
        .close_response("no")
        .default_response("yes")
        .build();
    dialog.add_response("no", &gettext("Cancel"));
    dialog.add_response("yes", &gettext("Choose"));
    dialog.set_response_appearance("yes", adw::ResponseAppearance::Suggested);
    entry.connect_changed(glib::clone!(
        #[weak]
        dialog,
        move |entry| {
            if !entry.text().is_empty() {
                none.set_active(true);
            }
            let wrong = !entry.text().is_empty() && entry.text().parse::<Place>().is_err();
            dialog.set_response_enabled("yes", !wrong);
            if wrong {
                entry.add_css_class("error");
            } else {
                entry.remove_css_class("error");
            }
        }
    ));
    if super::dialogs::answer(&dialog).await != "yes" {
        return false;
    }
    let typed = entry.text().parse::<Place>().ok();
    let chosen = typed.or_else(|| picked.borrow().clone());
    if chosen == now {
        return false;
    }
    if let Err(problem) = machine.go_to(chosen.clone()).await {
        window.tell(&problem);
        return false;
    }
    if let Some(place) = chosen
        && let Err(error) = remember(&with_first(&place, places))
    {
        window.tell(&Problem::file("remember the machine in", &file(), &error));
    }
    true
}

/// Asks what polkit on the other machine asks; nothing when the person thought better of it.
pub(super) async fn answer(window: &Window, place: &Place, prompt: &Prompt) -> Option<String> {
    let heading = gettext_f("Password for {machine}", &[("machine", &place.to_string())]);
    if !prompt.secret {
        let question = Question {
            heading: &heading,
            body: &prompt.about(),
            no: &gettext("Cancel"),
            yes: &gettext("Continue"),
            destructive: false,
        };
        // Of several administrators, the first.
        return ask(window, &question).await.then(|| "1".to_owned());
    }
    let (field, entry) = super::dialogs::password_field(&told(prompt.question()));
    let dialog = adw::MessageDialog::builder()
        .transient_for(window)
        .modal(true)
        .heading(heading)
        .body(prompt.about())
        .extra_child(&field)
        .close_response("no")
        .default_response("yes")
        .build();
    dialog.add_response("no", &gettext("Cancel"));
    dialog.add_response("yes", &gettext("Authenticate"));
    dialog.set_response_appearance("yes", adw::ResponseAppearance::Suggested);
    entry.grab_focus();
    // A password is forgotten by its entry as soon as the dialog is gone.
    let typed = Rc::new(RefCell::new(String::new()));
    dialog.connect_response(
        None,
        glib::clone!(
            #[strong]
            typed,
            move |_, _| {
                typed.replace(entry.text().to_string());
            }
        ),
    );
    (super::dialogs::answer(&dialog).await == "yes").then(|| typed.take())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_that_was_chosen_last_comes_first_and_only_once() {
        let place = |text: &str| text.parse::<Place>().unwrap();
        let list = with_first(&place("b"), vec![place("a"), place("b"), place("c")]);
        assert_eq!(list, [place("b"), place("a"), place("c")]);
        let many = (0..20).map(|n| place(&format!("h{n}"))).collect();
        assert_eq!(with_first(&place("x"), many).len(), REMEMBERED);
    }
}
