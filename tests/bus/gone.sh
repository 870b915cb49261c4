#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The helper leaves within seconds when the bus goes before it, as it may when a machine shuts down: it must not be
# waited for until it is killed.
#
#   gone.sh
#
# Needs root. PROFILE says which build is used (default: dev).
set -euo pipefail
project=$(cd "$(dirname "$0")/../.." && pwd -P)
if [[ -z ${WITH_BUS_UPPER:-} ]]; then
  exec "$project/tests/bus/with-bus.sh" -- "$0" "$@"
fi

fail() {
  echo "gone: $*" >&2
  exit 1
}

hostwright runs >/dev/null
helper=$(dbus-send --system --print-reply --dest=org.freedesktop.DBus / \
  org.freedesktop.DBus.GetConnectionUnixProcessID string:org.hostwright.Helper1 | sed -n 's/.*uint32 //p')
bus=$(dbus-send --system --print-reply --dest=org.freedesktop.DBus / \
  org.freedesktop.DBus.GetConnectionUnixProcessID string:org.freedesktop.DBus | sed -n 's/.*uint32 //p')
[[ -n $helper && -n $bus ]] || fail "the helper or the bus is not there"

# Both at once, as systemd stops them.
kill -TERM "$bus" "$helper"
for ((i = 0; i < 100; i++)); do
  # A process that ended and was not collected yet is gone, too.
  if ! readlink "/proc/$helper/exe" >/dev/null 2>&1; then
    echo "gone: the helper left $((i / 10)).$((i % 10)) s after the bus"
    exit 0
  fi
  sleep 0.1
done
fail "the helper was still there 10 s after the bus"
