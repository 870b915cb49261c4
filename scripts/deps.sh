#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Installs what Hostwright needs to be built, run and tested, with the distribution's package tool:
#
#   deps.sh            to build, to run, for `make run` and `make test`
#   deps.sh kernels    also for `make test-kernels`
#   deps.sh lab        also for `make test-lab`
#   deps.sh vgpu       also for `make test-vgpu`
#   deps.sh umockdev   also for `make test-umockdev`
#   deps.sh boot       also for `make test-boot`
#   deps.sh wayland    also for `make test-wayland`
#   deps.sh ansible    also for `make test-ansible`
#
# Quick when all is there. As another user than root it uses sudo.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "deps: $*"; }
fail() {
  echo "deps: $*" >&2
  exit 1
}

as_root=()
if [[ $(id -u) -ne 0 ]]; then
  as_root=(sudo)
fi

# --- packages ---

packages=(
  gcc make binutils libc6-dev            # Rust's linker, and to compile modules
  kmod mokutil openssl xz-utils zstd     # modules: index, keys, signatures, compression
  bubblewrap                             # the sandbox that foreign code is built in
  dbus polkitd pkexec                    # the helper's bus and who may use it
  openssh-server openssh-client          # another machine over ssh; no server is started but by tests
  mmdebstrap debian-archive-keyring      # roots of other releases
  util-linux findutils                   # namespaces of the tests
  libgtk-4-dev libadwaita-1-dev gettext  # the assistant
  adwaita-icon-theme fonts-cantarell librsvg2-common # its looks
  xvfb openbox xdotool imagemagick       # its tests: a screen, windows, keys, pictures
  at-spi2-core gir1.2-atspi-2.0 python3-gi # and what assistive tools see of it
  appstream desktop-file-utils shared-mime-info libgtk-4-bin # its metadata, its pages
  qemu-system-x86 qemu-utils ovmf        # guests of the lab: kernels, disks, UEFI firmware
  git                                    # what belongs to a project that is put into an image
  fio                                    # the disk benchmark
)
if [[ ${1:-} == kernels ]]; then
  packages+=(cpio)
  packages+=(dkms)                                         # the second way to keep modules across kernel updates
fi
if [[ ${1:-} == ansible ]]; then
  packages+=(ansible python3 openssh-server openssh-client iproute2)
fi
if [[ ${1:-} == boot ]]; then
  packages+=(e2fsprogs)                                    # the disk that GRUB starts from
fi
if [[ ${1:-} == wayland ]]; then
  packages+=(weston xwayland python3-gi gir1.2-gtk-4.0)    # a session, and a program with a window
fi
if [[ ${1:-} == lab ]]; then
  packages+=(squashfs-tools uidmap)                        # the layers of an image
  packages+=(grub-common grub-pc-bin grub-efi-amd64-bin)   # what boots an image
  packages+=(xorriso mtools dosfstools e2fsprogs fdisk)    # ISO and disk images
  packages+=(shim-signed grub-efi-amd64-signed)            # the same for Secure Boot
  packages+=(pacman-package-manager arch-install-scripts makepkg) # images from Arch profiles
  packages+=(grub-efi-ia32-bin cpio busybox-static libarchive-tools) # and what their test is made of
  packages+=(qemu-system-gui)                              # guests in a window
fi

if [[ ${1:-} == vgpu ]]; then
  packages+=(apt-utils dpkg-dev gnupg e2fsprogs)           # a signed repository, and a disk with a file system
fi

if [[ ${1:-} == umockdev ]]; then
  packages+=(umockdev)                                     # cards that are described in a file
fi

# Whether a kernel is here with headers that something can be built against.
have_headers() {
  local build
  for build in /lib/modules/*/build; do
    if [[ -e $build/Makefile && -e $build/Module.symvers ]]; then return 0; fi
  done
  return 1
}

# Whether a kernel is here that a guest can be booted with.
have_image() {
  local image release
  for image in /boot/vmlinuz-*; do
    release=${image#/boot/vmlinuz-}
    if [[ -e $image && -e /lib/modules/$release/modules.dep ]]; then return 0; fi
  done
  return 1
}

if command -v apt-get >/dev/null; then
  installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' 2>/dev/null)
  missing=()
  for package in "${packages[@]}"; do
    if ! grep -qx "installed $package" <<<"$installed"; then missing+=("$package"); fi
  done
  if ! have_headers || ! have_image; then
    arch=$(dpkg --print-architecture)
    # shellcheck disable=SC1091 # not a file of ours
    case $(. /etc/os-release && echo "$ID") in
      ubuntu) missing+=(linux-image-generic linux-headers-generic) ;;
      *) missing+=("linux-image-$arch" "linux-headers-$arch") ;;
    esac
  fi
  if [[ ${#missing[@]} -gt 0 ]]; then
    if [[ ${#as_root[@]} -gt 0 ]] && ! command -v sudo >/dev/null; then
      fail "these packages are missing: ${missing[*]}. Install them as root: apt-get install ${missing[*]}"
    fi
    say "installing ${missing[*]}"
    "${as_root[@]}" apt-get update -q
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" ||
      fail "apt-get could not install them; its message above says why"
    have_headers || fail "no kernel under /lib/modules has headers yet; install the headers of one by hand"
  fi
else
  missing=()
  for tool in cc make ld pkg-config msgfmt depmod mokutil openssl xz zstd bwrap dbus-daemon pkcheck mmdebstrap unshare setpriv git qemu-system-x86_64 qemu-img; do
    if ! command -v "$tool" >/dev/null; then missing+=("$tool"); fi
  done
  [[ ${#missing[@]} -eq 0 ]] || fail "only apt is used here. Please install what holds these programs: ${missing[*]}"
  have_headers || fail "no kernel under /lib/modules has headers; install the header package of your kernel"
fi

# --- Rust ---

# The oldest Rust that the package says it builds with.
wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
how="Get a new one with rustup: on Debian 13 and newer \`apt install rustup && rustup default stable\`, elsewhere as https://rustup.rs says. Then run this again"
command -v cargo >/dev/null || fail "cargo is missing; Rust $wanted or newer is needed. $how"
have=$(rustc --version | cut -d' ' -f2)
have=${have%%-*}
[[ $(printf '%s\n' "$wanted" "$have" | sort -V | head -n1) == "$wanted" ]] ||
  fail "Rust $wanted or newer is needed, and this is $have. $how"
