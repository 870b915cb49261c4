#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Kernel updates for real: in a view of this machine that is thrown away, the hooks are set up through the helper, then
# apt installs a second kernel with its headers, and removes it again.
#
#   updates.sh
#
# Needs root, apt's archive, and what `make deps` installs. PROFILE says which build is used (default: release).
set -euo pipefail
project=$(cd "$(dirname "$0")/../.." && pwd -P)

if [[ -z ${WITH_BUS_UPPER:-} ]]; then
  exec "$project/tests/bus/with-bus.sh" -- "$0" "$@"
fi

fail() {
  echo "kernel updates: $*" >&2
  hostwright runs >&2 || true
  cat /var/lib/hostwright/updates/*.json >&2 2>/dev/null || true
  exit 1
}
run() {
  echo "\$ $*"
  "$@"
}

# VMware, as the practice host has it.
rm -rf /usr/lib/vmware/modules/source
mkdir -p /etc/vmware /usr/lib/vmware/modules/source
printf 'product.name = "VMware Workstation"\nproduct.version = "16.2.5"\nlibdir = "/usr/lib/vmware"\n' >/etc/vmware/config
for module in vmmon vmnet; do
  tar --create --file "/usr/lib/vmware/modules/source/$module.tar" --directory "$project/data/practice" "$module-only"
done

# The kernel that is there.
here_release=
for build in /lib/modules/*/build; do
  if [[ -e $build/Module.symvers ]]; then here_release=$(basename "$(dirname "$build")"); fi
done
[[ -n $here_release ]] || fail "no kernel under /lib/modules has headers"

# The other kernel that is installed: Debian's for clouds, the smallest.
flavour=cloud-amd64
apt-get update -q >/dev/null
image=$(apt-cache depends linux-image-$flavour | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n1)
[[ -n $image ]] || fail "apt knows no linux-image-$flavour"
release=${image#linux-image-}
[[ ! -e /lib/modules/$release ]] || fail "$release is installed already"
# Installing an image makes an initramfs, half a minute and booted by nobody here.
ln -sf /bin/true /usr/sbin/update-initramfs

run hostwright vmware apply --kernel "$here_release" --sign own --no-load --on-kernel-update hook --yes
for hook in postinst.d header_postinst.d postrm.d; do
  [[ -x /etc/kernel/$hook/zz-hostwright ]] || fail "there is no hook in /etc/kernel/$hook"
done

echo "== an update without headers"
run env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$image" >/run/apt.log 2>&1 ||
  { tail /run/apt.log >&2 && fail "the kernel's installation failed"; }
[[ -e /lib/modules/$release/kernel ]] || fail "the kernel is not there"
run hostwright status || true
grep -q '"good": false' "/var/lib/hostwright/updates/$release.json" || fail "the missing headers were not told"

echo "== its headers come"
run env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "linux-headers-$release" \
  >/run/apt.log 2>&1 || { tail /run/apt.log >&2 && fail "the installation of the headers failed"; }
for module in vmmon vmnet; do
  file=$(modinfo -k "$release" -F filename "$module") || fail "$module was not built for $release"
  magic=$(modinfo -k "$release" -F vermagic "$module")
  [[ ${magic%% *} == "$release" ]] || fail "$file is for ${magic%% *}"
  echo "$file: for $release, signed by $(modinfo -k "$release" -F signer "$module")"
done
grep -q '"good": true' "/var/lib/hostwright/updates/$release.json" || fail "the success was not told"
run hostwright runs

echo "== it is removed"
run env DEBIAN_FRONTEND=noninteractive apt-get purge -q -y "$image" "linux-headers-$release" >/run/apt.log 2>&1 ||
  { tail /run/apt.log >&2 && fail "the removal failed"; }
left=$(find "/lib/modules/$release" -name 'vm*.ko*' 2>/dev/null || true)
[[ -z $left ]] || fail "modules were left: $left"
[[ ! -e /var/lib/hostwright/updates/$release.json ]] || fail "the outcome was left"

echo "== the hooks go"
run hostwright vmware apply --kernel "$here_release" --sign own --no-load --on-kernel-update never --yes
left=$(find /etc/kernel /etc/hostwright -type f \( -name '*hostwright*' -o -name vmware.json \))
[[ -z $left ]] || fail "left: $left"
echo "kernel updates: passed"
