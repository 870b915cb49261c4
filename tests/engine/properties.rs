// SPDX-License-Identifier: GPL-3.0-or-later
//! Whatever is written and removed, and wherever it fails: taken back, the tree is as it was.

use crate::scene::{put, remove, run, same, take_back, tree};
use hostwright::engine::steps::WriteFile;
use hostwright::engine::{RunState, Step};
use hostwright::host::Host;
use proptest::prelude::{Just, Strategy, prop_oneof, proptest};
use proptest::{collection::vec, test_runner::Config};
use std::os::unix::fs::PermissionsExt;

/// A few paths, so that steps meet: files, folders, one inside the other.
fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("/a"),
        Just("/b"),
        Just("/d/a"),
        Just("/d/e/f"),
        Just("/d/e"),
        Just("/link"),
        Just("/link/x"),
        Just("/l2/y"),
        Just("/d/e/f/g"),
    ]
    .prop_map(str::to_owned)
}

#[derive(Debug, Clone)]
enum Thing {
    File(String, u32),
    Link(String),
    Folder,
}

fn thing() -> impl Strategy<Value = Thing> {
    prop_oneof![
        ("[a-z]{0,9}", prop_oneof![Just(0o600), Just(0o644), Just(0o4711)])
            .prop_map(|(content, mode)| Thing::File(content, mode)),
        prop_oneof![Just("a"), Just("/d"), Just("nowhere"), Just("../..")]
            .prop_map(|t| Thing::Link(t.into())),
        Just(Thing::Folder),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (path(), "[a-z]{0,9}", prop_oneof![Just(0o600), Just(0o644), Just(0o755)]).prop_map(
            |(path, content, mode)| Step::WriteFile(WriteFile { path, content, mode, reason: String::new() })
        ),
        1 => path().prop_map(|p| remove(&p)),
    ]
}

/// Makes a small tree; what does not fit is left out.
fn plant(dir: &std::path::Path, things: &[(String, Thing)]) {
    for (path, thing) in things {
        let at = dir.join(&path[1..]);
        let Some(parent) = at.parent() else { continue };
        // Never through a link, which may lead out of the scratch folder.
        let through_link = parent
            .ancestors()
            .take_while(|p| p.starts_with(dir))
            .any(|p| p.symlink_metadata().is_ok_and(|m| m.is_symlink()));
        if through_link || std::fs::create_dir_all(parent).is_err() || at.symlink_metadata().is_ok() {
            continue;
        }
        match thing {
            Thing::File(content, mode) => {
                put(dir, path, content);
                std::fs::set_permissions(&at, PermissionsExt::from_mode(*mode)).unwrap();
            }
            Thing::Link(target) => std::os::unix::fs::symlink(target, &at).unwrap(),
            Thing::Folder => std::fs::create_dir(&at).unwrap(),
        }
    }
}

proptest! {
    #![proptest_config(Config { cases: 96, failure_persistence: None, ..Config::default() })]

    #[test]
    fn any_writes_and_removals_leave_no_trace_once_taken_back(
        things in vec((path(), thing()), 0..6),
        steps in vec(step(), 1..9),
    ) {
        let dir = tempfile::tempdir().unwrap();
        plant(dir.path(), &things);
        let host = Host::scratch(dir.path()).unwrap();
        let before = tree(&host);
        let report = run(&host, steps).0.unwrap();
        match report.state {
            RunState::RolledBack => {}
            RunState::Done => match take_back(&host, report.run) {
                Ok(undone) => assert_eq!(undone.state, RunState::Undone, "{undone:?}"),
                // Nothing had to be changed.
                Err(e) => assert!(e.to_string().contains("nothing to take back"), "{e}"),
            },
            other => panic!("{other:?}: {report:?}"),
        }
        same(&tree(&host), &before);
    }

    #[test]
    fn two_runs_taken_back_in_order_leave_no_trace(
        things in vec((path(), thing()), 0..6),
        first in vec(step(), 1..5),
        second in vec(step(), 1..5),
    ) {
        let dir = tempfile::tempdir().unwrap();
        plant(dir.path(), &things);
        let host = Host::scratch(dir.path()).unwrap();
        let before = tree(&host);
        for steps in [first, second] {
            run(&host, steps).0.unwrap();
        }
        for run in [2, 1] {
            if let Err(e) = take_back(&host, run) {
                assert!(e.to_string().contains("nothing to take back"), "{e}");
            }
        }
        same(&tree(&host), &before);
    }
}
