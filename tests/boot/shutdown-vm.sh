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
mkdir -p "$cache"

root=$cache/root
if [[ ! -e $root ]]; then
  rm -rf --one-file-system "$root.new"
  mmdebstrap --variant=minbase \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --include=systemd-sysv,dbus,polkitd,libpam-systemd,kmod,udev,initramfs-tools,linux-image-cloud-amd64,bubblewrap \
    bookworm "$root.new" >"$cache/root.log" 2>&1 || { tail -n 20 "$cache/root.log" >&2 && exit 1; }
  mv "$root.new" "$root"
fi

work=$(mktemp -d "$cache/run.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
kernel=$(cd "$root/boot" && printf '%s\n' vmlinuz-* | tail -n1)

# The root stays as it is: what is added lies beside it and is put into the disk after it.
mkdir "$work/bin" "$work/more"
for program in hostwright hostwright-helper; do
  install -m 755 "$binaries/$program" "$work/bin/$program"
  strip "$work/bin/$program"
done
PREFIX=/usr DESTDIR=$work/more TARGET=$work/bin "$project/scripts/install.sh" install
put() { install -D -m "${2:-644}" /dev/stdin "$work/more$1"; }
put /etc/systemd/system/try.service <<'END'
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
[Install]
WantedBy=graphical.target multi-user.target
END
mkdir -p "$work/more/etc/systemd/system/multi-user.target.wants"
ln -s ../try.service "$work/more/etc/systemd/system/multi-user.target.wants/try.service"
ln -s /dev/null "$work/more/etc/systemd/system/getty@tty1.service"
ln -s /dev/null "$work/more/etc/systemd/system/serial-getty@ttyS0.service"
echo "/dev/vda / ext4 rw 0 1" | put /etc/fstab

truncate -s 1600M "$work/disk.img"
mkdir "$work/all"
cp -a --reflink=auto "$root/." "$work/all/"
cp -a "$work/more/." "$work/all/"
mke2fs -q -t ext4 -d "$work/all" -E lazy_itable_init=1 "$work/disk.img"
rm -rf --one-file-system "$work/all"

started=$SECONDS
status=0
timeout 480 qemu-system-x86_64 -nodefaults -display none -accel tcg,thread=single -cpu max -smp 1 -m 1024 \
  -drive "file=$work/disk.img,format=raw,if=virtio" -serial "file:$work/serial" -no-reboot \
  -kernel "$root/boot/$kernel" -initrd "$root/boot/initrd.img-${kernel#vmlinuz-}" \
  -append "root=/dev/vda rw console=ttyS0 loglevel=4 systemd.show_status=1 printk.time=1" || status=$?
sed -n '/OFF AT/,$p' "$work/serial"
off=$(sed -n 's/.*OFF AT \([0-9]*\).*/\1/p' "$work/serial")
[[ -n $off ]] || { tail -n 60 "$work/serial" >&2 && echo "shutdown: the machine did not get so far" >&2 && exit 1; }
grep -q 'MainPID=[1-9]' "$work/serial" || { echo "shutdown: the helper was not there when the machine was switched off" >&2 && exit 1; }
[[ $status -eq 0 ]] || { echo "shutdown: the machine did not switch itself off (status $status)" >&2 && exit 1; }
# The kernel's last words have its uptime.
down=$(sed -n 's/^\[ *\([0-9]*\)\.[0-9]*\] .*Power down.*/\1/p' "$work/serial" | tail -n1)
echo "shutdown: ${down:+$((down - off)) s from the word to power down; }$((SECONDS - started)) s in all"
if [[ -n $down && $((down - off)) -gt 60 ]]; then
  echo "shutdown: that is far too long" >&2
  exit 1
fi
