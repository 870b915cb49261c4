#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# In the virtual machine of dls.sh: a licence server is set up, asked, restarted and taken back.
set -uo pipefail
work=/root/try
mkdir -p "$work"
cd "$work" || exit 1
image=$(cat /srv/image)
# docker or podman
engine=$(cat /srv/engine)
address=192.0.2.7
dls=/etc/hostwright/dls

end() {
  echo "STAGE $*"
  sync
  systemctl --no-block poweroff
  exit 0
}
bad() {
  cat "$work/said"
  journalctl -b --no-pager -u hostwright-dls -u docker | cut -c1-300 | tail -n 40
  "$engine" ps -a
  "$engine" inspect --format '{{json .State}}' hostwright-dls
  end "BAD: $*"
}
stage=STAGE
said=$work/said
# shellcheck source=tests/says.sh
source /usr/local/lib/says.sh
# Each file, folder and link that is kept, but for Docker's own state and our history.
tree() {
  find / -xdev \( -path /var/lib/docker -o -path /var/lib/containerd -o -path /var/lib/containers -o -path /var/lib/cni -o -path /var/cache/containers -o -path /var/lib/hostwright -o -path /var/cache/hostwright \
    -o -path /var/log -o -path "$work" -o -path /tmp -o -path /var/tmp -o -path /var/lib/systemd -o -path '/var/cache/apt/*.bin' \) -prune -o \
    \( -type d -printf '%p %m %U:%G\n' -o -printf '%p %m %U:%G %s %T@ %l\n' \) | sort
}
ask() { curl --silent --show-error --fail --max-time 20 --cacert "$dls/webserver.crt" "$@"; }

echo "STAGE $(cut -d. -f1 /proc/uptime) s: began"
{ ip link add vmbr0 type bridge && ip address add "$address/24" dev vmbr0 && ip link set vmbr0 up; } || bad "no bridge"
for ((i = 0; i < 60; i++)); do
  ! "$engine" info >/dev/null 2>&1 || break
  sleep 2
done
"$engine" info >/dev/null 2>"$work/said" || bad "$engine does not answer"
"$engine" image ls --quiet | grep -q . && bad "there are images already"
tree >"$work/before"

server=(vgpu licence-server --image "$image" --listen "$address" --name dls.example)
says 3 "entitled" "${server[@]}" --yes
says 3 "no digest" vgpu licence-server --image "${image%@*}" --listen "$address" --i-am-entitled --yes
server+=(--i-am-entitled)
says 10 "Fetch the image $image" "${server[@]}" --check
[[ ! -e $dls ]] || bad "--check made something"
says 0 "the licence server answers" "${server[@]}" --yes

[[ $("$engine" inspect --format '{{.State.Health.Status}}' hostwright-dls) == healthy ]] || bad "the container is not healthy"
[[ $("$engine" inspect --format '{{.Config.Image}}' hostwright-dls) == "$image" ]] || bad "another image runs"
# What the kernel says of its first process; bit 10 is CAP_NET_BIND_SERVICE (capabilities(7)).
limits=$(awk '/^(CapBnd|CapEff|NoNewPrivs):/ {print $2}' "/proc/$("$engine" inspect --format '{{.State.Pid}}' hostwright-dls)/status" | paste -sd' ')
[[ $limits == "0000000000000400 0000000000000400 1" ]] || bad "its limits: $limits"
bits=$(stat -c '%a %U' "$dls" "$dls/webserver.key" "$dls/instance.private.pem" | sort | paste -sd' ')
[[ $bits == "600 root 600 root 700 root" ]] || bad "modes of the keys: $bits"
ask "https://$address/-/health" >"$work/said" || bad "it does not answer on its address"
ask --resolve "dls.example:443:$address" https://dls.example/-/health >"$work/said" || bad "it does not answer by its name"
! ask https://127.0.0.1/-/health 2>"$work/said" || bad "it answers on another address, too"
(mkdir tokens && cd tokens && ask -OJ "https://$address/-/client-token") || bad "it gives no token"
token=$(echo tokens/*.tok)
says 3 "There is no virtual machine 100" vgpu token 100 "$token" --yes
says 3 "Guests with this token ask dls.example" vgpu token 100 "$token" --yes
says 0 "Nothing to do" "${server[@]}" --check

echo "STAGE $(cut -d. -f1 /proc/uptime) s: its service is restarted"
sum=$(sha256sum <"$dls/webserver.crt")
systemctl restart hostwright-dls.service || bad "it could not be restarted"
for ((i = 0; i < 90; i++)); do
  ! ask "https://$address/-/health" >/dev/null 2>&1 || break
  sleep 2
done
ask "https://$address/-/health" >/dev/null 2>"$work/said" || bad "it does not answer after it was restarted"
[[ $(sha256sum <"$dls/webserver.crt") == "$sum" ]] || bad "another certificate"

says 0 "" undo --last --yes
[[ -z $("$engine" ps --all --quiet) ]] || bad "a container stayed"
[[ -z $("$engine" image ls --quiet) ]] || bad "the image stayed"
[[ $("$engine" volume ls --quiet | sort | paste -sd' ') == "hostwright-dls_cert hostwright-dls_database" ]] || bad "not the two volumes"
[[ -z $("$engine" network ls --quiet --filter name=hostwright) ]] || bad "a network stayed"
! systemctl is-active --quiet hostwright-dls.service || bad "its service runs"
tree >"$work/after"
diff "$work/before" "$work/after" >"$work/said" || bad "something is not as before"
echo "STAGE $(wc -l <"$work/before") files, folders and links are as before"
end "ALL GOOD after $(cut -d. -f1 /proc/uptime) s"
