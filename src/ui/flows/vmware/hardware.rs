// SPDX-License-Identifier: GPL-3.0-or-later
//! The hardware, and a score of it with its reasons.

use super::state::{FlowPage, State};
use crate::detect::{Facts, Finding, Topic};
use crate::tell::{self, Row};
use crate::ui::context::Shown;
use crate::ui::i18n::{gettext, gettext_f, told};
use crate::ui::widgets::{BitByBit, Deed, Findings, PageHead, clear};
use adw::prelude::*;
use adw::subclass::prelude::*;
use gtk::{CompositeTemplate, glib};
use std::cell::RefCell;

/// What is listed.
const TOPICS: [Topic; 5] = [Topic::Cpu, Topic::Memory, Topic::Storage, Topic::Gpus, Topic::Iommu];

mod imp {
    use super::*;

    #[derive(Debug, Default, CompositeTemplate)]
    #[template(resource = "/org/hostwright/Hostwright/flows/vmware/hardware.ui")]
    pub struct HardwarePage {
        #[template_child]
        pub(super) page: TemplateChild<adw::PreferencesPage>,
        #[template_child]
        pub(super) head: TemplateChild<PageHead>,
        #[template_child]
        pub(super) score: TemplateChild<adw::ActionRow>,
        #[template_child]
        pub(super) level: TemplateChild<gtk::LevelBar>,
        #[template_child]
        pub(super) parts: TemplateChild<adw::ExpanderRow>,
        #[template_child]
        pub(super) list: TemplateChild<adw::PreferencesGroup>,
        pub(super) shown: Shown,
        pub(super) rows: RefCell<Vec<gtk::Widget>>,
        pub(super) reasons: RefCell<Vec<adw::ActionRow>>,
        /// What the rows and the reasons say.
        pub(super) findings: Findings,
        pub(super) making: BitByBit,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for HardwarePage {
        const NAME: &'static str = "HwHardwarePage";
        type Type = super::HardwarePage;
        type ParentType = adw::Bin;

        fn class_init(class: &mut Self::Class) {
            PageHead::ensure_type();
            class.bind_template();
        }

        fn instance_init(obj: &glib::subclass::InitializingObject<Self>) {
            obj.init_template();
        }
    }

    impl ObjectImpl for HardwarePage {
        fn constructed(&self) {
            self.parent_constructed();
            self.obj().set_up();
        }
    }

    impl WidgetImpl for HardwarePage {}
    impl BinImpl for HardwarePage {}
}

glib::wrapper! {
    pub struct HardwarePage(ObjectSubclass<imp::HardwarePage>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget;
}

impl HardwarePage {
    fn set_up(&self) {}

    fn fill(&self, facts: &Facts) {
        let imp = self.imp();
        match &facts.score {
            Finding::Seen(score) => {
                let (points, max) = (score.points.to_string(), score.max.to_string());
                imp.score.set_subtitle(&gettext_f(
                    "{points} of {max} points",
                    &[("points", &points), ("max", &max)],
                ));
                imp.level.set_max_value(f64::from(score.max.max(1)));
                imp.level.set_value(f64::from(score.points));
            }
            Finding::CouldNotLook { why } => imp.score.set_subtitle(&told(why)),
        }
        imp.level.set_visible(facts.score.is_seen());
        // The first line is the sum, the last the recommended mode: both have places of their own.
        let mut parts = tell::findings(facts, Topic::Score);
        parts.retain(|r| r.label != "Score" && r.label != "Recommended");
        let found: Vec<Row> = TOPICS.iter().flat_map(|t| tell::findings(facts, *t)).collect();
        if imp.findings.say(&found.iter().chain(&parts).collect::<Vec<_>>()) {
            return;
        }
        imp.making.clear();
        clear(&imp.list, &mut imp.rows.borrow_mut());
        for row in imp.reasons.borrow_mut().drain(..) {
            imp.parts.remove(&row);
        }
        imp.findings.clear();
        let rows: Vec<Deed> = found
            .iter()
            .map(|found| {
                let row = imp.findings.next(found);
                self.deed(move |page| page.add(row()))
            })
            .collect();
        let reasons = parts.iter().map(|found| {
            let row = imp.findings.next(found);
            self.deed(move |page| page.add_reason(row()))
        });
        let deeds = rows.into_iter().chain(reasons).collect();
        imp.making.begin(self, deeds);
    }

    fn deed(&self, act: impl FnOnce(&Self) + 'static) -> Deed {
        let page = self.downgrade();
        Box::new(move || {
            if let Some(page) = page.upgrade() {
                act(&page);
            }
        })
    }

    fn add(&self, row: adw::ActionRow) {
        self.imp().list.add(&row);
        self.imp().rows.borrow_mut().push(row.upcast());
    }

    fn add_reason(&self, row: adw::ActionRow) {
        self.imp().parts.add_row(&row);
        self.imp().reasons.borrow_mut().push(row);
    }
}

impl FlowPage for HardwarePage {
    fn name(&self) -> String {
        gettext("Hardware")
    }

    fn show(&self, state: &State) {
        if let Some(facts) = state.facts().filter(|f| self.imp().shown.is_new(f)) {
            self.fill(&facts);
        }
    }
}
