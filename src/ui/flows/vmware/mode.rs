// SPDX-License-Identifier: GPL-3.0-or-later
//! Vanilla or optimized, side by side.

use super::state::{FlowPage, State};
use crate::detect::{BuildMode, Finding};
use crate::engine::steps::Mode;
use crate::ui::i18n::{gettext, told};
use crate::ui::widgets::{PageHead, SideBySide};
use adw::prelude::*;
use adw::subclass::prelude::*;
use gtk::{CompositeTemplate, gdk, glib};

mod imp {
    use super::*;

    #[derive(Debug, Default, CompositeTemplate)]
    #[template(resource = "/org/hostwright/Hostwright/flows/vmware/mode.ui")]
    pub struct ModePage {
        #[template_child]
        pub(super) page: TemplateChild<adw::PreferencesPage>,
        #[template_child]
        pub(super) head: TemplateChild<PageHead>,
        #[template_child]
        pub(super) vanilla: TemplateChild<gtk::ToggleButton>,
        #[template_child]
        pub(super) optimized: TemplateChild<gtk::ToggleButton>,
        #[template_child]
        pub(super) vanilla_badge: TemplateChild<gtk::Label>,
        #[template_child]
        pub(super) optimized_badge: TemplateChild<gtk::Label>,
        #[template_child]
        pub(super) why: TemplateChild<adw::ActionRow>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for ModePage {
        const NAME: &'static str = "HwModePage";
        type Type = super::ModePage;
        type ParentType = adw::Bin;

        fn class_init(class: &mut Self::Class) {
            PageHead::ensure_type();
            SideBySide::ensure_type();
            class.bind_template();
        }

        fn instance_init(obj: &glib::subclass::InitializingObject<Self>) {
            obj.init_template();
        }
    }

    impl ObjectImpl for ModePage {
        fn constructed(&self) {
            self.parent_constructed();
            self.obj().set_up();
        }
    }

    impl WidgetImpl for ModePage {}
    impl BinImpl for ModePage {}
}

glib::wrapper! {
    pub struct ModePage(ObjectSubclass<imp::ModePage>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget;
}

impl ModePage {
    fn set_up(&self) {
        let imp = self.imp();
        imp.vanilla.update_property(&[gtk::accessible::Property::Label(&gettext("Vanilla"))]);
        imp.optimized.update_property(&[gtk::accessible::Property::Label(&gettext("Optimized"))]);
        imp.vanilla.set_active(true);
        let keys = gtk::EventControllerKey::new();
        keys.connect_key_pressed(glib::clone!(
            #[weak(rename_to = page)]
            self,
            #[upgrade_or]
            glib::Propagation::Proceed,
            move |_, key, _, _| page.key(key)
        ));
        self.add_controller(keys);
    }

    fn key(&self, key: gdk::Key) -> glib::Propagation {
        let option = match key {
            gdk::Key::_1 | gdk::Key::KP_1 => &self.imp().vanilla,
            gdk::Key::_2 | gdk::Key::KP_2 => &self.imp().optimized,
            _ => return glib::Propagation::Proceed,
        };
        option.set_active(true);
        option.grab_focus();
        glib::Propagation::Stop
    }
}

impl FlowPage for ModePage {
    fn name(&self) -> String {
        gettext("Mode")
    }

    fn show(&self, state: &State) {
        let imp = self.imp();
        let facts = state.facts();
        let score = facts.as_ref().map(|f| &f.score);
        let recommended = match score {
            Some(Finding::Seen(score)) => {
                imp.why.set_subtitle(&told(&crate::tell::sentence(&score.reason)));
                Some(score.recommended)
            }
            Some(Finding::CouldNotLook { why }) => {
                imp.why.set_subtitle(&told(why));
                None
            }
            None => None,
        };
        imp.vanilla_badge.set_visible(recommended == Some(BuildMode::Vanilla));
        imp.optimized_badge.set_visible(recommended == Some(BuildMode::Optimized));
        let optimized = if state.mode_picked {
            state.choices.mode == Mode::Optimized
        } else {
            recommended == Some(BuildMode::Optimized)
        };
        let option = if optimized { &imp.optimized } else { &imp.vanilla };
        option.set_active(true);
    }

    fn take(&self, state: &mut State) {
        state.choices.mode = if self.imp().optimized.is_active() { Mode::Optimized } else { Mode::Vanilla };
        state.mode_picked = true;
    }
}
