#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Checks that every crate that ends up in the programs may be part of a GPL-3.0-or-later work, and that data/licences.txt,
# which the assistant shows under About, lists just them. Reads only what cargo has already downloaded.
#
#   licences.sh --write   writes data/licences.txt anew
set -euo pipefail
cd "$(dirname "$0")/.."

# Licences that are compatible, one by one. A crate may name several: with OR one of them is enough,
# with AND all are needed. "/" is an old way to write OR.
allowed=' MIT MIT-0 Apache-2.0 Apache-2.0-WITH-LLVM-exception BSD-2-Clause BSD-3-Clause ISC Zlib 0BSD Unlicense CC0-1.0 Unicode-3.0 Unicode-DFS-2016 MPL-2.0 LGPL-2.1-or-later GPL-3.0-or-later BSL-1.0 CDLA-Permissive-2.0 '

fits() {
  local text=$1 part word
  text=${text//Apache-2.0 WITH LLVM-exception/Apache-2.0-WITH-LLVM-exception}
  text=${text//\// OR }
  # (A OR B) AND C: each part between ANDs must hold something allowed.
  while read -r part; do
    part=${part//[()]/ }
    for word in ${part// OR / }; do
      if [[ $allowed == *" $word "* ]]; then continue 2; fi
    done
    return 1
  done <<<"${text// AND /$'\n'}"
}

list=data/licences.txt
listed() {
  echo '# Libraries in the programs and their licences; made by scripts/licences.sh --write'
  cargo tree --offline --locked --edges normal --target x86_64-unknown-linux-gnu --all-features --prefix none --format '{p}|{l}' |
    sed -e 's/ (\*)|/|/; s/ (\*)$//; s/ (proc-macro)//; s/ v[0-9][^|]*//' | grep -v '^hostwright|' | LC_ALL=C sort -u
}
if [[ ${1:-} == --write ]]; then
  listed >"$list"
  exit
fi

bad=0
count=0
while IFS='|' read -r crate licence; do
  [[ -n $crate ]] || continue
  count=$((count + 1))
  fits "$licence" || {
    echo "licences: $crate is under '${licence:-no licence}', which is not on the list in $0" >&2
    bad=1
  }
done < <(cargo tree --offline --locked --edges normal,build --target x86_64-unknown-linux-gnu --all-features --prefix none --format '{p}|{l}' |
  sed 's/ (\*)$//' | sort -u)
[[ $count -gt 0 ]] || {
  echo "licences: cargo tree listed no crate" >&2
  exit 1
}
if ! diff -u "$list" <(listed) >&2; then
  echo "licences: $list is not what it should be; make it anew with scripts/licences.sh --write" >&2
  bad=1
fi
[[ $bad -eq 0 ]] && echo "licences: $count crates, all compatible"
