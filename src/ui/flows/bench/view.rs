// SPDX-License-Identifier: GPL-3.0-or-later
//! The view: what to measure, how far it is, and what came of it.

use super::job::{Heard, Job};
use super::shown;
use crate::flows::bench::{Workload, store};
use crate::measure::{self, Pair, Wish};
use crate::tell::{self, Problem};
use crate::ui::actions::Action;
use crate::ui::i18n::{amount, gettext, gettext_f, ngettext_f, told};
use crate::ui::machine::elsewhere;
use crate::ui::widgets::{PageHead, ProblemView, clear, text_row};
use crate::ui::window::Window;
use adw::prelude::*;
use adw::subclass::prelude::*;
use async_channel::Receiver;
use gtk::{CompositeTemplate, gio, glib};
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

/// What is shown, to be written as a page.
#[derive(Debug, Clone)]
enum Page {
    /// Results of this name.
    Results(String),
    /// Two of them: before, after.
    Pair(String, String),
}

mod imp {
    use super::*;

    #[derive(Debug, Default, CompositeTemplate)]
    #[template(resource = "/org/hostwright/Hostwright/flows/bench/view.ui")]
    pub struct BenchView {
        #[template_child]
        pub(super) stack: TemplateChild<gtk::Stack>,
        #[template_child]
        pub(super) problem: TemplateChild<ProblemView>,
        #[template_child]
        pub(super) what: TemplateChild<adw::PreferencesGroup>,
        #[template_child]
        pub(super) rounds: TemplateChild<gtk::SpinButton>,
        #[template_child]
        pub(super) time: TemplateChild<gtk::SpinButton>,
        #[template_child]
        pub(super) name: TemplateChild<adw::EntryRow>,
        #[template_child]
        pub(super) comparing: TemplateChild<adw::PreferencesGroup>,
        #[template_child]
        pub(super) before: TemplateChild<adw::ComboRow>,
        #[template_child]
        pub(super) after: TemplateChild<adw::ComboRow>,
        #[template_child]
        pub(super) compare: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) kept: TemplateChild<adw::PreferencesGroup>,
        #[template_child]
        pub(super) bar: TemplateChild<gtk::ProgressBar>,
        #[template_child]
        pub(super) now: TemplateChild<gtk::Label>,
        #[template_child]
        pub(super) elapsed: TemplateChild<gtk::Label>,
        #[template_child]
        pub(super) left_out: TemplateChild<adw::PreferencesGroup>,
        #[template_child]
        pub(super) page: TemplateChild<adw::PreferencesPage>,
        #[template_child]
        pub(super) head: TemplateChild<PageHead>,
        #[template_child]
        pub(super) export: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) status: TemplateChild<gtk::Label>,
        #[template_child]
        pub(super) measure: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) cancel: TemplateChild<gtk::Button>,
        pub(super) checks: RefCell<Vec<(Workload, gtk::CheckButton)>>,
        pub(super) names: RefCell<Vec<String>>,
        pub(super) kept_rows: RefCell<Vec<gtk::Widget>>,
        pub(super) left_rows: RefCell<Vec<gtk::Widget>>,
        pub(super) groups: RefCell<Vec<adw::PreferencesGroup>>,
        pub(super) shown: RefCell<Option<Page>>,
        pub(super) job: RefCell<Option<Job>>,
        /// How many calls of workloads there will be, and how many were begun.
        pub(super) far: Cell<(usize, usize)>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for BenchView {
        const NAME: &'static str = "HwBenchView";
        type Type = super::BenchView;
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

    impl ObjectImpl for BenchView {
        fn constructed(&self) {
            self.parent_constructed();
            self.obj().set_up();
        }
    }

    impl WidgetImpl for BenchView {}
    impl BinImpl for BenchView {}
}

glib::wrapper! {
    pub struct BenchView(ObjectSubclass<imp::BenchView>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget;
}

impl Default for BenchView {
    fn default() -> Self {
        glib::Object::new()
    }
}

impl BenchView {
    fn set_up(&self) {
        let imp = self.imp();
        for workload in Workload::ALL {
            let check =
                gtk::CheckButton::builder().active(workload.is_quick()).valign(gtk::Align::Center).build();
            check.connect_toggled(glib::clone!(
                #[weak(rename_to = view)]
                self,
                move |_| view.update()
            ));
            let row = text_row(workload.title(), workload.what());
            row.add_prefix(&check);
            // That also gives it the row's title as its name.
            row.set_activatable_widget(Some(&check));
            imp.what.add(&row);
            imp.checks.borrow_mut().push((workload, check));
        }
        imp.name.connect_changed(glib::clone!(
            #[weak(rename_to = view)]
            self,
            move |_| view.update()
        ));
        for row in [&*imp.before, &*imp.after] {
            row.connect_selected_notify(glib::clone!(
                #[weak(rename_to = view)]
                self,
                move |_| view.update()
            ));
        }
        imp.compare.connect_clicked(glib::clone!(
            #[weak(rename_to = view)]
            self,
            move |_| view.compare()
        ));
        imp.export.connect_clicked(glib::clone!(
            #[weak(rename_to = view)]
            self,
            move |_| view.export()
        ));
        self.update();
    }

    /// Reads the list of results anew.
    pub(in crate::ui) fn refresh(&self) {
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = view)]
            self,
            async move { view.list().await }
        ));
    }

    async fn list(&self) {
        let read = elsewhere(|| {
            let folder = measure::folder()?;
            let names = store::names(&folder)?;
            let line = |name: &String| store::read(&folder, name).map_err(|e| Problem::from(e).reason);
            Ok(names.iter().map(|n| (n.clone(), line(n))).collect::<Vec<_>>())
        });
        match read.await {
            Ok(results) => self.show_list(&results),
            Err(problem) => self.imp().problem.show(Some(&problem)),
        }
        self.update();
    }

    // Show.

    fn show_list(&self, results: &[(String, Result<crate::flows::bench::Results, String>)]) {
        let imp = self.imp();
        clear(&imp.kept, &mut imp.kept_rows.borrow_mut());
        for (name, read) in results {
            let line = match read {
                Ok(r) => {
                    let figures = ngettext_f("{n} figure", "{n} figures", r.series.len());
                    let rounds = ngettext_f("{n} round", "{n} rounds", r.rounds);
                    let kernel = r.before.kernel.clone();
                    [Some(figures), Some(rounds), kernel]
                        .into_iter()
                        .flatten()
                        .collect::<Vec<_>>()
                        .join(" \u{b7} ")
                }
                Err(why) => why.clone(),
            };
            let row = text_row(name, &line);
            row.set_activatable(read.is_ok());
            let next = gtk::Image::from_icon_name("go-next-symbolic");
            next.set_accessible_role(gtk::AccessibleRole::Presentation);
            row.add_suffix(&next);
            row.connect_activated(glib::clone!(
                #[weak(rename_to = view)]
                self,
                #[strong]
                name,
                move |_| view.open(Page::Results(name.clone()))
            ));
            imp.kept.add(&row);
            imp.kept_rows.borrow_mut().push(row.upcast());
        }
        imp.kept.set_visible(!results.is_empty());
        let names: Vec<String> =
            results.iter().filter(|(_, r)| r.is_ok()).map(|(name, _)| name.clone()).collect();
        imp.comparing.set_visible(names.len() > 1);
        if *imp.names.borrow() != names {
            let words: Vec<&str> = names.iter().map(String::as_str).collect();
            for row in [&imp.before, &imp.after] {
                row.set_model(Some(&gtk::StringList::new(&words)));
            }
            // The latest comes first, and is what one wants to know about.
            imp.after.set_selected(0);
            imp.before.set_selected(1);
            drop(words);
            imp.names.replace(names);
        }
    }

    fn show_groups(&self, groups: Vec<adw::PreferencesGroup>) {
        let imp = self.imp();
        for group in imp.groups.borrow_mut().drain(..) {
            imp.page.remove(&group);
        }
        for group in groups {
            imp.page.add(&group);
            imp.groups.borrow_mut().push(group);
        }
    }

    /// Brings buttons and words up to date with what is shown.
    fn update(&self) {
        let imp = self.imp();
        let running = self.is_running();
        imp.measure.set_visible(!running && self.at() == "setup");
        imp.cancel.set_visible(running);
        let picked = self.picked().len();
        let name = imp.name.text();
        let good = name.is_empty() || store::is_name(&name);
        if good {
            imp.name.remove_css_class("error");
        } else {
            imp.name.add_css_class("error");
        }
        imp.status.set_label(&match self.at().as_str() {
            "setup" if !good => gettext("A name is of letters, digits, dots, dashes and underscores"),
            "setup" if picked == 0 => gettext("Nothing is picked"),
            _ => String::new(),
        });
        let (before, after) = (imp.before.selected(), imp.after.selected());
        imp.compare.set_sensitive(before != after);
        let _ = self.activate_action(Action::PageChanged.full(), None);
    }

    fn at(&self) -> String {
        self.imp().stack.visible_child_name().map(String::from).unwrap_or_default()
    }

    fn show_page(&self, page: &str) {
        let imp = self.imp();
        imp.stack.set_visible_child_name(page);
        self.update();
    }

    // React.

    /// Whether something is measured now.
    pub(in crate::ui) fn is_running(&self) -> bool {
        self.imp().job.borrow().is_some()
    }

    /// Whether measuring can begin.
    pub(in crate::ui) fn can_go_on(&self) -> bool {
        let name = self.imp().name.text();
        let named = name.is_empty() || store::is_name(&name);
        !self.is_running() && self.at() == "setup" && named && !self.picked().is_empty()
    }

    /// Goes back inside the view; false when that leads out of it.
    pub(in crate::ui) fn back(&self) -> bool {
        let inside = self.at() == "shown";
        if inside {
            self.show_page("setup");
            self.refresh();
        }
        inside
    }

    /// Asks what is measured to stop.
    pub(in crate::ui) fn stop(&self) {
        if let Some(job) = &*self.imp().job.borrow() {
            job.cancel();
            self.imp().now.set_label(&gettext("Stopping"));
        }
    }

    /// Begins to measure.
    pub(in crate::ui) fn next(&self) {
        if !self.can_go_on() {
            return;
        }
        let imp = self.imp();
        let wish = self.wish();
        let calls = wish.workloads.len() * wish.rounds as usize;
        imp.problem.show(None);
        match Job::begin(wish) {
            Ok((job, heard)) => {
                imp.job.replace(Some(job));
                imp.far.set((calls, 0));
                self.follow(heard);
            }
            Err(problem) => imp.problem.show(Some(&problem)),
        }
        self.update();
    }

    fn follow(&self, heard: Receiver<Heard>) {
        let imp = self.imp();
        clear(&imp.left_out, &mut imp.left_rows.borrow_mut());
        imp.left_out.set_visible(false);
        imp.bar.set_fraction(0.0);
        imp.now.set_label(&gettext("Getting ready"));
        self.show_page("running");
        self.tick();
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = view)]
            self,
            async move {
                while let Ok(heard) = heard.recv().await {
                    view.hear(heard);
                }
            }
        ));
    }

    fn tick(&self) {
        let began = Instant::now();
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = view)]
            self,
            async move {
                while view.is_running() {
                    let whole = Duration::from_secs(began.elapsed().as_secs());
                    view.imp().elapsed.set_label(&amount(&tell::seconds(whole)));
                    glib::timeout_future(Duration::from_millis(500)).await;
                }
            }
        ));
    }

    fn hear(&self, heard: Heard) {
        let imp = self.imp();
        match heard {
            Heard::Prepares(workload) => {
                let what = told(workload.title());
                imp.now.set_label(&gettext_f("Getting ready: {what}", &[("what", &what)]));
            }
            Heard::Runs(workload, round) => {
                let (calls, begun) = imp.far.get();
                #[allow(clippy::cast_precision_loss, reason = "a share of a bar")]
                imp.bar.set_fraction((begun as f64 / calls.max(1) as f64).min(1.0));
                imp.far.set((calls, begun + 1));
                let rounds = imp.rounds.value_as_int().to_string();
                let values = [("n", round.to_string()), ("all", rounds), ("what", told(workload.title()))];
                let values: Vec<(&str, &str)> = values.iter().map(|(k, v)| (*k, v.as_str())).collect();
                imp.now.set_label(&gettext_f("Round {n} of {all}: {what}", &values));
            }
            Heard::LeftOut(what, why) => {
                let row = text_row(&what, &why);
                imp.left_out.add(&row);
                imp.left_out.set_visible(true);
                imp.left_rows.borrow_mut().push(row.upcast());
            }
            Heard::Ended(ended) => self.ended(*ended),
        }
    }

    fn ended(&self, ended: Result<crate::flows::bench::Results, Problem>) {
        let imp = self.imp();
        imp.job.replace(None);
        match ended {
            Ok(results) => {
                imp.name.set_text("");
                self.open(Page::Results(results.name));
            }
            Err(problem) => {
                self.show_page("setup");
                imp.problem.show(Some(&problem));
            }
        }
        self.refresh();
        if let Some(window) = Window::of(self) {
            window.lab_ended();
        }
    }

    fn compare(&self) {
        let imp = self.imp();
        let names = imp.names.borrow();
        let of = |row: &adw::ComboRow| names.get(usize::try_from(row.selected()).ok()?).cloned();
        if let (Some(before), Some(after)) = (of(&imp.before), of(&imp.after)) {
            self.open(Page::Pair(before, after));
        }
    }

    /// Shows results, or two of them side by side.
    fn open(&self, page: Page) {
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = view)]
            self,
            async move {
                let imp = view.imp();
                imp.problem.show(None);
                let read = page.clone();
                match read.read().await {
                    Ok((title, text, groups)) => {
                        imp.head.set_title(title);
                        imp.head.set_text(text);
                        view.show_groups(groups.make());
                        imp.shown.replace(Some(page));
                        view.show_page("shown");
                        imp.export.grab_focus();
                    }
                    Err(problem) => {
                        view.show_page("setup");
                        imp.problem.show(Some(&problem));
                    }
                }
            }
        ));
    }

    fn export(&self) {
        let (Some(window), Some(page)) = (Window::of(self), self.imp().shown.borrow().clone()) else {
            return;
        };
        let title = gettext("Export a Page");
        let dialog = gtk::FileChooserNative::new(
            Some(&title),
            Some(&window),
            gtk::FileChooserAction::Save,
            None,
            None,
        );
        dialog.set_current_name(&format!("{}.html", page.file()));
        glib::spawn_future_local(async move {
            if dialog.run_future().await != gtk::ResponseType::Accept {
                return;
            }
            let Some(path) = dialog.file().as_ref().and_then(gio::prelude::FileExt::path) else { return };
            match elsewhere(move || page.write(&path)).await {
                Ok(()) => window.toast(&gettext("Exported")),
                Err(problem) => window.tell(&problem),
            }
        });
    }

    // Do.

    fn picked(&self) -> Vec<Workload> {
        let checks = self.imp().checks.borrow();
        checks.iter().filter(|(_, check)| check.is_active()).map(|(workload, _)| *workload).collect()
    }

    fn wish(&self) -> Wish {
        let imp = self.imp();
        // What was typed and not yet left counts too.
        imp.rounds.update();
        imp.time.update();
        let name = imp.name.text().to_string();
        Wish {
            workloads: self.picked(),
            rounds: u32::try_from(imp.rounds.value_as_int()).unwrap_or(7),
            time: Duration::from_millis(u64::try_from(imp.time.value_as_int()).unwrap_or(500)),
            name: (!name.is_empty()).then_some(name),
            ..Wish::default()
        }
    }
}

/// What was read, of which widgets are made on the main loop.
#[derive(Debug)]
enum Read {
    Results(Box<crate::flows::bench::Results>),
    Pair(Box<Pair>),
}

impl Read {
    fn make(&self) -> Vec<adw::PreferencesGroup> {
        match self {
            Self::Results(results) => shown::of_results(results),
            Self::Pair(pair) => shown::of_comparison(&pair.compared),
        }
    }
}

impl Page {
    /// Reads it: a title, a line, and what is shown.
    async fn read(self) -> Result<(String, String, Read), Problem> {
        let read = elsewhere(move || match self {
            Self::Results(name) => measure::read(&name).map(|r| Read::Results(Box::new(r))),
            Self::Pair(before, after) => measure::pair(&before, &after).map(|p| Read::Pair(Box::new(p))),
        })
        .await?;
        let (title, text) = match &read {
            Read::Results(results) => {
                let took = Duration::from_secs_f64(results.took.clamp(0.0, 1e9));
                let values = [
                    ("when", results.began.strftime("%Y-%m-%d %H:%M UTC").to_string()),
                    ("time", amount(&tell::seconds(took))),
                ];
                let values: Vec<(&str, &str)> = values.iter().map(|(k, v)| (*k, v.as_str())).collect();
                (results.name.clone(), gettext_f("Measured {when}, in {time}", &values))
            }
            Read::Pair(_) => {
                (gettext("Before and after"), gettext("What is a difference, and what is only noise."))
            }
        };
        Ok((title, text, read))
    }

    /// The name of a file for it, without its ending.
    fn file(&self) -> String {
        match self {
            Self::Results(name) => name.clone(),
            Self::Pair(before, after) => format!("{before}-{after}"),
        }
    }

    /// Writes it as a page that holds all of itself.
    fn write(&self, path: &std::path::Path) -> Result<(), Problem> {
        let html = match self {
            Self::Results(name) => measure::html(&measure::read(name)?)?,
            Self::Pair(before, after) => measure::pair(before, after)?.html()?,
        };
        measure::write(path, html.as_bytes())
    }
}
