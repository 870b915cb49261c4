// SPDX-License-Identifier: GPL-3.0-or-later
//! The first view: how this machine stands, and what can be done.

use super::headline::{Deed, Headline, headlines};
use crate::engine::RunSummary;
use crate::flows::vmware::choices::{Choices, KernelChoice};
use crate::tell::{Mark, Problem};
use crate::ui::actions::Action;
use crate::ui::context::Context;
use crate::ui::flows::vmware::Then;
use crate::ui::i18n::{gettext, gettext_f, told};
use crate::ui::machines;
use crate::ui::widgets::{clear, copied, mark_icon, named, named_menu, text_row};
use crate::ui::window::Window;
use adw::prelude::*;
use adw::subclass::prelude::*;
use gtk::{CompositeTemplate, glib};
use std::cell::RefCell;

/// By then a page that got new rows has been laid out.
const LAID_OUT: std::time::Duration = std::time::Duration::from_millis(100);

mod imp {
    use super::*;

    #[derive(Debug, Default, CompositeTemplate)]
    #[template(resource = "/org/hostwright/Hostwright/pages/home.ui")]
    pub struct HomePage {
        #[template_child]
        pub(super) hero_icon: TemplateChild<gtk::Image>,
        #[template_child]
        pub(super) hero_title: TemplateChild<gtk::Label>,
        #[template_child]
        pub(super) hero_text: TemplateChild<gtk::Label>,
        #[template_child]
        pub(super) hero_button: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) hero_other: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) more: TemplateChild<adw::PreferencesGroup>,
        #[template_child]
        pub(super) menu: TemplateChild<gtk::MenuButton>,
        #[template_child]
        pub(super) machine: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) machine_name: TemplateChild<gtk::Label>,
        pub(super) rows: RefCell<Vec<gtk::Widget>>,
        pub(super) context: RefCell<Context>,
        pub(super) deed: RefCell<Option<Deed>>,
        pub(super) other: RefCell<Option<Deed>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for HomePage {
        const NAME: &'static str = "HwHomePage";
        type Type = super::HomePage;
        type ParentType = adw::Bin;

        fn class_init(class: &mut Self::Class) {
            class.bind_template();
        }

        fn instance_init(obj: &glib::subclass::InitializingObject<Self>) {
            obj.init_template();
        }
    }

    impl ObjectImpl for HomePage {
        fn constructed(&self) {
            self.parent_constructed();
            self.obj().set_up();
        }
    }

    impl WidgetImpl for HomePage {}
    impl BinImpl for HomePage {}
}

glib::wrapper! {
    pub struct HomePage(ObjectSubclass<imp::HomePage>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget;
}

impl HomePage {
    fn set_up(&self) {
        let imp = self.imp();
        imp.hero_icon.set_icon_name(Some(crate::ui::APP_ID));
        named_menu(&imp.menu, &gettext("Main menu"));
        imp.hero_button.connect_clicked(glib::clone!(
            #[weak(rename_to = page)]
            self,
            move |_| {
                let deed = page.imp().deed.borrow().clone();
                page.act(deed.as_ref());
            }
        ));
        imp.hero_other.connect_clicked(glib::clone!(
            #[weak(rename_to = page)]
            self,
            move |_| {
                let deed = page.imp().other.borrow().clone();
                page.act(deed.as_ref());
            }
        ));
    }

    /// The machine it is about.
    pub(in crate::ui) fn set_context(&self, context: &Context) {
        self.imp().context.replace(context.clone());
        let (button, shown) = (self.imp().machine.get(), self.imp().machine_name.get());
        context.machine.connect_changed(move |place| {
            let name = machines::name(place);
            // In a narrow window a picture stands there, and the name where the pointer rests.
            shown.set_label(&name);
            let label = gettext_f("Machine: {name}", &[("name", &name)]);
            named(&button, &label);
            button.set_tooltip_text(Some(&label));
        });
    }

    /// Looks at the machine and shows what is seen.
    pub(in crate::ui) fn refresh(&self) {
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = page)]
            self,
            async move { page.look().await }
        ));
    }

    async fn look(&self) {
        let context = self.imp().context.borrow().clone();
        let facts = context.machine.facts(None).await;
        // A look at the runs is not worth a password.
        let runs = context.machine.runs(false).await;
        let updates = context.machine.updates().await.unwrap_or_default();
        match facts {
            Ok(facts) => {
                let facts = context.set_facts(facts);
                let runs: Result<&[RunSummary], &str> = match &runs {
                    Ok(runs) => Ok(runs),
                    Err(problem) => Err(&problem.reason),
                };
                self.show(&headlines(&facts, runs, &updates));
            }
            Err(problem) => self.show_problem(&problem),
        }
    }

    // Show.

    fn show(&self, lines: &[Headline]) {
        let imp = self.imp();
        clear(&imp.more, &mut imp.rows.borrow_mut());
        let Some((first, rest)) = lines.split_first() else { return };
        let (icon, class) = match first.mark {
            Mark::Good => ("object-select-symbolic", "success"),
            Mark::Warning => ("dialog-warning-symbolic", "warning"),
            Mark::Bad => ("dialog-error-symbolic", "error"),
            Mark::Unknown => ("dialog-question-symbolic", "dim-label"),
            Mark::Neutral => ("computer-symbolic", "dim-label"),
        };
        imp.hero_icon.set_icon_name(Some(icon));
        imp.hero_icon.set_css_classes(&[class]);
        if imp.hero_title.label() != first.title {
            self.to_top();
        }
        imp.hero_title.set_label(&first.title);
        imp.hero_text.set_label(&first.text);
        imp.hero_text.set_visible(!first.text.is_empty());
        for (button, deed) in [(&imp.hero_button, &first.deed), (&imp.hero_other, &first.other)] {
            let label = label(deed);
            button.set_visible(label.is_some());
            button.set_label(label.as_deref().unwrap_or_default());
        }
        imp.deed.replace(Some(first.deed.clone()));
        imp.other.replace(Some(first.other.clone()));
        for line in rest {
            let row = self.row(line);
            imp.more.add(&row);
            imp.rows.borrow_mut().push(row.upcast());
        }
        imp.more.set_visible(!rest.is_empty());
    }

    /// Shows the top of the page as soon as it has its new size: there is something new to read.
    fn to_top(&self) {
        let scroll = self.imp().hero_title.ancestor(gtk::ScrolledWindow::static_type());
        let Some(scroll) = scroll.and_downcast::<gtk::ScrolledWindow>() else { return };
        glib::timeout_add_local_once(
            LAID_OUT,
            glib::clone!(
                #[weak]
                scroll,
                move || scroll.vadjustment().set_value(0.0)
            ),
        );
    }

    fn row(&self, line: &Headline) -> adw::ActionRow {
        let row = text_row(&line.title, &line.text);
        row.add_prefix(&mark_icon(line.mark));
        for deed in [&line.deed, &line.other] {
            let Some(label) = label(deed) else { continue };
            let button = gtk::Button::builder().label(&label).valign(gtk::Align::Center).build();
            // Several rows may have the same word on their buttons.
            let name = gettext_f("{action}: {what}", &[("action", &label), ("what", &line.title)]);
            named(&button, &name);
            button.connect_clicked(glib::clone!(
                #[weak(rename_to = page)]
                self,
                #[strong]
                deed,
                move |_| page.act(Some(&deed))
            ));
            row.add_suffix(&button);
        }
        row
    }

    fn show_problem(&self, problem: &Problem) {
        let text = format!("{}\n{}", problem.reason, problem.remedy.as_deref().unwrap_or_default());
        let title = told(&problem.title);
        self.show(&[Headline {
            mark: Mark::Unknown,
            title,
            text: told(text.trim()),
            deed: Deed::None,
            other: Deed::None,
        }]);
    }

    // Do.

    fn act(&self, deed: Option<&Deed>) {
        let (Some(deed), Some(window)) = (deed, Window::of(self)) else { return };
        match deed {
            Deed::None => {}
            Deed::Build { kernel } => window.open_vmware(Some(Choices {
                kernels: KernelChoice::Releases(vec![kernel.clone()]),
                ..Choices::default()
            })),
            Deed::Copy { command } => copied(self, command),
            Deed::Undo { run } => window.ask_to_undo(*run, Vec::new()),
            Deed::Finish { run, request } => {
                window.ask_to_undo(*run, vec![Then::Review((**request).clone())]);
            }
            Deed::Enroll => window.open_vmware(Some(Choices { enroll: true, ..Choices::default() })),
            Deed::Watch { run } => window.attach(*run),
            Deed::Restart => window.ask_to_restart(),
            Deed::History => {
                let _ = self.activate_action(Action::History.full(), None);
            }
        }
    }
}

/// What the button for it says.
fn label(deed: &Deed) -> Option<String> {
    Some(match deed {
        Deed::None => return None,
        Deed::Build { .. } => gettext("Build Them"),
        Deed::Copy { .. } => gettext("Copy the Command"),
        Deed::Undo { .. } => gettext("Take It Back\u{2026}"),
        Deed::Finish { .. } => gettext("Finish\u{2026}"),
        Deed::Enroll => gettext("Have It Trusted"),
        Deed::Watch { .. } => gettext("Show"),
        Deed::Restart => gettext("Restart\u{2026}"),
        Deed::History => gettext("History"),
    })
}
