// SPDX-License-Identifier: GPL-3.0-or-later
//! A run while it goes on: how far it is, and its log.

use super::state::{FlowPage, State};
use crate::engine::{Check, CheckOutcome, Event, KernelResult, Level, RunState};
use crate::ipc::{Error, Follow, Run, RunProxy};
use crate::tell::{self, Problem};
use crate::ui::i18n::{amount, gettext, gettext_f, told};
use crate::ui::widgets::{Kind, LogView, PageHead};
use crate::ui::window::Window;
use adw::prelude::*;
use adw::subclass::prelude::*;
use gtk::{CompositeTemplate, glib};
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

/// How often the bar and the times are brought up to date.
const TICK: Duration = Duration::from_millis(250);

/// From this share on the time that is left is told: earlier it would be a guess.
const ENOUGH: f64 = 0.15;

/// How a run ended, as far as this window heard.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Its number.
    pub(super) run: u32,
    /// How it ended; nothing when the helper went away in the middle.
    pub(super) state: Option<RunState>,
    /// What was said at its end.
    pub(super) message: String,
    /// What was looked at afterwards.
    pub(super) checks: Vec<Check>,
    /// What came of each kernel, when it was for several.
    pub(super) kernels: Vec<KernelResult>,
    /// How long it took, or this window watched it.
    pub(super) took: Duration,
    /// Whether somebody here asked to stop.
    pub(super) cancelled: bool,
    /// Why nothing more was heard.
    pub(super) problem: Option<Problem>,
}

mod imp {
    use super::*;

    #[derive(Debug, Default, CompositeTemplate)]
    #[template(resource = "/org/hostwright/Hostwright/flows/vmware/progress.ui")]
    pub struct ProgressPage {
        #[template_child]
        pub(super) head: TemplateChild<PageHead>,
        #[template_child]
        pub(super) bar: TemplateChild<gtk::ProgressBar>,
        #[template_child]
        pub(super) step: TemplateChild<gtk::Label>,
        #[template_child]
        pub(super) time: TemplateChild<gtk::Label>,
        #[template_child]
        pub(super) log: TemplateChild<LogView>,
        pub(super) control: RefCell<Option<RunProxy<'static>>>,
        pub(super) cancelled: Cell<bool>,
        pub(super) undoing: Cell<bool>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for ProgressPage {
        const NAME: &'static str = "HwProgressPage";
        type Type = super::ProgressPage;
        type ParentType = adw::Bin;

        fn class_init(class: &mut Self::Class) {
            PageHead::ensure_type();
            LogView::ensure_type();
            class.bind_template();
        }

        fn instance_init(obj: &glib::subclass::InitializingObject<Self>) {
            obj.init_template();
        }
    }

    impl ObjectImpl for ProgressPage {}

    impl WidgetImpl for ProgressPage {}
    impl BinImpl for ProgressPage {}
}

glib::wrapper! {
    pub struct ProgressPage(ObjectSubclass<imp::ProgressPage>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget;
}

impl ProgressPage {
    /// Whether a run goes on.
    pub(super) fn is_running(&self) -> bool {
        self.imp().control.borrow().is_some()
    }

    /// Whether it can still be asked to stop.
    pub(super) fn can_cancel(&self) -> bool {
        self.is_running() && !self.imp().cancelled.get()
    }

    /// Follows a run to its end.
    pub(super) async fn follow(&self, run: Run, undo: bool) -> Outcome {
        let imp = self.imp();
        let mut outcome = Outcome {
            run: run.number(),
            state: None,
            message: String::new(),
            checks: Vec::new(),
            kernels: Vec::new(),
            took: Duration::ZERO,
            cancelled: false,
            problem: None,
        };
        imp.log.clear();
        imp.cancelled.set(false);
        imp.control.replace(Some(run.control()));
        imp.bar.set_fraction(0.0);
        imp.step.set_label("");
        imp.time.set_label("");
        self.tell_title(undo);
        let began = Instant::now();
        self.tick(began);
        let (number, mut at) = (run.number(), 0);
        let mut follow = run.follow();
        while let Some(next) = follow.next().await {
            match next {
                Ok(next) => {
                    at = next.number.map_or(at, |n| n + 1);
                    self.take_event(next.event, &mut outcome);
                }
                Err(error @ Error::Lost { .. }) => match self.again(number, at, &error).await {
                    Ok(again) => {
                        imp.control.replace(Some(again.control()));
                        follow = again;
                    }
                    Err(problem) => outcome.problem = Some(problem),
                },
                Err(error) => outcome.problem = Some(error.into()),
            }
        }
        imp.control.replace(None);
        self.tell_end(outcome.state);
        imp.time.set_label(&amount(&tell::seconds(began.elapsed())));
        outcome.took = began.elapsed();
        outcome.cancelled = imp.cancelled.get();
        outcome
    }

    /// The run once more, when the connection to its machine was lost: it goes on there.
    async fn again(&self, run: u32, next: u64, lost: &Error) -> Result<Follow, Problem> {
        let imp = self.imp();
        imp.log.push(Kind::Warning, &told(&tell::sentence(&lost.to_string())));
        imp.head
            .set_text(gettext("The connection was lost. The work goes on there; trying to reach it again."));
        let Some(window) = Window::of(self) else { return Err(lost.clone().into()) };
        let again = window.machine().follow_again(run, next).await?;
        imp.log.push(Kind::Note, &gettext("The connection is there again."));
        self.tell_title(imp.undoing.get());
        Ok(again)
    }

    /// Asks the run to stop and to take back what it did.
    pub(super) async fn cancel(&self) -> Result<(), Problem> {
        let Some(control) = self.imp().control.borrow().clone() else { return Ok(()) };
        self.imp().cancelled.set(true);
        self.imp().head.set_text(gettext("Stopping. What was done so far is taken back."));
        control.cancel().await.map_err(|e| {
            self.imp().cancelled.set(false);
            Problem::from(crate::ipc::Error::from(e))
        })
    }

    // Show.

    fn tell_title(&self, undo: bool) {
        let head = &self.imp().head;
        self.imp().undoing.set(undo);
        if undo {
            head.set_title(gettext("Taking it back"));
            head.set_text(gettext("What was there before comes back, step by step."));
        } else {
            head.set_title(gettext("Applying"));
            head.set_text(gettext(
                "You can close this window: the work goes on, and a notification tells its end.",
            ));
        }
    }

    /// What one finds who comes back here from the result.
    fn tell_end(&self, state: Option<RunState>) {
        let imp = self.imp();
        if matches!(state, Some(RunState::Done | RunState::Undone)) {
            imp.bar.set_fraction(1.0);
        }
        imp.head.set_title(if state == Some(RunState::Done) { gettext("Applied") } else { gettext("Ended") });
        imp.head.set_text(gettext("The log of what was done."));
    }

    fn take_event(&self, event: Event, outcome: &mut Outcome) {
        let log = &self.imp().log;
        match event {
            Event::Started { undo, .. } => {
                if undo && !self.imp().undoing.get() {
                    log.push(Kind::Step, &gettext("Taking back what was done"));
                    self.tell_title(true);
                }
            }
            Event::Step { title, .. } => log.push(Kind::Step, &told(&title)),
            Event::Log { line, .. } => log.push(Kind::Output, &line),
            Event::Diagnostic { level, file, line, message, .. } => {
                let kind = match level {
                    Level::Note => Kind::Note,
                    Level::Warning => Kind::Warning,
                    Level::Error => Kind::Error,
                };
                let place = match (file, line) {
                    (Some(file), Some(line)) => format!("{file}:{line}: "),
                    (Some(file), None) => format!("{file}: "),
                    _ => String::new(),
                };
                log.push(kind, &format!("{place}{}", told(&message)));
            }
            Event::StepDone { unchanged: true, .. } => {
                log.push(Kind::Note, &gettext("It was so already; nothing was changed."));
            }
            Event::StepFailed { reason, .. } => log.push(Kind::Error, &told(&tell::sentence(&reason))),
            Event::Checked { check } => {
                let (kind, text) = match &check.outcome {
                    CheckOutcome::Good => (Kind::Good, check.what.clone()),
                    CheckOutcome::Bad { reason } => (Kind::Error, format!("{}: {reason}", check.what)),
                    CheckOutcome::CouldNotLook { reason } => {
                        (Kind::Warning, format!("{}: {reason}", check.what))
                    }
                    CheckOutcome::NotApplicable { reason } => {
                        (Kind::Note, format!("{}: {reason}", check.what))
                    }
                };
                log.push(kind, &told(&text));
                outcome.checks.push(check);
            }
            Event::Kernel { result } => {
                let kind = if result.good { Kind::Good } else { Kind::Error };
                log.push(kind, &told(&format!("{}: {}", result.kernel, result.text)));
                outcome.kernels.push(result);
            }
            Event::Finished { state, message } => {
                log.push(Kind::Note, &told(&message));
                outcome.state = Some(state);
                outcome.message = message;
            }
            Event::Progress { .. } | Event::StepDone { .. } => {}
        }
    }

    /// Brings bar and times up to date until the run is over. The share comes from the helper, which weighs the steps.
    fn tick(&self, began: Instant) {
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = page)]
            self,
            async move {
                loop {
                    let Some(control) = page.imp().control.borrow().clone() else { return };
                    if let Ok(share) = control.progress().await {
                        page.tell_share(share, began);
                    }
                    if let Ok((step, steps, title)) = control.step().await
                        && step > 0
                    {
                        let (step, steps) = (step.to_string(), steps.to_string());
                        let values =
                            [("n", step.as_str()), ("all", steps.as_str()), ("title", &told(&title))];
                        page.imp().step.set_label(&gettext_f("Step {n} of {all}: {title}", &values));
                    }
                    glib::timeout_future(TICK).await;
                }
            }
        ));
    }

    fn tell_share(&self, share: f64, began: Instant) {
        let imp = self.imp();
        imp.bar.set_fraction(share.clamp(0.0, 1.0));
        let elapsed = began.elapsed();
        let now = tell::whole_seconds(elapsed.max(Duration::from_secs(1)));
        let text = if (ENOUGH..1.0).contains(&share) && elapsed > Duration::from_secs(3) {
            let left = elapsed.mul_f64((1.0 - share) / share).max(Duration::from_secs(1));
            let left = tell::whole_seconds(left);
            gettext_f("{elapsed}, about {left} left", &[("elapsed", &now), ("left", &left)])
        } else {
            now
        };
        imp.time.set_label(&text);
    }
}

impl FlowPage for ProgressPage {
    fn name(&self) -> String {
        gettext("Progress")
    }

    fn show(&self, _state: &State) {}

    fn can_go_on(&self) -> bool {
        !self.is_running()
    }
}
