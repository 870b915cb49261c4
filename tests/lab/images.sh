#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Images of the lab, for real: built from Debian's packages, built again after a change, booted with BIOS and
# UEFI, and cleaned up after builds that were killed. Minutes to a quarter of an hour without an accelerator.
#
#   images.sh [build|boot|secure|matrix|kill]...   all of it, or just these parts
#
#   build    an ISO image, cold, unchanged, and after a change in one file
#   boot     the ISO image and the disk image, each with BIOS and UEFI
#   secure   both with Secure Boot, where the distribution's signed boot loaders are installed
#   matrix   one command over kernels of several releases (tests/kernels/roots.sh has them)
#   kill     builds that are killed, and what eject leaves
#
# HOSTWRIGHT_CACHE   where the lab's cache is for this (default: XDG_CACHE_HOME/hostwright/test-lab): packages stay
# KILLS              how many builds are killed (default 5)
set -euo pipefail
# What others mount meanwhile is not counted; root can have mounts of its own.
if [[ $(id -u) -eq 0 && -z ${OWN_MOUNTS:-} ]]; then
  OWN_MOUNTS=1 exec unshare --mount --propagation private -- "$(readlink -f "$0")" "$@"
fi
cd "$(dirname "$0")/../.."

hostwright=$(readlink -f "${TARGET:-target/debug}/hostwright")
# Roots with kernels are shared with the other tests that use them.
roots_cache=${HOSTWRIGHT_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/hostwright}
cache=${HOSTWRIGHT_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/hostwright}/test-lab
export XDG_CACHE_HOME=$cache
lab=$cache/hostwright/lab
scratch=$(mktemp -d "${TMPDIR:-/tmp}/hostwright-lab.XXXXXX")
export XDG_STATE_HOME=$scratch/state
trap 'rm -rf --one-file-system "$scratch"' EXIT

say() { echo "images: $*"; }
fail() {
  echo "images: FAILED: $*" >&2
  exit 1
}
started=$SECONDS
parts=("$@")
[[ ${#parts[@]} -gt 0 ]] || parts=(build boot secure matrix kill)
wanted() { [[ " ${parts[*]} " == *" $1 "* ]]; }
seconds() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(seconds)" 'BEGIN { printf "%.2f", b - a }'; }

# A project with a name that is easily misread, a file that is ignored, and a change that is not committed.
project="$scratch/a project, 100%"
mkdir -p "$project/out"
(
  cd "$project"
  git init -q .
  echo out/ >.gitignore
  echo secret >out/ignored
  # shellcheck disable=SC2016 # the image's shell, not this one
  printf '#!/bin/sh\necho "RAN in $PWD, $MARK, kernel $(uname -r)"\n[ ! -e out ] && echo IGNORED-IS-OUT\n' >run.sh
  chmod +x run.sh
  git -c user.name=a -c user.email=a@b add . && git -c user.name=a -c user.email=a@b commit -qm x
  {
    # The variable's first four bytes are its attributes (efivarfs of the kernel's documentation).
    echo 'sb=/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c'
    # shellcheck disable=SC2016 # the image's shell, not this one
    echo '[ ! -e $sb ] || echo "SECURE-BOOT=$(od -An -tu1 -j4 -N1 $sb | tr -d " ")"'
    echo 'cat data; echo THE-END'
  } >>run.sh
  echo first >data
)
options=("$project" --name demo --autorun ./run.sh --power-off --env 'MARK=mark of {project}' --collect '/var/log/*')

if wanted build; then
  # Packages stay from one run of this script to the next: what is measured is the build, not the network.
  [[ ! -d $lab/bases ]] || rm -rf --one-file-system "$lab/bases" "$lab/images"
  start=$(seconds)
  "$hostwright" lab build "${options[@]}"
  cold=$(since "$start")
  "$hostwright" --json lab build "${options[@]}" 2>/dev/null | grep -q '"unchanged":true' ||
    fail "an image was built again though nothing changed"
  echo second >"$project/data"
  start=$(seconds)
  "$hostwright" lab build "${options[@]}"
  warm=$(since "$start")
  say "cold build $cold s, after a change in one file $warm s"
  awk -v c="$cold" -v w="$warm" 'BEGIN { exit !(w * 10 <= c) }' || fail "a warm build took more than a tenth of a cold one"
fi

# Boots what `lab run` was told, and looks at what the image's own command said.
boots() {
  local what=$1 run log
  shift
  rm -rf --one-file-system "$XDG_STATE_HOME/hostwright/lab"
  "$hostwright" lab run "${options[@]}" "$@" --timeout 15m || fail "$what did not run to its end"
  run=$(find "$XDG_STATE_HOME/hostwright/lab" -name report.json | head -n1)
  log=$(dirname "$run")/console.log
  for text in "RAN in /root/demo, mark of /root/demo, kernel " IGNORED-IS-OUT second THE-END; do
    grep -q "$text" "$log" || fail "$what: '$text' is not on the console ($log)"
  done
  grep -q '"autorun:success:0"' "$run" || fail "$what: the agent did not tell how the command ended"
  find "$(dirname "$run")/collected" -name wtmp | grep -q . || fail "$what: nothing was collected"
  secure=$(grep -aoE 'SECURE-BOOT=[01]' "$log" | tail -n1 || true)
  took=$(grep -oE '"at_ms": *[0-9]+' "$run" | grep -oE '[0-9]+' | sort -n | tail -n1)
  table+=("$what|$((took / 1000)) s|${secure:-no UEFI}")
  say "$what booted, and its command ran ($((took / 1000)) s)"
}
table=()

if wanted boot; then
  echo second >"$project/data"
  boots "the ISO image with BIOS" --firmware bios
  boots "the ISO image with UEFI" --firmware uefi
  boots "the disk image with BIOS" --disk --firmware bios
  boots "the disk image with UEFI" --disk --firmware uefi
fi

if wanted secure; then
  if [[ -e /usr/lib/shim/shimx64.efi.signed && -e /usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed ]]; then
    echo second >"$project/data"
    for form in "" --disk; do
      what=$([[ -n $form ]] && echo disk || echo ISO)
      # shellcheck disable=SC2086 # nothing, or one word
      boots "the $what image with Secure Boot" $form --firmware secure-boot
      [[ $secure == SECURE-BOOT=1 ]] || fail "the guest does not say that Secure Boot is on: ${secure:-nothing}"
    done
  else
    say "NOT RUN: images with Secure Boot; install shim-signed and grub-efi-amd64-signed"
  fi
fi

if wanted matrix; then
  roots=(bookworm bookworm-backports trixie-backports)
  HOSTWRIGHT_CACHE=$roots_cache tests/kernels/roots.sh make "${roots[@]}" >"$scratch/roots"
  {
    echo "command = ['uname', '-r']"
    echo "root = 'none'"
    echo "timeout = '5m'"
    while read -r _ root releases; do
      for release in $releases; do
        # Headers come days before their boot image.
        [[ -e $root/boot/vmlinuz-$release ]] || continue
        printf "[[guest]]\nname = '%s'\nkernel = '%s/boot/vmlinuz-%s'\n" "$release" "$root" "$release"
        printf "[[guest]]\nname = '%s, its tree'\nkernel = '%s/boot/vmlinuz-%s'\nroot = '%s'\n" \
          "$release" "$root" "$release" "$root"
        printf "command = ['sh', '-c', 'dpkg --version >/dev/null && uname -r']\n"
      done
    done <"$scratch/roots"
  } >"$scratch/kernels.toml"
  kernels=$(grep -c "^name = .*tree'" "$scratch/kernels.toml")
  [[ $kernels -ge 3 ]] || fail "only $kernels kernels are here, and three are wanted"
  "$hostwright" lab matrix "$scratch/kernels.toml" --junit "$scratch/junit.xml" || fail "a kernel of the matrix failed"
  grep -q "failures=\"0\" errors=\"0\"" "$scratch/junit.xml" || fail "the JUnit report tells of failures"
  say "the matrix passed over $kernels kernels, each with and without its tree"
fi

if wanted kill; then
  work=$lab/work
  before=$(wc -l </proc/self/mountinfo)
  echo "$work" >"$scratch/work"
  for ((n = 0; n < ${KILLS:-5}; n++)); do
    "$hostwright" lab build "${options[@]}" --refresh >/dev/null 2>&1 &
    build=$!
    wait_for=$((RANDOM % 40)).$((RANDOM % 10))
    if [[ $n -eq 0 ]]; then
      sleep 3
      if "$hostwright" lab build "${options[@]}" >/dev/null 2>"$scratch/second"; then
        fail "two builds of one image at once"
      fi
      grep -q "process" "$scratch/second" || fail "the second build does not say who is at it: $(cat "$scratch/second")"
    fi
    sleep "$wait_for"
    # Every other one is asked to stop, as by Ctrl+C.
    signal=$([[ $((n % 2)) -eq 0 ]] && echo KILL || echo INT)
    kill -s "$signal" "$build" 2>/dev/null || say "the build was faster than $wait_for s"
    status=0
    wait "$build" 2>/dev/null || status=$?
    [[ $signal == KILL || $status -eq 130 || $status -eq 0 ]] || fail "a build that was cancelled ended with $status"
    [[ $signal == KILL || -z $(ls -A "$work") ]] || fail "a cancelled build left $(ls -A "$work")"
    # All of it dies with its parent; the kernel needs a moment to take namespaces down.
    for ((i = 0; i < 50; i++)); do
      # From a file: in its own arguments grep would find itself.
      left=$(grep -laF -f "$scratch/work" /proc/[0-9]*/cmdline 2>/dev/null || true)
      [[ -n $left ]] || break
      sleep 0.1
    done
    [[ -z $left ]] || fail "processes of a killed build still run: $left"
    if cat /proc/[0-9]*/mountinfo 2>/dev/null | grep -qF "$work"; then fail "a mount of a killed build is left"; fi
    [[ $(wc -l </proc/self/mountinfo) -eq $before ]] || fail "there are other mounts than before"
    "$hostwright" lab eject || fail "what a build left that was killed after $wait_for s could not be removed"
    [[ -z $(ls -A "$work") ]] || fail "$work is not empty after eject: $(ls -A "$work")"
    if losetup -a 2>/dev/null | grep -qF "$work"; then fail "a loop device is left"; fi
    say "ended by SIG$signal after $wait_for s: nothing is left"
  done
  "$hostwright" lab build "${options[@]}" >/dev/null || fail "no build after all these"
fi
if [[ ${#table[@]} -gt 0 ]]; then
  printf '%s\n' "image|to its end|said by the guest" "${table[@]}" | column -t -s '|'
fi
say "passed: ${parts[*]}, in $((SECONDS - started)) s"
