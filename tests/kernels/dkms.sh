#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Kernel updates by DKMS for real: in a view of this machine that is thrown away, the modules are handed to DKMS through
# the helper, taken back byte for byte, and handed over again; then apt installs a second kernel with its headers, DKMS
# has Hostwright build for it, and apt removes it again.
#
#   dkms.sh
#
# Needs root, apt's archive, and what `scripts/deps.sh kernels` installs. PROFILE says which build is used (default:
# release).
set -euo pipefail
project=$(cd "$(dirname "$0")/../.." && pwd -P)

if [[ -z ${WITH_BUS_UPPER:-} ]]; then
  exec "$project/tests/bus/with-bus.sh" -- "$0" "$@"
fi

fail() {
  echo "dkms: $*" >&2
  hostwright runs >&2 || true
  dkms status >&2 || true
  cut -c1-200 /var/lib/dkms/hostwright-vmware/*/build/make.log 2>/dev/null | tail -n 30 >&2 || true
  exit 1
}
run() {
  echo "\$ $*"
  "$@"
}

command -v dkms >/dev/null || fail "dkms is not installed; run \`scripts/deps.sh kernels\`"

# VMware, as the practice host has it.
rm -rf /usr/lib/vmware/modules/source
mkdir -p /etc/vmware /usr/lib/vmware/modules/source
printf 'product.name = "VMware Workstation"\nproduct.version = "16.2.5"\nlibdir = "/usr/lib/vmware"\n' >/etc/vmware/config
for module in vmmon vmnet; do
  tar --create --file "/usr/lib/vmware/modules/source/$module.tar" --directory "$project/data/practice" "$module-only"
done

here=
for build in /lib/modules/*/build; do
  if [[ -e $build/Module.symvers ]]; then here=$(basename "$(dirname "$build")"); fi
done
[[ -n $here ]] || fail "no kernel under /lib/modules has headers"
flavour=cloud-amd64
apt-get update -q >/dev/null
image=$(apt-cache depends linux-image-$flavour | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n1)
[[ -n $image ]] || fail "apt knows no linux-image-$flavour"
release=${image#linux-image-}
[[ ! -e /lib/modules/$release ]] || fail "$release is installed already"
ln -sf /bin/true /usr/sbin/update-initramfs

apply=(hostwright vmware apply --kernel "$here" --no-load --no-rehearse --yes)

# installed RELEASE: whether DKMS and the kernel's tools find both modules there.
installed() {
  local module
  dkms status -m hostwright-vmware -k "$1" | grep -q 'installed$' || fail "dkms does not say that it is installed for $1"
  for module in vmmon vmnet; do
    magic=$(modinfo -k "$1" -F vermagic "$module") || fail "$module is not there for $1"
    [[ ${magic%% *} == "$1" ]] || fail "$module is for ${magic%% *}"
    echo "$(modinfo -k "$1" -F filename "$module"): for $1, signed by $(modinfo -k "$1" -F signer "$module")"
  done
}

echo "== there and back"
"$project/tests/bus/tree.sh" save /run/before
run "${apply[@]}" --on-kernel-update dkms
run dkms status
installed "$here"
openssl x509 -inform DER -in /var/lib/dkms/mok.pub -noout || fail "DKMS's certificate is none"
run hostwright undo --last --yes
"$project/tests/bus/tree.sh" compare /run/before /var/lib/hostwright /var/cache/hostwright /var/log || fail "undo left something"

echo "== over what the hooks had there"
run "${apply[@]}" --on-kernel-update hook
sum=$(sha256sum "$(modinfo -k "$here" -F filename vmmon)")
"$project/tests/bus/tree.sh" save /run/before
run "${apply[@]}" --on-kernel-update dkms
installed "$here"
if [[ -e /etc/kernel/postinst.d/zz-hostwright ]]; then fail "the hook is there beside DKMS"; fi
run hostwright undo --last --yes
sha256sum --check --quiet <<<"$sum" || fail "the module of before is not back"
"$project/tests/bus/tree.sh" compare /run/before /var/lib/hostwright /var/cache/hostwright /var/log || fail "undo left something"
run hostwright undo --last --yes

echo "== one after the other, and never both"
run "${apply[@]}" --on-kernel-update dkms
installed "$here"
# Both at once are refused, and so is half a key.
status=0
"${apply[@]}" --on-kernel-update hook || status=$?
[[ $status -eq 3 ]] || fail "hooks beside DKMS ended with $status"
mv /var/lib/dkms/mok.pub /run/mok.pub
status=0
"${apply[@]}" --on-kernel-update dkms || status=$?
[[ $status -eq 3 ]] || fail "half a key ended with $status"
mv /run/mok.pub /var/lib/dkms/mok.pub
key=$(sha256sum /var/lib/dkms/mok.key)

# comes PACKAGE...: apt installs them.
comes() {
  run env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" >/run/apt.log 2>&1 ||
    { cut -c1-200 /run/apt.log | tail -n 60 >&2 && fail "the installation of $* failed"; }
}
# The second kernel: as it should be, and gone again.
there_and_gone() {
  installed "$release"
  sha256sum --check --quiet <<<"$key" || fail "DKMS made a new key"
  grep -q '"good": true' "/var/lib/hostwright/updates/$release.json" || fail "the success was not told"
  run env DEBIAN_FRONTEND=noninteractive apt-get purge -q -y "$image" "linux-headers-$release" >/run/apt.log 2>&1 ||
    { cut -c1-200 /run/apt.log | tail >&2 && fail "the removal failed"; }
  left=$(find "/lib/modules/$release" -name 'vm*.ko*' 2>/dev/null || true)
  [[ -z $left ]] || fail "modules were left: $left"
}
echo "== a second kernel comes, and its headers after it"
comes "$image"
comes "linux-headers-$release"
there_and_gone
echo "== both at once: apt sets the headers up first"
comes "$image" "linux-headers-$release"
there_and_gone
echo "== its headers alone, and the kernel after them"
comes "linux-headers-$release"
comes "$image"
there_and_gone

echo "== sources that cannot be built are told, and are an error of DKMS"
tar --create --file /usr/lib/vmware/modules/source/vmmon.tar --directory "$project/data/practice" vmnet-only
dkms unbuild -m hostwright-vmware -v 1 -k "$here" >/dev/null 2>&1 || true
status=0
dkms install -m hostwright-vmware -v 1 -k "$here" >/run/dkms.log 2>&1 || status=$?
[[ $status -ne 0 ]] || fail "DKMS heard nothing of the failure"
grep -q '"good": false' "/var/lib/hostwright/updates/$here.json" || fail "the failure was not told"
echo "dkms: passed"
