// SPDX-License-Identifier: GPL-3.0-or-later
//! The words of a kernel command line, as the kernel itself parts them (`lib/cmdline.c`, `next_arg`, and
//! `kernel/params.c`, `parameq`): blanks part words unless they stand between double quotes; `-` and `_` in
//! a name are the same; what follows the word `--` is for init and not for the kernel.

use super::ParamError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Parameters that the kernel or its modules take more than once, each adding to the others.
const REPEATABLE: [&str; 6] =
    ["console", "earlycon", "modprobe.blacklist", "rd.driver.pre", "rd.driver.blacklist", "rd.lvm.lv"];

/// A kernel parameter (`intel_iommu=on`), of such characters only that no configuration needs quotes for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Parameter {
    word: String,
}

/// A word that cannot be given to every boot loader.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no kernel parameter that can be set; write NAME or NAME=VALUE with letters, digits and ._,:=+@/-", .0.escape_debug())]
pub struct BadParameter(String);

impl Parameter {
    /// Its name as the kernel compares it.
    pub fn name(&self) -> String {
        name(&self.word)
    }

    /// What follows the first `=`.
    pub fn value(&self) -> Option<&str> {
        self.word.split_once('=').map(|(_, v)| v)
    }

    /// The word itself.
    pub fn as_str(&self) -> &str {
        &self.word
    }

    pub(super) fn is_repeatable(&self) -> bool {
        REPEATABLE.contains(&self.name().as_str())
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.word)
    }
}

impl FromStr for Parameter {
    type Err = BadParameter;

    fn from_str(text: &str) -> Result<Self, BadParameter> {
        let named = text.split('=').next().unwrap_or("");
        let fits_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let fits = |c: char| c.is_ascii_alphanumeric() || "._,:=+@/-".contains(c);
        let good = named.starts_with(|c: char| c.is_ascii_alphanumeric())
            && named.chars().all(fits_name)
            && text.len() <= 256
            && text.chars().all(fits);
        if good {
            Ok(Self { word: text.to_owned() })
        } else {
            Err(BadParameter(text.chars().take(60).collect()))
        }
    }
}

impl TryFrom<String> for Parameter {
    type Error = BadParameter;

    fn try_from(text: String) -> Result<Self, BadParameter> {
        text.parse()
    }
}

impl From<Parameter> for String {
    fn from(parameter: Parameter) -> Self {
        parameter.word
    }
}

/// The name of a word as the kernel compares it.
fn name(word: &str) -> String {
    word.split('=').next().unwrap_or("").trim_matches('"').replace('-', "_")
}

/// A word without its quotes (`a="b c"`, `"a=b c"`).
fn plain(word: &str) -> String {
    word.replace('"', "")
}

/// A kernel command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The words for the kernel.
    pub words: Vec<String>,
    /// Where a further word belongs: after the last byte of the last word that is the kernel's.
    end: usize,
}

impl CommandLine {
    /// Parts a command line into its words.
    ///
    /// # Errors
    /// When a double quote stays open: the kernel would take all the rest for one word.
    pub fn parse(text: &str) -> Result<Self, ParamError> {
        let mut line = Self::default();
        for (at, word) in split(text) {
            if word.chars().filter(|c| *c == '"').count() % 2 != 0 {
                return Err(ParamError::open_quote(super::line_of(text, at), '"'));
            }
            if word == "--" {
                break;
            }
            line.end = at + word.len();
            line.words.push(word.to_owned());
        }
        Ok(line)
    }

    /// The words between blanks, for a text that was only generated and cannot be parted better.
    pub(super) fn of_blanks(text: &str) -> Self {
        Self { words: text.split_whitespace().map(str::to_owned).collect(), end: text.len() }
    }

    /// How often this very parameter stands there.
    pub fn count(&self, parameter: &Parameter) -> usize {
        self.words.iter().filter(|w| same(w, parameter)).count()
    }

    /// The words that have this name.
    pub fn named(&self, name: &str) -> Vec<&str> {
        let wanted = name.replace('-', "_");
        self.words.iter().filter(|w| self::name(w) == wanted).map(String::as_str).collect()
    }

    /// The value of a parameter, without quotes; of several the last, which the kernel obeys.
    pub fn value(&self, name: &str) -> Option<String> {
        self.named(name).last().map(|w| plain(w.split_once('=').map_or("", |(_, v)| v)))
    }

    /// Those of `wanted` that are not there.
    ///
    /// # Errors
    /// When one is there with another value, or more than once.
    pub fn lacking<'w>(&self, wanted: &'w [Parameter]) -> Result<Vec<&'w Parameter>, ParamError> {
        let mut lacking: Vec<&Parameter> = Vec::new();
        for parameter in wanted {
            let times = self.count(parameter);
            if times > 1 {
                return Err(ParamError::new(
                    1,
                    format!("`{parameter}` is there {times} times"),
                    "take it out yourself but for once and look again",
                ));
            }
            if times == 1 || lacking.contains(&parameter) {
                continue;
            }
            let other = self.named(&parameter.name()).first().map(|w| (*w).to_owned());
            if let Some(word) = other
                && !parameter.is_repeatable()
            {
                return Err(ParamError::new(
                    1,
                    format!("`{word}` is there already, and `{parameter}` is wanted"),
                    "decide which of the two it should be: take that word out yourself, or choose without this one",
                ));
            }
            lacking.push(parameter);
        }
        Ok(lacking)
    }

    /// `text`, which this was parsed from, with these words behind the kernel's last one.
    pub(super) fn with(&self, text: &str, words: &[&Parameter]) -> String {
        if words.is_empty() {
            return text.to_owned();
        }
        let added = words.iter().map(|w| w.as_str()).collect::<Vec<_>>().join(" ");
        let (before, after) = text.split_at(self.end.min(text.len()));
        if self.words.is_empty() {
            let rest = after.trim_ascii_start();
            if rest.is_empty() {
                return format!("{before}{added}{after}");
            }
            // Beside what stands there (`--`), which may be in a later line.
            let blank = &after[..after.len() - rest.len()];
            return format!("{before}{blank}{added} {rest}");
        }
        format!("{before} {added}{after}")
    }
}

/// Whether a word is this parameter, however it is quoted.
fn same(word: &str, parameter: &Parameter) -> bool {
    let word = plain(word);
    let value = word.split_once('=').map(|(_, v)| v);
    name(&word) == parameter.name() && value == parameter.value()
}

/// The words of a text with their places; blanks between double quotes part none.
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let (mut from, mut quoted) = (None, false);
    for (at, c) in text.char_indices() {
        if c.is_ascii_whitespace() && !quoted {
            if let Some(from) = from.take() {
                found.push((from, &text[from..at]));
            }
            continue;
        }
        from.get_or_insert(at);
        quoted ^= c == '"';
    }
    if let Some(from) = from {
        found.push((from, &text[from..]));
    }
    found
}

/// `text` without these words, each taken out once together with the blank before it.
pub(super) fn without(text: &str, words: &[Parameter]) -> String {
    let mut text = text.to_owned();
    for parameter in words {
        let Some((at, len)) =
            split(&text).iter().rev().find(|(_, w)| same(w, parameter)).map(|(at, w)| (*at, w.len()))
        else {
            continue;
        };
        let from = if text[..at].ends_with(' ') { at - 1 } else { at };
        text.replace_range(from..at + len, "");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(text: &str) -> Parameter {
        text.parse().unwrap()
    }

    fn added(text: &str, wanted: &[&str]) -> Result<String, ParamError> {
        let wanted: Vec<Parameter> = wanted.iter().map(|w| parameter(w)).collect();
        let line = CommandLine::parse(text)?;
        let lacking = line.lacking(&wanted)?;
        Ok(line.with(text, &lacking))
    }

    #[test]
    fn words_are_added_behind_the_last_one_of_the_kernel() {
        assert_eq!(added("ro quiet", &["iommu=pt"]).unwrap(), "ro quiet iommu=pt");
        assert_eq!(added("ro quiet  \n", &["iommu=pt"]).unwrap(), "ro quiet iommu=pt  \n");
        assert_eq!(added("", &["iommu=pt"]).unwrap(), "iommu=pt");
        assert_eq!(added("ro -- single", &["iommu=pt"]).unwrap(), "ro iommu=pt -- single");
        assert_eq!(added("-- single", &["iommu=pt"]).unwrap(), "iommu=pt -- single");
        assert_eq!(added("\n-- single\n", &["iommu=pt"]).unwrap(), "\niommu=pt -- single\n");
        assert_eq!(added(" \n", &["iommu=pt"]).unwrap(), "iommu=pt \n");
        assert_eq!(added("ro", &["a=1", "a=1", "b"]).unwrap(), "ro a=1 b");
    }

    #[test]
    fn a_word_that_is_there_however_it_is_written_is_not_added() {
        for there in ["ro intel_iommu=on", "intel-iommu=on ro", "ro intel_iommu=\"on\"", "\"intel_iommu=on\""]
        {
            assert_eq!(added(there, &["intel_iommu=on"]).unwrap(), there);
        }
        assert_eq!(added("a=\"b iommu=pt\"", &["iommu=pt"]).unwrap(), "a=\"b iommu=pt\" iommu=pt");
        assert_eq!(added("xiommu=pt iommu=ptx", &[]).unwrap(), "xiommu=pt iommu=ptx");
    }

    #[test]
    fn another_value_is_somebodys_own_decision() {
        let error = added("ro iommu=soft", &["iommu=pt"]).unwrap_err().to_string();
        assert!(error.contains("`iommu=soft`") && error.contains("decide which"), "{error}");
        assert_eq!(added("console=tty0", &["console=ttyS0"]).unwrap(), "console=tty0 console=ttyS0");
    }

    #[test]
    fn an_open_quote_is_an_error() {
        let error = CommandLine::parse("ro dyndbg=\"file x").unwrap_err().to_string();
        assert!(error.contains("never closed"), "{error}");
    }

    #[test]
    fn only_words_that_need_no_quotes_are_parameters() {
        for good in ["iommu=pt", "nosmt", "vfio-pci.ids=10de:2684,10de:22ba", "hugepagesz=1G", "a=b=c"] {
            assert_eq!(parameter(good).as_str(), good);
        }
        for bad in ["", "a b", "a=\"b\"", "$x", "a;b", "-x", "=x", "a=`id`", "a\n", "a=$(x)", "ä=1", "--"] {
            assert!(bad.parse::<Parameter>().is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<Parameter>("\"a b\"").is_err());
    }

    #[test]
    fn words_are_taken_out_again_once() {
        let words = [parameter("iommu=pt"), parameter("intel_iommu=on")];
        assert_eq!(without("ro intel_iommu=on iommu=pt", &words), "ro");
        assert_eq!(without("iommu=pt ro", &words), " ro");
        assert_eq!(without("ro iommu=pt iommu=pt", &words[..1]), "ro iommu=pt");
    }

    #[test]
    fn the_last_value_counts() {
        let line = CommandLine::parse("a=1 a=2 b").unwrap();
        assert_eq!(line.value("a").as_deref(), Some("2"));
        assert_eq!(line.value("b").as_deref(), Some(""));
        assert_eq!(line.value("c"), None);
    }
}
