// SPDX-License-Identifier: GPL-3.0-or-later
//! Signing, rehearsal, loading, kernel updates, sources; and what has a plan of its own: Wayland, tuning.

use super::state::{FlowPage, State, Then};
use crate::engine::{Secret, mok_password};
use crate::flows::vmware::choices::{InitramfsChoice, LoadChoice, RehearseChoice, SignChoice, UpdateChoice};
use crate::pack::{self, Packed};
use crate::tell;
use crate::ui::actions::Action;
use crate::ui::flows::wayland::{self, Launchers};
use crate::ui::i18n::{gettext, gettext_f, told};
use crate::ui::machine::elsewhere;
use crate::ui::widgets::{PageHead, whole_entries};
use crate::ui::window::Window;
use adw::prelude::*;
use adw::subclass::prelude::*;
use gtk::{CompositeTemplate, gio, glib};
use std::cell::RefCell;
use std::rc::Rc;

/// What the list of keys offers, in its order.
const SIGN: [SignChoice; 4] =
    [SignChoice::Auto, SignChoice::Own, SignChoice::Distribution, SignChoice::Never];

/// What the list for kernel updates offers, in its order.
const UPDATES: [UpdateChoice; 4] =
    [UpdateChoice::Keep, UpdateChoice::Hook, UpdateChoice::Dkms, UpdateChoice::Never];

/// What the list for rehearsals offers, in its order.
const REHEARSE: [RehearseChoice; 3] = [RehearseChoice::Auto, RehearseChoice::Always, RehearseChoice::Never];

mod imp {
    use super::*;

    #[derive(Debug, Default, CompositeTemplate)]
    #[template(resource = "/org/hostwright/Hostwright/flows/vmware/extras.ui")]
    pub struct ExtrasPage {
        #[template_child]
        pub(super) page: TemplateChild<adw::PreferencesPage>,
        #[template_child]
        pub(super) head: TemplateChild<PageHead>,
        #[template_child]
        pub(super) sign: TemplateChild<adw::ComboRow>,
        #[template_child]
        pub(super) enroll: TemplateChild<gtk::Switch>,
        #[template_child]
        pub(super) password: TemplateChild<adw::PasswordEntryRow>,
        #[template_child]
        pub(super) password_hint: TemplateChild<adw::ActionRow>,
        #[template_child]
        pub(super) load: TemplateChild<gtk::Switch>,
        #[template_child]
        pub(super) boot: TemplateChild<gtk::Switch>,
        #[template_child]
        pub(super) initramfs: TemplateChild<gtk::Switch>,
        #[template_child]
        pub(super) updates: TemplateChild<adw::ComboRow>,
        #[template_child]
        pub(super) rehearse: TemplateChild<adw::ComboRow>,
        #[template_child]
        pub(super) wayland_row: TemplateChild<adw::ActionRow>,
        #[template_child]
        pub(super) wayland: TemplateChild<gtk::Switch>,
        #[template_child]
        pub(super) tuning_row: TemplateChild<adw::ActionRow>,
        #[template_child]
        pub(super) tuning: TemplateChild<gtk::Switch>,
        #[template_child]
        pub(super) sources: TemplateChild<adw::ActionRow>,
        #[template_child]
        pub(super) reset_sources: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) choose_sources: TemplateChild<gtk::Button>,
        pub(super) packed: RefCell<Option<Rc<Packed>>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for ExtrasPage {
        const NAME: &'static str = "HwExtrasPage";
        type Type = super::ExtrasPage;
        type ParentType = adw::Bin;

        fn class_init(class: &mut Self::Class) {
            PageHead::ensure_type();
            class.bind_template();
        }

        fn instance_init(obj: &glib::subclass::InitializingObject<Self>) {
            obj.init_template();
        }
    }

    impl ObjectImpl for ExtrasPage {
        fn constructed(&self) {
            self.parent_constructed();
            self.obj().set_up();
        }
    }

    impl WidgetImpl for ExtrasPage {}
    impl BinImpl for ExtrasPage {}
}

glib::wrapper! {
    pub struct ExtrasPage(ObjectSubclass<imp::ExtrasPage>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget;
}

impl ExtrasPage {
    fn set_up(&self) {
        let imp = self.imp();
        for row in [&imp.sign, &imp.rehearse, &imp.updates] {
            whole_entries(&row.get());
        }
        imp.enroll.connect_active_notify(glib::clone!(
            #[weak(rename_to = page)]
            self,
            move |_| page.enroll_changed()
        ));
        imp.password.connect_changed(glib::clone!(
            #[weak(rename_to = page)]
            self,
            move |_| page.enroll_changed()
        ));
        imp.choose_sources.connect_clicked(glib::clone!(
            #[weak(rename_to = page)]
            self,
            move |_| page.choose_sources()
        ));
        imp.reset_sources.connect_clicked(glib::clone!(
            #[weak(rename_to = page)]
            self,
            move |_| page.set_sources(None)
        ));
    }

    /// Looks at VMware's launchers; there may be nothing to do for them.
    fn look_at_launchers(&self) {
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = page)]
            self,
            async move {
                let imp = page.imp();
                let elsewhere = Window::of(&page).is_some_and(|w| w.machine().place().is_some());
                imp.wayland_row.set_visible(!elsewhere);
                imp.tuning_row.set_visible(!elsewhere);
                if elsewhere {
                    // Both look at the machine themselves.
                    imp.wayland.set_active(false);
                    imp.tuning.set_active(false);
                    return;
                }
                match Launchers::look().await {
                    Ok(launchers) => {
                        imp.wayland_row.set_subtitle(&launchers.in_words());
                        imp.wayland_row.set_sensitive(launchers.plain > 0);
                        if launchers.plain == 0 {
                            imp.wayland.set_active(false);
                        }
                    }
                    Err(problem) => {
                        imp.wayland_row.set_subtitle(&told(&problem.reason));
                        imp.wayland_row.set_sensitive(false);
                        imp.wayland.set_active(false);
                    }
                }
            }
        ));
    }

    // React.

    fn enroll_changed(&self) {
        let imp = self.imp();
        let wanted = imp.enroll.is_active();
        imp.password.set_visible(wanted);
        imp.password_hint.set_visible(wanted);
        let text = imp.password.text();
        let hint = match mok_password::check(text.as_bytes()) {
            _ if text.is_empty() => gettext(
                "8 to 256 letters, digits and blanks. At the next start a blue screen asks for it once: choose Enroll \
                 MOK, Continue, Yes, and type it there.",
            ),
            Ok(None) => gettext("You type it once more at the next start."),
            Ok(Some(note)) => told(&tell::sentence(&note)),
            Err(error) => told(&tell::sentence(&error.to_string())),
        };
        imp.password_hint.set_subtitle(&hint);
        let bad = !text.is_empty() && mok_password::check(text.as_bytes()).is_err();
        if bad {
            imp.password.add_css_class("error");
        } else {
            imp.password.remove_css_class("error");
        }
        let _ = self.activate_action(Action::PageChanged.full(), None);
    }

    fn choose_sources(&self) {
        let Some(window) = Window::of(self) else { return };
        let title = gettext("Sources of the Modules");
        let dialog = gtk::FileChooserNative::new(
            Some(&title),
            Some(&window),
            gtk::FileChooserAction::Open,
            None,
            None,
        );
        let archives = gtk::FileFilter::new();
        archives.set_name(Some(&gettext("Archives")));
        for pattern in ["*.tar", "*.tar.gz", "*.tgz", "*.tar.xz", "*.tar.zst"] {
            archives.add_pattern(pattern);
        }
        dialog.add_filter(&archives);
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = page)]
            self,
            async move {
                if dialog.run_future().await != gtk::ResponseType::Accept {
                    return;
                }
                let Some(path) = dialog.file().as_ref().and_then(gio::prelude::FileExt::path) else { return };
                match elsewhere(move || pack::pack(&path)).await {
                    Ok(packed) => page.set_sources(Some(Rc::new(packed))),
                    Err(problem) => window.tell(&problem),
                }
            }
        ));
    }

    // Do.

    fn set_sources(&self, packed: Option<Rc<Packed>>) {
        let imp = self.imp();
        let text = match &packed {
            None => gettext("Those of the installed product"),
            Some(packed) => gettext_f("The archive {name}", &[("name", &packed.name)]),
        };
        imp.sources.set_subtitle(&text);
        imp.reset_sources.set_visible(packed.is_some());
        imp.packed.replace(packed);
    }
}

impl FlowPage for ExtrasPage {
    fn name(&self) -> String {
        gettext("Extras")
    }

    fn show(&self, state: &State) {
        let imp = self.imp();
        let choices = &state.choices;
        let sign = SIGN.iter().position(|s| *s == choices.sign).unwrap_or(0);
        imp.sign.set_selected(u32::try_from(sign).unwrap_or(0));
        imp.enroll.set_active(choices.enroll);
        imp.load.set_active(choices.load == LoadChoice::Auto);
        imp.boot.set_active(choices.boot);
        imp.initramfs.set_active(choices.initramfs == InitramfsChoice::Auto);
        let updates = UPDATES.iter().position(|u| *u == choices.updates).unwrap_or(0);
        imp.updates.set_selected(u32::try_from(updates).unwrap_or(0));
        let rehearse = REHEARSE.iter().position(|r| *r == choices.rehearse).unwrap_or(0);
        imp.rehearse.set_selected(u32::try_from(rehearse).unwrap_or(0));
        imp.wayland.set_active(state.then.iter().any(Then::is_wayland));
        imp.tuning.set_active(state.then.iter().any(|t| !t.is_wayland()));
        self.look_at_launchers();
        self.set_sources(state.sources.clone());
        self.enroll_changed();
    }

    fn take(&self, state: &mut State) {
        let imp = self.imp();
        let sign = usize::try_from(imp.sign.selected()).ok().and_then(|i| SIGN.get(i));
        state.choices.sign = sign.copied().unwrap_or_default();
        state.choices.enroll = imp.enroll.is_active();
        state.mok_password = imp.enroll.is_active().then(|| Secret::new(imp.password.text().as_bytes()));
        state.choices.load = if imp.load.is_active() { LoadChoice::Auto } else { LoadChoice::Never };
        state.choices.boot = imp.boot.is_active();
        let initramfs = imp.initramfs.is_active();
        state.choices.initramfs = if initramfs { InitramfsChoice::Auto } else { InitramfsChoice::Never };
        let updates = usize::try_from(imp.updates.selected()).ok().and_then(|i| UPDATES.get(i));
        state.choices.updates = updates.copied().unwrap_or_default();
        let rehearse = usize::try_from(imp.rehearse.selected()).ok().and_then(|i| REHEARSE.get(i));
        state.choices.rehearse = rehearse.copied().unwrap_or_default();
        // What a profile wishes for stays as it is there, as long as nobody says otherwise.
        let keep = std::mem::take(&mut state.then);
        let (launchers, tuned): (Vec<Then>, Vec<Then>) = keep.into_iter().partition(Then::is_wayland);
        if imp.wayland.is_active() {
            state.then.push(launchers.into_iter().next().unwrap_or_else(|| Then::Review(wayland::fix())));
        }
        if imp.tuning.is_active() {
            state.then.push(tuned.into_iter().next().unwrap_or(Then::Tuning));
        }
        state.set_sources(imp.packed.borrow().clone());
    }

    fn can_go_on(&self) -> bool {
        let imp = self.imp();
        !imp.enroll.is_active() || mok_password::check(imp.password.text().as_bytes()).is_ok()
    }
}
