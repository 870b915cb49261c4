// SPDX-License-Identifier: GPL-3.0-or-later
//! What makes a page may take longer than a frame: it is made frame by frame, from the top.

use gtk::glib;
use gtk::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

/// One thing that is done: a row that is made and added.
pub(in crate::ui) type Deed = Box<dyn FnOnce()>;

/// Things that wait for their frame.
#[derive(Default)]
pub(in crate::ui) struct BitByBit {
    waiting: Rc<RefCell<VecDeque<Deed>>>,
    ticking: Rc<Cell<bool>>,
}

impl std::fmt::Debug for BitByBit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BitByBit({})", self.waiting.borrow().len())
    }
}

impl BitByBit {
    /// Forgets what was still to be done.
    pub(in crate::ui) fn clear(&self) {
        self.waiting.borrow_mut().clear();
    }

    /// Does these things in their order, one in each of the frames that follow, as long as the widget is shown.
    pub(in crate::ui) fn begin(&self, shown: &impl IsA<gtk::Widget>, deeds: Vec<Deed>) {
        self.waiting.replace(deeds.into());
        if !self.ticking.replace(true) {
            let (waiting, ticking) = (self.waiting.clone(), self.ticking.clone());
            shown.add_tick_callback(move |_, _| {
                if go_on(&waiting) {
                    return glib::ControlFlow::Continue;
                }
                ticking.set(false);
                glib::ControlFlow::Break
            });
        }
    }
}

/// Does the next thing; whether something is left. One in a frame: to lay a row out for the first time costs more than to
/// make it, and with two the first frame of Checks took 20 ms, with one 9.
fn go_on(waiting: &RefCell<VecDeque<Deed>>) -> bool {
    let next = waiting.borrow_mut().pop_front();
    if let Some(deed) = next {
        deed();
    }
    !waiting.borrow().is_empty()
}
