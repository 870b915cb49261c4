#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What must hold on every page of the assistant (sweep.py): as it is, at 360 px, with text twice as large, right to left.
# Needs root. Some minutes each.
#
#   sweep.sh [LOOK...]     all of them, or these: whole narrow large-text right-to-left
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd -P)
failed=0
# LOOK FAR WIDTH OPTIONS: a width is what the window may have at most; then the keyboard is not tried again.
while read -r look far width options; do
  if [[ $# -gt 0 && " $* " != *" $look "* ]]; then continue; fi
  echo "sweep: $look"
  [[ $width != - ]] || width=''
  # Pictures of the focus are compared once: it is drawn the same way in all looks.
  see=0
  [[ $look != whole ]] || see=1
  # shellcheck disable=SC2086 # options, word by word
  LOOK=$see "$here/desk.sh" $options /usr/bin/python3 "$here/sweep.py" "$far" $width </dev/null || failed=1
done <<'END'
whole all - --size 920x760
narrow all 360 --size 360x720
large-text pages 920 --size 920x760 --text 200
right-to-left pages - --size 920x760 --language ar
END
if [[ $failed != 0 ]]; then
  echo "sweep: something does not hold" >&2
  exit 1
fi
echo "sweep: all of it passed"
