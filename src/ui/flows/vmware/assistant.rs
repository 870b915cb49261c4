// SPDX-License-Identifier: GPL-3.0-or-later
//! The way through the pages: which is shown, what comes next, and the talk with the helper between them.

use super::checks::ChecksPage;
use super::extras::ExtrasPage;
use super::hardware::HardwarePage;
use super::kernels::KernelsPage;
use super::mode::ModePage;
use super::progress::{Outcome, ProgressPage};
use super::result::ResultPage;
use super::review::ReviewPage;
use super::state::{FlowPage, Start, State, Then};
use super::welcome::WelcomePage;
use crate::engine::{Plan, RunState};
use crate::ipc::Run;
use crate::tell::Problem;
use crate::ui::actions::Action;
use crate::ui::context::Context;
use crate::ui::dialogs::{self, Question};
use crate::ui::i18n::{gettext, gettext_f, told};
use crate::ui::window::Window;
use adw::prelude::*;
use adw::subclass::prelude::*;
use gtk::{CompositeTemplate, gio, glib};
use std::cell::{Cell, RefCell};

/// The pages in their order, as the stack names them.
const PAGES: [&str; 9] =
    ["welcome", "checks", "kernels", "hardware", "mode", "extras", "review", "progress", "result"];
const REVIEW: usize = 6;
const PROGRESS: usize = 7;
const RESULT: usize = 8;

mod imp {
    use super::*;

    #[derive(Debug, Default, CompositeTemplate)]
    #[template(resource = "/org/hostwright/Hostwright/flows/vmware/assistant.ui")]
    pub struct Assistant {
        #[template_child]
        pub(super) title: TemplateChild<adw::WindowTitle>,
        #[template_child]
        pub(super) way: TemplateChild<gtk::ProgressBar>,
        #[template_child]
        pub(super) stack: TemplateChild<gtk::Stack>,
        #[template_child]
        pub(super) welcome: TemplateChild<WelcomePage>,
        #[template_child]
        pub(super) checks: TemplateChild<ChecksPage>,
        #[template_child]
        pub(super) kernels: TemplateChild<KernelsPage>,
        #[template_child]
        pub(super) hardware: TemplateChild<HardwarePage>,
        #[template_child]
        pub(super) mode: TemplateChild<ModePage>,
        #[template_child]
        pub(super) extras: TemplateChild<ExtrasPage>,
        #[template_child]
        pub(super) review: TemplateChild<ReviewPage>,
        #[template_child]
        pub(super) progress: TemplateChild<ProgressPage>,
        #[template_child]
        pub(super) result: TemplateChild<ResultPage>,
        #[template_child]
        pub(super) back: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) asking: TemplateChild<gtk::Box>,
        #[template_child]
        pub(super) asking_spinner: TemplateChild<gtk::Spinner>,
        #[template_child]
        pub(super) asking_label: TemplateChild<gtk::Label>,
        #[template_child]
        pub(super) cancel: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) next: TemplateChild<gtk::Button>,
        pub(super) state: RefCell<State>,
        pub(super) at: Cell<usize>,
        /// The plan that is shown.
        pub(super) plan: RefCell<Option<Plan>>,
        /// Which request for a plan is the newest; answers to older ones are of no use any more.
        pub(super) request: Cell<u32>,
        /// The helper was asked for something that a person may have to allow.
        pub(super) waiting: Cell<bool>,
        /// Whether a run is shown that did not begin with the pages before.
        pub(super) only_run: Cell<bool>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Assistant {
        const NAME: &'static str = "HwVmwareAssistant";
        type Type = super::Assistant;
        type ParentType = adw::Bin;

        fn class_init(class: &mut Self::Class) {
            WelcomePage::ensure_type();
            ChecksPage::ensure_type();
            KernelsPage::ensure_type();
            HardwarePage::ensure_type();
            ModePage::ensure_type();
            ExtrasPage::ensure_type();
            ReviewPage::ensure_type();
            ProgressPage::ensure_type();
            ResultPage::ensure_type();
            class.bind_template();
        }

        fn instance_init(obj: &glib::subclass::InitializingObject<Self>) {
            obj.init_template();
        }
    }

    impl ObjectImpl for Assistant {}
    impl WidgetImpl for Assistant {}
    impl BinImpl for Assistant {}
}

glib::wrapper! {
    pub struct Assistant(ObjectSubclass<imp::Assistant>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget;
}

impl Assistant {
    /// The machine it is about.
    pub(in crate::ui) fn set_context(&self, context: &Context) {
        self.imp().state.borrow_mut().context = context.clone();
    }

    /// Measures the pages one after the other, while nothing else is to be done: most of what a page costs when it is
    /// first shown is the style and the size of each thing on it. `width`: of the window, in pixels.
    pub(in crate::ui) fn prepare(&self, width: i32) {
        // What this page says depends on the machine alone.
        FlowPage::show(&*self.imp().mode, &self.imp().state.borrow());
        let mut n = 0;
        glib::idle_add_local_full(
            glib::Priority::LOW,
            glib::clone!(
                #[weak(rename_to = assistant)]
                self,
                #[upgrade_or]
                glib::ControlFlow::Break,
                move || {
                    let pages = assistant.imp().stack.pages();
                    let Some(page) = pages.item(n).and_downcast::<gtk::StackPage>() else {
                        return glib::ControlFlow::Break;
                    };
                    let (least, _, _, _) = page.child().measure(gtk::Orientation::Horizontal, -1);
                    page.child().measure(gtk::Orientation::Vertical, width.max(least));
                    n += 1;
                    glib::ControlFlow::Continue
                }
            ),
        );
    }

    /// Begins anew.
    pub(in crate::ui) fn begin(&self, start: Start) {
        let imp = self.imp();
        let context = imp.state.borrow().context.clone();
        imp.state.replace(State { context, ..State::default() });
        imp.plan.replace(None);
        imp.only_run.set(matches!(start, Start::Attach { .. } | Start::Undo { .. }));
        match start {
            Start::Afresh => {
                let mut state = imp.state.borrow_mut();
                state.choices.rehearse = state.context.settings().rehearse;
                drop(state);
                self.go(0);
            }
            Start::With { choices, then } => {
                let mut state = imp.state.borrow_mut();
                (state.choices, state.kernels_picked, state.mode_picked) = (*choices, true, true);
                state.then = then;
                drop(state);
                self.go(0);
            }
            Start::Review { request, then } => {
                let mut state = imp.state.borrow_mut();
                (state.request, state.then) = (Some(*request), then);
                drop(state);
                self.go(REVIEW);
                return;
            }
            Start::Attach { run } => self.with_run(run, false),
            Start::Undo { run, then } => {
                imp.state.borrow_mut().then = then;
                self.with_run(run, true);
            }
        }
        self.look_again();
    }

    /// The pages, in their order.
    fn page(&self) -> &dyn FlowPage {
        let imp = self.imp();
        match imp.at.get() {
            0 => &*imp.welcome,
            1 => &*imp.checks,
            2 => &*imp.kernels,
            3 => &*imp.hardware,
            4 => &*imp.mode,
            5 => &*imp.extras,
            REVIEW => &*imp.review,
            PROGRESS => &*imp.progress,
            _ => &*imp.result,
        }
    }

    /// Whether a run is shown that goes on.
    pub(in crate::ui) fn is_running(&self) -> bool {
        self.imp().progress.is_running()
    }

    /// Whether there is a run that can be asked to stop.
    pub(in crate::ui) fn can_cancel(&self) -> bool {
        self.imp().at.get() == PROGRESS && self.imp().progress.can_cancel()
    }

    /// Whether a page follows that may be entered.
    pub(in crate::ui) fn can_go_on(&self) -> bool {
        !self.imp().waiting.get() && self.page().can_go_on()
    }

    /// Whether there is a way back from this page.
    pub(in crate::ui) fn can_go_back(&self) -> bool {
        !self.imp().waiting.get() && self.imp().at.get() != PROGRESS
    }

    // Show.

    fn go(&self, to: usize) {
        let imp = self.imp();
        imp.at.set(to);
        self.page().show(&imp.state.borrow());
        imp.stack.set_visible_child_name(PAGES[to]);
        self.update();
        if to == REVIEW {
            self.make_plan();
        }
        // Screen readers and keys begin at the top of the new page.
        if !imp.stack.child_focus(gtk::DirectionType::TabForward) {
            imp.next.grab_focus();
        }
    }

    /// Brings the frame round the page up to date.
    fn update(&self) {
        let imp = self.imp();
        let at = imp.at.get();
        let name = self.page().name();
        // The way ends where the choices do: progress and result are no places to go.
        let ways = REVIEW + 1;
        let request = imp.state.borrow().request.as_ref().map(|r| r.title.clone());
        let alone = request.is_some() || imp.only_run.get();
        imp.title.set_title(&match request {
            Some(title) => title,
            None if alone => gettext("Change of This Machine"),
            None => gettext("VMware Modules"),
        });
        imp.way.set_visible(!alone);
        let text = if at < ways && !alone {
            let (n, all) = ((at + 1).to_string(), ways.to_string());
            gettext_f("{n} of {all}: {page}", &[("n", &n), ("all", &all), ("page", &name)])
        } else {
            name
        };
        imp.title.set_subtitle(&text);
        #[allow(clippy::cast_precision_loss, reason = "nine pages")]
        imp.way.set_fraction((at as f64 / REVIEW as f64).min(1.0));
        let label = match at {
            REVIEW => gettext("Apply"),
            RESULT if !imp.state.borrow().then.is_empty() => gettext("Continue"),
            RESULT => gettext("Done"),
            _ => gettext("Continue"),
        };
        imp.next.set_label(&label);
        imp.cancel.set_visible(at == PROGRESS && self.is_running());
        imp.back.set_visible(at != PROGRESS);
        imp.next.set_visible(at != PROGRESS || !self.is_running());
        let _ = self.activate_action(Action::PageChanged.full(), None);
    }

    fn tell_waiting(&self, text: Option<&str>) {
        let imp = self.imp();
        imp.waiting.set(text.is_some());
        imp.asking_spinner.set_spinning(text.is_some());
        imp.asking_label.set_label(text.unwrap_or_default());
        self.update();
    }

    // React.

    /// The next page.
    pub(in crate::ui) fn next(&self) {
        let imp = self.imp();
        if !self.can_go_on() {
            return;
        }
        self.page().take(&mut imp.state.borrow_mut());
        match imp.at.get() {
            REVIEW => self.apply(),
            RESULT => self.then(),
            at => self.go(at + 1),
        }
    }

    /// The page before; false when there is none.
    pub(in crate::ui) fn back(&self) -> bool {
        let imp = self.imp();
        self.page().take(&mut imp.state.borrow_mut());
        match imp.at.get() {
            0 => return false,
            // The choices were made elsewhere.
            REVIEW if imp.state.borrow().request.is_some() => return false,
            at => self.go(at - 1),
        }
        true
    }

    /// What comes when a run is over and was looked at.
    fn then(&self) {
        let mut then = std::mem::take(&mut self.imp().state.borrow_mut().then);
        let first = if then.is_empty() { None } else { Some(then.remove(0)) };
        match (first, Window::of(self)) {
            (Some(Then::Review(request)), _) => {
                self.begin(Start::Review { request: Box::new(request), then });
            }
            (Some(Then::Tuning), Some(window)) => window.show_tuning(),
            _ => {
                let _ = self.activate_action(Action::Home.full(), None);
            }
        }
    }

    /// Looks at the machine anew, and shows the page with what is seen.
    pub(in crate::ui) fn look_again(&self) {
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = assistant)]
            self,
            async move {
                let context = assistant.imp().state.borrow().context.clone();
                match context.machine.facts(None).await {
                    Ok(facts) => {
                        context.set_facts(facts);
                        let at = assistant.imp().at.get();
                        if at < REVIEW {
                            assistant.page().take(&mut assistant.imp().state.borrow_mut());
                            assistant.page().show(&assistant.imp().state.borrow());
                        } else if at == REVIEW {
                            assistant.make_plan();
                        }
                    }
                    Err(problem) => assistant.tell(&problem),
                }
            }
        ));
    }

    /// Asks whether the run should stop, and has it stopped.
    pub(in crate::ui) fn ask_to_cancel(&self) {
        let Some(window) = Window::of(self).filter(|_| self.can_cancel()) else { return };
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = assistant)]
            self,
            async move {
                let question = Question {
                    heading: &gettext("Cancel?"),
                    body: &gettext("The work stops, and what was done so far is taken back."),
                    no: &gettext("Go On"),
                    yes: &gettext("Cancel and Take Back"),
                    destructive: true,
                };
                if !dialogs::ask(&window, &question).await || !assistant.can_cancel() {
                    return;
                }
                let cancelled = assistant.imp().progress.cancel().await;
                assistant.update();
                if let Err(problem) = cancelled {
                    window.tell(&problem);
                }
            }
        ));
    }

    fn tell(&self, problem: &Problem) {
        if let Some(window) = Window::of(self) {
            window.tell(problem);
        }
    }

    // Do.

    fn make_plan(&self) {
        let imp = self.imp();
        let request = imp.request.get().wrapping_add(1);
        imp.request.set(request);
        imp.plan.replace(None);
        imp.review.show_looking();
        self.update();
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = assistant)]
            self,
            async move {
                let made = assistant.plan().await;
                let imp = assistant.imp();
                if imp.request.get() != request || imp.at.get() != REVIEW {
                    return;
                }
                match made {
                    Ok((plan, steps)) => {
                        imp.review.show_plan(&plan, &steps);
                        imp.plan.replace(Some(plan));
                    }
                    Err(problem) => assistant.tell_refusal(&problem),
                }
                assistant.update();
            }
        ));
    }

    async fn plan(&self) -> Result<(Plan, Vec<crate::engine::StepPreview>), Problem> {
        let (machine, flow, choices, files) = {
            let state = self.imp().state.borrow();
            (state.context.machine.clone(), state.flow(), state.document(), state.files(false))
        };
        machine.plan(&flow, &choices, &files?).await
    }

    fn apply(&self) {
        let Some(digest) = self.imp().plan.borrow().as_ref().map(Plan::digest) else { return };
        self.tell_waiting(Some(&gettext("Waiting for permission")));
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = assistant)]
            self,
            async move {
                let begun = assistant.execute(&digest).await;
                assistant.tell_waiting(None);
                match begun {
                    Ok(run) => assistant.watch(run, false).await,
                    Err(problem) if problem.code == "machine-changed" => {
                        // The new plan is shown below these words.
                        assistant.make_plan();
                        if let Some(window) = Window::of(&assistant) {
                            window.tell(&problem);
                        }
                    }
                    Err(problem) => assistant.tell_refusal(&problem),
                }
            }
        ));
    }

    async fn execute(&self, digest: &str) -> Result<Run, Problem> {
        let (machine, flow, choices, files) = {
            let state = self.imp().state.borrow();
            (state.context.machine.clone(), state.flow(), state.document(), state.files(true))
        };
        machine.execute(&flow, &choices, digest, &files?).await
    }

    /// Nothing was changed, and why, on the page that was left with Apply.
    fn tell_refusal(&self, problem: &Problem) {
        let imp = self.imp();
        if problem.code == "could-not-ask" {
            imp.review.show_no_agent(&imp.state.borrow().command());
        } else {
            imp.review.show_problem(problem);
        }
    }

    fn with_run(&self, run: u32, undo: bool) {
        self.imp().stack.set_visible_child_name(PAGES[PROGRESS]);
        self.imp().at.set(PROGRESS);
        self.tell_waiting(Some(&if undo { gettext("Waiting for permission") } else { String::new() }));
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = assistant)]
            self,
            async move {
                let machine = assistant.imp().state.borrow().context.machine.clone();
                let begun = if undo { machine.undo(run).await } else { machine.run(run).await };
                assistant.tell_waiting(None);
                match begun {
                    Ok(run) => assistant.watch(run, undo).await,
                    Err(problem) => {
                        let _ = assistant.activate_action(Action::History.full(), None);
                        assistant.tell(&problem);
                    }
                }
            }
        ));
    }

    /// Shows a run to its end, and then how it ended.
    async fn watch(&self, run: Run, undo: bool) {
        let imp = self.imp();
        imp.stack.set_visible_child_name(PAGES[PROGRESS]);
        imp.at.set(PROGRESS);
        let following = imp.progress.follow(run, undo);
        glib::idle_add_local_once(glib::clone!(
            #[weak(rename_to = assistant)]
            self,
            move || {
                assistant.update();
                assistant.imp().progress.child_focus(gtk::DirectionType::TabForward);
            }
        ));
        let outcome = following.await;
        if !matches!(outcome.state, Some(RunState::Done | RunState::Undone)) {
            // What was to come after it was to come after its success.
            imp.state.borrow_mut().then.clear();
        }
        imp.result.show_outcome(&outcome, imp.plan.borrow().as_ref());
        self.go(RESULT);
        self.notify_end(&outcome);
    }

    /// Tells the end to somebody who looks elsewhere.
    fn notify_end(&self, outcome: &Outcome) {
        let Some(window) = Window::of(self).filter(|w| !w.is_active()) else { return };
        let wanted = self.imp().state.borrow().context.settings().notifications;
        let good = matches!(outcome.state, Some(RunState::Done | RunState::Undone));
        let title =
            if good { gettext("The work is done") } else { gettext("The work ended, and needs a look") };
        let notification = gio::Notification::new(&title);
        notification.set_body(Some(&told(&outcome.message)));
        if let Some(app) = window.application().filter(|_| wanted) {
            app.send_notification(Some("run"), &notification);
        }
        if !window.is_visible() {
            // It was closed meanwhile; what happened is in History.
            window.destroy();
        }
    }
}
