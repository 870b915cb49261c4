#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Root directories with other releases' compilers and kernel headers, to build modules in.
#
#   roots.sh [make] [NAME...]   make what is missing (all, or the named ones) and print them
#   roots.sh list               print what is there, one line each: NAME PATH RELEASE...
#   roots.sh names              print the names this script knows
#
# A root is built beside its place and renamed when it is whole, so a directory with a root's name
# is always a finished root; what an interrupted run left is removed by the next one. A root whose
# recipe (this file's lines for it) changed is built anew.
#
# HOSTWRIGHT_CACHE         where roots are kept (default: XDG_CACHE_HOME/hostwright, ~/.cache/hostwright)
# DEBIAN_MIRROR            default: the mirror this machine's own apt uses
# DEBIAN_SECURITY_MIRROR   the same for the -security suites
set -euo pipefail
umask 022

cache=${HOSTWRIGHT_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/hostwright}/roots

# Raise when the contents of every root must change (packages, what is kept of an image).
recipe=1

# gcc and make build the modules, bubblewrap and openssl let the project itself run in the root.
packages=gcc,make,kmod,xz-utils,zstd,bubblewrap,openssl

# NAME SUITE BACKPORTS(yes/no) KERNELS: the newest ABI of each of these versions is installed.
known() {
  cat <<'END'
bullseye bullseye no 5.10
bookworm bookworm no 6.1
bookworm-backports bookworm yes 6.12
trixie trixie no 6.12
trixie-backports trixie yes 7.2 7.3
END
}

fail() {
  echo "roots: $*" >&2
  exit 1
}

# The line of `known` for a name.
spec() {
  local line
  while read -r line; do
    if [[ ${line%% *} == "$1" ]]; then
      echo "$line"
      return
    fi
  done < <(known)
  fail "there is no root named '$1'; known are: $(known | cut -d' ' -f1 | paste -sd' ')"
}

# What a finished root was made from; a difference means that it is out of date.
stamp_of() {
  echo "recipe $recipe: $(spec "$1") $packages"
}

finished() {
  [[ -f $cache/$1/.hostwright-root ]] && [[ $(head -n1 "$cache/$1/.hostwright-root") == "$(stamp_of "$1")" ]]
}

# A line of what a root holds. Releases are those with usable headers.
show() {
  local name=$1 build releases=()
  for build in "$cache/$name"/lib/modules/*/build; do
    [[ -L $build || -e $build ]] && releases+=("$(basename "$(dirname "$build")")")
  done
  echo "$name $cache/$name ${releases[*]}"
}

# The address that this machine's apt has for a label of Debian's ("Debian", "Debian-Security").
from_apt() {
  # shellcheck disable=SC2016 # apt's placeholders, not the shell's
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' "Label: $1" 2>/dev/null |
    sort -u | head -n1
}

mirrors() {
  mirror=${DEBIAN_MIRROR:-$(from_apt Debian)}
  [[ -n $mirror ]] ||
    fail "this machine's apt has no Debian archive to take the mirror from; set DEBIAN_MIRROR to one"
  security=${DEBIAN_SECURITY_MIRROR:-}
  if [[ -z $security && -z ${DEBIAN_MIRROR:-} ]]; then
    security=$(from_apt Debian-Security)
  fi
  # On every mirror that carries both, the security archive stands beside the main one.
  [[ -n $security ]] || security=${mirror%/}-security
}

# Runs on the half-built root ($1) with its target suite ($2) and the kernel versions after it:
# installs the headers and the image of the newest ABI of each. Debian's meta-packages name the newest kernel only, and a root may
# want an older one beside it.
install_kernels() {
  local root=$1 suite=$2 version headers release package policy wanted from
  shift 2
  # Installing an image makes an initramfs, half a minute each and booted by nobody here.
  chroot "$root" dpkg-divert --local --rename --add /usr/sbin/update-initramfs
  ln -sf /bin/true "$root/usr/sbin/update-initramfs"
  for version in "$@"; do
    headers=$(chroot "$root" apt-cache pkgnames "linux-headers-$version" |
      grep -E "^linux-headers-${version//./\\.}[.+~-][.+~a-z0-9-]*-amd64$" |
      grep -Ev -- '-(rt|cloud)-amd64$' | sort -V | tail -n1) || true
    [[ -n $headers ]] || fail "no linux-headers-$version…-amd64 in the suites of $root; has the archive moved on?"
    release=${headers#linux-headers-}
    # An image comes signed, days after its headers: meanwhile there are its unsigned parts, or only
    # its modules, and the root serves to build but not to boot that kernel.
    wanted=("$headers")
    for package in "linux-image-$release" "linux-modules-$release"; do
      policy=$(chroot "$root" apt-cache policy "$package")
      if [[ $policy =~ Candidate:\ [0-9] ]]; then wanted+=("$package"); fi
    done
    # A backported kernel wants the backported linux-base too. Elsewhere a suite's name must not be
    # given: it would win over the same release's -security.
    from=()
    [[ $suite != *-backports ]] || from=(-t "$suite")
    # initramfs-tools is the one whose generator is diverted above; apt would pick another for want of
    # a name.
    chroot "$root" apt-get install -y --no-install-recommends ${from[@]+"${from[@]}"} initramfs-tools "${wanted[@]}"
    [[ -e $root/boot/vmlinuz-$release ]] || echo "roots: no image of $release in the archive yet"
    # Modules alone leave the index to an image's own script.
    chroot "$root" depmod "$release"
    # Tested inside: the links are absolute.
    chroot "$root" test -e "/lib/modules/$release/build/Makefile" ||
      fail "$headers was installed, yet /lib/modules/$release/build/Makefile is not there"
  done
  rm "$root/usr/sbin/update-initramfs"
  chroot "$root" dpkg-divert --local --rename --remove /usr/sbin/update-initramfs
}

# The machine's own settings of how apt reaches an archive: proxies, and whether old lists are taken.
apt_transport() {
  apt-config dump | grep -E '^Acquire::(https?|ftp)::Proxy |^Acquire::(Check-Valid-Until|Check-Date|Retries) ' || true
}

make_root() {
  local name=$1 suite backports kernels part line options=() sources=()
  read -r name suite backports kernels <<<"$(spec "$1")"
  mkdir -p "$cache"

  # One builder per root; a second one waits and then finds it finished.
  exec 9>"$cache/.$name.lock"
  flock 9
  if finished "$name"; then
    show "$name"
    return
  fi
  # Holding the lock, what still lies beside is nobody's. But never remove what is mounted somewhere
  # below: that may be this machine's own /dev.
  if grep -qF " $cache/.$name.part." /proc/self/mountinfo; then
    fail "something is mounted below $cache/.$name.part.*, left by an interrupted run; unmount it and try again"
  fi
  rm -rf --one-file-system "$cache/.$name".part.*
  part=$(mktemp -d "$cache/.$name.part.XXXXXX")
  chmod 755 "$part"

  mirrors
  local signed='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'
  [[ -e /usr/share/keyrings/debian-archive-keyring.gpg ]] ||
    fail "Debian's archive keys are missing; install the package debian-archive-keyring"
  sources=("deb $signed $mirror $suite main")
  # The newest ABI of a release's kernel is in its -security suite.
  sources+=("deb $signed $security $suite-security main")
  local target=$suite
  if [[ $backports == yes ]]; then
    target=$suite-backports
    sources+=("deb $signed $mirror $target main")
  fi
  while read -r line; do
    [[ -z $line ]] || options+=(--aptopt="$line")
  done < <(apt_transport)

  # Drivers of hardware that no test VM has are most of an image's size.
  local drivers=() dir
  for dir in sound drivers/{gpu,media,infiniband,staging,iio,isdn,atm,mtd,net/wireless}; do
    drivers+=(--dpkgopt="path-exclude=/*lib/modules/*/kernel/$dir/*")
  done

  echo "roots: making $name (kernel ${kernels// /, }) in $cache" >&2
  # As root, in a process namespace that ends with this script, however it ends: nothing then works on
  # in a folder that the next run clears away.
  local alone=()
  if [[ $(id -u) -eq 0 ]]; then
    alone=(setpriv --pdeathsig KILL unshare --mount --pid --fork --mount-proc --kill-child --)
  fi
  local log=$cache/$name.log
  if ! printf '%s\n' "${sources[@]}" |
    "${alone[@]}" mmdebstrap --variant=minbase --architectures=amd64 --include="$packages" "${options[@]}" \
      --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
      --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
      "${drivers[@]}" \
      --customize-hook="'$(readlink -f "$0")' install-kernels \"\$1\" $target $kernels" \
      "$suite" "$part/root" - </dev/stdin >"$log" 2>&1 9>&-; then
    tail -n 25 "$log" >&2
    rm -rf --one-file-system "$part"
    fail "$name could not be made; the whole log is in $log"
  fi
  stamp_of "$name" >"$part/root/.hostwright-root"
  sync -f "$part/root"
  # Out of date, not unfinished: the old one goes when the new one is whole.
  if [[ -e $cache/$name ]]; then
    mv -T "$cache/$name" "$part/old"
  fi
  mv -T "$part/root" "$cache/$name"
  rm -rf --one-file-system "$part"
  exec 9>&-
  show "$name"
}

case ${1:-make} in
  install-kernels) # called by mmdebstrap
    shift
    install_kernels "$@"
    ;;
  names)
    known | cut -d' ' -f1
    ;;
  list)
    while read -r name _; do
      if finished "$name"; then show "$name"; fi
    done < <(known)
    ;;
  -h | --help | help)
    sed -n '4,/^set -e/{/^#/!d;s/^# \{0,1\}//;p}' "$0"
    ;;
  *)
    [[ ${1:-} != make ]] || shift
    command -v mmdebstrap >/dev/null || fail "mmdebstrap is missing; install the package mmdebstrap"
    names=("$@")
    [[ ${#names[@]} -gt 0 ]] || mapfile -t names < <(known | cut -d' ' -f1)
    for name in "${names[@]}"; do spec "$name" >/dev/null; done
    for name in "${names[@]}"; do
      if finished "$name"; then show "$name"; else make_root "$name"; fi
    done
    ;;
esac
