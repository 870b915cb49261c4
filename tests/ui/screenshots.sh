#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A picture of every page, into the folder in SHOTS: wide and narrow, light and dark, right to left. Needs root.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd -P)
: "${SHOTS:?say where the pictures go}"
export SHOTS
shots() { "$here/desk.sh" "${@:2}" /usr/bin/python3 "$here/screenshots.py" "$1" all; }
shots wide-light --size 920x760
shots wide-dark --size 920x760 --dark
shots narrow-light --size 370x720
shots narrow-dark --size 370x720 --dark
# GTK's own words say which way Arabic is written; ours are not translated into it.
shots right-to-left --size 920x760 --language ar
echo "screenshots: $(find "$SHOTS" -name '*.png' | wc -l) pictures in $SHOTS"
