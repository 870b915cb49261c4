# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash disable=SC2154,SC2034
#
# Sourced by the tests that boot a small Debian 12 with systemd, made for them: a root that is kept, copied, added to, and
# put into a disk. They name `cache` (a folder that is kept) and `project` before.

# The root NAME with more packages, made when there is none with just these. A root with that name is always a whole one.
guest_root() { # name, packages
  local at=$cache/$1
  [[ ! -e $at || $(cat "$at.packages" 2>/dev/null) != "$2" ]] || return 0
  mkdir -p "$cache"
  rm -rf --one-file-system "$at.new" "$at"
  mmdebstrap --variant=minbase --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --include="$2" bookworm "$at.new" >"$at.log" 2>&1 || { tail -n 20 "$at.log" >&2 && exit 1; }
  echo "$2" >"$at.packages"
  mv "$at.new" "$at"
}

# A copy of the root $1 in $work/all, to add to: without consoles that nobody looks at.
guest_copy() {
  mkdir "$work/all"
  cp -a --reflink=auto "$cache/$1/." "$work/all/"
  local unit
  for unit in getty@tty1 serial-getty@ttyS0; do ln -s /dev/null "$work/all/etc/systemd/system/$unit.service"; done
  rm -f "$work"/all/etc/systemd/system/timers.target.wants/*
  echo "/dev/vda / ext4 rw 0 1" | put /etc/fstab
  echo guest | put /etc/hostname
  echo "127.0.0.1 localhost guest" | put /etc/hosts
}

# Writes standard input to a file of the guest's.
put() { # path, mode
  install -D -m "${2:-644}" /dev/stdin "$work/all$1"
}

# A unit that is started with the guest.
guest_unit() { # name; its text is on standard input
  put "/etc/systemd/system/$1"
  mkdir -p "$work/all/etc/systemd/system/multi-user.target.wants"
  ln -s "../$1" "$work/all/etc/systemd/system/multi-user.target.wants/$1"
}

# A script that runs once the guest is up; what it prints comes to the serial console. It finds says.sh in /usr/local/lib.
guest_script() { # name; its text is on standard input
  put "/usr/local/sbin/$1" 755
  put /usr/local/lib/says.sh <"$project/tests/says.sh"
  guest_unit "$1.service" <<END
[Unit]
After=multi-user.target dbus.service
[Service]
Type=oneshot
StandardOutput=file:/dev/ttyS0
StandardError=inherit
ExecStart=/usr/local/sbin/$1
END
}

# Hostwright as it is installed, from a folder with its programs.
guest_hostwright() { # binaries
  local program
  mkdir "$work/bin"
  for program in hostwright hostwright-helper; do
    install -m 755 "$1/$program" "$work/bin/$program"
    strip "$work/bin/$program"
  done
  PREFIX=/usr DESTDIR=$work/all TARGET=$work/bin "$project/scripts/install.sh" install
}

# A machine that seems to be a host of Proxmox VE 8; `qm` is for whoever needs it.
guest_dressed_as_proxmox() { # the root of the machine
  install -D -m 644 /dev/stdin "$1/usr/share/perl5/PVE/pvecfg.pm" <<'END'
package PVE::pvecfg;
sub package { return 'pve-manager'; }
sub version {
    return '8.2.4';
}
1;
END
  install -m 755 /dev/stdin "$1/usr/bin/pveversion" <<'END'
#!/bin/sh
echo "pve-manager/8.2.4/0 (running kernel: $(uname -r))"
END
}

# The disk from $work/all, and beside it what QEMU boots.
guest_disk() { # root, size
  local kernel
  truncate -s "$2" "$work/disk.img"
  mke2fs -q -t ext4 -d "$work/all" -E lazy_itable_init=1 "$work/disk.img"
  kernel=$(cd "$cache/$1/boot" && printf '%s\n' vmlinuz-* | tail -n1)
  ln -s "$cache/$1/boot/$kernel" "$work/vmlinuz"
  ln -s "$cache/$1/boot/initrd.img-${kernel#vmlinuz-}" "$work/initrd"
  rm -rf --one-file-system "$work/all"
}

# What QEMU is started with, in `guest`: no timer check, for emulated processors are slow.
guest=(
  qemu-system-x86_64 -nodefaults -display none -machine q35 -accel "tcg,thread=single,tb-size=512" -cpu max -smp 1 -no-reboot
  -append "root=/dev/vda rw console=ttyS0 quiet mitigations=off no_timer_check systemd.show_status=false"
)
# Its disk and console. With -no-reboot it ends where it would restart; started again, it goes on.
guest_parts() {
  guest+=(-drive "file=$work/disk.img,format=raw,if=virtio,cache=unsafe" -serial "file:$work/serial.log"
    -kernel "$work/vmlinuz" -initrd "$work/initrd")
}

# Tells how far a guest came, by the lines of its console that have STAGE in them, and whether it was the last one. What failed
# keeps its folder.
guest_ended() { # test, log, last line, exit status of QEMU
  tr -d '\r' <"$2" | grep -a STAGE || true
  if ! grep -aq "$3" "$2"; then
    echo "$1: failed (qemu ended with $4; 124: it took too long); see $2" >&2
    exit 1
  fi
  done=yes
  echo "$1: passed in $SECONDS s"
}
