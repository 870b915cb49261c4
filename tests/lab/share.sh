#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Directories shared with guests by 9p and by virtiofs: both are readable in the same way, and neither is written to.
#
#   share.sh
#
# VIRTIOFSD   a virtiofsd of 1.11 or newer (default: the one in PATH or in ~/.cargo/bin; without, that half is not run)
# TARGET      where cargo put the programs (default: target/debug)
set -euo pipefail
cd "$(dirname "$0")/../.."
hostwright=$(readlink -f "${TARGET:-target/debug}/hostwright")
virtiofsd=${VIRTIOFSD:-$(PATH=$PATH:$HOME/.cargo/bin command -v virtiofsd || true)}
kernel=$(find /boot -name 'vmlinuz-*' -printf '%f\n' | sed 's/^vmlinuz-//' | sort -V | tail -n1)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/hostwright share, test.XXXXXX")
trap 'rm -rf --one-file-system "$scratch"' EXIT
export XDG_STATE_HOME=$scratch/state

fail() {
  echo "share: FAILED: $*" >&2
  exit 1
}

# A tree of a shell and what it needs, and files to find.
tree="$scratch/a tree, = 1"
mkdir -p "$tree"/{bin,proc,sys,dev,tmp,run,data}
cp /bin/busybox "$tree/bin/busybox" 2>/dev/null || fail "busybox is missing; run \`scripts/deps.sh lab\`"
for name in sh cat find sort sha256sum touch ls; do ln -s busybox "$tree/bin/$name"; done
for ((n = 0; n < 300; n++)); do echo "$n $RANDOM" >"$tree/data/file $n, x"; done
ln -s "file 7, x" "$tree/data/link"
expected=$(cd "$tree/data" && find . -type f | LC_ALL=C sort | while read -r f; do sha256sum "$f"; done)

# share WAY: the same with each way.
share() {
  local way=$1 name=$2 said
  boot() { "$hostwright" lab boot --kernel "$kernel" --share "$way" --timeout 5m "$@"; }
  # shellcheck disable=SC2016 # the guest's shell, not this one
  said=$(boot --root "$tree" -- sh -c 'cd /data && find . -type f | LC_ALL=C sort | while read -r f; do sha256sum "$f"; done') ||
    fail "$name: the tree could not be read"
  [[ $said == "$expected" ]] || fail "$name: the guest reads other files than there are"
  boot --root "$tree" -- sh -c 'touch /data/new && cat /data/new /data/link' >/dev/null || fail "$name: the guest cannot write"
  [[ ! -e $tree/data/new ]] || fail "$name: the tree was written to"
  boot --root "$tree" --writable -- touch /data/wanted || fail "$name: --writable does not work"
  [[ -e $tree/data/wanted ]] || fail "$name: what was written with --writable is not there"
  rm "$tree/data/wanted"
  said=$(boot --cwd / -- cat /etc/os-release) || fail "$name: this machine's files cannot be the root"
  [[ $said == "$(cat /etc/os-release)" ]] || fail "$name: the guest reads another /etc/os-release"
  if [[ $name == virtiofs ]]; then
    # shellcheck disable=SC2016 # the guest's shell, not this one
    boot --cwd / -- sh -c 'ls -d /sys/bus/virtio/drivers/virtiofs/virtio*' >/dev/null || fail "the root did not come by virtiofs"
  fi
  if [[ $(readlink -f /sbin/init) == */systemd ]]; then
    local began=$SECONDS
    boot --init /sbin/init --until '^multi-user$' -m 1G >/dev/null 2>"$scratch/said" || {
      tail -n 20 "$scratch/said" >&2
      fail "$name: this machine's systemd does not reach multi-user.target in a guest"
    }
    echo "share: $name: this machine's own systemd reached multi-user.target in $((SECONDS - began)) s"
  else
    echo "share: NOT RUN: this machine's own init; it is no systemd"
  fi
  echo "share: $name: read, written in memory, written with --writable"
}

share 9p 9p
if [[ -n $virtiofsd ]]; then
  share "$virtiofsd" virtiofs
else
  echo "share: NOT RUN: virtiofs; \`cargo install virtiofsd\` (with libcap-ng-dev and libseccomp-dev) builds a virtiofsd"
fi
echo "share: passed"
