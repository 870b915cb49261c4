// SPDX-License-Identifier: GPL-3.0-or-later
//! What NVIDIA vGPU comes to on this host: its cards, the branch that fits best, what is missing for it, and every
//! branch with its verdict. Looks only.

use crate::flows::vgpu::own::decision;
use crate::flows::vgpu::{Choices, Decision};
use crate::host::Host;
use crate::tell::{self, Mark, Problem, Row};
use crate::ui::i18n::{gettext, told};
use crate::ui::machine::elsewhere;
use crate::ui::widgets::{PageHead, copy_button, finding, text_row};
use adw::prelude::*;
use adw::subclass::prelude::*;
use gtk::{CompositeTemplate, glib};
use std::cell::RefCell;

mod imp {
    use super::*;

    #[derive(Debug, Default, CompositeTemplate)]
    #[template(resource = "/org/hostwright/Hostwright/flows/vgpu/view.ui")]
    pub struct VgpuView {
        #[template_child]
        pub(super) stack: TemplateChild<gtk::Stack>,
        #[template_child]
        pub(super) spinner: TemplateChild<gtk::Spinner>,
        #[template_child]
        pub(super) not_here: TemplateChild<adw::StatusPage>,
        #[template_child]
        pub(super) page: TemplateChild<adw::PreferencesPage>,
        pub(super) groups: RefCell<Vec<adw::PreferencesGroup>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for VgpuView {
        const NAME: &'static str = "HwVgpuView";
        type Type = super::VgpuView;
        type ParentType = adw::Bin;

        fn class_init(class: &mut Self::Class) {
            PageHead::ensure_type();
            class.bind_template();
        }

        fn instance_init(obj: &glib::subclass::InitializingObject<Self>) {
            obj.init_template();
        }
    }

    impl ObjectImpl for VgpuView {}
    impl WidgetImpl for VgpuView {}
    impl BinImpl for VgpuView {}
}

glib::wrapper! {
    pub struct VgpuView(ObjectSubclass<imp::VgpuView>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget;
}

impl Default for VgpuView {
    fn default() -> Self {
        glib::Object::new()
    }
}

impl VgpuView {
    /// Looks at the machine and decides anew.
    pub(in crate::ui) fn refresh(&self) {
        let imp = self.imp();
        imp.spinner.start();
        imp.stack.set_visible_child_name("looking");
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = view)]
            self,
            async move {
                let seen = elsewhere(|| Ok(decision(&Host::machine()?, &Choices::default())?)).await;
                view.imp().spinner.stop();
                match seen {
                    Ok(decision) => view.show(&decision),
                    Err(problem) => view.show_problem(&problem),
                }
            }
        ));
    }

    // Show.

    fn show(&self, decision: &Decision) {
        let imp = self.imp();
        for group in imp.groups.borrow_mut().drain(..) {
            imp.page.remove(&group);
        }
        self.group(&gettext("This host"), "", &tell::vgpu::machine(decision));
        let best = match decision.row() {
            Some(row) => tell::vgpu::chosen(row, decision.chosen),
            None => vec![Row::new(
                Mark::Bad,
                &gettext("Verdict"),
                gettext("No branch works here. The table below says why of each."),
            )],
        };
        self.group(&gettext("The branch that fits best"), "", &best);
        self.group(&gettext("Before the driver is installed"), "", &tell::vgpu::preparation(decision));
        self.group(
            &gettext("All branches of the driver"),
            &gettext(
                "For the cards that are for vGPU together, on this kernel, release and Secure Boot state.",
            ),
            &tell::vgpu::branches(decision),
        );
        self.add_next();
        imp.stack.set_visible_child_name("decision");
    }

    /// What this window does not do, and where it is done.
    fn add_next(&self) {
        let group = self.group(&gettext("What to do next"), "", &[]);
        group.set_visible(true);
        for (title, command) in [
            (gettext("Fetch the driver\u{2019}s file, and check it"), "hostwright vgpu download"),
            (gettext("See exactly what would be done"), "hostwright vgpu plan"),
        ] {
            let row = text_row(&title, command);
            row.add_suffix(&copy_button(command));
            group.add(&row);
        }
    }

    fn group(&self, title: &str, text: &str, rows: &[Row]) -> adw::PreferencesGroup {
        let group = adw::PreferencesGroup::builder().title(title).description(text).build();
        for row in rows {
            group.add(&finding(row));
        }
        group.set_visible(!rows.is_empty());
        self.imp().page.add(&group);
        self.imp().groups.borrow_mut().push(group.clone());
        group
    }

    fn show_problem(&self, problem: &Problem) {
        let imp = self.imp();
        let text = [Some(problem.reason.as_str()), problem.remedy.as_deref()];
        let text = text.into_iter().flatten().map(told).collect::<Vec<_>>().join("\n\n");
        imp.not_here.set_title(&glib::markup_escape_text(&if problem.code == "not-proxmox" {
            gettext("Not a Proxmox VE host")
        } else {
            told(&problem.title)
        }));
        imp.not_here.set_description(Some(&glib::markup_escape_text(&text)));
        imp.stack.set_visible_child_name("not-here");
    }
}
