#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Cards that umockdev makes from a description are found in the sysfs that it makes.
#
#   tests/vgpu/umockdev.sh BINARIES     BINARIES: a folder with hostwright
#
# umockdev redirects calls of the C library; Hostwright asks the kernel itself for files below a directory handle, so
# umockdev's sysfs is mounted over /sys for it alone. Needs root, umockdev, python3. Ends with 0 only when each card was
# seen as it is described.
set -euo pipefail

binaries=$(cd "${1:?usage: umockdev.sh BINARIES}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A Tesla T4 that nouveau holds, an A16 with SR-IOV whose functions are not made yet, a network card that is none of it.
cat >"$work/cards.umockdev" <<'END'
P: /devices/pci0000:40/0000:41:00.0
E: SUBSYSTEM=pci
E: DRIVER=nouveau
E: PCI_CLASS=30200
E: PCI_ID=10DE:1EB8
E: PCI_SLOT_NAME=0000:41:00.0
A: vendor=0x10de\n
A: device=0x1eb8\n
A: subsystem_vendor=0x10de\n
A: subsystem_device=0x12a2\n
A: class=0x030200\n

P: /devices/pci0000:60/0000:61:00.0
E: SUBSYSTEM=pci
E: PCI_CLASS=30200
E: PCI_ID=10DE:25B6
E: PCI_SLOT_NAME=0000:61:00.0
A: vendor=0x10de\n
A: device=0x25b6\n
A: subsystem_vendor=0x10de\n
A: subsystem_device=0x14a9\n
A: class=0x030200\n
A: sriov_totalvfs=16\n
A: sriov_numvfs=0\n

P: /devices/pci0000:00/0000:00:1f.6
E: SUBSYSTEM=pci
E: PCI_CLASS=20000
E: PCI_ID=8086:15BB
E: PCI_SLOT_NAME=0000:00:1f.6
A: vendor=0x8086\n
A: device=0x15bb\n
A: subsystem_vendor=0x8086\n
A: subsystem_device=0x0000\n
A: class=0x020000\n
END

# Its sysfs lies over the machine's in a mount namespace of its own. Status 1: there is advice.
# shellcheck disable=SC2016 # for the shell inside
umockdev-run --device "$work/cards.umockdev" -- unshare --mount --propagation private sh -euc '
  unset LD_PRELOAD
  mount --bind "$UMOCKDEV_DIR/sys" /sys
  "$1" --json vgpu status >"$2" || [ $? = 1 ]
' sh "$binaries/hostwright" "$work/status.json"

python3 - "$work/status.json" <<'END'
import json, sys

gpus = json.load(open(sys.argv[1]))["facts"]["gpus"]["seen"]
seen = [(g["address"], g["device_id"], g["subsystem"], g["driver"], g["sriov"] and g["sriov"]["total"]) for g in gpus]
wanted = [
    ("0000:41:00.0", "1eb8", "10de:12a2", "nouveau", None),
    ("0000:61:00.0", "25b6", "10de:14a9", None, 16),
]
if seen != wanted:
    sys.exit(f"umockdev: the cards were not seen as they are described: {seen}")
END
echo "umockdev: both cards were seen as they are described"
