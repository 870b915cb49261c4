// SPDX-License-Identifier: GPL-3.0-or-later
//! The exact plan: what would be done, what it asks for, what stays.

use super::state::{FlowPage, State};
use crate::engine::{FileChange, Permission, Plan, Reversal, StepPreview};
use crate::tell::{self, Mark, Problem, Row};
use crate::ui::i18n::{gettext, gettext_f, ngettext_f, told};
use crate::ui::widgets::{PageHead, ProblemView, code, copied, diff, expander, finding, mark_icon, text_row};
use adw::prelude::*;
use adw::subclass::prelude::*;
use gtk::{CompositeTemplate, glib};
use std::cell::{Cell, RefCell};

mod imp {
    use super::*;

    #[derive(Debug, Default, CompositeTemplate)]
    #[template(resource = "/org/hostwright/Hostwright/flows/vmware/review.ui")]
    pub struct ReviewPage {
        #[template_child]
        pub(super) stack: TemplateChild<gtk::Stack>,
        #[template_child]
        pub(super) spinner: TemplateChild<gtk::Spinner>,
        #[template_child]
        pub(super) by_hand: TemplateChild<adw::ActionRow>,
        #[template_child]
        pub(super) copy_by_hand: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) page: TemplateChild<adw::PreferencesPage>,
        #[template_child]
        pub(super) problem: TemplateChild<ProblemView>,
        #[template_child]
        pub(super) head: TemplateChild<PageHead>,
        pub(super) groups: RefCell<Vec<adw::PreferencesGroup>>,
        pub(super) ready: Cell<bool>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for ReviewPage {
        const NAME: &'static str = "HwReviewPage";
        type Type = super::ReviewPage;
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

    impl ObjectImpl for ReviewPage {
        fn constructed(&self) {
            self.parent_constructed();
            self.obj().set_up();
        }
    }

    impl WidgetImpl for ReviewPage {}
    impl BinImpl for ReviewPage {}
}

glib::wrapper! {
    pub struct ReviewPage(ObjectSubclass<imp::ReviewPage>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget;
}

impl ReviewPage {
    fn set_up(&self) {
        let imp = self.imp();
        imp.copy_by_hand.connect_clicked(glib::clone!(
            #[weak(rename_to = page)]
            self,
            move |button| copied(button, &page.imp().by_hand.title())
        ));
    }

    // Show.

    /// The plan is being made.
    pub(super) fn show_looking(&self) {
        let imp = self.imp();
        imp.ready.set(false);
        imp.problem.show(None);
        imp.spinner.start();
        imp.stack.set_visible_child_name("looking");
    }

    /// There is no plan, and why; or what became of a plan that was shown.
    pub(super) fn show_problem(&self, problem: &Problem) {
        let imp = self.imp();
        imp.spinner.stop();
        imp.problem.show(Some(problem));
        if !imp.ready.get() {
            self.forget();
            imp.head.set_text(gettext("There is no plan, and nothing was changed."));
        }
        imp.stack.set_visible_child_name("plan");
        imp.problem.grab_focus();
    }

    /// Nobody could be asked for the password.
    pub(super) fn show_no_agent(&self, command: &str) {
        self.imp().by_hand.set_title(command);
        self.imp().stack.set_visible_child_name("agent");
    }

    /// The plan.
    pub(super) fn show_plan(&self, plan: &Plan, steps: &[StepPreview]) {
        let imp = self.imp();
        imp.spinner.stop();
        self.forget();
        imp.ready.set(!plan.is_empty());
        if plan.is_empty() {
            imp.head.set_text(gettext("There is nothing to do: everything is as it should be."));
        } else {
            imp.head.set_text(match plan.details.get("kernels") {
                Some(kernels) => gettext_f(
                    "Just this is done when you choose Apply, for {kernels}. Nothing was changed so far.",
                    &[("kernels", kernels)],
                ),
                None => gettext("Just this is done when you choose Apply. Nothing was changed so far."),
            });
            self.add_warnings(plan);
            self.add_steps(steps);
            self.add_permissions(plan);
            self.add_afterwards(plan, steps);
            self.add_notes(plan);
        }
        imp.stack.set_visible_child_name("plan");
    }

    fn forget(&self) {
        let imp = self.imp();
        for group in imp.groups.borrow_mut().drain(..) {
            imp.page.remove(&group);
        }
    }

    fn group(&self, title: &str) -> adw::PreferencesGroup {
        let group = adw::PreferencesGroup::builder().title(title).build();
        self.imp().page.add(&group);
        self.imp().groups.borrow_mut().push(group.clone());
        group
    }

    fn add_warnings(&self, plan: &Plan) {
        if plan.warnings.is_empty() {
            return;
        }
        let group = self.group(&gettext("Know before you apply"));
        for warning in &plan.warnings {
            let mut row = Row::new(Mark::Warning, "", warning.message.clone());
            row.remedy.clone_from(&warning.remedy);
            group.add(&finding(&row));
        }
    }

    fn add_steps(&self, steps: &[StepPreview]) {
        let group = self.group(&gettext("What is done"));
        for (i, step) in steps.iter().enumerate() {
            group.add(&step_row(i + 1, step));
        }
    }

    fn add_permissions(&self, plan: &Plan) {
        let group = self.group(&gettext("What you are asked for"));
        for permission in &plan.permissions {
            let row = text_row(&permission_in_words(*permission), permission.action_id());
            let icon = gtk::Image::from_icon_name("dialog-password-symbolic");
            icon.set_accessible_role(gtk::AccessibleRole::Presentation);
            row.add_prefix(&icon);
            group.add(&row);
        }
    }

    fn add_afterwards(&self, plan: &Plan, steps: &[StepPreview]) {
        let group = self.group(&gettext("Afterwards"));
        let reboot = if plan.needs_reboot {
            Row::new(Mark::Warning, &gettext("Restart"), gettext("Needed for it to take effect"))
        } else {
            Row::new(Mark::Good, &gettext("Restart"), gettext("Not needed"))
        };
        group.add(&finding(&reboot));
        let stays = steps.iter().filter(|s| s.reversal != Reversal::Full).count();
        let undo = if stays == 0 {
            Row::new(Mark::Good, &gettext("Undo"), gettext("All of it can be taken back, byte for byte"))
        } else {
            let text = ngettext_f(
                "{n} step cannot be taken back in full, as it is marked above",
                "{n} steps cannot be taken back in full, as they are marked above",
                stays,
            );
            Row::new(Mark::Warning, &gettext("Undo"), text)
        };
        group.add(&finding(&undo));
    }

    fn add_notes(&self, plan: &Plan) {
        if plan.notes.is_empty() {
            return;
        }
        let group = self.group(&gettext("Why, and what is adapted"));
        let single = !plan.details.get("kernels").is_some_and(|k| k.contains(','));
        for (topic, of, text, notes) in tell::grouped(&plan.notes) {
            let title = match tell::applies_to(&of, single) {
                of if of.is_empty() => topic.to_owned(),
                of => format!("{topic} ({of})"),
            };
            let diffs: Vec<&str> = notes.iter().filter_map(|n| n.diff.as_deref()).collect();
            if diffs.is_empty() {
                group.add(&text_row(&title, text));
                continue;
            }
            let row = expander(&title, text);
            for text in diffs {
                row.add_row(&padded(&diff(&text.lines().collect::<Vec<_>>())));
            }
            group.add(&row);
        }
    }
}

/// Something that is no row, as a row.
fn padded(child: &impl IsA<gtk::Widget>) -> gtk::ListBoxRow {
    child.set_margin_top(9);
    child.set_margin_bottom(9);
    child.set_margin_start(12);
    child.set_margin_end(12);
    gtk::ListBoxRow::builder().activatable(false).focusable(false).child(child).build()
}

/// A step: its title; opened, its commands, files and what stays of it.
fn step_row(number: usize, step: &StepPreview) -> adw::ExpanderRow {
    let parts = [
        (!step.commands.is_empty()).then(|| ngettext_f("{n} command", "{n} commands", step.commands.len())),
        (!step.files.is_empty()).then(|| ngettext_f("{n} file", "{n} files", step.files.len())),
    ];
    let mut about: Vec<String> = parts.into_iter().flatten().collect();
    let stays = match &step.reversal {
        Reversal::Full => None,
        Reversal::Partial { what } => {
            Some(gettext_f("Undo does not bring back: {what}", &[("what", &told(what))]))
        }
        Reversal::None { why } => Some(gettext_f("Cannot be undone: {why}", &[("why", &told(why))])),
    };
    about.extend(stays.iter().cloned());
    let row = expander(&step.title, &about.join(" \u{b7} "));
    let digits = gtk::Label::builder().label(number.to_string()).width_chars(2).build();
    digits.add_css_class("dim-label");
    digits.add_css_class("numeric");
    row.add_prefix(&digits);
    if stays.is_some() {
        row.add_action(&mark_icon(Mark::Warning));
    }
    if !step.commands.is_empty() {
        row.add_row(&padded(&code(&step.commands.join("\n"))));
    }
    for file in &step.files {
        row.add_row(&file_row(file));
    }
    row.set_enable_expansion(!step.commands.is_empty() || !step.files.is_empty());
    row
}

fn file_row(file: &FileChange) -> gtk::ListBoxRow {
    let (said, lines) = tell::told_and_diff(&file.diff);
    let (said, lines) = if file.diff.lines().count() <= 1 {
        (file.diff.trim().to_owned(), Vec::new())
    } else {
        (said, lines)
    };
    let column = gtk::Box::new(gtk::Orientation::Vertical, 6);
    let text = if said.is_empty() { file.path.clone() } else { format!("{}: {}", file.path, told(&said)) };
    let title = gtk::Label::builder()
        .label(text)
        .xalign(0.0)
        .wrap(true)
        .wrap_mode(gtk::pango::WrapMode::WordChar)
        .selectable(true)
        .build();
    column.append(&title);
    if !lines.is_empty() {
        column.append(&diff(&lines));
    }
    padded(&column)
}

fn permission_in_words(permission: Permission) -> String {
    let text = told(tell::permission(permission));
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}", chars.as_str())
}

impl FlowPage for ReviewPage {
    fn name(&self) -> String {
        gettext("Review")
    }

    fn show(&self, _state: &State) {}

    fn can_go_on(&self) -> bool {
        self.imp().ready.get()
    }
}
