// SPDX-License-Identifier: GPL-3.0-or-later
//! What went wrong, why, and what to do about it, in the middle of a page.

use super::copied;
use crate::tell::{Exit, Problem};
use crate::ui::i18n::told;
use adw::prelude::*;
use adw::subclass::prelude::*;
use gtk::{CompositeTemplate, glib};

mod imp {
    use super::*;

    #[derive(Debug, Default, CompositeTemplate)]
    #[template(resource = "/org/hostwright/Hostwright/widgets/problem_view.ui")]
    pub struct ProblemView {
        #[template_child]
        pub(super) icon: TemplateChild<gtk::Image>,
        #[template_child]
        pub(super) title: TemplateChild<gtk::Label>,
        #[template_child]
        pub(super) reason: TemplateChild<gtk::Label>,
        #[template_child]
        pub(super) remedy_box: TemplateChild<gtk::Box>,
        #[template_child]
        pub(super) remedy: TemplateChild<gtk::Label>,
        #[template_child]
        pub(super) copy: TemplateChild<gtk::Button>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for ProblemView {
        const NAME: &'static str = "HwProblemView";
        type Type = super::ProblemView;
        type ParentType = gtk::Box;

        fn class_init(class: &mut Self::Class) {
            class.bind_template();
        }

        fn instance_init(obj: &glib::subclass::InitializingObject<Self>) {
            obj.init_template();
        }
    }

    impl ObjectImpl for ProblemView {
        fn constructed(&self) {
            self.parent_constructed();
            self.obj().set_visible(false);
            let remedy = self.remedy.get();
            self.copy.connect_clicked(move |button| copied(button, &remedy.text()));
        }
    }

    impl WidgetImpl for ProblemView {}
    impl BoxImpl for ProblemView {}
}

glib::wrapper! {
    pub struct ProblemView(ObjectSubclass<imp::ProblemView>)
        @extends gtk::Box, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget, gtk::Orientable;
}

impl ProblemView {
    /// Shows a problem, or none.
    pub(in crate::ui) fn show(&self, problem: Option<&Problem>) {
        self.set_visible(problem.is_some());
        let Some(problem) = problem else { return };
        let imp = self.imp();
        // Who said no, or thought better of it, has done nothing wrong.
        let calm = matches!(problem.exit, Exit::Cancelled | Exit::NotAuthorized | Exit::Refused);
        imp.icon.set_icon_name(Some(if calm {
            "dialog-information-symbolic"
        } else {
            "dialog-error-symbolic"
        }));
        imp.title.set_label(&told(&problem.title));
        imp.reason.set_label(&told(problem.reason.trim()));
        imp.reason.set_visible(!problem.reason.is_empty());
        imp.remedy_box.set_visible(problem.remedy.is_some());
        imp.remedy.set_label(&told(problem.remedy.as_deref().unwrap_or_default()));
        self.update_property(&[gtk::accessible::Property::Label(&told(&problem.title))]);
    }
}
