#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The tests of the assistant: a real window on a screen of its own, the real helper and polkit, a copy-on-write view of
# this machine. Needs root.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd -P)
if [[ -z ${WITH_BUS_UPPER:-} ]]; then
  failed=0
  # Not a_profile_goes_to_a_file_and_comes_back: a file dialog without a window manager does not always hand the keys
  # back. By hand: desk.sh /usr/bin/python3 views.py a_profile_goes_to_a_file_and_comes_back
  views=(the_lab_boots_a_kernel_and_tells_its_exit_status a_guest_is_ended_when_that_is_wished
    tuning_is_picked_and_planned settings_are_kept a_benchmark_is_run_twice_and_compared
    what_vgpu_comes_to_is_said_and_help_opens)
  "$here/desk.sh" /usr/bin/python3 "$here/by_keyboard.py" || failed=1
  "$here/desk.sh" /usr/bin/python3 "$here/views.py" "${views[@]}" || failed=1
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
