#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Loads built modules in a small VM and uses them:
#
#   load.sh [--only-load] VMLINUZ VMMON.KO VMNET.KO
#
# --only-load: only open their devices; for modules that are not the practice ones.
# A module may be compressed as kernels have them (.xz, .zst, .gz).
#
# Prints the VM's console. Succeeds when the exercise passed and the kernel complained about nothing
# on the way. No KVM is used: it may be there and still not run a guest.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

append=
if [[ ${1:-} == --only-load ]]; then
  append=exercise=load
  shift
fi
[[ $# -eq 3 ]] || {
  echo "usage: load.sh [--only-load] VMLINUZ VMMON.KO VMNET.KO" >&2
  exit 2
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir "$work/root"
cc -std=gnu11 -Wall -Wextra -Werror -static -O1 -I"$here/../../data/practice" -o "$work/root/init" "$here/exercise.c"
unpack() {
  case $1 in
    *.xz) xz -dc "$1" ;;
    *.zst) zstd -dcq "$1" ;;
    *.gz) gzip -dc "$1" ;;
    *) cat "$1" ;;
  esac
}
unpack "$2" >"$work/root/vmmon.ko"
unpack "$3" >"$work/root/vmnet.ko"
(cd "$work/root" && find . -print0 | cpio --null --quiet -o -H newc) | gzip -1 >"$work/initrd"

# thread=single: with one thread per CPU, QEMU's emulation loses boots now and then.
timeout 120 qemu-system-x86_64 -accel tcg,thread=single -cpu max -smp 2 -m 512 -nodefaults -no-reboot \
  -display none -serial file:"$work/console" -kernel "$1" -initrd "$work/initrd" \
  -append 'console=ttyS0 loglevel=7 panic=-1 oops=panic '"$append" </dev/null || {
  echo "load: QEMU did not end well; the console so far:" >&2
  cat "$work/console" >&2
  exit 1
}
# From where the modules come in; the rest is the kernel's own start.
sed -n '/vmmon: loading\|vmmon: initialized\|exercise:/,$p' "$work/console"
grep -q 'exercise: passed' "$work/console" || {
  echo "load: the exercise did not pass" >&2
  tail -n 30 "$work/console" >&2
  exit 1
}
if grep -E 'UBSAN|WARNING:|BUG:|Oops|detected buffer overflow|field-spanning' "$work/console" >&2; then
  echo "load: the kernel complained" >&2
  exit 1
fi
