// SPDX-License-Identifier: GPL-3.0-or-later
//! A guest while it runs: where it got to, its console, its screen.

use super::job::Heard;
use super::report::stage_name;
use crate::guest::Stage;
use crate::tell;
use crate::ui::i18n::{amount, gettext, gettext_f, told};
use crate::ui::widgets::{Kind, LogView, PageHead, badge};
use adw::prelude::*;
use adw::subclass::prelude::*;
use gtk::{CompositeTemplate, glib};
use std::cell::RefCell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often the time is brought up to date.
const TICK: Duration = Duration::from_millis(500);

mod imp {
    use super::*;

    #[derive(Debug, Default, CompositeTemplate)]
    #[template(resource = "/org/hostwright/Hostwright/flows/lab/live.ui")]
    pub struct LivePage {
        #[template_child]
        pub(super) head: TemplateChild<PageHead>,
        #[template_child]
        pub(super) bar: TemplateChild<gtk::ProgressBar>,
        #[template_child]
        pub(super) time: TemplateChild<gtk::Label>,
        #[template_child]
        pub(super) stages: TemplateChild<gtk::FlowBox>,
        #[template_child]
        pub(super) log: TemplateChild<LogView>,
        pub(super) began: RefCell<Option<Instant>>,
        /// The guest's name and its run's folder, once there is one.
        pub(super) guest: RefCell<Option<(String, PathBuf)>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for LivePage {
        const NAME: &'static str = "HwLabLivePage";
        type Type = super::LivePage;
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

    impl ObjectImpl for LivePage {}
    impl WidgetImpl for LivePage {}
    impl BinImpl for LivePage {}
}

glib::wrapper! {
    pub struct LivePage(ObjectSubclass<imp::LivePage>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget;
}

impl LivePage {
    /// A boot begins.
    pub(super) fn begin(&self) {
        let imp = self.imp();
        self.forget();
        imp.head.set_title(gettext("Getting it ready"));
        imp.head.set_text("");
        let began = Instant::now();
        imp.began.replace(Some(began));
        imp.bar.set_visible(true);
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = page)]
            self,
            async move {
                while *page.imp().began.borrow() == Some(began) {
                    page.imp().bar.pulse();
                    let whole = Duration::from_secs(began.elapsed().as_secs());
                    page.imp().time.set_label(&amount(&tell::seconds(whole)));
                    glib::timeout_future(TICK).await;
                }
            }
        ));
    }

    fn forget(&self) {
        let imp = self.imp();
        imp.log.clear();
        imp.guest.replace(None);
        imp.time.set_label("");
        while let Some(child) = imp.stages.first_child() {
            imp.stages.remove(&child);
        }
        imp.stages.set_visible(false);
    }

    /// The guest's name and its run's folder, once there is one that runs.
    pub(super) fn guest(&self) -> Option<(String, PathBuf)> {
        self.imp().guest.borrow().clone()
    }

    /// Shows what is heard.
    pub(super) fn hear(&self, heard: Heard) {
        let imp = self.imp();
        match heard {
            Heard::Line(Kind::Output, text) => imp.log.push(Kind::Output, &text),
            Heard::Line(kind, text) => imp.log.push(kind, &told(&text)),
            Heard::Run { number, name, folder } => {
                imp.head
                    .set_title(gettext_f("Run {n}: {name}", &[("n", &number.to_string()), ("name", &name)]));
                imp.guest.replace(Some((name, folder)));
            }
            Heard::Accelerator(text) => {
                imp.head.set_text(gettext_f("Run by {what}", &[("what", &told(&text))]));
            }
            Heard::Stage(stage) => self.add_stage(&stage),
            Heard::Ended(_) => {}
        }
    }

    fn add_stage(&self, stage: &Stage) {
        let imp = self.imp();
        if stage.name == "end" {
            return;
        }
        let name = stage_name(&stage.name);
        let at = amount(&tell::seconds(Duration::from_millis(stage.at_ms)));
        // Translators: a place that a machine got to while it started, and after which time.
        let label = badge(&gettext_f("{stage}: {time}", &[("stage", &name), ("time", &at)]), true);
        imp.stages.append(&label);
        if let Some(child) = label.parent() {
            child.set_focusable(false);
        }
        imp.stages.set_visible(true);
        imp.log.push(Kind::Step, &name);
        if let Some(note) = &stage.note {
            imp.log.push(Kind::Note, &told(note));
        }
    }

    /// It was asked to stop.
    pub(super) fn tell_stopping(&self) {
        self.imp().head.set_text(gettext("Stopping. Nothing of the guest is left when it has ended."));
    }

    /// It is over; the console stays.
    pub(super) fn end(&self) {
        self.imp().began.replace(None);
        self.imp().bar.set_visible(false);
        self.imp().guest.replace(None);
    }

    /// Shows the console of a run that is over.
    pub(super) fn show_console(&self, title: &str, text: &str) {
        let imp = self.imp();
        self.forget();
        self.end();
        imp.head.set_title(title);
        imp.head.set_text("");
        for line in text.lines() {
            imp.log.push(Kind::Output, &super::job::clean(line));
        }
    }
}
