// SPDX-License-Identifier: GPL-3.0-or-later
//! How it ended: what was looked at, and what to do next.

use super::progress::Outcome;
use super::state::{FlowPage, State};
use crate::engine::{Check, CheckOutcome, KernelResult, Plan, RunState, Step};
use crate::tell::{self, Mark, Row};
use crate::ui::actions::Action;
use crate::ui::i18n::{amount, gettext, gettext_f, told};
use crate::ui::widgets::{finding, text_row};
use crate::ui::window::Window;
use adw::prelude::*;
use adw::subclass::prelude::*;
use gtk::{CompositeTemplate, glib};
use std::cell::RefCell;

mod imp {
    use super::*;

    #[derive(Debug, Default, CompositeTemplate)]
    #[template(resource = "/org/hostwright/Hostwright/flows/vmware/result.ui")]
    pub struct ResultPage {
        #[template_child]
        pub(super) page: TemplateChild<adw::PreferencesPage>,
        #[template_child]
        pub(super) icon: TemplateChild<gtk::Image>,
        #[template_child]
        pub(super) title: TemplateChild<gtk::Label>,
        #[template_child]
        pub(super) text: TemplateChild<gtk::Label>,
        pub(super) groups: RefCell<Vec<adw::PreferencesGroup>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for ResultPage {
        const NAME: &'static str = "HwResultPage";
        type Type = super::ResultPage;
        type ParentType = adw::Bin;

        fn class_init(class: &mut Self::Class) {
            class.bind_template();
        }

        fn instance_init(obj: &glib::subclass::InitializingObject<Self>) {
            obj.init_template();
        }
    }

    impl ObjectImpl for ResultPage {
        fn constructed(&self) {
            self.parent_constructed();
            self.obj().set_up();
        }
    }

    impl WidgetImpl for ResultPage {}
    impl BinImpl for ResultPage {}
}

glib::wrapper! {
    pub struct ResultPage(ObjectSubclass<imp::ResultPage>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget;
}

impl ResultPage {
    fn set_up(&self) {}

    /// Shows how a run ended. `plan`: what it carried out, where this window knows.
    pub(super) fn show_outcome(&self, outcome: &Outcome, plan: Option<&Plan>) {
        let imp = self.imp();
        for group in imp.groups.borrow_mut().drain(..) {
            imp.page.remove(&group);
        }
        let (mark, title) = headline(outcome);
        let (icon, class) = match mark {
            Mark::Good => ("object-select-symbolic", "success"),
            Mark::Warning | Mark::Unknown => ("dialog-warning-symbolic", "warning"),
            Mark::Bad => ("dialog-error-symbolic", "error"),
            Mark::Neutral => ("edit-undo-symbolic", "dim-label"),
        };
        imp.icon.set_icon_name(Some(icon));
        imp.icon.set_css_classes(&[class]);
        imp.title.set_label(&title);
        let problem = outcome.problem.as_ref().map(|p| p.reason.clone());
        imp.text.set_label(&told(problem.as_deref().unwrap_or(&outcome.message).trim()));
        self.add_next(outcome, plan);
        self.add_kernels(&outcome.kernels);
        self.add_checks(&outcome.checks);
        self.add_more(outcome, plan);
    }

    fn group(&self, title: &str) -> adw::PreferencesGroup {
        let group = adw::PreferencesGroup::builder().title(title).build();
        self.imp().page.add(&group);
        self.imp().groups.borrow_mut().push(group.clone());
        group
    }

    /// What a person has to do now.
    fn add_next(&self, outcome: &Outcome, plan: Option<&Plan>) {
        let Some(plan) = plan.filter(|_| outcome.state == Some(RunState::Done)) else { return };
        let enrolls = plan.steps.iter().any(|s| matches!(s, Step::EnrollKey(_)));
        if !enrolls && !plan.needs_reboot {
            return;
        }
        let text = if enrolls {
            gettext(
                "A blue screen (MOK Manager) appears once: choose Enroll MOK, Continue, Yes, type the one-time \
                 password, and restart. If it is missed nothing breaks: the modules are not loaded, and the assistant \
                 can ask again.",
            )
        } else {
            gettext("It takes effect at the next start.")
        };
        let row = text_row(&gettext("Restart this machine"), &text);
        row.add_suffix(&button(&gettext("Restart\u{2026}"), |window| window.ask_to_restart()));
        self.group(&gettext("What to do next")).add(&row);
    }

    /// What came of each kernel of several.
    fn add_kernels(&self, kernels: &[KernelResult]) {
        if kernels.is_empty() {
            return;
        }
        let group = self.group(&gettext("What came of each kernel"));
        for kernel in kernels {
            let mark = if kernel.good { Mark::Good } else { Mark::Bad };
            group.add(&finding(&Row::new(mark, &kernel.kernel, kernel.text.clone())));
        }
    }

    fn add_checks(&self, checks: &[Check]) {
        if checks.is_empty() {
            return;
        }
        let group = self.group(&gettext("What was looked at"));
        for check in checks {
            let (mark, text) = match &check.outcome {
                CheckOutcome::Good => (Mark::Good, String::new()),
                CheckOutcome::Bad { reason } => (Mark::Bad, reason.clone()),
                CheckOutcome::CouldNotLook { reason } => {
                    (Mark::Unknown, gettext_f("Could not look: {reason}", &[("reason", &told(reason))]))
                }
                CheckOutcome::NotApplicable { reason } => (Mark::Neutral, reason.clone()),
            };
            group.add(&finding(&Row::new(mark, &check.what, text)));
        }
    }

    fn add_more(&self, outcome: &Outcome, plan: Option<&Plan>) {
        let group = self.group(&gettext("More"));
        let back = text_row(&gettext("Log"), &gettext("Everything that was said while it ran"));
        let show = button(&gettext("Show"), |_| {});
        show.set_action_name(Some(Action::Back.full()));
        back.add_suffix(&show);
        group.add(&back);
        if let Some(plan) = plan.filter(|_| outcome.state == Some(RunState::Done)) {
            let (flow, choices) = (plan.flow.clone(), plan.choices.clone());
            let save = text_row(
                &gettext("Profile"),
                &gettext("Keep these choices for the next kernel or another machine"),
            );
            save.add_suffix(&button(&gettext("Save\u{2026}"), move |window| {
                window.ask_to_save(flow.clone(), choices.clone());
            }));
            group.add(&save);
        }
        if matches!(outcome.state, Some(RunState::Done | RunState::Failed | RunState::UndoStopped)) {
            let run = outcome.run;
            let undo = text_row(&gettext("Take it back"), &gettext("Shows first what would come back"));
            undo.add_suffix(&button(&gettext("Take Back\u{2026}"), move |window| {
                window.ask_to_undo(run, Vec::new());
            }));
            group.add(&undo);
        }
    }
}

fn button(label: &str, act: impl Fn(&Window) + 'static) -> gtk::Button {
    let button = gtk::Button::builder().label(label).valign(gtk::Align::Center).build();
    button.connect_clicked(move |button| {
        if let Some(window) = Window::of(button) {
            act(&window);
        }
    });
    button
}

/// What happened, in a few words.
fn headline(outcome: &Outcome) -> (Mark, String) {
    let took = amount(&tell::seconds(outcome.took));
    let verified = outcome.checks.iter().all(|c| c.outcome.is_acceptable());
    match outcome.state {
        Some(RunState::Done) if outcome.kernels.iter().any(|k| !k.good) => {
            (Mark::Warning, gettext("Done, but not for every kernel"))
        }
        Some(RunState::Done) if verified => {
            (Mark::Good, gettext_f("Done and checked in {time}", &[("time", &took)]))
        }
        Some(RunState::Done) => (Mark::Warning, gettext("Done, but not all of it could be confirmed")),
        Some(RunState::Undone) => (Mark::Good, gettext("Taken back")),
        Some(RunState::RolledBack) if outcome.cancelled => {
            (Mark::Neutral, gettext("Cancelled, and taken back"))
        }
        Some(RunState::RolledBack) => (Mark::Bad, gettext("It failed, and was taken back")),
        Some(RunState::UndoStopped) => (Mark::Warning, gettext("Taking back stopped")),
        None | Some(RunState::Running | RunState::Undoing | RunState::Interrupted) => {
            (Mark::Bad, gettext("Nothing more was heard of it"))
        }
        Some(RunState::Failed) => (Mark::Bad, gettext("It failed, and something remains")),
    }
}

impl FlowPage for ResultPage {
    fn name(&self) -> String {
        gettext("Result")
    }

    fn show(&self, _state: &State) {}
}
