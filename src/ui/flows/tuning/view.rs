// SPDX-License-Identifier: GPL-3.0-or-later
//! The list of tunables. Only what evidence of this machine speaks for is picked from the beginning.

use super::row::TunableRow;
use crate::flows::tuning::{self, Choices, Evaluated, FLOW, Standing, evaluate};
use crate::host::Host;
use crate::tell::Problem;
use crate::ui::actions::Action;
use crate::ui::flows::vmware::Request;
use crate::ui::i18n::{gettext, ngettext_f};
use crate::ui::machine::elsewhere;
use crate::ui::widgets::{PageHead, ProblemView};
use adw::prelude::*;
use adw::subclass::prelude::*;
use gtk::{CompositeTemplate, glib};
use std::cell::RefCell;
use std::collections::BTreeMap;

mod imp {
    use super::*;

    #[derive(Debug, Default, CompositeTemplate)]
    #[template(resource = "/org/hostwright/Hostwright/flows/tuning/view.ui")]
    pub struct TuningView {
        #[template_child]
        pub(super) stack: TemplateChild<gtk::Stack>,
        #[template_child]
        pub(super) spinner: TemplateChild<gtk::Spinner>,
        #[template_child]
        pub(super) page: TemplateChild<adw::PreferencesPage>,
        #[template_child]
        pub(super) head: TemplateChild<PageHead>,
        #[template_child]
        pub(super) problem: TemplateChild<ProblemView>,
        #[template_child]
        pub(super) picked: TemplateChild<gtk::Label>,
        pub(super) groups: RefCell<Vec<adw::PreferencesGroup>>,
        pub(super) rows: RefCell<Vec<TunableRow>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for TuningView {
        const NAME: &'static str = "HwTuningView";
        type Type = super::TuningView;
        type ParentType = adw::Bin;

        fn class_init(class: &mut Self::Class) {
            PageHead::ensure_type();
            ProblemView::ensure_type();
            class.bind_template();
        }

        fn instance_init(obj: &glib::subclass::InitializingObject<Self>) {
            obj.init_template();
        }
    }

    impl ObjectImpl for TuningView {}
    impl WidgetImpl for TuningView {}
    impl BinImpl for TuningView {}
}

glib::wrapper! {
    pub struct TuningView(ObjectSubclass<imp::TuningView>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget;
}

impl Default for TuningView {
    fn default() -> Self {
        glib::Object::new()
    }
}

impl TuningView {
    /// Looks at the machine; what is picked stays picked.
    pub(in crate::ui) fn refresh(&self) {
        let imp = self.imp();
        if imp.rows.borrow().is_empty() {
            imp.spinner.start();
            imp.stack.set_visible_child_name("looking");
        }
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = view)]
            self,
            async move {
                let seen = elsewhere(|| Ok(evaluate::all(&tuning::look(&Host::machine()?)))).await;
                let imp = view.imp();
                imp.spinner.stop();
                imp.stack.set_visible_child_name("list");
                match seen {
                    Ok(all) => {
                        let before = (!imp.rows.borrow().is_empty()).then(|| view.choices());
                        view.show(&all, before.as_ref());
                    }
                    Err(problem) => view.show_problem(&problem),
                }
                let _ = view.activate_action(Action::PageChanged.full(), None);
            }
        ));
    }

    // Show.

    fn show(&self, all: &[Evaluated], before: Option<&Choices>) {
        self.forget();
        let imp = self.imp();
        imp.problem.show(None);
        let group = |title: String, text: String, which: &dyn Fn(&Evaluated) -> bool| {
            let rows: Vec<TunableRow> = all.iter().filter(|e| which(e)).map(TunableRow::new).collect();
            if rows.is_empty() {
                return;
            }
            let group = adw::PreferencesGroup::builder().title(title).description(text).build();
            for row in rows {
                group.add(&row.row);
                imp.rows.borrow_mut().push(row);
            }
            imp.page.add(&group);
            imp.groups.borrow_mut().push(group);
        };
        let can = |e: &Evaluated| e.standing == Standing::CanBeSet;
        group(
            gettext("This machine speaks for these"),
            gettext("Picked, because something that was seen here says that it helps."),
            &|e| e.preselected,
        );
        group(
            gettext("Can be set"),
            gettext("Nothing seen here speaks for these. Each tells when it helps, and when it harms."),
            &|e| can(e) && !e.preselected,
        );
        group(gettext("So already"), String::new(), &|e| e.standing == Standing::AlreadySo);
        group(gettext("Could not look"), String::new(), &|e| e.standing == Standing::CouldNotLook);
        group(gettext("Not for this machine"), String::new(), &|e| e.standing == Standing::NotApplicable);
        if let Some(before) = before {
            for row in imp.rows.borrow().iter() {
                match before.set.get(&row.id) {
                    Some(value) => row.pick(value.as_deref()),
                    None if before.recommended => {}
                    None => row.leave(),
                }
            }
        }
        let speaks = all.iter().filter(|e| e.preselected).count();
        imp.head.set_text(if speaks == 0 {
            gettext(
                "Nothing seen on this machine speaks for a change, so nothing is picked. What you pick is shown \
                 exactly before anything changes, and can be taken back.",
            )
        } else {
            gettext(
                "Only what this machine itself speaks for is picked. What you pick is shown exactly before anything \
                 changes, and can be taken back.",
            )
        });
    }

    fn show_problem(&self, problem: &Problem) {
        self.forget();
        self.imp().problem.show(Some(problem));
    }

    fn forget(&self) {
        let imp = self.imp();
        imp.rows.borrow_mut().clear();
        for group in imp.groups.borrow_mut().drain(..) {
            imp.page.remove(&group);
        }
    }

    // React.

    /// Whether something is picked; brings the count up to date.
    pub(in crate::ui) fn can_go_on(&self) -> bool {
        let picked = self.imp().rows.borrow().iter().filter(|r| r.is_picked()).count();
        self.imp().picked.set_label(&if picked == 0 {
            gettext("Nothing is picked")
        } else {
            ngettext_f("{n} picked", "{n} picked", picked)
        });
        picked > 0
    }

    // Do.

    fn choices(&self) -> Choices {
        let rows = self.imp().rows.borrow();
        let set: BTreeMap<String, Option<String>> =
            rows.iter().filter(|r| r.is_picked()).map(|r| (r.id.clone(), r.value())).collect();
        Choices { set, recommended: false }
    }

    /// What is picked, to be planned.
    pub(in crate::ui) fn request(&self) -> Request {
        request(&self.choices())
    }
}

/// Choices, to be planned.
pub(in crate::ui) fn request(choices: &Choices) -> Request {
    let mut command = "hostwright tuning apply".to_owned();
    for (id, value) in &choices.set {
        command.push_str(&match value {
            Some(value) => format!(" '{id}={value}'"),
            None => format!(" {id}"),
        });
    }
    if choices.recommended && !choices.set.is_empty() {
        command.push_str(" --recommended");
    }
    Request {
        flow: FLOW.to_owned(),
        title: gettext("Tuning"),
        choices: serde_json::to_value(choices).unwrap_or_default(),
        command,
    }
}
