#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# An image onto a USB stick, for real: in a virtual machine with this machine's files as its root, a stick made of a
# file, a system bus, polkit, and the helper that the bus starts. No disk of this machine is touched: the guest has
# none of them.
#
#   write.sh           the whole of it
#   write.sh inside    what runs in the guest
#
# TARGET says where cargo put the programs (default: target/debug).
set -euo pipefail
project=$(cd "$(dirname "$0")/../.." && pwd -P)
target=$(readlink -f "${TARGET:-$project/target/debug}")

fail() {
  echo "write: FAILED: $*" >&2
  exit 1
}

# Runs a command that must end with this status, and shows what it says when it does not.
ends_with() {
  local status=$1 is=0
  shift
  "$@" >/tmp/said 2>&1 </dev/null || is=$?
  [[ $is -eq $status ]] || {
    cat /tmp/said >&2
    fail "$* ended with $is, not $status"
  }
}
says() {
  grep -qF -- "$1" /tmp/said || {
    cat /tmp/said >&2
    fail "it did not say: $1"
  }
}

inside() {
  [[ -e /run/only-in-the-guest ]] || fail "this part is for the guest alone"
  image="/tmp/an image, 1.iso" other=/dev/sdb
  modprobe -a xhci_pci usb_storage sd_mod ext4 dm_mod
  for ((i = 0; i < 100; i++)); do
    [[ ! -b /dev/sda || ! -b $other ]] || break
    sleep 0.2
  done
  [[ -b /dev/sda && -b $other ]] || fail "the sticks did not appear"
  make -s -C "$project" install DESTDIR= PROFILE=dev >/tmp/install.log 2>&1 || {
    cat /tmp/install.log >&2
    fail "the project could not be installed in the guest"
  }
  mkdir -p /run/dbus
  dbus-uuidgen --ensure=/etc/machine-id
  dbus-daemon --system --fork --nopidfile
  /usr/lib/polkit-1/polkitd --no-debug >/tmp/polkitd.log 2>&1 &
  hostwright=/usr/local/bin/hostwright
  head -c 24000001 /dev/urandom >"$image"
  # A partition table and ISO 9660's mark.
  dd if=/dev/zero of="$image" bs=512 count=1 conv=notrunc status=none
  printf '\x80\0\0\0\x17\0\0\0\x40\0\0\0\0\x10\0\0' | dd of="$image" bs=1 seek=446 conv=notrunc status=none
  printf '\x55\xaa' | dd of="$image" bs=1 seek=510 conv=notrunc status=none
  printf 'CD001' | dd of="$image" bs=1 seek=32769 conv=notrunc status=none
  sum=$(sha256sum <"$image")

  ends_with 0 $hostwright lab devices
  says HOSTWRIGHT0001
  says "QEMU QEMU HARDDISK"
  cat /tmp/said

  echo "-- what must be refused"
  ends_with 2 $hostwright lab write "$image" /dev/sda
  says "--confirm /dev/sda"
  ends_with 2 $hostwright lab write "$image" /dev/sda --yes
  says "named once more"
  ends_with 2 $hostwright lab write "$image" /dev/sda --yes --confirm $other
  ends_with 3 $hostwright lab write "$image" /dev/nothing --yes --confirm /dev/nothing
  # In use, in a namespace that this shell does not see; and what makes of it a part of something else.
  mke2fs -q -F $other
  unshare --mount --propagation private bash -c "mount $other /mnt && touch /run/mounted && exec sleep 1000" &
  holder=$!
  for ((i = 0; i < 100; i++)); do [[ ! -e /run/mounted ]] || break; sleep 0.1; done
  ends_with 3 $hostwright lab write "$image" $other --yes --confirm $other
  says "is mounted on /mnt"
  kill $holder
  wait $holder 2>/dev/null || true
  mkswap -q $other >/dev/null 2>&1
  swapon $other
  ends_with 3 $hostwright lab write "$image" $other --yes --confirm $other
  says "used as swap"
  swapoff $other
  truncate -s 100M /tmp/large.iso
  ends_with 3 $hostwright lab write /tmp/large.iso $other --yes --confirm $other
  says "has room for"
  gzip -c /etc/passwd >/tmp/packed.iso.gz
  ends_with 3 $hostwright lab write /tmp/packed.iso.gz $other --yes --confirm $other
  says gunzip
  ends_with 10 $hostwright lab write "$image" $other --check
  says "Cannot be undone"

  echo "-- writing"
  ends_with 0 $hostwright lab write "$image" $other --yes --confirm $other
  cat /tmp/said
  says "read back from $other: it is the image"
  echo 3 >/proc/sys/vm/drop_caches
  [[ $(head -c 24000001 $other | sha256sum) == "$sum" ]] || fail "the stick does not hold the image"
  [[ -b ${other}1 ]] || fail "the kernel was not told of the new partitions"
  ends_with 0 $hostwright undo --last --yes
  says "no run that could be taken back"
  ends_with 3 $hostwright undo 1 --yes

  echo "-- typing the name, on a terminal"
  printf '/dev/sda\n' | script -qec "$hostwright lab write '$image' $other" /tmp/typed >/dev/null && fail "a wrong name was taken"
  printf '%s\n' $other | script -qec "$hostwright lab write '$image' $other" /tmp/typed >/dev/null ||
    { cat /tmp/typed; fail "the right name was not taken"; }

  echo "-- cancelled in the middle"
  head -c 60000000 /dev/urandom >/tmp/slow.iso
  # Sectors written so far (Documentation/block/stat.rst of the kernel).
  written=$(awk '{ print $7 }' /sys/block/sdb/stat)
  $hostwright lab write /tmp/slow.iso $other --yes --confirm $other >/tmp/said 2>&1 &
  writer=$!
  for ((i = 0; i < 600; i++)); do
    [[ $(awk '{ print $7 }' /sys/block/sdb/stat) -eq $written ]] || break
    sleep 0.1
  done
  kill -INT $writer
  status=0
  wait $writer || status=$?
  cat /tmp/said
  [[ $status -eq 130 || $status -eq 0 ]] || fail "cancelling ended with $status"
  echo "cancelled: $status"
  [[ $(sha256sum </dev/sda) == "$(cat /run/first-stick)" ]] || fail "the other stick was written to"
  echo "write: all of it passed in the guest"
}

if [[ ${1:-} == inside ]]; then
  inside
  exit
fi

kernel=$(find /boot -name 'vmlinuz-*' -printf '%f\n' | sed 's/^vmlinuz-//' | sort -V | tail -n1)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/hostwright write, test.XXXXXX")
trap 'rm -rf --one-file-system "$scratch"' EXIT
truncate -s 64M "$scratch/first, stick.img" "$scratch/second.img"
started=$SECONDS
# shellcheck disable=SC2016 # the guest's shell, not this one
XDG_STATE_HOME=$scratch/state "$target/hostwright" lab boot --kernel "$kernel" --root host -m 2G --timeout 20m \
  --usb "$scratch/first, stick.img" --usb "$scratch/second.img" --cwd / -- \
  sh -c 'touch /run/only-in-the-guest; modprobe -a xhci_pci usb_storage sd_mod; sleep 5; sha256sum </dev/sda >/run/first-stick; exec "$0" inside' "$project/tests/lab/write.sh"
echo "write: passed in $((SECONDS - started)) s"
