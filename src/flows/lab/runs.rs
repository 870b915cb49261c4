// SPDX-License-Identifier: GPL-3.0-or-later
//! Run folders: one for each boot, numbered, with `report.json`, the console's log, screenshots and collected files.

use crate::guest::{CONSOLE, GuestError, REPORT, Report};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Runs that are kept; the oldest go first, but for those that were asked to stay.
const KEPT: usize = 200;

/// In a run's folder: it is never removed by itself.
const KEEP: &str = "keep";

/// Makes the folder of the next run below `folder` and removes the oldest ones that nobody asked to keep.
///
/// # Errors
/// When it cannot be made.
pub fn next(folder: &Path, keep: bool) -> Result<(u32, PathBuf), GuestError> {
    let make = |path: &Path, recursive: bool| {
        std::fs::DirBuilder::new().recursive(recursive).mode(0o700).create(path)
    };
    make(folder, true).map_err(|e| GuestError::file("make the folder", folder, e))?;
    let there = numbers(folder);
    prune(folder, &there);
    let mut number = there.last().copied().unwrap_or(0);
    loop {
        number += 1;
        let path = folder.join(number.to_string());
        match make(&path, false) {
            Ok(()) => {
                if keep {
                    let mark = path.join(KEEP);
                    std::fs::write(&mark, "").map_err(|e| GuestError::file("write", mark, e))?;
                }
                return Ok((number, path));
            }
            // Another run was quicker.
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(GuestError::file("make the folder", path, e)),
        }
    }
}

/// Removes the folder of a run of which there is nothing to tell, since no guest was started. What one said stays,
/// whatever failed after it.
pub fn forget_unstarted(folder: &Path) {
    let console = folder.join(CONSOLE);
    if console.metadata().is_ok_and(|meta| meta.len() > 0) {
        return;
    }
    for file in [console, folder.join(KEEP)] {
        let _ = std::fs::remove_file(file);
    }
    let _ = std::fs::remove_dir(folder);
}

/// The numbers of all runs, oldest first.
pub fn numbers(folder: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut all: Vec<u32> = entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    all.sort_unstable();
    all
}

fn prune(folder: &Path, there: &[u32]) {
    for number in &there[..there.len().saturating_sub(KEPT)] {
        let path = folder.join(number.to_string());
        if !path.join(KEEP).exists() {
            // Links in it are removed, not followed.
            let _ = std::fs::remove_dir_all(&path);
        }
    }
}

/// Finds a run by its number, by its guest's name (the newest of that name), or `last`.
///
/// # Errors
/// When there is none, with those that there are.
pub fn find(folder: &Path, wanted: &str) -> Result<(u32, PathBuf), GuestError> {
    let there = numbers(folder);
    let path = |n: u32| (n, folder.join(n.to_string()));
    let with_report = |n: &&u32| path(**n).1.join(REPORT).is_file();
    if wanted == "last"
        && let Some(n) = there.iter().rev().find(with_report)
    {
        return Ok(path(*n));
    }
    if let Ok(number) = wanted.parse::<u32>()
        && there.contains(&number)
    {
        return Ok(path(number));
    }
    if let Some(n) = there.iter().rev().find(|n| report(&path(**n).1).is_ok_and(|r| r.name == wanted)) {
        return Ok(path(*n));
    }
    let have = match (there.first(), there.last()) {
        (Some(first), Some(last)) => format!("the runs here are {first} to {last}"),
        _ => "nothing was booted yet".to_owned(),
    };
    Err(GuestError::refused(
        "no-such-run",
        format!("there is no run {wanted}; {have}"),
        "name one by its number or its guest's name, or say `last`",
    ))
}

/// The report of a run.
///
/// # Errors
/// When the run did not get that far, or it cannot be read.
pub fn report(folder: &Path) -> Result<Report, GuestError> {
    let path = folder.join(REPORT);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(GuestError::refused(
                "no-report",
                format!("{} has no report: the run still goes on, or was killed", folder.display()),
                "read its console.log, or boot it again",
            ));
        }
        Err(e) => return Err(GuestError::file("read", path, e)),
    };
    serde_json::from_slice(&bytes).map_err(|e| GuestError::file("understand", path, e.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_numbered_and_old_ones_go_unless_they_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (first, path) = next(dir.path(), true).unwrap();
        std::fs::write(path.join("console.log"), "x").unwrap();
        for _ in 0..KEPT + 5 {
            next(dir.path(), false).unwrap();
        }
        let there = numbers(dir.path());
        assert_eq!(there.first(), Some(&first));
        assert!(there.len() <= KEPT + 2, "{}", there.len());
        assert!(path.join("console.log").exists());
    }

    #[test]
    fn only_a_run_that_said_nothing_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let (_, silent) = next(dir.path(), true).unwrap();
        std::fs::write(silent.join(CONSOLE), "").unwrap();
        let (_, spoke) = next(dir.path(), false).unwrap();
        std::fs::write(spoke.join(CONSOLE), "Linux version 6.1").unwrap();
        forget_unstarted(&silent);
        forget_unstarted(&spoke);
        assert!(!silent.exists());
        assert_eq!(std::fs::read_to_string(spoke.join(CONSOLE)).unwrap(), "Linux version 6.1");
    }

    #[test]
    fn a_run_that_is_not_there_is_named_with_those_that_are() {
        let dir = tempfile::tempdir().unwrap();
        assert!(find(dir.path(), "last").unwrap_err().to_string().contains("nothing was booted"));
        next(dir.path(), false).unwrap();
        assert_eq!(find(dir.path(), "1").unwrap().0, 1);
        assert!(find(dir.path(), "7").unwrap_err().to_string().contains("1 to 1"));
        assert!(report(&find(dir.path(), "1").unwrap().1).unwrap_err().to_string().contains("no report"));
    }
}
