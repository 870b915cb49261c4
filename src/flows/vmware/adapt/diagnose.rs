// SPDX-License-Identifier: GPL-3.0-or-later
//! What a failed build means: which adaptation has most to do with an error.

use super::catalogue::Catalogue;
use super::model::{EditAction, ProbeKind};
pub use crate::engine::diagnose::{Diagnostic, Severity, first_error, parse_line, parse_output};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The adaptation that is nearest to an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Nearest {
    /// Which.
    pub adaptation: String,
    /// What it is about.
    pub title: String,
    /// What it has in common with the error.
    pub because: String,
}

/// The identifiers that a message puts in quotes, and the headers that it misses.
fn mentioned(message: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut word = |text: &str| {
        let text = text.trim().trim_end_matches("()");
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if text.len() > 2 && text.chars().all(|c| is_name(c) || "./-".contains(c)) {
            found.insert(text.to_owned());
        }
        for part in text.split(|c: char| !is_name(c)).filter(|p| p.len() > 3) {
            found.insert(part.to_owned());
        }
    };
    // Only what comes before the compiler's own guess counts: "did you mean" names something else.
    let message = message.split("; did you mean").next().unwrap_or_default();
    let quoted: Vec<&str> = message.split(['\'', '‘', '’', '"', '`']).collect();
    for text in quoted.iter().skip(1).step_by(2) {
        word(text);
    }
    if let Some(header) = message.strip_suffix(": No such file or directory") {
        word(header);
    }
    if let Some(rest) = message.strip_prefix("objtool: ") {
        word(rest.split(['+', '(', ' ']).next().unwrap_or_default());
    }
    found
}

/// Words that are everywhere and hint at nothing.
const COMMON: [&str; 12] = [
    "struct", "const", "void", "unsigned", "static", "return", "char", "long", "function", "include",
    "linux", "module",
];

/// The adaptation that has most to do with an error: by its symptoms first, then by the identifiers that
/// both mention.
pub fn nearest(catalogue: &Catalogue, error: &Diagnostic) -> Option<Nearest> {
    let near = |a: &super::model::Adaptation, because: String| Nearest {
        adaptation: a.id.clone(),
        title: a.title.clone(),
        because,
    };
    for a in catalogue.adaptations() {
        if a.symptoms.iter().any(|s| s.is_match(error.message.as_bytes())) {
            return Some(near(a, "the message is one of its known symptoms".into()));
        }
    }
    let names = mentioned(&error.message);
    let names: Vec<&String> = names.iter().filter(|n| !COMMON.contains(&n.as_str())).collect();
    let mut best: Option<(usize, Nearest)> = None;
    for a in catalogue.adaptations() {
        let mut text = a.title.clone();
        for probe in &a.probes {
            match &probe.kind {
                ProbeKind::Code { code, .. } => text.push_str(code),
                ProbeKind::Symbol(s) | ProbeKind::Config(s) => text.push_str(s),
                ProbeKind::Source { regex, .. } => text.push_str(regex.as_str()),
            }
            text.push('\n');
        }
        for apply in &a.applies {
            text.push_str(&apply.compat);
            for edit in &apply.edits {
                if let EditAction::Replace { shown, with, .. } = &edit.action {
                    text.push_str(shown);
                    text.push_str(with);
                }
            }
        }
        let words: BTreeSet<&str> = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect();
        let shared: Vec<&str> = names.iter().map(|n| n.as_str()).filter(|n| words.contains(n)).collect();
        if !shared.is_empty() && best.as_ref().is_none_or(|(n, _)| shared.len() > *n) {
            best = Some((shared.len(), near(a, format!("both are about {}", shared.join(", ")))));
        }
    }
    best.map(|(_, n)| n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_nearest_adaptation_shares_the_identifier() {
        let catalogue = Catalogue::embedded().unwrap();
        let near = |line: &str| nearest(&catalogue, &parse_line(line).unwrap()).map(|n| n.adaptation);
        let cases = [
            (
                "a.c:1:1: error: implicit declaration of function 'del_timer_sync'; did you mean 'dev_mc_sync'?",
                "timer-delete-sync",
            ),
            (
                "a.h:1:1: error: 'dev_base_lock' undeclared (first use in this function); did you mean 'device_lock'?",
                "dev-base-lock",
            ),
            ("a.c:1:1: fatal error: driver-config.h: No such file or directory", "extra-cflags"),
            (
                "a.h:1:1: error: implicit declaration of function ‘pud_large’; did you mean ‘pud_page’?",
                "page-table-walk",
            ),
            ("ERROR: modpost: \"csum_partial_copy_nocheck\" [/b/vmnet.ko] undefined!", "csum-copy-to-user"),
            (
                "vmnet.o: error: objtool: init_module(): Magic init_module() function name is deprecated, use module_init(fn) instead",
                "module-init",
            ),
        ];
        for (line, id) in cases {
            assert_eq!(near(line).as_deref(), Some(id), "{line}");
        }
        assert_eq!(near("a.c:1:1: error: expected ';' before '}' token"), None);
    }

    proptest! {
        #[test]
        fn any_line_never_panics(line in "\\PC{0,120}") {
            let _ = parse_line(&line).map(|d| mentioned(&d.message));
        }
    }
}
