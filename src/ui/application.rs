// SPDX-License-Identifier: GPL-3.0-or-later
//! The application: one instance, its actions, its options.

use super::actions::Action;
use super::dialogs;
use super::i18n::{gettext, gettext_f};
use super::settings::Settings;
use super::window::Window;
use super::{APP_ID, RESOURCES};
use adw::prelude::*;
use adw::subclass::prelude::*;
use gtk::{gio, glib};
use std::io::Write;
use std::path::PathBuf;

/// What `--flow` takes.
const FLOWS: [&str; 5] = ["vmware", "lab", "tuning", "bench", "vgpu"];

mod imp {
    use super::*;

    #[derive(Debug, Default)]
    pub struct Application;

    #[glib::object_subclass]
    impl ObjectSubclass for Application {
        const NAME: &'static str = "HwApplication";
        type Type = super::Application;
        type ParentType = adw::Application;
    }

    impl ObjectImpl for Application {}

    impl ApplicationImpl for Application {
        fn startup(&self) {
            self.parent_startup();
            gtk::Window::set_default_icon_name(APP_ID);
            Settings::load().appearance.apply();
            self.obj().add_actions();
        }

        fn activate(&self) {
            self.parent_activate();
            self.obj().window().present();
        }

        fn open(&self, files: &[gio::File], _hint: &str) {
            let window = self.obj().window();
            window.present();
            if let Some(path) = files.first().and_then(gio::File::path) {
                window.open_profile(path);
            }
        }

        /// Called in the process that was started, before anything is shown.
        fn handle_local_options(&self, options: &glib::VariantDict) -> std::ops::ControlFlow<glib::ExitCode> {
            let flow = options.lookup::<String>("flow").ok().flatten();
            match flow.filter(|f| !FLOWS.contains(&f.as_str())) {
                None => std::ops::ControlFlow::Continue(()),
                Some(other) => {
                    let values = [("flow", other.as_str()), ("known", &FLOWS.join(", "))];
                    let sentence =
                        "There is no assistant for \u{201c}{flow}\u{201d}. There is one for: {known}.";
                    let _ = writeln!(std::io::stderr(), "{}", gettext_f(sentence, &values));
                    std::ops::ControlFlow::Break(glib::ExitCode::from(2))
                }
            }
        }

        /// Called in the instance that runs already, for each further start.
        fn command_line(&self, line: &gio::ApplicationCommandLine) -> glib::ExitCode {
            let options = line.options_dict();
            let window = self.obj().window();
            window.present();
            let profile = options.lookup::<Vec<u8>>("profile").ok().flatten().map(path_of_bytes);
            let named = line.arguments().into_iter().skip(1).map(PathBuf::from).next();
            if let Some(path) = profile.or(named) {
                let path = line.create_file_for_arg(&path).path().unwrap_or(path);
                window.open_profile(path);
                return glib::ExitCode::SUCCESS;
            }
            match options.lookup::<String>("flow").ok().flatten().as_deref() {
                Some("lab") => window.show_lab(),
                Some("tuning") => window.show_tuning(),
                Some("bench") => window.show_bench(),
                Some("vgpu") => window.show_vgpu(),
                Some(_) => window.open_vmware(None),
                None => {}
            }
            glib::ExitCode::SUCCESS
        }
    }

    impl GtkApplicationImpl for Application {}
    impl AdwApplicationImpl for Application {}
}

/// A path from an option of the kind "file name": bytes that end with a zero.
fn path_of_bytes(mut bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

glib::wrapper! {
    pub struct Application(ObjectSubclass<imp::Application>)
        @extends adw::Application, gtk::Application, gio::Application,
        @implements gio::ActionGroup, gio::ActionMap;
}

impl Application {
    /// The application, with its options.
    pub(super) fn new() -> Self {
        let flags = gio::ApplicationFlags::HANDLES_COMMAND_LINE | gio::ApplicationFlags::HANDLES_OPEN;
        let app: Self = glib::Object::builder()
            .property("application-id", APP_ID)
            .property("flags", flags)
            .property("resource-base-path", RESOURCES)
            .build();
        app.add_main_option(
            "flow",
            glib::Char::from(b'f'),
            glib::OptionFlags::NONE,
            glib::OptionArg::String,
            &gettext("Open this: vmware, lab, tuning, bench or vgpu"),
            Some("FLOW"),
        );
        app.add_main_option(
            "profile",
            glib::Char::from(b'p'),
            glib::OptionFlags::NONE,
            glib::OptionArg::Filename,
            &gettext("Begin with the choices of this profile"),
            Some("FILE"),
        );
        app
    }

    /// The window that is there, or a new one.
    fn window(&self) -> Window {
        let there = self.active_window().or_else(|| self.windows().into_iter().next());
        there.and_downcast::<Window>().unwrap_or_else(|| Window::new(self))
    }

    fn add_actions(&self) {
        let quit = gio::ActionEntry::builder(Action::Quit.name()).activate(|app: &Self, _, _| {
            for window in app.windows() {
                window.close();
            }
        });
        let about = gio::ActionEntry::builder(Action::About.name())
            .activate(|app: &Self, _, _| dialogs::about(&app.window()).present());
        let help = gio::ActionEntry::builder(Action::Help.name())
            .activate(|app: &Self, _, _| app.window().show_help());
        let shortcuts = gio::ActionEntry::builder(Action::Shortcuts.name())
            .activate(|app: &Self, _, _| dialogs::shortcuts(app, &app.window()));
        let vmware = gio::ActionEntry::builder(Action::OpenVmware.name()).activate(|app: &Self, _, _| {
            let window = app.window();
            window.present();
            window.open_vmware(None);
        });
        let lab = gio::ActionEntry::builder(Action::OpenLab.name()).activate(|app: &Self, _, _| {
            let window = app.window();
            window.present();
            window.show_lab();
        });
        let preferences = gio::ActionEntry::builder(Action::Preferences.name())
            .activate(|app: &Self, _, _| app.window().show_preferences());
        self.add_action_entries([
            quit.build(),
            about.build(),
            help.build(),
            shortcuts.build(),
            preferences.build(),
            vmware.build(),
            lab.build(),
        ]);
        for action in Action::WITH_KEYS {
            self.set_accels_for_action(action.full(), action.keys());
        }
    }
}
