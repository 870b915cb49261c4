// SPDX-License-Identifier: GPL-3.0-or-later
//! Resolved edits of source texts: what a flow decided, as data that the engine only applies.

use super::source::Files;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Name of the force-included compat header, in the top folder of a module's sources. The make
/// variables of a plan refer to it as `$(M)/hostwright-compat.h`.
pub const COMPAT_HEADER: &str = "hostwright-compat.h";

/// One resolved edit of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TextEdit {
    /// Which adaptation it belongs to.
    pub adaptation: String,
    /// The file, relative to the module's folder.
    pub file: String,
    /// Byte offset in the text as edited so far.
    pub at: usize,
    /// What must stand there.
    pub before: String,
    /// What stands there afterwards.
    pub after: String,
}

/// An edit that does not fit the text it meets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The file is not there.
    #[error(
        "adaptation {adaptation}: the sources have no file `{file}`; they changed since the plan was made: plan again"
    )]
    NoFile {
        /// The adaptation.
        adaptation: String,
        /// The file.
        file: String,
    },
    /// Another text stands there.
    #[error(
        "adaptation {adaptation}: `{file}` does not have the expected text at byte {at} (line {line}); the sources changed since the plan was made: plan again"
    )]
    Mismatch {
        /// The adaptation.
        adaptation: String,
        /// The file.
        file: String,
        /// Where it was expected.
        at: usize,
        /// The line of that place, from 1.
        line: usize,
    },
}

impl TextEdit {
    /// Makes this edit in `text`.
    ///
    /// # Errors
    /// When `before` does not stand at `at`; the text is then untouched.
    pub fn apply_to(&self, text: &mut Vec<u8>) -> Result<(), EditError> {
        let end = self.at.saturating_add(self.before.len());
        if text.get(self.at..end) != Some(self.before.as_bytes()) {
            let upto = text.get(..self.at).unwrap_or(text);
            return Err(EditError::Mismatch {
                adaptation: self.adaptation.clone(),
                file: self.file.clone(),
                at: self.at,
                line: 1 + upto.iter().filter(|&&b| b == b'\n').count(),
            });
        }
        text.splice(self.at..end, self.after.bytes());
        Ok(())
    }
}

/// Makes all edits, in order. Each is verified in place before it is made; when one does not fit,
/// `files` is left as it was.
///
/// # Errors
/// When a file is missing or its text is another than the one the edits were resolved for.
pub fn apply(files: &mut Files, edits: &[TextEdit]) -> Result<(), EditError> {
    let mut edited = Files::new();
    for edit in edits {
        if !edited.contains_key(&edit.file) {
            let text = files.get(&edit.file).ok_or_else(|| EditError::NoFile {
                adaptation: edit.adaptation.clone(),
                file: edit.file.clone(),
            })?;
            edited.insert(edit.file.clone(), text.clone());
        }
        if let Some(text) = edited.get_mut(&edit.file) {
            edit.apply_to(text)?;
        }
    }
    files.append(&mut edited);
    Ok(())
}

/// Unified difference of one file, three lines of context; empty when nothing differs.
pub fn unified_diff(file: &str, before: &[u8], after: &[u8]) -> String {
    let (before, after) = (String::from_utf8_lossy(before), String::from_utf8_lossy(after));
    similar::TextDiff::from_lines(before.as_ref(), after.as_ref())
        .unified_diff()
        .context_radius(3)
        .header(&format!("a/{file}"), &format!("b/{file}"))
        .to_string()
}

/// Unified difference between two trees, file by file in the order of their names.
pub fn tree_diff(before: &Files, after: &Files) -> String {
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    let empty = Vec::new();
    names
        .into_iter()
        .map(|name| (name, before.get(name).unwrap_or(&empty), after.get(name).unwrap_or(&empty)))
        .filter(|(_, a, b)| a != b)
        .map(|(name, a, b)| unified_diff(name, a, b))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn edit(at: usize, before: &str, after: &str) -> TextEdit {
        TextEdit {
            adaptation: "test".into(),
            file: "a.c".into(),
            at,
            before: before.into(),
            after: after.into(),
        }
    }

    fn files(text: &str) -> Files {
        Files::from([("a.c".into(), text.as_bytes().to_vec())])
    }

    #[test]
    fn edits_are_made_one_after_the_other() {
        let mut f = files("one two three\n");
        apply(&mut f, &[edit(0, "one", "1"), edit(2, "two", "2"), edit(4, "three", "3")]).unwrap();
        assert_eq!(f["a.c"], b"1 2 3\n");
    }

    #[test]
    fn a_text_that_changed_is_refused_and_left_as_it_was() {
        let mut f = files("one\ntwo\n");
        let e = apply(&mut f, &[edit(0, "one", "1"), edit(2, "zwei", "2")]).unwrap_err();
        assert!(matches!(e, EditError::Mismatch { line: 2, .. }), "{e}");
        assert!(e.to_string().contains("plan again"));
        assert_eq!(f, files("one\ntwo\n"));
    }

    #[test]
    fn an_offset_beyond_the_text_is_refused() {
        let mut f = files("x");
        assert!(apply(&mut f, &[edit(usize::MAX, "y", "")]).is_err());
        assert!(apply(&mut f, &[edit(2, "", "y")]).is_err());
    }

    #[test]
    fn a_missing_file_is_named() {
        let mut f = Files::new();
        let e = apply(&mut f, &[edit(0, "", "x")]).unwrap_err();
        assert!(e.to_string().contains("`a.c`"));
    }

    #[test]
    fn a_difference_shows_file_and_lines() {
        let diff = unified_diff("a.c", b"x\ny\n", b"x\nz\n");
        assert!(diff.contains("--- a/a.c") && diff.contains("-y\n") && diff.contains("+z\n"), "{diff}");
        assert_eq!(unified_diff("a.c", b"x\n", b"x\n"), "");
    }

    proptest! {
        #[test]
        fn an_edit_replaces_just_its_place(
            pre in "[a-z\n]{0,20}", old in "[a-z\n]{0,9}", new in "\\PC{0,9}", post in "[a-z\n]{0,20}"
        ) {
            let mut f = files(&format!("{pre}{old}{post}"));
            apply(&mut f, &[edit(pre.len(), &old, &new)]).unwrap();
            prop_assert_eq!(String::from_utf8_lossy(&f["a.c"]).into_owned(), format!("{pre}{new}{post}"));
        }

        #[test]
        fn any_edit_of_any_text_never_panics(
            text in proptest::collection::vec(any::<u8>(), 0..40), at in any::<usize>(), before in "\\PC{0,4}", after in "\\PC{0,4}"
        ) {
            let mut f = Files::from([("a.c".into(), text)]);
            let _ = apply(&mut f, &[edit(at, &before, &after)]);
        }
    }
}
