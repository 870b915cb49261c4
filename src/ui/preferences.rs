// SPDX-License-Identifier: GPL-3.0-or-later
//! What a person can set for the assistant itself. Each is kept as soon as it is set.

use super::context::Context;
use super::i18n::{gettext, told};
use super::machine::elsewhere;
use super::settings::{Appearance, Settings};
use super::widgets::whole_entries;
use super::window::Window;
use crate::flows::vmware::choices::RehearseChoice;
use crate::profile;
use crate::tell::Problem;
use adw::prelude::*;
use adw::subclass::prelude::*;
use gtk::{CompositeTemplate, glib};
use std::cell::{Cell, RefCell};

/// What the list for rehearsals offers, in its order.
const REHEARSE: [RehearseChoice; 3] = [RehearseChoice::Auto, RehearseChoice::Always, RehearseChoice::Never];

mod imp {
    use super::*;

    #[derive(Debug, Default, CompositeTemplate)]
    #[template(resource = "/org/hostwright/Hostwright/preferences.ui")]
    pub struct Preferences {
        #[template_child]
        pub(super) appearance: TemplateChild<adw::ComboRow>,
        #[template_child]
        pub(super) notifications: TemplateChild<gtk::Switch>,
        #[template_child]
        pub(super) profile: TemplateChild<adw::ComboRow>,
        #[template_child]
        pub(super) rehearse: TemplateChild<adw::ComboRow>,
        #[template_child]
        pub(super) keep_lab_runs: TemplateChild<gtk::Switch>,
        pub(super) context: RefCell<Context>,
        /// The names behind the list of profiles, after "none".
        pub(super) names: RefCell<Vec<String>>,
        /// Controls are being filled: what changes in them is nobody's wish.
        pub(super) filling: Cell<bool>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Preferences {
        const NAME: &'static str = "HwPreferences";
        type Type = super::Preferences;
        type ParentType = adw::PreferencesWindow;

        fn class_init(class: &mut Self::Class) {
            class.bind_template();
        }

        fn instance_init(obj: &glib::subclass::InitializingObject<Self>) {
            obj.init_template();
        }
    }

    impl ObjectImpl for Preferences {}
    impl WidgetImpl for Preferences {}
    impl WindowImpl for Preferences {}
    impl AdwWindowImpl for Preferences {}
    impl PreferencesWindowImpl for Preferences {}
}

glib::wrapper! {
    pub struct Preferences(ObjectSubclass<imp::Preferences>)
        @extends adw::PreferencesWindow, adw::Window, gtk::Window, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget, gtk::Native, gtk::Root,
            gtk::ShortcutManager;
}

/// Shows them.
pub(super) fn show(window: &Window, context: &Context) {
    let preferences: Preferences = glib::Object::builder().property("transient-for", window).build();
    preferences.imp().context.replace(context.clone());
    let imp = preferences.imp();
    for row in [&imp.appearance, &imp.profile, &imp.rehearse] {
        whole_entries(&row.get());
    }
    preferences.fill(&context.settings());
    preferences.fill_profiles();
    preferences.listen();
    preferences.present();
}

/// The entry of a list that stands for a value.
fn entry_of<T: PartialEq>(all: &[T], value: &T) -> u32 {
    all.iter().position(|v| v == value).and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
}

/// The value that an entry of a list stands for.
fn value_of<T: Copy + Default>(all: &[T], row: &adw::ComboRow) -> T {
    usize::try_from(row.selected()).ok().and_then(|n| all.get(n)).copied().unwrap_or_default()
}

impl Preferences {
    // Show.

    fn fill(&self, settings: &Settings) {
        let imp = self.imp();
        imp.appearance.set_selected(entry_of(&Appearance::ALL, &settings.appearance));
        imp.rehearse.set_selected(entry_of(&REHEARSE, &settings.rehearse));
        imp.notifications.set_active(settings.notifications);
        imp.keep_lab_runs.set_active(settings.keep_lab_runs);
    }

    fn fill_profiles(&self) {
        self.imp().filling.set(true);
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = preferences)]
            self,
            async move {
                let read = elsewhere(|| {
                    let Some(root) = profile::folder(false)? else { return Ok((Vec::new(), None)) };
                    Ok((profile::names(&root)?, profile::name_in_use(&root)?))
                });
                let imp = preferences.imp();
                match read.await {
                    Ok((names, used)) => {
                        let list = gtk::StringList::new(&[&gettext("None: the recommended choices")]);
                        names.iter().for_each(|name| list.append(name));
                        imp.profile.set_model(Some(&list));
                        let at = used.and_then(|used| names.iter().position(|n| *n == used));
                        imp.profile.set_selected(at.and_then(|n| u32::try_from(n + 1).ok()).unwrap_or(0));
                        imp.names.replace(names);
                    }
                    Err(problem) => preferences.tell(&problem),
                }
                imp.filling.set(false);
            }
        ));
    }

    fn tell(&self, problem: &Problem) {
        let text = format!("{}: {}", told(&problem.title), told(&problem.reason));
        self.add_toast(adw::Toast::new(&glib::markup_escape_text(&text)));
    }

    // React.

    fn listen(&self) {
        let imp = self.imp();
        for row in [&imp.appearance, &imp.rehearse] {
            row.connect_selected_notify(glib::clone!(
                #[weak(rename_to = preferences)]
                self,
                move |_| preferences.changed()
            ));
        }
        for switch in [&imp.notifications, &imp.keep_lab_runs] {
            switch.connect_active_notify(glib::clone!(
                #[weak(rename_to = preferences)]
                self,
                move |_| preferences.changed()
            ));
        }
        imp.profile.connect_selected_notify(glib::clone!(
            #[weak(rename_to = preferences)]
            self,
            move |_| preferences.profile_changed()
        ));
    }

    // Do.

    fn changed(&self) {
        let imp = self.imp();
        let settings = Settings {
            appearance: value_of(&Appearance::ALL, &imp.appearance),
            notifications: imp.notifications.is_active(),
            rehearse: value_of(&REHEARSE, &imp.rehearse),
            keep_lab_runs: imp.keep_lab_runs.is_active(),
        };
        settings.appearance.apply();
        imp.context.borrow().set_settings(settings.clone());
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = preferences)]
            self,
            async move {
                if let Err(problem) = settings.save().await {
                    preferences.tell(&problem);
                }
            }
        ));
    }

    fn profile_changed(&self) {
        let imp = self.imp();
        if imp.filling.get() {
            return;
        }
        let n = usize::try_from(imp.profile.selected()).unwrap_or(0);
        let name = n.checked_sub(1).and_then(|n| imp.names.borrow().get(n).cloned());
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = preferences)]
            self,
            async move {
                if let Err(problem) = elsewhere(move || profile::use_one(name.as_deref())).await {
                    preferences.tell(&problem);
                }
            }
        ));
    }
}
