#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A real GRUB, a real kernel, the real helper: in a virtual machine with Debian 12, sets kernel parameters through
# the `tuning` flow, restarts, sees them in /proc/cmdline, takes them back, restarts, sees them gone, with
# grub.cfg byte for byte as before.
#
#   tests/boot/grub-vm.sh BINARIES     BINARIES: a folder with hostwright and hostwright-helper
#
# Needs root (loop device, chroot), mmdebstrap, e2fsprogs and qemu-system-x86_64; takes about five minutes without
# KVM, the first time two more for the root. Ends with 0 only when every stage said what it should.
#
# HOSTWRIGHT_CACHE   where the root is kept (default: ~/.cache/hostwright)
set -euo pipefail
umask 022

here=$(cd "$(dirname "$0")" && pwd)
source=$(cd "$here/../.." && pwd)
binaries=$(cd "${1:?usage: grub-vm.sh BINARIES}" && pwd)
cache=${HOSTWRIGHT_CACHE:-$HOME/.cache/hostwright}/grub-vm
mkdir -p "$cache"

root=$cache/root
if [[ ! -e $root ]]; then
  rm -rf "$root.new"
  mmdebstrap --variant=minbase \
    --include=systemd-sysv,dbus,polkitd,linux-image-amd64,initramfs-tools,kmod,udev,grub-pc,procps,iproute2 \
    bookworm "$root.new"
  mv "$root.new" "$root"
fi

work=$(mktemp -d "$cache/run.XXXXXX")
loop=
cleanup() {
  if mountpoint -q "$work/m"; then umount -R "$work/m"; fi
  if [[ -n $loop ]]; then losetup -d "$loop"; fi
  rm -f "$work/disk.img"
}
trap cleanup EXIT

# --- the disk: one file system and no partitions, GRUB for BIOS in its first sector ---
truncate -s 2G "$work/disk.img"
mke2fs -q -t ext4 -d "$root" -E lazy_itable_init=1 "$work/disk.img"
loop=$(losetup -f --show "$work/disk.img")
mkdir "$work/m"
mount "$loop" "$work/m"
m=$work/m
mount --bind /dev "$m/dev"
mount -t proc proc "$m/proc"
mount -t sysfs sys "$m/sys"
echo "UUID=$(blkid -s UUID -o value "$loop") / ext4 rw 0 1" >"$m/etc/fstab"
echo grubvm >"$m/etc/hostname"
sed -i -e 's/^GRUB_TIMEOUT=.*/GRUB_TIMEOUT=0/' "$m/etc/default/grub" 2>/dev/null || true
[[ -e $m/etc/default/grub ]] || cp "$m/usr/share/grub/default/grub" "$m/etc/default/grub"
sed -i -e 's/^GRUB_TIMEOUT=.*/GRUB_TIMEOUT=0/' -e 's/^GRUB_CMDLINE_LINUX=.*/GRUB_CMDLINE_LINUX="console=ttyS0"/' \
  "$m/etc/default/grub"
chroot "$m" grub-install --force --target=i386-pc "$loop"
# Just enough to start once: the machine itself makes the real one, which grub-probe could not do from here.
kernel=$(cd "$m/boot" && printf '%s\n' vmlinuz-* | tail -n1)
cat >"$m/boot/grub/grub.cfg" <<END
search --no-floppy --fs-uuid --set=root $(blkid -s UUID -o value "$loop")
linux /boot/$kernel root=/dev/vda ro console=ttyS0
initrd /boot/initrd.img-${kernel#vmlinuz-}
boot
END

# --- Hostwright ---
install -D -m 755 "$binaries/hostwright" "$m/usr/bin/hostwright"
install -D -m 755 "$binaries/hostwright-helper" "$m/usr/libexec/hostwright-helper"
put() { install -D -m 644 /dev/stdin "$m$1"; }
sed 's,@libexecdir@,/usr/libexec,' "$source/data/dbus/org.hostwright.Helper1.service.in" |
  put /usr/share/dbus-1/system-services/org.hostwright.Helper1.service
sed 's,@libexecdir@,/usr/libexec,' "$source/data/systemd/hostwright-helper.service.in" |
  put /usr/lib/systemd/system/hostwright-helper.service
put /usr/share/dbus-1/system.d/org.hostwright.Helper1.conf <"$source/data/dbus/org.hostwright.Helper1.conf"
put /usr/share/polkit-1/actions/org.hostwright.policy <"$source/data/polkit/org.hostwright.policy"

# --- what the machine does at each start ---
put /usr/local/sbin/stages <<'END'
#!/bin/bash
export HOME=/root TZ=UTC COLUMNS=100
stage=$(cat /var/stage 2>/dev/null || echo 0)
say() { echo "STAGE $stage: $*"; }
fail() { say "FAILED: $*"; systemctl poweroff; exit 1; }
has() { grep -qw -- "$1" /proc/cmdline; }
say "cmdline: $(cat /proc/cmdline)"
case $stage in
0)
  ! has iommu=pt || fail "the word is there before"
  update-grub || fail update-grub
  sha256sum /boot/grub/grub.cfg /etc/default/grub >/var/before
  find /etc /boot -xdev -type f ! -name grubenv ! -path '/etc/machine-id' -print0 | sort -z | xargs -0 sha256sum >/var/tree
  hostwright tuning list
  hostwright tuning apply iommu-passthrough hugepages-2m=33G --yes && fail "huge pages beyond memory were taken"
  hostwright tuning apply iommu-passthrough hugepages-2m=512M max-map-count --yes || fail apply
  hostwright tuning apply iommu-passthrough hugepages-2m=512M max-map-count --yes | grep -i "nothing to do" || fail "a second apply"
  cat /etc/default/grub.d/zz-hostwright.cfg
  grep -c "iommu=pt hugepagesz=2M hugepages=256" /boot/grub/grub.cfg
  [[ $(cat /proc/sys/vm/max_map_count) == 1048576 ]] || fail "max_map_count"
  hostwright status
  say "status ended with $?"
  ;;
1)
  has iommu=pt && has hugepages=256 || fail "the words did not arrive"
  [[ $(grep -o iommu=pt /proc/cmdline | wc -l) == 1 ]] || fail "not once"
  say "$(grep HugePages_Total /proc/meminfo), max_map_count $(cat /proc/sys/vm/max_map_count)"
  hostwright status
  say "status ended with $?"
  hostwright runs
  hostwright undo --all --yes || fail undo
  sha256sum -c /var/before || fail "grub.cfg is not as it was"
  ;;
2)
  has iommu=pt && fail "the word is still there"
  find /etc /boot -xdev -type f ! -name grubenv ! -path '/etc/machine-id' -print0 | sort -z | xargs -0 sha256sum | diff /var/tree - || fail "a file differs"
  say "$(grep HugePages_Total /proc/meminfo), max_map_count $(cat /proc/sys/vm/max_map_count)"
  say ALL STAGES GOOD
  systemctl poweroff
  exit
  ;;
esac
echo $((stage + 1)) >/var/stage
# It leaves by itself when it is idle; a restart meanwhile would wait for it.
for _ in $(seq 90); do
  systemctl -q is-active hostwright-helper || break
  sleep 1
done
systemctl reboot
END
chmod 755 "$m/usr/local/sbin/stages"
put /etc/systemd/system/stages.service <<'END'
[Unit]
After=multi-user.target dbus.service
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/stages
StandardOutput=file:/dev/ttyS0
StandardError=inherit
[Install]
WantedBy=default.target
END
ln -sf ../stages.service "$m/etc/systemd/system/multi-user.target.wants/stages.service"
# A login prompt would hang up the line that the stages write to, and whatever they run would fail to write.
ln -sf /dev/null "$m/etc/systemd/system/serial-getty@ttyS0.service"
sync
umount -R "$m"
losetup -d "$loop"
loop=

# --- three starts ---
# GRUB waits for a key when it finds no screen.
accel=tcg,thread=single
timeout 1200 qemu-system-x86_64 -nodefaults -vga std -display none -accel "$accel" -cpu max -smp 1 -m 6144 \
  -drive "file=$work/disk.img,format=raw,if=virtio" -serial "file:$work/serial.log" || {
  echo "grub-vm: qemu ended with $?; see $work/serial.log" >&2
  exit 1
}
tr -d '\r' <"$work/serial.log" | grep -a "STAGE\|HugePages\|GRUB_CMDLINE" || true
if ! grep -aq "ALL STAGES GOOD" "$work/serial.log"; then
  echo "grub-vm: not all stages were good; see $work/serial.log" >&2
  exit 1
fi
echo "grub-vm: all good; the log is $work/serial.log"
