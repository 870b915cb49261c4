// SPDX-License-Identifier: GPL-3.0-or-later
//! Parts of the assistant for programs that measure it (`benches/ui`). The assistant itself uses none of this.

use super::widgets::{Kind, LogView};
use gtk::prelude::*;

/// Makes the resources known: first of all.
pub fn register() {
    let _ = gtk::gio::resources_register_include!("hostwright.gresource");
    super::i18n::start();
}

/// The application as it is, before it runs.
#[must_use]
pub fn application() -> adw::Application {
    super::Application::new().upcast()
}

/// The log of a run, alone.
#[derive(Debug, Clone)]
pub struct Log(LogView);

impl Log {
    /// An empty one; GTK was initialized.
    #[must_use]
    pub fn new() -> Self {
        Self(gtk::glib::Object::new())
    }

    /// What shows it.
    #[must_use]
    pub fn widget(&self) -> &gtk::Widget {
        self.0.upcast_ref()
    }

    /// The title of a step.
    pub fn step(&self, text: &str) {
        self.0.push(Kind::Step, text);
    }

    /// A line of a tool's.
    pub fn line(&self, text: &str) {
        self.0.push(Kind::Output, text);
    }

    /// A warning.
    pub fn warning(&self, text: &str) {
        self.0.push(Kind::Warning, text);
    }

    /// Searches, as if it were typed.
    pub fn search(&self, text: &str) {
        self.0.search_for(text);
    }

    /// Goes to the next error or warning.
    pub fn next_problem(&self) {
        self.0.to_next_problem();
    }

    /// Folds the first step, or unfolds it.
    pub fn fold_first(&self) {
        self.0.toggle(0);
    }
}

impl Default for Log {
    fn default() -> Self {
        Self::new()
    }
}
