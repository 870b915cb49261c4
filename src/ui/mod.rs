// SPDX-License-Identifier: GPL-3.0-or-later
//! The assistant: the only part that knows GTK. It shows what others know and hands on what a person picks; it
//! decides nothing.
//!
//! ```text
//!   Application ── Window ── views (one at a time)
//!                    │         ├─ Home       the state of this machine; what can be done
//!                    │         ├─ Assistant  one flow, page by page: win.next, win.back
//!                    │         │    Welcome → Checks → Kernels → Hardware → Mode → Extras → Review → Progress → Result
//!                    │         │    (Review → Progress → Result also for tuning, Wayland and undo)
//!                    │         ├─ Lab        what to boot, the guest while it runs, its report
//!                    │         ├─ Tuning     what can be set, and why
//!                    │         ├─ Bench      what is measured, results with charts, two side by side
//!                    │         ├─ vGPU       what this host can share
//!                    │         ├─ History    runs, and their undo
//!                    │         └─ Profiles   saved choices
//!                    └─ Machine  facts, plans and runs, never on the main loop
//! ```
//!
//! A page is one file here and one `.ui` of the same name in `resources/`, in three parts: *show* (what is known →
//! widgets), *react* (a person does something), *do* (what is picked → choices). Looking at the machine happens on
//! a thread of GLib's pool, the helper is talked to by `ipc`'s futures on GLib's loop.

#![allow(
    clippy::wildcard_imports,
    reason = "the private half of a widget, its module `imp`, sees what the public half imports"
)]

mod actions;
mod application;
mod askpass;
mod context;
mod dialogs;
mod flows;
mod help;
mod i18n;
mod machine;
mod machines;
mod pages;
#[doc(hidden)]
pub mod parts;
mod preferences;
mod settings;
mod widgets;
mod window;

use application::Application;
use gtk::prelude::*;
use std::process::ExitCode;

/// The application's id: its name on the session bus, its icon, its desktop file.
pub const APP_ID: &str = "org.hostwright.Hostwright";

/// Where its resources are, in the bundle that is part of the program.
const RESOURCES: &str = "/org/hostwright/Hostwright";

/// Runs the assistant until its last window is closed.
pub fn main() -> ExitCode {
    i18n::start();
    if std::env::var_os(askpass::VARIABLE).is_some() {
        return askpass::main();
    }
    gtk::gio::resources_register_include!("hostwright.gresource").map_or(ExitCode::FAILURE, |()| {
        gtk::glib::set_application_name("Hostwright");
        if Application::new().run() == gtk::glib::ExitCode::SUCCESS {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    })
}
