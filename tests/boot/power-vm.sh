#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Power profiles with who really looks after them: a virtual machine with Debian 12 and systemd, where `hostwright tuning`
# chooses a profile of tuned, and then of power-profiles-daemon, and takes it back; over a restart of the machine.
#
#   power-vm.sh BINARIES     BINARIES: a folder with hostwright and hostwright-helper
#
# Needs root, mmdebstrap, e2fsprogs and qemu-system-x86_64.
#
# HOSTWRIGHT_CACHE   where the root is kept (default: ~/.cache/hostwright)
# POWER_VM_SECONDS   how long the machine may take (default: 900)
set -euo pipefail
umask 022
project=$(cd "$(dirname "$0")/../.." && pwd -P)
binaries=$(cd "${1:?usage: power-vm.sh BINARIES}" && pwd)
cache=${HOSTWRIGHT_CACHE:-$HOME/.cache/hostwright}/power-vm
# shellcheck source=tests/guest.sh
source "$project/tests/guest.sh"

guest_root root systemd-sysv,dbus,polkitd,libpam-systemd,kmod,udev,initramfs-tools,linux-image-cloud-amd64,bubblewrap,tuned,power-profiles-daemon
work=$(mktemp -d "$cache/run.XXXXXX")
done=
cleanup() {
  rm -rf --one-file-system "$work/all" "$work/disk.img"
  [[ -z $done ]] || rm -rf --one-file-system "$work"
}
trap cleanup EXIT
guest_copy root
guest_hostwright "$binaries"
guest_script power <"$project/tests/boot/power.sh"
# Which of the two is there is decided by their programs: this one comes later.
mkdir -p "$work/all/srv"
mv "$work/all/usr/libexec/power-profiles-daemon" "$work/all/srv/"
ln -s /dev/null "$work/all/etc/systemd/system/power-profiles-daemon.service"
guest_disk root 1600M
guest_parts

status=0
end=$((SECONDS + ${POWER_VM_SECONDS:-900}))
for start in 1 2; do
  timeout "$((end - SECONDS))" "${guest[@]}" -m 1024 || status=$?
  [[ $status -eq 0 ]] || break
  cat "$work/serial.log" >>"$work/serial"
  grep -aq "STAGE $start: good" "$work/serial.log" || break
done
guest_ended "power profiles" "$work/serial" "STAGE 2: good" "$status"
