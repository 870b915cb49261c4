// SPDX-License-Identifier: GPL-3.0-or-later
//! What is booted, and on what machine.

use super::lists::Lists;
use crate::flows::lab::find;
use crate::flows::lab::session::{What, Wish};
use crate::flows::lab::size::{default_size, memory_here, processors};
use crate::guest::spec::{Display, Firmware, Network};
use crate::tell::Problem;
use crate::ui::actions::Action;
use crate::ui::i18n::{gettext, gettext_f};
use crate::ui::machine::elsewhere;
use crate::ui::widgets::{PageHead, ProblemView, SideBySide, named, whole_entries};
use crate::ui::window::Window;
use adw::prelude::*;
use adw::subclass::prelude::*;
use gtk::{CompositeTemplate, gdk, gio, glib};
use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};

/// What can be booted, in the order in which it is offered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    Project,
    Iso,
    Disk,
    #[default]
    Kernel,
}

/// What the lists offer, in their order.
const FIRMWARE: [Firmware; 3] = [Firmware::Uefi, Firmware::SecureBoot, Firmware::Bios];
const DISPLAY: [Display; 3] = [Display::None, Display::Gtk, Display::Sdl];
const NETWORK: [Network; 3] = [Network::None, Network::User, Network::Ssh { port: 0 }];

/// Minutes that a guest has when nothing else is said.
const MINUTES: f64 = 10.0;

mod imp {
    use super::*;

    #[derive(Debug, Default, CompositeTemplate)]
    #[template(resource = "/org/hostwright/Hostwright/flows/lab/setup.ui")]
    pub struct SetupPage {
        #[template_child]
        pub(super) page: TemplateChild<adw::PreferencesPage>,
        #[template_child]
        pub(super) problem: TemplateChild<ProblemView>,
        #[template_child]
        pub(super) kind_project: TemplateChild<gtk::ToggleButton>,
        #[template_child]
        pub(super) kind_iso: TemplateChild<gtk::ToggleButton>,
        #[template_child]
        pub(super) kind_disk: TemplateChild<gtk::ToggleButton>,
        #[template_child]
        pub(super) kind_kernel: TemplateChild<gtk::ToggleButton>,
        #[template_child]
        pub(super) what: TemplateChild<adw::PreferencesGroup>,
        #[template_child]
        pub(super) file: TemplateChild<adw::ActionRow>,
        #[template_child]
        pub(super) choose_file: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) kernel: TemplateChild<adw::ComboRow>,
        #[template_child]
        pub(super) root: TemplateChild<adw::ComboRow>,
        #[template_child]
        pub(super) command: TemplateChild<adw::EntryRow>,
        #[template_child]
        pub(super) until: TemplateChild<adw::EntryRow>,
        #[template_child]
        pub(super) writable_row: TemplateChild<adw::ActionRow>,
        #[template_child]
        pub(super) writable: TemplateChild<gtk::Switch>,
        #[template_child]
        pub(super) cpus: TemplateChild<gtk::SpinButton>,
        #[template_child]
        pub(super) memory: TemplateChild<gtk::SpinButton>,
        #[template_child]
        pub(super) firmware: TemplateChild<adw::ComboRow>,
        #[template_child]
        pub(super) display: TemplateChild<adw::ComboRow>,
        #[template_child]
        pub(super) network: TemplateChild<adw::ComboRow>,
        #[template_child]
        pub(super) minutes: TemplateChild<gtk::SpinButton>,
        #[template_child]
        pub(super) lists: TemplateChild<Lists>,
        pub(super) kind: Cell<Kind>,
        /// What was chosen for each kind: folder, ISO image, disk image.
        pub(super) files: RefCell<[Option<PathBuf>; 3]>,
        /// Releases of kernels in the list, after the running one.
        pub(super) releases: RefCell<Vec<String>>,
        /// A kernel of a person's own: an image or a build tree.
        pub(super) own_kernel: RefCell<Option<PathBuf>>,
        /// A root of a person's own.
        pub(super) own_root: RefCell<Option<PathBuf>>,
        /// Lists are being filled: what changes in them is nobody's wish.
        pub(super) filling: Cell<bool>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for SetupPage {
        const NAME: &'static str = "HwLabSetupPage";
        type Type = super::SetupPage;
        type ParentType = adw::Bin;

        fn class_init(class: &mut Self::Class) {
            PageHead::ensure_type();
            ProblemView::ensure_type();
            SideBySide::ensure_type();
            Lists::ensure_type();
            class.bind_template();
        }

        fn instance_init(obj: &glib::subclass::InitializingObject<Self>) {
            obj.init_template();
        }
    }

    impl ObjectImpl for SetupPage {
        fn constructed(&self) {
            self.parent_constructed();
            self.obj().set_up();
        }
    }

    impl WidgetImpl for SetupPage {}
    impl BinImpl for SetupPage {}
}

glib::wrapper! {
    pub struct SetupPage(ObjectSubclass<imp::SetupPage>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget;
}

impl SetupPage {
    fn set_up(&self) {
        let imp = self.imp();
        for row in [&imp.kernel, &imp.root, &imp.firmware, &imp.display, &imp.network] {
            whole_entries(&row.get());
        }
        let kinds = self.kinds();
        for (kind, button, name) in &kinds {
            named(button, name);
            let kind = *kind;
            button.connect_toggled(glib::clone!(
                #[weak(rename_to = page)]
                self,
                move |button| if button.is_active() {
                    page.set_kind(kind);
                }
            ));
        }
        imp.choose_file.connect_clicked(glib::clone!(
            #[weak(rename_to = page)]
            self,
            move |_| page.choose_file()
        ));
        imp.kernel.connect_selected_notify(glib::clone!(
            #[weak(rename_to = page)]
            self,
            move |row| if row.selected() == page.other_kernel() {
                page.choose_other(true);
            }
        ));
        imp.root.connect_selected_notify(glib::clone!(
            #[weak(rename_to = page)]
            self,
            move |row| if row.selected() == OTHER_ROOT {
                page.choose_other(false);
            }
        ));
        for entry in [&imp.command, &imp.until] {
            entry.connect_changed(glib::clone!(
                #[weak(rename_to = page)]
                self,
                move |_| page.changed()
            ));
        }
        imp.cpus.set_range(1.0, f64::from(processors().clamp(1, 255)));
        imp.cpus.set_increments(1.0, 2.0);
        imp.memory.set_range(128.0, f64::from(memory_here().max(512)));
        imp.memory.set_increments(128.0, 1024.0);
        imp.minutes.set_range(0.0, 1440.0);
        imp.minutes.set_increments(1.0, 10.0);
        imp.minutes.set_value(MINUTES);
        named(&*imp.cpus, &gettext("Virtual processors"));
        named(&*imp.memory, &gettext("Memory in MiB"));
        named(&*imp.minutes, &gettext("Time limit in minutes"));
        let drop = gtk::DropTarget::new(gio::File::static_type(), gdk::DragAction::COPY);
        drop.connect_drop(glib::clone!(
            #[weak(rename_to = page)]
            self,
            #[upgrade_or]
            false,
            move |_, value, _, _| {
                let path = value.get::<gio::File>().ok().and_then(|f| f.path());
                path.map(|path| page.take_file(path)).is_some()
            }
        ));
        self.add_controller(drop);
        imp.kind_kernel.set_active(true);
        self.set_kind(Kind::Kernel);
        self.show_roots(0);
        self.fill_kernels();
    }

    fn kinds(&self) -> [(Kind, gtk::ToggleButton, String); 4] {
        let imp = self.imp();
        [
            (Kind::Project, imp.kind_project.get(), gettext("Project folder")),
            (Kind::Iso, imp.kind_iso.get(), gettext("ISO image")),
            (Kind::Disk, imp.kind_disk.get(), gettext("Disk image")),
            (Kind::Kernel, imp.kind_kernel.get(), gettext("Kernel")),
        ]
    }

    /// Takes the digits of the numbered options.
    pub(super) fn key(&self, key: gdk::Key, modifiers: gdk::ModifierType) -> glib::Propagation {
        if modifiers.intersects(gdk::ModifierType::CONTROL_MASK | gdk::ModifierType::ALT_MASK) {
            return glib::Propagation::Proceed;
        }
        let n = match key {
            gdk::Key::_1 | gdk::Key::KP_1 => 0,
            gdk::Key::_2 | gdk::Key::KP_2 => 1,
            gdk::Key::_3 | gdk::Key::KP_3 => 2,
            gdk::Key::_4 | gdk::Key::KP_4 => 3,
            _ => return glib::Propagation::Proceed,
        };
        let (_, button, _) = &self.kinds()[n];
        button.set_active(true);
        button.grab_focus();
        glib::Propagation::Stop
    }

    // Show.

    fn set_kind(&self, kind: Kind) {
        let imp = self.imp();
        imp.kind.set(kind);
        let direct = kind == Kind::Kernel;
        imp.file.set_visible(!direct);
        imp.file.set_title(&match kind {
            Kind::Project => gettext("Folder"),
            _ => gettext("Image"),
        });
        imp.kernel.set_visible(direct);
        imp.root.set_visible(direct);
        imp.command.set_visible(matches!(kind, Kind::Project | Kind::Kernel));
        imp.command.set_title(&if direct {
            gettext("Command to run there")
        } else {
            gettext("Command to run when it has started, then power off")
        });
        imp.until.set_visible(!direct);
        imp.writable_row.set_visible(kind == Kind::Disk);
        imp.firmware.set_visible(!direct);
        imp.what.set_description(Some(&match kind {
            Kind::Project => gettext(
                "An image is built of Debian\u{2019}s own packages with your folder in it, and started. Only what changed is built \
                 again.",
            ),
            Kind::Iso => gettext("Started as from an optical drive or a USB stick."),
            Kind::Disk => gettext("A raw or qcow2 image with a system on it."),
            Kind::Kernel => {
                gettext("Started directly, without a boot loader. All that it writes is thrown away.")
            }
        }));
        let (cpus, memory) = default_size(!direct, processors(), memory_here());
        imp.cpus.set_value(f64::from(cpus));
        imp.memory.set_value(f64::from(memory));
        self.show_file();
        self.changed();
    }

    fn show_file(&self) {
        let imp = self.imp();
        let files = imp.files.borrow();
        let path = self.slot().and_then(|n| files[n].as_deref());
        let text = path.map_or_else(|| gettext("Nothing chosen yet"), |p| p.display().to_string());
        imp.file.set_subtitle(&text);
    }

    fn slot(&self) -> Option<usize> {
        match self.imp().kind.get() {
            Kind::Project => Some(0),
            Kind::Iso => Some(1),
            Kind::Disk => Some(2),
            Kind::Kernel => None,
        }
    }

    /// The last entry of the kernels' list.
    fn other_kernel(&self) -> u32 {
        u32::try_from(self.imp().releases.borrow().len() + 1).unwrap_or(u32::MAX)
    }

    fn fill_kernels(&self) {
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = page)]
            self,
            async move {
                let look = || Ok((find::releases(Path::new("/")), find::kernel("running").is_ok()));
                let (found, running) = elsewhere(look).await.unwrap_or_default();
                // In a container the running kernel has no image.
                let first = u32::from(!running && !found.is_empty());
                page.imp().releases.replace(found);
                page.show_kernels(first);
            }
        ));
    }

    /// Fills the list of kernels; `select`: the entry that is picked then.
    fn show_kernels(&self, select: u32) {
        let imp = self.imp();
        imp.filling.set(true);
        let list = gtk::StringList::new(&[]);
        list.append(&gettext("The kernel that runs here"));
        for release in imp.releases.borrow().iter() {
            list.append(release);
        }
        list.append(&match imp.own_kernel.borrow().as_deref() {
            Some(path) => path.display().to_string(),
            None => gettext("Another image or build tree\u{2026}"),
        });
        imp.kernel.set_model(Some(&list));
        imp.kernel.set_selected(select);
        imp.filling.set(false);
    }

    fn show_roots(&self, select: u32) {
        let imp = self.imp();
        imp.filling.set(true);
        let list = gtk::StringList::new(&[
            &gettext("This machine\u{2019}s files, to read"),
            &gettext("None: only the command\u{2019}s program; the quickest"),
        ]);
        list.append(&match imp.own_root.borrow().as_deref() {
            Some(path) => path.display().to_string(),
            None => gettext("A folder or image\u{2026}"),
        });
        imp.root.set_model(Some(&list));
        imp.root.set_selected(select);
        imp.filling.set(false);
    }

    /// Says why nothing was booted.
    pub(super) fn show_problem(&self, problem: Option<&Problem>) {
        self.imp().problem.show(problem);
        if problem.is_some() {
            self.imp().problem.grab_focus();
        }
    }

    /// Reads the lists of guests and runs anew.
    pub(super) fn refresh(&self) {
        self.imp().lists.refresh();
    }

    // React.

    fn changed(&self) {
        let imp = self.imp();
        let bad = !imp.until.text().is_empty() && regex::Regex::new(&imp.until.text()).is_err();
        mark_error(&imp.until, bad);
        mark_error(&imp.command, self.words().is_err());
        let _ = self.activate_action(Action::PageChanged.full(), None);
    }

    /// Whether enough was picked.
    pub(super) fn can_go_on(&self) -> bool {
        let imp = self.imp();
        let file = self.slot().is_none_or(|n| imp.files.borrow()[n].is_some());
        let until = imp.until.text().is_empty() || regex::Regex::new(&imp.until.text()).is_ok();
        file && until && self.words().is_ok()
    }

    /// Takes a file that was dropped here, as what it looks like.
    fn take_file(&self, path: PathBuf) {
        let imp = self.imp();
        let iso = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("iso"));
        let (n, button) = match path.is_dir() {
            true => (0, &imp.kind_project),
            false if iso => (1, &imp.kind_iso),
            false => (2, &imp.kind_disk),
        };
        imp.files.borrow_mut()[n] = Some(path);
        button.set_active(true);
        self.show_file();
        self.changed();
    }

    fn choose_file(&self) {
        let Some(slot) = self.slot() else { return };
        let (title, action) = match self.imp().kind.get() {
            Kind::Project => (gettext("Project Folder"), gtk::FileChooserAction::SelectFolder),
            Kind::Iso => (gettext("ISO Image"), gtk::FileChooserAction::Open),
            _ => (gettext("Disk Image"), gtk::FileChooserAction::Open),
        };
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = page)]
            self,
            async move {
                if let Some(path) = ask_file(&page, &title, action).await {
                    page.imp().files.borrow_mut()[slot] = Some(path);
                    page.show_file();
                    page.changed();
                }
            }
        ));
    }

    /// Asks for a kernel or a root of a person's own.
    fn choose_other(&self, kernel: bool) {
        if self.imp().filling.get() {
            return;
        }
        let title = if kernel { gettext("Kernel Image") } else { gettext("Root Folder") };
        // A root is a folder most of the time, a kernel a file.
        let action = if kernel { gtk::FileChooserAction::Open } else { gtk::FileChooserAction::SelectFolder };
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = page)]
            self,
            async move {
                let imp = page.imp();
                let chosen = ask_file(&page, &title, action).await;
                let place = if kernel { &imp.own_kernel } else { &imp.own_root };
                if chosen.is_some() {
                    place.replace(chosen);
                }
                let there = place.borrow().is_some();
                if kernel {
                    page.show_kernels(if there { page.other_kernel() } else { 0 });
                } else {
                    page.show_roots(if there { OTHER_ROOT } else { 0 });
                }
                page.changed();
            }
        ));
    }

    // Do.

    /// The command, split as a shell splits it.
    fn words(&self) -> Result<Vec<String>, String> {
        let imp = self.imp();
        let text = imp.command.text();
        if imp.kind.get() != Kind::Kernel || text.trim().is_empty() {
            return Ok(Vec::new());
        }
        let words = glib::shell_parse_argv(text.as_str()).map_err(|e| e.to_string())?;
        Ok(words.into_iter().map(|w| w.to_string_lossy().into_owned()).collect())
    }

    /// What is picked.
    pub(super) fn wish(&self, keep: bool) -> Option<Wish> {
        let imp = self.imp();
        let files = imp.files.borrow();
        let text = |entry: &adw::EntryRow| Some(entry.text().to_string()).filter(|t| !t.trim().is_empty());
        let kind = imp.kind.get();
        let what = match kind {
            Kind::Project => What::Project { folder: files[0].clone()?, autorun: text(&imp.command) },
            Kind::Iso => What::Iso { path: files[1].clone()? },
            Kind::Disk => What::Disk { path: files[2].clone()?, writable: imp.writable.is_active() },
            Kind::Kernel => What::Kernel {
                kernel: self.picked_kernel(),
                root: match imp.root.selected() {
                    0 => "host".into(),
                    1 => "none".into(),
                    _ => imp.own_root.borrow().clone().unwrap_or_else(|| "host".into()),
                },
                command: self.words().ok()?,
            },
        };
        let of = |row: &adw::ComboRow| usize::try_from(row.selected()).unwrap_or(0);
        Some(Wish {
            what,
            cpus: u32::try_from(imp.cpus.value_as_int()).unwrap_or(1),
            memory: u32::try_from(imp.memory.value_as_int()).unwrap_or(1024),
            firmware: FIRMWARE.get(of(&imp.firmware)).copied().unwrap_or_default(),
            display: DISPLAY.get(of(&imp.display)).copied().unwrap_or_default(),
            network: NETWORK.get(of(&imp.network)).copied().unwrap_or_default(),
            timeout: u32::try_from(imp.minutes.value_as_int()).unwrap_or(0) * 60,
            until: text(&imp.until).filter(|_| kind != Kind::Kernel),
            keep,
        })
    }

    fn picked_kernel(&self) -> String {
        let imp = self.imp();
        let n = usize::try_from(imp.kernel.selected()).unwrap_or(0);
        let releases = imp.releases.borrow();
        match n.checked_sub(1) {
            None => "running".to_owned(),
            Some(n) if n < releases.len() => releases[n].clone(),
            Some(_) => match imp.own_kernel.borrow().as_deref() {
                Some(path) => path.display().to_string(),
                None => "running".to_owned(),
            },
        }
    }
}

/// The last entry of the roots' list.
const OTHER_ROOT: u32 = 2;

fn mark_error(entry: &adw::EntryRow, bad: bool) {
    if bad {
        entry.add_css_class("error");
    } else {
        entry.remove_css_class("error");
    }
}

/// Asks for a file or a folder of this machine.
async fn ask_file(page: &SetupPage, title: &str, action: gtk::FileChooserAction) -> Option<PathBuf> {
    let window = Window::of(page);
    let dialog = gtk::FileChooserNative::new(Some(title), window.as_ref(), action, None, None);
    if dialog.run_future().await != gtk::ResponseType::Accept {
        return None;
    }
    let file = dialog.file()?;
    let path = file.path();
    if let (None, Some(window)) = (&path, window) {
        let uri = file.uri().to_string();
        window.toast(&gettext_f("{place} is not on this machine", &[("place", &uri)]));
    }
    path
}
