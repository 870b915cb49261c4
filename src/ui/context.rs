// SPDX-License-Identifier: GPL-3.0-or-later
//! What all views of a window share.

use super::machine::Machine;
use crate::detect::Facts;
use std::cell::RefCell;
use std::rc::Rc;

/// The machine, and what was seen of it last. Cheap to clone: all clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Context {
    /// The machine.
    pub(super) machine: Machine,
    facts: Rc<RefCell<Option<Rc<Facts>>>>,
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
}
