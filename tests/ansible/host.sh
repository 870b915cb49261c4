#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One machine of fleet.sh, inside with-bus.sh: VMware seems to be installed, and sshd waits for Ansible.
#
#   host.sh NAME FOLDER     FOLDER holds keys and configuration of sshd
set -euo pipefail
project=$(cd "$(dirname "$0")/../.." && pwd -P)
name=$1 work=$2

rm -rf /usr/lib/vmware/modules/source
mkdir -p /etc/vmware /usr/lib/vmware/modules/source /run/sshd
printf 'product.name = "VMware Workstation"\nproduct.version = "16.2.5"\nlibdir = "/usr/lib/vmware"\nbindir = "/usr/bin"\n' \
  >/etc/vmware/config
for module in vmmon vmnet; do
  tar --create --file "/usr/lib/vmware/modules/source/$module.tar" --directory "$project/data/practice" "$module-only"
done
printf '#!/bin/sh\nexec /usr/lib/vmware/bin/vmware "$@"\n' >/usr/bin/vmware
chmod 755 /usr/bin/vmware
# This one has lost the sources of a module.
if [[ $name == broken ]]; then rm /usr/lib/vmware/modules/source/vmnet.tar; fi
exec /usr/sbin/sshd -D -E "$work/$name.log" -f "$work/sshd_config"
