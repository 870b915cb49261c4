// SPDX-License-Identifier: GPL-3.0-or-later
//! What all views of a window share.

use super::machine::Machine;
use super::settings::Settings;
use crate::detect::Facts;
use std::cell::RefCell;
use std::rc::{Rc, Weak};

/// The machine, what was seen of it last, and what the person set. Cheap to clone: all clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Context {
    /// The machine.
    pub(super) machine: Machine,
    facts: Rc<RefCell<Option<Rc<Facts>>>>,
    settings: Rc<RefCell<Settings>>,
}

impl Context {
    /// What was seen last.
    pub(super) fn facts(&self) -> Option<Rc<Facts>> {
        self.facts.borrow().clone()
    }

    /// What was seen now.
    pub(super) fn set_facts(&self, facts: Facts) -> Rc<Facts> {
        let facts = Rc::new(facts);
        self.facts.replace(Some(facts.clone()));
        facts
    }

    /// What the person set.
    pub(super) fn settings(&self) -> Settings {
        self.settings.borrow().clone()
    }

    /// What the person set now.
    pub(super) fn set_settings(&self, settings: Settings) {
        self.settings.replace(settings);
    }
}

/// The facts that a page shows: what is shown already need not be shown again.
#[derive(Debug, Default)]
pub(super) struct Shown(RefCell<Weak<Facts>>);

impl Shown {
    /// Whether these are others than the last time; they are the last ones then.
    pub(super) fn is_new(&self, facts: &Rc<Facts>) -> bool {
        let now = Rc::downgrade(facts);
        !Weak::ptr_eq(&self.0.replace(now.clone()), &now)
    }
}
