#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The assistant with Debian 13's GTK and libadwaita, which are newer than the ones it is written for: built in a root of
# that release, and shown there on the practice host, with the helper and polkit of that release; a picture of each page.
#
#   tests/ui/debian-13.sh [FOLDER]     the pictures go there (default: target/debian-13)
#
# Needs root and mmdebstrap, and kernel headers on this machine: the modules are built for its kernel. The root (1 GB)
# and what cargo builds there are kept in HOSTWRIGHT_CACHE (default: ~/.cache/hostwright). The first time it takes as
# long as a whole debug build.
set -euo pipefail
umask 022

here=$(cd "$(dirname "$0")" && pwd -P)
project=$(cd "$here/../.." && pwd -P)
cache=${HOSTWRIGHT_CACHE:-$HOME/.cache/hostwright}/debian-13
shots=${1:-$project/target/debian-13}
root=$cache/root

if [[ ${DEBIAN_13_INSIDE:-} != "$$" ]]; then
  [[ $(id -u) -eq 0 ]] || { echo "debian-13: only root can make the root" >&2 && exit 1; }
  mkdir -p "$cache/target" "$shots"
  if [[ ! -e $root ]]; then
    rm -rf --one-file-system "$root.new"
    mmdebstrap --variant=minbase \
      --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
      --include=gcc,libc6-dev,make,pkg-config,libgtk-4-dev,libadwaita-1-dev,gettext,adwaita-icon-theme,librsvg2-common,fonts-cantarell \
      --include=xvfb,openbox,xdotool,imagemagick,at-spi2-core,gir1.2-atspi-2.0,python3-gi,dbus,dbus-daemon,util-linux \
      --include=polkitd,kmod,bubblewrap,openssl,xz-utils,zstd,passwd,procps \
      trixie "$root.new" >"$cache/root.log" 2>&1 ||
      { tail -n 20 "$cache/root.log" >&2 && exit 1; }
    mv "$root.new" "$root"
  fi
  cargo fetch --quiet --manifest-path "$project/Cargo.toml"
  # Mounts end with the namespace. (The first process in it has the number 1.)
  # shellcheck disable=SC2016 # "$@" is for the inner shell
  exec env DEBIAN_13_INSIDE=1 setpriv --pdeathsig KILL \
    unshare --mount --pid --fork --mount-proc --kill-child -- "$(readlink -f "$0")" "$shots"
fi
unset DEBIAN_13_INSIDE

bind() {
  mkdir -p "$root$2"
  mount --rbind "$1" "$root$2"
}
# What is inside wants a root of file systems, and that is a mount.
mount --bind "$root" "$root"
bind /dev /dev
bind /proc /proc
bind /sys /sys
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs tmpfs "$root/run"
# This machine's kernels, and Rust.
for folder in /usr/lib/modules /usr/src /boot; do bind "$folder" "$folder"; done
for headers in /usr/lib/linux-kbuild-*; do [[ ! -e $headers ]] || bind "$headers" "$headers"; done
bind "$(rustc --print sysroot)" /opt/rust
bind "${CARGO_HOME:-$HOME/.cargo}" /opt/cargo
bind "$cache/target" /opt/target
bind "$project" "$project"
bind "$shots" "$shots"
inside() {
  chroot "$root" /usr/bin/env -i PATH=/opt/rust/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    CARGO_HOME=/opt/cargo CARGO_TARGET_DIR=/opt/target PROFILE=dev SHOTS="$shots" \
    /bin/sh -c "cd '$project' && $1"
}
inside 'cargo build --offline --bins'
inside 'pkg-config --print-errors --modversion gtk4 libadwaita-1 | paste -sd" "'
# An icon that a release has dropped is a broken picture.
while read -r icon; do
  [[ -n $(find "$root/usr/share/icons/Adwaita" "$project/resources/icons" -name "$icon.svg" -print -quit) ]] ||
    { echo "debian-13: there is no icon $icon" >&2 && exit 1; }
done < <(cd "$project" && grep -rhoE '[a-z]+(-[a-z]+)*-symbolic' src/ui resources --include=*.rs --include=*.ui | sort -u)
for look in "light --size 920x760" "dark --size 920x760 --dark" "narrow --size 360x720"; do
  # shellcheck disable=SC2086 # options, word by word
  set -- $look
  inside "tests/ui/desk.sh ${look#* } /usr/bin/python3 tests/ui/screenshots.py $1 all"
done
echo "debian-13: passed; $(find "$shots" -name '*.png' | wc -l) pictures in $shots"
