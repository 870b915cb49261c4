// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;

fn marker() -> Marker {
    Marker { schema: 1, uid: 1000, pid: 7, started: 9, boot_id: "b".into(), image: "demo".into() }
}

fn found(path: &str, whose: Whose, points: &[&str]) -> Found {
    let text: String = points
        .iter()
        .enumerate()
        .map(|(i, p)| format!("{i} 1 0:5 / {} rw - tmpfs t rw\n", p.replace(' ', "\\040")))
        .collect();
    let mounts = mounts_in(&mountinfo::parse(text.as_bytes()), Path::new(path));
    Found { path: path.into(), whose, mounts, devices: Vec::new(), elsewhere: Vec::new() }
}

fn points(actions: &[Action]) -> Vec<String> {
    actions
        .iter()
        .filter_map(|a| match a {
            Action::Unmount { point } => Some(point.display().to_string()),
            _ => None,
        })
        .collect()
}

#[test]
fn mounts_go_deepest_first_and_the_topmost_of_one_place_first() {
    let all = ["/w/a b/root", "/w/a b/root/dev", "/w/a b/root/dev/pts", "/w/a b/root/dev", "/w/a bc", "/dev"];
    let left = Left { folders: vec![found("/w/a b", Whose::Left(marker()), &all)], ..Left::default() };
    let (actions, kept) = plan(&left, EjectOptions::default());
    assert_eq!(
        points(&actions),
        ["/w/a b/root/dev/pts", "/w/a b/root/dev", "/w/a b/root/dev", "/w/a b/root"]
    );
    assert_eq!(actions.last(), Some(&Action::Remove { folder: "/w/a b".into() }));
    assert!(kept.is_empty());
}

#[test]
fn devices_go_after_mounts_and_before_the_folder() {
    let mut of_build = found("/w/x", Whose::Left(marker()), &["/w/x/root"]);
    of_build.devices = vec![
        Device {
            name: "dm-0".into(),
            number: "254:0".into(),
            kind: DeviceKind::Mapper { mapping: "crypt".into(), on: vec!["loop1".into()] },
        },
        Device {
            name: "loop1".into(),
            number: "7:1".into(),
            kind: DeviceKind::Loop { file: "/w/x/root.img".into() },
        },
    ];
    let left = Left { folders: vec![of_build.clone()], ..Left::default() };
    let (actions, _) = plan(&left, EjectOptions::default());
    assert_eq!(
        actions,
        [
            Action::Unmount { point: "/w/x/root".into() },
            Action::Unmap { mapping: "crypt".into() },
            Action::Detach { device: "/dev/loop1".into() },
            Action::Remove { folder: "/w/x".into() },
        ]
    );
    // Somebody mounted the image elsewhere: all of it stays.
    of_build.elsewhere = vec!["/mnt".into()];
    let left = Left { folders: vec![of_build], ..Left::default() };
    let (actions, kept) = plan(&left, EjectOptions::default());
    assert!(actions.is_empty());
    assert!(kept[0].reason.contains("/mnt") && !kept[0].expected);
}

#[test]
fn what_is_in_use_or_none_of_ours_stays_with_its_mounts() {
    let left = Left {
        folders: vec![
            found("/w/a", Whose::InUse { pid: 42 }, &["/w/a/dev"]),
            found("/w/b", Whose::Unmarked, &["/w/b/dev"]),
            found("/w/c", Whose::Foreign { uid: 1001 }, &["/w/c/dev"]),
        ],
        caches: vec!["/c/bases".into()],
        ..Left::default()
    };
    let (actions, kept) = plan(&left, EjectOptions { all: true, lazy: true });
    assert!(actions.is_empty(), "{actions:?}");
    let said: Vec<&str> = kept.iter().map(|k| k.reason.split([';', ',']).next().unwrap()).collect();
    assert_eq!(
        said,
        [
            "a build is under way there (process 42)",
            "it has no marker",
            "it belongs to user 1001",
            "a build that is under way may need it"
        ]
    );
}

#[test]
fn caches_go_only_when_asked_and_never_with_something_mounted_in_them() {
    let mount = mountinfo::parse(b"1 0 0:1 / /c/bases/x rw - tmpfs t rw\n");
    let left = Left {
        caches: vec!["/c/bases".into(), "/c/images".into()],
        cache_mounts: mount,
        locks: vec!["/c/locks/demo".into()],
        ..Left::default()
    };
    let unlock = Action::Unlock { file: "/c/locks/demo".into() };
    assert_eq!(plan(&left, EjectOptions::default()).0, std::slice::from_ref(&unlock));
    let (actions, kept) = plan(&left, EjectOptions { all: true, lazy: false });
    assert_eq!(actions, [unlock, Action::Drop { folder: "/c/images".into() }]);
    assert_eq!(kept[0].path, Path::new("/c/bases"));
}

#[test]
fn on_a_real_disk_left_folders_go_and_the_rest_stays() {
    let dir = tempfile::tempdir().unwrap();
    let all = Folders { cache: dir.path().join("c"), logs: dir.path().join("l") };
    let host = Host::machine().unwrap();
    let uid = nix::unistd::geteuid().as_raw();
    let left = all.work().join("left");
    std::fs::create_dir_all(left.join("root/etc")).unwrap();
    std::fs::write(left.join(MARKER), serde_json::to_vec(&Marker { uid, ..marker() }).unwrap()).unwrap();
    let unmarked = all.work().join("mine");
    std::fs::create_dir_all(&unmarked).unwrap();
    std::fs::write(unmarked.join("thesis"), "x").unwrap();
    let empty = all.work().join("begun");
    std::fs::create_dir_all(&empty).unwrap();
    let in_use = work::LabFolder::create(&host, &all, "demo").unwrap();
    std::fs::create_dir_all(all.bases().join("k")).unwrap();
    std::fs::create_dir_all(all.locks()).unwrap();
    std::fs::write(all.locks().join("demo"), "x").unwrap();
    let held = std::fs::File::create(all.locks().join("held")).unwrap();
    rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();

    let done = eject(&host, &all, EjectOptions::default(), &Cancel::new()).unwrap();
    assert!(!left.exists() && !empty.exists() && !all.locks().join("demo").exists());
    assert!(unmarked.join("thesis").exists() && in_use.path().exists() && all.locks().join("held").exists());
    assert!(all.bases().exists());
    assert_eq!(done.kept.len(), 2, "{:?}", done.kept);
    drop(in_use);
    eject(&host, &all, EjectOptions { all: true, lazy: false }, &Cancel::new()).unwrap();
    assert!(!all.bases().exists() && unmarked.join("thesis").exists());
}

#[test]
fn only_work_folders_are_emptied_from_inside_a_namespace() {
    let host = Host::machine().unwrap();
    for path in ["/home/me/documents", "work/x", "/"] {
        assert!(remove_inside(&host, Path::new(path)).is_err(), "{path}");
    }
}
