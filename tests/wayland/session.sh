#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The launchers in a real Wayland session: weston without a display, with XWayland. A stand-in for VMware's program opens
# a window with GTK and tells which display it came to: before the fix Wayland, after it X11, after its removal Wayland
# again.
#
#   session.sh
#
# PROFILE says which build of Hostwright is used (default: release). Needs weston, xwayland and python3-gi.
set -euo pipefail
project=$(cd "$(dirname "$0")/../.." && pwd -P)
target=${CARGO_TARGET_DIR:-$project/target}
case ${PROFILE:-release} in dev) target+=/debug ;; *) target+=/${PROFILE:-release} ;; esac

fail() {
  echo "wayland session: $*" >&2
  cat "$work/weston.log" >&2 2>/dev/null || true
  exit 1
}
work=$(mktemp -d)
weston=
cleanup() {
  [[ -z $weston ]] || kill "$weston" 2>/dev/null || true
  [[ -z $weston ]] || wait "$weston" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
for tool in weston Xwayland python3; do command -v "$tool" >/dev/null || fail "$tool is missing"; done

# A tree with the launchers: a script as Workstation has it, and a program as some packages have.
root=$work/root
mkdir -p "$root/usr/bin" "$root/etc/vmware" "$root/usr/lib/vmware/bin"
echo "bindir = \"/usr/bin\"" >"$root/etc/vmware/config"
cat >"$work/window.py" <<'END'
import sys, gi
gi.require_version("Gtk", "4.0")
from gi.repository import Gtk, Gdk
if not Gtk.init_check():
    sys.exit("no display")
print(type(Gdk.Display.get_default()).__name__, sys.argv[1:], flush=True)
END
cat >"$root/usr/bin/vmware" <<END
#!/usr/bin/env bash
set -e
exec /usr/bin/python3 "$work/window.py" "\$@"
END
cat >"$work/program.c" <<END
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv) {
  printf("as %s: ", argv[0]);
  fflush(stdout);
  execl("/usr/bin/python3", "python3", "$work/window.py", argc > 1 ? argv[1] : NULL, NULL);
  return 127;
}
END
cc -o "$root/usr/bin/vmplayer" "$work/program.c"
chmod 755 "$root/usr/bin/"*
(cd "$root" && find usr etc -type f -exec sha256sum {} + | sort) >"$work/before"

export XDG_RUNTIME_DIR=$work/runtime
install -d -m 700 "$XDG_RUNTIME_DIR"
unset DISPLAY
export XDG_SESSION_TYPE=wayland WAYLAND_DISPLAY=wayland-test GSK_RENDERER=cairo HOME=$work
# X servers put their sockets there; on a machine that never had a display it is missing.
[[ -d /tmp/.X11-unix ]] || install -d -m 1777 /tmp/.X11-unix
weston --backend=headless-backend.so --xwayland --socket="$WAYLAND_DISPLAY" --idle-time=0 --no-config >"$work/weston.log" 2>&1 &
weston=$!
for _ in $(seq 100); do
  [[ -S $XDG_RUNTIME_DIR/$WAYLAND_DISPLAY ]] && grep -q 'xserver listening on display' "$work/weston.log" && break
  kill -0 "$weston" 2>/dev/null || fail "weston ended"
  sleep 0.1
done
DISPLAY=$(sed -n 's/.*xserver listening on display \(:[0-9]*\).*/\1/p' "$work/weston.log" | head -n1)
[[ -n $DISPLAY ]] || fail "weston started no XWayland"
export DISPLAY

start() {
  local name=$1
  shift
  timeout 60 "$root/usr/bin/$name" "$@" 2>&1
}
expect() {
  local name=$1 backend=$2 said
  said=$(start "$name" --version) || fail "$name failed: $said"
  echo "$name: $said"
  [[ $said == *"$backend"* && $said == *--version* ]] || fail "$name should have opened its window on $backend"
}
hostwright=("$target/hostwright" --root "$root" --color never)

expect vmware Wayland
expect vmplayer Wayland
"${hostwright[@]}" vmware wayland apply --yes >"$work/out" 2>&1 || { cat "$work/out" >&2 && fail "apply failed"; }
# The program that the wrapper starts is at its place in the root.
sed -i "s|/usr/bin/vmplayer.original|$root/usr/bin/vmplayer.original|" "$root/usr/bin/vmplayer"
expect vmware X11
expect vmplayer X11
[[ $(start vmplayer --version) == *"as $root/usr/bin/vmplayer:"* ]] || fail "the name was not handed on"
sed -i "s|$root/usr/bin/vmplayer.original|/usr/bin/vmplayer.original|" "$root/usr/bin/vmplayer"
"${hostwright[@]}" vmware wayland status || fail "status asks for attention"
"${hostwright[@]}" vmware wayland remove --yes >"$work/out" 2>&1 || { cat "$work/out" >&2 && fail "remove failed"; }
expect vmware Wayland
expect vmplayer Wayland
(cd "$root" && find usr etc -type f -exec sha256sum {} + | sort) >"$work/after"
cmp "$work/before" "$work/after" || fail "the launchers are not what they were"
echo "wayland session: passed"
