// SPDX-License-Identifier: GPL-3.0-or-later
//! What was found: what needs a look first, then everything.

use super::state::{FlowPage, State};
use crate::detect::{Facts, Topic, VmwareRole};
use crate::tell::{self, Mark, Row};
use crate::ui::context::{Context, Shown};
use crate::ui::i18n::{gettext, gettext_f, ngettext_f, told};
use crate::ui::widgets::{BitByBit, Deed, Findings, PageHead, mark_icon, text_row};
use adw::prelude::*;
use adw::subclass::prelude::*;
use gtk::{CompositeTemplate, glib};
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// How often is looked whether programs of VMware have ended.
const AGAIN: Duration = Duration::from_secs(2);

mod imp {
    use super::*;

    #[derive(Debug, Default, CompositeTemplate)]
    #[template(resource = "/org/hostwright/Hostwright/flows/vmware/checks.ui")]
    pub struct ChecksPage {
        #[template_child]
        pub(super) page: TemplateChild<adw::PreferencesPage>,
        #[template_child]
        pub(super) head: TemplateChild<PageHead>,
        pub(super) groups: RefCell<Vec<adw::PreferencesGroup>>,
        pub(super) shown: Shown,
        /// The programs in the way that are listed: (name, whose and which).
        pub(super) busy: RefCell<Vec<(String, String)>>,
        pub(super) findings: Findings,
        pub(super) making: BitByBit,
        pub(super) context: RefCell<Option<Context>>,
        pub(super) watching: Cell<bool>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for ChecksPage {
        const NAME: &'static str = "HwChecksPage";
        type Type = super::ChecksPage;
        type ParentType = adw::Bin;

        fn class_init(class: &mut Self::Class) {
            PageHead::ensure_type();
            class.bind_template();
        }

        fn instance_init(obj: &glib::subclass::InitializingObject<Self>) {
            obj.init_template();
        }
    }

    impl ObjectImpl for ChecksPage {
        fn constructed(&self) {
            self.parent_constructed();
            self.obj().set_up();
        }
    }

    impl WidgetImpl for ChecksPage {}
    impl BinImpl for ChecksPage {}
}

glib::wrapper! {
    pub struct ChecksPage(ObjectSubclass<imp::ChecksPage>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget;
}

impl ChecksPage {
    fn set_up(&self) {}

    /// A group, and a way to add a row to it, which is made by then.
    fn add(&self, title: &str, text: &str) -> impl Fn(Make) -> Deed + use<> {
        let group = adw::PreferencesGroup::builder().title(title).description(text).build();
        self.imp().page.add(&group);
        self.imp().groups.borrow_mut().push(group.clone());
        move |make| {
            let group = group.clone();
            Box::new(move || group.add(&make()))
        }
    }

    fn fill(&self, facts: &Facts) {
        let imp = self.imp();
        let sections: Vec<(&str, Vec<Row>)> = tell::SECTIONS
            .iter()
            .map(|(title, topics)| (*title, topics.iter().flat_map(|t| tell::findings(facts, *t)).collect()))
            .collect();
        let busy = busy(facts);
        if !busy.is_empty() {
            self.watch();
        }
        let sections_with_doubts = sections.iter().filter(|(title, _)| *title != "For virtual machines");
        let open: Vec<&Row> =
            sections_with_doubts.flat_map(|(_, rows)| rows).filter(|r| needs_a_look(r.mark)).collect();
        let all: Vec<&Row> = open.iter().copied().chain(sections.iter().flat_map(|(_, rows)| rows)).collect();
        if *imp.busy.borrow() == busy && imp.findings.say(&all) {
            return;
        }
        imp.making.clear();
        for group in imp.groups.borrow_mut().drain(..) {
            imp.page.remove(&group);
        }
        imp.findings.clear();
        let mut deeds: Vec<Deed> = Vec::new();
        if !busy.is_empty() {
            let add = self.add(
                &gettext("Please close these programs"),
                &gettext("They use the modules. This page looks again by itself, and goes on when they have ended."),
            );
            for (name, text) in busy.clone() {
                deeds.push(add(Box::new(move || text_row(&name, &text).upcast())));
            }
        }
        if open.is_empty() {
            imp.head
                .set_text(gettext("Everything that was looked at is as it should be. Nothing was changed."));
        } else {
            imp.head.set_text(gettext("What the assistant saw on this machine. Nothing was changed."));
            let add = self.add(
                &gettext("Worth a look"),
                &gettext("You can go on: what really stands in the way is said before anything is changed."),
            );
            for row in open {
                let row = imp.findings.next(row);
                deeds.push(add(Box::new(move || row().upcast())));
            }
        }
        let add = self.add(&gettext("All that was looked at"), "");
        for (title, found) in sections {
            let rows = found.iter().map(|row| imp.findings.next(row)).collect();
            deeds.push(add(Box::new(move || section(title, &found, rows).upcast())));
        }
        imp.busy.replace(busy);
        imp.making.begin(self, deeds);
    }

    /// Looks again and again, as long as the page is shown and programs are in the way.
    fn watch(&self) {
        if self.imp().watching.replace(true) {
            return;
        }
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = page)]
            self,
            async move {
                page.watch_until_they_ended().await;
                page.imp().watching.set(false);
            }
        ));
    }

    async fn watch_until_they_ended(&self) {
        let Some(context) = self.imp().context.borrow().clone() else { return };
        loop {
            glib::timeout_future(AGAIN).await;
            if !self.is_mapped() {
                return;
            }
            let Ok(now) = context.machine.facts(Some(&[Topic::Processes])).await else { return };
            let before = context.facts();
            if before.as_ref().is_some_and(|f| f.processes == now.processes) {
                continue;
            }
            let Ok(facts) = context.machine.facts(None).await else { return };
            let facts = context.set_facts(facts);
            self.fill(&facts);
            if busy(&facts).is_empty() {
                return;
            }
        }
    }
}

/// Makes a row.
type Make = Box<dyn FnOnce() -> gtk::Widget>;

/// Programs that a person should close: (name, whose and which).
fn busy(facts: &Facts) -> Vec<(String, String)> {
    let running = facts.processes.seen().into_iter().flatten().filter(|p| p.role != VmwareRole::Service);
    running
        .map(|p| {
            let user = p.user.clone().unwrap_or_else(|| p.uid.to_string());
            (
                p.name.clone(),
                gettext_f("process {pid} of {user}", &[("pid", &p.pid.to_string()), ("user", &user)]),
            )
        })
        .collect()
}

fn needs_a_look(mark: Mark) -> bool {
    matches!(mark, Mark::Warning | Mark::Bad | Mark::Unknown)
}

/// A section that opens to its rows, which are made by then.
fn section<F>(title: &str, found: &[Row], mut rows: Vec<F>) -> adw::ExpanderRow
where
    F: Fn() -> adw::ActionRow + 'static,
{
    let n = found.iter().filter(|r| needs_a_look(r.mark)).count();
    let worst = found.iter().map(|r| r.mark).find(|m| *m == Mark::Bad);
    let worst = worst.or_else(|| found.iter().map(|r| r.mark).find(|m| needs_a_look(*m)));
    let text = if n == 0 {
        gettext("All good")
    } else {
        ngettext_f("{n} is worth a look", "{n} are worth a look", n)
    };
    let expander = adw::ExpanderRow::builder().title(told(title)).subtitle(text).build();
    expander.add_prefix(&mark_icon(worst.unwrap_or(Mark::Good)));
    // Most are never opened: the rows of a section are made when it is, but for one: an empty one looks as if it
    // could not be opened.
    if rows.is_empty() {
        return expander;
    }
    expander.add_row(&rows.remove(0)());
    let rows = RefCell::new(rows);
    expander.connect_expanded_notify(move |expander| {
        for row in rows.take() {
            expander.add_row(&row());
        }
    });
    expander
}

impl FlowPage for ChecksPage {
    fn name(&self) -> String {
        gettext("Checks")
    }

    fn show(&self, state: &State) {
        self.imp().context.replace(Some(state.context.clone()));
        if let Some(facts) = state.facts().filter(|f| self.imp().shown.is_new(f)) {
            self.fill(&facts);
        }
    }
}
