#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A picture of every page, into the folder in SHOTS: wide and narrow, light and dark, high contrast, large text, German,
# right to left. Needs root.
#
#   screenshots.sh [LOOK...]     all of them, or these: wide-light wide-dark narrow-light …
#   screenshots.sh --publish     puts the six of README and metainfo into data/screenshots, from wide-light and wide-dark
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd -P)
: "${SHOTS:?say where the pictures go}"
export SHOTS
if [[ ${1:-} == --publish ]]; then
  to=$here/../../data/screenshots
  mkdir -p "$to"
  for picture in home:wide-light review:wide-light progress:wide-light result:wide-light undo:wide-light mode-dark:wide-dark; do
    name=${picture%:*} look=${picture#*:}
    from=$(find "$SHOTS" -name "$look-[0-9]*-${name%-dark}.png" | head -n1)
    [[ -n $from ]] || { echo "screenshots: there is no picture of $name in $SHOTS; make $look first" >&2 && exit 1; }
    # Without the date of making.
    convert "$from" -strip -define png:compression-level=9 -define png:exclude-chunk=date,time "$to/$name.png"
  done
  ls -l "$to"
  exit
fi
looks() {
  cat <<'END'
wide-light all --size 920x760
wide-dark all --size 920x760 --dark
narrow-light all --size 360x720
narrow-dark pages --size 360x720 --dark
contrast pages --size 920x760 --contrast
contrast-dark pages --size 920x760 --contrast --dark
large-text pages --size 920x760 --text 200
large-text-narrow pages --size 360x720 --text 200
german all --size 920x760 --language de
german-narrow pages --size 360x720 --language de
END
  # GTK's own words say which way Arabic is written; ours are not translated into it.
  echo "right-to-left all --size 920x760 --language ar"
}
while read -r look far options; do
  if [[ $# -eq 0 || " $* " == *" $look "* ]]; then
    rm -f "$SHOTS/$look"-[0-9]*.png
    # shellcheck disable=SC2086 # options, word by word
    "$here/desk.sh" $options /usr/bin/python3 "$here/screenshots.py" "$look" "$far" </dev/null
  fi
done < <(looks)
echo "screenshots: $(find "$SHOTS" -name '*.png' | wc -l) pictures in $SHOTS"
