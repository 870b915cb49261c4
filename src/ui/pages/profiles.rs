// SPDX-License-Identifier: GPL-3.0-or-later
//! The saved choices: open, rename, duplicate, remove; to and from files.

use crate::profile::{self, Document};
use crate::tell::Problem;
use crate::ui::context::Context;
use crate::ui::dialogs::{self, Question};
use crate::ui::i18n::{gettext, gettext_f, told};
use crate::ui::machine::elsewhere;
use crate::ui::widgets::{badge, clear, named_menu, text_row};
use crate::ui::window::Window;
use adw::prelude::*;
use adw::subclass::prelude::*;
use gtk::{CompositeTemplate, gdk, gio, glib};
use std::cell::RefCell;
use std::path::PathBuf;

/// A saved profile: its name, whether it is in use, and what it holds or why it cannot be used.
type Listed = (String, bool, Result<Document, Problem>);

mod imp {
    use super::*;

    #[derive(Debug, Default, CompositeTemplate)]
    #[template(resource = "/org/hostwright/Hostwright/pages/profiles.ui")]
    pub struct ProfilesPage {
        #[template_child]
        pub(super) stack: TemplateChild<gtk::Stack>,
        #[template_child]
        pub(super) list: TemplateChild<adw::PreferencesGroup>,
        pub(super) rows: RefCell<Vec<gtk::Widget>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for ProfilesPage {
        const NAME: &'static str = "HwProfilesPage";
        type Type = super::ProfilesPage;
        type ParentType = adw::Bin;

        fn class_init(class: &mut Self::Class) {
            class.bind_template();
            class.install_action("profiles.import", None, |page, _, _| page.choose_import());
            let name = Some(glib::VariantTy::STRING);
            class.install_action("profiles.use", name, |page, _, v| {
                page.with(v, super::ProfilesPage::use_it);
            });
            class.install_action("profiles.use-none", None, |page, _, _| {
                page.with(Some(&String::new().to_variant()), super::ProfilesPage::use_it);
            });
            class.install_action("profiles.rename", name, |page, _, v| {
                page.with(v, super::ProfilesPage::rename);
            });
            class.install_action("profiles.duplicate", name, |page, _, v| {
                page.with(v, super::ProfilesPage::duplicate);
            });
            class.install_action("profiles.export", name, |page, _, v| {
                page.with(v, super::ProfilesPage::export);
            });
            class.install_action("profiles.remove", name, |page, _, v| {
                page.with(v, super::ProfilesPage::remove);
            });
        }

        fn instance_init(obj: &glib::subclass::InitializingObject<Self>) {
            obj.init_template();
        }
    }

    impl ObjectImpl for ProfilesPage {
        fn constructed(&self) {
            self.parent_constructed();
            self.obj().set_up();
        }
    }

    impl WidgetImpl for ProfilesPage {}
    impl BinImpl for ProfilesPage {}
}

glib::wrapper! {
    pub struct ProfilesPage(ObjectSubclass<imp::ProfilesPage>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget;
}

impl ProfilesPage {
    fn set_up(&self) {
        let drop = gtk::DropTarget::new(gio::File::static_type(), gdk::DragAction::COPY);
        drop.connect_drop(glib::clone!(
            #[weak(rename_to = page)]
            self,
            #[upgrade_or]
            false,
            move |_, value, _, _| {
                let path = value.get::<gio::File>().ok().and_then(|f| f.path());
                path.map(|path| page.import(path)).is_some()
            }
        ));
        self.add_controller(drop);
    }

    /// Profiles are a person's, not a machine's.
    pub(in crate::ui) fn set_context(&self, _context: &Context) {}

    /// Reads the profiles anew.
    pub(in crate::ui) fn refresh(&self) {
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = page)]
            self,
            async move {
                match elsewhere(listed).await {
                    Ok(all) => page.show(&all),
                    Err(problem) => page.tell(&problem),
                }
            }
        ));
    }

    // Show.

    fn show(&self, all: &[Listed]) {
        let imp = self.imp();
        clear(&imp.list, &mut imp.rows.borrow_mut());
        for profile in all {
            let row = self.row(profile);
            imp.list.add(&row);
            imp.rows.borrow_mut().push(row.upcast());
        }
        imp.stack.set_visible_child_name(if all.is_empty() { "empty" } else { "profiles" });
    }

    fn row(&self, (name, in_use, document): &Listed) -> adw::ActionRow {
        let text = match document {
            Ok(document) => profile::summary(document),
            Err(problem) => gettext_f("Cannot be used: {reason}", &[("reason", &told(&problem.reason))]),
        };
        let row = text_row(name, &text);
        if *in_use {
            row.add_suffix(&badge(&gettext("In use"), true));
        }
        let menu = gio::Menu::new();
        let target = name.to_variant();
        let add = |label: &str, action: &str, target: Option<&glib::Variant>| {
            let item = gio::MenuItem::new(Some(label), None);
            item.set_action_and_target_value(Some(action), target);
            menu.append_item(&item);
        };
        if *in_use {
            add(&gettext("Stop _Using It"), "profiles.use-none", None);
        } else if document.is_ok() {
            add(&gettext("_Use"), "profiles.use", Some(&target));
        }
        for (label, action) in [
            (gettext("_Rename\u{2026}"), "profiles.rename"),
            (gettext("_Duplicate\u{2026}"), "profiles.duplicate"),
            (gettext("_Export\u{2026}"), "profiles.export"),
            (gettext("Re_move\u{2026}"), "profiles.remove"),
        ] {
            add(&label, action, Some(&target));
        }
        let more = gtk::MenuButton::builder()
            .icon_name("view-more-symbolic")
            .menu_model(&menu)
            .tooltip_text(gettext("More"))
            .valign(gtk::Align::Center)
            .css_classes(["flat"])
            .build();
        named_menu(&more, &gettext_f("More: {name}", &[("name", name)]));
        row.add_suffix(&more);
        if let Ok(document) = document {
            row.set_activatable(true);
            let document = document.clone();
            row.connect_activated(move |row| {
                if let Some(window) = Window::of(row) {
                    window.begin_with(&document);
                }
            });
        }
        row
    }

    fn tell(&self, problem: &Problem) {
        if let Some(window) = Window::of(self) {
            window.tell(problem);
        }
    }

    // React.

    /// Does something with the profile of this name, tells what went wrong, and reads the list anew.
    fn with<F: Future<Output = Result<(), Problem>> + 'static>(
        &self,
        name: Option<&glib::Variant>,
        act: impl FnOnce(Self, Window, String) -> F + 'static,
    ) {
        let (Some(name), Some(window)) = (name.and_then(glib::Variant::get::<String>), Window::of(self))
        else {
            return;
        };
        let page = self.clone();
        glib::spawn_future_local(async move {
            if let Err(problem) = act(page.clone(), window, name).await {
                page.tell(&problem);
            }
            page.refresh();
        });
    }

    /// The assistant, the command line and builds for new kernels begin with it from now on. An empty name: with none.
    async fn use_it(self, window: Window, name: String) -> Result<(), Problem> {
        let used = name.clone();
        elsewhere(move || profile::use_one((!name.is_empty()).then_some(name.as_str()))).await?;
        if !used.is_empty() {
            window.toast(&gettext_f("\u{201c}{name}\u{201d} is in use", &[("name", &used)]));
        }
        Ok(())
    }

    async fn rename(self, window: Window, name: String) -> Result<(), Problem> {
        let Some(new) = dialogs::ask_name(&window, &gettext("Rename"), &name).await else { return Ok(()) };
        if new == name {
            return Ok(());
        }
        elsewhere(move || {
            let root = profile::made_folder()?;
            let mut document = profile::load(&root, &name)?;
            document.name = new;
            profile::store(&root, &document, false)?;
            if profile::name_in_use(&root)?.as_deref() == Some(&name) {
                root.write(profile::IN_USE, format!("{}\n", document.name).as_bytes(), 0o600, None)?;
            }
            Ok(root.remove_file(&profile::path_of(&name))?)
        })
        .await
    }

    async fn duplicate(self, window: Window, name: String) -> Result<(), Problem> {
        let heading = gettext("Duplicate");
        let Some(new) = dialogs::ask_name(&window, &heading, &format!("{name}-2")).await else {
            return Ok(());
        };
        elsewhere(move || {
            let root = profile::made_folder()?;
            let mut document = profile::load(&root, &name)?;
            document.name = new;
            profile::store(&root, &document, false)
        })
        .await
    }

    async fn export(self, window: Window, name: String) -> Result<(), Problem> {
        let dialog = gtk::FileChooserNative::new(
            Some(&gettext("Export the Profile")),
            Some(&window),
            gtk::FileChooserAction::Save,
            None,
            None,
        );
        dialog.set_current_name(&format!("{name}.hostwright-profile"));
        if dialog.run_future().await != gtk::ResponseType::Accept {
            return Ok(());
        }
        let Some(path) = dialog.file().as_ref().and_then(gio::prelude::FileExt::path) else { return Ok(()) };
        elsewhere(move || {
            let document = profile::load(&profile::made_folder()?, &name)?;
            std::fs::write(&path, document.text()).map_err(|e| Problem::file("write", &path, &e))
        })
        .await?;
        window.toast(&gettext("Exported"));
        Ok(())
    }

    async fn remove(self, window: Window, name: String) -> Result<(), Problem> {
        let question = Question {
            heading: &gettext_f("Remove \u{201c}{name}\u{201d}?", &[("name", &name)]),
            body: &gettext("The choices in it are lost. Nothing on the machine changes."),
            no: &gettext("Keep"),
            yes: &gettext("Remove"),
            destructive: true,
        };
        if !dialogs::ask(&window, &question).await {
            return Ok(());
        }
        elsewhere(move || {
            let root = profile::made_folder()?;
            if profile::name_in_use(&root)?.as_deref() == Some(&name) {
                root.remove_file(profile::IN_USE)?;
            }
            Ok(root.remove_file(&profile::path_of(&name))?)
        })
        .await
    }

    fn choose_import(&self) {
        let Some(window) = Window::of(self) else { return };
        let title = gettext("Import a Profile");
        let dialog = gtk::FileChooserNative::new(
            Some(&title),
            Some(&window),
            gtk::FileChooserAction::Open,
            None,
            None,
        );
        let page = self.clone();
        glib::spawn_future_local(async move {
            if dialog.run_future().await == gtk::ResponseType::Accept
                && let Some(path) = dialog.file().as_ref().and_then(gio::prelude::FileExt::path)
            {
                page.import(path);
            }
        });
    }

    fn import(&self, path: PathBuf) {
        let page = self.clone();
        glib::spawn_future_local(async move {
            let imported = elsewhere(move || {
                let document = profile::read_file(&path)?;
                profile::store(&profile::made_folder()?, &document, false)?;
                Ok(document.name)
            });
            match (imported.await, Window::of(&page)) {
                (Ok(name), Some(window)) => {
                    window.toast(&gettext_f("Saved as \u{201c}{name}\u{201d}", &[("name", &name)]));
                }
                (Err(mut problem), _) => {
                    if problem.code == "profile-exists" {
                        problem.remedy =
                            Some(gettext("Rename the one that is there, or the one in the file."));
                    }
                    page.tell(&problem);
                }
                _ => {}
            }
            page.refresh();
        });
    }
}

/// All profiles, read from the folder.
fn listed() -> Result<Vec<Listed>, Problem> {
    let Some(root) = profile::folder(false)? else { return Ok(Vec::new()) };
    let used = profile::name_in_use(&root)?;
    let names = profile::names(&root)?;
    Ok(names
        .into_iter()
        .map(|name| {
            let document = profile::load(&root, &name);
            let in_use = used.as_deref() == Some(&name);
            (name, in_use, document)
        })
        .collect())
}
