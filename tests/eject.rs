// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright lab eject` against real mounts, in a mount namespace of the test's own: nothing that is mounted
//! here is seen by the machine, and what is mounted there is this machine's.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test that cannot set itself up must fail"
)]

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Begins every script: proves that it is in a namespace of its own, from which no mount gets out, and makes a
/// work folder as a build leaves it that was ended with SIGKILL.
const BEGIN: &str = r#"
set -euo pipefail
[ "$(readlink /proc/self/ns/mnt)" != "$OUTER" ] || { echo "not in a namespace of its own"; exit 70; }
if grep -q ' shared:' /proc/self/mountinfo; then echo "mounts would get out"; exit 71; fi
export XDG_CACHE_HOME="$DIR/a cache" XDG_STATE_HOME="$DIR/state" HOME="$DIR"
work="$XDG_CACHE_HOME/hostwright/lab/work"
left="$work/.tmpLEFT"
mkdir -p "$left/root/dev" "$left/root/etc"
chmod 700 "$left"
printf '{"schema":1,"uid":%s,"pid":1,"started":1,"boot_id":"another boot","image":"demo"}' "$(id -u)" > "$left/.hostwright-lab"
echo file > "$left/root/etc/passwd"
mkdir -p "$DIR/precious/sub"
echo mine > "$DIR/precious/file"
echo mine > "$DIR/precious/sub/file"
survived() { [ "$(cat "$DIR/precious/file" "$DIR/precious/sub/file")" = "$(printf 'mine\nmine')" ]; }
"#;

/// Runs a script as root of a mount namespace of its own, with private propagation.
fn in_namespace(dir: &Path, script: &str) -> Output {
    let mut command = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args(["--mount", "--propagation", "private", "--", "bash", "-c", &format!("{BEGIN}{script}")])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LANG", "C.UTF-8")
        .env("DIR", dir)
        .env("HW", env!("CARGO_BIN_EXE_hostwright"))
        .env("OUTER", std::fs::read_link("/proc/self/ns/mnt").unwrap())
        .stdin(Stdio::null());
    command.output().unwrap()
}

fn passes(dir: &Path, script: &str) {
    let out = in_namespace(dir, script);
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    assert!(out.status.success(), "{}\n{}\n{}", out.status, text(&out.stdout), text(&out.stderr));
}

#[test]
fn what_is_mounted_into_a_half_built_root_survives() {
    let dir = tempfile::tempdir().unwrap();
    passes(
        dir.path(),
        r#"
mount --bind "$DIR/precious" "$left/root/dev"
mount -t tmpfs none "$left/root/dev/sub"
mount --bind "$DIR/precious/file" "$left/root/etc/passwd"
echo gone > "$left/root/dev/sub/x"
set +e; "$HW" lab eject --check > "$DIR/would"; [ $? = 10 ] || exit 1; set -e
[ -e "$left/root/dev/sub/x" ]
"$HW" lab eject
[ ! -e "$left" ]
if grep -qF "$DIR" /proc/self/mountinfo; then exit 2; fi
survived
"#,
    );
}

#[test]
fn the_devices_of_this_machine_survive() {
    let dir = tempfile::tempdir().unwrap();
    passes(
        dir.path(),
        r#"
# The stand-in first: only when that holds the real one is put at stake.
mount --bind "$DIR/precious" "$left/root/dev"
"$HW" lab eject
survived
[ ! -e "$left" ]

mkdir -p "$left/root/dev"
printf '{"schema":1,"uid":%s,"pid":1,"started":1,"boot_id":"another boot","image":"demo"}' "$(id -u)" > "$left/.hostwright-lab"
find /dev -xdev | sort > "$DIR/before"
[ "$(wc -l < "$DIR/before")" -gt 5 ]
mount --rbind /dev "$left/root/dev"
[ -c "$left/root/dev/null" ]
status=0; "$HW" lab eject || status=$?
find /dev -xdev | sort > "$DIR/after"
cmp "$DIR/before" "$DIR/after"
[ -c /dev/null ]
echo x > /dev/null
# Only root of the machine may take such mounts apart; anybody else is refused, and nothing is removed.
if [ "$status" = 0 ]; then [ ! -e "$left" ]; else [ -c "$left/root/dev/null" ]; fi
[ "$status" = 0 ] || [ "$(cat /proc/self/uid_map | wc -l)" != 1 ] || ! grep -q '^ *0 *0 *4294967295' /proc/self/uid_map
"#,
    );
}

#[test]
fn a_mount_in_use_stops_it_and_lazily_it_goes_without_what_is_behind() {
    let dir = tempfile::tempdir().unwrap();
    passes(
        dir.path(),
        r#"
mount --bind "$DIR/precious" "$left/root/dev"
( cd "$left/root/dev" && exec sleep 60 ) &
user=$!
trap 'kill $user' EXIT
until [ "$(readlink /proc/$user/cwd)" = "$left/root/dev" ]; do sleep 0.05; done
set +e; "$HW" lab eject > "$DIR/said" 2>&1; status=$?; set -e
[ "$status" = 1 ]
grep -q -- --lazy "$DIR/said"
[ -e "$left/root/etc/passwd" ]
[ -e "$left/root/dev/file" ]
"$HW" lab eject --lazy
[ ! -e "$left" ]
survived
[ "$(cat /proc/$user/cwd/file)" = mine ]
"#,
    );
}

#[test]
fn a_folder_without_marker_and_a_mount_outside_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    passes(
        dir.path(),
        r#"
mkdir -p "$work/mine/dev" "$work-other/dev" "$DIR/precious/dev"
echo thesis > "$work/mine/file"
mount --bind "$DIR/precious" "$work/mine/dev"
mount --bind "$DIR/precious" "$work-other/dev"
set +e; "$HW" lab eject > "$DIR/said" 2>&1; status=$?; set -e
[ "$status" = 1 ]
grep -q 'no marker' "$DIR/said"
[ ! -e "$left" ]
mountpoint -q "$work/mine/dev"
mountpoint -q "$work-other/dev"
# Nothing of a cache goes while something is mounted in it.
mkdir -p "$XDG_CACHE_HOME/hostwright/lab/bases/x"
mount --bind "$DIR/precious" "$XDG_CACHE_HOME/hostwright/lab/bases/x"
set +e; "$HW" lab eject --all > "$DIR/said" 2>&1; set -e
grep -q 'bases.* stays' <(tr '\n' ' ' < "$DIR/said")
survived
"#,
    );
}

#[test]
fn a_link_to_elsewhere_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    passes(
        dir.path(),
        r#"
ln -s "$DIR/precious" "$left/root/link"
ln -s "$DIR/precious" "$work/link"
set +e; "$HW" lab eject > "$DIR/said" 2>&1; set -e
[ ! -e "$left" ]
survived
"#,
    );
}
