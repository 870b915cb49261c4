// SPDX-License-Identifier: GPL-3.0-or-later
//! What came of a guest: how it ended, its timeline, where it stopped, what the kernel said, files and pictures.

use super::view::LabView;
use crate::flows::lab::account::{Told, read_files, stopped};
use crate::flows::lab::diagnose::Configuration;
use crate::flows::lab::session::{Ended, wish_of};
use crate::guest::{Outcome, Report, TroubleKind};
use crate::tell::{self, Mark, Row};
use crate::ui::i18n::{amount, gettext, gettext_f, told};
use crate::ui::machine::elsewhere;
use crate::ui::widgets::{code, expander, finding, mark_icon, text_row};
use adw::prelude::*;
use adw::subclass::prelude::*;
use gtk::{CompositeTemplate, gio, glib};
use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

/// Lines of a complaint that are shown.
const LINES: usize = 60;

mod imp {
    use super::*;

    #[derive(Debug, Default, CompositeTemplate)]
    #[template(resource = "/org/hostwright/Hostwright/flows/lab/report.ui")]
    pub struct ReportPage {
        #[template_child]
        pub(super) page: TemplateChild<adw::PreferencesPage>,
        #[template_child]
        pub(super) icon: TemplateChild<gtk::Image>,
        #[template_child]
        pub(super) title: TemplateChild<gtk::Label>,
        #[template_child]
        pub(super) text: TemplateChild<gtk::Label>,
        pub(super) groups: RefCell<Vec<adw::PreferencesGroup>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for ReportPage {
        const NAME: &'static str = "HwLabReportPage";
        type Type = super::ReportPage;
        type ParentType = adw::Bin;

        fn class_init(class: &mut Self::Class) {
            class.bind_template();
        }

        fn instance_init(obj: &glib::subclass::InitializingObject<Self>) {
            obj.init_template();
        }
    }

    impl ObjectImpl for ReportPage {}
    impl WidgetImpl for ReportPage {}
    impl BinImpl for ReportPage {}
}

glib::wrapper! {
    pub struct ReportPage(ObjectSubclass<imp::ReportPage>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget;
}

/// What is read of a run beside its report.
type More = (Option<(String, Vec<String>)>, Vec<Told>);

impl ReportPage {
    /// Shows what came of a guest.
    pub(super) fn show_run(&self, ended: Ended) {
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = page)]
            self,
            async move {
                let (folder, report) = (ended.folder.clone(), ended.report.clone());
                let more = elsewhere(move || Ok((stopped(&folder, &report), read_files(&folder, &report))));
                let more = more.await.unwrap_or_default();
                page.fill(&ended, &more);
            }
        ));
    }

    fn fill(&self, ended: &Ended, (stopped, files): &More) {
        let imp = self.imp();
        for group in imp.groups.borrow_mut().drain(..) {
            imp.page.remove(&group);
        }
        let report = &ended.report;
        let (mark, title) = headline(ended);
        let (icon, class) = match mark {
            Mark::Good => ("object-select-symbolic", "success"),
            Mark::Neutral => ("process-stop-symbolic", "dim-label"),
            _ => ("dialog-error-symbolic", "error"),
        };
        imp.icon.set_icon_name(Some(icon));
        imp.icon.set_css_classes(&[class]);
        imp.title.set_label(&title);
        let mut text = told(&tell::sentence(&tell::lab::words(report)));
        if let Some(Err(why)) = &ended.command {
            text = told(why);
        }
        imp.text.set_label(&text);
        self.add_about(ended);
        if let Some((stage, lines)) = stopped {
            self.add_stopped(stage, lines);
        }
        self.add_troubles(report);
        self.add_timeline(report);
        self.add_files(files);
        self.add_pictures(&ended.folder, report);
        self.add_more(ended);
    }

    fn group(&self, title: &str) -> adw::PreferencesGroup {
        let group = adw::PreferencesGroup::builder().title(title).build();
        self.imp().page.add(&group);
        self.imp().groups.borrow_mut().push(group.clone());
        group
    }

    fn add_about(&self, ended: &Ended) {
        let report = &ended.report;
        let group = self.group(&gettext_f("Run {n}", &[("n", &ended.number.to_string())]));
        if let Outcome::Exited { status } = report.outcome {
            let mark = if status == 0 { Mark::Good } else { Mark::Bad };
            group.add(&finding(&Row::new(mark, &gettext("Exit status"), status.to_string())));
        }
        if let Some(kernel) = &report.kernel {
            group.add(&text_row(&gettext("Kernel"), kernel));
        }
        let by = format!("{} ({})", report.accelerator.name, report.accelerator.reason);
        group.add(&text_row(&gettext("Run by"), &by));
        let size = gettext_f(
            "{cpus} virtual processors, {memory} MiB of memory",
            &[("cpus", &report.guest.cpus.to_string()), ("memory", &report.guest.memory.to_string())],
        );
        group.add(&text_row(&gettext("Machine"), &size));
    }

    fn add_stopped(&self, stage: &str, lines: &[String]) {
        let name = stage_name(stage);
        let group = self.group(&gettext_f("Where it stopped: {stage}", &[("stage", &name)]));
        let text = if lines.is_empty() {
            gettext("The console says nothing more.")
        } else {
            lines.iter().map(|l| super::job::clean(l)).collect::<Vec<_>>().join("\n")
        };
        group.add(&code(&text));
    }

    fn add_troubles(&self, report: &Report) {
        if report.troubles.is_empty() {
            return;
        }
        let group = self.group(&gettext("What the kernel complained about"));
        for trouble in &report.troubles {
            let row = expander(tell::lab::trouble(trouble.kind), &trouble.message);
            let warning = trouble.kind == TroubleKind::Warning;
            row.add_prefix(&mark_icon(if warning { Mark::Warning } else { Mark::Bad }));
            let lines: Vec<String> = trouble.lines.iter().take(LINES).map(|l| super::job::clean(l)).collect();
            let text = code(&lines.join("\n"));
            row.add_row(&gtk::ListBoxRow::builder().activatable(false).focusable(false).child(&text).build());
            group.add(&row);
        }
    }

    fn add_timeline(&self, report: &Report) {
        let group = self.group(&gettext("Timeline"));
        for stage in &report.stages {
            let row = text_row(&stage_name(&stage.name), stage.note.as_deref().unwrap_or_default());
            let at = gtk::Label::builder()
                .label(amount(&tell::seconds(Duration::from_millis(stage.at_ms))))
                .css_classes(["numeric", "dim-label"])
                .build();
            row.add_suffix(&at);
            group.add(&row);
        }
    }

    fn add_files(&self, files: &[Told]) {
        if files.is_empty() {
            return;
        }
        let group = self.group(&gettext("Files of the guest"));
        for file in files {
            let (mark, mut lines) = match &file.configuration {
                Some(Configuration::Valid) => (Mark::Good, vec![gettext("Valid JSON")]),
                Some(Configuration::Invalid { line, column, reason, text }) => {
                    let place = [("line", line.to_string()), ("column", column.to_string())];
                    let values =
                        [("line", place[0].1.as_str()), ("column", place[1].1.as_str()), ("reason", reason)];
                    let what = gettext_f("No valid JSON, line {line}, column {column}: {reason}", &values);
                    (Mark::Bad, vec![what, text.clone()])
                }
                None if file.failing.is_empty() => (Mark::Neutral, Vec::new()),
                None => (Mark::Bad, file.failing.iter().map(|(n, text)| format!("{n}: {text}")).collect()),
            };
            if let Some(rejected) = &file.rejected {
                let values = [("field", rejected.field.as_str()), ("said", &rejected.said)];
                lines.push(gettext_f("The field {field} was rejected: {said}", &values));
            }
            group.add(&finding(&Row::new(mark, &file.file, lines.join("\n"))));
        }
    }

    fn add_pictures(&self, folder: &Path, report: &Report) {
        if report.screenshots.is_empty() {
            return;
        }
        let group = self.group(&gettext("Its screen"));
        for name in &report.screenshots {
            group.add(&picture(&folder.join(name)));
        }
    }

    fn add_more(&self, ended: &Ended) {
        let group = self.group(&gettext("More"));
        let console = text_row(&gettext("Console"), &gettext("Everything that the machine said"));
        let number = ended.number;
        console.add_suffix(&button(&gettext("Show"), move |view| view.show_console(number)));
        group.add(&console);
        let folder = text_row(&gettext("Folder of the run"), &ended.folder.display().to_string());
        let path = ended.folder.clone();
        folder.add_suffix(&button(&gettext("Open"), move |_| open_folder(&path)));
        group.add(&folder);
        if let Some(wish) = wish_of(&ended.report.guest) {
            let again = text_row(&gettext("Once more"), &gettext("Boot the same on the same machine"));
            again.add_suffix(&button(&gettext("Boot Again"), move |view| view.boot(wish.clone())));
            group.add(&again);
        }
    }
}

/// A picture of a screen, as wide as there is room.
pub(super) fn picture(path: &Path) -> gtk::Picture {
    let picture = gtk::Picture::for_filename(path);
    picture.set_can_shrink(true);
    picture.set_content_fit(gtk::ContentFit::Contain);
    picture.set_alternative_text(Some(&gettext("The screen of the guest")));
    picture.add_css_class("card");
    picture
}

fn button(label: &str, act: impl Fn(&LabView) + 'static) -> gtk::Button {
    let button = gtk::Button::builder().label(label).valign(gtk::Align::Center).build();
    button.connect_clicked(move |button| {
        if let Some(view) = LabView::of(button) {
            act(&view);
        }
    });
    button
}

fn open_folder(path: &Path) {
    let uri = gio::File::for_path(path).uri();
    gio::AppInfo::launch_default_for_uri_async(
        &uri,
        gio::AppLaunchContext::NONE,
        gio::Cancellable::NONE,
        |opened| {
            if let Err(error) = opened {
                tracing::warn!(%error, "no program opens folders here");
            }
        },
    );
}

/// How it ended, in a few words.
fn headline(ended: &Ended) -> (Mark, String) {
    let report = &ended.report;
    let took = amount(&tell::seconds(Duration::from_millis(report.took_ms)));
    if matches!(ended.command, Some(Err(_))) {
        return (Mark::Bad, gettext("The command failed"));
    }
    match &report.outcome {
        Outcome::Cancelled => (Mark::Neutral, gettext("Cancelled")),
        Outcome::Stopped => (Mark::Neutral, gettext("Stopped")),
        Outcome::Exited { status: 0 } => (Mark::Good, gettext_f("Done in {time}", &[("time", &took)])),
        Outcome::Exited { status } => (
            Mark::Bad,
            gettext_f("The command ended with exit status {status}", &[("status", &status.to_string())]),
        ),
        Outcome::Signalled { .. } => (Mark::Bad, gettext("A signal ended the command")),
        Outcome::PoweredOff => (Mark::Good, gettext_f("Powered off after {time}", &[("time", &took)])),
        Outcome::Reached { .. } => (Mark::Good, gettext_f("Reached after {time}", &[("time", &took)])),
        Outcome::Panic { .. } => (Mark::Bad, gettext("Kernel panic")),
        Outcome::Oops { .. } => (Mark::Bad, gettext("Kernel oops")),
        Outcome::LockUp { .. } => (Mark::Bad, gettext("The kernel hung")),
        Outcome::OutOfMemory { .. } => (Mark::Bad, gettext("Out of memory")),
        Outcome::NeverReachedInit { .. } => (Mark::Bad, gettext("It never got to its first process")),
        Outcome::NothingBootable { .. } => (Mark::Bad, gettext("Nothing to boot was found")),
        Outcome::TimedOut { .. } => (Mark::Bad, gettext("It took too long")),
        Outcome::InitFailed { .. } => (Mark::Bad, gettext("The guest could not do its work")),
        Outcome::QemuFailed { .. } => (Mark::Bad, gettext("QEMU failed")),
    }
}

/// A stage's name for people; what a guest calls its own stages stays as it is.
pub(super) fn stage_name(name: &str) -> String {
    match name {
        "qemu" => gettext("Machine switched on"),
        "firmware" => gettext("Firmware"),
        "bootloader" => gettext("Boot loader"),
        "kernel" => gettext("Kernel"),
        "init" => gettext("First process"),
        "modules" => gettext("Modules"),
        "root" => gettext("Root file system"),
        "command" => gettext("Command"),
        "collect" => gettext("Files handed over"),
        "end" => gettext("End"),
        other => other.to_owned(),
    }
}
