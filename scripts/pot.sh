#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Makes po/sentences.txt and po/hostwright.pot anew, from the files that po/SENTENCES.in and po/POTFILES.in name.
#
#   pot.sh            write them
#   pot.sh --check    only say whether they would differ, and whether a translation is not complete
#   pot.sh --merge    write them, and bring the new words into the translations
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What the library says: patterns, which the program embeds too.
mapfile -t patterns < <(grep -v '^#' po/SENTENCES.in)
# shellcheck disable=SC2068 # they are patterns of the shell's
LC_ALL=C.UTF-8 perl scripts/sentences.pl ${patterns[@]} | LC_ALL=C sort >"$work/sentences.txt"

# Nothing that is translated may be missing from the list.
while read -r file; do
  grep -qx "$file" po/POTFILES.in || { echo "pot: $file is not in po/POTFILES.in" >&2 && exit 1; }
done < <(grep -lrE 'gettext(_f)?\(|translatable="yes"' src/ui resources --include='*.rs' --include='*.ui' | grep -v '^src/ui/i18n' | LC_ALL=C sort)

# xgettext reads Rust as C. Characters as \u{201c} and lines that go on after a backslash are written differently there.
listed() { grep "\\.$1\$" po/POTFILES.in; }
mapfile -t sources < <(listed rs)
mapfile -t pages < <(listed ui)
for source in "${sources[@]}"; do
  mkdir -p "$work/$(dirname "$source")"
  perl -CSD -0pe 's/\\\n\s*//g; s/\\u\{([0-9a-f]+)\}/chr(hex $1)/ge; s/\x27(static|_)\b//g' "$source" >"$work/$source"
done
for page in "${pages[@]}"; do
  mkdir -p "$work/$(dirname "$page")" && cp "$page" "$work/$page"
done
for data in data/desktop/*.desktop.in data/desktop/*.metainfo.xml data/desktop/*.mime.xml data/polkit/*.policy; do
  cp "$data" "$work/$(basename "$data" .in)"
done
{
  printf '/* Translators: what the library says; {1}, {2} and names in braces stand for values. */\n'
  sed -e 's/["\\]/\\&/g' -e 's/.*/gettext("&");/' "$work/sentences.txt"
} >"$work/sentences.c"
(
  cd "$work"
  xgettext --language=C --from-code=UTF-8 --add-comments=Translators --no-location \
    --keyword=gettext --keyword=ngettext:1,2 --keyword=gettext_f:1 --keyword=ngettext_f:1,2 \
    --package-name=Hostwright --copyright-holder="The Hostwright developers" --output=all.pot \
    "${sources[@]}" sentences.c 2>/dev/null
  sed -i 's/charset=CHARSET/charset=UTF-8/' all.pot
  xgettext --from-code=UTF-8 --no-location --join-existing --output=all.pot \
    "${pages[@]}" -- *.desktop *.metainfo.xml *.mime.xml *.policy
  # A sentence with "% of" is none of C's.
  sed -i -e 's/^"POT-Creation-Date: .*/"POT-Creation-Date: \\n"/' -e '/^#, c-format$/d' -e 's/, c-format//' all.pot
)
msgfmt --check-format --output-file=/dev/null "$work/all.pot"
if [[ ${1:-} == --check ]]; then
  for made in sentences.txt:sentences.txt hostwright.pot:all.pot; do
    diff -u "po/${made%:*}" "$work/${made#*:}" || { echo "pot: run scripts/pot.sh --merge" >&2 && exit 1; }
  done
  while read -r language; do
    msgfmt --check --statistics --output-file=/dev/null "po/$language.po" 2>"$work/told" || { cat "$work/told" && exit 1; }
    msgcmp "po/$language.po" po/hostwright.pot || { echo "pot: po/$language.po is not complete" >&2 && exit 1; }
    echo "pot: $language: $(<"$work/told")"
    perl scripts/places.pl "po/$language.po"
  done < <(grep -v '^#' po/LINGUAS)
  exit
fi
install -m 644 "$work/sentences.txt" po/sentences.txt
install -m 644 "$work/all.pot" po/hostwright.pot
if [[ ${1:-} == --merge ]]; then
  while read -r language; do
    msgmerge --quiet --no-fuzzy-matching --no-wrap --backup=none --update "po/$language.po" po/hostwright.pot
    msgattrib --no-obsolete --no-wrap --output-file="po/$language.po" "po/$language.po"
    msgfmt --statistics --output-file=/dev/null "po/$language.po"
  done < <(grep -v '^#' po/LINGUAS)
fi
