#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A desktop's own polkit agent (MATE's) and our words in it: a virtual machine with Debian 12 and systemd, a user's session
# of logind's on its screen, the assistant in it, the real helper as a unit. The question is seen (a picture), cancelled,
# asked again and answered; then the modules are really built, installed and loaded there.
#
#   tests/ui/prompt-vm.sh BINARIES [FOLDER]    BINARIES: a folder with the programs; the pictures go to FOLDER
#
# Needs root (loop device), mmdebstrap, e2fsprogs and qemu-system-x86_64. Without KVM about ten minutes, the first time
# three more for the root, which is kept in HOSTWRIGHT_CACHE (default: ~/.cache/hostwright). Ends with 0 only when all
# of it was seen.
set -euo pipefail
umask 022

here=$(cd "$(dirname "$0")" && pwd -P)
project=$(cd "$here/../.." && pwd -P)
binaries=$(cd "${1:?usage: prompt-vm.sh BINARIES [FOLDER]}" && pwd)
shots=${2:-$project/target/prompt}
cache=${HOSTWRIGHT_CACHE:-$HOME/.cache/hostwright}/agent-vm
mkdir -p "$cache" "$shots"
shots=$(cd "$shots" && pwd)

root=$cache/root
if [[ ! -e $root ]]; then
  rm -rf --one-file-system "$root.new"
  mmdebstrap --variant=minbase \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --include=systemd-sysv,dbus,polkitd,pkexec,libpam-systemd,kmod,udev,initramfs-tools,linux-image-amd64,linux-headers-amd64 \
    --include=gcc,make,bubblewrap,mokutil,openssl,xz-utils,zstd,iproute2,procps,passwd,login \
    --include=libgtk-4-1,libadwaita-1-0,adwaita-icon-theme,librsvg2-common,hicolor-icon-theme,gtk-update-icon-cache,fonts-cantarell,at-spi2-core,gir1.2-atspi-2.0,python3-gi \
    --include=xvfb,xdotool,imagemagick,x11-utils,openbox,mate-polkit \
    bookworm "$root.new" >"$cache/root.log" 2>&1 || { tail -n 20 "$cache/root.log" >&2 && exit 1; }
  mv "$root.new" "$root"
fi

work=$(mktemp -d "$cache/run.XXXXXX")
cleanup() {
  if mountpoint -q "$work/m"; then umount "$work/m"; fi
  rm -rf --one-file-system "$work"
}
trap cleanup EXIT
kernel=$(cd "$root/boot" && printf '%s\n' vmlinuz-* | tail -n1)

# --- the disk ---
truncate -s 3500M "$work/disk.img"
mke2fs -q -t ext4 -d "$root" -E lazy_itable_init=1 "$work/disk.img"
mkdir "$work/m"
mount -o loop "$work/disk.img" "$work/m"
m=$work/m
put() { install -D -m "${2:-644}" /dev/stdin "$m$1"; }
echo "/dev/vda / ext4 rw 0 1" | put /etc/fstab
echo prompt | put /etc/hostname

# Hostwright, as its own installation does it; smaller, for the disk.
mkdir "$work/bin"
for program in hostwright hostwright-helper hostwright-assistant; do
  install -m 755 "$binaries/$program" "$work/bin/$program"
  strip "$work/bin/$program"
done
PREFIX=/usr DESTDIR=$m TARGET=$work/bin "$project/scripts/install.sh" install
chroot "$m" systemd-sysusers
# As a package's own scripts do.
chroot "$m" gtk-update-icon-cache --quiet --force /usr/share/icons/hicolor

# What makes it look like a machine with VMware.
sed -n '/^mkdir -p \/etc\/vmware/,/^if \[\[ /p' "$project/scripts/practice-host.sh" | sed '$d' >"$work/dress.sh"
mkdir -p "$m/opt/practice/data"
cp -a "$project/data/practice" "$m/opt/practice/data/"
chroot "$m" env project=/opt/practice bash -euo pipefail -s <"$work/dress.sh"
[[ -e $m/usr/lib/vmware/modules/source/vmmon.tar ]]

# Who sits there: an administrator by polkit's word, with a password.
chroot "$m" useradd --create-home --shell /bin/bash boss
echo "boss:correct horse 42" | chroot "$m" chpasswd
put /etc/polkit-1/rules.d/00-prompt.rules <<'END'
polkit.addAdminRule(function(action, subject) { return ["unix-user:boss"]; });
END
mkdir "$m/opt/tests"
cp "$here"/*.py "$m/opt/tests/"
mkdir -m 777 "$m/var/shots"

# A session as a display manager makes one: through PAM, on the first terminal.
put /etc/systemd/system/desk.service <<'END'
[Unit]
After=systemd-user-sessions.service dbus.service systemd-logind.service
Conflicts=getty@tty1.service
[Service]
User=boss
PAMName=login
TTYPath=/dev/tty1
TTYReset=yes
TTYVTDisallocate=yes
StandardInput=tty
StandardOutput=file:/var/shots/said
StandardError=inherit
Environment=XDG_SESSION_TYPE=x11 XDG_SEAT=seat0 XDG_VTNR=1
ExecStart=/usr/local/bin/desk
ExecStopPost=+/usr/local/bin/desk-ends
[Install]
WantedBy=multi-user.target
END
put /usr/local/bin/desk 755 <<'END'
#!/bin/bash
export HOME=/home/boss LC_ALL=C.UTF-8 GSK_RENDERER=cairo GDK_BACKEND=x11 SHOTS=/var/shots PYTHONPATH=/opt/tests DISPLAY=:7 DESK_PATIENCE=900 DESK_PAUSE=5
mkdir -p "$HOME/.config/gtk-4.0"
printf '[Settings]\ngtk-font-name=Cantarell 11\ngtk-enable-animations=0\n' >"$HOME/.config/gtk-4.0/settings.ini"
loginctl show-session "$XDG_SESSION_ID" -p Active -p Type -p Seat -p Remote
Xvfb :7 -screen 0 1100x800x24 -nolisten tcp &
sleep 3
dbus-run-session -- bash -c 'xsetroot -solid "#3d6a8f" 2>/dev/null; openbox & sleep 3; exec /usr/bin/python3 /opt/tests/prompt.py'
echo "prompt.py ended with $?"
END
put /usr/local/bin/desk-ends 755 <<'END'
#!/bin/bash
journalctl -b --no-pager >/var/shots/journal 2>&1
sync
systemctl poweroff
END
ln -s ../desk.service "$m/etc/systemd/system/multi-user.target.wants/desk.service"
# What would only take this processor's time.
for unit in getty@tty1.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer e2scrub_reap.service; do
  ln -sf /dev/null "$m/etc/systemd/system/$unit"
done
# The kernel's headers are asked here, at this processor's speed: the answers are kept, and are the same there.
# shellcheck disable=SC2016 # "$1" is for the inner shell
unshare --mount --pid --fork --kill-child -- bash -euo pipefail -c '
  mount -t proc proc "$1/proc"
  mount --rbind /dev "$1/dev"
  mount -t sysfs -o ro sysfs "$1/sys"
  mount -t tmpfs tmpfs "$1/run"
  exec chroot "$1" hostwright --root / vmware plan --kernel all' plan "$m" >"$work/plan" 2>&1 ||
  { tail -n 20 "$work/plan" >&2 && echo "prompt-vm: no plan can be made in the root" >&2 && exit 1; }
umount "$m"

# --- the machine ---
status=0
timeout 5400 qemu-system-x86_64 -nodefaults -vga std -display none -accel tcg,thread=single,tb-size=1024 -cpu max -smp 1 -m 3072 \
  -drive "file=$work/disk.img,format=raw,if=virtio" -serial "file:$shots/serial.log" \
  -kernel "$root/boot/$kernel" -initrd "$root/boot/initrd.img-${kernel#vmlinuz-}" \
  -append "root=/dev/vda rw console=ttyS0 quiet systemd.show_status=0 mitigations=off no_timer_check" || status=$?
mkdir "$work/seen"
rm -f "$shots"/*.png
debugfs -R "rdump /var/shots $work/seen" "$work/disk.img" 2>/dev/null
cp "$work/seen/shots/"* "$shots/"
cat "$shots/said"
[[ $status -eq 0 ]] || { echo "prompt-vm: qemu ended with $status; see $shots/serial.log" >&2 && exit 1; }
if ! grep -q "^ok " "$shots/said" || [[ ! -s $shots/prompt.png ]]; then
  echo "prompt-vm: not all was seen; see $shots/said and $shots/journal" >&2
  exit 1
fi
echo "prompt-vm: passed; the question is in $shots/prompt.png"
