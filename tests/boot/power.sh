#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# In the virtual machine of power-vm.sh, at each of its two starts.
set -uo pipefail
export LC_ALL=C.UTF-8
start=1
[[ ! -e /srv/first ]] || start=2
said=$(mktemp)

bad() {
  cat "$said"
  journalctl -b --no-pager -u tuned -u power-profiles-daemon | tail -n 30
  echo "STAGE $start: BAD: $*"
  sync
  systemctl --no-block poweroff
  exit 0
}
stage="STAGE $start:"
# shellcheck source=tests/says.sh
source /usr/local/lib/says.sh
# Waits until tuned has a profile.
tuned() {
  local i
  for ((i = 0; i < 60; i++)); do
    [[ $(tuned-adm active 2>/dev/null) != "Current active profile: $1" ]] || return 0
    sleep 2
  done
  tuned-adm active >"$said" 2>&1
  bad "tuned's profile is not $1"
}
daemon() {
  [[ $(powerprofilesctl get) == "$1" ]] || bad "power-profiles-daemon's profile is not $1, but $(powerprofilesctl get)"
}
# What tuned's profile says of a number of the kernel, where Debian's own is another.
swappiness() { [[ $(cat /proc/sys/vm/swappiness) == "$1" ]] || bad "vm.swappiness is $(cat /proc/sys/vm/swappiness), not $1"; }

if [[ $start == 1 ]]; then
  tuned virtual-guest
  [[ $(cat /etc/tuned/profile_mode) == auto ]] || bad "tuned did not choose by itself"
  number=$(cat /proc/sys/vm/swappiness)
  says 0 "virtual-guest" tuning list
  says 3 "\`warp\` is none of" tuning apply power-profile=warp --yes
  says 10 "Choose the power profile virtual-host (tuned)" tuning apply power-profile --check
  says 0 "The step is done" tuning apply power-profile --yes
  tuned virtual-host
  swappiness 10
  says 0 "othing to do" tuning apply power-profile --yes
  says 0 "" undo --last --yes
  tuned virtual-guest
  [[ $(cat /etc/tuned/profile_mode) == auto ]] || bad "tuned does not choose by itself any more"
  swappiness "$number"
  tuned-adm off || bad "tuned off"
  says 0 "The step is done" tuning apply power-profile --yes
  says 0 "" undo --last --yes
  [[ $(tuned-adm active) == "No current active profile." ]] || bad "tuned has a profile again"
  says 0 "The step is done" tuning apply power-profile --yes
  touch /srv/first
  echo "STAGE 1: good"
  sync
  systemctl --no-block reboot
  exit 0
fi

tuned virtual-host
swappiness 10
says 0 "virtual-host" tuning list
says 0 "" undo --all --yes
[[ $(tuned-adm active) == "No current active profile." ]] || bad "tuned has a profile again"

# --- the other one ---
systemctl disable --now tuned.service || bad "tuned does not stop"
mv /usr/sbin/tuned /srv/
mv /srv/power-profiles-daemon /usr/libexec/
rm /etc/systemd/system/power-profiles-daemon.service
systemctl daemon-reload
systemctl start power-profiles-daemon.service || bad "power-profiles-daemon does not start"
daemon balanced
says 0 "balanced" tuning list
# This processor has no driver that could do more.
says 3 "performance" tuning apply power-profile --yes
says 0 "The step is done" tuning apply power-profile=power-saver --yes
daemon power-saver
says 0 "othing to do" tuning apply power-profile=power-saver --yes
says 0 "" undo --all --yes
daemon balanced
echo "STAGE 2: good"
sync
systemctl --no-block poweroff
