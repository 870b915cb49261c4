// SPDX-License-Identifier: GPL-3.0-or-later
//! The log of a run: follows its end until somebody scrolls up; can be searched, copied and saved; goes from one error to
//! the next; folds step by step.

use super::copied;
use super::log_model::{Found, Item, Kind, Line, LogModel};
use crate::tell::Problem;
use crate::ui::i18n::{gettext, gettext_f, ngettext_f};
use crate::ui::machine::elsewhere;
use crate::ui::window::Window;
use adw::prelude::*;
use adw::subclass::prelude::*;
use gtk::glib::{self, BoxedAnyObject};
use gtk::{CompositeTemplate, gdk, gio, pango};
use regex::{Regex, RegexBuilder};
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// How often lines that came are shown. Each time costs one change of the list, however many they are.
const FLUSH: Duration = Duration::from_millis(60);

mod imp {
    use super::*;

    #[derive(Debug, Default, CompositeTemplate)]
    #[template(resource = "/org/hostwright/Hostwright/widgets/log_view.ui")]
    pub struct LogView {
        #[template_child]
        pub(super) search_button: TemplateChild<gtk::ToggleButton>,
        #[template_child]
        pub(super) next_problem: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) problems: TemplateChild<adw::ButtonContent>,
        #[template_child]
        pub(super) status: TemplateChild<gtk::Label>,
        #[template_child]
        pub(super) follow_button: TemplateChild<gtk::ToggleButton>,
        #[template_child]
        pub(super) copy_button: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) save_button: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) search_bar: TemplateChild<gtk::SearchBar>,
        #[template_child]
        pub(super) search: TemplateChild<gtk::SearchEntry>,
        #[template_child]
        pub(super) search_previous: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) search_next: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) scroll: TemplateChild<gtk::ScrolledWindow>,
        #[template_child]
        pub(super) list: TemplateChild<gtk::ListView>,
        pub(super) model: LogModel,
        pub(super) selection: RefCell<Option<gtk::MultiSelection>>,
        pub(super) waiting: RefCell<Vec<Line>>,
        pub(super) flush: RefCell<Option<glib::SourceId>>,
        /// Where the list was scrolled to last.
        pub(super) value: Cell<f64>,
        /// The number of the line where the search or the jump to a problem is.
        pub(super) cursor: Cell<u64>,
        /// What is searched for.
        pub(super) query: RefCell<Option<Regex>>,
        /// Which search is the newest; older ones stop.
        pub(super) searches: Cell<u32>,
        /// The rows that there are, to show what a new search found in them.
        pub(super) rows: RefCell<Vec<glib::WeakRef<gtk::ListItem>>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for LogView {
        const NAME: &'static str = "HwLogView";
        type Type = super::LogView;
        type ParentType = gtk::Box;

        fn class_init(class: &mut Self::Class) {
            class.bind_template();
            let control = gdk::ModifierType::CONTROL_MASK;
            class.add_binding(gdk::Key::f, control, |view| {
                view.imp().search_button.set_active(true);
                view.imp().search.grab_focus();
                glib::Propagation::Stop
            });
            class.add_binding(gdk::Key::g, control, |view| {
                view.find_next(true);
                glib::Propagation::Stop
            });
            class.add_binding(gdk::Key::F8, gdk::ModifierType::empty(), |view| {
                view.to_next_problem();
                glib::Propagation::Stop
            });
            class.add_binding(gdk::Key::c, control, super::LogView::copy_selected);
        }

        fn instance_init(obj: &glib::subclass::InitializingObject<Self>) {
            obj.init_template();
        }
    }

    impl ObjectImpl for LogView {
        fn constructed(&self) {
            self.parent_constructed();
            self.obj().set_up();
        }

        fn dispose(&self) {
            if let Some(source) = self.flush.take() {
                source.remove();
            }
        }
    }

    impl WidgetImpl for LogView {
        fn focus(&self, direction: gtk::DirectionType) -> bool {
            // Tab would go from line to line: arrows do. It leads on from the lines, or back to what is above them.
            // A box remembers its child that had the focus last: the window knows which has it now.
            let focus = self.obj().root().and_then(|root| root.focus());
            if !focus.is_some_and(|widget| widget.is_ancestor(&*self.scroll)) {
                let taken = self.parent_focus(direction);
                self.obj().keep_focus_in_sight();
                return taken;
            }
            match direction {
                gtk::DirectionType::TabForward => false,
                gtk::DirectionType::TabBackward => {
                    let above = std::iter::successors(self.scroll.prev_sibling(), |w| w.prev_sibling());
                    above.into_iter().any(|w| w.child_focus(direction))
                }
                _ => self.parent_focus(direction),
            }
        }
    }
    impl BoxImpl for LogView {}
}

glib::wrapper! {
    pub struct LogView(ObjectSubclass<imp::LogView>)
        @extends gtk::Box, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget, gtk::Orientable;
}

/// Calls a method of the view when a signal comes.
macro_rules! on {
    ($view:expr, $method:ident $(, $arg:expr)*) => {
        glib::clone!(#[weak(rename_to = view)] $view, move |_| view.$method($($arg),*))
    };
}

impl LogView {
    fn set_up(&self) {
        let imp = self.imp();
        let selection = gtk::MultiSelection::new(Some(imp.model.clone()));
        imp.list.set_factory(Some(&self.factory()));
        imp.list.set_model(Some(&selection));
        imp.selection.replace(Some(selection));
        imp.list.set_has_tooltip(true);
        imp.list.connect_query_tooltip(glib::clone!(
            #[weak(rename_to = view)]
            self,
            #[upgrade_or]
            false,
            move |_, x, y, keyboard, tooltip| !keyboard && view.tell_whole_line(x, y, tooltip)
        ));
        imp.list.connect_activate(glib::clone!(
            #[weak(rename_to = view)]
            self,
            move |_, position| view.toggle(position)
        ));
        imp.search_bar.connect_entry(&imp.search.get());
        imp.search.connect_search_changed(on!(self, search_changed));
        imp.search.connect_activate(on!(self, find_next, true));
        imp.search.connect_next_match(on!(self, find_next, true));
        imp.search.connect_previous_match(on!(self, find_next, false));
        imp.search_next.connect_clicked(on!(self, find_next, true));
        imp.search_previous.connect_clicked(on!(self, find_next, false));
        imp.next_problem.connect_clicked(on!(self, to_next_problem));
        imp.follow_button.connect_toggled(on!(self, follow));
        imp.copy_button.connect_clicked(on!(self, copy));
        imp.save_button.connect_clicked(on!(self, save));
        imp.scroll.vadjustment().connect_value_changed(glib::clone!(
            #[weak(rename_to = view)]
            self,
            move |adjustment| view.scrolled(adjustment)
        ));
        self.tell_size();
    }

    /// One row: a button that folds, for the title of a step, and the text.
    fn factory(&self) -> gtk::SignalListItemFactory {
        let factory = gtk::SignalListItemFactory::new();
        factory.connect_setup(glib::clone!(
            #[weak(rename_to = view)]
            self,
            move |_, item| {
                let Some(item) = item.downcast_ref::<gtk::ListItem>() else { return };
                let row = gtk::Box::new(gtk::Orientation::Horizontal, 6);
                // Always as wide, so that a row's layout is the same whatever it shows.
                let fold = gtk::Image::builder().pixel_size(16).css_classes(["dim-label"]).build();
                let click = gtk::GestureClick::new();
                click.connect_released(glib::clone!(
                    #[weak]
                    item,
                    #[weak]
                    view,
                    move |_, _, _, _| view.toggle(item.position())
                ));
                fold.add_controller(click);
                // A label would ask for a new size with each text, and up to 200 rows get one each time.
                let label = gtk::Inscription::builder()
                    .xalign(0.0)
                    .hexpand(true)
                    .min_chars(8)
                    .text_overflow(gtk::InscriptionOverflow::EllipsizeEnd)
                    .css_classes(["code"])
                    .build();
                row.append(&fold);
                row.append(&label);
                item.set_child(Some(&row));
                view.imp().rows.borrow_mut().push(item.downgrade());
            }
        ));
        factory.connect_bind(glib::clone!(
            #[weak(rename_to = view)]
            self,
            move |_, item| {
                if let Some(item) = item.downcast_ref::<gtk::ListItem>() {
                    view.bind(item);
                }
            }
        ));
        factory
    }

    fn bind(&self, item: &gtk::ListItem) -> Option<()> {
        let boxed = item.item().and_downcast::<BoxedAnyObject>()?;
        let line: std::cell::Ref<'_, Item> = boxed.try_borrow().ok()?;
        let row = item.child()?;
        let fold = row.first_child().and_downcast::<gtk::Image>()?;
        let label = row.last_child().and_downcast::<gtk::Inscription>()?;
        let (icon, class) = match line.kind {
            Kind::Step if line.folded => (Some("pan-end-symbolic"), "step"),
            Kind::Step => (Some("pan-down-symbolic"), "step"),
            Kind::Warning => (Some("dialog-warning-symbolic"), "warning"),
            Kind::Error => (Some("dialog-error-symbolic"), "error"),
            Kind::Note => (Some("hostwright-info-symbolic"), "note"),
            Kind::Good => (Some("object-select-symbolic"), "note"),
            Kind::Output => (None, "output"),
        };
        // Rows are used again and again; what stays as it was costs nothing.
        if fold.icon_name().as_deref() != icon {
            fold.set_icon_name(icon);
        }
        if !label.has_css_class(class) {
            label.set_css_classes(&["code", class]);
        }
        label.set_text(Some(&line.text));
        self.mark_found(&label);
        // The text is the name of its row by itself; of a step it is told whether it is folded.
        if line.kind == Kind::Step {
            let values = [("title", line.text.as_str())];
            let name = if line.folded {
                gettext_f("Step, folded: {title}", &values)
            } else {
                gettext_f("Step: {title}", &values)
            };
            row.update_property(&[gtk::accessible::Property::Label(&name)]);
            row.add_css_class("named");
        } else if row.has_css_class("named") {
            row.reset_property(gtk::AccessibleProperty::Label);
            row.remove_css_class("named");
        }
        Some(())
    }

    /// Long lines are cut at the edge; here they are whole.
    fn tell_whole_line(&self, x: i32, y: i32, tooltip: &gtk::Tooltip) -> bool {
        let Some(at) = self.imp().list.pick(f64::from(x), f64::from(y), gtk::PickFlags::DEFAULT) else {
            return false;
        };
        let Some(text) = at.downcast_ref::<gtk::Inscription>().and_then(gtk::Inscription::text) else {
            return false;
        };
        tooltip.set_text(Some(&text));
        text.len() > 60
    }

    /// Marks what the search found in a line.
    fn mark_found(&self, label: &gtk::Inscription) {
        let query = self.imp().query.borrow();
        if query.is_none() && label.attributes().is_none() {
            return;
        }
        let attributes = query.as_ref().map(|query| {
            let list = pango::AttrList::new();
            for found in query.find_iter(&label.text().unwrap_or_default()).filter(|f| !f.is_empty()) {
                // Black on yellow is read on light and on dark alike.
                for mut attribute in [
                    pango::AttrColor::new_background(0xf9f9, 0xf0f0, 0x6b6b),
                    pango::AttrColor::new_foreground(0, 0, 0),
                ] {
                    attribute.set_start_index(u32::try_from(found.start()).unwrap_or(0));
                    attribute.set_end_index(u32::try_from(found.end()).unwrap_or(0));
                    list.insert(attribute);
                }
            }
            list
        });
        label.set_attributes(attributes.as_ref());
    }

    /// The same in all rows that there are.
    fn mark_all_found(&self) {
        self.imp().rows.borrow_mut().retain(|item| {
            let Some(item) = item.upgrade() else { return false };
            if let Some(label) =
                item.child().and_then(|row| row.last_child()).and_downcast::<gtk::Inscription>()
            {
                self.mark_found(&label);
            }
            true
        });
    }

    /// Forgets what is there.
    pub(in crate::ui) fn clear(&self) {
        let imp = self.imp();
        imp.waiting.borrow_mut().clear();
        imp.model.clear();
        imp.cursor.set(0);
        imp.follow_button.set_active(true);
        self.tell_size();
    }

    /// Adds a line; it is shown soon.
    pub(in crate::ui) fn push(&self, kind: Kind, text: &str) {
        let imp = self.imp();
        for line in text.lines() {
            imp.waiting.borrow_mut().push(Line { kind, text: line.to_owned() });
        }
        if imp.flush.borrow().is_none() {
            let source = glib::timeout_add_local_once(FLUSH, on_flush(self));
            imp.flush.replace(Some(source));
        }
    }

    fn show_waiting(&self) {
        let imp = self.imp();
        imp.flush.replace(None);
        let lines = std::mem::take(&mut *imp.waiting.borrow_mut());
        imp.model.append(lines);
        self.tell_size();
        if imp.follow_button.is_active() {
            self.to_end();
        }
    }

    fn tell_size(&self) {
        let imp = self.imp();
        let problems = imp.model.problems();
        imp.problems.set_label(&problems.to_string());
        imp.next_problem.set_sensitive(problems > 0);
        let text = ngettext_f("{n} error or warning", "{n} errors and warnings", problems);
        imp.next_problem.update_property(&[gtk::accessible::Property::Label(&text)]);
        if imp.query.borrow().is_none() {
            let lines = imp.model.len();
            imp.status.set_label(&ngettext_f("{n} line", "{n} lines", lines));
        }
    }

    // React.

    pub(in crate::ui) fn toggle(&self, position: u32) {
        // What a person looks at stays where it is.
        self.imp().follow_button.set_active(false);
        self.imp().model.toggle(position);
    }

    fn follow(&self) {
        if self.imp().follow_button.is_active() {
            self.to_end();
        }
    }

    fn scrolled(&self, adjustment: &gtk::Adjustment) {
        let imp = self.imp();
        let before = imp.value.replace(adjustment.value());
        let end = adjustment.upper() - adjustment.page_size();
        // Up is a wish to read; at the end again is a wish to follow.
        if adjustment.value() < before - 1.0 && adjustment.value() < end - 40.0 {
            imp.follow_button.set_active(false);
        } else if adjustment.value() > before && adjustment.value() > end - 1.0 {
            imp.follow_button.set_active(true);
        }
    }

    /// Searches as if this were typed.
    pub(in crate::ui) fn search_for(&self, text: &str) {
        self.imp().search.set_text(text);
        self.search_changed();
    }

    fn search_changed(&self) {
        let imp = self.imp();
        imp.query.replace(query(&imp.search.text()));
        self.mark_all_found();
        let search = imp.searches.get().wrapping_add(1);
        imp.searches.set(search);
        self.tell_size();
        if imp.query.borrow().is_none() {
            return;
        }
        self.find_next(true);
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = view)]
            self,
            async move { view.count_matches(search).await }
        ));
    }

    /// Counts what fits a slice at a time, as long as nothing else is searched for.
    async fn count_matches(&self, search: u32) {
        let imp = self.imp();
        let (mut from, mut sum) = (Some(0), 0);
        while let Some(at) = from {
            let (n, next) = match imp.query.borrow().as_ref() {
                Some(query) if imp.searches.get() == search => {
                    imp.model.count(at, |l| query.is_match(&l.text))
                }
                _ => return,
            };
            (from, sum) = (next, sum + n);
            glib::timeout_future(Duration::ZERO).await;
        }
        if imp.searches.get() == search {
            imp.status.set_label(&ngettext_f("{n} match", "{n} matches", sum));
        }
    }

    fn find_next(&self, forward: bool) {
        if let Some(query) = self.imp().query.borrow().clone() {
            self.go_to_next(forward, move |l| query.is_match(&l.text));
        }
    }

    /// Goes to the next error or warning.
    pub(in crate::ui) fn to_next_problem(&self) {
        self.go_to_next(true, |l| l.kind.is_problem());
    }

    /// Goes to the next line that fits. A log is long: the main loop has its turn in between.
    fn go_to_next(&self, forward: bool, fits: impl Fn(&Line) -> bool + 'static) {
        let search = self.imp().searches.get();
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = view)]
            self,
            async move {
                let imp = view.imp();
                let (mut from, mut left) = (imp.cursor.get(), imp.model.len());
                while imp.searches.get() == search {
                    match imp.model.find(from, forward, left, &fits) {
                        Found::At(number) => return view.go_to(number),
                        Found::Nowhere => return,
                        Found::NotYet { from: f, left: l } => (from, left) = (f, l),
                    }
                    glib::timeout_future(Duration::ZERO).await;
                }
            }
        ));
    }

    fn copy_selected(&self) -> glib::Propagation {
        // With nothing selected the page around may want the keys.
        match self.selected() {
            Some(text) => {
                copied(self, &text);
                glib::Propagation::Stop
            }
            None => glib::Propagation::Proceed,
        }
    }

    fn copy(&self) {
        let text = self.selected().unwrap_or_else(|| self.imp().model.text());
        copied(self, &text);
    }

    fn save(&self) {
        let window = Window::of(self);
        let dialog = gtk::FileChooserNative::new(
            Some(&gettext("Save the Log")),
            window.as_ref(),
            gtk::FileChooserAction::Save,
            None,
            None,
        );
        dialog.set_current_name("hostwright.log");
        let model = self.imp().model.clone();
        glib::spawn_future_local(async move {
            if dialog.run_future().await != gtk::ResponseType::Accept {
                return;
            }
            let Some(path) = dialog.file().as_ref().and_then(gio::prelude::FileExt::path) else { return };
            let text = model.text();
            let written = elsewhere(move || {
                write_whole(&path, text.as_bytes()).map_err(|e| Problem::file("write", &path, &e))
            });
            match (written.await, window) {
                (Ok(()), Some(window)) => window.toast(&gettext("Saved")),
                (Err(problem), Some(window)) => window.tell(&problem),
                (_, None) => {}
            }
        });
    }

    // Do.

    /// A list remembers the line that had the keys last, which may be far from what one sees by now: then they go to the
    /// line in sight that is read next.
    fn keep_focus_in_sight(&self) {
        let imp = self.imp();
        let Some(line) = self.root().and_then(|r| r.focus()).filter(|w| w.is_ancestor(&*imp.list)) else {
            return;
        };
        let height = imp.list.height() as f32;
        let in_sight = |line: &gtk::Widget| {
            let place = line.compute_bounds(&*imp.list);
            place.is_some_and(|at| at.y() >= 0.0 && at.y() + at.height() <= height)
        };
        if in_sight(&line) {
            return;
        }
        let lines = std::iter::successors(imp.list.first_child(), gtk::Widget::next_sibling);
        let seen = lines.filter(|w| w.is_mapped() && in_sight(w));
        let next = if imp.follow_button.is_active() { seen.last() } else { seen.into_iter().next() };
        if let Some(line) = next {
            line.grab_focus();
        }
    }

    fn selected(&self) -> Option<String> {
        let imp = self.imp();
        let selection = imp.selection.borrow().as_ref()?.selection();
        if selection.is_empty() {
            return None;
        }
        let positions = (0..u32::try_from(selection.size()).unwrap_or(u32::MAX)).map(|i| selection.nth(i));
        Some(imp.model.texts(positions))
    }

    fn to_end(&self) {
        let last = self.imp().model.n_items().saturating_sub(1);
        let _ = self.imp().list.activate_action("list.scroll-to-item", Some(&last.to_variant()));
    }

    fn go_to(&self, number: u64) {
        let imp = self.imp();
        imp.cursor.set(number);
        imp.follow_button.set_active(false);
        let Some(position) = imp.model.reveal(number) else { return };
        if let Some(selection) = imp.selection.borrow().as_ref() {
            selection.select_item(position, true);
        }
        let _ = imp.list.activate_action("list.scroll-to-item", Some(&position.to_variant()));
    }
}

fn on_flush(view: &LogView) -> impl FnOnce() + 'static {
    let view = view.downgrade();
    move || {
        if let Some(view) = view.upgrade() {
            view.show_waiting();
        }
    }
}

/// What to look for: these words as they are, in large and small letters alike. Nothing for no words.
fn query(words: &str) -> Option<Regex> {
    if words.is_empty() {
        return None;
    }
    RegexBuilder::new(&regex::escape(words)).case_insensitive(true).build().ok()
}

/// Writes a file beside its place and moves it there when it is whole: a full disk loses nothing that was there.
fn write_whole(path: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
    let mut file = tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o666)) // less what the person's umask takes
        .tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}
