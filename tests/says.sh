# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash disable=SC2154
#
# Sourced by tests that call the installed hostwright. They name `said` (a file) and `bad` (which ends the test) before, and
# `stage` (what stands before the line that tells of a call), where that is told.

# Runs hostwright; its exit status must be the first argument, and what it prints have the second.
says() {
  local expected=$1 text=$2 status=0
  shift 2
  [[ -z ${stage:-} ]] || echo "$stage $(cut -d. -f1 /proc/uptime) s: hostwright $*"
  hostwright --color never "$@" >"$said" 2>&1 </dev/null || status=$?
  [[ $status -eq $expected ]] || bad "hostwright $* ended with $status instead of $expected"
  # Lines are broken where they are too long.
  tr -s ' \n' ' ' <"$said" | grep -qF -- "$text" || bad "hostwright $*: no '$text' in what it said"
}
