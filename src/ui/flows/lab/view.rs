// SPDX-License-Identifier: GPL-3.0-or-later
//! The lab's pages, and the boot that goes on.

use super::job::{Heard, Job};
use super::live::LivePage;
use super::report::{ReportPage, picture};
use super::setup::SetupPage;
use crate::flows::lab::session::{self, Ended, Wish};
use crate::guest::CONSOLE;
use crate::tell::Problem;
use crate::ui::actions::Action;
use crate::ui::context::Context;
use crate::ui::dialogs::{self, Question};
use crate::ui::i18n::{gettext, gettext_f};
use crate::ui::machine::elsewhere;
use crate::ui::window::Window;
use adw::prelude::*;
use adw::subclass::prelude::*;
use async_channel::Receiver;
use gtk::{CompositeTemplate, glib};
use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};

/// Most of a console that is shown again, bytes.
const CONSOLE_SHOWN: u64 = 32 << 20;

mod imp {
    use super::*;

    #[derive(Debug, Default, CompositeTemplate)]
    #[template(resource = "/org/hostwright/Hostwright/flows/lab/view.ui")]
    pub struct LabView {
        #[template_child]
        pub(super) title: TemplateChild<adw::WindowTitle>,
        #[template_child]
        pub(super) stack: TemplateChild<gtk::Stack>,
        #[template_child]
        pub(super) setup: TemplateChild<SetupPage>,
        #[template_child]
        pub(super) live: TemplateChild<LivePage>,
        #[template_child]
        pub(super) report: TemplateChild<ReportPage>,
        #[template_child]
        pub(super) back: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) screen: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) cancel: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) next: TemplateChild<gtk::Button>,
        pub(super) context: RefCell<Context>,
        pub(super) job: RefCell<Option<Job>>,
        /// Whether a report is behind the console that is shown.
        pub(super) reported: Cell<bool>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for LabView {
        const NAME: &'static str = "HwLabView";
        type Type = super::LabView;
        type ParentType = adw::Bin;

        fn class_init(class: &mut Self::Class) {
            SetupPage::ensure_type();
            LivePage::ensure_type();
            ReportPage::ensure_type();
            class.bind_template();
            class.install_action("lab.screen", None, |view, _, _| {
                if let Some((name, folder)) = view.imp().live.guest() {
                    view.photograph(name, folder);
                }
            });
        }

        fn instance_init(obj: &glib::subclass::InitializingObject<Self>) {
            obj.init_template();
        }
    }

    impl ObjectImpl for LabView {
        fn constructed(&self) {
            self.parent_constructed();
            self.obj().set_up();
        }
    }
    impl WidgetImpl for LabView {}
    impl BinImpl for LabView {}
}

glib::wrapper! {
    pub struct LabView(ObjectSubclass<imp::LabView>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget;
}

impl Default for LabView {
    fn default() -> Self {
        glib::Object::new()
    }
}

impl LabView {
    /// The view around a widget.
    pub(super) fn of(widget: &impl IsA<gtk::Widget>) -> Option<Self> {
        widget.ancestor(Self::static_type()).and_downcast()
    }

    fn set_up(&self) {
        let keys = gtk::EventControllerKey::new();
        keys.connect_key_pressed(glib::clone!(
            #[weak(rename_to = view)]
            self,
            #[upgrade_or]
            glib::Propagation::Proceed,
            move |_, key, _, modifiers| match view.at().as_str() {
                "setup" => view.imp().setup.key(key, modifiers),
                _ => glib::Propagation::Proceed,
            }
        ));
        self.add_controller(keys);
    }

    /// What the window knows.
    pub(in crate::ui) fn set_context(&self, context: &Context) {
        self.imp().context.replace(context.clone());
        self.go("setup");
    }

    /// Reads the lists anew.
    pub(in crate::ui) fn refresh(&self) {
        self.imp().setup.refresh();
    }

    /// Whether a guest runs, or is being made ready.
    pub(in crate::ui) fn is_running(&self) -> bool {
        self.imp().job.borrow().is_some()
    }

    /// Whether there is a guest that can be asked to stop.
    pub(in crate::ui) fn can_cancel(&self) -> bool {
        self.at() == "live" && self.imp().job.borrow().as_ref().is_some_and(|j| !j.is_cancelled())
    }

    /// Whether there is something to go on with.
    pub(in crate::ui) fn can_go_on(&self) -> bool {
        match self.at().as_str() {
            "setup" => !self.is_running() && self.imp().setup.can_go_on(),
            "live" => !self.is_running() && self.imp().reported.get(),
            _ => true,
        }
    }

    /// Whether there is a way back.
    pub(in crate::ui) fn can_go_back(&self) -> bool {
        !(self.at() == "live" && self.is_running())
    }

    fn at(&self) -> String {
        self.imp().stack.visible_child_name().map(String::from).unwrap_or_default()
    }

    // Show.

    fn go(&self, page: &str) {
        let imp = self.imp();
        imp.stack.set_visible_child_name(page);
        imp.title.set_subtitle(&match page {
            "live" => gettext("Console"),
            "report" => gettext("Report"),
            _ => String::new(),
        });
        if page == "setup" {
            imp.setup.refresh();
        }
        self.update();
        // The first time, it is not in the window yet.
        if self.root().is_some() && !imp.stack.child_focus(gtk::DirectionType::TabForward) {
            imp.next.grab_focus();
        }
    }

    fn update(&self) {
        let imp = self.imp();
        let (at, running) = (self.at(), self.is_running());
        imp.back.set_visible(self.can_go_back());
        imp.cancel.set_visible(at == "live" && running);
        imp.screen.set_visible(at == "live" && running);
        self.action_set_enabled("lab.screen", running && imp.live.guest().is_some());
        imp.next.set_visible(at != "live" || !running);
        imp.next.set_label(&match at.as_str() {
            "setup" => gettext("Boot"),
            "live" => gettext("Report"),
            _ => gettext("Done"),
        });
        let _ = self.activate_action(Action::PageChanged.full(), None);
    }

    /// Shows a run that is over.
    pub(super) fn show_past(&self, number: u32) {
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = view)]
            self,
            async move {
                match elsewhere(move || Ok(session::one(number)?)).await {
                    Ok(ended) => view.show_report(ended),
                    Err(problem) => view.tell(&problem),
                }
            }
        ));
    }

    fn show_report(&self, ended: Ended) {
        self.imp().reported.set(true);
        self.imp().report.show_run(ended);
        self.go("report");
    }

    /// Shows the console of a run that is over.
    pub(super) fn show_console(&self, number: u32) {
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = view)]
            self,
            async move {
                let read = elsewhere(move || {
                    let ended = session::one(number)?;
                    let path = ended.folder.join(CONSOLE);
                    read_at_most(&path, CONSOLE_SHOWN).map_err(|e| Problem::file("read", &path, &e))
                });
                match read.await {
                    Ok(text) => {
                        let title = gettext_f("Console of run {n}", &[("n", &number.to_string())]);
                        view.imp().live.show_console(&title, &text);
                        view.go("live");
                    }
                    Err(problem) => view.tell(&problem),
                }
            }
        ));
    }

    fn tell(&self, problem: &Problem) {
        if let Some(window) = Window::of(self) {
            window.tell(problem);
        }
    }

    // React.

    /// The next page: boots what is picked, shows the report, or begins anew.
    pub(in crate::ui) fn next(&self) {
        match self.at().as_str() {
            "setup" => {
                let keep = self.imp().context.borrow().settings().keep_lab_runs;
                if let Some(wish) = self.imp().setup.wish(keep) {
                    self.boot(wish);
                }
            }
            "live" => self.go("report"),
            _ => self.go("setup"),
        }
    }

    /// The page before; false when there is none.
    pub(in crate::ui) fn back(&self) -> bool {
        match self.at().as_str() {
            "report" => self.go("setup"),
            "live" if self.imp().reported.get() => self.go("report"),
            "live" => self.go("setup"),
            _ => return false,
        }
        true
    }

    /// Asks whether the guest should be ended, and has it ended.
    pub(in crate::ui) fn ask_to_cancel(&self) {
        let Some(window) = Window::of(self).filter(|_| self.can_cancel()) else { return };
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = view)]
            self,
            async move {
                let question = Question {
                    heading: &gettext("End the guest?"),
                    body: &gettext("It is switched off at once. What it said so far stays in its report."),
                    no: &gettext("Go On"),
                    yes: &gettext("End the Guest"),
                    destructive: true,
                };
                if dialogs::ask(&window, &question).await {
                    view.stop();
                }
            }
        ));
    }

    /// Ends the guest that runs.
    pub(in crate::ui) fn stop(&self) {
        if let Some(job) = self.imp().job.borrow().as_ref() {
            job.cancel();
            self.imp().live.tell_stopping();
        }
        self.update();
    }

    // Do.

    /// Boots.
    pub(super) fn boot(&self, wish: Wish) {
        let imp = self.imp();
        if self.is_running() {
            return;
        }
        imp.setup.show_problem(None);
        match Job::begin(wish) {
            Ok((job, heard)) => {
                imp.job.replace(Some(job));
                imp.reported.set(false);
                imp.live.begin();
                self.go("live");
                self.listen(heard);
            }
            Err(problem) => self.tell(&problem),
        }
    }

    fn listen(&self, heard: Receiver<Heard>) {
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = view)]
            self,
            async move {
                let mut result = Err(Problem::internal("run the guest", &"its thread ended"));
                while let Ok(heard) = heard.recv().await {
                    match heard {
                        Heard::Ended(ended) => {
                            result = *ended;
                            break;
                        }
                        heard => {
                            let run = matches!(heard, Heard::Run { .. });
                            view.imp().live.hear(heard);
                            if run {
                                view.update();
                            }
                        }
                    }
                }
                view.ended(result);
            }
        ));
    }

    fn ended(&self, result: Result<Ended, Problem>) {
        let imp = self.imp();
        imp.job.replace(None);
        imp.live.end();
        match result {
            Ok(ended) => self.show_report(ended),
            Err(problem) => {
                imp.setup.show_problem(Some(&problem));
                self.go("setup");
            }
        }
        if let Some(window) = Window::of(self) {
            window.lab_ended();
        }
    }

    /// Photographs the screen of a guest, and shows the picture.
    pub(super) fn photograph(&self, name: String, folder: PathBuf) {
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = view)]
            self,
            async move {
                let taken = elsewhere(move || Ok(session::screenshot(&name, &folder)?)).await;
                match (taken, Window::of(&view)) {
                    (Ok(path), Some(window)) => show_picture(&window, &path),
                    (Err(problem), _) => view.tell(&problem),
                    _ => {}
                }
            }
        ));
    }
}

fn show_picture(parent: &Window, path: &Path) {
    let window = adw::Window::builder()
        .transient_for(parent)
        .modal(true)
        .title(gettext("Screen of the Guest"))
        .default_width(760)
        .default_height(620)
        .width_request(360)
        .build();
    let column = gtk::Box::new(gtk::Orientation::Vertical, 0);
    column.append(&adw::HeaderBar::new());
    let shown = picture(path);
    shown.set_vexpand(true);
    shown.set_margin_start(12);
    shown.set_margin_end(12);
    shown.set_margin_top(12);
    column.append(&shown);
    let label = gtk::Label::builder()
        .label(path.display().to_string())
        .selectable(true)
        .wrap(true)
        .wrap_mode(gtk::pango::WrapMode::WordChar)
        .margin_top(12)
        .margin_bottom(12)
        .margin_start(12)
        .margin_end(12)
        .build();
    column.append(&label);
    window.set_content(Some(&column));
    dialogs::close_by_escape(&window);
    window.present();
}

fn read_at_most(path: &Path, most: u64) -> std::io::Result<String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
