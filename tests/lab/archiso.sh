#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# An image from an Arch profile by the real mkarchiso, pacman and pacstrap, with packages made here: a `base` that is
# a small Debian system, and a `linux` with this machine's kernel and an initramfs that finds the packed root. It is
# built, looked into, and booted with UEFI; what Arch's own packages would do is not tried.
#
#   archiso.sh
#
# MKARCHISO   the script mkarchiso of the archiso project (default: the one in PATH; without, nothing is run)
# TARGET      where cargo put the programs (default: target/debug)
# Needs root, as mkarchiso does.
set -euo pipefail
cd "$(dirname "$0")/../.."
hostwright=$(readlink -f "${TARGET:-target/debug}/hostwright")
mkarchiso=${MKARCHISO:-$(command -v mkarchiso || true)}
started=$SECONDS

say() { echo "archiso: $*"; }
fail() {
  echo "archiso: FAILED: $*" >&2
  exit 1
}
if [[ -z $mkarchiso ]]; then
  say "NOT RUN: there is no mkarchiso; Debian has no package of it. Say with MKARCHISO where the script is"
  exit
fi
# Commands are looked for in the usual places only: there it has to be, in a namespace of this test's own. And Debian's
# GRUB has no sbat.csv, which Arch's has and mkarchiso puts into the boot loader (shim's SBAT.md tells what it says).
if [[ -z ${ARCHISO_PLACES:-} ]]; then
  places=$(mktemp -d)
  mkdir "$places/bin" "$places/grub"
  install -m 755 "$(readlink -f "$mkarchiso")" "$places/bin/mkarchiso"
  cp -a /usr/share/grub/. "$places/grub"
  [[ -e $places/grub/sbat.csv ]] ||
    printf 'sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\n' >"$places/grub/sbat.csv"
  # shellcheck disable=SC2016 # the inner shell's
  ARCHISO_PLACES=$places exec unshare --mount --propagation private -- bash -c \
    'mount --bind "$1/bin" /usr/local/bin && mount --bind "$1/grub" /usr/share/grub && umask 022 &&
      MKARCHISO=/usr/local/bin/mkarchiso exec "$0"' "$(readlink -f "$0")" "$places"
fi
for tool in pacman pacstrap repo-add mksquashfs unsquashfs grub-mkstandalone mkfs.fat mcopy xorriso mmdebstrap busybox; do
  command -v "$tool" >/dev/null || fail "$tool is missing; run \`scripts/deps.sh lab\`"
done
scratch=$(mktemp -d "${TMPDIR:-/var/tmp}/hostwright-archiso.XXXXXX")
trap 'rm -rf --one-file-system "$scratch" "$ARCHISO_PLACES"' EXIT
export XDG_STATE_HOME=$scratch/state XDG_CACHE_HOME=$scratch/cache
repo=$scratch/repo
mkdir -p "$repo"

# --- packages ---

# Makes a package of a folder, in pacman's format (PKGINFO(5) of pacman): package NAME FOLDER
package() {
  local name=$1 folder=$2
  cat >"$folder/.PKGINFO" <<END
pkgname = $name
pkgbase = $name
pkgver = 1-1
pkgdesc = $name for a test of the lab
url = https://example.org
builddate = 1
packager = nobody
size = $(du -sb "$folder" | cut -f1)
arch = x86_64
license = GPL
END
  local names
  mapfile -t names < <(cd "$folder" && find . -mindepth 1 -maxdepth 1 ! -name .PKGINFO -printf '%P\n' | sort)
  tar --create --directory "$folder" --numeric-owner --sort=name .PKGINFO "${names[@]}" |
    zstd -q -1 >"$repo/$name-1-1-x86_64.pkg.tar.zst"
  rm "$folder/.PKGINFO"
}

release=$(find /boot -name 'vmlinuz-*' -printf '%f\n' | sed 's/^vmlinuz-//' | sort -V | tail -n1)
say "making packages, with the kernel $release"
mmdebstrap --quiet --variant=minbase --include=systemd-sysv,dbus,kmod,udev bookworm "$scratch/base.tar" 2>"$scratch/mmdebstrap.log" ||
  fail "mmdebstrap: $(tail -n 5 "$scratch/mmdebstrap.log")"
mkdir "$scratch/base"
tar -C "$scratch/base" --exclude='./dev/*' -xf "$scratch/base.tar"
# No package of Arch has what belongs to one machine either; pacman overwrites nothing that a profile brought.
rm -rf "$scratch/base"/{boot,proc,sys,run,tmp,var/lib/apt,var/cache/apt,etc/hostname,etc/resolv.conf} "$scratch/base.tar"
package base "$scratch/base"

ramdisk=$scratch/ramdisk
mkdir -p "$ramdisk"/{bin,proc,sys,dev,iso,packed,memory,new,modules}
cp /bin/busybox "$ramdisk/bin/busybox"
n=100
for module in ahci sr_mod isofs loop squashfs overlay virtio_pci virtio_console virtio_rng; do
  modprobe -S "$release" --show-depends "$module" 2>/dev/null
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
  n=$((n + 1))
  case $file in
    *.xz) xz -dc "$file" ;;
    *.zst) zstd -dc "$file" ;;
    *) cat "$file" ;;
  esac >"$ramdisk/modules/$n-$(basename "${file%%.ko*}").ko"
done
cat >"$ramdisk/init" <<'END'
#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for m in /modules/*.ko; do insmod "$m" 2>/dev/null; done
n=0
until [ -e /iso/arch/x86_64/airootfs.sfs ] || [ $n -gt 100 ]; do
  for d in /dev/sr0 /dev/sd? /dev/vd?; do mount -t iso9660 -o ro "$d" /iso 2>/dev/null && break; done
  n=$((n + 1)); sleep 0.2
done
mount -t squashfs -o ro,loop /iso/arch/x86_64/airootfs.sfs /packed || exec sh
mount -t tmpfs memory /memory; mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/packed,upperdir=/memory/upper,workdir=/memory/work root /new
mkdir -p /new/proc /new/sys /new/run /new/dev /new/tmp
mount --move /dev /new/dev; mount --move /proc /new/proc; mount --move /sys /new/sys
exec switch_root /new /sbin/init
END
chmod 755 "$ramdisk/init"
mkdir -p "$scratch/linux/boot"
cp "/boot/vmlinuz-$release" "$scratch/linux/boot/vmlinuz-linux"
(cd "$ramdisk" && find . | cpio --quiet -o -H newc) | gzip -1 >"$scratch/linux/boot/initramfs-linux.img"
package linux "$scratch/linux"
for name in mkinitcpio mkinitcpio-archiso; do
  mkdir -p "$scratch/$name/usr/share/doc/$name"
  echo "stands for $name" >"$scratch/$name/usr/share/doc/$name/README"
  package "$name" "$scratch/$name"
done
# `local` is what pacman calls its own list of what is installed.
repo-add -q "$repo/made-here.db.tar.gz" "$repo"/*.pkg.tar.zst

# --- the profile, and a project ---

profile=$scratch/profile
mkdir -p "$profile/airootfs/etc" "$profile/grub"
cat >"$profile/profiledef.sh" <<'END'
iso_name=lab-test
iso_label=LAB_TEST
iso_publisher=nobody
iso_application="a test"
iso_version=1
install_dir=arch
buildmodes=('iso')
bootmodes=('uefi.grub')
arch=x86_64
pacman_conf=pacman.conf
airootfs_image_type=squashfs
airootfs_image_tool_options=('-comp' 'zstd' '-Xcompression-level' '1')
file_permissions=(["/etc/secret"]="0:0:400")
END
printf '%s\n' base linux mkinitcpio mkinitcpio-archiso >"$profile/packages.x86_64"
# One configuration for the build, and one that only means something in the image.
configuration() { printf '[options]\nArchitecture = x86_64\nSigLevel = Never\n[made-here]\nServer = file://%s\n' "$1"; }
configuration "$repo" >"$scratch/online.conf"
configuration /opt/packages >"$profile/pacman.conf"
echo secret >"$profile/airootfs/etc/secret"
echo lab-test >"$profile/airootfs/etc/machine-name"
cat >"$profile/grub/grub.cfg" <<'END'
set timeout=0
menuentry test {
  linux /%INSTALL_DIR%/boot/%ARCH%/vmlinuz-linux console=tty0 console=ttyS0,115200
  initrd /%INSTALL_DIR%/boot/%ARCH%/initramfs-linux.img
}
END
project="$scratch/a project, 100%"
mkdir -p "$project"
# shellcheck disable=SC2016 # the image's shell, not this one
printf '#!/bin/sh\necho "RAN in $PWD on $(cat /etc/machine-name) with $(uname -r)"\n' >"$project/run.sh"
chmod +x "$project/run.sh"
before=$(find "$profile" -type f -exec sha256sum {} + | sort | sha256sum)

# --- built, looked into, booted ---

"$hostwright" lab build "$project" --name demo --profile "$profile" \
  --pacman-conf "$scratch/online.conf" --autorun ./run.sh --power-off --output "$scratch/demo.iso" ||
  fail "the image could not be built"
[[ $(find "$profile" -type f -exec sha256sum {} + | sort | sha256sum) == "$before" ]] || fail "the profile was changed"
say "built in $((SECONDS - started)) s"
mkdir "$scratch/out"
xorriso -osirrox on -indev "$scratch/demo.iso" -extract /arch/x86_64/airootfs.sfs "$scratch/out/root.sfs" >/dev/null 2>&1
unsquashfs -q -n -d "$scratch/out/root" "$scratch/out/root.sfs" >/dev/null
[[ -x $scratch/out/root/root/demo/run.sh ]] || fail "the project's script is not in the image, or not executable"
[[ $(stat -c %a "$scratch/out/root/etc/secret") == 400 ]] || fail "the profile's own permissions are lost"
[[ -e $scratch/out/root/etc/hostwright/project.env ]] || fail "the environment file is not in the image"
cmp -s "$profile/pacman.conf" "$scratch/out/root/etc/pacman.conf" || fail "the profile's pacman.conf is not in the image"
if ! "$hostwright" lab boot --iso "$scratch/demo.iso" --firmware uefi -m 1G --timeout 15m; then
  tail -n 40 "$scratch"/state/hostwright/lab/*/console.log >&2
  fail "the image did not boot to its end"
fi
grep -aq "RAN in /root/demo on lab-test with $release" "$scratch"/state/hostwright/lab/*/console.log ||
  fail "the project's command did not run"
say "passed in $((SECONDS - started)) s: built by mkarchiso, booted with UEFI, its command ran"
