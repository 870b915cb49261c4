// SPDX-License-Identifier: GPL-3.0-or-later
//! Which kernels.

use super::state::{FlowPage, State};
use crate::detect::{Facts, Kernel};
use crate::flows::vmware::choices::{Choices, KernelChoice};
use crate::flows::vmware::select;
use crate::tell::{self, Mark, Row};
use crate::ui::actions::Action;
use crate::ui::i18n::{gettext, gettext_f, told};
use crate::ui::widgets::{PageHead, badge, clear, copy_button, finding, mark_icon, text_row};
use adw::prelude::*;
use adw::subclass::prelude::*;
use gtk::{CompositeTemplate, glib};
use std::cell::RefCell;

mod imp {
    use super::*;

    #[derive(Debug, Default, CompositeTemplate)]
    #[template(resource = "/org/hostwright/Hostwright/flows/vmware/kernels.ui")]
    pub struct KernelsPage {
        #[template_child]
        pub(super) page: TemplateChild<adw::PreferencesPage>,
        #[template_child]
        pub(super) head: TemplateChild<PageHead>,
        #[template_child]
        pub(super) list: TemplateChild<adw::PreferencesGroup>,
        pub(super) rows: RefCell<Vec<gtk::Widget>>,
        pub(super) picks: RefCell<Vec<(String, gtk::CheckButton)>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for KernelsPage {
        const NAME: &'static str = "HwKernelsPage";
        type Type = super::KernelsPage;
        type ParentType = adw::Bin;

        fn class_init(class: &mut Self::Class) {
            PageHead::ensure_type();
            class.bind_template();
        }

        fn instance_init(obj: &glib::subclass::InitializingObject<Self>) {
            obj.init_template();
        }
    }

    impl ObjectImpl for KernelsPage {
        fn constructed(&self) {
            self.parent_constructed();
            self.obj().set_up();
        }
    }

    impl WidgetImpl for KernelsPage {}
    impl BinImpl for KernelsPage {}
}

glib::wrapper! {
    pub struct KernelsPage(ObjectSubclass<imp::KernelsPage>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget;
}

impl KernelsPage {
    fn set_up(&self) {}

    fn fill(&self, facts: &Facts, picked: &[String]) {
        let imp = self.imp();
        clear(&imp.list, &mut imp.rows.borrow_mut());
        imp.picks.borrow_mut().clear();
        let recommended = select::recommended(facts);
        let states = tell::assess(facts, Ok(&[]), &[], &|words| format!("hostwright {words}")).kernels;
        for kernel in facts.kernels.seen().into_iter().flatten() {
            let modules = states.iter().find(|s| s.release == kernel.release).map(|s| s.modules.as_slice());
            let row = self.row(kernel, modules.unwrap_or_default(), &recommended, picked);
            imp.list.add(&row);
            imp.rows.borrow_mut().push(row.upcast());
        }
        if imp.rows.borrow().is_empty() {
            let why =
                facts.kernels.as_result().err().unwrap_or("there is none under /lib/modules").to_owned();
            let row = finding(
                &Row::new(Mark::Bad, "No kernel was found", why).remedy("Install a kernel and its headers."),
            );
            imp.list.add(&row);
            imp.rows.borrow_mut().push(row.upcast());
        }
    }

    fn row(
        &self,
        kernel: &Kernel,
        modules: &[tell::ModuleStatus],
        recommended: &[String],
        picked: &[String],
    ) -> adw::ActionRow {
        let hindrance = select::hindrance(kernel);
        let mut lines = Vec::new();
        match (kernel.runs(), kernel.is_next_boot.is_true()) {
            (true, true) => lines.push(gettext("Runs now and starts next")),
            (true, false) => lines.push(gettext("Runs now")),
            (false, true) => lines.push(gettext("Starts next")),
            (false, false) => {}
        }
        lines.extend(module_lines(modules));
        if let Some(hindrance) = &hindrance {
            lines.push(gettext_f("Cannot be built for: {reason}", &[("reason", &told(&hindrance.reason))]));
            lines.push(hindrance.remedy.clone());
        }
        let row = text_row(&kernel.release, &lines.join("\n"));
        if recommended.contains(&kernel.release) {
            let badge = badge(&gettext("Recommended"), false);
            // It gives way to the name where large text leaves no room for both.
            badge.set_ellipsize(gtk::pango::EllipsizeMode::End);
            row.add_suffix(&badge);
        }
        match hindrance {
            Some(hindrance) => {
                row.add_prefix(&mark_icon(Mark::Warning));
                row.add_suffix(&copy_button(&hindrance.remedy));
            }
            None => {
                let check = gtk::CheckButton::builder()
                    .active(picked.contains(&kernel.release))
                    .valign(gtk::Align::Center)
                    .build();
                check.update_property(&[gtk::accessible::Property::Label(&kernel.release)]);
                check.connect_toggled(|check| {
                    let _ = check.activate_action(Action::PageChanged.full(), None);
                });
                row.add_prefix(&check);
                row.set_activatable_widget(Some(&check));
                self.imp().picks.borrow_mut().push((kernel.release.clone(), check));
            }
        }
        row
    }

    fn picked(&self) -> Vec<String> {
        let picks = self.imp().picks.borrow();
        picks.iter().filter(|(_, check)| check.is_active()).map(|(release, _)| release.clone()).collect()
    }
}

/// The state of the modules in a line, or in two when they differ.
fn module_lines(modules: &[tell::ModuleStatus]) -> Vec<String> {
    match modules {
        [a, b] if a.text == b.text => vec![gettext_f(
            "{first} and {second}: {state}",
            &[("first", a.name), ("second", b.name), ("state", &told(&a.text))],
        )],
        all => all.iter().map(|m| format!("{}: {}", m.name, m.text)).collect(),
    }
}

/// The releases that choices mean, as far as they can be shown as ticks.
fn meant(choices: &Choices, facts: &Facts) -> Vec<String> {
    let selected = select::select(choices, facts, false).unwrap_or_default();
    selected.kernels.iter().map(|k| k.release.clone()).collect()
}

impl FlowPage for KernelsPage {
    fn name(&self) -> String {
        gettext("Kernels")
    }

    fn show(&self, state: &State) {
        let Some(facts) = state.facts() else { return };
        let picked =
            if state.kernels_picked { meant(&state.choices, &facts) } else { select::recommended(&facts) };
        self.fill(&facts, &picked);
    }

    fn take(&self, state: &mut State) {
        state.choices.kernels = KernelChoice::Releases(self.picked());
        state.kernels_picked = true;
    }

    fn can_go_on(&self) -> bool {
        !self.picked().is_empty()
    }
}
