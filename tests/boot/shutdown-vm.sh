#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A machine shuts down promptly when the helper is there: a virtual machine with Debian 12 and systemd, the helper as its
# real unit, called over the bus and then left; the machine is switched off while it still waits for further calls.
#
#   shutdown-vm.sh BINARIES     BINARIES: a folder with hostwright and hostwright-helper
#
# Needs root (chroot), mmdebstrap, e2fsprogs and qemu-system-x86_64. The first time it makes the root, which is kept in
# HOSTWRIGHT_CACHE (default: ~/.cache/hostwright).
set -euo pipefail
umask 022
project=$(cd "$(dirname "$0")/../.." && pwd -P)
binaries=$(cd "${1:?usage: shutdown-vm.sh BINARIES}" && pwd)
cache=${HOSTWRIGHT_CACHE:-$HOME/.cache/hostwright}/shutdown-vm
# shellcheck source=tests/guest.sh
source "$project/tests/guest.sh"

guest_root root systemd-sysv,dbus,polkitd,libpam-systemd,kmod,udev,initramfs-tools,linux-image-cloud-amd64,bubblewrap
work=$(mktemp -d "$cache/run.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
guest_copy root
guest_hostwright "$binaries"
guest_unit try.service <<'END'
[Unit]
After=multi-user.target dbus.service
[Service]
Type=oneshot
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
ExecStart=/usr/bin/hostwright runs
ExecStart=/usr/bin/hostwright runs
ExecStart=/bin/sh -c 'systemctl show -p MainPID hostwright-helper.service; read up rest </proc/uptime; echo "OFF AT $up"; systemctl --no-block poweroff'
END
guest_disk root 1600M
guest_parts

started=$SECONDS
status=0
timeout 480 "${guest[@]}" -m 1024 || status=$?
sed -n '/OFF AT/,$p' "$work/serial.log"
off=$(sed -n 's/.*OFF AT \([0-9]*\).*/\1/p' "$work/serial.log")
[[ -n $off ]] || { tail -n 60 "$work/serial.log" >&2 && echo "shutdown: the machine did not get so far" >&2 && exit 1; }
grep -q 'MainPID=[1-9]' "$work/serial.log" || { echo "shutdown: the helper was not there when the machine was switched off" >&2 && exit 1; }
[[ $status -eq 0 ]] || { echo "shutdown: the machine did not switch itself off (status $status)" >&2 && exit 1; }
# The kernel's last words have its uptime.
down=$(sed -n 's/^\[ *\([0-9]*\)\.[0-9]*\] .*Power down.*/\1/p' "$work/serial.log" | tail -n1)
echo "shutdown: ${down:+$((down - off)) s from the word to power down; }$((SECONDS - started)) s in all"
if [[ -n $down && $((down - off)) -gt 60 ]]; then
  echo "shutdown: that is far too long" >&2
  exit 1
fi
