#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The practice host of `make run`: a copy-on-write view of this machine where VMware seems to be
# installed, with sample modules of the project's own for its sources. There Hostwright does its whole
# job for real, through the bus, polkit and the helper, for every installed kernel that has headers; then
# it takes it back, and the file trees are compared. Nothing outside the view changes, and no module is
# loaded.
#
#   practice-host.sh                     the whole job
#   practice-host.sh --shell             a shell there instead, to try things
#   practice-host.sh --run COMMAND...    this command there instead, with its exit status
#
# Needs root, and what `make deps` installs. PROFILE says which build is used (default: release).
set -euo pipefail
project=$(cd "$(dirname "$0")/.." && pwd -P)

if [[ -z ${WITH_BUS_UPPER:-} ]]; then
  exec "$project/tests/bus/with-bus.sh" -- "$0" "$@"
fi

started=$SECONDS
if [[ -t 1 ]]; then bold=$(tput bold 2>/dev/null || true) plain=$(tput sgr0 2>/dev/null || true); else bold='' plain=''; fi
say() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
fail() {
  echo "practice host: $*" >&2
  exit 1
}
# Shows a command as one could type it, and runs it.
run() {
  printf '%s$ %s%s\n' "$bold" "$*" "$plain"
  "$@" || {
    local status=$?
    # The view ends with this script, and its logs with it.
    echo "practice host: that ended with status $status; the helper's newest log:" >&2
    find /var/log/hostwright /var/lib/hostwright -name '*.log' -printf '%T@ %p\n' 2>/dev/null |
      sort -n | tail -n1 | cut -d' ' -f2- | xargs -r tail -n 40 >&2
    exit "$status"
  }
}

# --- what makes this look like a machine with VMware ---

[[ ! -e /etc/vmware/config ]] ||
  echo "practice host: VMware is installed on this machine; in the view, the sample sources take its place"
rm -rf /usr/lib/vmware/modules/source
mkdir -p /etc/vmware /usr/lib/vmware/modules/source
cat >/etc/vmware/config <<'END'
# Made by Hostwright's practice host. No VMware is installed here; this file says so in VMware's own words
# because that is what is looked for.
.encoding = "UTF-8"
product.name = "VMware Workstation"
product.version = "16.2.5"
product.buildNumber = "20904516"
libdir = "/usr/lib/vmware"
bindir = "/usr/bin"
END
cat >/etc/vmware/bootstrap <<'END'
# Made by Hostwright's practice host.
LIBDIR="/usr/lib"
VERSION="1.0"
END
for module in vmmon vmnet; do
  tar --create --file "/usr/lib/vmware/modules/source/$module.tar" --directory "$project/data/practice" \
    --sort=name --owner=0 --group=0 --numeric-owner --format=ustar "$module-only"
done

if [[ ${1:-} == --shell ]]; then
  echo "This is the practice host: changes stay in it, and end with this shell."
  cd /root
  "${SHELL:-/bin/bash}"
  exit
fi

if [[ ${1:-} == --run ]]; then
  shift
  exec "$@"
fi

kernels=()
for build in /lib/modules/*/build; do
  if [[ -e $build/Makefile && -e $build/Module.symvers ]]; then kernels+=("$(basename "$(dirname "$build")")"); fi
done
[[ ${#kernels[@]} -gt 0 ]] || fail "no kernel under /lib/modules has headers; run \`make deps\`"

# A kernel without its boot image can be built for, and is not tried.
rehearse=(--rehearse)
for kernel in "${kernels[@]}"; do
  [[ -r /boot/vmlinuz-$kernel ]] || rehearse=()
done

"$project/tests/bus/tree.sh" save /run/before

say "What is here"
run hostwright detect

say "What would be done, for ${#kernels[@]} kernel(s): ${kernels[*]}"
run hostwright vmware plan --kernel all --sign own --no-load "${rehearse[@]}"

say "Doing it: the helper plans anew, compares, asks polkit, tries the modules in a virtual machine, and only then writes"
run hostwright vmware apply --kernel all --sign own --no-load "${rehearse[@]}" --yes

say "Looking at the result without Hostwright"
for kernel in "${kernels[@]}"; do
  for module in vmmon vmnet; do
    file=$(modinfo -k "$kernel" -F filename "$module") || fail "modinfo finds no $module for $kernel"
    magic=$(modinfo -k "$kernel" -F vermagic "$module")
    [[ ${magic%% *} == "$kernel" ]] || fail "$file was built for ${magic%% *}, not for $kernel"
    # Not System.map: Debian's holds no symbols.
    unresolved=$(depmod -n -e -E "/lib/modules/$kernel/build/Module.symvers" "$kernel" 2>&1 >/dev/null | grep -E "/$module\.ko" || true)
    [[ -z $unresolved ]] || fail "$unresolved"
    signer=$(modinfo -k "$kernel" -F signer "$module")
    echo "$file: $(stat -c %s "$file") bytes, for $kernel, signed by ${signer:-nobody}"
  done
done
differs=0
"$project/tests/bus/tree.sh" compare /run/before /var/lib/hostwright /var/log /var/cache/hostwright >/run/changes || differs=1
[[ $differs -eq 1 ]] || fail "nothing was changed at all"
grep '^/' /run/changes | sed 's/^/  changed: /'
run hostwright runs

say "Taking it back"
run hostwright undo --last --yes

say "Comparing the file trees, but for the history and caches of Hostwright"
"$project/tests/bus/tree.sh" compare /run/before /var/lib/hostwright /var/log /var/cache/hostwright ||
  fail "undo did not restore what is listed above"
left=$(find /tmp /var/tmp -mindepth 1 -newer /run/before -print -quit)
[[ -z $left ]] || fail "something was left in a temporary folder: $left"

say "Done: applied, verified and taken back; the trees are the same"
echo "practice host: passed in $((SECONDS - started)) s"
