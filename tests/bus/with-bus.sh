#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Runs a command on a copy-on-write view of this machine, with a real system bus, real polkit and the
# installed helper, which the bus starts itself when it is called:
#
#   with-bus.sh [OPTION...] [--] COMMAND [ARGUMENT...]
#
#   --bind DIR          DIR stays the real one, also for writing (the project's folder always does)
#   --helper-args ARGS  options for the helper, for instance "--idle-exit 1"
#   --no-install        do not install the project (there is a bus, but no helper)
#   --no-polkit         do not start polkit
#   --keep DIR          keep what was changed in DIR/upper, one folder per tree
#
# In the view, /etc /usr /var /home /root /boot /opt /srv are overlays of the real ones; /run, /tmp and
# /dev are new. Nobody in it, root neither, can load a kernel module, restart the machine or set its clock.
# The command finds these variables:
#
#   WITH_BUS_UPPER   a folder per overlay (usr, etc, ...) with what differs from the machine
#   WITH_BUS_LOWER   a folder per overlay with what is really there
#   WITH_BUS_TREES   a file that says which folder belongs to which tree: FOLDER TREE, one per line
#
# tree.sh beside this script compares the view with what it was before.
#
# What is installed is what cargo built last with the profile in PROFILE (default: dev).
#
# The exit status is the command's. When it ends, and when this script or whoever started it is killed,
# everything in the view ends too: it is a process namespace of its own, and its files are in memory.
# Needs root.
set -euo pipefail

project=$(cd "$(dirname "$0")/../.." && pwd -P)
state=/run/with-bus

fail() {
  echo "with-bus: $*" >&2
  exit 125
}

# --- outside: into namespaces of our own ---

if [[ ${WITH_BUS_INSIDE:-} != "$$" ]]; then
  [[ $# -gt 0 ]] || fail "no command given; see the beginning of $0"
  [[ $1 != --help && $1 != -h ]] || {
    sed -n '4,/^set -e/{/^#/!d;s/^# \{0,1\}//;p}' "$0"
    exit 0
  }
  [[ $(id -u) -eq 0 ]] || fail "only root can make the view; try: sudo $0 $*"
  for tool in unshare setpriv dbus-daemon dbus-send findmnt; do
    command -v "$tool" >/dev/null || fail "$tool is missing; run \`make deps\`"
  done
  # Each of these execs, so that the process that the caller knows is the one whose end ends all.
  # The first process of the new process namespace has the number 1, by which it knows itself.
  # shellcheck disable=SC2016 # "$@" is for the inner shell
  exec env WITH_BUS_INSIDE=1 setpriv --pdeathsig KILL --bounding-set=-sys_module,-sys_boot,-sys_time \
    unshare --mount --pid --fork --mount-proc --kill-child -- "$(readlink -f "$0")" "$@"
fi
unset WITH_BUS_INSIDE

# --- inside ---

binds=("$project")
helper_args=
install=yes
polkit=yes
keep=
while [[ $# -gt 0 ]]; do
  case $1 in
    --bind)
      binds+=("$(realpath -e "$2")") || fail "there is no folder $2"
      shift
      ;;
    --helper-args)
      helper_args=$2
      shift
      ;;
    --no-install) install=no ;;
    --no-polkit) polkit=no ;;
    --keep)
      keep=$(realpath -e "$2") || fail "there is no folder $2"
      shift
      ;;
    --)
      shift
      break
      ;;
    -*) fail "unknown option $1; see the beginning of $0" ;;
    *) break ;;
  esac
  shift
done
[[ $# -gt 0 ]] || fail "no command given; see the beginning of $0"
if [[ -n ${CARGO_TARGET_DIR:-} ]]; then
  mkdir -p "$CARGO_TARGET_DIR"
  binds+=("$(realpath "$CARGO_TARGET_DIR")")
fi
here=$(pwd -P)

# Holds a folder's real contents at another place, whatever is mounted over it later.
hold() {
  mkdir -p "$2"
  mount --rbind "$1" "$2"
}

mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p "$state"/{lower,upper,work,held,dev} /run/lock /run/dbus
for i in "${!binds[@]}"; do
  hold "${binds[$i]}" "$state/held/$i"
done
if [[ -n $keep ]]; then
  hold "$keep" "$state/keep"
  mkdir -p "$state/keep/upper" "$state/keep/.work"
fi

# An overlay of one mounted tree ($1), under a name of its own ($2).
overlay() {
  local upper=$state/upper/$2 work=$state/work/$2
  if [[ -n $keep ]]; then
    upper=$state/keep/upper/$2 work=$state/keep/.work/$2
  fi
  mkdir -p "$upper" "$work"
  mkdir -p "$state/lower/$2"
  mount --bind "$1" "$state/lower/$2"
  echo "$2 $1" >>"$state/trees"
  chmod --reference="$1" "$upper"
  chown --reference="$1" "$upper"
  mount -t overlay -o "lowerdir=$state/lower/$2,upperdir=$upper,workdir=$work" overlay "$1" 2>/dev/null ||
    # A file system that cannot be below an overlay (some network ones) can still be looked at.
    mount -o bind,ro "$state/lower/$2" "$1"
}

# Mounts below these trees would be hidden by the overlay of the tree above: they get one each.
mapfile -t mounts < <(findmnt -rno TARGET | sort -u)
for top in etc usr var home root boot opt srv bin sbin lib lib64 lib32; do
  [[ -d /$top && ! -L /$top ]] || continue
  below=()
  for mount in "${mounts[@]}"; do
    mount=$(printf '%b' "$mount")
    if [[ $mount == "/$top"/* && -d $mount ]]; then below+=("$mount"); fi
  done
  for mount in ${below[@]+"${below[@]}"}; do hold "$mount" "$state/below$mount"; done
  overlay "/$top" "$top"
  for mount in ${below[@]+"${below[@]}"}; do
    name=${mount#/}
    mount --bind "$state/below$mount" "$mount"
    overlay "$mount" "${name//\//-}"
  done
done
[[ -z $keep ]] || mount --rbind "$state/keep/upper" "$state/upper"

# Devices that programs expect; a new node is nobody else's, and other devices cannot be reached.
mount -t tmpfs -o mode=755 tmpfs "$state/dev"
for device in null zero full random urandom tty kvm fuse net/tun; do
  if [[ -c /dev/$device ]]; then
    mkdir -p "$(dirname "$state/dev/$device")"
    : >"$state/dev/$device"
    mount --bind "/dev/$device" "$state/dev/$device"
  fi
done
mkdir "$state/dev/pts" "$state/dev/shm"
# Terminals of its own: the real /dev/ptmx finds the real /dev/pts only beside itself.
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts "$state/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$state/dev/shm"
ln -s pts/ptmx "$state/dev/ptmx"
ln -s /proc/self/fd "$state/dev/fd"
for i in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${i%%:*}" "$state/dev/${i#*:}"; done
mount --rbind "$state/dev" /dev
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -o remount,bind,ro /sys

for i in "${!binds[@]}"; do
  mkdir -p "${binds[$i]}"
  mount --rbind "$state/held/$i" "${binds[$i]}"
done
# The working folder may now lie below an overlay.
cd "$here" 2>/dev/null || cd /
unset DBUS_SYSTEM_BUS_ADDRESS DBUS_SESSION_BUS_ADDRESS DBUS_STARTER_ADDRESS XDG_RUNTIME_DIR
export TMPDIR=/tmp
export WITH_BUS_UPPER=$state/upper WITH_BUS_LOWER=$state/lower WITH_BUS_TREES=$state/trees

if [[ $install == yes ]]; then
  # MAKEFLAGS of a make around this are no business of the installation.
  env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make -s -C "$project" install DESTDIR= PROFILE="${PROFILE:-dev}" >"$state/install.log" 2>&1 || {
    cat "$state/install.log" >&2
    fail "the project could not be installed in the view"
  }
  service=$(find /usr/local/share/dbus-1/system-services /usr/share/dbus-1/system-services \
    -name org.hostwright.Helper1.service 2>/dev/null | head -n1)
  [[ -n $service ]] || fail "make install left no D-Bus service file"
  [[ -z $helper_args ]] || sed -i "s|^Exec=.*|& $helper_args|" "$service"
fi

dbus-uuidgen --ensure=/etc/machine-id 2>/dev/null || true
dbus-daemon --system --fork --nopidfile || fail "the system bus did not start"

# Whether a name has an owner on the bus.
owned() {
  dbus-send --system --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.GetNameOwner \
    "string:$1" >/dev/null 2>&1
}

if [[ $polkit == yes ]]; then
  polkitd=
  for path in /usr/lib/polkit-1/polkitd /usr/libexec/polkitd /usr/lib/policykit-1/polkitd; do
    if [[ -x $path ]]; then polkitd=$path; fi
  done
  [[ -n $polkitd ]] || fail "polkitd is missing; run \`make deps\`"
  "$polkitd" --no-debug >"$state/polkitd.log" 2>&1 &
  disown # a test that ends it needs no word of the shell about it
  for ((i = 0; i < 100; i++)); do
    ! owned org.freedesktop.PolicyKit1 || break
    sleep 0.05
  done
  owned org.freedesktop.PolicyKit1 || {
    cat "$state/polkitd.log" >&2
    fail "polkit did not come up on the bus within 5 seconds"
  }
else
  # Not even the bus may start it.
  rm -f /usr/share/dbus-1/system-services/org.freedesktop.PolicyKit1.service
fi

status=0
"$@" || status=$?
[[ -z $keep ]] || rm -rf "$state/keep/.work"
exit "$status"
