#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A virtual machine dressed as a Proxmox host goes through the whole of `hostwright vgpu`: stage 1, a real restart,
# stage 2, another restart, verification, removal, a last restart, and a comparison of every file with the beginning.
#
#   tests/vgpu/vm.sh BINARIES [SUITE [unlock]]     BINARIES: a folder with hostwright and hostwright-helper; bookworm
#
# `unlock`: the card is a GeForce, so that the driver is patched and a library built for it, by the distribution's cargo.
#
# Real are: APT with a signed repository over HTTP, dpkg, DKMS, gcc, systemd, initramfs-tools, GRUB, the helper on the
# system bus with polkit. Made for it are: the card (a PCI domain of its own in a module), the driver (a .run file that
# behaves like NVIDIA's, with a module that offers types in sysfs), and pveversion, proxmox-boot-tool and qm as stubs.
#
# Needs root (loop device, chroot), mmdebstrap, apt-utils, dpkg-dev, gnupg, e2fsprogs, qemu-system-x86_64, and headers of
# the guest's kernel on this machine. Ends with 0 only when every stage said what it should.
#
# UNLOCK_SOURCE      a folder with the sources of vgpu_unlock-rs and their dependencies, for `unlock`; a sample without it
# HOSTWRIGHT_CACHE   where the root is kept (default: ~/.cache/hostwright)
# VGPU_VM_SECONDS    how long the machine may take (default: 2300)
set -euo pipefail
umask 022

here=$(cd "$(dirname "$0")" && pwd)
source=$(cd "$here/../.." && pwd)
binaries=$(cd "${1:?usage: vm.sh BINARIES [SUITE]}" && pwd)
suite=${2:-bookworm}
unlock=${3:-}
case $suite in
bookworm) pve=8.2.4 cargo=cargo-web ;;
trixie) pve=9.0.3 cargo=cargo ;;
*) echo "vm.sh: bookworm or trixie, not $suite" >&2; exit 1 ;;
esac
cache=${HOSTWRIGHT_CACHE:-$HOME/.cache/hostwright}/vgpu-vm
mkdir -p "$cache"

# --- the root, and the packages that stage 1 will want ---
root=$cache/base-$suite
repo=$root.repo
if [[ ! -e $root ]]; then
  rm -rf "$root.new" "$repo"
  mkdir -p "$repo"
  # shellcheck disable=SC2016 # for the hook's own shell
  mmdebstrap --variant=minbase \
    --include=systemd-sysv,dbus,polkitd,linux-image-amd64,initramfs-tools,kmod,udev,grub-pc,procps,iproute2 \
    --include=bubblewrap,python3-minimal,openssl,mokutil,gpgv,ca-certificates \
    --customize-hook='APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get -y --no-install-recommends --download-only install dkms gcc make linux-headers-amd64 mdevctl libc6-dev build-essential '$cargo \
    --customize-hook="mv \"\$1\"/var/cache/apt/archives/*.deb $repo/" "$suite" "$root.new"
  mv "$root.new" "$root"
fi
busybox=$cache/busybox/bin/busybox
if [[ ! -e $busybox ]]; then
  (mkdir -p "$cache/deb" && cd "$cache/deb" && apt-get download busybox-static)
  dpkg-deb -x "$cache"/deb/busybox-static_*.deb "$cache/busybox"
  [[ -e $busybox ]] || busybox=$cache/busybox/usr/bin/busybox
fi

# Emulated, xz takes minutes to unpack a compiler: the packages are the same, packed faster.
light=$root.light
if [[ ! -e $light ]]; then
  rm -rf "$light.new"
  mkdir -p "$light.new"
  for deb in "$repo"/*.deb; do
    # What the machine has already is not asked for again.
    package=$(dpkg-deb -f "$deb" Package)
    if compgen -G "$root/var/lib/dpkg/info/$package.list" >/dev/null ||
      compgen -G "$root/var/lib/dpkg/info/$package:*.list" >/dev/null; then
      continue
    fi
    # The folder's own mode becomes that of / in the package.
    mkdir -m 755 "$light.new/tree"
    dpkg-deb -R "$deb" "$light.new/tree"
    dpkg-deb -Zzstd -z1 -b "$light.new/tree" "$light.new/${deb##*/}" >/dev/null
    rm -rf "$light.new/tree"
  done
  mv "$light.new" "$light"
fi

work=$(mktemp -d "$cache/run.XXXXXX")
loop=
cleanup() {
  if mountpoint -q "$work/m"; then umount -R "$work/m"; fi
  if [[ -n $loop ]]; then losetup -d "$loop"; fi
  rm -rf "$work/disk.img" "$work/gnupg" "$work/www" "$work/card" "$work/patch"
}
trap cleanup EXIT

kernel=$(cd "$root/boot" && printf '%s\n' vmlinuz-* | tail -n1)
kernel=${kernel#vmlinuz-}
# The card, compiled by the release's own compiler for its own kernel: in the root with their packages unpacked over it.
compiler=$cache/compiler-$suite
if [[ ! -e $compiler ]]; then
  rm -rf "$compiler.new"
  cp -a "$root" "$compiler.new"
  for deb in "$light"/*.deb; do dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink -C "$compiler.new"; done
  mv "$compiler.new" "$compiler"
fi
mkdir "$work/card"
rm -rf "$compiler/card"
mkdir "$compiler/card"
cp "$here/lab/card.c" "$compiler/card/"
echo 'obj-m := card.o' >"$compiler/card/Makefile"
chroot "$compiler" make -s -C "/lib/modules/$kernel/build" M=/card modules >"$work/card.log" 2>&1 ||
  { cat "$work/card.log" >&2 && echo "vm.sh: the card does not compile for $kernel" >&2 && exit 1; }
cp "$compiler/card/card.ko" "$work/card/"

# --- a signed repository: Debian's packages, and Proxmox's headers as a package that wants Debian's ---
www=$work/www
mkdir -p "$www/debian/pool" "$work/stub/DEBIAN"
cp "$light"/*.deb "$www/debian/pool/"
cat >"$work/stub/DEBIAN/control" <<END
Package: proxmox-headers-$kernel
Version: 1
Architecture: amd64
Maintainer: nobody <nobody@localhost>
Depends: linux-headers-$kernel
Description: headers of a kernel, for tests
END
export GNUPGHOME=$work/gnupg
mkdir -m 700 "$GNUPGHOME"
gpg -q --batch --passphrase '' --quick-gen-key 'repository for tests' rsa2048 sign 0
gpg -q --export >"$work/key.gpg"
publish() { # folder, component
  local at=$1 component=$2
  mkdir -p "$at/dists/$suite/$component/binary-amd64"
  (cd "$at" && dpkg-scanpackages -m pool 2>/dev/null >"dists/$suite/$component/binary-amd64/Packages")
  (cd "$at" && apt-ftparchive -o "APT::FTPArchive::Release::Suite=$suite" \
    -o "APT::FTPArchive::Release::Codename=$suite" -o "APT::FTPArchive::Release::Components=$component" \
    -o "APT::FTPArchive::Release::Architectures=amd64" release "dists/$suite" >"$work/Release")
  mv "$work/Release" "$at/dists/$suite/Release"
  gpg -q --batch --yes --clearsign -o "$at/dists/$suite/InRelease" "$at/dists/$suite/Release"
}
publish "$www/debian" main
mkdir -p "$www/debian/pve/pool"
dpkg-deb --root-owner-group -b "$work/stub" "$www/debian/pve/pool/proxmox-headers-${kernel}_1_amd64.deb" >/dev/null
publish "$www/debian/pve" pve-no-subscription
gpgconf --kill all
"$here/lab/make-run.sh" 535.230.02 "$work/driver.run"
# Only with it does the driver take the GeForce.
mkdir -p "$work/patch/a" "$work/patch/b"
cp "$here/lab/nvidia.c" "$work/patch/a/"
sed 's/{ PCI_DEVICE(0x10de, 0x1eb8) },/& { PCI_DEVICE(0x10de, 0x1e87) },/' "$here/lab/nvidia.c" >"$work/patch/b/nvidia.c"
(cd "$work/patch" && diff -u a/nvidia.c b/nvidia.c >driver.patch) || [[ $? -eq 1 ]]

# --- the disk: one file system and no partitions, GRUB for BIOS in its first sector ---
truncate -s 4G "$work/disk.img"
mke2fs -q -t ext4 -d "$root" -E lazy_itable_init=1 "$work/disk.img"
loop=$(losetup -f --show "$work/disk.img")
mkdir "$work/m"
mount "$loop" "$work/m"
m=$work/m
mount --bind /dev "$m/dev"
mount -t proc proc "$m/proc"
mount -t sysfs sys "$m/sys"
echo "UUID=$(blkid -s UUID -o value "$loop") / ext4 rw 0 1" >"$m/etc/fstab"
echo vgpuvm >"$m/etc/hostname"
[[ -e $m/etc/default/grub ]] || cp "$m/usr/share/grub/default/grub" "$m/etc/default/grub"
sed -i -e 's/^GRUB_TIMEOUT=.*/GRUB_TIMEOUT=0/' -e 's/^GRUB_CMDLINE_LINUX=.*/GRUB_CMDLINE_LINUX="console=ttyS0 mitigations=off no_timer_check systemd.show_status=false"/' \
  "$m/etc/default/grub"
chroot "$m" grub-install --force --target=i386-pc "$loop"
# The first start is without the IOMMU, which Debian's kernel would switch on by itself, and Proxmox' would not.
cat >"$m/boot/grub/grub.cfg" <<END
search --no-floppy --fs-uuid --set=root $(blkid -s UUID -o value "$loop")
linux /boot/vmlinuz-$kernel root=/dev/vda ro console=ttyS0 mitigations=off no_timer_check systemd.show_status=false intel_iommu=off
initrd /boot/initrd.img-$kernel
boot
END

# --- dressed as Proxmox ---
put() { install -D -m 644 /dev/stdin "$m$1"; }
program() { install -D -m 755 /dev/stdin "$m$1"; }
put /usr/share/perl5/PVE/pvecfg.pm <<END
package PVE::pvecfg;
sub package { return 'pve-manager'; }
sub version {
    return '$pve';
}
1;
END
program /usr/bin/pveversion <<END
#!/bin/sh
echo "pve-manager/$pve/0 (running kernel: \$(uname -r))"
END
program /usr/sbin/proxmox-boot-tool <<'END'
#!/bin/sh
case "$1 $2" in
"kernel pin") echo "$3" >/etc/kernel/proxmox-boot-pin ;;
"kernel unpin") rm -f /etc/kernel/proxmox-boot-pin ;;
*) echo "E: no such thing here: $*" >&2; exit 2 ;;
esac
END
program /usr/sbin/qm <<'END'
#!/bin/sh
echo "qm $*"
END
program /usr/local/bin/busybox <"$busybox"
install -D -m 644 "$work/card/card.ko" "$m/lib/modules/$kernel/extra/card.ko"

# --- lean, for it is emulated: modules that nothing here has, timers that would come between, and files that are synced ---
modules=$m/lib/modules/$kernel/kernel
for at in "$modules"/drivers/*; do
  case ${at##*/} in
  acpi | base | block | bus | char | crypto | firmware | iommu | pci | tty | uio | vfio | vhost | virt | virtio) ;;
  *) rm -rf "$at" ;;
  esac
done
rm -rf "$modules/sound"
find "$modules/net" -mindepth 1 -maxdepth 1 ! -name packet -exec rm -rf {} +
chroot "$m" depmod "$kernel"
rm -f "$m"/etc/systemd/system/timers.target.wants/* "$m/etc/systemd/system/multi-user.target.wants/e2scrub_reap.service"
ln -s /dev/null "$m/etc/systemd/system/serial-getty@ttyS0.service"
put /etc/dpkg/dpkg.cfg.d/lean <<<force-unsafe-io
put /etc/systemd/journald.conf.d/lean.conf <<<$'[Journal]\nStorage=volatile'
printf 'tmpfs %s tmpfs mode=1777 0 0\n' /tmp /var/tmp >>"$m/etc/fstab"
# What the disk and its file system want, and no compression that the emulation would feel.
put /etc/initramfs-tools/conf.d/lean <<<$'MODULES=list\nCOMPRESS=gzip\nCOMPRESSLEVEL=1\nFSTYPE=ext4'
printf '%s\n' virtio_pci virtio_blk crc32c_generic ext4 >>"$m/etc/initramfs-tools/modules"
chroot "$m" update-initramfs -u -k "$kernel"
put /etc/modules-load.d/card.conf <<<card
if [[ -n $unlock ]]; then put /etc/modprobe.d/card.conf <<<"options card consumer=1"; fi
mkdir -p "$m/srv"
cp -a "$www" "$m/srv/www"
put /etc/hosts <<<'127.0.0.1 localhost vgpuvm deb.debian.org download.proxmox.com'
if [[ $suite == trixie ]]; then
  key=/usr/share/keyrings/proxmox-archive-keyring.gpg
else
  key=/etc/apt/trusted.gpg.d/proxmox-release-$suite.gpg
fi
put "$key" <"$work/key.gpg"
rm -f "$m"/etc/apt/sources.list.d/*
if [[ $suite == trixie ]]; then
  rm -f "$m/etc/apt/sources.list"
  put /etc/apt/sources.list.d/debian.sources <<END
# kept as it is
Types: deb
URIs: http://deb.debian.org/debian
Suites: $suite
Components: main
Signed-By: $key
END
  put /etc/apt/sources.list.d/pve-enterprise.sources <<END
Types: deb
URIs: https://enterprise.proxmox.com/debian/pve
Suites: $suite
Components: pve-enterprise
Signed-By: $key
END
else
  put /etc/apt/sources.list <<END
# kept as it is
deb   [signed-by=$key] http://deb.debian.org/debian $suite main
deb [signed-by=$key] http://deb.debian.org/debian/ $suite main
END
  put /etc/apt/sources.list.d/pve-enterprise.list <<<"deb https://enterprise.proxmox.com/debian/pve $suite pve-enterprise"
fi
put /etc/systemd/system/mirror.service <<'END'
[Service]
ExecStart=/usr/local/bin/busybox httpd -f -p 127.0.0.1:80 -h /srv/www
[Install]
WantedBy=multi-user.target
END
ln -sf ../mirror.service "$m/etc/systemd/system/multi-user.target.wants/mirror.service"
install -D -m 600 "$work/driver.run" "$m/root/NVIDIA-Linux-x86_64-535.230.02-vgpu-kvm.run"
put /etc/hostwright/vgpu/drivers-lab.csv <<END
branch,host_driver,file_name,form,md5,sha256,unlock_patch
16.9,535.230.02,NVIDIA-Linux-x86_64-535.230.02-vgpu-kvm.run,run,,$(sha256sum <"$work/driver.run" | cut -d' ' -f1),535.230.02.patch
END
if [[ -n $unlock ]]; then
  install -D -m 644 "$work/patch/driver.patch" "$m/root/535.230.02.patch"
  cp -a "${UNLOCK_SOURCE:-$here/lab/unlock}" "$m/root/unlock"
  chown -R root:root "$m/root/unlock"
fi

# --- Hostwright ---
install -D -m 755 "$binaries/hostwright" "$m/usr/bin/hostwright"
install -D -m 755 "$binaries/hostwright-helper" "$m/usr/libexec/hostwright-helper"
sed 's,@libexecdir@,/usr/libexec,' "$source/data/dbus/org.hostwright.Helper1.service.in" |
  put /usr/share/dbus-1/system-services/org.hostwright.Helper1.service
sed 's,@libexecdir@,/usr/libexec,' "$source/data/systemd/hostwright-helper.service.in" |
  put /usr/lib/systemd/system/hostwright-helper.service
put /usr/share/dbus-1/system.d/org.hostwright.Helper1.conf <"$source/data/dbus/org.hostwright.Helper1.conf"
put /usr/share/polkit-1/actions/org.hostwright.policy <"$source/data/polkit/org.hostwright.policy"

# --- what the machine does at each start ---
program /usr/local/sbin/stages <"$here/lab/stages.sh"
put /etc/systemd/system/stages.service <<'END'
[Unit]
After=multi-user.target dbus.service mirror.service hostwright-vgpu-ready.service
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/stages
StandardOutput=file:/dev/ttyS0
StandardError=inherit
[Install]
WantedBy=default.target
END
ln -sf ../stages.service "$m/etc/systemd/system/multi-user.target.wants/stages.service"
sync
umount -R "$m"
losetup -d "$loop"
loop=

# --- four starts ---
# Where the machine is slow, the kernel's check of its timer fails and it stops: no_timer_check above, and interrupts that
# are not remapped.
# The processor says that it is Intel's (an emulated "max" says AMD): only those need a kernel parameter for the IOMMU.
processor=max,vendor=GenuineIntel,family=6,model=94,stepping=3,la57=off
timeout "${VGPU_VM_SECONDS:-2300}" qemu-system-x86_64 -nodefaults -vga std -display none -machine q35 \
  -device intel-iommu,intremap=off -accel tcg,thread=single,tb-size=512 -cpu "$processor" -smp 1 -m 3072 \
  -drive "file=$work/disk.img,format=raw,if=virtio,cache=unsafe" -serial "file:$work/serial.log" || {
  status=$?
  echo "vgpu-vm: qemu ended with $status (124: it took too long); how far it came, from $work/serial.log:" >&2
  tr -d '\r' <"$work/serial.log" | grep -a STAGE >&2 || true
  exit 1
}
tr -d '\r' <"$work/serial.log" | grep -a "STAGE" || true
if ! grep -aq "ALL STAGES GOOD" "$work/serial.log"; then
  echo "vgpu-vm: not all stages were good; see $work/serial.log" >&2
  exit 1
fi
echo "vgpu-vm: $suite${unlock:+, unlocked}: all good; the log is $work/serial.log"
