// SPDX-License-Identifier: GPL-3.0-or-later
//! Rows of what was found, which say it anew when it is found again.

use super::finding;
use crate::tell::Row;
use crate::ui::i18n::told;
use adw::prelude::*;
use std::cell::RefCell;
use std::rc::Rc;

/// Something that was found, and its row when that was made.
type Line = Rc<RefCell<(Row, Option<adw::ActionRow>)>>;

/// The rows of a page, in their order.
#[derive(Debug, Default)]
pub(in crate::ui) struct Findings(RefCell<Vec<Line>>);

impl Findings {
    /// Forgets them; who shows them takes them away.
    pub(in crate::ui) fn clear(&self) {
        self.0.borrow_mut().clear();
    }

    /// The next one; its row is made by calling what comes back, if it ever is.
    pub(in crate::ui) fn next(&self, found: &Row) -> impl Fn() -> adw::ActionRow + use<> {
        let line = Line::new(RefCell::new((found.clone(), None)));
        self.0.borrow_mut().push(line.clone());
        move || {
            let row = finding(&line.borrow().0);
            line.borrow_mut().1 = Some(row.clone());
            row
        }
    }

    /// Whether the rows can stay, and then they say this: new rows take longer to lay out than a frame lasts, and often
    /// no more than a figure has changed.
    pub(in crate::ui) fn say(&self, found: &[&Row]) -> bool {
        let lines = self.0.borrow();
        if lines.len() != found.len()
            || !lines.iter().zip(found).all(|(line, new)| like(&line.borrow().0, new))
        {
            return false;
        }
        for (line, new) in lines.iter().zip(found) {
            let mut line = line.borrow_mut();
            if line.0 == **new {
                continue;
            }
            line.0 = (*new).clone();
            if let Some(row) = &line.1 {
                row.set_subtitle(&told(new.text.trim()));
            }
        }
        true
    }
}

/// Whether one row can say the one and then the other.
fn like(one: &Row, other: &Row) -> bool {
    let of = |row: &Row| (row.mark, row.label.clone(), row.remedy.clone());
    one == other || (of(one) == of(other) && !one.label.is_empty() && one.remedy.is_none())
}

#[cfg(test)]
mod tests {
    use super::like;
    use crate::tell::{Mark, Row};

    #[test]
    fn a_row_stays_where_only_a_figure_changed() {
        let row = |mark, label: &str, text: &str, remedy: Option<&str>| Row {
            mark,
            label: label.to_owned(),
            text: text.to_owned(),
            remedy: remedy.map(str::to_owned),
        };
        let memory = row(Mark::Good, "Memory", "23.5 GiB, 16.6 GiB available", None);
        assert!(like(&memory, &row(Mark::Good, "Memory", "23.5 GiB, 17 GiB available", None)));
        assert!(!like(&memory, &row(Mark::Warning, "Memory", "23.5 GiB, 1 GiB available", None)));
        assert!(!like(&memory, &row(Mark::Good, "Swap", "23.5 GiB, 17 GiB available", None)));
        assert!(!like(&memory, &row(Mark::Good, "Memory", "little", Some("buy some"))));
        // What has no label has its text as title; a remedy stands in the text, too.
        assert!(!like(&row(Mark::Good, "", "one", None), &row(Mark::Good, "", "other", None)));
        let remedy = |text| row(Mark::Bad, "KVM", text, Some("modprobe kvm"));
        assert!(!like(&remedy("one"), &remedy("other")));
        assert!(like(&remedy("one"), &remedy("one")));
    }
}
