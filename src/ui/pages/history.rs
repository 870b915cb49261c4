// SPDX-License-Identifier: GPL-3.0-or-later
//! The runs of the machine, their steps, and taking them back.

use crate::engine::{RunState, RunSummary, StepState};
use crate::tell::{self, Mark, Problem};
use crate::ui::context::Context;
use crate::ui::i18n::{gettext, gettext_f, told};
use crate::ui::widgets::{ProblemView, clear, expander, mark_icon, named, text_row};
use crate::ui::window::Window;
use adw::prelude::*;
use adw::subclass::prelude::*;
use gtk::{CompositeTemplate, glib};
use std::cell::RefCell;

mod imp {
    use super::*;

    #[derive(Debug, Default, CompositeTemplate)]
    #[template(resource = "/org/hostwright/Hostwright/pages/history.ui")]
    pub struct HistoryPage {
        #[template_child]
        pub(super) stack: TemplateChild<gtk::Stack>,
        #[template_child]
        pub(super) problem: TemplateChild<ProblemView>,
        #[template_child]
        pub(super) list: TemplateChild<adw::PreferencesGroup>,
        pub(super) rows: RefCell<Vec<gtk::Widget>>,
        pub(super) context: RefCell<Context>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for HistoryPage {
        const NAME: &'static str = "HwHistoryPage";
        type Type = super::HistoryPage;
        type ParentType = adw::Bin;

        fn class_init(class: &mut Self::Class) {
            ProblemView::ensure_type();
            class.bind_template();
        }

        fn instance_init(obj: &glib::subclass::InitializingObject<Self>) {
            obj.init_template();
        }
    }

    impl ObjectImpl for HistoryPage {
        fn constructed(&self) {
            self.parent_constructed();
            self.obj().set_up();
        }
    }

    impl WidgetImpl for HistoryPage {}
    impl BinImpl for HistoryPage {}
}

glib::wrapper! {
    pub struct HistoryPage(ObjectSubclass<imp::HistoryPage>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget;
}

impl HistoryPage {
    fn set_up(&self) {}

    /// The machine it is about.
    pub(in crate::ui) fn set_context(&self, context: &Context) {
        self.imp().context.replace(context.clone());
    }

    /// Reads the runs anew.
    pub(in crate::ui) fn refresh(&self) {
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = page)]
            self,
            async move {
                let machine = page.imp().context.borrow().machine.clone();
                match machine.runs(true).await {
                    Ok(runs) => page.show(&runs),
                    Err(problem) => page.show_problem(&problem),
                }
            }
        ));
    }

    // Show.

    fn show(&self, runs: &[RunSummary]) {
        let imp = self.imp();
        imp.problem.show(None);
        clear(&imp.list, &mut imp.rows.borrow_mut());
        for run in runs {
            let row = run_row(run);
            imp.list.add(&row);
            imp.rows.borrow_mut().push(row.upcast());
        }
        imp.stack.set_visible_child_name(if runs.is_empty() { "empty" } else { "runs" });
    }

    fn show_problem(&self, problem: &Problem) {
        let imp = self.imp();
        clear(&imp.list, &mut imp.rows.borrow_mut());
        imp.problem.show(Some(problem));
        imp.stack.set_visible_child_name("runs");
    }
}

/// A date and time as people here write them.
fn when(at: jiff::Timestamp) -> String {
    let local = glib::DateTime::from_unix_local(at.as_second());
    local.and_then(|d| d.format("%x, %H:%M")).map(String::from).unwrap_or_else(|_| at.to_string())
}

fn run_row(run: &RunSummary) -> adw::ExpanderRow {
    let (mark, word) = tell::run_state(run.state);
    let number = run.run.to_string();
    let date = when(run.started);
    let about = if run.problem.is_some() {
        gettext_f("Run {n}", &[("n", &number)])
    } else {
        let values =
            [("n", number.as_str()), ("date", &date), ("user", &run.owner.name), ("state", &told(word))];
        gettext_f("Run {n}, {date}, by {user}: {state}", &values)
    };
    let row = expander(&run.title, &about);
    row.add_prefix(&mark_icon(mark));
    if let Some(text) = run.problem.as_ref().or(run.message.as_ref()) {
        let said = text_row(text, "");
        row.add_row(&said);
    }
    for step in &run.steps {
        let (mark, word) = step_state(step.state);
        let text = match &step.reason {
            Some(reason) => format!("{word}: {reason}"),
            None => word,
        };
        let step = text_row(&step.title, &text);
        step.add_prefix(&mark_icon(mark));
        row.add_row(&step);
    }
    if let Some(log) = &run.log {
        row.add_row(&text_row(&gettext("Log"), log));
    }
    let number = run.run;
    if matches!(run.state, RunState::Running | RunState::Undoing) {
        row.add_action(&action(&gettext("Show"), &run.title, move |window| window.attach(number)));
    } else if run.can_undo {
        row.add_action(&action(&gettext("Take Back\u{2026}"), &run.title, move |window| {
            window.ask_to_undo(number, Vec::new());
        }));
    }
    row
}

fn action(label: &str, what: &str, act: impl Fn(&Window) + 'static) -> gtk::Button {
    let button = gtk::Button::builder().label(label).valign(gtk::Align::Center).build();
    let name = gettext_f("{action}: {what}", &[("action", label), ("what", &told(what))]);
    named(&button, &name);
    button.connect_clicked(move |button| {
        if let Some(window) = Window::of(button) {
            act(&window);
        }
    });
    button
}

fn step_state(state: StepState) -> (Mark, String) {
    match state {
        StepState::Pending => (Mark::Neutral, gettext("Not begun")),
        StepState::Begun => (Mark::Warning, gettext("Begun")),
        StepState::Done => (Mark::Good, gettext("Done")),
        StepState::Unchanged => (Mark::Good, gettext("It was so already")),
        StepState::Failed => (Mark::Bad, gettext("Failed")),
        StepState::Undone => (Mark::Neutral, gettext("Taken back")),
    }
}
