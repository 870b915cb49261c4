#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Whether what desktops and software centres read of the assistant is valid.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
app=org.hostwright.Hostwright
sed 's|@bindir@|/usr/bin|g' data/desktop/$app.desktop.in >"$work/$app.desktop"
desktop-file-validate "$work/$app.desktop"
sed 's|@bindir@|/usr/bin|g' data/desktop/$app.Notify.desktop.in >"$work/$app.Notify.desktop"
desktop-file-validate "$work/$app.Notify.desktop"
if command -v appstreamcli >/dev/null; then
  appstreamcli validate --no-net data/desktop/$app.metainfo.xml
fi
for catalogue in po/*.po; do
  [[ ! -e $catalogue ]] || msgfmt --check --output-file=/dev/null "$catalogue"
done
