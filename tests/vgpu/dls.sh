#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A licence server of one's own is set up and taken back: `hostwright vgpu licence-server` in a virtual machine with Debian 12,
# systemd and Docker or Podman that seems to be a Proxmox host. The image comes by its digest from a registry in the machine.
#
#   dls.sh BINARIES [ENGINE]     BINARIES: a folder with hostwright and hostwright-helper; docker (or podman)
#
# Needs root, mmdebstrap, e2fsprogs, qemu-system-x86_64 and python3.
#
# DLS_IMAGE_ROOT     a folder with the file system of an image of FastAPI-DLS, whose /serve starts it; without it a stand-in
#                    that gives out no licences
# HOSTWRIGHT_CACHE   where the roots are kept (default: ~/.cache/hostwright)
# DLS_VM_SECONDS     how long the machine may take (default: 1200)
set -euo pipefail
umask 022
here=$(cd "$(dirname "$0")" && pwd -P)
project=$(cd "$here/../.." && pwd -P)
binaries=$(cd "${1:?usage: dls.sh BINARIES [ENGINE]}" && pwd)
engine=${2:-docker}
case $engine in
docker) packages=apparmor,docker.io,docker-compose ;;
podman) packages=podman,podman-compose ;;
*) echo "dls.sh: docker or podman, not $engine" >&2; exit 1 ;;
esac
cache=${HOSTWRIGHT_CACHE:-$HOME/.cache/hostwright}/dls-vm
# shellcheck source=tests/guest.sh
source "$project/tests/guest.sh"

machine=systemd-sysv,dbus,polkitd,libpam-systemd,kmod,udev,initramfs-tools,linux-image-amd64,iproute2,iptables
guest_root "$engine" "$machine,bubblewrap,openssl,curl,ca-certificates,tzdata,$packages"
guest_root image python3,curl

work=$(mktemp -d "$cache/run.XXXXXX")
done=
cleanup() {
  rm -rf --one-file-system "$work/all" "$work/image" "$work/disk.img"
  [[ -z $done ]] || rm -rf "$work"
}
trap cleanup EXIT
guest_copy "$engine"

# --- the image ---
image=${DLS_IMAGE_ROOT:-}
if [[ -z $image ]]; then
  image=$work/image
  cp -a --reflink=auto "$cache/image" "$image"
  mkdir -p "$image/app"
  install -m 755 "$here/lab/dls.py" "$image/serve"
fi
"$here/lab/registry.py" make "$work/all/srv/registry" "$image" localhost:5000/fastapi-dls >"$work/all/srv/image"
echo "$engine" | put /srv/engine
# Docker takes a registry on this machine without TLS; Podman is told.
printf '[[registry]]\nlocation = "localhost:5000"\ninsecure = true\n' | put /etc/containers/registries.conf.d/test.conf
put /usr/local/bin/registry 755 <"$here/lab/registry.py"
guest_unit registry.service <<'END'
[Service]
ExecStart=/usr/local/bin/registry serve /srv/registry
END

# --- dressed as Proxmox, with Hostwright ---
guest_dressed_as_proxmox "$work/all"
guest_hostwright "$binaries"
guest_script licences <"$here/lab/licences.sh"
guest_disk "$engine" 4G
guest_parts

status=0
timeout "${DLS_VM_SECONDS:-1200}" "${guest[@]}" -m 2048 || status=$?
guest_ended "licence server by $engine" "$work/serial.log" "STAGE ALL GOOD" "$status"
