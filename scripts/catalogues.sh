#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Compiles the translations:
#
#   catalogues.sh FOLDER    into FOLDER/LANGUAGE/LC_MESSAGES/hostwright.mo, where a program beside FOLDER's parent finds them
set -euo pipefail
cd "$(dirname "$0")/.."
to=${1:?say where}
while read -r language; do
  mkdir -p "$to/$language/LC_MESSAGES"
  msgfmt --output-file="$to/$language/LC_MESSAGES/hostwright.mo" "po/$language.po"
done < <(grep -v '^#' po/LINGUAS)
