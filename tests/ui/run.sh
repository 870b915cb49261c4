#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The tests of the assistant: a real window on a screen of its own, the real helper and polkit, a copy-on-write view of
# this machine. Needs root.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd -P)
if [[ -z ${WITH_BUS_UPPER:-} ]]; then
  failed=0
  "$here/desk.sh" /usr/bin/python3 "$here/by_keyboard.py" || failed=1
  "$here/desk.sh" /usr/bin/python3 "$here/views.py" || failed=1
  "$here/desk.sh" /usr/bin/python3 "$here/remote.py" || failed=1
  for user in maynot asker boss; do
    "$here/../../scripts/practice-host.sh" --run "$here/run.sh" "$user" || failed=1
  done
  if [[ $failed != 0 ]]; then
    echo "ui: something does not hold" >&2
    exit 1
  fi
  echo "ui: all of it holds"
  exit
fi

# Inside: who sits at the desk, and what polkit says to them.
user=$1
useradd --no-create-home --user-group "$user"
cat >/etc/polkit-1/rules.d/00-ui-test.rules <<'END'
polkit.addAdminRule(function(action, subject) { return ["unix-user:boss"]; });
polkit.addRule(function(action, subject) {
  if (action.id.indexOf("org.hostwright.") != 0) return polkit.Result.NOT_HANDLED;
  if (action.id == "org.hostwright.inspect") return polkit.Result.YES;
  if (subject.user == "maynot") return polkit.Result.NO;
  return polkit.Result.AUTH_ADMIN;
});
END
if [[ $user == boss ]]; then echo "boss:correct horse 42" | chpasswd; fi
sleep 1.5 # polkit reads its rules
exec "$here/desk.sh" --user "$user" /usr/bin/python3 /run/desk/tests/asked.py
