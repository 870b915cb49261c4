#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Whether what desktops and software centres read of the assistant is valid, and its pages and catalogues. Of the
# tools for it those are asked that are here.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
screen=
cleanup() {
  [[ -z $screen ]] || kill "$screen" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
app=org.hostwright.Hostwright
if command -v desktop-file-validate >/dev/null; then
  sed 's|@bindir@|/usr/bin|g' data/desktop/$app.desktop.in >"$work/$app.desktop"
  desktop-file-validate "$work/$app.desktop"
  sed 's|@bindir@|/usr/bin|g' data/desktop/$app.Notify.desktop.in >"$work/$app.Notify.desktop"
  desktop-file-validate "$work/$app.Notify.desktop"
fi
if command -v appstreamcli >/dev/null; then
  appstreamcli validate --pedantic --no-net data/desktop/$app.metainfo.xml
fi
if command -v msgfmt >/dev/null; then
  for catalogue in po/*.po; do
    [[ ! -e $catalogue ]] || msgfmt --check --output-file=/dev/null "$catalogue"
  done
fi
if command -v gtk4-builder-tool >/dev/null && command -v Xvfb >/dev/null; then
  mkdir "$work/ui"
  mkfifo "$work/number"
  exec 3<>"$work/number"
  Xvfb -displayfd 3 -nolisten tcp >"$work/screen" 2>&1 &
  screen=$!
  read -r -t 60 number <&3 || { cat "$work/screen" >&2 && exit 1; }
  # The tool links GTK only; the loader finds libadwaita's classes by their names.
  adwaita=$(ldconfig -p | sed -n 's/.*libadwaita-1\.so\.0 .*=> //p' | head -n1)
  files=$(python3 tests/ui/builder.py "$work/ui")
  checked=0
  for file in $files; do
    DISPLAY=:$number GDK_BACKEND=x11 GTK_A11Y=none GSETTINGS_BACKEND=memory LD_PRELOAD=$adwaita \
      gtk4-builder-tool validate "$file"
    checked=$((checked + 1))
  done
  [[ $checked -gt 10 ]] || { echo "metadata: where are the pages?" >&2 && exit 1; }
  echo "metadata: $checked pages passed"
fi
