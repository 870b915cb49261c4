#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The kernel that comes next, for real: one that apt offers is downloaded, built for and tried in a virtual machine, and
# one that is installed and does not run likewise; by root and by a user without any right. Nothing is installed.
#
#   next.sh
#
# Needs root (for the view), apt's archive and QEMU. PROFILE says which build is used (default: release).
set -euo pipefail
project=$(cd "$(dirname "$0")/../.." && pwd -P)
if [[ -z ${WITH_BUS_UPPER:-} ]]; then
  exec "$project/tests/bus/with-bus.sh" -- "$0" "$@"
fi

fail() {
  echo "next: $*" >&2
  exit 1
}

mkdir -p /etc/vmware /usr/lib/vmware/modules/source
rm -rf /usr/lib/vmware/modules/source/*
printf 'product.name = "VMware Workstation"\nproduct.version = "16.2.5"\nlibdir = "/usr/lib/vmware"\n' >/etc/vmware/config
for module in vmmon vmnet; do
  tar --create --file "/usr/lib/vmware/modules/source/$module.tar" --directory "$project/data/practice" "$module-only"
done
useradd --create-home --home-dir /home/nobody-special nobody-special
before=$(dpkg-query -W | sha256sum)

echo "== what apt offers, by a user without any right"
status=0
setpriv --reuid nobody-special --regid nobody-special --clear-groups env -i HOME=/home/nobody-special PATH="$PATH" \
  LC_ALL=C.UTF-8 hostwright vmware check-next --package linux-image-cloud-amd64 --json >/run/next.json || status=$?
python3 - /run/next.json <<'END'
import json, sys
# A line for each event, and the answer as the last.
document = json.loads(open(sys.argv[1]).read().splitlines()[-1])
offered = [k for k in document["kernels"] if k.get("package") == "linux-image-cloud-amd64"]
assert len(offered) == 1, document
for question in ["build", "load"]:
    assert offered[0][question]["state"] == "good", offered[0]
print(f"next: {offered[0]['release']}: " + "; ".join(f"{q} {offered[0][q]['state']}" for q in ["build", "load", "trust"]))
END
[[ $(dpkg-query -W | sha256sum) == "$before" ]] || fail "something was installed"
left=$(find /home/nobody-special/.cache/hostwright -maxdepth 1 -name 'next-*' 2>/dev/null || true)
[[ -z $left ]] || fail "the download was left: $left"

echo "== what is installed"
hostwright vmware check-next --installed || status=$?

echo "== sources that do not fit are told"
tar --create --file /usr/lib/vmware/modules/source/vmmon.tar --directory "$project/data/practice" vmnet-only
status=0
hostwright vmware check-next --installed >/run/bad || status=$?
[[ $status -eq 1 ]] || { cat /run/bad >&2 && fail "it ended with $status"; }
echo "next: passed"
