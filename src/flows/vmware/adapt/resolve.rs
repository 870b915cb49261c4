// SPDX-License-Identifier: GPL-3.0-or-later
//! Catalogue, answers and sources become resolved edits: nothing is left to decide afterwards.

use super::catalogue::Catalogue;
use super::model::{Adaptation, Apply, BUILT_IN, Edit, EditAction, ProbeKind, substitute};
use super::probe::Outcomes;
use super::text::without_comments;
use crate::engine::edit::{COMPAT_HEADER, TextEdit, tree_diff};
use crate::engine::source::Files;
use crate::flows::vmware::source::SourceTree;
use regex::bytes::Regex;
use std::collections::BTreeMap;

pub use super::options::Options;
pub use super::resolved::{Applied, NotNeeded, ResolveError, Resolved, Why};

/// The texts of a module as edited so far, and what they look like without comments.
struct Texts {
    files: Files,
    plain: Files,
}

impl Texts {
    fn new(files: &Files) -> Self {
        let plain = files.iter().map(|(p, t)| (p.clone(), without_comments(p, t))).collect();
        Self { files: files.clone(), plain }
    }

    fn set(&mut self, path: &str, text: Vec<u8>) {
        self.plain.insert(path.to_owned(), without_comments(path, &text));
        self.files.insert(path.to_owned(), text);
    }

    /// The files in whose code, comments left out, something matches.
    fn matching(&self, regex: &Regex, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let hits = self.plain.iter().filter(|(p, t)| is_code(p) && wanted(p) && regex.is_match(t));
        hits.map(|(p, _)| p.clone()).collect()
    }
}

/// Texts that a build reads; READMEs and the like are not looked at.
fn is_code(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.ends_with(".c")
        || name.ends_with(".h")
        || name.ends_with(".S")
        || name.starts_with("Makefile")
        || name == "Kbuild"
}

/// How one apply ended.
enum Step {
    Done { compat: String, make: Vec<String>, cflags: Vec<String>, reason: String },
    Not(Why),
}

/// Fits the sources of one module to one kernel. Pure.
///
/// # Errors
/// When an edit does not fit the sources and is not proven not needed, or a probe has no answer.
pub fn resolve(
    catalogue: &Catalogue,
    outcomes: &Outcomes,
    tree: &SourceTree,
    options: &Options,
) -> Result<Resolved, ResolveError> {
    let mut resolver = Resolver {
        tree,
        outcomes,
        options,
        values: options.values(),
        original: Texts::new(&tree.files),
        texts: Texts::new(&tree.files),
        edits: Vec::new(),
    };
    let mut applied: Vec<Applied> = Vec::new();
    let mut not_needed = Vec::new();
    let mut cflags: Vec<String> = Vec::new();
    let mut make: BTreeMap<String, (String, String)> = BTreeMap::new();
    for adaptation in catalogue.adaptations().iter().filter(|a| a.modules.contains(&tree.module)) {
        let before = resolver.texts.files.clone();
        let mut whys = Vec::new();
        let mut sum: Option<Applied> = None;
        for apply in &adaptation.applies {
            if !apply.modules.is_empty() && !apply.modules.contains(&tree.module) {
                continue;
            }
            match resolver.apply(adaptation, apply)? {
                Step::Not(why) => whys.push(why),
                Step::Done { compat, make: vars, cflags: flags, reason } => {
                    for var in &vars {
                        let (name, value) = var.split_once('=').unwrap_or((var, ""));
                        let new = (value.to_owned(), adaptation.id.clone());
                        let old = make.entry(name.to_owned()).or_insert_with(|| new.clone());
                        if old.0 != new.0 {
                            return Err(ResolveError::Conflict {
                                first: old.1.clone(),
                                second: new.1,
                                name: name.to_owned(),
                            });
                        }
                    }
                    let entry = sum.get_or_insert_with(|| Applied {
                        id: adaptation.id.clone(),
                        title: adaptation.title.clone(),
                        since: adaptation.since.clone(),
                        reason: String::new(),
                        diff: None,
                        compat: String::new(),
                        make: Vec::new(),
                    });
                    if !entry.reason.contains(&reason) {
                        let space = if entry.reason.is_empty() { "" } else { " " };
                        entry.reason.push_str(&format!("{space}{reason}"));
                    }
                    entry.compat.push_str(&compat);
                    entry.make.extend(vars);
                    entry.make.extend(flags.iter().map(|f| format!("KCFLAGS+={f}")));
                    cflags.extend(flags);
                }
            }
        }
        match sum {
            Some(mut entry) => {
                let diff = tree_diff(&before, &resolver.texts.files);
                entry.diff = (!diff.is_empty()).then_some(diff);
                applied.push(entry);
            }
            None => not_needed.push(NotNeeded { id: adaptation.id.clone(), why: strongest(whys) }),
        }
    }
    let compat_header = compat_header(&tree.module, &applied);
    if !compat_header.is_empty() {
        cflags.insert(0, format!("-include $(M)/{COMPAT_HEADER}"));
    }
    let mut make_vars: Vec<String> =
        make.into_iter().map(|(name, (value, _))| format!("{name}={value}")).collect();
    if !cflags.is_empty() {
        // After the kernel's own flags, before those of the module's makefile.
        make_vars.push(format!("KCFLAGS={}", cflags.join(" ")));
    }
    Ok(Resolved {
        module: tree.module.clone(),
        source_sha256: tree.sha256.clone(),
        source: tree.recognised.clone(),
        compat_header,
        edits: resolver.edits,
        make_vars,
        applied,
        not_needed,
    })
}

/// Of several reasons the one that says most: fixed, then not used, then conditions.
fn strongest(whys: Vec<Why>) -> Why {
    let mut files: Vec<String> = Vec::new();
    let mut not_used = false;
    let mut shown: Vec<String> = Vec::new();
    for why in whys {
        match why {
            Why::Fixed { files: f } => files.extend(f),
            Why::NotUsed => not_used = true,
            Why::Condition { shown: s } if !shown.contains(&s) => shown.push(s),
            Why::Condition { .. } => {}
        }
    }
    files.sort();
    files.dedup();
    match (files.is_empty(), not_used) {
        (false, _) => Why::Fixed { files },
        (true, true) => Why::NotUsed,
        (true, false) => Why::Condition { shown: shown.join("; ") },
    }
}

fn compat_header(module: &str, applied: &[Applied]) -> String {
    let parts: Vec<String> = applied
        .iter()
        .filter(|a| !a.compat.is_empty())
        .map(|a| format!("\n/* {}: {} */\n{}", a.id, a.title.replace("*/", "* /"), a.compat))
        .collect();
    if parts.is_empty() {
        return String::new();
    }
    format!(
        "/* SPDX-License-Identifier: GPL-2.0-or-later */\n/*\n * Made by Hostwright for {module}: what this kernel needs beside the sources. It comes before every other\n * text, so it holds macros and declarations only.\n */\n#ifndef HOSTWRIGHT_COMPAT_H\n#define HOSTWRIGHT_COMPAT_H\n{}\n#endif\n",
        parts.concat()
    )
}

struct Resolver<'a> {
    tree: &'a SourceTree,
    outcomes: &'a Outcomes,
    options: &'a Options,
    values: BTreeMap<&'static str, String>,
    original: Texts,
    texts: Texts,
    edits: Vec<TextEdit>,
}

impl Resolver<'_> {
    fn value(&self, adaptation: &Adaptation, name: &str) -> Result<bool, ResolveError> {
        if let Some(value) = self.options.word(name, &self.tree.module) {
            return Ok(value);
        }
        let no_answer =
            || ResolveError::NoAnswer { adaptation: adaptation.id.clone(), probe: name.to_owned() };
        let probe = adaptation.probes.iter().find(|p| p.name == name).ok_or_else(no_answer)?;
        match &probe.kind {
            ProbeKind::Source { regex, file } => {
                let wanted = |p: &str| file.as_ref().is_none_or(|g| g.matches(p));
                Ok(!self.original.matching(regex, wanted).is_empty())
            }
            _ => self.outcomes.get(&adaptation.id, name).ok_or_else(no_answer),
        }
    }

    fn apply(&mut self, adaptation: &Adaptation, apply: &Apply) -> Result<Step, ResolveError> {
        if !apply.when.eval(&|name| self.value(adaptation, name))? {
            let mut answers = Vec::new();
            for name in apply.when.names() {
                if !BUILT_IN.contains(&name) {
                    let word = if self.value(adaptation, name)? { "yes" } else { "no" };
                    answers.push(format!("{name}: {word}"));
                }
            }
            let shown = if answers.is_empty() { apply.when.to_string() } else { answers.join(", ") };
            return Ok(Step::Not(Why::Condition { shown }));
        }
        if let Some(uses) = &apply.uses
            && self.original.matching(uses, |_| true).is_empty()
        {
            return Ok(Step::Not(Why::NotUsed));
        }
        if let Some(fixed) = &apply.fixed {
            let files = self.original.matching(fixed, |_| true);
            if !files.is_empty() {
                return Ok(Step::Not(Why::Fixed { files }));
            }
        }
        let mut done = false;
        let mut fixed: Vec<String> = Vec::new();
        for edit in &apply.edits {
            match self.edit(adaptation, edit)? {
                Edited::Done => done = true,
                Edited::NotNeeded(files) => fixed.extend(files),
            }
        }
        if !apply.edits.is_empty() && !done {
            // What goes with the edits is not needed without them.
            return Ok(Step::Not(if fixed.is_empty() { Why::NotUsed } else { Why::Fixed { files: fixed } }));
        }
        let fill = |texts: &[String]| texts.iter().map(|t| substitute(t, &self.values)).collect::<Vec<_>>();
        Ok(Step::Done {
            compat: substitute(&apply.compat, &self.values),
            make: fill(&apply.make),
            cflags: fill(&apply.cflags),
            reason: apply.reason.clone(),
        })
    }

    fn edit(&mut self, adaptation: &Adaptation, edit: &Edit) -> Result<Edited, ResolveError> {
        let paths: Vec<String> = self.texts.files.keys().filter(|p| edit.file.matches(p)).cloned().collect();
        if paths.is_empty() {
            // Without the file it cannot be needed there; but what it is about may have moved.
            let elsewhere = edit.needed.as_ref().map(|n| self.texts.matching(n, |_| true));
            return match elsewhere {
                Some(files) if files.is_empty() => Ok(Edited::NotNeeded(Vec::new())),
                other => Err(ResolveError::NoFile {
                    adaptation: adaptation.id.clone(),
                    module: self.tree.module.clone(),
                    file: edit.file.to_string(),
                    elsewhere: other.and_then(|f| f.into_iter().next()),
                }),
            };
        }
        let mut done = false;
        let mut fixed = Vec::new();
        for path in paths {
            let plain = self.texts.plain.get(&path).map(Vec::as_slice).unwrap_or_default();
            if edit.fixed.as_ref().is_some_and(|r| r.is_match(plain)) {
                fixed.push(path);
                continue;
            }
            if edit.needed.as_ref().is_some_and(|r| !r.is_match(plain)) {
                continue;
            }
            self.edit_file(adaptation, edit, &path)?;
            done = true;
        }
        Ok(if done { Edited::Done } else { Edited::NotNeeded(fixed) })
    }

    fn edit_file(&mut self, adaptation: &Adaptation, edit: &Edit, path: &str) -> Result<(), ResolveError> {
        let mut text = self.texts.files.get(path).cloned().unwrap_or_default();
        let places: Vec<(usize, String, String)> = match &edit.action {
            EditAction::Append(more) => {
                let newline = if text.is_empty() || text.ends_with(b"\n") { "" } else { "\n" };
                vec![(text.len(), String::new(), format!("{newline}{}", substitute(more, &self.values)))]
            }
            EditAction::Replace { regex, shown, with, expand, all } => {
                let with = substitute(with, &self.values);
                let mut places = Vec::new();
                for c in regex.captures_iter(&text) {
                    let Some(whole) = c.get(0) else { continue };
                    let mut after = Vec::new();
                    if *expand {
                        c.expand(with.as_bytes(), &mut after);
                    } else {
                        after.extend_from_slice(with.as_bytes());
                    }
                    // A match inside bytes that are no UTF-8 cannot be written down as an edit.
                    if let (Ok(before), Ok(after)) =
                        (std::str::from_utf8(whole.as_bytes()), String::from_utf8(after))
                    {
                        places.push((whole.start(), before.to_owned(), after));
                    }
                }
                if places.is_empty() || (!all && places.len() != 1) {
                    return Err(ResolveError::NoMatch {
                        adaptation: adaptation.id.clone(),
                        module: self.tree.module.clone(),
                        file: path.to_owned(),
                        expected: format!("`{}`", shown.trim()),
                        wanted: if *all { "at least once" } else { "exactly once" },
                        found: places.len(),
                    });
                }
                places
            }
        };
        // From the end to the beginning, so that earlier places stay where they are.
        for (at, before, after) in places.into_iter().rev() {
            let edit =
                TextEdit { adaptation: adaptation.id.clone(), file: path.to_owned(), at, before, after };
            edit.apply_to(&mut text)?;
            self.edits.push(edit);
        }
        self.texts.set(path, text);
        Ok(())
    }
}

/// How an edit ended.
enum Edited {
    Done,
    /// In no file; those that showed they are fixed.
    NotNeeded(Vec<String>),
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
