#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A guest in a window of each kind, on a screen of its own (Xvfb): the window is there, and it is not empty.
#
#   window.sh [FOLDER]   pictures of the screen are left in FOLDER
#
# TARGET says where cargo put the programs (default: target/debug).
set -euo pipefail
cd "$(dirname "$0")/../.."
hostwright=$(readlink -f "${TARGET:-target/debug}/hostwright")

fail() {
  echo "window: FAILED: $*" >&2
  exit 1
}

if [[ ${1:-} == --on-screen ]]; then
  kind=$2 pictures=$3
  # shellcheck disable=SC2016 # the guest's shell, not this one
  "$hostwright" lab boot --kernel "$kernel" --root host --display "$kind" --name "window-$kind" --cwd / --timeout 5m \
    -- sh -c 'for n in $(seq 20); do printf "%70s\n" | tr " " "#"; done >/dev/tty0; sleep 1000' &
  guest=$!
  window=
  for ((i = 0; i < 300; i++)); do
    window=$(xdotool search --name "QEMU.*window-$kind" 2>/dev/null | tail -n1 || true)
    [[ -z $window ]] || break
    kill -0 $guest 2>/dev/null || fail "the guest with the window ($kind) ended"
    sleep 0.2
  done
  [[ -n $window ]] || fail "no window ($kind) in a minute"
  # The guest's text, a screen full of it: light dots, below where a window has its menu.
  dots=0
  for ((i = 0; i < 90; i++)); do
    import -window root "$pictures/$kind.png"
    dots=$(convert "$pictures/$kind.png" -crop 900x500+0+26 +repage -colorspace gray -threshold 40% -format '%[fx:int(w*h*mean)]' info:)
    [[ $dots -lt 10000 || $dots -gt 150000 ]] || break
    sleep 1
  done
  [[ $dots -ge 10000 && $dots -le 150000 ]] || fail "the window ($kind) shows nothing: $dots light dots"
  "$hostwright" lab stop "window-$kind"
  wait $guest || true
  echo "window: $kind shows the guest ($dots light dots on the screen)"
  exit
fi

for tool in xvfb-run xdotool import identify; do
  command -v "$tool" >/dev/null || fail "$tool is missing; run \`make deps\`"
done
kernel=$(find /boot -name 'vmlinuz-*' -printf '%f\n' | sed 's/^vmlinuz-//' | sort -V | tail -n1)
export kernel
scratch=$(mktemp -d "${TMPDIR:-/tmp}/hostwright-window.XXXXXX")
trap 'rm -rf --one-file-system "$scratch"' EXIT
export XDG_STATE_HOME=$scratch XDG_RUNTIME_DIR=$scratch
pictures=${1:-$scratch}
mkdir -p "$pictures"
there=0
for kind in gtk sdl; do
  [[ -n $(find /usr/lib -path "*/qemu/ui-$kind.so" -print -quit) ]] || {
    echo "window: NOT RUN: $kind; install qemu-system-gui"
    continue
  }
  xvfb-run -a -s "-screen 0 1280x900x24" dbus-run-session -- "$(readlink -f "$0")" --on-screen "$kind" "$pictures"
  there=$((there + 1))
done
echo "window: passed for $there kinds of window"
