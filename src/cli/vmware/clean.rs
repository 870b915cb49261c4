// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright vmware clean`: removes what can be made anew. What undo needs is never touched.

use crate::cli::confirm;
use crate::cli::errors::{Exit, Problem};
use crate::cli::look::{bytes, count, pad};
use crate::cli::session::Session;
use crate::host::{FileKind, HostError, Lock, LockError, Root};
use clap::Args;
use serde::Serialize;

/// Remove build artefacts and caches, and say how much that was
///
/// Everything that is removed can be made anew. The records of runs stay, so that they can still be
/// taken back.
#[derive(Debug, Args)]
pub(crate) struct Clean {
    /// Remove the logs of builds too (asks first)
    #[arg(long)]
    logs: bool,
    /// Only say how much it would be; exit status 10 when there is something
    #[arg(long)]
    check: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Folders whose content can be made anew.
const CACHES: [(&str, &str); 3] = [
    ("/var/cache/hostwright/probes", "answers of kernels"),
    ("/var/cache/hostwright/builds", "built modules"),
    ("/var/cache/hostwright/lab", "unpacked kernels"),
];

/// Where the logs of builds are.
pub(super) const LOGS: &str = "/var/lib/hostwright/logs";

/// What was found or removed in a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Found {
    folder: &'static str,
    what: &'static str,
    files: usize,
    bytes: u64,
}

/// Runs `vmware clean`.
pub(super) fn run(session: &mut Session, args: &Clean) -> Result<Exit, Problem> {
    if args.logs && !args.check {
        confirm::need_consent(args.yes, session.json(), "removed")?;
    }
    let host = session.host()?;
    let root = host.root();
    let mut folders = CACHES.to_vec();
    if args.logs {
        folders.push((LOGS, "logs of builds"));
    }
    let found =
        folders.iter().map(|(f, w)| measure(root, f, w)).collect::<Result<Vec<_>, _>>().map_err(denied)?;
    let all: u64 = found.iter().map(|f| f.bytes).sum();
    let files: usize = found.iter().map(|f| f.files).sum();
    if args.check || files == 0 {
        say(session, &found, false)?;
        return Ok(if files == 0 { Exit::Done } else { Exit::WouldChange });
    }
    if args.logs && !args.yes {
        say(session, &found, false)?;
        if !confirm::ask(&session.voice, &format!("Remove all of it, {}?", bytes(all)))? {
            return Err(Problem::cancelled());
        }
    }
    // A run that builds right now reads and writes there.
    let _lock = Lock::take(root, crate::engine::LOCK, "hostwright vmware clean").map_err(|e| match e {
        LockError::Held { .. } => Problem::from(crate::engine::RunError::from(e)),
        LockError::Host(e) => denied(e),
        LockError::Io(_) => Problem::from(crate::engine::RunError::from(e)),
    })?;
    for (folder, _) in &folders {
        if root.exists(folder) {
            empty(root, folder).map_err(denied)?;
        }
    }
    say(session, &found, true)?;
    Ok(Exit::Done)
}

/// These folders are root's.
fn denied(error: HostError) -> Problem {
    let problem = Problem::from(error);
    if problem.exit == Exit::NotAuthorized {
        problem.remedy("The caches belong to root: run the same command as root.")
    } else {
        problem
    }
}

fn say(session: &mut Session, found: &[Found], removed: bool) -> Result<(), Problem> {
    if session.json() {
        return session.screen.document(&serde_json::json!({ "removed": removed, "folders": found }));
    }
    let files: usize = found.iter().map(|f| f.files).sum();
    let total: u64 = found.iter().map(|f| f.bytes).sum();
    if files == 0 {
        session.screen.print("There is nothing to remove.\n");
        return Ok(());
    }
    let column = found.iter().map(|f| f.what.len()).max().unwrap_or(0) + 2;
    let mut text = String::new();
    for f in found {
        text.push_str(&format!("  {}{:>10}  {}\n", pad(f.what, column), bytes(f.bytes), f.folder));
    }
    let verb = if removed { "Removed" } else { "That is" };
    text.push_str(&format!("{verb} {}, {}.\n", count(files, "file", "files"), bytes(total)));
    session.screen.print(&text);
    Ok(())
}

fn measure(root: &Root, folder: &'static str, what: &'static str) -> Result<Found, HostError> {
    let mut found = Found { folder, what, files: 0, bytes: 0 };
    if root.exists(folder) {
        walk(root, folder, &mut |path, kind| {
            if kind != FileKind::Directory {
                found.files += 1;
                found.bytes += root.symlink_metadata(path)?.size;
            }
            Ok(())
        })?;
    }
    Ok(found)
}

/// Removes all that is in a folder; the folder itself stays.
fn empty(root: &Root, folder: &str) -> Result<(), HostError> {
    walk(root, folder, &mut |path, kind| match kind {
        FileKind::Directory => root.remove_dir(path),
        _ => root.remove_file(path),
    })
}

/// Every entry below a folder, what is in a folder before the folder itself. Links are not followed.
fn walk(
    root: &Root,
    folder: &str,
    each: &mut dyn FnMut(&str, FileKind) -> Result<(), HostError>,
) -> Result<(), HostError> {
    for entry in root.list(folder)? {
        let path = format!("{folder}/{}", entry.name);
        if entry.kind == FileKind::Directory {
            walk(root, &path, each)?;
        }
        each(&path, entry.kind)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_empties_caches_and_leaves_what_a_link_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let folder = CACHES[0].0;
        root.create_dirs(&format!("{folder}/a/b"), 0o755).unwrap();
        root.write(&format!("{folder}/a/b/x"), b"12345", 0o644, None).unwrap();
        root.create_dirs("/precious", 0o755).unwrap();
        root.write("/precious/mine", b"mine", 0o644, None).unwrap();
        root.symlink("/precious", &format!("{folder}/link")).unwrap();
        let found = measure(&root, folder, "x").unwrap();
        assert_eq!(found.files, 2);
        empty(&root, folder).unwrap();
        assert!(root.list(folder).unwrap().is_empty());
        assert_eq!(root.read("/precious/mine").unwrap(), b"mine");
    }
}
