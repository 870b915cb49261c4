// SPDX-License-Identifier: GPL-3.0-or-later
//! Small windows above the window: questions, About, help.

use super::application::Application;
use super::i18n::gettext;
use super::window::Window;
use super::{APP_ID, RESOURCES};
use adw::prelude::*;
use gtk::glib;

/// About this program; its diagnostics can be copied into a report.
pub(super) fn about(window: &Window) -> adw::AboutWindow {
    let about = adw::AboutWindow::builder()
        .transient_for(window)
        .modal(true)
        .application_name("Hostwright")
        .application_icon(APP_ID)
        .version(env!("CARGO_PKG_VERSION"))
        .comments(gettext("Gets this machine ready to run virtual machines, and keeps it ready"))
        .license_type(gtk::License::Gpl30)
        .developer_name(gettext("The Hostwright developers"))
        .developers(["The Hostwright developers"])
        .debug_info(diagnostics())
        .debug_info_filename("hostwright-diagnostics.txt")
        // Translators: your names, one per line.
        .translator_credits(gettext("translator-credits"))
        .build();
    about.add_legal_section(&gettext("Libraries"), None, gtk::License::Custom, Some(&libraries()));
    about
}

/// The libraries in this program, each with its licence.
fn libraries() -> String {
    let lines = include_str!("../../data/licences.txt").lines().filter(|l| !l.starts_with('#'));
    let told = lines.filter_map(|line| line.split_once('|'));
    let listed: Vec<String> = told
        .map(|(name, licence)| glib::markup_escape_text(&format!("{name}: {licence}")).to_string())
        .collect();
    listed.join("\n")
}

/// What a report about this program should say of it.
fn diagnostics() -> String {
    let version = |(major, minor, micro): (u32, u32, u32)| format!("{major}.{minor}.{micro}");
    let env = |name: &str| std::env::var(name).unwrap_or_else(|_| "-".to_owned());
    format!(
        "Hostwright {}\nGTK {}\nlibadwaita {}\nDisplay: {}\nDesktop: {}\nLanguage: {}\nRenderer: {}\n",
        env!("CARGO_PKG_VERSION"),
        version((gtk::major_version(), gtk::minor_version(), gtk::micro_version())),
        version((adw::major_version(), adw::minor_version(), adw::micro_version())),
        env("XDG_SESSION_TYPE"),
        env("XDG_CURRENT_DESKTOP"),
        env("LANG"),
        env("GSK_RENDERER"),
    )
}

/// Shows which keys there are. Made anew each time, instead of GTK's help overlay: that one is a hidden window from the
/// beginning, and GTK 4.8 crashes when it is the last of the program's windows while an assistive tool asks for a window
/// that has just been closed (`GetChildAtIndex` of the application then takes the last one, which has no object yet).
pub(super) fn shortcuts(app: &Application, parent: &Window) {
    let builder = gtk::Builder::from_resource(&format!("{RESOURCES}/shortcuts.ui"));
    for object in builder.objects() {
        // GTK looks the keys of actions up in its own overlay only.
        if let Ok(shortcut) = object.downcast::<gtk::ShortcutsShortcut>()
            && let Some(action) = shortcut.action_name()
        {
            let keys: Vec<String> = app.accels_for_action(&action).into_iter().map(String::from).collect();
            shortcut.set_accelerator(Some(&keys.join(" ")));
        }
    }
    if let Some(window) = builder.object::<gtk::ShortcutsWindow>("shortcuts") {
        window.set_transient_for(Some(parent));
        window.present();
    }
}

/// Lets Escape close a window that is no dialog of GTK's.
pub(super) fn close_by_escape(window: &adw::Window) {
    let escape = gtk::Shortcut::new(
        gtk::ShortcutTrigger::parse_string("Escape"),
        Some(gtk::NamedAction::new("window.close")),
    );
    let keys = gtk::ShortcutController::new();
    keys.add_shortcut(escape);
    window.add_controller(keys);
}

/// An entry for a password below its name, for a question.
pub(super) fn password_field(name: &str) -> (gtk::Box, gtk::PasswordEntry) {
    let entry = gtk::PasswordEntry::builder().activates_default(true).show_peek_icon(true).build();
    entry.update_property(&[gtk::accessible::Property::Label(name)]);
    let label = gtk::Label::builder().label(name).xalign(0.0).wrap(true).css_classes(["heading"]).build();
    let field = gtk::Box::new(gtk::Orientation::Vertical, 6);
    field.append(&label);
    field.append(&entry);
    (field, entry)
}

/// Asks something that can be answered with yes or no; true for yes.
pub(super) async fn ask(window: &impl IsA<gtk::Window>, question: &Question<'_>) -> bool {
    let dialog = adw::MessageDialog::builder()
        .transient_for(window)
        .modal(true)
        .heading(question.heading)
        .body(question.body)
        .close_response("no")
        .default_response("no")
        .build();
    dialog.add_response("no", question.no);
    dialog.add_response("yes", question.yes);
    let look = if question.destructive {
        adw::ResponseAppearance::Destructive
    } else {
        adw::ResponseAppearance::Suggested
    };
    dialog.set_response_appearance("yes", look);
    if !question.destructive {
        dialog.set_default_response(Some("yes"));
    }
    answer(&dialog).await == "yes"
}

/// Shows a question and waits for the answer.
pub(super) async fn answer(dialog: &adw::MessageDialog) -> String {
    let (to, from) = async_channel::bounded(1);
    dialog.connect_response(None, move |_, response| {
        let _ = to.try_send(response.to_owned());
    });
    dialog.present();
    from.recv().await.unwrap_or_default()
}

/// A question; its texts are translated already, its answers have no mnemonics: GTK 4.8 would read their underscores out.
#[derive(Debug)]
pub(super) struct Question<'a> {
    /// The question.
    pub(super) heading: &'a str,
    /// What each answer means.
    pub(super) body: &'a str,
    /// The answer that changes nothing.
    pub(super) no: &'a str,
    /// The other one.
    pub(super) yes: &'a str,
    /// Whether yes loses something.
    pub(super) destructive: bool,
}

/// Asks for the name of a profile; nothing when the person thought better of it.
pub(super) async fn ask_name(window: &impl IsA<gtk::Window>, heading: &str, name: &str) -> Option<String> {
    let entry = adw::EntryRow::builder().title(gettext("Name")).text(name).activates_default(true).build();
    let list =
        gtk::ListBox::builder().selection_mode(gtk::SelectionMode::None).css_classes(["boxed-list"]).build();
    list.append(&entry);
    let dialog = adw::MessageDialog::builder()
        .transient_for(window)
        .modal(true)
        .heading(heading)
        .body(gettext("Letters, digits, dots, dashes and underscores."))
        .extra_child(&list)
        .close_response("no")
        .default_response("yes")
        .build();
    dialog.add_response("no", &gettext("Cancel"));
    dialog.add_response("yes", &gettext("Save"));
    dialog.set_response_appearance("yes", adw::ResponseAppearance::Suggested);
    let check = |dialog: &adw::MessageDialog, entry: &adw::EntryRow| {
        let good = crate::profile::check_name(&entry.text()).is_ok();
        dialog.set_response_enabled("yes", good);
        if good || entry.text().is_empty() {
            entry.remove_css_class("error");
        } else {
            entry.add_css_class("error");
        }
    };
    check(&dialog, &entry);
    entry.connect_changed(glib::clone!(
        #[weak]
        dialog,
        move |entry| check(&dialog, entry)
    ));
    entry.grab_focus();
    (answer(&dialog).await == "yes").then(|| entry.text().to_string())
}
