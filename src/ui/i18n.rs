// SPDX-License-Identifier: GPL-3.0-or-later
//! Words in the person's language: the assistant's own by `gettext`, the library's by [`told`].

mod sentences;

pub(super) use sentences::{amount, told};

use gettextrs::{bind_textdomain_codeset, bindtextdomain, textdomain};
pub(super) use gettextrs::{gettext, ngettext};

/// The name of the catalogue.
const DOMAIN: &str = "hostwright";

/// Finds the catalogue of the person's language: beside the program (`bin/../share/locale`), wherever that was installed;
/// `make` puts those of a source tree into `target/share/locale`. Without one the words are English. GTK sets the locale
/// itself when it begins.
pub(super) fn start() {
    let prefix = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.parent()?.to_owned()));
    if let Some(prefix) = prefix {
        let _ = bindtextdomain(DOMAIN, prefix.join("share/locale"));
    }
    let _ = bind_textdomain_codeset(DOMAIN, "UTF-8");
    let _ = textdomain(DOMAIN);
}

/// A translated sentence with places for values: `{name}` stands for the value of that name.
pub(super) fn gettext_f(sentence: &str, values: &[(&str, &str)]) -> String {
    fill(&gettext(sentence), values)
}

/// The same for sentences that count: `{n}` is the number.
pub(super) fn ngettext_f(one: &str, many: &str, n: usize) -> String {
    let number = u32::try_from(n).unwrap_or(u32::MAX);
    fill(&ngettext(one, many, number), &[("n", &n.to_string())])
}

/// Puts the values into their places, in one pass: a value that looks like a place is left as it is.
fn fill(sentence: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(sentence.len());
    let mut rest = sentence;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        let place = rest[at + 1..].split_once('}');
        match place.and_then(|(name, after)| Some((values.iter().find(|v| v.0 == name)?.1, after))) {
            Some((value, after)) => {
                out.push_str(value);
                rest = after;
            }
            None => {
                out.push('{');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_into_their_places_and_are_not_read_again() {
        let filled = fill("{a} and {b}, {c}", &[("a", "{b}"), ("b", "2")]);
        assert_eq!(filled, "{b} and 2, {c}");
    }
}
