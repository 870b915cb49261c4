// SPDX-License-Identifier: GPL-3.0-or-later
//! The title of a page, and a sentence or two below it.

use adw::prelude::*;
use adw::subclass::prelude::*;
use gtk::{CompositeTemplate, glib};
use std::cell::RefCell;

mod imp {
    use super::*;

    #[derive(Debug, Default, CompositeTemplate, glib::Properties)]
    #[properties(wrapper_type = super::PageHead)]
    #[template(resource = "/org/hostwright/Hostwright/widgets/page_head.ui")]
    pub struct PageHead {
        #[property(get, set)]
        title: RefCell<String>,
        #[property(get, set)]
        text: RefCell<String>,
        #[template_child]
        title_label: TemplateChild<gtk::Label>,
        #[template_child]
        text_label: TemplateChild<gtk::Label>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for PageHead {
        const NAME: &'static str = "HwPageHead";
        type Type = super::PageHead;
        type ParentType = gtk::Box;

        fn class_init(class: &mut Self::Class) {
            class.bind_template();
        }

        fn instance_init(obj: &glib::subclass::InitializingObject<Self>) {
            obj.init_template();
        }
    }

    #[glib::derived_properties]
    impl ObjectImpl for PageHead {}
    impl WidgetImpl for PageHead {}
    impl BoxImpl for PageHead {}
}

glib::wrapper! {
    pub struct PageHead(ObjectSubclass<imp::PageHead>)
        @extends gtk::Box, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget, gtk::Orientable;
}
