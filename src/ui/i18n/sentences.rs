// SPDX-License-Identifier: GPL-3.0-or-later
//! The library's own sentences in the person's language.
//!
//! What the library says (titles of steps, warnings, reasons of refusals, checks, errors) is English in plans, journals
//! and answers of the helper: the digest of a plan must not depend on who looks, a helper has no language, and the run
//! of last year was told by the program of last year. So it is translated where it is shown. `po/sentences.txt` lists
//! what the library can say, as patterns with places for values (`{1} is loaded`); `scripts/pot.sh` takes them from the
//! sources. A text is compared with them, the pattern's translation gets the values, which may be sentences again
//! (`could not look: {why}`). What is not recognized is shown as it is: that may be English, and is never wrong.

use super::{gettext, gettext_f};
use std::collections::HashMap;
use std::sync::OnceLock;

/// All that the library can say, a pattern a line.
const SENTENCES: &str = include_str!("../../../po/sentences.txt");

/// How often a value may hold a sentence with a value.
const DEPTH: u8 = 6;

/// Longer texts are what programs printed.
const LONGEST: usize = 4000;

/// What joins sentences and their parts, from coarse to fine.
const JOINTS: [&str; 7] = ["\n", ". ", " \u{b7} ", " \u{2192} ", "; ", ": ", ", "];

/// Of how many pieces a sentence may be made.
const MOST_PIECES: usize = 4;

/// What was said, in the person's language as far as it is known there.
pub(in crate::ui) fn told(text: &str) -> String {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| Table::new(SENTENCES.lines().map(|s| (s, gettext(s))))).tell(text)
}

/// One pattern and what it becomes.
#[derive(Debug)]
struct Pattern {
    /// What stands before, between and after the places; one more than there are places.
    fixed: Vec<&'static str>,
    /// The names of the places.
    places: Vec<&'static str>,
    /// The translated pattern.
    translation: String,
    /// How many characters are fixed: the pattern that says most is the one that was meant.
    weight: usize,
}

/// What a text was recognized as.
#[derive(Debug)]
struct Known<'a> {
    translation: &'a str,
    /// As of the pattern.
    weight: usize,
    /// The places and what stands in them.
    values: Vec<(&'static str, &'a str)>,
}

/// The patterns that a language has words for.
#[derive(Debug, Default)]
struct Table {
    whole: HashMap<&'static str, String>,
    patterns: Vec<Pattern>,
}

impl Table {
    fn new(sentences: impl Iterator<Item = (&'static str, String)>) -> Self {
        let mut table = Self::default();
        for (sentence, translation) in sentences {
            // An unknown sentence is its own translation; in English that is every one, and nothing is compared.
            if translation == sentence {
                continue;
            }
            let (fixed, places) = split(sentence);
            if places.is_empty() {
                table.whole.insert(sentence, translation);
            } else {
                let weight = fixed.iter().map(|f| f.len()).sum();
                table.patterns.push(Pattern { fixed, places, translation, weight });
            }
        }
        table.patterns.sort_by_key(|p| std::cmp::Reverse(p.weight));
        table
    }

    fn tell(&self, text: &str) -> String {
        if self.whole.is_empty() && self.patterns.is_empty() {
            return text.to_owned();
        }
        self.find(text, DEPTH).unwrap_or_else(|| text.to_owned())
    }

    /// The translation of a text, if any of it is known.
    fn find(&self, text: &str, depth: u8) -> Option<String> {
        if text.is_empty() || text.len() > LONGEST || depth == 0 {
            return None;
        }
        let found = [self.said_of(text, depth), self.weighed(text, depth)];
        let best = found.into_iter().flatten().max_by_key(|(weight, _)| *weight);
        best.map(|(_, told)| told).or_else(|| self.parts(text, &JOINTS, depth))
    }

    /// "/etc/x: it is not there; make it": what joins sentences stands in what is said of one thing. A path says nothing
    /// itself; a word ("failed: ...") may belong to the sentence.
    fn said_of(&self, text: &str, depth: u8) -> Option<(usize, String)> {
        let (thing, said) = text.split_once(": ").filter(|(thing, _)| !thing.contains(' '))?;
        let (weight, told) = self.weighed(said, depth)?;
        let thing_told = self.sentence(thing, depth).unwrap_or_else(|| thing.to_owned());
        Some((if thing.contains('/') { weight } else { 0 }, format!("{thing_told}: {told}")))
    }

    /// A text that is one of the sentences, or one with a capital and a full stop added.
    fn sentence(&self, text: &str, depth: u8) -> Option<String> {
        self.weighed(text, depth).map(|(_, told)| told)
    }

    /// The same, and how much of it is the sentence's own.
    fn weighed(&self, text: &str, depth: u8) -> Option<(usize, String)> {
        let lower = |text: &str| {
            let mut chars = text.chars();
            chars.next().map(|c| c.to_lowercase().chain(chars).collect::<String>()).unwrap_or_default()
        };
        let bare = text.strip_suffix('.');
        let forms = [Some(text.to_owned()), Some(lower(text)), bare.map(str::to_owned), bare.map(lower)];
        // Here too the one is meant that says most, the first of equals.
        let found = forms.iter().enumerate().filter_map(|(n, form)| Some((n, self.known(form.as_ref()?)?)));
        let (n, known) = found.rev().max_by_key(|(_, known)| known.weight)?;
        let told = self.translated(&known, depth);
        let told = if n % 2 == 1 { capital(&told) } else { told };
        let told = if n < 2 || told.ends_with(['.', '!', '?', '`']) { told } else { format!("{told}.") };
        Some((known.weight, told))
    }

    /// The pattern of a text, and its values.
    fn known<'a>(&'a self, text: &'a str) -> Option<Known<'a>> {
        if let Some(translation) = self.whole.get(text) {
            return Some(Known { translation, weight: text.len(), values: Vec::new() });
        }
        self.patterns.iter().find_map(|p| {
            let values = values(&p.fixed, text).filter(|values| agree(&p.places, values))?;
            let values = p.places.iter().copied().zip(values).collect();
            Some(Known { translation: &p.translation, weight: p.weight, values })
        })
    }

    fn translated(&self, known: &Known<'_>, depth: u8) -> String {
        let told: Vec<(&str, String)> =
            known.values.iter().map(|(place, value)| (*place, self.value(value, depth - 1))).collect();
        let told: Vec<(&str, &str)> = told.iter().map(|(place, value)| (*place, value.as_str())).collect();
        super::fill(known.translation, &told)
    }

    /// What stands in a place; the blanks around it stay.
    fn value(&self, value: &str, depth: u8) -> String {
        let bare = value.trim();
        if let Some(told) = self.find(bare, depth) {
            return value.replacen(bare, &told, 1);
        }
        match bare.split_once(" and ").filter(|(a, b)| !a.contains(' ') && !b.contains(' ')) {
            // Two names ("vmmon and vmnet").
            Some((first, second)) => {
                gettext_f("{first} and {second}", &[("first", first), ("second", second)])
            }
            None => amount(value),
        }
    }

    /// Several sentences, or parts of one that were put together.
    fn parts(&self, text: &str, joints: &[&str], depth: u8) -> Option<String> {
        let Some((joint, finer)) = joints.split_first() else { return self.bracketed(text, depth) };
        let ends = joint_ends(text, joint);
        if ends.len() == 1 {
            return self.parts(text, finer, depth);
        }
        let (mut out, mut any, mut from, mut n) = (String::new(), false, 0, 0);
        while n < ends.len() {
            // A sentence may hold what joins sentences: several pieces are tried as one first.
            let whole = (n..ends.len().min(n + MOST_PIECES)).rev().find_map(|last| {
                let told = self.sentence(&text[from..ends[last].0], depth)?;
                Some((told, last))
            });
            let (told, last) = match whole {
                Some((told, last)) => (Some(told), last),
                None => (self.parts(&text[from..ends[n].0], finer, depth), n),
            };
            any |= told.is_some();
            let (end, next) = ends[last];
            out.push_str(&told.unwrap_or_else(|| amount(&text[from..end])));
            out.push_str(&text[end..next]);
            (from, n) = (next, last + 1);
        }
        any.then_some(out)
    }

    /// "vmmon 1.2 (built for this kernel)".
    fn bracketed(&self, text: &str, depth: u8) -> Option<String> {
        let (before, inside) = text.strip_suffix(')')?.split_once(" (")?;
        let (told, more) = (self.sentence(before, depth), self.find(inside, depth - 1));
        if told.is_none() && more.is_none() {
            return None;
        }
        Some(format!(
            "{} ({})",
            told.unwrap_or_else(|| amount(before)),
            more.unwrap_or_else(|| amount(inside))
        ))
    }
}

/// Where the pieces of a text end, and where the next begin.
fn joint_ends(text: &str, joint: &str) -> Vec<(usize, usize)> {
    // The full stop belongs to its sentence.
    let kept = usize::from(joint.starts_with('.'));
    let mut ends: Vec<_> =
        text.match_indices(joint).map(|(at, joint)| (at + kept, at + joint.len())).collect();
    ends.push((text.len(), text.len()));
    ends
}

/// The fixed texts of a pattern and the names of its places.
fn split(sentence: &'static str) -> (Vec<&'static str>, Vec<&'static str>) {
    let (mut fixed, mut places, mut rest) = (Vec::new(), Vec::new(), sentence);
    while let Some((before, after)) = rest.split_once('{') {
        let Some((place, after)) = after.split_once('}') else { break };
        fixed.push(before);
        places.push(place);
        rest = after;
    }
    fixed.push(rest);
    (fixed, places)
}

/// The values that make a pattern this text: the shortest that fit, from the left. One that has words on both sides, or
/// others beside it, may be empty: not all is always said ("vmmon built{tried} and installed").
fn values<'a>(fixed: &[&str], text: &'a str) -> Option<Vec<&'a str>> {
    let (first, rest) = fixed.split_first()?;
    let mut text = text.strip_prefix(first)?;
    let mut values = Vec::with_capacity(rest.len());
    let (last, middle) = rest.split_last()?;
    for fixed in middle {
        let at = text.find(fixed)?;
        values.push(&text[..at]);
        text = &text[at + fixed.len()..];
    }
    let needed = middle.is_empty() && (first.is_empty() || last.is_empty());
    values.push(text.strip_suffix(last).filter(|value| !needed || !value.is_empty())?);
    Some(values)
}

/// Whether a place that stands twice has the same value both times: commands must never become others.
fn agree(places: &[&str], values: &[&str]) -> bool {
    let first = |place| places.iter().zip(values).find(|(p, _)| *p == place).map(|(_, value)| value);
    places.iter().zip(values).all(|(place, value)| first(place) == Some(value))
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// A size or a time ("23.5 GiB") as the locale writes it; all else as it is.
pub(in crate::ui) fn amount(text: &str) -> String {
    let mark = decimal_mark();
    let Some((digits, unit)) = text.split_once(' ').filter(|_| mark != ".") else { return text.to_owned() };
    let sized = matches!(unit, "KiB" | "MiB" | "GiB" | "TiB" | "PiB" | "s" | "GHz" | "MHz");
    let plain = digits.chars().all(|c| c.is_ascii_digit() || c == '.');
    if sized && plain { format!("{} {unit}", digits.replacen('.', mark, 1)) } else { text.to_owned() }
}

/// What separates whole from part in the locale, as GLib writes sizes.
fn decimal_mark() -> &'static str {
    static MARK: OnceLock<String> = OnceLock::new();
    MARK.get_or_init(|| {
        let sized = gtk::glib::format_size(1_500_000);
        sized
            .chars()
            .find(|c| !c.is_ascii_digit())
            .filter(|c| matches!(c, ',' | '.'))
            .unwrap_or('.')
            .to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn german() -> Table {
        let pairs = [
            ("could not look: {why}", "konnte nicht nachsehen: {why}"),
            ("Compile {1} for {2}", "{1} für {2} kompilieren"),
            ("{1} is loaded", "{1} ist geladen"),
            ("the module {m} is loaded", "das Modul {m} ist geladen"),
            ("headers usable; {note}", "Header brauchbar; {note}"),
            ("runs now", "läuft jetzt"),
            ("starts next", "startet als nächster"),
            ("built by {1} {2}", "gebaut mit {1} {2}"),
            ("it is not there", "es ist nicht da"),
            ("Nothing was changed.", "Nichts wurde geändert."),
            ("{path}, line {1}: {2}.", "{path}, Zeile {1}: {2}."),
            ("it is no {1}; give one", "es ist kein {1}; geben Sie eines an"),
            ("{file}, line {n}: {why}; correct it", "{file}, Zeile {n}: {why}; berichtigen Sie es"),
            ("run `cp {name} {1}/{name}` there", "führen Sie dort `cp {name} {1}/{name}` aus"),
            ("{1} built{tried} and installed", "{1} gebaut{tried} und installiert"),
            (
                "a module does not compile{1}; look at gcc",
                "ein Modul lässt sich nicht kompilieren{1}; sehen Sie gcc an",
            ),
            ("tried in a virtual machine", "in einer virtuellen Maschine probiert"),
        ];
        Table::new(pairs.into_iter().map(|(a, b)| (a, b.to_owned())))
    }

    #[test]
    fn a_sentence_is_recognized_and_its_values_are_told_in_turn() {
        let table = german();
        assert_eq!(table.tell("Compile vmmon and vmnet for 6.1.0"), "vmmon and vmnet für 6.1.0 kompilieren");
        assert_eq!(table.tell("could not look: it is not there"), "konnte nicht nachsehen: es ist nicht da");
        let told = table.tell("headers usable; runs now, starts next, built by gcc 12.2.0");
        assert_eq!(told, "Header brauchbar; läuft jetzt, startet als nächster, gebaut mit gcc 12.2.0");
        assert_eq!(table.tell("/x: it is no ISO; give one"), "/x: es ist kein ISO; geben Sie eines an");
        assert_eq!(table.tell("/x: the module m is loaded"), "/x: das Modul m ist geladen");
    }

    #[test]
    fn the_sentence_that_says_most_is_meant() {
        assert_eq!(german().tell("the module vmmon is loaded"), "das Modul vmmon ist geladen");
        let told = german().tell("/x, line 3: it is not there; correct it.");
        assert_eq!(told, "/x, Zeile 3: es ist nicht da; berichtigen Sie es.");
    }

    #[test]
    fn what_is_not_always_said_has_an_empty_place() {
        let table = german();
        assert_eq!(table.tell("vmmon built and installed"), "vmmon gebaut und installiert");
        let told = table.tell("a module does not compile; look at gcc");
        assert_eq!(told, "ein Modul lässt sich nicht kompilieren; sehen Sie gcc an");
        let told = table.tell("vmmon built, tried in a virtual machine and installed");
        assert_eq!(told, "vmmon gebaut, in einer virtuellen Maschine probiert und installiert");
    }

    #[test]
    fn a_command_never_becomes_another_one() {
        let table = german();
        assert_eq!(table.tell("run `cp a /a` there"), "führen Sie dort `cp a /a` aus");
        // Where the folder ends cannot be told here: it stays as it is.
        assert_eq!(table.tell("run `cp a /etc/x/a` there"), "run `cp a /etc/x/a` there");
    }

    #[test]
    fn a_capital_and_a_full_stop_stay() {
        let table = german();
        assert_eq!(
            table.tell("It is not there. Nothing was changed."),
            "Es ist nicht da. Nichts wurde geändert."
        );
        assert_eq!(table.tell("vmmon is loaded\nruns now"), "vmmon ist geladen\nläuft jetzt");
    }

    #[test]
    fn what_is_not_known_is_shown_as_it_is() {
        let table = german();
        for text in [
            "",
            "modprobe: ERROR: could not insert 'vmmon'",
            "/usr/lib/x (1, 2)",
            " is loaded",
            "{1} {2}",
            "größer. .",
        ] {
            assert_eq!(table.tell(text), text);
        }
        assert_eq!(Table::default().tell("it is not there"), "it is not there");
    }

    #[test]
    fn every_sentence_of_the_library_is_recognized_as_itself() {
        let marked = |s: &'static str| (s, format!("\u{ab}{s}\u{bb}"));
        let table = Table::new(SENTENCES.lines().map(marked));
        for sentence in SENTENCES.lines() {
            let (_, places) = split(sentence);
            let mut values: Vec<(&str, String)> =
                places.iter().enumerate().map(|(n, place)| (*place, format!("Q{n}Z"))).collect();
            values.sort();
            values.dedup_by_key(|v| v.0);
            let values: Vec<(&str, &str)> = values.iter().map(|(p, v)| (*p, v.as_str())).collect();
            let said = super::super::fill(sentence, &values);
            let told = table.tell(&said);
            assert!(told.contains('\u{ab}'), "{said} \u{2192} {told}");
            for (_, value) in &values {
                assert!(told.contains(value), "{said} \u{2192} {told}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_stumble(text in "\\PC{0,60}", more in "[a-z .;:,()\n]{0,80}") {
            let table = german();
            table.tell(&text);
            table.tell(&format!("{text}{more}"));
        }
    }
}
