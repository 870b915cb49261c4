// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;

fn root() -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    (dir, root)
}

#[test]
fn absolute_links_stay_inside_the_root() {
    let (dir, root) = root();
    root.create_dirs("/usr/src/headers", 0o755).unwrap();
    root.create_dirs("/lib/modules/6.1", 0o755).unwrap();
    root.write("/usr/src/headers/Makefile", b"all:\n", 0o644, None).unwrap();
    root.symlink("/usr/src/headers", "/lib/modules/6.1/build").unwrap();
    assert_eq!(root.read_text("/lib/modules/6.1/build/Makefile").unwrap(), "all:\n");
    assert_eq!(root.resolve("/lib/modules/6.1/build").unwrap(), "/usr/src/headers");
    root.symlink("/etc/../../../../../etc/passwd", "/planted").unwrap();
    assert!(!root.exists("/planted"), "a link led out of {}", dir.path().display());
}

#[test]
fn a_link_is_replaced_by_a_write_and_not_followed() {
    let (_dir, root) = root();
    root.write("/precious", b"mine", 0o600, None).unwrap();
    root.symlink("/precious", "/planted").unwrap();
    root.write("/planted", b"new", 0o644, None).unwrap();
    assert_eq!(root.read("/precious").unwrap(), b"mine");
    assert_eq!(root.read("/planted").unwrap(), b"new");
    assert_eq!(root.symlink_metadata("/planted").unwrap().kind, FileKind::File);
}

#[test]
fn a_recorded_state_comes_back_with_mode_and_time() {
    let (_dir, root) = root();
    root.write("/f", b"old", 0o4711, None).unwrap();
    let before = root.state("/f").unwrap();
    root.write("/f", b"new", 0o644, None).unwrap();
    assert!(!root.state("/f").unwrap().same_as(&before));
    let FileState::File { mode, uid, gid, .. } = before.clone() else { unreachable!() };
    root.write_from("/f", &mut &b"old"[..], mode, Some((uid, gid)), Some(&before)).unwrap();
    assert_eq!(root.state("/f").unwrap(), before);
}

#[test]
fn a_staged_write_leaves_only_the_file_and_refuses_a_name_that_is_taken() {
    let (_dir, root) = root();
    root.create_dirs("/d", 0o755).unwrap();
    root.write_staged("/d/f", ".f.new", &mut &b"one"[..], 0o640, None, None).unwrap();
    assert_eq!(root.list("/d").unwrap().len(), 1);
    assert_eq!(root.metadata("/d/f").unwrap().mode, 0o640);
    root.write("/d/.f.new", b"somebody's", 0o644, None).unwrap();
    assert!(root.write_staged("/d/f", ".f.new", &mut &b"two"[..], 0o640, None, None).is_err());
    assert_eq!(root.read("/d/f").unwrap(), b"one");
    assert_eq!(root.read("/d/.f.new").unwrap(), b"somebody's");
}

#[test]
fn only_missing_directories_are_reported_as_created() {
    let (_dir, root) = root();
    assert_eq!(root.create_dirs("/a/b", 0o755).unwrap(), ["/a", "/a/b"]);
    assert_eq!(root.create_dirs("/a/b/c", 0o700).unwrap(), ["/a/b/c"]);
    assert_eq!(root.metadata("/a/b/c").unwrap().mode, 0o700);
    assert!(root.create_dirs("/a/../x", 0o755).is_err());
}

#[test]
fn a_write_over_a_directory_is_refused_and_nothing_is_left_beside() {
    let (_dir, root) = root();
    root.create_dirs("/d/sub", 0o755).unwrap();
    assert!(root.write("/d/sub", b"x", 0o644, None).is_err());
    assert_eq!(root.list("/d").unwrap().len(), 1);
}

#[test]
fn a_file_larger_than_allowed_is_refused() {
    let (_dir, root) = root();
    root.write("/big", &[0; 100], 0o644, None).unwrap();
    assert!(root.read_at_most("/big", 99).unwrap_err().to_string().contains("larger than 99 bytes"));
    assert_eq!(root.read_at_most("/big", 100).unwrap().len(), 100);
}
