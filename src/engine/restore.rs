// SPDX-License-Identifier: GPL-3.0-or-later
//! Putting files back: who placed what stands there now, and the way back to what was there before.

use super::context::{After, Before};
use super::drift::Drift;
use super::error::StepError;
use super::journal::{StepHistory, Touch};
use super::store::Store;
use crate::host::failpoint;
use crate::host::{FileState, HostError, Root};
use std::collections::BTreeSet;
use std::io::ErrorKind;

/// What is to be done about a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is as it was before: nothing.
    AsBefore,
    /// The step placed what is there: put back what was there before.
    Ours,
    /// It is not there any more and neither is the folder that held it (a kernel or a program was
    /// removed meanwhile), or it is a file that goes so ([`Before::may_be_gone`]): nothing is put back.
    Gone,
    /// Somebody else changed it: leave it alone.
    Drifted(Box<Drift>),
}

/// Judges what stands at `path` now. Pure. Without `after` the step was interrupted or failed: then what
/// it was about to place is its own too, and of derived files every state is, since their tool may have
/// been stopped anywhere.
pub(super) fn judge(
    path: &str,
    now: &FileState,
    folder_is_there: bool,
    before: &Before,
    after: Option<&After>,
    touches: &[Touch],
) -> Verdict {
    let was = before.files.get(path).unwrap_or(&FileState::Absent);
    if now == was {
        return Verdict::AsBefore;
    }
    if *now == FileState::Absent && (!folder_is_there || before.may_be_gone.contains(path)) {
        return Verdict::Gone;
    }
    let left = after.map(|a| a.files.get(path).unwrap_or(was));
    let ours = match left {
        Some(left) => now.same_as(left),
        None => before.derived || touches.iter().any(|t| t.path == path && t.will_be.same_as(now)),
    };
    // Also when only the times differ: a tool made the same bytes again.
    if ours {
        return Verdict::Ours;
    }
    if now.same_as(was) {
        return Verdict::AsBefore;
    }
    Verdict::Drifted(Box::new(Drift {
        path: path.to_owned(),
        left: left.cloned(),
        now: now.clone(),
        before: was.clone(),
        copy: None,
    }))
}

/// All paths that a step may have changed.
pub(super) fn paths<'a>(before: &'a Before, after: Option<&'a After>) -> BTreeSet<&'a String> {
    before.files.keys().chain(after.into_iter().flat_map(|a| a.files.keys())).collect()
}

/// All paths of a step that is known from the journal.
pub(super) fn paths_of(step: &StepHistory) -> BTreeSet<&String> {
    paths(&step.before, step.after.as_ref())
}

/// The folder that holds `path`.
pub(super) fn folder(path: &str) -> &str {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((folder, _)) => folder,
    }
}

/// A name for a file that is being written, beside the file that it becomes. Random: nobody can plant it.
pub(super) fn staged_name() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!(".hostwright-{:016x}", RandomState::new().hash_one(std::process::id()))
}

/// The path of a file that is being written beside `path`.
fn beside(path: &str, staged: &str) -> String {
    format!("{}/{staged}", folder(path).trim_end_matches('/'))
}

/// Clears away what a crash left of files that were being written. Their names are random and were
/// journaled before, so that they can only be the run's own.
pub(super) fn clear_staged(root: &Root, touches: &[Touch]) -> Result<(), HostError> {
    for touch in touches {
        let Some(staged) = &touch.staged else { continue };
        let staged = beside(&touch.path, staged);
        // Looked at first: on a read-only file system even removing nothing is an error.
        match root.symlink_metadata(&staged) {
            Ok(_) => root.remove_file(&staged)?,
            Err(e) if is_gone(&e) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn is_gone(e: &HostError) -> bool {
    matches!(e.source.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Puts one path into a recorded state. A file or link takes the place of what is there in one exchange.
pub(super) fn put_back(
    root: &Root,
    store: &Store,
    path: &str,
    state: &FileState,
    staged: &str,
) -> Result<(), StepError> {
    match state {
        FileState::Absent => root.remove_file(path)?,
        FileState::File { sha256, mode, uid, gid, .. } => {
            let mut bytes = store.open(root, sha256)?;
            root.write_staged(path, staged, &mut bytes, *mode, Some((*uid, *gid)), Some(state))?;
        }
        FileState::Symlink { target, uid, gid } => {
            let staged = beside(path, staged);
            root.symlink_owned(target, &staged, *uid, *gid)?;
            failpoint::hit("link-staged");
            root.rename(&staged, path)?;
        }
        // `remember` refuses these, so that no step changes them.
        FileState::Directory { .. } | FileState::Other => {
            return Err(StepError::refused(
                format!("{path} was no file before, which undo does not make again"),
                "look at it yourself",
            ));
        }
    }
    let now = root.state(path)?;
    if now.same_as(state) {
        return Ok(());
    }
    Err(StepError::refused(
        format!("{path} is not as it was although it was put back"),
        "another program changes it at the same time: end that program and undo again",
    ))
}

/// Removes directories that a run created, deepest first, where they are empty. Returns those that
/// stay because something else is in them.
pub(super) fn remove_created(root: &Root, dirs: &[String]) -> Result<Vec<String>, HostError> {
    let mut stay = Vec::new();
    for dir in dirs.iter().rev() {
        match root.symlink_metadata(dir).and_then(|_| root.remove_dir(dir)) {
            Ok(()) => failpoint::hit("dir-removed"),
            Err(e) if e.source.kind() == ErrorKind::DirectoryNotEmpty => stay.push(dir.clone()),
            Err(e) if is_gone(&e) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(stay)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn file(content: u8, mtime: i64) -> FileState {
        FileState::File {
            sha256: hex::encode([content; 32]),
            size: 1,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime,
            mtime_nsec: 0,
            xattrs: BTreeMap::new(),
        }
    }

    #[test]
    fn who_placed_what_is_told_apart() {
        let (old, new, other) = (file(1, 1), file(2, 2), file(3, 3));
        let before = Before { files: [("/f".to_owned(), old.clone())].into(), ..Before::default() };
        let derived = Before { derived: true, ..before.clone() };
        let after = After { files: [("/f".to_owned(), new.clone())].into(), ..After::default() };
        let touches = [Touch { path: "/f".into(), staged: None, will_be: new.clone() }];
        let word = |now: &FileState, there, before, after, touches: &[Touch]| match judge(
            "/f", now, there, before, after, touches,
        ) {
            Verdict::AsBefore => "before",
            Verdict::Ours => "ours",
            Verdict::Gone => "gone",
            Verdict::Drifted(_) => "drift",
        };
        let done = Some(&after);
        assert_eq!(word(&old, true, &before, done, &[]), "before");
        assert_eq!(word(&file(1, 9), true, &before, done, &[]), "before", "only its time is another");
        assert_eq!(word(&new, true, &before, done, &[]), "ours");
        assert_eq!(word(&file(2, 9), true, &before, done, &[]), "ours");
        assert_eq!(word(&other, true, &before, done, &[]), "drift");
        assert_eq!(word(&FileState::Absent, true, &before, done, &[]), "drift");
        assert_eq!(word(&FileState::Absent, false, &before, done, &[]), "gone");
        let goes = Before { may_be_gone: ["/f".to_owned()].into(), ..before.clone() };
        assert_eq!(word(&FileState::Absent, true, &goes, done, &[]), "gone");
        assert_eq!(word(&other, true, &goes, done, &[]), "drift");
        // Interrupted: what was announced is the run's own, and nothing else is.
        assert_eq!(word(&new, true, &before, None, &touches), "ours");
        assert_eq!(word(&new, true, &before, None, &[]), "drift");
        assert_eq!(word(&other, true, &before, None, &touches), "drift");
        assert_eq!(word(&other, true, &derived, None, &[]), "ours");
        assert_eq!(word(&other, true, &derived, done, &[]), "drift");
    }

    #[test]
    fn names_of_files_that_are_being_written_are_not_guessed() {
        let names: BTreeSet<String> = (0..100).map(|_| staged_name()).collect();
        assert_eq!(names.len(), 100);
        assert!(names.iter().all(|n| n.starts_with(".hostwright-") && n.len() == 28), "{names:?}");
    }

    #[test]
    fn folders_of_paths() {
        assert_eq!(folder("/a/b/c"), "/a/b");
        assert_eq!(folder("/a"), "/");
        assert_eq!(beside("/a", ".x"), "/.x");
        assert_eq!(beside("/a/b", ".x"), "/a/.x");
    }
}
