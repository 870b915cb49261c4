#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Inside with-bus.sh: remembers the file trees of the view, and says what is different later.
#
#   tree.sh save FILE                  remember them in FILE
#   tree.sh compare FILE [EXCEPT...]   print each path that differs, but for those below EXCEPT;
#                                      fails when there is one
#
# A path's kind, mode, owner, size, content, link target, extended attributes and time of change count;
# of a folder all but size and time. The trees are not read whole: what a write touched is in the
# overlays' upper layers, and all else cannot have changed.
set -euo pipefail
export LC_ALL=C

fail() {
  echo "tree: $*" >&2
  exit 2
}
[[ -n ${WITH_BUS_TREES:-} ]] || fail "this runs inside with-bus.sh only"
[[ $# -ge 2 && ($1 == save || $1 == compare) ]] || fail "usage: tree.sh save FILE | compare FILE [EXCEPT...]"

work=$(mktemp -d /run/with-bus/tree.XXXXXX)
trap 'rm -rf "$work"' EXIT

# Reads paths (NUL-separated, relative) from stdin and describes them as they are below the folder $1,
# under the names that they have below $2: PATH <tab> DESCRIPTION, NUL-separated.
describe() {
  local base=$1 tree=$2 path kind rest sum xattrs
  while IFS= read -r -d '' path; do
    if ! kind=$(stat -c %F -- "$base/$path" 2>/dev/null); then
      printf '%s\t%s\0' "$tree/$path" "is not there"
      continue
    fi
    sum=
    case $kind in
      "regular file" | "regular empty file")
        kind="file"
        rest=$(stat -c 'mode %a owner %u:%g size %s time %y' -- "$base/$path")
        sum="content $(sha256sum <"$base/$path" | cut -c1-64)"
        ;;
      directory) rest=$(stat -c 'mode %a owner %u:%g' -- "$base/$path") ;;
      "symbolic link")
        rest=$(stat -c 'owner %u:%g time %y' -- "$base/$path")
        sum="to $(readlink -- "$base/$path")"
        ;;
      *) rest=$(stat -c 'mode %a owner %u:%g device %t:%T time %y' -- "$base/$path") ;;
    esac
    xattrs=
    if command -v getfattr >/dev/null; then
      xattrs=$(getfattr -h -d -m - -e hex --absolute-names -- "$base/$path" 2>/dev/null |
        grep -v '^#\|^trusted\.overlay\.' | sort | paste -sd' ') || true
    fi
    printf '%s\t%s\0' "$tree/$path" "$kind $rest $sum $xattrs"
  done
}

# The paths of one tree that anything was written to, relative to it.
touched() {
  local name=$1 tree=$2 dir
  find "$WITH_BUS_UPPER/$name" -mindepth 1 -printf '%P\0'
  # A folder that was removed and made again hides what is below it without naming it.
  find "$WITH_BUS_UPPER/$name" -type d -printf '%P\n' | while IFS= read -r dir; do
    [[ -d $WITH_BUS_LOWER/$name/$dir ]] || continue
    comm -3 <(find "$WITH_BUS_LOWER/$name/$dir" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort) \
      <(find "$tree/$dir" -mindepth 1 -maxdepth 1 -printf '%f\n' 2>/dev/null | sort) |
      sed 's/^\t//' | while IFS= read -r entry; do printf '%s\0' "${dir:+$dir/}$entry"; done
  done
}

state_of_all() {
  local name tree
  while read -r name tree; do
    touched "$name" "$tree" | sort -zu | describe "$tree" "$tree"
  done <"$WITH_BUS_TREES"
}

if [[ $1 == save ]]; then
  state_of_all | sort -z >"$2.new"
  mv "$2.new" "$2"
  exit 0
fi

before=$2
[[ -f $before ]] || fail "there is no $before; save it first"
shift 2

# All paths that were or are touched: as they are now, and as they were.
: >"$work/now"
: >"$work/then"
while read -r name tree; do
  {
    touched "$name" "$tree"
    cut -z -f1 "$before" | grep -z "^$tree/" | sed -z "s|^$tree/||" || true
  } | sort -zu >"$work/paths"
  describe "$tree" "$tree" <"$work/paths" >>"$work/now"
  # What was untouched then was what is below the overlay.
  cut -z -f1 "$before" | sort -z >"$work/known"
  sed -z "s|^|$tree/|" "$work/paths" | sort -z | comm -z -23 - "$work/known" | sed -z "s|^$tree/||" |
    describe "$WITH_BUS_LOWER/$name" "$tree" >>"$work/then"
done <"$WITH_BUS_TREES"
sort -z "$before" - <"$work/then" >"$work/then.sorted"
sort -z "$work/now" >"$work/now.sorted"

declare -A was
while IFS=$'\t' read -r -d '' path description; do was[$path]=$description; done <"$work/then.sorted"

differences=0
compared=$(tr -cd '\0' <"$work/now.sorted" | wc -c)
while IFS=$'\t' read -r -d '' path description; do
  for except in "$@"; do
    if [[ $path == "$except" || $path == "$except"/* ]]; then continue 2; fi
  done
  echo "$path"
  echo "    was: ${was[$path]:-is not there}"
  echo "    is:  $description"
  differences=$((differences + 1))
done < <(comm -z -13 "$work/then.sorted" "$work/now.sorted")
if [[ $differences -gt 0 ]]; then
  echo "tree: $differences of $compared touched paths are not as they were"
  exit 1
fi
echo "tree: all $compared touched paths are as they were"
