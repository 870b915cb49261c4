// SPDX-License-Identifier: GPL-3.0-or-later
//! The window: one view at a time, and the actions that go between them.

use super::actions::Action;
use super::application::Application;
use super::context::Context;
use super::dialogs::{self, Question};
use super::flows::vmware::{Assistant, Start};
use super::i18n::{gettext, gettext_f, told};
use super::machine::elsewhere;
use super::pages::{HistoryPage, HomePage, ProfilesPage, undo};
use crate::engine::RunState;
use crate::flows::vmware::Choices;
use crate::profile;
use crate::tell::Problem;
use adw::prelude::*;
use adw::subclass::prelude::*;
use gtk::{CompositeTemplate, gdk, gio, glib};
use std::cell::OnceCell;
use std::path::PathBuf;

mod imp {
    use super::*;

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
                let running = window.view() == "assistant" && window.assistant().can_cancel();
                if !running {
                    return glib::Propagation::Proceed;
                }
                window.assistant().ask_to_cancel();
                glib::Propagation::Stop
            });
            class.install_action(Action::Home.full(), None, |w, _, _| w.show_home());
            class.install_action(Action::Vmware.full(), None, |w, _, _| w.open_vmware(None));
            class.install_action(Action::History.full(), None, |w, _, _| w.show_history());
            class.install_action(Action::Profiles.full(), None, |w, _, _| w.show_profiles());
            class.install_action(Action::Refresh.full(), None, |w, _, _| w.refresh());
            class.install_action(Action::Next.full(), None, |w, _, _| w.assistant().next());
            class.install_action(Action::Back.full(), None, |w, _, _| w.back());
            class.install_action(Action::PageChanged.full(), None, |w, _, _| w.update_actions());
            class.install_action(Action::CancelRun.full(), None, |w, _, _| w.assistant().ask_to_cancel());
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
        imp.home.set_context(&imp.context);
        imp.views.connect_visible_child_notify(glib::clone!(
            #[weak(rename_to = window)]
            self,
            move |_| window.update_actions()
        ));
        self.update_actions();
        imp.home.refresh();
    }

    // A view is made when it is first shown: the first frame needs Home alone.

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
        let at_home = self.view() == "home";
        // What is not made yet is not shown either.
        let assistant = self.imp().assistant.get().filter(|_| self.view() == "assistant");
        let may = |ask: fn(&Assistant) -> bool| assistant.is_some_and(ask);
        self.action_set_enabled(Action::Next.full(), may(Assistant::can_go_on));
        self.action_set_enabled(
            Action::Back.full(),
            !at_home && assistant.is_none_or(Assistant::can_go_back),
        );
        self.action_set_enabled(Action::Home.full(), !may(Assistant::is_running));
        self.action_set_enabled(Action::CancelRun.full(), may(Assistant::can_cancel));
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

    fn back(&self) {
        if self.view() == "assistant" && self.assistant().back() {
            return;
        }
        self.show_home();
    }

    fn refresh(&self) {
        match self.view().as_str() {
            "home" => self.imp().home.refresh(),
            "history" => self.history().refresh(),
            "profiles" => self.profiles().refresh(),
            _ => self.assistant().look_again(),
        }
    }

    // Do.

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
        let start = choices.map_or(Start::Afresh, |c| Start::With(Box::new(c)));
        self.begin(start);
    }

    /// Shows a run that goes on.
    pub(super) fn attach(&self, run: u32) {
        self.begin(Start::Attach { run });
    }

    /// Takes a run back, which was asked and answered already.
    pub(super) fn undo(&self, run: u32) {
        self.begin(Start::Undo { run });
    }

    fn begin(&self, start: Start) {
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
                let read = elsewhere(move || {
                    let document = profile::read_file(&path)?;
                    let choices = profile::vmware_of(&document)?;
                    Ok((document, choices))
                });
                match read.await {
                    Ok((document, choices)) => {
                        window.open_vmware(Some(choices));
                        window.toast(&gettext_f(
                            "Choices of \u{201c}{name}\u{201d}",
                            &[("name", &document.name)],
                        ));
                    }
                    Err(problem) => window.tell(&problem),
                }
            }
        ));
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

    /// Asks whether to restart the machine, and has it restarted.
    pub(super) fn ask_to_restart(&self) {
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = window)]
            self,
            async move {
                let question = Question {
                    heading: &gettext("Restart this machine?"),
                    body: &gettext("Save your work in all programs first."),
                    no: &gettext("Not Now"),
                    yes: &gettext("Restart"),
                    destructive: true,
                };
                if dialogs::ask(&window, &question).await
                    && let Err(problem) = window.imp().context.machine.restart().await
                {
                    window.tell(&problem);
                }
            }
        ));
    }

    /// Shows what taking a run back would do, and has it done.
    pub(super) fn ask_to_undo(&self, run: u32) {
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = window)]
            self,
            async move {
                let machine = window.imp().context.machine.clone();
                match machine.undo_preview(run).await {
                    Ok(preview) => undo::show(
                        &window,
                        &preview,
                        glib::clone!(
                            #[weak]
                            window,
                            move || window.undo(run)
                        ),
                    ),
                    Err(problem) => window.tell(&problem),
                }
            }
        ));
    }

    /// Asks for a name, and saves these choices under it.
    pub(super) fn ask_to_save(&self, choices: serde_json::Value) {
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = window)]
            self,
            async move {
                let heading = gettext("Save as Profile");
                let Some(name) = dialogs::ask_name(&window, &heading, "").await else { return };
                match elsewhere(move || profile::save(&name, choices)).await {
                    Ok(()) => window.toast(&gettext("Saved")),
                    Err(problem) => window.tell(&problem),
                }
            }
        ));
    }

    /// The window around a widget.
    pub(super) fn of(widget: &impl IsA<gtk::Widget>) -> Option<Self> {
        widget.root().and_downcast()
    }
}
