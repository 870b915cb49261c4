// SPDX-License-Identifier: GPL-3.0-or-later
//! The window: one view at a time, and the actions that go between them.

mod ask;

use super::actions::Action;
use super::application::Application;
use super::context::Context;
use super::flows::bench::BenchView;
use super::flows::tuning::TuningView;
use super::flows::vgpu::VgpuView;
use super::flows::vmware::{Assistant, Request, Start, Then};
use super::flows::{self, lab::LabView};
use super::help;
use super::i18n::{gettext, gettext_f, told};
use super::machine::{Machine, elsewhere};
use super::machines;
use super::pages::{HistoryPage, HomePage, ProfilesPage};
use super::preferences;
use super::settings::Settings;
use crate::engine::RunState;
use crate::flows::vmware::Choices;
use crate::profile::{self, Document};
use crate::tell::Problem;
use adw::prelude::*;
use adw::subclass::prelude::*;
use gtk::{CompositeTemplate, gdk, gio, glib};
use std::cell::{Cell, OnceCell};
use std::path::PathBuf;

/// How long after the window the assistant's pages are made.
const PREPARE: std::time::Duration = std::time::Duration::from_millis(1200);

mod imp {
    use super::*;
    use crate::ui::machines;

    #[derive(Debug, Default, CompositeTemplate)]
    #[template(resource = "/org/hostwright/Hostwright/window.ui")]
    pub struct Window {
        #[template_child]
        pub(super) toasts: TemplateChild<adw::ToastOverlay>,
        #[template_child]
        pub(super) views: TemplateChild<gtk::Stack>,
        #[template_child]
        pub(super) home: TemplateChild<HomePage>,
        pub(super) assistant: OnceCell<Assistant>,
        pub(super) history: OnceCell<HistoryPage>,
        pub(super) profiles: OnceCell<ProfilesPage>,
        pub(super) context: Context,
        /// Views that are made when they are first shown.
        pub(super) lab: OnceCell<LabView>,
        pub(super) tuning: OnceCell<TuningView>,
        pub(super) bench: OnceCell<BenchView>,
        pub(super) vgpu: OnceCell<VgpuView>,
        /// Where choices were made whose plan the assistant shows.
        pub(super) came_from: Cell<Option<&'static str>>,
        /// The window closes when the guest has ended.
        pub(super) closing: Cell<bool>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Window {
        const NAME: &'static str = "HwWindow";
        type Type = super::Window;
        type ParentType = adw::ApplicationWindow;

        fn class_init(class: &mut Self::Class) {
            HomePage::ensure_type();
            class.bind_template();
            // What has the focus takes these keys first, to copy.
            class.add_binding(gdk::Key::c, gdk::ModifierType::CONTROL_MASK, |window| {
                if !window.can_cancel() {
                    return glib::Propagation::Proceed;
                }
                window.ask_to_cancel();
                glib::Propagation::Stop
            });
            class.install_action(machines::CHOOSE, None, |w, _, _| w.choose_machine());
            class.install_action(Action::Home.full(), None, |w, _, _| w.show_home());
            class.install_action(Action::Vmware.full(), None, |w, _, _| w.open_vmware(None));
            class.install_action(Action::Lab.full(), None, |w, _, _| w.show_lab());
            class.install_action(Action::Vgpu.full(), None, |w, _, _| w.show_vgpu());
            class.install_action(Action::Tuning.full(), None, |w, _, _| w.show_tuning());
            class.install_action(Action::Bench.full(), None, |w, _, _| w.show_bench());
            class.install_action(Action::History.full(), None, |w, _, _| w.show_history());
            class.install_action(Action::Profiles.full(), None, |w, _, _| w.show_profiles());
            class.install_action(Action::Refresh.full(), None, |w, _, _| w.refresh());
            class.install_action(Action::Next.full(), None, |w, _, _| w.next());
            class.install_action(Action::Back.full(), None, |w, _, _| w.back());
            class.install_action(Action::PageChanged.full(), None, |w, _, _| w.update_actions());
            class.install_action(Action::CancelRun.full(), None, |w, _, _| w.ask_to_cancel());
        }

        fn instance_init(obj: &glib::subclass::InitializingObject<Self>) {
            obj.init_template();
        }
    }

    impl ObjectImpl for Window {
        fn constructed(&self) {
            self.parent_constructed();
            self.obj().set_up();
        }
    }

    impl WidgetImpl for Window {}

    impl WindowImpl for Window {
        fn close_request(&self) -> glib::Propagation {
            if self.obj().is_running() {
                // The run goes on in the helper; so does this process, hidden, to tell how it ended.
                self.obj().set_visible(false);
                return glib::Propagation::Stop;
            }
            if self.lab.get().is_some_and(LabView::is_running) {
                // A guest is this program's own, and ends with it.
                self.obj().ask_to_close();
                return glib::Propagation::Stop;
            }
            if self.bench.get().is_some_and(BenchView::is_running) {
                // So do guests that are measured, and files that are.
                self.obj().ask_to_end_bench();
                return glib::Propagation::Stop;
            }
            self.parent_close_request()
        }
    }

    impl ApplicationWindowImpl for Window {}
    impl AdwApplicationWindowImpl for Window {}
}

glib::wrapper! {
    pub struct Window(ObjectSubclass<imp::Window>)
        @extends adw::ApplicationWindow, gtk::ApplicationWindow, gtk::Window, gtk::Widget,
        @implements gio::ActionGroup, gio::ActionMap, gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget,
            gtk::Native, gtk::Root, gtk::ShortcutManager;
}

impl Window {
    /// A window of the application. What runs already on the machine is shown at once.
    pub(super) fn new(app: &Application) -> Self {
        let window: Self = glib::Object::builder().property("application", app).build();
        glib::spawn_future_local(glib::clone!(
            #[weak]
            window,
            async move { window.attach_to_what_runs().await }
        ));
        window
    }

    fn set_up(&self) {
        let imp = self.imp();
        imp.context.set_settings(Settings::load());
        machines::show_below(&imp.toasts, &imp.context.machine);
        imp.home.set_context(&imp.context);
        imp.views.connect_visible_child_notify(glib::clone!(
            #[weak(rename_to = window)]
            self,
            move |_| window.update_actions()
        ));
        self.update_actions();
        imp.home.refresh();
        // While a person reads Home; low: not before anything else that waits.
        glib::timeout_add_local_full(
            PREPARE,
            glib::Priority::LOW,
            glib::clone!(
                #[weak(rename_to = window)]
                self,
                #[upgrade_or]
                glib::ControlFlow::Break,
                move || {
                    window.assistant().prepare(window.imp().views.width());
                    glib::ControlFlow::Break
                }
            ),
        );
    }

    // A view is made when it is first shown, and the assistant, which is large, while Home is read: the first frame
    // needs Home alone.

    fn assistant(&self) -> &Assistant {
        let imp = self.imp();
        imp.assistant.get_or_init(|| {
            let view: Assistant = glib::Object::new();
            view.set_context(&imp.context);
            imp.views.add_named(&view, Some("assistant"));
            view
        })
    }

    fn history(&self) -> &HistoryPage {
        let imp = self.imp();
        imp.history.get_or_init(|| {
            let view: HistoryPage = glib::Object::new();
            view.set_context(&imp.context);
            imp.views.add_named(&view, Some("history"));
            view
        })
    }

    fn profiles(&self) -> &ProfilesPage {
        let imp = self.imp();
        imp.profiles.get_or_init(|| {
            let view: ProfilesPage = glib::Object::new();
            view.set_context(&imp.context);
            imp.views.add_named(&view, Some("profiles"));
            view
        })
    }

    /// Whether a run is shown that goes on.
    fn is_running(&self) -> bool {
        self.imp().assistant.get().is_some_and(Assistant::is_running)
    }

    /// What is shown now.
    fn view(&self) -> String {
        self.imp().views.visible_child_name().map(String::from).unwrap_or_default()
    }

    fn update_actions(&self) {
        let imp = self.imp();
        let view = self.view();
        // What is not made yet is not shown either.
        let (next, back) = match view.as_str() {
            "assistant" => imp.assistant.get().map_or((false, true), |a| (a.can_go_on(), a.can_go_back())),
            "lab" => imp.lab.get().map_or((false, true), |v| (v.can_go_on(), v.can_go_back())),
            "tuning" => (imp.tuning.get().is_some_and(TuningView::can_go_on), true),
            "bench" => (imp.bench.get().is_some_and(BenchView::can_go_on), true),
            view => (false, view != "home"),
        };
        self.action_set_enabled(Action::Next.full(), next);
        self.action_set_enabled(Action::Back.full(), back);
        self.action_set_enabled(Action::Home.full(), !(view == "assistant" && self.is_running()));
        self.action_set_enabled(Action::CancelRun.full(), self.can_cancel());
        let here = self.machine().place().is_none();
        for action in [Action::Lab, Action::Tuning, Action::Bench, Action::Vgpu] {
            self.action_set_enabled(action.full(), here);
        }
    }

    /// Whether something is shown that goes on and can be asked to stop.
    fn can_cancel(&self) -> bool {
        let imp = self.imp();
        match self.view().as_str() {
            "assistant" => imp.assistant.get().is_some_and(Assistant::can_cancel),
            "lab" => imp.lab.get().is_some_and(LabView::can_cancel),
            "bench" => imp.bench.get().is_some_and(BenchView::is_running),
            _ => false,
        }
    }

    // React.

    /// A run that goes on is shown, whoever began it.
    async fn attach_to_what_runs(&self) {
        // Not worth a password: without an answer, Home says what could not be looked at.
        let Ok(runs) = self.imp().context.machine.runs(false).await else { return };
        let live = runs.iter().find(|r| matches!(r.state, RunState::Running | RunState::Undoing));
        if let Some(run) = live.filter(|_| !self.is_running()) {
            self.attach(run.run);
        }
    }

    fn next(&self) {
        let imp = self.imp();
        match self.view().as_str() {
            "assistant" => self.assistant().next(),
            "lab" => {
                if let Some(lab) = imp.lab.get() {
                    lab.next();
                }
            }
            "tuning" => {
                if let Some(tuning) = imp.tuning.get() {
                    self.review(tuning.request(), "tuning");
                }
            }
            "bench" => {
                if let Some(bench) = imp.bench.get() {
                    bench.next();
                }
            }
            _ => {}
        }
    }

    fn back(&self) {
        let imp = self.imp();
        let inside = match self.view().as_str() {
            "assistant" => self.assistant().back(),
            "lab" => imp.lab.get().is_some_and(LabView::back),
            "bench" => imp.bench.get().is_some_and(BenchView::back),
            _ => false,
        };
        if inside {
            return;
        }
        match imp.came_from.take().filter(|_| self.view() == "assistant") {
            Some(view) => {
                imp.views.set_visible_child_name(view);
                self.update_actions();
            }
            None => self.show_home(),
        }
    }

    fn ask_to_cancel(&self) {
        let imp = self.imp();
        match (self.view().as_str(), imp.lab.get()) {
            ("lab", Some(lab)) => lab.ask_to_cancel(),
            // Nothing is lost but figures that are not whole.
            ("bench", _) => {
                if let Some(bench) = imp.bench.get() {
                    bench.stop();
                }
            }
            _ => self.assistant().ask_to_cancel(),
        }
    }

    /// The lab's guest, or what was measured, has ended.
    pub(super) fn lab_ended(&self) {
        if self.imp().closing.get() {
            self.close();
        }
    }

    fn refresh(&self) {
        let imp = self.imp();
        match self.view().as_str() {
            "home" => imp.home.refresh(),
            "history" => self.history().refresh(),
            "profiles" => self.profiles().refresh(),
            "lab" => {
                if let Some(lab) = imp.lab.get() {
                    lab.refresh();
                }
            }
            "tuning" => {
                if let Some(tuning) = imp.tuning.get() {
                    tuning.refresh();
                }
            }
            "bench" => {
                if let Some(bench) = imp.bench.get() {
                    bench.refresh();
                }
            }
            "vgpu" => {
                if let Some(vgpu) = imp.vgpu.get() {
                    vgpu.refresh();
                }
            }
            _ => self.assistant().look_again(),
        }
    }

    // Do.

    /// Which machine all of this is about.
    pub(super) fn machine(&self) -> Machine {
        self.imp().context.machine.clone()
    }

    fn choose_machine(&self) {
        if self.is_running() {
            self.toast(&gettext("One change at a time: this one is still under way"));
            return;
        }
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = window)]
            self,
            async move {
                if machines::choose(&window, &window.machine()).await {
                    window.show_home();
                    window.update_actions();
                    window.attach_to_what_runs().await;
                }
            }
        ));
    }

    /// Whether what looks at this machine itself fits; says so, when the window is about another one.
    fn is_about_this_machine(&self) -> bool {
        let here = self.machine().place().is_none();
        if !here {
            self.toast(&gettext("This works on this machine only: choose it first"));
        }
        here
    }

    fn show_home(&self) {
        self.imp().views.set_visible_child_name("home");
        self.imp().home.refresh();
    }

    fn show_history(&self) {
        self.imp().views.set_visible_child(self.history());
        self.history().refresh();
    }

    fn show_profiles(&self) {
        self.imp().views.set_visible_child(self.profiles());
        self.profiles().refresh();
    }

    /// The vmware assistant; with choices that are made already, if there are any.
    pub(super) fn open_vmware(&self, choices: Option<Choices>) {
        if let Some(choices) = choices {
            self.begin(Start::With { choices: Box::new(choices), then: Vec::new() });
            return;
        }
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = window)]
            self,
            async move {
                match elsewhere(profile::in_use).await {
                    // One that is not for the modules says nothing of them.
                    Ok(Some(document)) if document.flows.vmware.is_some() => window.begin_with(&document),
                    Ok(_) => window.begin(Start::Afresh),
                    Err(problem) => {
                        window.begin(Start::Afresh);
                        window.tell(&problem);
                    }
                }
            }
        ));
    }

    /// Begins with the choices of a profile, whatever flows it is for.
    pub(super) fn begin_with(&self, document: &Document) {
        match flows::profile::start(document) {
            Some(start) => {
                self.begin(start);
                self.toast(&gettext_f("Choices of \u{201c}{name}\u{201d}", &[("name", &document.name)]));
            }
            None => {
                self.toast(&gettext_f("\u{201c}{name}\u{201d} chooses nothing", &[("name", &document.name)]));
            }
        }
    }

    /// Shows a run that goes on.
    pub(super) fn attach(&self, run: u32) {
        self.begin(Start::Attach { run });
    }

    /// Takes a run back, which was asked and answered already.
    pub(super) fn undo(&self, run: u32, then: Vec<Then>) {
        self.begin(Start::Undo { run, then });
    }

    /// Shows the plan of choices that were made in the view `from`.
    pub(super) fn review(&self, request: Request, from: &'static str) {
        self.imp().came_from.set(Some(from));
        self.begin(Start::Review { request: Box::new(request), then: Vec::new() });
    }

    /// Shows a view that is not the assistant.
    fn show_view(&self, view: &impl IsA<gtk::Widget>) {
        self.imp().views.set_visible_child(view);
        view.child_focus(gtk::DirectionType::TabForward);
        self.update_actions();
    }

    /// Shows the test lab.
    pub(super) fn show_lab(&self) {
        if !self.is_about_this_machine() {
            return;
        }
        let imp = self.imp();
        let lab = imp.lab.get_or_init(|| {
            let lab = LabView::default();
            lab.set_context(&imp.context);
            imp.views.add_named(&lab, Some("lab"));
            lab
        });
        self.show_view(lab);
        lab.refresh();
    }

    /// Shows what can be tuned.
    pub(super) fn show_tuning(&self) {
        if !self.is_about_this_machine() {
            return;
        }
        let imp = self.imp();
        let tuning = imp.tuning.get_or_init(|| {
            let tuning = TuningView::default();
            imp.views.add_named(&tuning, Some("tuning"));
            tuning
        });
        self.show_view(tuning);
        tuning.refresh();
    }

    /// Shows what can be measured, and what was.
    pub(super) fn show_bench(&self) {
        if !self.is_about_this_machine() {
            return;
        }
        let imp = self.imp();
        let bench = imp.bench.get_or_init(|| {
            let bench = BenchView::default();
            imp.views.add_named(&bench, Some("bench"));
            bench
        });
        self.show_view(bench);
        bench.refresh();
    }

    /// Shows what NVIDIA vGPU comes to on this host.
    pub(super) fn show_vgpu(&self) {
        if !self.is_about_this_machine() {
            return;
        }
        let imp = self.imp();
        let vgpu = imp.vgpu.get_or_init(|| {
            let vgpu = VgpuView::default();
            imp.views.add_named(&vgpu, Some("vgpu"));
            vgpu
        });
        self.show_view(vgpu);
        vgpu.refresh();
    }

    fn begin(&self, start: Start) {
        if !matches!(start, Start::Review { .. }) {
            self.imp().came_from.set(None);
        }
        if self.is_running() {
            self.toast(&gettext("One change at a time: this one is still under way"));
        } else {
            self.assistant().begin(start);
        }
        self.imp().views.set_visible_child(self.assistant());
        self.update_actions();
    }

    /// Opens a profile file in the assistant it is for.
    pub(super) fn open_profile(&self, path: PathBuf) {
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = window)]
            self,
            async move {
                match elsewhere(move || profile::read_file(&path)).await {
                    Ok(document) => window.begin_with(&document),
                    Err(problem) => window.tell(&problem),
                }
            }
        ));
    }

    /// Shows help about what is shown.
    pub(super) fn show_help(&self) {
        help::show(self, &self.view());
    }

    /// Shows what can be set for the assistant itself.
    pub(super) fn show_preferences(&self) {
        preferences::show(self, &self.imp().context);
    }

    /// Says something in passing.
    pub(super) fn toast(&self, text: &str) {
        self.imp().toasts.add_toast(adw::Toast::new(&glib::markup_escape_text(text)));
    }

    /// Says that something went wrong, where no page has a place for it.
    pub(super) fn tell(&self, problem: &Problem) {
        let mut body = told(&problem.reason);
        if let Some(remedy) = &problem.remedy {
            body = format!("{body}\n\n{}", told(remedy));
        }
        let dialog = adw::MessageDialog::builder()
            .transient_for(self)
            .modal(true)
            .heading(told(&problem.title))
            .body(body.trim())
            .close_response("close")
            .build();
        dialog.add_response("close", &gettext("Close"));
        dialog.present();
    }

    /// The window around a widget.
    pub(super) fn of(widget: &impl IsA<gtk::Widget>) -> Option<Self> {
        widget.root().and_downcast()
    }
}
