#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What the virtual machine of tests/vgpu/vm.sh does at each start.
export HOME=/root TZ=UTC COLUMNS=100
stage=$(cat /var/stage 2>/dev/null || echo 0)
say() { echo "STAGE $stage: $*"; }
fail() {
  say "FAILED: $*"
  journalctl -b -q --no-pager -u hostwright-helper | tail -n 30
  tail -n 20 /var/log/nvidia-installer.log /var/lib/dkms/nvidia/*/build/make.log 2>/dev/null
  systemctl poweroff
  exit 1
}
# Every file with its bytes, mode and owner. Left out: what lives (logs, caches, the history of dpkg and of Hostwright).
# One process for many files: starting one for each takes an emulated machine longer than the reading.
lists() {
  find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /dev -o -path /var/log \
    -o -path /var/cache -o -path /var/tmp -o -path /var/lib/hostwright -o -path /var/lib/systemd -o -path /var/backups \
    -o -path /srv/www -o -path "/var/stage*" -o -path /var/before -o -path /var/lib/dpkg/status \
    -o -path /var/lib/dpkg/status-old -o -path /var/lib/apt/extended_states -o -path /boot/grub/grubenv \
    -o -path /etc/machine-id -o -path /var/lib/dpkg/lock -o -path /var/lib/dpkg/lock-frontend \
    -o -path /var/lib/dpkg/triggers \) -prune -o "$@"
}
tree() {
  {
    lists \( -type l -printf 'link %p -> %l\n' -o -type d -printf '%m %U:%G folder %p\n' -o \
      -printf '%m %U:%G file %p\n' \)
    lists -type f -print0 | xargs -0 b2sum
  } | LC_ALL=C sort
}
types() { ls /sys/bus/pci/devices/0041:00:00.0/mdev_supported_types 2>/dev/null; }
# A card that is native, or one that is unlocked.
id=0x1eb8
given=(--driver /root/NVIDIA*.run)
if [[ -e /root/unlock ]]; then
  id=0x1e87
  given+=(--patch /root/535.230.02.patch --unlock-source /root/unlock)
fi
library=/usr/local/lib/hostwright/libvgpu_unlock_rs.so
say "cmdline: $(cat /proc/cmdline)"
for _ in $(seq 30); do [[ -e /sys/bus/pci/devices/0041:00:00.0 ]] && break; sleep 1; done
[[ $(cat /sys/bus/pci/devices/0041:00:00.0/device) == "$id" ]] || fail "the card is not there"
case $stage in
0)
  update-grub || fail update-grub
  apt-get update || true
  tree >/var/before
  say "$(wc -l </var/before) files, folders and links before"
  dpkg-query -W | sort >/var/stage.packages
  hostwright vgpu check
  hostwright vgpu apply --branch 16.9 --check "${given[@]}" || say "apply --check ended with $?"
  hostwright vgpu continue --yes && fail "there is nothing to continue"
  if [[ -e /root/unlock ]]; then
    hostwright vgpu apply --branch 16.9 --yes --driver /root/NVIDIA*.run --patch /root/535.230.02.patch && fail "unlocked without the library"
  fi
  hostwright vgpu apply --branch 16.9 --stage install --yes "${given[@]}" && fail "stage 2 before stage 1"
  hostwright -v vgpu apply --branch 16.9 --yes "${given[@]}" || fail "stage 1"
  if [[ -e /root/unlock ]]; then
    file=$(od -An -tx1 -N4 "$library") || fail "no library"
    [[ $file == " 7f 45 4c 46" ]] || fail "the library is $file"
    say "the library has $(stat -c %s "$library") bytes; $(cargo --version)"
  fi
  grep -r . /etc/apt/sources.list /etc/apt/sources.list.d
  [[ -e /usr/sbin/dkms && -e /lib/modules/$(uname -r)/build/Makefile ]] || fail "packages"
  ;;
1)
  grep -qw intel_iommu=on /proc/cmdline || fail "the parameter did not arrive"
  [[ $(ls /sys/class/iommu) ]] || fail "the IOMMU is not in use"
  lsmod | grep -q vfio_pci || fail "vfio_pci is not loaded"
  cat /run/motd.d/hostwright-vgpu || fail "nothing tells that it can go on"
  hostwright vgpu ready
  hostwright vgpu verify && fail "verified before there is a driver"
  hostwright -v vgpu continue --yes || fail "stage 2"
  say "types: $(types)"
  [[ $(types) == nvidia-231 ]] || fail "no types"
  if [[ -e /root/unlock ]]; then
    printf '[profile.nvidia-231]\nnum_displays = 1\nframebuffer = 0x74000000\n' >/root/profile_override.toml
    hostwright vgpu overrides /root/profile_override.toml --yes || fail overrides
    cmp /root/profile_override.toml /etc/vgpu_unlock/profile_override.toml || fail "the overrides are not there"
    rm /root/profile_override.toml
  fi
  ;;
2)
  say "types after a restart: $(types)"
  hostwright vgpu verify || fail verify
  if [[ -e /root/unlock ]]; then
    say "processes with the library: $(sort /run/unlocked | uniq | paste -sd' ')"
    for service in nvidia-vgpud nvidia-vgpu-mgr; do
      systemctl show -p Environment "$service.service" | grep -qF "LD_PRELOAD=$library" || fail "$service does without the library"
    done
    grep -qF "$library" "/proc/$(systemctl show -p MainPID --value nvidia-vgpu-mgr.service)/maps" ||
      fail "nvidia-vgpu-mgr has not loaded the library"
  fi
  hostwright vgpu status || say "status ended with $?"
  hostwright vgpu apply --yes "${given[@]}" | grep -i "nothing to do" || fail "a second apply"
  hostwright runs
  hostwright -v vgpu remove --yes || fail remove
  types && fail "types are still there"
  ;;
3)
  grep -qw intel_iommu=on /proc/cmdline && fail "the parameter is still there"
  dpkg-query -W | sort | diff /var/stage.packages - || fail "the packages are not those of before"
  rm -f /var/stage.packages
  tree | diff /var/before - || fail "a file differs"
  say "$(wc -l </var/before) files, folders and links are as before"
  say ALL STAGES GOOD
  systemctl poweroff
  exit
  ;;
esac
echo $((stage + 1)) >/var/stage
# It leaves by itself when it is idle; a restart meanwhile would wait for it.
for _ in $(seq 90); do
  systemctl -q is-active hostwright-helper || break
  sleep 1
done
systemctl reboot
