#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Source trees x kernels: does Hostwright build both modules, can it take them back, do they load?
#
#   matrix.sh [ROOT...]      the roots of roots.sh (default: all that are made)
#
# VMWARE_SOURCES=DIR  more source trees: DIR itself, or each folder in it, that holds vmmon-only and
#                     vmnet-only (or vmmon.tar and vmnet.tar)
# PROFILE=release|dev which build of Hostwright (default: release)
# NO_LOAD=1           do not boot VMs
#
# Each cell is done in a view of the root that is thrown away: apply (which tries the modules in a virtual
# machine of that kernel first), look at the modules, undo, compare. Prints a table, and fails when a cell
# failed. Needs root.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd -P)
project=$(cd "$here/../.." && pwd -P)

fail() {
  echo "matrix: $*" >&2
  exit 1
}

if [[ ${MATRIX_INSIDE:-} != "$$" ]]; then
  [[ $(id -u) -eq 0 ]] || fail "only root can make views of the roots; try sudo"
  # All that is mounted and started ends with this process.
  exec env MATRIX_INSIDE=1 setpriv --pdeathsig KILL --bounding-set=-sys_module,-sys_boot,-sys_time \
    unshare --mount --pid --fork --mount-proc --kill-child -- "$(readlink -f "$0")" "$@"
fi
unset MATRIX_INSIDE

target=${CARGO_TARGET_DIR:-$project/target}
case ${PROFILE:-release} in dev) target+=/debug ;; *) target+=/${PROFILE:-release} ;; esac
[[ -x $target/hostwright ]] || fail "$target/hostwright is not built; run \`make\`"

# --- sources: NAME and FOLDER ---

names=() folders=()
add_source() {
  if [[ (-d $2/vmmon-only && -d $2/vmnet-only) || (-f $2/vmmon.tar && -f $2/vmnet.tar) ]]; then
    names+=("$1")
    folders+=("$2")
  fi
}
add_source practice "$project/data/practice"
if [[ -n ${VMWARE_SOURCES:-} ]]; then
  more=$(realpath -e "$VMWARE_SOURCES") || fail "VMWARE_SOURCES: there is no $VMWARE_SOURCES"
  before=${#names[@]}
  add_source "$(basename "$more")" "$more"
  for folder in "$more"/*/; do add_source "$(basename "$folder")" "${folder%/}"; done
  [[ ${#names[@]} -gt $before ]] || fail "VMWARE_SOURCES: no folder in $more holds vmmon-only and vmnet-only"
fi

# --- kernels: RELEASE and ROOT ---

releases=() roots=()
while read -r name path list; do
  if [[ $# -gt 0 && " $* " != *" $name "* ]]; then continue; fi
  for release in $list; do
    releases+=("$release")
    roots+=("$path")
  done
done < <("$here/roots.sh" list)
[[ ${#releases[@]} -gt 0 ]] || fail "no roots are made; run $here/roots.sh"

# /run, whatever it is here, holds the views: in memory, and gone with us.
mount -t tmpfs -o mode=755 tmpfs /run
logs=$project/target/kernels
mkdir -p "$logs"

# The state of a tree, but for Hostwright's own history and what a reboot empties.
changed() {
  (cd "$1" && find . \( -path ./var/lib/hostwright -o -path ./var/cache/hostwright -o -path ./var/log -o -path ./run/hostwright \) -prune -o \
    ! -type d -printf '%p %m %U:%G %s %T@ %l\n' | sort)
}

# One cell. Says what it found in one word or two; the whole output is in the log.
cell() {
  local source=$1 release=$2 root=$3 log=$4
  local view=/run/view/m status=0 file module warnings word=ok seconds rehearse=--no-rehearse
  local hostwright=("$target/hostwright" --root "$view" --color never)
  mkdir -p /run/view
  mount -t tmpfs tmpfs /run/view
  mkdir /run/view/{u,w,m}
  mount -t overlay -o "lowerdir=$root,upperdir=/run/view/u,workdir=/run/view/w" overlay "$view"

  if [[ -e $root/boot/vmlinuz-$release && -z ${NO_LOAD:-} ]]; then
    rehearse=--rehearse
    word=ok,rehearsed
  fi
  seconds=$SECONDS
  "${hostwright[@]}" vmware apply --yes --no-load $rehearse --kernel "$release" --source "$source" >"$log" 2>&1 </dev/null || status=$?
  seconds=$((SECONDS - seconds))
  cat "$view"/var/lib/hostwright/logs/*.log >>"$log" 2>/dev/null || true
  if [[ $status -ne 0 ]]; then
    word="FAILED($status)"
  else
    for module in vmmon vmnet; do
      file=$(find "$view/lib/modules/$release/" -name "$module.ko*" | head -n1)
      [[ -n $file && $(modinfo -F vermagic "$file") == "$release "* ]] || word="NO-$module"
    done
  fi
  warnings=$(grep -cE 'warning:|WARNING:' "$log" || true)
  if [[ $status -eq 0 ]]; then
    "${hostwright[@]}" undo --last --yes >>"$log" 2>&1 </dev/null || word=NOT-UNDONE
    # What is in the upper layer must be what is below: the same bytes, mode, owner and time.
    changed "$view" >/run/view/after
    changed "$root" >/run/view/before
    diff /run/view/before /run/view/after >>"$log" || word=TREE-DIFFERS
    (cd /run/view/u && find . -type f ! -path './var/lib/hostwright/*' ! -path './var/cache/hostwright/*' \
      ! -path './run/*' -print0) |
      while IFS= read -r -d '' file; do cmp "$root/$file" "/run/view/u/$file" || exit 1; done >>"$log" 2>&1 ||
      word=TREE-DIFFERS
  fi
  umount -R /run/view
  [[ $warnings -eq 0 ]] || word+=",${warnings}w"
  echo "$word" "${seconds}s"
}

failed=0
table=$logs/table
{
  printf 'source'
  for release in "${releases[@]}"; do printf '\t%s' "$release"; done
  printf '\n'
} >"$table"
for i in "${!names[@]}"; do
  printf '%s' "${names[$i]}" >>"$table"
  for k in "${!releases[@]}"; do
    log=$logs/${names[$i]}-${releases[$k]}.log
    result=$(cell "${folders[$i]}" "${releases[$k]}" "${roots[$k]}" "$log")
    echo "${names[$i]} on ${releases[$k]}: $result" >&2
    case $result in
      ok*) ;;
      *)
        failed=$((failed + 1))
        tail -n 15 "$log" | sed 's/^/    /' >&2
        ;;
    esac
    printf '\t%s' "${result% *}" >>"$table"
  done
  printf '\n' >>"$table"
done

echo
column -t -s $'\t' "$table"
echo "(w: warnings of the compiler or objtool; the logs are in $logs)"
cells=$((${#names[@]} * ${#releases[@]}))
if [[ $failed -gt 0 ]]; then
  echo "kernel matrix: $failed of $cells cells failed"
  exit 1
fi
echo "kernel matrix: $cells cells passed"
