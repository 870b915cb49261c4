// SPDX-License-Identifier: GPL-3.0-or-later
//! The lines of a log as a list model: bounded, folded section by section. A line becomes an object only while it is
//! on the screen.

use gtk::gio;
use gtk::glib::{self, BoxedAnyObject};
use gtk::prelude::*;
use gtk::subclass::prelude::*;
use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};

/// How many lines are kept; the oldest go first. At a hundred bytes a line that is 20 MB.
pub(in crate::ui) const LIMIT: usize = 200_000;

/// How many lines go at once when there are too many: going one by one would be a change of the list for each.
const CHUNK: usize = LIMIT / 20;

/// How many lines are looked at before the main loop has its turn: a few milliseconds.
const SLICE: usize = 20_000;

/// What kind of line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ui) enum Kind {
    /// The title of a step: begins a section.
    Step,
    /// What a tool said.
    Output,
    /// A warning of a tool.
    Warning,
    /// An error.
    Error,
    /// A word of Hostwright's.
    Note,
    /// Something was looked at, and is as it should be.
    Good,
}

impl Kind {
    /// Whether a person may want to jump here.
    pub(in crate::ui) fn is_problem(self) -> bool {
        matches!(self, Self::Warning | Self::Error)
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ui) struct Line {
    /// What kind.
    pub(in crate::ui) kind: Kind,
    /// The text, without its end of line.
    pub(in crate::ui) text: String,
}

/// A line as the list shows it.
#[derive(Debug, Clone)]
pub(in crate::ui) struct Item {
    /// What kind.
    pub(in crate::ui) kind: Kind,
    /// The text.
    pub(in crate::ui) text: String,
    /// Whether it begins a section that is folded.
    pub(in crate::ui) folded: bool,
}

#[derive(Debug)]
struct Kept {
    line: Line,
    section: u32,
}

/// The lines, and which of them are shown. Knows nothing of GTK.
#[derive(Debug, Default)]
struct Lines {
    kept: VecDeque<Kept>,
    /// The number of the first line that is kept, counted from the first that ever came.
    first: u64,
    /// Numbers of the lines that are shown, in order.
    shown: VecDeque<u64>,
    folded: HashSet<u32>,
    section: u32,
    problems: usize,
}

/// What changed in the list of shown lines: at, removed, added.
type Change = (usize, usize, usize);

impl Lines {
    fn get(&self, number: u64) -> Option<&Kept> {
        self.kept.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    fn at(&self, position: usize) -> Option<&Kept> {
        self.get(*self.shown.get(position)?)
    }

    fn is_shown(&self, kept: &Kept) -> bool {
        kept.line.kind == Kind::Step || !self.folded.contains(&kept.section)
    }

    fn append(&mut self, lines: Vec<Line>) -> [Change; 2] {
        let before = self.shown.len();
        for line in lines {
            if line.kind == Kind::Step {
                self.section += 1;
            }
            self.problems += usize::from(line.kind.is_problem());
            let kept = Kept { line, section: self.section };
            if self.is_shown(&kept) {
                self.shown.push_back(self.first + self.kept.len() as u64);
            }
            self.kept.push_back(kept);
        }
        let added = (before, 0, self.shown.len() - before);
        (added, self.trim()).into()
    }

    fn trim(&mut self) -> Change {
        if self.kept.len() <= LIMIT {
            return (0, 0, 0);
        }
        let gone = self.kept.len() - LIMIT + CHUNK;
        for kept in self.kept.drain(..gone) {
            self.problems -= usize::from(kept.line.kind.is_problem());
        }
        self.first += gone as u64;
        let hidden = self.shown.partition_point(|n| *n < self.first);
        self.shown.drain(..hidden);
        (0, hidden, 0)
    }

    /// Folds or unfolds the section of the line at a position. The line at the beginning of the section changes too.
    fn toggle(&mut self, position: usize) -> Option<Change> {
        let section = self.at(position)?.section;
        let start =
            (0..=position).rev().take_while(|p| self.at(*p).is_some_and(|k| k.section == section)).last()?;
        if self.folded.remove(&section) {
            let head = *self.shown.get(start)?;
            let inside: Vec<u64> = (head + 1..self.first + self.kept.len() as u64)
                .take_while(|n| self.get(*n).is_some_and(|k| k.section == section))
                .collect();
            let tail = self.shown.split_off(start + 1);
            self.shown.extend(&inside);
            self.shown.extend(tail);
            Some((start, 1, 1 + inside.len()))
        } else {
            self.folded.insert(section);
            let end = (start..self.shown.len())
                .find(|p| self.at(*p).is_none_or(|k| k.section != section))
                .unwrap_or(self.shown.len());
            // A section whose beginning was dropped has no line that could stay.
            let head = usize::from(self.at(start).is_some_and(|k| k.line.kind == Kind::Step));
            let tail = self.shown.split_off(end);
            self.shown.truncate(start + head);
            self.shown.extend(tail);
            Some((start, end - start, head))
        }
    }

    /// Looks at no more than [`SLICE`] kept lines, shown or folded, for the next that fits, beginning beside `from` and
    /// going round the end of the log. `left` is how many may still be looked at in the whole search.
    fn find(&self, from: u64, forward: bool, left: usize, fits: impl Fn(&Line) -> bool) -> Found {
        let n = self.kept.len();
        let left = left.min(n);
        if left == 0 {
            return Found::Nowhere;
        }
        // What was dropped meanwhile is before the first.
        let at = usize::try_from(from.saturating_sub(self.first)).unwrap_or(0).min(n - 1);
        let here = |i: usize| if forward { (at + i) % n } else { (at + n - i % n) % n };
        let number = |p: usize| self.first + p as u64;
        let looked = left.min(SLICE);
        match (1..=looked).map(here).find(|p| fits(&self.kept[*p].line)) {
            Some(position) => Found::At(number(position)),
            None if looked == left => Found::Nowhere,
            None => Found::NotYet { from: number(here(looked)), left: left - looked },
        }
    }

    /// How many of no more than [`SLICE`] kept lines from a number on fit, and where to go on.
    fn count(&self, from: u64, fits: impl Fn(&Line) -> bool) -> (usize, Option<u64>) {
        let at = usize::try_from(from.saturating_sub(self.first)).unwrap_or(0).min(self.kept.len());
        let end = (at + SLICE).min(self.kept.len());
        let n = self.kept.range(at..end).filter(|k| fits(&k.line)).count();
        (n, (end < self.kept.len()).then(|| self.first + end as u64))
    }

    /// Where a kept line is shown; its section is unfolded for that, which may change the list.
    fn reveal(&mut self, number: u64) -> (Option<usize>, Option<Change>) {
        let Some(section) = self.get(number).map(|k| k.section) else { return (None, None) };
        let mut change = None;
        if self.folded.contains(&section) {
            let head = self.shown.partition_point(|n| self.get(*n).is_none_or(|k| k.section < section));
            change = if self.at(head).is_some_and(|k| k.section == section) {
                self.toggle(head)
            } else {
                // Its title was dropped: nothing of it is shown.
                self.folded.remove(&section);
                let inside: Vec<u64> = (self.first..self.first + self.kept.len() as u64)
                    .skip_while(|n| self.get(*n).is_some_and(|k| k.section < section))
                    .take_while(|n| self.get(*n).is_some_and(|k| k.section == section))
                    .collect();
                let tail = self.shown.split_off(head);
                self.shown.extend(&inside);
                self.shown.extend(tail);
                Some((head, 0, inside.len()))
            };
        }
        (self.shown.binary_search(&number).ok(), change)
    }
}

/// How far a search came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ui) enum Found {
    /// The number of a line that fits.
    At(u64),
    /// No line fits.
    Nowhere,
    /// Not all were looked at: to be asked again with these, after the main loop had its turn.
    NotYet {
        /// Where it stopped.
        from: u64,
        /// How many are left.
        left: usize,
    },
}

mod imp {
    use super::*;

    #[derive(Debug, Default)]
    pub struct LogModel {
        pub(super) lines: RefCell<Lines>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for LogModel {
        const NAME: &'static str = "HwLogModel";
        type Type = super::LogModel;
        type Interfaces = (gio::ListModel,);
    }

    impl ObjectImpl for LogModel {}

    impl ListModelImpl for LogModel {
        fn item_type(&self) -> glib::Type {
            BoxedAnyObject::static_type()
        }

        fn n_items(&self) -> u32 {
            u32::try_from(self.lines.borrow().shown.len()).unwrap_or(u32::MAX)
        }

        fn item(&self, position: u32) -> Option<glib::Object> {
            let lines = self.lines.borrow();
            let kept = lines.at(usize::try_from(position).ok()?)?;
            let folded = kept.line.kind == Kind::Step && lines.folded.contains(&kept.section);
            let item = Item { kind: kept.line.kind, text: kept.line.text.clone(), folded };
            Some(BoxedAnyObject::new(item).upcast())
        }
    }
}

glib::wrapper! {
    pub struct LogModel(ObjectSubclass<imp::LogModel>) @implements gio::ListModel;
}

impl Default for LogModel {
    fn default() -> Self {
        glib::Object::new()
    }
}

impl LogModel {
    fn tell(&self, (at, removed, added): Change) {
        let n = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        if removed + added > 0 {
            self.items_changed(n(at), n(removed), n(added));
        }
    }

    /// Adds lines at the end.
    pub(in crate::ui) fn append(&self, lines: Vec<Line>) {
        let changes = self.imp().lines.borrow_mut().append(lines);
        for change in changes {
            self.tell(change);
        }
    }

    /// Folds or unfolds the section that a line is in.
    pub(in crate::ui) fn toggle(&self, position: u32) {
        let change = self.imp().lines.borrow_mut().toggle(position as usize);
        if let Some(change) = change {
            self.tell(change);
        }
    }

    /// Forgets everything.
    pub(in crate::ui) fn clear(&self) {
        let gone = std::mem::take(&mut *self.imp().lines.borrow_mut()).shown.len();
        self.tell((0, gone, 0));
    }

    /// The next line that fits, a slice at a time.
    pub(in crate::ui) fn find(
        &self,
        from: u64,
        forward: bool,
        left: usize,
        fits: impl Fn(&Line) -> bool,
    ) -> Found {
        self.imp().lines.borrow().find(from, forward, left, fits)
    }

    /// How many lines fit, a slice at a time; from where to go on, if that was not all.
    pub(in crate::ui) fn count(&self, from: u64, fits: impl Fn(&Line) -> bool) -> (usize, Option<u64>) {
        self.imp().lines.borrow().count(from, fits)
    }

    /// Where the line of a number is shown, unfolded if need be.
    pub(in crate::ui) fn reveal(&self, number: u64) -> Option<u32> {
        let (position, change) = self.imp().lines.borrow_mut().reveal(number);
        if let Some(change) = change {
            self.tell(change);
        }
        u32::try_from(position?).ok()
    }

    /// How many lines are kept, shown or folded.
    pub(in crate::ui) fn len(&self) -> usize {
        self.imp().lines.borrow().kept.len()
    }

    /// How many errors and warnings are kept.
    pub(in crate::ui) fn problems(&self) -> usize {
        self.imp().lines.borrow().problems
    }

    /// The text of all lines that are kept.
    pub(in crate::ui) fn text(&self) -> String {
        let lines = self.imp().lines.borrow();
        let mut text = String::new();
        for kept in &lines.kept {
            text.push_str(&kept.line.text);
            text.push('\n');
        }
        text
    }

    /// The texts at these positions.
    pub(in crate::ui) fn texts(&self, positions: impl Iterator<Item = u32>) -> String {
        let lines = self.imp().lines.borrow();
        let texts: Vec<&str> =
            positions.filter_map(|p| Some(lines.at(p as usize)?.line.text.as_str())).collect();
        texts.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(kind: Kind, text: &str) -> Line {
        Line { kind, text: text.to_owned() }
    }

    fn shown(lines: &Lines) -> Vec<&str> {
        (0..lines.shown.len()).map(|p| lines.at(p).unwrap().line.text.as_str()).collect()
    }

    fn two_steps() -> Lines {
        let mut lines = Lines::default();
        lines.append(vec![
            line(Kind::Step, "one"),
            line(Kind::Output, "a"),
            line(Kind::Error, "b"),
            line(Kind::Step, "two"),
            line(Kind::Output, "c"),
        ]);
        lines
    }

    #[test]
    fn a_folded_step_shows_its_title_and_unfolded_all_comes_back() {
        let mut lines = two_steps();
        // From any line of the step.
        assert_eq!(lines.toggle(2), Some((0, 3, 1)));
        assert_eq!(shown(&lines), ["one", "two", "c"]);
        assert_eq!(lines.toggle(0), Some((0, 1, 3)));
        assert_eq!(shown(&lines), ["one", "a", "b", "two", "c"]);
    }

    #[test]
    fn lines_of_a_folded_step_that_come_later_are_there_when_it_is_unfolded() {
        let mut lines = two_steps();
        lines.toggle(3);
        assert_eq!(lines.append(vec![line(Kind::Output, "d")]), [(4, 0, 0), (0, 0, 0)]);
        lines.toggle(3);
        assert_eq!(shown(&lines), ["one", "a", "b", "two", "c", "d"]);
    }

    #[test]
    fn memory_is_bounded_and_the_newest_lines_stay() {
        let mut lines = two_steps();
        for i in 0..30 {
            lines.append((0..LIMIT / 10).map(|n| line(Kind::Output, &format!("{i} {n}"))).collect());
            assert!(lines.kept.len() <= LIMIT);
            assert_eq!(lines.shown.len(), lines.kept.len());
        }
        assert_eq!(lines.problems, 0);
        assert_eq!(lines.at(lines.shown.len() - 1).unwrap().line.text, format!("29 {}", LIMIT / 10 - 1));
    }

    #[test]
    fn a_step_whose_title_was_dropped_can_be_folded_and_is_gone_then() {
        let mut lines = two_steps();
        lines.append((0..LIMIT).map(|_| line(Kind::Output, "x")).collect());
        let change = lines.toggle(10).unwrap();
        assert_eq!((change.0, change.2), (0, 0));
        assert!(lines.shown.is_empty());
    }

    #[test]
    fn searching_goes_round_in_both_directions() {
        let lines = two_steps();
        let problem = |l: &Line| l.kind.is_problem();
        for from in 0..5 {
            assert_eq!(lines.find(from, true, LIMIT, problem), Found::At(2), "{from}");
            assert_eq!(lines.find(from, false, LIMIT, problem), Found::At(2), "{from}");
        }
        assert_eq!(lines.find(4, true, LIMIT, |l| l.text == "a"), Found::At(1));
        assert_eq!(lines.find(4, true, LIMIT, |_| false), Found::Nowhere);
        assert_eq!(Lines::default().find(0, true, LIMIT, |_| true), Found::Nowhere);
    }

    #[test]
    fn a_long_search_is_done_in_slices_and_misses_nothing() {
        let mut lines = two_steps();
        lines.append((0..3 * SLICE).map(|_| line(Kind::Output, "x")).collect());
        lines.append(vec![line(Kind::Output, "the last")]);
        for forward in [true, false] {
            let (mut from, mut left, mut slices) = (5, LIMIT, 0);
            let found = loop {
                slices += 1;
                match lines.find(from, forward, left, |l| l.text == "c") {
                    Found::NotYet { from: f, left: l } => (from, left) = (f, l),
                    found => break found,
                }
            };
            assert_eq!((found, slices), (Found::At(4), if forward { 4 } else { 1 }));
        }
        let (mut from, mut sum) = (Some(0), 0);
        while let Some(at) = from {
            let (n, next) = lines.count(at, |l| l.text == "x" || l.text == "the last");
            (from, sum) = (next, sum + n);
        }
        assert_eq!(sum, 3 * SLICE + 1);
    }

    #[test]
    fn what_is_found_in_a_folded_step_unfolds_it() {
        let mut lines = two_steps();
        lines.toggle(0);
        lines.toggle(1);
        assert_eq!(shown(&lines), ["one", "two"]);
        assert_eq!(lines.reveal(2), (Some(2), Some((0, 1, 3))));
        assert_eq!(shown(&lines), ["one", "a", "b", "two"]);
        assert_eq!(lines.reveal(1), (Some(1), None));
        assert_eq!(lines.reveal(99), (None, None));
    }

    #[test]
    fn a_step_without_its_title_is_unfolded_where_it_was() {
        let mut lines = two_steps();
        lines.append((0..LIMIT).map(|_| line(Kind::Output, "x")).collect());
        lines.append(vec![line(Kind::Step, "three")]);
        lines.toggle(10);
        assert_eq!(shown(&lines), ["three"]);
        let number = lines.first + 7;
        let (position, change) = lines.reveal(number);
        assert_eq!(position, Some(7));
        assert_eq!(change.map(|c| (c.0, c.1)), Some((0, 0)));
        assert_eq!(lines.shown.len(), lines.kept.len());
    }
}
