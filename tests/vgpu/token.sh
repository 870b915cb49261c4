#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A licence server's token goes into a running virtual machine and out again, through a real guest agent: Debian 12 with
# systemd and qemu-guest-agent in QEMU, its socket where Proxmox puts it. This machine seems to be a Proxmox host, in a
# copy-on-write view with a bus, polkit and the helper; made for it are pveversion, qm (which speaks with the agent), and in
# the guest a service with the name of NVIDIA's.
#
#   token.sh
#
# Needs root, mmdebstrap, e2fsprogs, qemu-system-x86_64 and python3. The first time it makes the guest, which is kept in
# HOSTWRIGHT_CACHE (default: ~/.cache/hostwright). PROFILE says which build is used (default: dev).
set -euo pipefail
umask 022
project=$(cd "$(dirname "$0")/../.." && pwd -P)

fail() {
  echo "token: $*" >&2
  [[ ! -s ${work:-}/said ]] || cat "$work/said" >&2
  exit 1
}

if [[ -z ${TOKEN_WORK:-} ]]; then
  [[ $(id -u) -eq 0 ]] || fail "only root can make the view; try: sudo $0"
  cache=${HOSTWRIGHT_CACHE:-$HOME/.cache/hostwright}/token-vm
  # shellcheck source=tests/guest.sh
  source "$project/tests/guest.sh"
  guest_root root systemd-sysv,kmod,udev,initramfs-tools,linux-image-cloud-amd64,qemu-guest-agent
  work=$(mktemp -d "$cache/run.XXXXXX")
  trap 'rm -rf --one-file-system "$work"' EXIT
  guest_copy root
  # Counts its starts.
  guest_unit nvidia-gridd.service <<'END'
[Service]
ExecStart=/bin/sh -c 'echo started >>/var/starts; exec sleep infinity'
END
  guest_disk root 1600M
  status=0
  TOKEN_WORK=$work "$project/tests/bus/with-bus.sh" --bind "$cache" -- "$(readlink -f "$0")" || status=$?
  exit "$status"
fi

# --- in the view: a Proxmox host with a virtual machine ---

work=$TOKEN_WORK
cd "$work"
# shellcheck source=tests/guest.sh
source "$project/tests/guest.sh"
guest_dressed_as_proxmox /
install -m 755 "$project/tests/vgpu/lab/qm" /usr/sbin/qm
mkdir -p /etc/pve/qemu-server /run/qemu-server
printf 'agent: 1\nname: desk\nmemory: 512\n' >/etc/pve/qemu-server/100.conf

# A token as a licence server makes it, with when it ends and the server.
token() {
  python3 - "$1" "$2" <<'END'
import base64, json, sys
part = lambda v: base64.urlsafe_b64encode(json.dumps(v).encode()).decode().rstrip("=")
says = {"exp": int(sys.argv[1]), "service_instance_configuration": {"node_url_list": [{"idx": 0, "url": sys.argv[2]}]}}
print(part({"alg": "RS256"}), part(says), "c2lnbmF0dXJl", sep=".", end="")
END
}
name=client_configuration_token_28-11-2026-12-00-00.tok
folder=/etc/nvidia/ClientConfigToken
mkdir new
token 4000000000 dls.example >"$name"
token 4000000000 other.example >"new/$name"
token 1000000000 dls.example >ended.tok

said=$work/said
bad() { fail "$@"; }
# shellcheck source=tests/says.sh
source "$project/tests/says.sh"

# Runs a command in the guest and prints what it printed.
inside() {
  qm guest exec 100 -- "$@" | python3 -c 'import json, sys; a = json.load(sys.stdin); print(a.get("out-data", ""), end=""); sys.exit(a["exitcode"])'
}
starts() { inside wc -l /var/starts | cut -d' ' -f1; }
same() {
  [[ $1 == "$2" ]] || fail "$3: '$1' instead of '$2'"
}

says 3 "is off" vgpu token 100 "$name" --yes

guest_parts
"${guest[@]}" -m 512 -device virtio-serial -device virtserialport,chardev=qga0,name=org.qemu.guest_agent.0 \
  -chardev socket,path=/run/qemu-server/100.qga,server=on,wait=off,id=qga0 &
qemu=$!
echo "$qemu" >/run/qemu-server/100.pid
says 3 "agent of the virtual machine 100 cannot be used" vgpu token 100 "$name" --yes
for ((i = 0; i < 100; i++)); do
  kill -0 "$qemu" 2>/dev/null || fail "QEMU ended"
  ! inside systemctl is-active nvidia-gridd.service >/dev/null 2>&1 || break
  sleep 2
done
same "$(inside systemctl is-active nvidia-gridd.service)" active "the guest's service"
same "$(starts)" 1 "starts of the guest's service"

says 3 "It ended on" vgpu token 100 ended.tok --yes
says 10 "Put the licence token $name into the virtual machine 100" vgpu token 100 "$name" --check
inside test -e /etc/nvidia && fail "--check changed something"

says 0 dls.example vgpu token 100 "$name" --yes
same "$(inside cat "$folder/$name")" "$(cat "$name")" "the token in the guest"
same "$(inside stat -c '%a %U' "$folder/$name")" "744 root" "its mode and owner"
same "$(inside ls -A "$folder")" "$name" "what is in its folder"
same "$(starts)" 2 "starts of the guest's service"
# The token is nobody else's to read.
[[ -d /var/lib/hostwright/runs ]] || fail "the run left nothing on record"
grep -rlF -e "$(cat "$name")" /var/lib/hostwright /run/hostwright && fail "the token itself was kept"

says 0 "Nothing to do" vgpu token 100 "$name" --check
says 0 "Nothing to do" vgpu token 100 "$name" --yes
same "$(starts)" 2 "starts after nothing was to do"

inside chmod 600 "$folder/$name"
says 10 "Put the licence token" vgpu token 100 "new/$name" --check
says 0 other.example vgpu token 100 "new/$name" --yes
same "$(inside cat "$folder/$name")" "$(cat "new/$name")" "the newer token"
same "$(inside stat -c %a "$folder/$name")" 744 "its mode"
says 0 "" undo --last --yes
same "$(inside cat "$folder/$name")" "$(cat "$name")" "the older token, after the newer was taken back"
same "$(inside stat -c %a "$folder/$name")" 600 "its own mode"
same "$(starts)" 4 "starts of the guest's service"

says 0 "" undo --all --yes
inside test -e /etc/nvidia && fail "something stayed in the guest"
same "$(starts)" 5 "starts of the guest's service"

kill "$qemu"
wait "$qemu" 2>/dev/null || true
echo "vgpu token: passed in $SECONDS s"
