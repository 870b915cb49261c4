#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Makes po/hostwright.pot anew from the files that po/POTFILES.in names.
#
#   pot.sh            write it
#   pot.sh --check    only say whether it would differ
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# xgettext reads Rust as C. Characters as \u{201c} and lines that go on after a backslash are written differently there.
mapfile -t sources < <(grep '\.rs$' po/POTFILES.in)
mapfile -t pages < <(grep '\.ui$' po/POTFILES.in)
for source in "${sources[@]}"; do
  mkdir -p "$work/$(dirname "$source")"
  perl -CSD -0pe 's/\\\n\s*//g; s/\\u\{([0-9a-f]+)\}/chr(hex $1)/ge; s/\x27(static|_)\b//g' "$source" >"$work/$source"
done
for page in "${pages[@]}"; do
  mkdir -p "$work/$(dirname "$page")" && cp "$page" "$work/$page"
done
(
  cd "$work"
  xgettext --language=C --from-code=UTF-8 --add-comments=Translators --no-location \
    --keyword=gettext --keyword=ngettext:1,2 --keyword=gettext_f:1 --keyword=ngettext_f:1,2 \
    --package-name=Hostwright --copyright-holder="The Hostwright developers" --output=all.pot "${sources[@]}" 2>/dev/null
  sed -i 's/charset=CHARSET/charset=UTF-8/' all.pot
  xgettext --from-code=UTF-8 --no-location --join-existing --output=all.pot "${pages[@]}"
  sed -i -e 's/^"POT-Creation-Date: .*/"POT-Creation-Date: \\n"/' all.pot
)
msgfmt --check-format --output-file=/dev/null "$work/all.pot"
if [[ ${1:-} == --check ]]; then
  diff -u po/hostwright.pot "$work/all.pot" || { echo "pot: run scripts/pot.sh" >&2 && exit 1; }
else
  install -m 644 "$work/all.pot" po/hostwright.pot
fi
